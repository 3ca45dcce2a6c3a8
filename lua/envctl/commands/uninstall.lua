--- uninstall: takes the lines of install out again.
local M = {}

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  return require('envctl.commands.install').apply(ctx, 'uninstall')
end

return M
