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

--- Why a container that runs is of no use to anybody on this machine, when it is not: whoever published its port has died, as
--- docker's helpers do with their daemon, and the port is free. Nothing is said of containers of another machine. Reads only.
---@param component table
---@return string? reason
function M.unreachable(component)
  local here = component.container_id and component.identity
  if not here or component.status ~= 'ready' or not component.final then
    return nil
  end
  if require('envctl.host.port').check(component.final) then
    return ('nothing listens on port %d, which its container has published'):format(component.final)
  end
end

local UP = { ready = true, running = true, starting = true, stopping = true, unknown = true }

--- How recorded dependencies are now. What others run (external, shared) is as it was recorded: nobody is asked.
---@param state table run state
---@param wanted fun(project: string): boolean
---@return table[] {project, id, status, class: 'ok'|'warn'|'bad', port?, provider?, live?, reason?, exit?, log_path?}
function M.health(state, wanted)
  local live, reasons = M.live(state)
  local out = {}
  M.each(state, function(project, id, component)
    if wanted(project) then
      local key = names.short(project, id)
      local item = {
        project = project, id = id, status = component.status or 'unknown', port = component.final,
        provider = component.provider, live = live[key], reason = reasons[key], class = 'ok', exit = component.exit,
        log_path = component.log_path,
      }
      local lost = live[key] and M.unreachable(component)
      if component.identity and live[key] == nil then
        item.status, item.class = 'unknown', 'warn'
      elseif component.identity and not live[key] then
        item.status, item.class = UP[item.status] and 'exited' or item.status, 'bad'
      elseif lost then
        item.status, item.class, item.reason = 'unreachable', 'bad', lost
      elseif item.status == 'starting' or item.status == 'unknown' then
        item.class = 'warn'
      end
      out[#out + 1] = item
    end
  end)
  return out
end

--- Those that belong to a selection of services: of their projects; none when services are named.
---@param route envctl.Route
---@param state table run state
---@param records table[] of the selected services
---@return table[] as from health()
function M.beside(route, state, records)
  if #route.services > 0 then
    return {}
  end
  local narrowed, seen = #route.projects > 0 or #route.args > 0, {}
  for _, r in ipairs(records) do
    seen[r.project] = true
  end
  return M.health(state, function(project)
    return not narrowed or seen[project] == true
  end)
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
