--- list-trees: list-targets of trees mode.
local M = {}

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  return require('envctl.commands.list_targets').list(ctx, 'trees')
end

return M
