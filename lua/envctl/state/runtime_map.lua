--- Documents derived from the run state: runtime_map.json and ports_manifest.json. Pure.
local json = require 'envctl.util.json'

local M = {}

local UP = { running = true, ready = true, healthy = true, starting = true }

local function port_of(s)
  return s.actual_port or s.requested_port
end

--- runtime_map.json: the quickest machine-readable map of projects, services, ports and URLs.
---@param doc table run state
function M.build(doc)
  local map = {
    schema = 'envctl.runtime_map.v1',
    schema_version = '1.0',
    backend_mode = 'native',
    run_id = doc.run_id,
    mode = doc.mode,
    projects = {},
    port_to_service = {},
    service_to_actual_port = {},
    projection = {},
    services = {},
  }
  for name, s in pairs(doc.services) do
    local port = port_of(s)
    local project = s.project
    map.projects[project] = map.projects[project] or { backend_port = json.null, frontend_port = json.null }
    map.projection[project] = map.projection[project]
      or {
        backend_port = json.null,
        frontend_port = json.null,
        backend_url = json.null,
        frontend_url = json.null,
        backend_status = json.null,
        frontend_status = json.null,
      }
    local url = port and UP[s.status] and s.url or json.null
    if s.type == 'backend' or s.type == 'frontend' then
      map.projects[project][s.type .. '_port'] = port or json.null
      map.projection[project][s.type .. '_port'] = port or json.null
      map.projection[project][s.type .. '_url'] = url
      map.projection[project][s.type .. '_status'] = s.status
    end
    map.services[project] = map.services[project] or {}
    map.services[project][s.service] = { port = port or json.null, url = url, status = s.status }
    if port then
      map.port_to_service[string.format('%d', port)] = name
      map.service_to_actual_port[name] = port
    end
  end
  return map
end

--- ports_manifest.json.
---@param doc table run state
function M.manifest(doc)
  local projects = {}
  for _, s in pairs(doc.services) do
    local p = projects[s.project]
    if not p then
      p = { project = s.project, root = (doc.metadata.project_roots or {})[s.project] or json.null, ports = {} }
      projects[s.project] = p
    end
    if s.requested_port then
      p.ports[s.service] = {
        requested = s.requested_port,
        assigned = s.requested_port,
        final = port_of(s),
        source = s.port_source or 'planner',
        retries = s.restarts or 0,
      }
    end
  end
  local list = json.array {}
  for _, p in pairs(projects) do
    list[#list + 1] = p
  end
  table.sort(list, function(a, b)
    return a.project < b.project
  end)
  return { schema = 'envctl.ports_manifest.v1', run_id = doc.run_id, mode = doc.mode, projects = list }
end

return M
