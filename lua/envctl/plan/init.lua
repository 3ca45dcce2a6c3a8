--- Planning, without any reading or writing. `require 'envctl.plan'.build(facts)` is the whole of it; the parts load when used.
local M = {}

---@class envctl.plan.Planner a planner in place of the bundled one
---@field build fun(facts: table, decide: function?): table, table<string, table<string, string>>?
---@field ports (fun(facts: table, decide: function?): table<string, envctl.plan.Ports>)?

--- The document of `explain-startup`, and the values it hides.
---@param facts table
---@param decide? fun(point: string, input: table, base: fun(input: table): any, label: string?): any asks an override point
---@param planner? envctl.plan.Planner
---@return table document, table<string, table<string, string>> secrets
function M.build(facts, decide, planner)
  local startup = require 'envctl.plan.startup'
  if not planner then
    return startup.build(facts, decide)
  end
  local document, secrets = planner.build(facts, decide)
  return startup.settle(document, (startup.build(facts))), secrets or {}
end

--- Ports of the selected projects.
---@param facts table
---@param decide? fun(point: string, input: table, base: fun(input: table): any, label: string?): any
---@param planner? envctl.plan.Planner
---@return table<string, envctl.plan.Ports>
function M.ports(facts, decide, planner)
  return (planner and planner.ports or require('envctl.plan.startup').ports)(facts, decide)
end

return M
