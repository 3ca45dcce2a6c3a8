--- What every reconciler has to hold to, bundled or not: nothing runs twice, nothing is forgotten that runs, and nothing is done
--- on a guess. `envctl script check` runs these against a replacement. Pure.
local facts = require 'envctl.script.contract.facts'
local names = require 'envctl.state.names'

local M = {}

-- A project of two services and a dependency, and what a run of it has saved.
local function planned()
  local services = {}
  for i, name in ipairs { 'backend', 'frontend' } do
    services[i] = facts.service(name, nil, { port = 8000 + i, plan_digest = 'sha256:' .. name })
  end
  local dependency = { id = 'redis', provider = 'native', scope = 'isolated', plan_digest = 'sha256:redis' }
  return { name = 'Main', root = '/repo', services = services, dependencies = { dependency } }
end

local function saved_of(project)
  local out = { services = {}, dependencies = {} }
  for _, service in ipairs(project.services) do
    out.services[names.display(project.name, service.name)] = {
      project = project.name, service = service.name, status = 'ready', identity = { pid = 1 }, plan = service,
      requested_port = service.port, actual_port = service.port, plan_digest = service.plan_digest,
    }
  end
  for _, entry in ipairs(project.dependencies) do
    out.dependencies[names.short(project.name, entry.id)] = {
      project = project.name, service = entry.id, status = 'ready', identity = { pid = 2 },
      plan_digest = entry.plan_digest,
    }
  end
  return out
end

-- The same fact about everything that is saved.
local function truth_of(saved, fact)
  local out = { services = {}, dependencies = {} }
  for kind, records in pairs(saved) do
    for name in pairs(records) do
      out[kind][name] = fact
    end
  end
  return out
end

local ALIVE, UNTOLD = { alive = true, status = 'ready' }, { status = 'unknown', why = 'no_procfs' }
local DEAD = { alive = false, status = 'exited', why = 'gone' }

-- Arguments: everything saved, all of it with the same fact.
local function world(fact, wanted)
  local project = planned()
  local saved = saved_of(project)
  local request = { projects = { project }, selected = { 'Main' }, partial = false }
  for k, v in pairs(wanted or {}) do
    request[k] = v
  end
  return { saved, truth_of(saved, fact), request }
end

local function first_run()
  local args = world(ALIVE)
  args[1], args[2] = { services = {}, dependencies = {} }, { services = {}, dependencies = {} }
  return args
end

-- Every action is one of the allowed.
local function only(...)
  local allowed = {}
  for _, action in ipairs { ... } do
    allowed[action] = true
  end
  return function(actions)
    for _, a in ipairs(actions) do
      if not allowed[a.action] then
        return ('the answer for %s/%s is "%s"'):format(a.project, a.service, a.action)
      end
    end
  end
end

-- Everything that is planned has one answer, and a reason for it.
local function complete(actions, wanted)
  local seen = {}
  for _, a in ipairs(actions) do
    local key = names.short(a.project, a.service)
    if seen[key] then
      return key .. ' has two answers'
    elseif type(a.reason) ~= 'string' or a.reason == '' then
      return 'there is no reason for ' .. key
    end
    seen[key] = true
  end
  for _, project in ipairs(wanted.projects) do
    for _, list in ipairs { project.services, project.dependencies } do
      for _, item in ipairs(list) do
        if not seen[names.short(project.name, item.name or item.id)] then
          return names.short(project.name, item.name or item.id) .. ' has no answer'
        end
      end
    end
  end
end

M.list = {
  { name = 'what was never started is started', args = first_run(), check = only 'start' },
  { name = 'what does not run is not kept', args = world(DEAD), check = only 'start' },
  { name = 'what runs is never started beside it', args = world(ALIVE), check = only('keep', 'restart') },
  { name = 'nothing is done where it cannot be told', args = world(UNTOLD), check = only 'unknown' },
  {
    name = 'what runs is not forgotten when it is no longer planned', args = world(ALIVE, { projects = {} }),
    check = only('stop', 'keep', 'unknown'),
  },
  { name = 'what is no longer planned is not started', args = world(DEAD, { projects = {} }), check = only 'forget' },
  {
    name = 'projects that are not meant are left alone', args = world(ALIVE, { projects = {}, selected = {} }),
    check = only 'keep',
  },
}

--- Arguments for the example that `script check` shows it.
---@return any[]
function M.sample()
  return world(ALIVE)
end

--- Runs all of them.
---@param functions table<string, function> of the reconciler: reconcile(saved, truth, wanted) -> actions
---@return {name: string, message: string?, error: any}[] failures
function M.run(functions)
  local task, out = require 'envctl.task', {}
  for _, case in ipairs(M.list) do
    local ok, actions = task.try(functions.reconcile, table.unpack(case.args))
    local why = nil
    if ok then
      why = complete(actions, case.args[3]) or case.check(actions)
    end
    if not ok or why then
      out[#out + 1] = { name = case.name, message = why, error = not ok and actions or nil }
    end
  end
  return out
end

return M
