--- blast-worktree: delete-worktree, and the logs go as well.
local M = {}

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  return require('envctl.commands.delete_worktree').execute(ctx, { logs = true })
end

return M
