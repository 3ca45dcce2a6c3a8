--- A service that listens on another port than it was given: what the others were told about it has to be said again, with the
--- real port. Pure.
local placeholders = require 'envctl.plan.placeholders'

local M = {}

local function mentions(templates, name)
  for _, text in pairs(templates.env or {}) do
    for _, service in ipairs(placeholders.services(text)) do
      if service == name then
        return true
      end
    end
  end
  for _, text in pairs(templates.command or {}) do
    for _, service in ipairs(placeholders.services(text)) do
      if service == name then
        return true
      end
    end
  end
  return false
end

local function scope_of(project, service, actual)
  local services, ports = {}, {}
  for _, s in ipairs(project.services) do
    local number = actual[s.name] or s.port
    services[s.name] = { port = number, url = number and ('http://localhost:' .. number) or s.url }
    ports[s.name] = number
  end
  for id, number in pairs(project.ports or {}) do
    ports[id] = ports[id] or number
  end
  return {
    port = service.port,
    project = project.name,
    root = project.root,
    ports = ports,
    services = services,
    env = {},
    sources = {},
  }
end

--- Services of the project whose texts speak of `name`.
---@param project table plan project
---@param name string service that moved
---@return table[] plan services
function M.dependents(project, name)
  local out = {}
  for _, s in ipairs(project.services) do
    if s.name ~= name and s.templates and mentions(s.templates, name) then
      out[#out + 1] = s
    end
  end
  return out
end

--- Fills the texts of a service in again, in place. What cannot be filled in (it needs more than ports) stays as it was.
---@param project table plan project
---@param service table plan service
---@param actual table<string, integer> real ports by service name
function M.refill(project, service, actual)
  local scope = scope_of(project, service, actual)
  for key, text in pairs(service.templates.env or {}) do
    service.env[key] = placeholders.expand(text, scope) or service.env[key]
  end
  for i, text in pairs(service.templates.command or {}) do
    local index = math.tointeger(tonumber(i))
    if index and service.command[index] then
      service.command[index] = placeholders.expand(text, scope) or service.command[index]
    end
  end
end

return M
