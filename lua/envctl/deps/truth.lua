--- What is true now about the dependencies of a saved state. Reads only.
local names = require 'envctl.state.names'
local observe = require 'envctl.resume.observe'

local M = {}

--- Calls fn(project, id, component) for every recorded dependency, in the order of their names.
---@param state table? run state
---@param fn fun(project: string, id: string, component: table)
function M.each(state, fn)
  local projects = {}
  for project in pairs(state and state.requirements or {}) do
    projects[#projects + 1] = project
  end
  table.sort(projects)
  for _, project in ipairs(projects) do
    local components, ids = state.requirements[project].components or {}, {}
    for id in pairs(components) do
      ids[#ids + 1] = id
    end
    table.sort(ids)
    for _, id in ipairs(ids) do
      fn(project, id, components[id])
    end
  end
end

--- Per "project/id": true, false, or nil when it cannot be known (reasons in the second table). What we do not run is not listed.
---@param state table? run state
---@return table<string, boolean> live, table<string, string> reasons
function M.live(state)
  local live, reasons = {}, {}
  M.each(state, function(project, id, component)
    if component.identity then
      local key = names.short(project, id)
      live[key], reasons[key] = observe.service(component)
    end
  end)
  return live, reasons
end

--- Whether anything of a saved state is worth keeping: a service, or a dependency that was started.
---@param state table? run state
---@return boolean
function M.any(state)
  local found = false
  M.each(state, function(_, _, component)
    found = found or component.identity ~= nil
  end)
  return found
end

return M
