--- Services of a plan: order from needs, environment and command filled in, secrets masked, digest per service. Pure.
local json = require 'envctl.util.json'
local placeholders = require 'envctl.plan.placeholders'
local digest = require 'envctl.plan.digest'

local M = {}

M.MASK = '***'

-- Parts of a variable's name that say that its value is nobody's business.
local SECRET_WORDS = {
  'PASSWORD', 'PASSWD', 'PASSPHRASE', 'SECRET', 'TOKEN', 'CREDENTIAL', 'DSN', 'APIKEY', 'PRIVATE_KEY', 'ACCESS_KEY',
}

--- Whether a variable's value must not be shown.
---@param name string
---@param value string
---@return boolean
function M.is_secret(name, value)
  local upper = name:upper()
  for _, word in ipairs(SECRET_WORDS) do
    if upper:find(word, 1, true) then
      return true
    end
  end
  -- KEY and PASS only as words of their own: KEYBOARD_LAYOUT and MONKEY are no keys.
  local spaced = '_' .. upper .. '_'
  if spaced:find('_KEYS?_') or spaced:find('_PASS_') or spaced:find('_PWD_') and upper ~= 'PWD' then
    return true
  end
  return value:find('@', 1, true) ~= nil and value:find('%a[%w+.-]*://[^/%s@]*:[^/%s@]+@') ~= nil
end

-- The needs of a service as far as they are services of this project, and what cannot be resolved.
local function edges(project, known_dependencies, skipped)
  local by_name, out, problems = {}, {}, {}
  for _, s in ipairs(project.services) do
    by_name[s.name] = s
  end
  for _, s in ipairs(project.services) do
    out[s.name] = {}
    for _, need in ipairs(s.needs or {}) do
      if by_name[need] then
        table.insert(out[s.name], need)
      elseif not known_dependencies[need] then
        problems[#problems + 1] = {
          code = skipped[need] and 'need_skipped' or 'unknown_need', service = s.name, need = need,
        }
      end
    end
  end
  return out, problems
end

-- A cycle as a list a, b, …, a; nil when there is none.
local function find_cycle(services, needs)
  local state, path = {}, {}
  local function visit(name)
    state[name] = 'open'
    path[#path + 1] = name
    for _, need in ipairs(needs[name]) do
      if state[need] == 'open' then
        local cycle, from = {}, 1
        while path[from] ~= need do
          from = from + 1
        end
        table.move(path, from, #path, 1, cycle)
        cycle[#cycle + 1] = need
        return cycle
      elseif not state[need] then
        local cycle = visit(need)
        if cycle then
          return cycle
        end
      end
    end
    path[#path] = nil
    state[name] = 'done'
  end
  for _, s in ipairs(services) do
    if not state[s.name] then
      local cycle = visit(s.name)
      if cycle then
        return cycle
      end
    end
  end
end

--- Layer (from 1) of every service: one more than the highest of what it needs.
---@param project table {services, skipped}
---@param known_dependencies table<string, boolean>
---@return table<string, integer> layers, table[] problems {code = 'dependency_cycle'|'unknown_need'|'need_skipped', …}
function M.layers(project, known_dependencies)
  local skipped = {}
  for _, s in ipairs(project.skipped or {}) do
    skipped[s.name] = true
  end
  local needs, problems = edges(project, known_dependencies, skipped)
  local layers = {}
  local cycle = find_cycle(project.services, needs)
  if cycle then
    problems[#problems + 1] = { code = 'dependency_cycle', cycle = cycle }
    for _, s in ipairs(project.services) do
      layers[s.name] = 1
    end
    return layers, problems
  end
  local function layer(name)
    if not layers[name] then
      local n = 1
      for _, need in ipairs(needs[name]) do
        n = math.max(n, layer(need) + 1)
      end
      layers[name] = n
    end
    return layers[name]
  end
  for _, s in ipairs(project.services) do
    layer(s.name)
  end
  return layers, problems
end

--- Address of a service as its users write it.
---@param port integer
---@return string
function M.url(port)
  return string.format('http://localhost:%d', port)
end

-- A name or list of words of a script or of detection, as a list.
local function words_of(command)
  return type(command) == 'string' and { command } or command
end

local function fill_list(list, scope, report)
  local out = json.array {}
  for i, word in ipairs(list) do
    local filled, unknown = placeholders.expand(word, scope)
    if not filled then
      report(unknown)
    end
    out[i] = filled or word
  end
  return out
end

local function fill_env(env, hidden, scope, report)
  local shown, secrets = {}, {}
  for name, text in pairs(env or {}) do
    local filled, unknown = placeholders.expand(tostring(text), scope)
    if not filled then
      report(unknown, name)
    else
      local secret = hidden[name] or M.is_secret(name, filled)
      secrets[name] = secret and filled or nil
      shown[name] = secret and M.MASK or filled
    end
  end
  return shown, secrets
end

-- What has to be filled in again when a service that is referred to turns out to listen elsewhere.
local function templates_of(service, secrets)
  local env, command = {}, nil
  for name, text in pairs(service.env or {}) do
    if not secrets[name] and #placeholders.services(tostring(text)) > 0 then
      env[name] = text
    end
  end
  for _, word in ipairs(words_of(service.command)) do
    if #placeholders.services(word) > 0 then
      command = json.array { table.unpack(words_of(service.command)) }
    end
  end
  if next(env) or command then
    return { env = next(env) and env or json.null, command = command or json.null }
  end
  return json.null
end

-- Changes with any of the hidden values, and is too short to test guesses against.
local function secrets_mark(scope_id, where, secrets)
  local names = {}
  for name in pairs(secrets) do
    names[#names + 1] = name
  end
  if #names == 0 then
    return json.null
  end
  table.sort(names)
  for i, name in ipairs(names) do
    names[i] = name .. '=' .. secrets[name]
  end
  local text = scope_id .. '\0' .. where .. '\0' .. table.concat(names, '\0')
  return require('envctl.host.hash').sha256(text):sub(1, 4)
end

local ORIGIN_KEYS = { 'layer', 'file', 'line', 'evidence' }

local function origin_of(service)
  local out = {}
  for field, o in pairs(service.origin or {}) do
    local entry = {}
    for _, key in ipairs(ORIGIN_KEYS) do
      entry[key] = o[key] == nil and json.null or o[key]
    end
    out[field] = entry
  end
  return out
end

local function prepare_of(service)
  local out = json.array {}
  for i, step in ipairs(service.prepare or {}) do
    out[i] = {
      name = step.name,
      command = json.array { table.unpack(step.command) },
      skip_reason = step.skip_reason or json.null,
      reason = step.reason or json.null,
      key = step.key, shell = step.shell, dir = step.dir, timeout_ms = step.timeout_ms,
      always = step.always, optional = step.optional,
      locate = step.locate and json.array { table.unpack(step.locate) } or nil,
      inputs = step.inputs and json.array { table.unpack(step.inputs) } or nil,
      outputs = step.outputs and json.array { table.unpack(step.outputs) } or nil,
    }
  end
  return out
end

-- The user's `ready`, with every key that says something.
local function ready_of(service)
  local out = {}
  for k, v in pairs(service.ready or { kind = service.listens ~= false and 'tcp' or 'none' }) do
    out[k] = type(v) == 'table' and json.array { table.unpack(v) } or v
  end
  return out
end

--- The optional keys that a script may give: they are in the plan only then.
local function extras(service, out)
  for _, key in ipairs { 'groups', 'health', 'stop' } do
    if service[key] ~= nil then
      out[key] = service[key]
    end
  end
end

---@class envctl.plan.ServiceContext
---@field project table
---@field scope envctl.plan.Scope
---@field layer integer
---@field facts table
---@field report fun(service: string, name: string, variable: string?) a placeholder without a value

--- One service of the plan.
---@param service table Detection
---@param context envctl.plan.ServiceContext
---@return table service, table<string, string> secrets
function M.build(service, context)
  local listens = service.listens ~= false
  local port = listens and context.scope.ports[service.name] or nil
  local scope = setmetatable({ port = port }, { __index = context.scope })
  local function report(name, variable)
    context.report(service.name, name, variable)
  end
  if context.decide then
    local project = context.project
    local chosen = context.decide('plan.env', {
      project = { name = project.name, mode = project.mode, root = project.root }, service = service.name, port = port,
    }, function()
      local own = {}
      for name, text in pairs(service.env or {}) do
        own[name] = text
      end
      return own
    end, project.name .. '/' .. service.name)
    service = setmetatable({ env = chosen }, { __index = service })
  end
  local env, secrets = fill_env(service.env, service.secrets or {}, scope, report)
  local where = context.project.name .. '/' .. service.name
  local out = {
    name = service.name,
    type = service.type or service.name,
    dir = service.dir ~= '' and service.dir or '.',
    command = fill_list(words_of(service.command), scope, report),
    shell = service.shell == true,
    env = env,
    secrets_mark = secrets_mark(context.facts.scope_id, where, secrets),
    templates = templates_of(service, secrets),
    port = port or json.null,
    port_fixed = listens and service.port_fixed ~= nil,
    listens = listens,
    url = port and M.url(port) or json.null,
    needs = json.array { table.unpack(service.needs or {}) },
    ready = ready_of(service),
    restart = service.restart or 'no',
    critical = service.critical ~= false,
    framework = service.framework or json.null,
    manager = service.manager or json.null,
    layer = context.layer,
    prepare = prepare_of(service),
    origin = origin_of(service),
  }
  extras(service, out)
  out.plan_digest = digest.service(out)
  return out, secrets
end

return M
