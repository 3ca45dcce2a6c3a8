--- Dependencies that are described rather than built in: those of scripts, n8n, and the containers of Supabase. What a description
--- says becomes the numbers, commands, variables and sources of a plan. Pure.
---
--- Texts of a description may use ${port}, ${ports.NAME}, ${project}, ${root}, ${data}, ${host}, ${url} and, where nobody
--- can read it (not in a command), ${password}.
local json = require 'envctl.util.json'
local placeholders = require 'envctl.plan.placeholders'
local definitions = require 'envctl.deps.definitions'
local is_secret = require('envctl.plan.services').is_secret

local M = {}

---@class envctl.deps.Port
---@field name string
---@field base integer? nil: the configuration says it
---@field inner integer? port inside of its container

---@class envctl.deps.Description
---@field ports envctl.deps.Port[]
---@field primary string? name of the port that `${port}` means
---@field command string[]? argument list, when it runs on this machine
---@field args string[]? arguments of the image
---@field env table<string, string> for every way to run
---@field native_env table<string, string>?
---@field container_env table<string, string>?
---@field provides table<string, string>
---@field volumes string[] directories of the image that are kept
---@field ready {kind: string, timeout_ms: integer, path: string?, pattern: string?, command: string[]?, start_ms: integer?}
---@field bootstrap {path: string, strict: boolean}? a second look at what has to answer once it is ready
---@field needs string[]
---@field peers string[]? ports of others that its texts may use
---@field listens integer[]? what it listens on inside of its container without being published
---@field network boolean? its container is on the network of the project, under its own name

--- The name of a port in a project's table of ports.
---@param id string
---@param name string
---@return string
function M.port_id(id, name)
  return name == id and id or id .. '.' .. name
end

--- The port that stands for the whole: the one called like the dependency, `http`, or the first by name.
---@param id string
---@param ports envctl.deps.Port[]
---@return string?
function M.primary(id, ports)
  local known = {}
  for _, p in ipairs(ports) do
    known[p.name] = true
  end
  return known[id] and id or known.http and 'http' or ports[1] and ports[1].name
end

-- What the texts may use. `number` says what stands for a port: a number, or a mark that a number replaces later.
local function scope_of(id, chosen, about, number)
  local d, ports = chosen.described, {}
  for _, p in ipairs(d.ports) do
    ports[p.name] = number(M.port_id(id, p.name))
  end
  local access = chosen.access or {}
  for _, peer in ipairs(d.peers or {}) do
    ports[peer] = number(peer)
  end
  local url = access.url or d.primary and ('http://localhost:%s'):format(ports[d.primary])
  return {
    port = d.primary and ports[d.primary] or access.port, project = about.project, root = about.root, ports = ports,
    services = {}, env = {},
    sources = {
      data = about.data, host = access.host or 'localhost', url = url,
      password = access.password or definitions.token(id),
    },
  }
end

local function expand(text, scope)
  local filled, unknown = placeholders.expand(text, scope)
  if not filled then
    error('${' .. unknown .. '} has no value', 0) -- check() has looked before
  end
  return filled
end

--- The first placeholder of a description that means nothing. Returns where it stands, and what is wrong with it.
---@param id string
---@param d envctl.deps.Description
---@param elsewhere boolean? it may run elsewhere: then it has an address without ports of its own
---@return (string|integer)[]? path, string? message
function M.check(id, d, elsewhere)
  local scope = scope_of(id, { described = d }, { project = 'p', root = '/r', data = '/d' }, function()
    return 1
  end)
  if elsewhere then
    scope.sources.url, scope.port = scope.sources.url or 'http://h', scope.port or 1
  end
  local texts = {
    { { 'command' }, d.command, true }, { { 'args' }, d.args, true }, { { 'ready', 'command' }, d.ready.command, true },
    { { 'env' }, d.env }, { { 'provides' }, d.provides },
  }
  for _, one in ipairs(texts) do
    local path, list, seen = table.unpack(one)
    for key, text in pairs(list or {}) do
      local _, unknown = placeholders.expand(text, scope)
      local at = table.move(path, 1, #path, 1, {})
      at[#at + 1] = key
      if unknown then
        return at, '${' .. unknown .. '} has no value'
      elseif seen and text:gsub('%$%${', ''):find('${password}', 1, true) then
        return at, 'a password in a command can be read by everybody; use env'
      end
    end
  end
end

--- Whether a description makes use of a password.
---@param d envctl.deps.Description
---@return boolean
function M.has_password(d)
  for _, key in ipairs { 'env', 'native_env', 'container_env', 'provides' } do
    for _, text in pairs(d[key] or {}) do
      if text:find('${password}', 1, true) then
        return true
      end
    end
  end
  return false
end

--- What it hands to services, by name. Ports are marks (see definitions.open_ports).
---@param id string
---@param chosen table facts.config.providers[id]
---@param about {project: string, root: string?, data: string?}
---@return table<string, envctl.launch.Source>
function M.sources(id, chosen, about)
  local number = chosen.provider == 'external' and function()
    return chosen.access.port or ''
  end or definitions.port_mark
  local scope, out = scope_of(id, chosen, about, number), {}
  local secret = scope.sources.password
  for name, template in pairs(chosen.described.provides) do
    local value = expand(template, scope)
    local hidden = value:find(secret, 1, true) or value:find(definitions.encode(secret), 1, true)
    out[name] = { value = value, secret = hidden ~= nil or definitions.has_token(value) or is_secret(name, value) }
  end
  return out
end

-- What the sources that a script adds to a bundled dependency may use: its port, and its own sources.
local function scope_of_more(id, sources, about, port)
  local mark, known = port or definitions.port_mark(id), {}
  for name, source in pairs(sources) do
    known[name] = source.value
  end
  return {
    port = mark, project = about.project, root = about.root, ports = { [id] = mark }, services = {}, env = {},
    sources = known,
  }
end

--- Why a source that a script adds to a bundled dependency cannot be made; nil when it can.
---@param id string
---@param text string
---@param settings envctl.Settings
---@return string? message
function M.check_more(id, text, settings)
  local sources = definitions.sources(id, { host = 'h', user = 'u', password = 'p', name = 'n' })
  local describe = definitions.by_id[id].describe
  for name, template in pairs(describe and describe(id, settings).provides or {}) do
    sources[name] = { value = template, secret = false }
  end
  local _, unknown = placeholders.expand(text, scope_of_more(id, sources, { project = 'p', root = '/r' }))
  return unknown and '${' .. unknown .. '} has no value' or nil
end

--- Adds sources of a script to those of a bundled dependency.
---@param id string
---@param sources table<string, envctl.launch.Source> changed
---@param more table<string, string>
---@param about {project: string, root: string?}
---@param port integer? of one that others run; else the plan assigns it
function M.add_sources(id, sources, more, about, port)
  local scope, secrets = scope_of_more(id, sources, about, port), {}
  for _, source in pairs(sources) do
    secrets[#secrets + 1] = source.secret and source.value ~= '' and source.value or nil
  end
  for name, template in pairs(more) do
    local value = expand(template, scope)
    local secret = is_secret(name, value)
    for _, hidden in ipairs(secrets) do
      secret = secret or value:find(hidden, 1, true) ~= nil
    end
    sources[name] = { value = value, secret = secret }
  end
end

local function filled_list(list, scope)
  local out = json.array {}
  for i, word in ipairs(list or {}) do
    out[i] = expand(word, scope)
  end
  return out
end

-- What it needs beside the password: values that are secret by name or look are masked, and returned apart.
local function filled_env(d, provider, scope)
  local shown, hidden = {}, {}
  for _, part in ipairs { d.env, provider == 'docker' and d.container_env or d.native_env or {} } do
    for name, template in pairs(part) do
      local value = expand(template, scope)
      local hides = template:find('${password}', 1, true) or definitions.has_token(value)
      if hides or is_secret(name, value) then
        hidden[name], shown[name] = value, '***'
      else
        shown[name] = value
      end
    end
  end
  return shown, next(hidden) and hidden or nil
end

--- Adds to the entry of a plan what its description says.
---@param entry table
---@param id string
---@param chosen table facts.config.providers[id]
---@param about {project: string, root: string, data: string?}
---@param numbers table<string, integer> ports of the project
---@return table<string, string>? secrets variables of its own that are masked in the entry
function M.fill(entry, id, chosen, about, numbers)
  local d, external = chosen.described, chosen.provider == 'external'
  local scope = scope_of(id, chosen, about, function(port_id)
    return external and chosen.access.port or numbers[port_id]
  end)
  local r = chosen.ready or d.ready
  entry.ports = {}
  entry.port = d.primary and scope.ports[d.primary] or chosen.access and chosen.access.port or json.null
  for _, p in ipairs(d.ports) do
    entry.ports[p.name] = scope.ports[p.name]
  end
  entry.needs = json.array(table.move(d.needs, 1, #d.needs, 1, {}))
  entry.ready = {
    kind = external and 'tcp' or r.kind, timeout_ms = r.timeout_ms, path = r.path, pattern = r.pattern,
    start_ms = r.start_ms, command = r.command and filled_list(r.command, scope) or nil,
  }
  if external then
    return nil
  end
  entry.primary = d.primary or json.null
  entry.bootstrap = d.bootstrap
  entry.url = r.kind == 'http' and scope.sources.url or json.null
  local env, hidden = filled_env(d, chosen.provider, scope)
  entry.env = env
  if chosen.provider == 'docker' then
    local inner = {}
    for _, p in ipairs(d.ports) do
      inner[p.name] = p.inner or p.base
    end
    entry.container = {
      ports = inner, volumes = json.array(table.move(d.volumes, 1, #d.volumes, 1, {})),
      args = filled_list(d.args, scope), listens = d.listens and json.array(d.listens), network = d.network,
    }
  else
    entry.command = filled_list(chosen.command, scope)
  end
  return hidden
end

return M
