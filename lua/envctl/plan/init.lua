--- Planning, without any reading or writing. `require 'envctl.plan'.build(facts)` is the whole of it; the parts load when used.
local M = {}

--- The document of `explain-startup`, and the values it hides.
---@param facts table
---@param decide? fun(point: string, input: table, base: fun(input: table): any, label: string?): any asks an override point
---@return table document, table<string, table<string, string>> secrets
function M.build(facts, decide)
  return require('envctl.plan.startup').build(facts, decide)
end

--- Ports of the selected projects.
---@param facts table
---@param decide? fun(point: string, input: table, base: fun(input: table): any, label: string?): any
---@return table<string, envctl.plan.Ports>
function M.ports(facts, decide)
  return require('envctl.plan.startup').ports(facts, decide)
end

return M
