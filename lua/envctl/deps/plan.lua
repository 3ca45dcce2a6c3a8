--- Dependencies of a plan: provider, ports, what they hand to services (masked). Pure.
local json = require 'envctl.util.json'
local names = require 'envctl.state.names'
local digest = require 'envctl.plan.digest'
local definitions = require 'envctl.deps.definitions'

local M = {}

local MASK = '***'

--- Ports that a project asks for its dependencies.
---@param config table facts.config
---@return envctl.plan.Want[]
function M.wants(config)
  local out = {}
  for _, id in ipairs(config.dependencies) do
    local chosen = config.providers and config.providers[id]
    if not chosen or chosen.provider ~= 'external' and chosen.scope ~= 'shared' then
      local fixed = chosen and chosen.fixed
      out[#out + 1] = { id = id, base = not fixed and config.bases[id].port or nil, fixed = fixed, kind = 'dependency' }
    end
  end
  return out
end

--- The holder of what is shared by all projects. No project has such a name.
M.SHARED = '@shared'

--- Ports of servers that the projects share.
---@param config table facts.config
---@return envctl.plan.Want[]
function M.shared_wants(config)
  local out = {}
  for _, id in ipairs(config.dependencies) do
    local chosen = config.providers and config.providers[id]
    if chosen and chosen.scope == 'shared' and chosen.provider ~= 'external' then
      out[#out + 1] = {
        id = id, base = not chosen.fixed and config.bases[id].port or nil, fixed = chosen.fixed, kind = 'dependency',
      }
    end
  end
  return out
end

--- Every number that a project's texts may ask for: its ports, those of shared servers, and its logical database.
---@param assigned table<string, envctl.plan.Ports>
---@param project string
---@return table<string, integer>
function M.numbers(assigned, project)
  local out, own, shared = {}, assigned[project], assigned[M.SHARED]
  for id, port in pairs(shared and shared.ports or {}) do
    out[id] = port
  end
  for id, port in pairs(own.ports) do
    out[id] = port
  end
  out['redis@db'] = own.slot % definitions.REDIS_DATABASES
  return out
end

--- What services of a project are handed, by name.
---@param facts table
---@param project string
---@return table<string, envctl.launch.Source>
function M.sources(facts, project)
  local out = {}
  for _, id in ipairs(facts.config.dependencies) do
    local chosen = facts.config.providers and facts.config.providers[id]
    if chosen and chosen.access then
      local access = chosen.scope == 'shared' and definitions.share(id, chosen.access, project) or chosen.access
      for name, source in pairs(definitions.sources(id, access)) do
        out[name] = source
      end
    end
  end
  return out
end

--- What dependencies hand to the services of a project, with ports filled in: the values of ${NAME} in scripts.
---@param facts table
---@param project string
---@param numbers table<string, integer>
---@return table<string, string>
function M.values(facts, project, numbers)
  local out = {}
  for name, source in pairs(M.sources(facts, project)) do
    out[name] = definitions.fill_ports(source.value, numbers)
  end
  return out
end

--- The recorded component of a dependency.
---@param state table? run state
---@param project string
---@param id string
---@return table?
function M.record(state, project, id)
  local requirement = state and state.requirements and state.requirements[project]
  return requirement and requirement.components and requirement.components[id]
end

local function provides(id, access, numbers)
  local out = {}
  for name, source in pairs(definitions.sources(id, access)) do
    out[name] = source.secret and MASK or definitions.fill_ports(source.value, numbers)
  end
  return out
end

-- Changes with a password that somebody wrote down, and is too short to test guesses against.
local function secret_mark(facts, project, id, password)
  if not password or password == definitions.token(id) then
    return json.null
  end
  local text = table.concat({ facts.scope_id, project, id, password }, '\0')
  return require('envctl.host.hash').sha256(text):sub(1, 4)
end

--- One dependency of the plan, and its password when it was written down.
---@param facts table
---@param project string
---@param id string
---@param ports table<string, integer> numbers of the project
---@return table entry, string? password
function M.build(facts, project, id, ports)
  local chosen = facts.config.providers[id]
  local definition = definitions.by_id[id]
  local access = chosen.access or { host = 'localhost' }
  if chosen.scope == 'shared' and project ~= M.SHARED then
    access = definitions.share(id, access, project)
  end
  local external = chosen.provider == 'external'
  local entry = {
    id = id,
    provider = chosen.provider,
    why = chosen.why,
    scope = chosen.scope or 'isolated',
    ports = external and {} or { [id] = ports[id] },
    provides = provides(id, access, ports),
    ready = { kind = definition.ready.kind, timeout_ms = definition.ready.timeout_ms },
    needs = json.array {},
    version = chosen.version and tostring(chosen.version) or json.null,
    database = access.name and definitions.fill_ports(access.name, ports) or json.null,
    user = access.user or json.null,
    secret_mark = secret_mark(facts, project, id, access.password),
  }
  if external then
    entry.host, entry.ports = access.host, { [id] = access.port }
  else
    entry.bin = chosen.bin or json.null
    entry.image = chosen.image or json.null
    entry.command = chosen.command and json.array(chosen.command) or json.null
    if chosen.command then
      entry.ready.kind = 'tcp'
    end
    entry.program = chosen.bin and chosen.bin .. '/' .. definition.programs[1] or json.null
    entry.run_as = chosen.user and chosen.user.name or json.null
    entry.base = chosen.base
    entry.seed = chosen.seed or json.null
    entry.data = ('%s/%s/%s/%s'):format(chosen.base, facts.scope_id, names.file(project), id)
  end
  entry.plan_digest = digest.dependency(entry)
  local password = access.password
  return entry, password ~= definitions.token(id) and password or nil
end

return M
