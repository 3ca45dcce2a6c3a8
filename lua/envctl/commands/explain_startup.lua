--- explain-startup: what a start (or plan, restart, resume) would do now. Reads only, and succeeds whenever it can explain.
local M = {}

---@param ctx table
---@return integer exit code
function M.run(ctx)
  local inner = ctx.route.explain or ctx.route
  local _, document = require('envctl.facts').plan(ctx, {
    route = inner,
    command = inner.command ~= 'explain-startup' and inner.command or 'start',
  })
  if ctx.out.is_json then
    document.ok = true
    ctx.out.json(document)
  else
    for _, line in ipairs(require('envctl.plan.explain').lines(document)) do
      ctx.out.text(line)
    end
  end
  return 0
end

return M
