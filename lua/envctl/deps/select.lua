--- How each enabled dependency runs, and why. Looks at the world before a plan is made (files and settings only, nothing is run).
local definitions = require 'envctl.deps.definitions'

local M = {}

local function key_of(id, suffix)
  return 'ENVCTL_' .. id:upper() .. '_' .. suffix
end

local function where_of(origin)
  if origin and origin.file then
    return origin.line and origin.file .. ':' .. origin.line or origin.file
  end
end

-- Directories with Postgres binaries, newest version first: where Debian, Red Hat and Alpine put them, then PATH.
local function postgres_bins()
  local fs, sys = require 'envctl.host.fs', require 'envctl.host.sys'
  local out, seen = {}, {}
  local function add(bin, version)
    if not seen[bin] and fs.access(bin .. '/postgres', 'x') and fs.access(bin .. '/initdb', 'x') then
      seen[bin] = true
      out[#out + 1] = { bin = bin, version = version }
    end
  end
  for _, entry in ipairs(fs.list '/usr/lib/postgresql' or {}) do
    add('/usr/lib/postgresql/' .. entry.name .. '/bin', math.tointeger(tonumber(entry.name)))
  end
  for _, entry in ipairs(fs.list '/usr' or {}) do
    local version = entry.name:match '^pgsql%-(%d+)$'
    if version then
      add('/usr/' .. entry.name .. '/bin', math.tointeger(tonumber(version)))
    end
  end
  local on_path = sys.which 'postgres'
  on_path = on_path and fs.realpath(on_path)
  if on_path then
    local bin = on_path:match '^(.*)/[^/]+$'
    add(bin, math.tointeger(tonumber(bin:match '/(%d+)/bin$')))
  end
  table.sort(out, function(a, b)
    return (a.version or 0) > (b.version or 0)
  end)
  return out
end

local find = {}

--- The version that made the data wins over the newest.
function find.postgres(dirs)
  local fs = require 'envctl.host.fs'
  local bins = postgres_bins()
  local made = {}
  for _, dir in ipairs(dirs) do
    local version = fs.read(dir .. '/data/PG_VERSION', { max = 64 })
    made[math.tointeger(tonumber((version or ''):match '%d+')) or 0] = true
  end
  for _, b in ipairs(bins) do
    if b.version and made[b.version] then
      return b
    end
  end
  return bins[1]
end

function find.redis()
  local program = require('envctl.host.sys').which 'redis-server'
  return program and { bin = program:match '^(.*)/[^/]+$' } or nil
end

-- A password that somebody wrote down is used; the default of the table is not: then one is made.
local function own_password(settings, key)
  local value = settings:get(key)
  if value and value ~= '' and settings:origin(key).layer ~= 'bundled' then
    return value
  end
end

local access = {}

function access.postgres(settings)
  return {
    host = settings:get 'DB_HOST' or 'localhost',
    user = settings:get 'DB_USER' or 'postgres',
    password = own_password(settings, 'DB_PASSWORD'),
    name = settings:get 'DB_NAME' or 'postgres',
  }
end

function access.redis()
  return { host = 'localhost' }
end

local function native(id, context)
  if not find[id] then
    return nil, 'native: there is no server for this machine'
  end
  local found = find[id](context.dirs(id))
  if not found then
    return nil, 'native: no ' .. definitions.by_id[id].programs[1] .. ' on this machine'
  end
  local user
  if context.root_user then
    user = require('envctl.deps.places').user(definitions.by_id[id].user)
    if not user then
      return nil, 'native: no unprivileged user to run it as'
    end
  end
  return {
    provider = 'native',
    why = 'native: ' .. found.bin,
    bin = found.bin,
    version = found.version,
    user = user,
  }
end

-- `auto` only believes a daemon that answers; one that is asked for by name may be anywhere.
local function docker(id, settings, context, wanted, shared)
  if shared then
    return nil, 'docker: shared servers are native ones'
  end
  if context.docker == nil then
    context.docker, context.docker_why = require('envctl.deps.dockerd').answers(require('envctl.host.sys').environ())
  end
  local remote = wanted == 'docker' and not require('envctl.deps.dockerd').socket(require('envctl.host.sys').environ())
  if not context.docker and not remote then
    return nil, context.docker_why
  end
  local image = settings:get(key_of(id, 'IMAGE')) or definitions.by_id[id].image
  return { provider = 'docker', why = remote and 'docker: DOCKER_HOST is set' or context.docker_why, image = image }
end

-- A command of the user's. What it listens with is what the configuration says, defaults included.
local function command(id, settings)
  local key = 'ENVCTL_REQUIREMENT_' .. id:upper() .. '_CMD'
  local text = settings:get(key)
  if not text or text == '' or not access[id] then
    return nil
  end
  local where = where_of(settings:origin(key))
  local parse = require 'envctl.detect.command'
  local words, why = parse.split(text)
  if not words or #words == 0 then
    return nil, { code = 'config_invalid', message = key .. ': ' .. (why or 'is empty'), where = where }
  end
  for i, word in ipairs(words) do
    words[i] = parse.to_template(word)
  end
  local reach = access[id](settings)
  if id == 'postgres' then
    reach.password = settings:get 'DB_PASSWORD'
  end
  return { provider = 'command', why = key .. ' is set', command = words, access = reach }
end

local function external(id, settings)
  local key = key_of(id, 'URL')
  local url = settings:get(key)
  if not url or url == '' then
    return nil, 'external: ' .. key .. ' is not set'
  end
  local parsed, why = definitions.parse_url(id, url)
  if not parsed then
    local where = where_of(settings:origin(key))
    return nil, key .. ': ' .. why, { code = 'config_invalid', message = key .. ': ' .. why, where = where }
  end
  return { provider = 'external', why = key .. ' is set', access = parsed }
end

local function problem(id, message, hint, where)
  return {
    code = 'dependency_unavailable', message = message, hint = hint, where = where, dependency = id,
  }
end

-- One dependency: {provider, why, …}, or nil and an error object.
local function choose(id, settings, context)
  local key = key_of(id, 'PROVIDER')
  local wanted = context.wanted[id] or settings:get(key) or 'auto'
  local where = where_of(settings:origin(key))
  if wanted == 'off' then
    return nil
  end
  if wanted == 'external' or (wanted == 'auto' and (settings:get(key_of(id, 'URL')) or '') ~= '') then
    local found, why, e = external(id, settings)
    return found, e or not found and problem(id, id .. ': ' .. why, 'set it, or choose another provider', where) or nil
  end
  local own, broken = command(id, settings)
  if own or broken then
    return own, broken
  elseif wanted == 'command' then
    local setting = 'ENVCTL_REQUIREMENT_' .. id:upper() .. '_CMD'
    return nil, problem(id, id .. ': ' .. setting .. ' is not set', 'set it, or choose another provider', where)
  end
  local shared = settings:get(key_of(id, 'SCOPE')) == 'shared'
  local found, why, docker_why
  if wanted ~= 'native' and definitions.by_id[id].image then
    found, docker_why = docker(id, settings, context, wanted, shared)
    if not found and wanted == 'docker' then
      local e = problem(id, id .. ': ' .. docker_why, 'start the daemon, or set ' .. key .. '=native', where)
      e.code = 'docker_unavailable'
      return nil, e
    end
  end
  if not found then
    found, why = native(id, context)
    if found and docker_why then
      found.why = docker_why .. '; ' .. found.why
    end
  end
  if found then
    found.access = access[id](settings)
    return found
  end
  why = docker_why and docker_why .. '; ' .. why or why
  return nil, problem(id, id .. ' is enabled, but there is no way to run it: ' .. why,
    access[id] and 'install it, set ' .. key_of(id, 'URL') .. ', or switch it off' or 'switch it off', where)
end

-- Fixed port of a dependency, from ENVCTL_<X>_PORT.
local function fixed_port(id, settings)
  local port = settings:get(key_of(id, 'PORT'))
  return math.type(port) == 'integer' and port or nil
end

--- Fills facts.config.providers (id -> how it runs); what cannot run becomes an error or, with
--- ENVCTL_REQUIREMENTS_STRICT=false, a warning. Takes out what is switched off.
---@param ctx table
---@param facts table
---@param flags table of the route
function M.gather(ctx, facts, flags)
  local list = facts.config.dependencies
  if #list == 0 or facts.config.conflict then
    return -- what excludes each other is an error by itself
  end
  local places = require 'envctl.deps.places'
  local settings = ctx.settings
  local base = places.base(settings, ctx.paths, ctx.roots.root)
  local context = {
    root_user = require('envctl.host.sys').geteuid() == 0,
    wanted = facts.config.wanted_providers or {}, -- what scripts decided
  }
  function context.dirs(id)
    local out = {}
    local scope = base .. '/' .. ctx.paths.scope_id
    for _, entry in ipairs(require('envctl.host.fs').list(scope) or {}) do
      out[#out + 1] = scope .. '/' .. entry.name .. '/' .. id
    end
    return out
  end
  local kept, providers = {}, {}
  for _, id in ipairs(list) do
    local found, e = choose(id, settings, context)
    if found then
      kept[#kept + 1] = id
      found.base = base
      found.fixed = fixed_port(id, settings)
      local ours = found.provider == 'native' or found.provider == 'docker'
      found.scope = ours and settings:get(key_of(id, 'SCOPE')) or 'isolated'
      if ours then
        found.access.password = found.access.password or definitions.token(id)
      end
      -- Only what has no data yet is seeded, from the data of the main working tree.
      found.seed = flags.seed_requirements_from_base == true and facts.mode == 'trees' and found.provider == 'native'
        and found.scope == 'isolated' and 'Main' or nil
      providers[id] = found
    elseif e then
      kept[#kept + 1] = id -- still enabled, and shown with the plan
      local strict = settings:get 'ENVCTL_REQUIREMENTS_STRICT' ~= false
      local problems = strict and facts.config_errors or facts.config_warnings
      problems[#problems + 1] = e
    end
  end
  facts.config.dependencies, facts.config.providers = kept, providers
end

return M
