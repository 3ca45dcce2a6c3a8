--- resume: what is alive and healthy stays, what is missing is started again. With --skip-startup nothing is started.
local json = require 'envctl.util.json'

local M = {}

-- Only look: say what is there, change nothing.
local function reconcile_only(ctx)
  local select = require 'envctl.cli.select'
  local doc = select.require_state(ctx)
  local items = require('envctl.resume.health').check((select.services(ctx.route, doc)))
  if ctx.out.is_json then
    local services = json.array {}
    for i, item in ipairs(items) do
      local live = item.live
      services[i] = { name = item.record.name, status = item.status, live = live == nil and json.null or live }
    end
    ctx.out.json { schema = 'envctl.resume.v1', ok = true, run_id = doc.run_id, mode = doc.mode, services = services }
    return 0
  end
  for _, item in ipairs(items) do
    ctx.out.text(item.record.name .. ': ' .. item.status .. (item.reason and (' (' .. item.reason .. ')') or ''))
  end
  return 0
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  if ctx.route.flags.skip_startup then
    return reconcile_only(ctx)
  end
  return require('envctl.commands.start').run(ctx)
end

return M
