--- Dependencies of a plan: provider, ports, what they hand to services (masked). Pure.
local json = require 'envctl.util.json'
local names = require 'envctl.state.names'
local digest = require 'envctl.plan.digest'
local definitions = require 'envctl.deps.definitions'
local described = require 'envctl.deps.described'

local M = {}

local MASK = '***'

-- What one dependency asks ports for. A fixed port is that of its only one.
local function wants_of(config, id, chosen, project, out)
  if not chosen and not config.bases[id] then
    return -- of a script, and nothing is known that could run it
  end
  local adopted = chosen and chosen.adopted and chosen.adopted[names.file(project)] or {}
  local ports = chosen and chosen.described and chosen.described.ports or { { name = id } }
  local primary = described.primary(id, ports)
  for _, p in ipairs(ports) do
    local fixed = chosen and #ports == 1 and chosen.fixed or nil
    out[#out + 1] = {
      id = described.port_id(id, p.name), fixed = fixed, kind = 'dependency', adopted = adopted[p.name],
      whole = p.name == primary and p.name ~= id and id or nil,
      base = not fixed and (p.base or config.bases[id].port) or nil,
    }
  end
end

-- Whether a script leaves it out of a project. A part goes with its whole.
local function left_out(project, id)
  local def, without = definitions.by_id[id], project.without or {}
  return without[id] ~= nil or def ~= nil and def.part_of ~= nil and without[def.part_of] ~= nil
end

--- Ids of what a project gets, in order: what is enabled, without what a script leaves out of this one.
---@param config table facts.config
---@param project {without: table<string, string>?}
---@return string[]
function M.ids(config, project)
  local out = {}
  for _, id in ipairs(config.dependencies) do
    if not left_out(project, id) then
      out[#out + 1] = id
    end
  end
  return out
end

--- Ports that a project asks for its dependencies.
---@param config table facts.config
---@param project {name: string, without: table<string, string>?}
---@return envctl.plan.Want[]
function M.wants(config, project)
  local out = {}
  for _, id in ipairs(M.ids(config, project)) do
    local chosen = config.providers and config.providers[id]
    if not chosen or chosen.provider ~= 'external' and chosen.scope ~= 'shared' then
      wants_of(config, id, chosen, project.name, out)
    end
  end
  return out
end

--- Ids of what is built in, in order.
---@type string[]
M.built_in = require('envctl.util.names').sorted(definitions.by_id)

--- The holder of what is shared by all projects. No project has such a name.
M.SHARED = '@shared'

-- What some project of the plan has a use for.
local function used(projects, id)
  for _, project in ipairs(projects) do
    if not left_out(project, id) then
      return true
    end
  end
  return false
end

local function shared_ids(facts)
  local out, providers = {}, facts.config.providers
  for _, id in ipairs(facts.config.dependencies) do
    local chosen = providers and providers[id]
    if chosen and chosen.scope == 'shared' and chosen.provider ~= 'external' and used(facts.projects, id) then
      out[#out + 1] = id
    end
  end
  return out
end

--- Ports of servers that the projects share.
---@param facts table
---@return envctl.plan.Want[]
function M.shared_wants(facts)
  local out = {}
  for _, id in ipairs(shared_ids(facts)) do
    wants_of(facts.config, id, facts.config.providers[id], M.SHARED, out)
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

--- Where the data of a dependency is. What is shared belongs to the repository.
---@param facts table
---@param chosen table facts.config.providers[id]
---@param project string
---@param id string
---@return string
function M.data_dir(facts, chosen, project, id)
  return ('%s/%s/%s/%s'):format(chosen.base, facts.scope_id, names.file(project), id)
end

-- What texts of a description may speak about.
local function about_of(facts, chosen, project, id)
  return {
    project = project.name, root = project.root,
    data = chosen.base and M.data_dir(facts, chosen, project.name, id) or '',
  }
end

-- What one dependency hands to the services of a project.
local function sources_of(facts, project, id)
  local chosen = facts.config.providers[id]
  local about = about_of(facts, chosen, project, id)
  local access = chosen.access or { host = 'localhost' }
  if chosen.scope == 'shared' and project.name ~= M.SHARED and not chosen.described then
    access = definitions.share(id, access, project.name)
  end
  local sources = definitions.sources(id, access)
  for name, source in pairs(chosen.described and described.sources(id, chosen, about) or {}) do
    sources[name] = source
  end
  described.add_sources(id, sources, chosen.provides or {}, about, access.port)
  return sources, access
end

--- What services of a project are handed, by name.
---@param facts table
---@param project {name: string, root: string, without: table<string, string>?}
---@return table<string, envctl.launch.Source>
function M.sources(facts, project)
  local out = {}
  for _, id in ipairs(M.ids(facts.config, project)) do
    if facts.config.providers and facts.config.providers[id] then
      for name, source in pairs((sources_of(facts, project, id))) do
        out[name] = source
      end
    end
  end
  return out
end

--- What dependencies hand to the services of a project, with ports filled in: the values of ${NAME} in scripts.
---@param facts table
---@param project {name: string, root: string}
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

local function provides(sources, numbers)
  local out = {}
  for name, source in pairs(sources) do
    out[name] = source.secret and MASK or definitions.fill_ports(source.value, numbers)
  end
  return out
end

-- Changes with what somebody wrote down and is hidden, and is too short to test guesses against.
local function secret_mark(facts, project, id, password, env)
  password = password ~= definitions.token(id) and password or nil
  if not password and not env then
    return json.null
  end
  local text = table.concat({ facts.scope_id, project, id, password or '', env and json.encode_line(env) or '' }, '\0')
  return require('envctl.host.hash').sha256(text):sub(1, 4)
end

local function run_by(entry, chosen)
  entry.bin = chosen.bin or json.null
  entry.engine, entry.image = chosen.engine, chosen.image or json.null
  entry.command = json.null
  entry.program = chosen.program or json.null
  entry.run_as = chosen.user and chosen.user.name or json.null
  entry.base = chosen.base
  entry.seed = chosen.seed or json.null
end

-- A command of the user's for a built-in dependency: all it is told is the port, and all that is known of it is that it listens.
local function fill_command(entry, command, number)
  entry.command, entry.ready.kind = json.array {}, 'tcp'
  for i, word in ipairs(command) do
    entry.command[i] = word:gsub('%${port}', ('%d'):format(number))
  end
end

--- One dependency of the plan, and what of it is secret.
---@param facts table
---@param project {name: string, root: string}
---@param id string
---@param ports table<string, integer> numbers of the project
---@return table entry, {password: string?, env: table<string, string>?}? secrets
function M.build(facts, project, id, ports)
  local chosen, name = facts.config.providers[id], project.name
  local sources, access = sources_of(facts, project, id)
  local external = chosen.provider == 'external'
  local about = about_of(facts, chosen, project, id)
  local ready = (definitions.by_id[id] or {}).ready
  local entry = {
    id = id,
    provider = chosen.provider,
    why = chosen.why,
    scope = chosen.scope or 'isolated',
    layer = chosen.layer or 1,
    ports = external and { [id] = access.port } or { [id] = ports[id] },
    port = external and access.port or ports[id],
    ready = ready and { kind = ready.kind, timeout_ms = ready.timeout_ms },
    needs = json.array {},
    required = chosen.required ~= false,
    version = chosen.version and tostring(chosen.version) or json.null,
    database = access.name and definitions.fill_ports(access.name, ports) or json.null,
    user = access.user or json.null,
    host = external and access.host or nil,
    data = not external and about.data or nil,
  }
  local hidden
  if not external then
    run_by(entry, chosen)
  end
  if chosen.described then
    hidden = described.fill(entry, id, chosen, about, ports)
    entry.makes_password = described.has_password(chosen.described)
  else
    entry.makes_password = chosen.provider ~= 'command'
    if chosen.command then
      fill_command(entry, chosen.command, ports[id])
    end
  end
  entry.ready.timeout_ms = chosen.ready_ms or entry.ready.timeout_ms
  entry.provides = provides(sources, ports)
  entry.secret_mark = secret_mark(facts, name, id, access.password, hidden)
  entry.plan_digest = digest.dependency(entry)
  local password = access.password ~= definitions.token(id) and access.password or nil
  return entry, (password or hidden) and { password = password, env = hidden } or nil
end

--- Servers that the projects of the repository share, once.
---@param facts table
---@param ports table<string, integer> numbers of the holder
---@return table[] entries, table<string, table> secrets by id
function M.build_shared(facts, ports)
  local list, secrets = json.array {}, {}
  for i, id in ipairs(shared_ids(facts)) do
    list[i], secrets[id] = M.build(facts, { name = M.SHARED, root = facts.control_root }, id, ports)
  end
  return list, secrets
end

return M
