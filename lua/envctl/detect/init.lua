--- Files on disk -> services of one project, each with the evidence for it. The result is plain data in the shape that services
--- of a script have as well, so nothing after this asks where a service came from.
local Files = require 'envctl.detect.files'

local M = {}

-- The two bundled entries. Everything about them that differs is here.
local BUNDLED = {
  { name = 'backend', dir = 'backend' },
  { name = 'frontend', dir = 'frontend' },
}

local function key_of(service, suffix)
  return 'ENVCTL_' .. service.name:upper() .. suffix
end

local function enable_key(mode, service)
  return mode:upper() .. '_' .. service.name:upper() .. '_ENABLE'
end

local function where_of(origin)
  if origin and origin.file then
    return origin.line and origin.file .. ':' .. origin.line or origin.file
  end
  return nil
end

local function problem(code, message, hint, where)
  return { code = code, message = message, hint = hint, where = where }
end

-- Where to look for a service: the configured directory, and the project root when nobody asked for another one.
-- Returns nil and a problem for a directory that cannot be used.
local function places(files, settings, service)
  local key = service.name:upper() .. '_DIR'
  local value = settings:get(key)
  local origin = settings:origin(key) or { layer = 'bundled' }
  local wanted = type(value) == 'string' and value or service.dir
  local dir = Files.clean(wanted)
  local where = where_of(origin) or key
  if not dir then
    return nil, problem('config_invalid', key .. '=' .. wanted .. ' leaves the project directory',
      'give a directory below ' .. files.root, where)
  end
  if dir == '' then
    return { { dir = '', origin = origin } }
  end
  if not files:is_dir(dir) then
    if dir ~= service.dir then
      return nil, problem('service_dir_missing', key .. ': `' .. dir .. '` is not a directory in ' .. files.root,
        'correct ' .. key .. ', or switch the service off', where)
    end
    return { { dir = '', fallback = true, origin = { layer = 'bundled', evidence = 'there is no `' .. dir .. '`' } } }
  end
  if not files:inside(dir) then
    return nil, problem('config_invalid', key .. ': `' .. dir .. '` is a link that leaves the project directory',
      'give a directory below ' .. files.root, where)
  end
  local own = { dir = dir, origin = origin }
  if dir ~= service.dir then
    return { own }
  end
  local root_origin = { layer = 'bundled', evidence = '`' .. dir .. '` has no service' }
  return { own, { dir = '', fallback = true, origin = root_origin } }
end

-- A package in the project root may be anybody's: it goes to one service only, and never when it is about other packages.
local function root_package(files, service, taken)
  local node = require 'envctl.detect.node'
  local found, why, package = node.detect(files, '')
  if not found then
    return nil, why
  end
  if taken[found.file] then
    return nil, '`' .. found.file .. '` is the ' .. taken[found.file] .. ' already'
  end
  local _, script = node.script(package or {})
  local other = package and node.delegates(package, script)
  if other then
    return nil, '`' .. found.file .. '` starts other packages (' .. other .. ')'
  end
  local browser = package and node.browser(package)
  if service.name == 'backend' and browser then
    return nil, '`' .. found.file .. '` is a frontend (' .. browser .. ')'
  end
  return found
end

local function python_options(settings, service, place)
  return {
    only_servers = place.fallback,
    python = settings:get 'PYTHON_BIN',
    no_prepare = service.no_prepare,
    migrations = settings:get 'ENVCTL_BACKEND_MIGRATIONS_ON_STARTUP',
    strict = settings:get 'ENVCTL_BACKEND_BOOTSTRAP_STRICT',
  }
end

local function find_in(files, settings, service, place, taken)
  if service.name == 'backend' then
    local options = python_options(settings, service, place)
    local found = require('envctl.detect.python').detect(files, place.dir, options)
    if found then
      return found
    end
  end
  if place.fallback then
    return root_package(files, service, taken)
  end
  local found, why = require('envctl.detect.node').detect(files, place.dir)
  if found and taken[found.file] then
    return nil, '`' .. found.file .. '` is the ' .. taken[found.file] .. ' already'
  end
  return found, why
end

-- What comes before the command that the user gave: what its directory needs, whatever starts it.
local function before_override(files, settings, service, place)
  local python = service.name == 'backend'
    and require('envctl.detect.python').before(files, place.dir, python_options(settings, service, place))
  if python then
    return python
  elseif place.fallback then
    return root_package(files, service, {})
  end
  return (require('envctl.detect.node').detect(files, place.dir))
end

-- The command the user gave, checked. Its words are split before anything is put into them.
local function override(files, settings, service, place)
  local key = key_of(service, '_START_CMD')
  local text = settings:get(key)
  if type(text) ~= 'string' or not text:find('%S') then
    return nil
  end
  local origin = settings:origin(key) or { layer = 'bundled' }
  local command = require 'envctl.detect.command'
  local words, why = command.split(text)
  local before = before_override(files, settings, service, place) or {}
  local hint
  if words then
    why, hint = command.check(words, place.dir, files, text, before.venv ~= nil)
  end
  local found = {
    command = {},
    framework = 'command',
    env = { VIRTUAL_ENV = before.venv },
    prepare = before.prepare or {},
    origin = { layer = origin.layer, file = origin.file, line = origin.line, evidence = key },
  }
  for i, word in ipairs(words or {}) do
    found.command[i] = command.to_template(word)
  end
  if why then
    local where = where_of(origin) or key
    found.problem = { code = 'config_invalid', message = key .. ': ' .. why, hint = hint, where = where }
  end
  return found
end

local function look(files, settings, service, taken)
  local candidates, bad = places(files, settings, service)
  if not candidates then
    return nil, bad
  end
  local found = override(files, settings, service, candidates[1])
  if found then
    return found, nil, candidates[1]
  end
  local reasons = {}
  for _, place in ipairs(candidates) do
    local why
    found, why = find_in(files, settings, service, place, taken)
    if found then
      return found, nil, place
    end
    reasons[#reasons + 1] = why
  end
  local looked = {}
  for i, place in ipairs(candidates) do
    looked[i] = place.dir == '' and 'the project root' or '`' .. place.dir .. '`'
  end
  local reason = 'no ' .. service.name .. ' found in ' .. table.concat(looked, ' or ')
  if #reasons > 0 then
    reason = reason .. ' (' .. table.concat(reasons, '; ') .. ')'
  end
  return nil, nil, nil, reason
end

-- How long a service may take to be ready: its own key, the key for all, half a minute.
local function timeout_ms(settings, service)
  for _, key in ipairs { key_of(service, '_READY_TIMEOUT'), 'ENVCTL_SERVICE_LISTENER_TIMEOUT' } do
    local seconds = tonumber(settings:get(key))
    if seconds and seconds > 0 then
      return math.floor(seconds * 1000 + 0.5), settings:origin(key)
    end
  end
  return 30000, { layer = 'bundled' }
end

-- When a service counts as ready: a path that answers, when one is given, else its port.
local function readiness(settings, service)
  local budget, origin = timeout_ms(settings, service)
  local key = key_of(service, '_READY_HTTP')
  local path = settings:get(key)
  if type(path) == 'string' and path ~= '' then
    local full = path:sub(1, 1) == '/' and path or '/' .. path
    return { kind = 'http', path = full, timeout_ms = budget }, settings:origin(key)
  end
  return { kind = 'tcp', timeout_ms = budget }, origin
end

local function with_evidence(found)
  if found.origin then
    return found.origin
  end
  return { layer = 'bundled', file = found.file, line = found.line, evidence = found.evidence }
end

-- What a service finds in its environment, with placeholders.
local function environment(service, found)
  local env = { PORT = '${port}', ENVCTL_PROJECT_NAME = '${project}' }
  for name, value in pairs(found.env) do
    env[name] = value
  end
  if service.name == 'frontend' and service.beside_backend then
    env.VITE_BACKEND_URL = '${services.backend.url}'
    env.VITE_API_URL = '${services.backend.url}/api/v1'
  end
  return env
end

local function entry(settings, service, found, place)
  local base_key = service.name:upper() .. '_PORT_BASE'
  local port_key = key_of(service, '_PORT')
  local restart_key = key_of(service, '_RESTART')
  local fixed = settings:get(port_key)
  local ready, ready_origin = readiness(settings, service)
  local bundled = { layer = 'bundled' }
  return {
    name = service.name,
    type = service.name,
    dir = place.dir,
    command = found.command,
    shell = false,
    listens = true,
    env = environment(service, found),
    ready = ready,
    needs = {},
    critical = true,
    restart = settings:get(restart_key) or 'no',
    framework = found.framework,
    manager = found.manager,
    prepare = found.prepare,
    port_key = base_key,
    port_base = settings:get(base_key),
    port_fixed = fixed,
    origin = {
      command = with_evidence(found),
      dir = place.origin,
      port = settings:origin(fixed and port_key or base_key) or bundled,
      env = bundled,
      ready = ready_origin or bundled,
      restart = settings:get(restart_key) and settings:origin(restart_key) or bundled,
      listens = bundled,
      needs = bundled,
      critical = bundled,
    },
  }
end

local function found_problem(service, found)
  local p = found.problem
  return problem(p.code or 'executable_missing', p.message, p.hint, p.where or found.file or service.name)
end

--- Services of one project.
---@param project {name: string, mode: 'main'|'trees', root: string, off: table?, no_prepare: boolean?, place: string?} off: those
--- left out on the command line; no_prepare: nothing is made before a start; place: where a worktree will be that root stands for
---@param settings table
---@param host? {fs: table, sys: table} fakes
---@return {services: table[], skipped: {name: string, reason: string, enabled: boolean}[], problems: table[], warnings: table[]}
function M.services(project, settings, host)
  local files = Files.open(project.root, host)
  files.place = project.place
  local out = { services = {}, skipped = {}, problems = {}, warnings = {} }
  local taken, by_name = {}, {}
  for _, bundled in ipairs(BUNDLED) do
    local service = {
      name = bundled.name, dir = bundled.dir, beside_backend = by_name.backend, no_prepare = project.no_prepare,
    }
    local key = enable_key(project.mode, service)
    if project.off and project.off[service.name] then
      out.skipped[#out.skipped + 1] = { name = service.name, reason = 'left out on the command line', enabled = false }
    elseif settings:get(key) == false then
      out.skipped[#out.skipped + 1] = {
        name = service.name, reason = 'switched off by ' .. key, enabled = false, origin = settings:origin(key),
      }
    else
      local found, bad, place, reason = look(files, settings, service, taken)
      if found then
        by_name[service.name] = true
        if found.file then
          taken[found.file] = service.name
        end
        out.services[#out.services + 1] = entry(settings, service, found, place)
        if found.problem then
          out.problems[#out.problems + 1] = found_problem(service, found)
        end
        for _, text in ipairs(found.warnings or {}) do
          out.warnings[#out.warnings + 1] = problem('service_note', text, nil, service.name)
        end
      elseif bad then
        bad.service = service.name
        out.problems[#out.problems + 1] = bad
        out.skipped[#out.skipped + 1] = { name = service.name, reason = bad.message, enabled = true }
      else
        out.skipped[#out.skipped + 1] = {
          name = service.name, reason = reason, enabled = true, origin = settings:origin(key),
        }
      end
    end
  end
  return out
end

return M
