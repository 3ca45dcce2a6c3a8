--- The prompts that install-prompts writes: one module of text each, loaded when it is wanted.
local M = {}

M.names = { 'continue_task', 'create_plan', 'implement_task', 'merge_trees_into_dev', 'review_task_imp' }

-- Short names that mean the same.
M.aliases = {
  continue = 'continue_task', plan = 'create_plan', implement = 'implement_task', merge = 'merge_trees_into_dev',
  review = 'review_task_imp',
}

--- Text of a prompt.
---@param name string one of names
---@return string
function M.text(name)
  return (require('envctl.prompts.' .. name):gsub('^\n+', ''))
end

return M
