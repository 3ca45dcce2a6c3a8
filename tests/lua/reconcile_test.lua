-- The reconciler: what is saved, what is true, what is wanted -> actions with reasons.
local lu = require 'luaunit'
local json = require 'envctl.util.json'
local digest = require 'envctl.plan.digest'
local reconcile = require('envctl.resume.reconcile').reconcile

local M = {}

local function with(base, changes)
  for k, v in pairs(changes or {}) do
    base[k] = v ~= json.null and v or nil
  end
  return base
end

local function service(changes)
  local s = with({
    name = 'api', dir = '.', command = json.array { 'api', '8000' }, env = { PORT = '8000', TOKEN = '***' }, port = 8000,
    listens = true, needs = json.array {}, restart = 'no', secrets_mark = 'aaaa', url = 'http://localhost:8000',
  }, changes)
  s.plan_digest = digest.service(s)
  return s
end

local function dependency(changes)
  local d = with({
    id = 'redis', provider = 'native', scope = 'isolated', ports = { redis = 6379 }, data = '/data/redis', program = '/bin/redis',
  }, changes)
  d.plan_digest = digest.dependency(d)
  return d
end

-- What a run of the service leaves behind, after a trip through run_state.json.
local function record(changes)
  local s = service()
  return with(json.strip_nulls(json.decode(json.encode {
    project = 'Main', service = s.name, status = 'ready', identity = { pid = 7 }, requested_port = 8000, actual_port = 8000,
    cwd = '/repo', plan_digest = s.plan_digest, plan = s,
  })), changes)
end

local function component(changes)
  local d = dependency()
  return with(json.strip_nulls(json.decode(json.encode {
    project = 'Main', service = d.id, status = 'ready', identity = { pid = 8 }, plan_digest = d.plan_digest,
    plan = digest.dependency_material(d),
  })), changes)
end

local UP = { alive = true, status = 'ready' }
local NONE = json.null

local function gone(why)
  return { alive = false, status = 'exited', why = why }
end

-- One service, recorded, true and wanted as said; NONE leaves it out.
local function of_service(recorded, fact, wanted, request)
  local services = json.array { wanted ~= NONE and (wanted or service()) or nil }
  return reconcile({
    services = { ['Main Api'] = recorded ~= NONE and (recorded or record()) or nil }, dependencies = {},
  }, { services = { ['Main Api'] = fact }, dependencies = {} }, with({
    projects = { { name = 'Main', root = '/repo', services = services, dependencies = {} } }, selected = { 'Main' },
  }, request))
end

local function of_dependency(recorded, fact, wanted, request)
  local list = json.array { wanted ~= NONE and (wanted or dependency()) or nil }
  return reconcile({
    services = {}, dependencies = { ['Main/redis'] = recorded ~= NONE and (recorded or component()) or nil },
  }, { services = {}, dependencies = { ['Main/redis'] = fact } }, with({
    projects = { { name = 'Main', root = '/repo', services = {}, dependencies = list } }, selected = { 'Main' },
  }, request))
end

local SICK = { alive = true, status = 'unhealthy', why = 'GET / said 500' }
local DEAF = { alive = true, status = 'unreachable', why = 'no process of it listens on port 8000' }

local UNCHANGED = 'runs and is unchanged'
local UNTOLD = 'cannot be told whether it runs: '

-- recorded, true, wanted, request -> action, reason, changed fields
local SERVICES = {
  { NONE, nil, nil, nil, 'start', 'is not running yet' },
  { nil, UP, nil, nil, 'keep', UNCHANGED },
  { nil, { alive = true, status = 'running' }, nil, nil, 'keep', UNCHANGED },
  { nil, { alive = true, status = 'starting' }, nil, nil, 'keep', UNCHANGED },
  -- Not alive: every word of procfs, and what is known of the end.
  { nil, gone 'gone', nil, nil, 'start', 'its process is gone' },
  { nil, gone 'zombie', nil, nil, 'start', 'its process has ended' },
  { nil, gone 'reused', nil, nil, 'start', "its process is gone, and its pid is another's" },
  { nil, gone 'reboot', nil, nil, 'start', 'the machine was started again' },
  { nil, gone 'never_started', nil, nil, 'start', 'was never started' },
  { nil, gone(), nil, nil, 'start', 'its process is gone' },
  { record { status = 'stopped' }, gone 'gone', nil, nil, 'start', 'was stopped' },
  { record { exit = { code = 3 } }, gone 'gone', nil, nil, 'start', 'exited with code 3' },
  { record { exit = { signal = 'KILL' } }, gone 'gone', nil, nil, 'start', 'was ended by SIGKILL' },
  { record { exit = { at = 'x' } }, gone 'reboot', nil, nil, 'start', 'the machine was started again' },
  -- What may be alive is left alone.
  { nil, { status = 'unknown', why = 'other_pid_namespace' }, nil, nil, 'unknown', UNTOLD .. 'it was started in another container' },
  { nil, { status = 'unknown', why = 'no_procfs' }, nil, nil, 'unknown', UNTOLD .. 'there is no /proc' },
  { nil, { status = 'unknown', why = 'something new' }, nil, nil, 'unknown', UNTOLD .. 'something new' },
  { nil, nil, nil, nil, 'unknown', UNTOLD .. 'unknown' },
  { nil, nil, nil, { replace = 'restart was asked for' }, 'unknown', UNTOLD .. 'unknown' },
  -- Alive, but not as it should be: resume restarts it, the others call it so.
  { nil, { alive = true, status = 'stopping' }, nil, nil, 'restart', 'was being stopped' },
  { nil, SICK, nil, { heal = true }, 'restart', 'runs, but is not healthy: GET / said 500' },
  { nil, SICK, nil, nil, 'keep', UNCHANGED .. ', but is not healthy: GET / said 500' },
  { nil, SICK, service { restart = 'always' }, { heal = true, replace = 'r' }, 'restart', 'r', { 'restart' } },
  { nil, { alive = true, status = 'unhealthy' }, nil, { heal = true }, 'restart', 'runs, but is not healthy' },
  { nil, DEAF, nil, { heal = true }, 'restart', 'runs, but no process of it listens on port 8000' },
  { nil, DEAF, nil, nil, 'keep', UNCHANGED .. ', but no process of it listens on port 8000' },
  { nil, UP, nil, { heal = true }, 'keep', UNCHANGED },
  -- It was never seen to listen, and was called ready all the same.
  { record { actual_port = NONE }, DEAF, nil, { heal = true }, 'keep', UNCHANGED },
  -- Replaced in any case.
  { nil, UP, nil, { replace = 'restart was asked for' }, 'restart', 'restart was asked for' },
  { nil, gone 'gone', nil, { replace = 'restart was asked for' }, 'start', 'its process is gone' },
  { NONE, nil, nil, { replace = 'asked not to resume' }, 'start', 'is not running yet' },
  -- Wanted no more.
  { nil, UP, NONE, nil, 'stop', 'is no longer part of the plan' },
  { nil, gone 'gone', NONE, nil, 'forget', 'is no longer part of the plan and does not run' },
  { nil, nil, NONE, nil, 'unknown', 'is no longer part of the plan; ' .. UNTOLD .. 'unknown' },
  { nil, UP, NONE, { partial = true } },
  { nil, UP, NONE, { selected = {} } },
  { NONE, nil, NONE, nil },
}

function M.test_services()
  for i, case in ipairs(SERVICES) do
    local actions = of_service(table.unpack(case, 1, 4))
    local a = actions[1] or {}
    lu.assertEquals({ #actions, a.action, a.reason }, { case[5] and 1 or 0, case[5], case[6] }, 'row ' .. i)
    local fields = {}
    for n, c in ipairs(a.changes or {}) do
      fields[n] = c.field
    end
    lu.assertEquals(fields, case[7] or {}, 'row ' .. i)
  end
end

-- Another service was asked for. This one is left alone, unless it has a port that the other gets: it was called otherwise before.
function M.test_in_the_way()
  local function of_other(fact, fields)
    local other = service(fields)
    other.name = 'other'
    return of_service(nil, fact, NONE, {
      partial = true, projects = { { name = 'Main', root = '/repo', services = { other }, dependencies = {} } },
    })
  end
  local port = record().requested_port
  lu.assertEquals(#of_other(UP, { port = port + 1 }), 1)
  lu.assertEquals(#of_other(gone 'gone', { port = port }), 1)
  local actions = of_other(UP, { port = port })
  lu.assertEquals({ actions[2].service, actions[2].action, actions[2].reason },
    { 'api', 'stop', 'is in the way: it has port ' .. port .. ' of Main Other' })
  lu.assertEquals(of_other(nil, { port = port })[2].action, 'unknown')
end

local DEPENDENCIES = {
  { NONE, nil, nil, nil, 'start', 'is not running yet' },
  { component { identity = NONE }, nil, nil, nil, 'start', 'is not running yet' },
  { nil, UP, nil, nil, 'keep', UNCHANGED },
  { nil, gone 'gone', nil, nil, 'start', 'its process is gone' },
  { nil, gone 'reboot', nil, nil, 'start', 'the machine was started again' },
  { nil, nil, nil, nil, 'unknown', UNTOLD .. 'unknown' },
  -- A restart of services leaves databases alone.
  { nil, UP, nil, { replace = 'restart was asked for' }, 'keep', UNCHANGED },
  -- One that nobody can reach is brought back by every command, not by resume alone.
  { component { actual_port = 6379 }, { alive = true, status = 'unreachable', why = 'nothing listens' }, nil, nil, 'restart',
    'runs, but nothing listens' },
  { NONE, nil, dependency { provider = 'external' }, nil, 'keep', 'others run it' },
  { component { identity = NONE }, nil, dependency { provider = 'external' }, nil, 'keep', 'others run it' },
  { nil, UP, dependency { provider = 'external', plan_digest = 'other' }, nil, 'restart', 'changed: provider' }, -- ours is ended
  -- Nothing is known any more that could run it.
  { nil, UP, dependency { provider = NONE }, nil, 'stop', 'is no longer part of the plan' },
  { NONE, nil, dependency { provider = NONE }, nil },
  { NONE, nil, dependency { scope = 'shared' }, { shared = { name = '@shared', dependencies = {} } }, 'start',
    'uses the shared server' },
  { component { identity = NONE, plan_digest = dependency({ scope = 'shared' }).plan_digest }, nil, dependency { scope = 'shared' },
    { shared = { name = '@shared', dependencies = {} } }, 'keep', 'uses the shared server' },
  { nil, UP, NONE, nil, 'stop', 'is no longer part of the plan' },
  { nil, UP, NONE, { partial = true }, 'stop', 'is no longer part of the plan' }, -- its project is planned
  { nil, UP, NONE, { partial = true, projects = {} } },
  { nil, UP, NONE, { projects = {} }, 'stop', 'is no longer part of the plan' },
  { nil, gone 'gone', NONE, nil, 'forget', 'is no longer part of the plan and does not run' },
  { component { identity = NONE }, nil, NONE, nil },
}

function M.test_dependencies()
  for i, case in ipairs(DEPENDENCIES) do
    local actions = of_dependency(table.unpack(case, 1, 4))
    local a = actions[1] or {}
    lu.assertEquals({ #actions, a.action, a.reason }, { case[5] and 1 or 0, case[5], case[6] }, 'row ' .. i)
    lu.assertEquals(a.dependency, case[5] and true, 'row ' .. i)
  end
end

-- Change of what is wanted -> fields with before and after.
local CHANGES = {
  { { command = json.array { 'other' } }, { { 'command', { 'api', '8000' }, { 'other' } } } },
  { { env = { PORT = '8000', TOKEN = '***', NEW = '1' } }, { { 'env.NEW', NONE, '1' } } },
  { { env = { PORT = '8000' } }, { { 'env.TOKEN', '***', NONE } } },
  { { env = { PORT = '1', TOKEN = '***' } }, { { 'env.PORT', '8000', '1' } } },
  { { port = 8001 }, { { 'port', 8000, 8001 } } },
  { { restart = 'always' }, { { 'restart', 'no', 'always' } } },
  { { dir = 'backend' }, { { 'dir', '.', 'backend' } } },
  { { health = { http = '/up' } }, { { 'health', NONE, { http = '/up' } } } },
  -- A hidden value: that it changed is said, and nothing of it.
  { { secrets_mark = 'bbbb' }, { { 'secrets', '***', '***' } } },
  { { secrets_mark = NONE }, { { 'secrets', '***', NONE } } },
  -- What does not make the service another one.
  { { layer = 3, origin = { port = { layer = 'env' } }, framework = 'x' }, {} },
  { { templates = NONE, manager = NONE }, {} },
}

function M.test_changes_of_a_service()
  for i, case in ipairs(CHANGES) do
    local a = of_service(nil, UP, service(case[1]))[1]
    local changes, fields = {}, {}
    for n, c in ipairs(case[2]) do
      changes[n], fields[n] = { field = c[1], before = c[2], after = c[3] }, c[1]
    end
    lu.assertEquals(a.changes, changes, 'row ' .. i)
    lu.assertEquals({ a.action, a.reason }, #fields > 0 and { 'restart', 'changed: ' .. table.concat(fields, ', ') }
      or { 'keep', UNCHANGED }, 'row ' .. i)
  end
end

function M.test_changes_without_the_old_plan()
  local port = of_service(record { plan = NONE }, UP, service { port = 8001 })[1].changes
  lu.assertEquals(port, { { field = 'port', before = 8000, after = 8001 } })
  local other = of_service(record { plan = NONE }, UP, service { restart = 'always' })[1].changes
  lu.assertEquals(#other, 1)
  lu.assertEquals(other[1].field, 'plan_digest')
end

-- The worktree was made again somewhere else: what runs is in the old place.
function M.test_a_project_that_moved()
  lu.assertEquals(of_service(record { cwd = '/old' }, UP)[1].changes, { { field = 'cwd', before = '/old', after = '/repo' } })
  lu.assertEquals(of_service(record { cwd = '/repo/.' }, UP)[1].action, 'keep')
end

-- Everything that differs is said beside a restart that was asked for; what does not run is only started.
function M.test_changes_beside_other_reasons()
  local asked = of_service(nil, UP, service { port = 8001 }, { replace = 'restart was asked for' })[1]
  lu.assertEquals({ asked.reason, asked.changes[1].field }, { 'restart was asked for', 'port' })
  lu.assertEquals(of_service(nil, gone 'gone', service { port = 8001 })[1].changes, {})
end

function M.test_changes_of_a_dependency()
  local a = of_dependency(nil, UP, dependency { ports = { redis = 6380 } })[1]
  lu.assertEquals({ a.action, a.reason }, { 'restart', 'changed: ports' })
  lu.assertEquals(a.changes, { { field = 'ports', before = { redis = 6379 }, after = { redis = 6380 } } })
  lu.assertEquals(of_dependency(nil, UP, dependency { secret_mark = 'cccc' })[1].changes,
    { { field = 'secrets', before = NONE, after = '***' } })
  lu.assertEquals(of_dependency(component { plan = NONE }, UP, dependency { image = 'x' })[1].reason, 'changed: plan_digest')
end

-- A service and a dependency of one name; projects in the order of the plan, then what is left over.
function M.test_order_and_names()
  local s, d = service { name = 'redis' }, dependency()
  local actions = reconcile({
    services = { ['b Old'] = record { project = 'b', service = 'old' }, ['a Redis'] = record { project = 'a', service = 'redis' } },
    dependencies = {},
  }, { services = { ['b Old'] = UP, ['a Redis'] = UP }, dependencies = {} }, {
    projects = {
      { name = 'b', root = '/repo', services = { service() }, dependencies = {} },
      { name = 'a', root = '/repo', services = { s }, dependencies = { d } },
    },
    shared = { name = '@shared', dependencies = { dependency { scope = 'shared' } } },
    selected = { 'a', 'b' },
  })
  local seen = {}
  for i, a in ipairs(actions) do
    seen[i] = table.concat({ a.project, a.service, a.dependency and 'dependency' or '-', a.action }, ' ')
  end
  lu.assertEquals(seen, {
    '@shared redis dependency start', 'b api - start', 'a redis dependency start', 'a redis - restart', 'b old - stop',
  })
end

function M.test_nothing_that_it_is_given_changes()
  local saved = { services = { ['Main Api'] = record() }, dependencies = { ['Main/redis'] = component() } }
  local truth = { services = { ['Main Api'] = UP }, dependencies = { ['Main/redis'] = UP } }
  local wanted = {
    projects = { { name = 'Main', root = '/repo', services = { service { port = 1 } }, dependencies = { dependency() } } },
    selected = { 'Main' },
  }
  local before = json.encode { saved, truth, wanted }
  local first = json.encode(reconcile(saved, truth, wanted))
  lu.assertEquals(json.encode(reconcile(saved, truth, wanted)), first)
  lu.assertEquals(json.encode { saved, truth, wanted }, before)
end

return M
