--- Planning, without any reading or writing. `require 'envctl.plan'.build(facts)` is the whole of it; the parts load when used.
local M = {}

--- The document of `explain-startup`, and the values it hides.
---@param facts table
---@return table document, table<string, table<string, string>> secrets
function M.build(facts)
  return require('envctl.plan.startup').build(facts)
end

--- Ports of the selected projects.
---@param facts table
---@return table<string, envctl.plan.Ports>
function M.ports(facts)
  return require('envctl.plan.startup').ports(facts)
end

return M
