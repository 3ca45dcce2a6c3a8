--- What every planner has to hold to, bundled or not: the rest of envctl relies on it. `envctl script check` runs these against a
--- replacement. How a planner decides is its own affair, so nothing here compares it with the bundled one. Pure.
local json = require 'envctl.util.json'
local facts = require 'envctl.script.contract.facts'

local M = {}

---@class envctl.script.Contract
---@field name string what is held
---@field facts table
---@field check fun(document: table, secrets: table, facts: table): string? what is wrong

local function codes(document)
  local out = {}
  for _, b in ipairs(document.blockers) do
    out[b.code] = true
  end
  return out
end

local function projects_of(document)
  return type(document.plan) == 'table' and document.plan.projects or {}
end

-- Every service of a plan, with its project.
local function each_service(document)
  local out = {}
  for _, project in ipairs(projects_of(document)) do
    for _, service in ipairs(project.services or {}) do
      out[#out + 1] = { project = project, service = service, where = project.name .. '/' .. tostring(service.name) }
    end
  end
  return out
end

local function find(document, name)
  for _, s in ipairs(each_service(document)) do
    if s.service.name == name then
      return s.service
    end
  end
end

local SERVICE_KEYS = {
  name = 'string', dir = 'string', command = 'table', env = 'table', layer = 'integer', listens = 'boolean',
  ready = 'table', restart = 'string', critical = 'boolean', needs = 'table', shell = 'boolean',
}

local function kind_of(v)
  return math.type(v) == 'integer' and 'integer' or type(v)
end

-- What the keeper reads of a service.
local function service_problem(s)
  for key, kind in pairs(SERVICE_KEYS) do
    if kind_of(s.service[key]) ~= kind then
      return string.format('%s has no %s (%s expected)', s.where, key, kind)
    end
  end
  if #s.service.command == 0 then
    return s.where .. ' has an empty command'
  elseif s.service.listens and math.type(s.service.port) ~= 'integer' then
    return s.where .. ' listens, but has no port'
  end
  for name, value in pairs(s.service.env) do
    if type(value) ~= 'string' then
      return s.where .. '.env.' .. name .. ' is no string'
    end
  end
end

-- Ports are somebody's once, and in range.
local function port_problem(document)
  local seen = {}
  for _, s in ipairs(each_service(document)) do
    local port = math.type(s.service.port) == 'integer' and s.service.port
    if port and (port < 1 or port > 65535) then
      return s.where .. ' has port ' .. port
    elseif port and seen[port] then
      return string.format('%s and %s both have port %d', seen[port], s.where, port)
    end
    seen[port or 0] = s.where
  end
end

-- True of every document.
local function always(document, f)
  if document.schema ~= 'envctl.explain_startup.v1' then
    return 'schema is not "envctl.explain_startup.v1"'
  elseif document.explains ~= f.command or document.mode ~= f.mode then
    return 'explains and mode are not those that were asked for'
  elseif (#document.blockers > 0) ~= (document.decision == 'blocked') then
    return 'the decision is "blocked" when there are blockers, and only then'
  end
  for _, s in ipairs(each_service(document)) do
    local why = service_problem(s)
    if why then
      return why
    end
  end
  return port_problem(document)
end

local function blocks(code)
  return function(document)
    if not codes(document)[code] then
      return 'there is no blocker "' .. code .. '"'
    end
  end
end

local function problem(code)
  return { code = code, message = 'an example', hint = 'none' }
end

local F = facts.facts

-- Facts about one project with these services.
local function of(services, with, project)
  local out = F(with)
  out.projects = { facts.project('Main', services, project) }
  return out
end

---@type envctl.script.Contract[]
M.list = {
  {
    name = 'a start plans every service', facts = F(),
    check = function(document)
      if not find(document, 'backend') or not find(document, 'frontend') then
        return 'backend and frontend are not both in the plan'
      end
    end,
  },
  {
    name = 'placeholders are filled in', facts = F(),
    check = function(document)
      local s = find(document, 'backend')
      if not s or s.env.PORT ~= tostring(s.port) then
        return '${port} in env.PORT is not the port'
      elseif not table.concat(s.command, ' '):find('--port ' .. s.port, 1, true) then
        return '${port} in the command is not the port'
      end
    end,
  },
  {
    name = 'what is needed is in an earlier layer',
    facts = of { facts.service('a', 8000, { needs = { 'b' } }), facts.service('b', 9000) },
    check = function(document)
      local a, b = find(document, 'a'), find(document, 'b')
      if not a or not b or a.layer <= b.layer then
        return 'a needs b, and is not in a later layer'
      end
    end,
  },
  {
    name = 'services that need each other are a blocker',
    facts = of { facts.service('a', 8000, { needs = { 'b' } }), facts.service('b', 9000, { needs = { 'a' } }) },
    check = blocks 'dependency_cycle',
  },
  {
    name = 'a port that is taken is left alone', facts = F { busy = { [8000] = { pid = 1, command = 'other' } } },
    check = function(document)
      for _, s in ipairs(each_service(document)) do
        if s.service.port == 8000 then
          return s.where .. ' has port 8000, which is taken'
        end
      end
    end,
  },
  {
    name = 'a fixed port stays',
    facts = of { facts.service('api', nil, { port_fixed = 8500 }) },
    check = function(document)
      local s = find(document, 'api')
      if not s or s.port ~= 8500 then
        return 'api has a fixed port 8500, and not in the plan'
      end
    end,
  },
  {
    name = 'a fixed port that is taken is a blocker',
    facts = of({ facts.service('api', nil, { port_fixed = 8500 }) }, {
      busy = { [8500] = { pid = 1, command = 'other' } },
    }),
    check = blocks 'port_taken',
  },
  {
    name = 'projects do not share ports',
    facts = F {
      mode = 'trees', discovered = { { name = 'a-1', root = '/repo/a' }, { name = 'b-1', root = '/repo/b' } },
      projects = {
        facts.project('a-1', { facts.service('backend', 8000) }, { mode = 'trees', root = '/repo/a' }),
        facts.project('b-1', { facts.service('backend', 8000) }, { mode = 'trees', root = '/repo/b' }),
      },
    },
    check = function(document)
      if #each_service(document) ~= 2 then
        return 'not both projects are in the plan'
      end
    end,
  },
  {
    name = 'secrets are in no document',
    facts = of { facts.service('backend', 8000, { env = { API_TOKEN = 'wohl-geheim', PORT = '${port}' } }) },
    check = function(document, secrets)
      if json.encode_line(document):find('wohl-geheim', 1, true) then
        return 'the value of API_TOKEN is in the document'
      elseif not secrets['Main/backend'] or secrets['Main/backend'].API_TOKEN ~= 'wohl-geheim' then
        return 'the value of API_TOKEN is not among the hidden values that build() returns beside the document'
      end
    end,
  },
  {
    name = 'only what was asked for is planned', facts = F { service_filter = { 'frontend' } },
    check = function(document)
      if not find(document, 'frontend') or find(document, 'backend') then
        return 'service_filter names frontend, and the plan has something else'
      end
    end,
  },
  {
    name = 'a name that fits nothing is a blocker', facts = F { service_filter = { 'nothing' } },
    check = function(document)
      if #document.blockers == 0 then
        return 'service_filter names a service that is not there, and nothing is said'
      end
    end,
  },
  {
    name = 'a state that cannot be read is a blocker', facts = F { state_error = problem 'state_corrupt' },
    check = blocks 'state_corrupt',
  },
  {
    name = 'scripts that are not trusted are a blocker', facts = F { untrusted = problem 'script_untrusted' },
    check = blocks 'script_untrusted',
  },
  {
    name = 'errors of the configuration are blockers', facts = F { config_errors = { problem 'config_invalid' } },
    check = blocks 'config_invalid',
  },
  { name = 'no configuration is a blocker', facts = F { configured = false }, check = blocks 'config_missing' },
  {
    name = 'problems of detection are blockers',
    facts = of({ facts.service('backend', 8000) }, nil, { problems = { problem 'service_dir_missing' } }),
    check = blocks 'service_dir_missing',
  },
  {
    name = 'a selection that fits nothing is a blocker',
    facts = F { selection = { required = false, problems = { problem 'unknown_target' } }, projects = {} },
    check = blocks 'unknown_target',
  },
  {
    name = 'nothing is planned where runs are switched off',
    facts = F { config = facts.config { startup_enabled = false } },
    check = function(document)
      if type(document.plan) == 'table' or document.startup_enabled ~= false then
        return 'there is a plan'
      end
    end,
  },
  {
    name = 'resume without a state is a blocker', facts = F { command = 'resume', implicit = false },
    check = blocks 'state_missing',
  },
}

--- Runs all of them.
---@param functions table<string, function> of the planner: build(facts, decide) -> document, secrets
---@return {name: string, message: string?, error: any}[] failures
function M.run(functions)
  local task, out = require 'envctl.task', {}
  for _, case in ipairs(M.list) do
    local ok, document, secrets = task.try(functions.build, case.facts, nil)
    local why = nil
    if ok then
      why = always(document, case.facts) or case.check(document, secrets or {}, case.facts)
    end
    if not ok or why then
      out[#out + 1] = { name = case.name, message = why, error = not ok and document or nil }
    end
  end
  return out
end

return M
