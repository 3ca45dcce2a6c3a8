--- completion SHELL: prints the completion script.
local M = {}

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local err = require 'envctl.err'
  local completion = require 'envctl.cli.completion'
  local shells = table.concat(completion.shells, ', ')
  local shell = ctx.route.args[1]
  if not shell or #ctx.route.args > 1 then
    err.raise('missing_value', 'completion wants the name of one shell', { hint = 'one of ' .. shells })
  end
  local script = completion.script(shell:lower())
  if not script then
    err.raise('invalid_value', 'there is no completion for `' .. shell .. '`', { hint = 'one of ' .. shells })
  end
  if ctx.out.is_json then
    ctx.out.json { schema = 'envctl.completion.v1', ok = true, shell = shell:lower(), script = script }
  else
    ctx.out.text((script:gsub('\n$', '')))
  end
  return 0
end

return M
