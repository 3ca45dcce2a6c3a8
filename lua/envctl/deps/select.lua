--- How each enabled dependency runs, and why. Looks at the world before a plan is made (files and settings only, nothing is run).
local definitions = require 'envctl.deps.definitions'

local M = {}

local key_of = definitions.key

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

local PASSWORD_KEYS = { postgres = 'DB_PASSWORD', supabase = 'SUPABASE_DB_PASSWORD' }

--- The password of a dependency that somebody wrote down: it is kept nowhere else.
---@param settings envctl.Settings
---@param id string
---@param provider string? a command of one's own reads the default of the table as well
---@return string?
function M.written_password(settings, id, provider)
  local key = PASSWORD_KEYS[id]
  if id == 'postgres' and provider == 'command' then
    return settings:get(key)
  end
  return key and own_password(settings, key)
end

local access = {}

function access.postgres(settings)
  return {
    host = settings:get 'DB_HOST' or 'localhost',
    user = settings:get 'DB_USER' or 'postgres',
    password = M.written_password(settings, 'postgres'),
    name = settings:get 'DB_NAME' or 'postgres',
  }
end

function access.supabase(settings)
  return {
    host = 'localhost', user = 'postgres', name = 'postgres',
    password = M.written_password(settings, 'supabase') or definitions.token 'supabase',
  }
end

function access.redis()
  return { host = 'localhost' }
end

local function native(def, context)
  local program = def.programs[1]
  if not program then
    return nil, 'native: there is no server for this machine'
  end
  local found
  if find[def.id] then
    found = find[def.id](context.dirs(def.id))
  else
    local path = require('envctl.host.sys').which(program)
    found = path and { bin = path:match '^(.*)/[^/]+$' }
  end
  if not found then
    return nil, 'native: no ' .. program .. ' on this machine'
  end
  local user
  if context.root_user and #def.user > 0 then
    user = require('envctl.deps.places').user(def.user)
    if not user then
      return nil, 'native: no unprivileged user to run it as'
    end
  end
  local command = def.described and { found.bin .. '/' .. program, table.unpack(def.described.command, 2) }
  return {
    provider = 'native', why = 'native: ' .. found.bin, bin = found.bin, program = found.bin .. '/' .. program,
    version = found.version, user = user, command = command,
  }
end

-- Of docker, `auto` only believes a daemon that answers; one that is asked for by name may be anywhere.
local function docker(context, wanted)
  local engine, env = require 'envctl.deps.engine', context.env
  if context.docker == nil then
    context.docker, context.docker_why = engine.docker(env)
  end
  if context.docker then
    return { provider = 'docker', engine = 'docker', why = context.docker_why }
  elseif wanted == 'docker' and not engine.socket(env) then
    return { provider = 'docker', engine = 'docker', why = 'docker: DOCKER_HOST is set' }
  end
  return nil, context.docker_why
end

-- Has no daemon that somebody started because containers are wanted: that it is installed says little. So `auto` takes it last.
local function podman(context)
  local path = require('envctl.deps.engine').podman(context.env)
  if path then
    return { provider = 'docker', engine = 'podman', why = 'podman: ' .. path }
  end
end

-- A command of the user's. What it listens with is what the configuration says, defaults included.
local function command(def, settings)
  local id = def.id
  local key = definitions.command_key(id)
  local text = settings:get(key)
  if not text or text == '' or not (access[id] or def.described) then
    return nil
  end
  local parse = require 'envctl.detect.command'
  local words = text
  if type(text) == 'string' then -- a script's is a list already
    local why
    words, why = parse.split(text)
    if not words or #words == 0 then
      local where = where_of(settings:origin(key))
      return nil, { code = 'config_invalid', message = key .. ': ' .. (why or 'is empty'), where = where }
    end
    for i, word in ipairs(words) do
      words[i] = parse.to_template(word)
    end
  end
  local reach = access[id] and access[id](settings)
  if id == 'postgres' then
    reach.password = M.written_password(settings, id, 'command')
  end
  local shown = settings:origin(key).layer == 'script' and where_of(settings:origin(key)) or key .. ' is set'
  local found = { provider = 'command', why = shown, command = words, access = reach }
  if def.describe and def.described.ready.kind == 'command' then
    found.ready = { kind = 'tcp', timeout_ms = def.described.ready.timeout_ms } -- the other is for inside of a container
  end
  return found
end

-- The command that a script's own dependency runs.
local function own_command(def)
  if def.scripted and def.described.command then
    return { provider = 'command', why = 'command: of the script', command = def.described.command }
  end
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

-- Runs it as a process of this machine.
local function as_process(def, context)
  if def.scripted then
    local found = own_command(def)
    return found, not found and 'command: the script says none' or nil
  end
  return native(def, context)
end

-- The ways that are wanted, in order: each returns how it runs, or nil and why not.
local function ways(def, settings, context, wanted, image)
  local out = {}
  local contained = image and (wanted == 'auto' or wanted == 'docker')
  if contained and settings:get(key_of(def.id, 'SCOPE')) == 'shared' and not def.described then
    out[1] = function()
      return nil, 'docker: shared servers are native ones'
    end
    contained = false
  end
  if contained then
    out[#out + 1] = function()
      return docker(context, wanted)
    end
  end
  if wanted ~= 'docker' then
    out[#out + 1] = function()
      return as_process(def, context)
    end
  end
  if contained then
    out[#out + 1] = function()
      return podman(context)
    end
  end
  return out
end

-- What runs it here or in a container: the first of the ways that are wanted and there. nil and all the reasons.
local function run(def, settings, context, wanted)
  local image, reasons = settings:get(key_of(def.id, 'IMAGE')) or def.image, {}
  if wanted == 'docker' and not image then
    return nil, 'docker: it has no image', { hint = 'say which: ' .. key_of(def.id, 'IMAGE') }
  end
  for _, way in ipairs(ways(def, settings, context, wanted, image)) do
    local found, why = way()
    reasons[#reasons + 1] = found and found.why or why
    if found then
      found.why = table.concat(reasons, '; ')
      found.image = found.provider == 'docker' and image or nil
      return found
    end
  end
  local all = table.concat(reasons, '; ')
  if wanted == 'docker' then
    return nil, all, {
      code = 'docker_unavailable', hint = 'start the daemon, or set ' .. key_of(def.id, 'PROVIDER') .. '=native',
    }
  end
  return nil, all
end

-- One dependency: {provider, why, …}, or nil and an error object.
local function choose(def, settings, context)
  local id, key = def.id, key_of(def.id, 'PROVIDER')
  local wanted = context.wanted[id] or settings:get(key) or 'auto'
  local where = where_of(settings:origin(key))
  if wanted == 'off' then
    return nil
  end
  if wanted == 'external' or (wanted == 'auto' and (settings:get(key_of(id, 'URL')) or '') ~= '') then
    local found, why, e = external(id, settings)
    return found, e or not found and problem(id, id .. ': ' .. why, 'set it, or choose another provider', where) or nil
  end
  local own, broken = command(def, settings)
  if own or broken then
    return own, broken
  elseif wanted == 'command' and not def.scripted then
    local message = id .. ': ' .. definitions.command_key(id) .. ' is not set'
    return nil, problem(id, message, 'set it, or choose another provider', where)
  end
  local found, why, more = run(def, settings, context, wanted)
  if found then
    found.access = access[id] and access[id](settings) or { host = 'localhost' }
    return found
  elseif more then
    local e = problem(id, id .. ': ' .. why, more.hint, where)
    e.code = more.code or e.code
    return nil, e
  end
  local hint = 'switch it off'
  if access[id] or def.described then
    hint = (def.scripted and 'start the docker daemon, give it a command' or 'install it')
      .. ', set ' .. key_of(id, 'URL') .. ', or ' .. hint
  end
  return nil, problem(id, id .. ' is enabled, but there is no way to run it: ' .. why, hint, where)
end

-- Fixed port of a dependency, from ENVCTL_<X>_PORT.
local function fixed_port(id, settings)
  local port = settings:get(key_of(id, 'PORT'))
  return math.type(port) == 'integer' and port or nil
end

local BUDGET = {
  postgres = 'ENVCTL_POSTGRES_LISTENER_WAIT_TIMEOUT_SECONDS', redis = 'ENVCTL_REDIS_LISTENER_WAIT_TIMEOUT_SECONDS',
  n8n = 'ENVCTL_N8N_PROBE_TIMEOUT_SECONDS', supabase = 'ENVCTL_SUPABASE_DB_PROBE_TIMEOUT_SECONDS',
}

-- How long it may take until it is usable, where somebody said so.
local function budget_ms(id, settings)
  local seconds = BUDGET[id] and settings:get(BUDGET[id])
  return seconds and seconds > 0 and math.floor(seconds * 1000) or nil
end

-- The ports of containers that are there, by the names of their projects' directories, where they are to stay
-- (ENVCTL_REQUIREMENTS_PORT_MISMATCH_POLICY). A port that somebody fixed is no less fixed for that.
local function adopted_ports(found, def, settings, context)
  if found.provider ~= 'docker' or found.fixed
      or settings:get 'ENVCTL_REQUIREMENTS_PORT_MISMATCH_POLICY' ~= 'adopt_existing' then
    return nil
  end
  local out = {}
  for _, dir in ipairs(context.dirs(def.id)) do
    out[dir:match '([^/]+)/[^/]+$'] = require('envctl.deps.places').container_ports(dir)
  end
  found.why = found.why .. '; a container that is there stays on its port'
  return out
end

-- What a definition says about every way to run it.
local function complete(found, def, settings, extra, context)
  local id = def.id
  local ours = found.provider == 'native' or found.provider == 'docker' or def.described ~= nil
  found.fixed = fixed_port(id, settings)
  found.adopted = adopted_ports(found, def, settings, context)
  local scoped = ours and found.provider ~= 'external' and not def.parts
  found.scope = scoped and settings:get(key_of(id, 'SCOPE')) or 'isolated'
  found.ready_ms = budget_ms(id, settings)
  found.described, found.layer, found.provides = def.described, def.layer, extra.provides[id]
  if found.access and ours and found.provider ~= 'external' and not def.described then
    found.access.password = found.access.password or definitions.token(id)
  end
end

-- What is described according to settings, described.
local function with_description(def, settings)
  if not def.describe then
    return def
  end
  local described = def.describe(def.id, settings)
  return setmetatable({
    described = described, image = described.image or def.image,
  }, { __index = def })
end

local function with_parts(list)
  local out = {}
  for _, id in ipairs(list) do
    out[#out + 1] = id
    for _, part in ipairs(definitions.by_id[id] and definitions.by_id[id].parts or {}) do
      out[#out + 1] = part
    end
  end
  return out
end

--- Fills facts.config.providers (id -> how it runs); what cannot run becomes an error or, with
--- ENVCTL_REQUIREMENTS_STRICT=false, a warning. Takes out what is switched off.
---@param ctx table
---@param facts table
---@param flags table of the route
---@param extra {declared: table<string, envctl.deps.Definition>, provides: table<string, table<string, string>>} of scripts
function M.gather(ctx, facts, flags, extra)
  local list = facts.config.dependencies
  if #list == 0 or facts.config.conflict then
    return -- what excludes each other is an error by itself
  end
  local places = require 'envctl.deps.places'
  local settings = ctx.settings
  local base = places.base(settings, ctx.paths, ctx.roots.root)
  local context = {
    root_user = require('envctl.host.sys').geteuid() == 0, env = require('envctl.host.sys').environ(),
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
  local function missing_whole(def)
    local whole = def.part_of and providers[def.part_of]
    return def.part_of and not (whole and whole.provider == 'docker')
  end
  local strict = settings:get 'ENVCTL_REQUIREMENTS_STRICT' ~= false
  local problems = strict and facts.config_errors or facts.config_warnings
  for _, id in ipairs(with_parts(list)) do
    local def = with_description(extra.declared[id] or definitions.by_id[id], settings)
    context.wanted[id] = def.part_of and 'docker' or context.wanted[id]
    local found, e
    if not missing_whole(def) then
      found, e = choose(def, settings, context)
    end
    if found then
      kept[#kept + 1] = id
      found.base, found.required = base, strict
      complete(found, def, settings, extra, context)
      -- Only what has no data yet is seeded, from the data of the main working tree.
      found.seed = flags.seed_requirements_from_base == true and facts.mode == 'trees' and found.provider == 'native'
        and found.scope == 'isolated' and not def.described and 'Main' or nil
      providers[id] = found
    elseif e then
      kept[#kept + 1] = id -- still enabled, and shown with the plan
      problems[#problems + 1] = e
    end
  end
  for id, found in pairs(providers) do
    for _, need in ipairs(found.described and found.described.needs or {}) do
      if not providers[need] then
        problems[#problems + 1] = problem(id, id .. ' needs ' .. need .. ', which does not run here',
          'switch it on, or take it out of the needs of ' .. id)
      end
    end
  end
  facts.config.dependencies, facts.config.providers = kept, providers
end

return M
