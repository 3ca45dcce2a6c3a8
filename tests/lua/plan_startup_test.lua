-- The planner as a whole: facts -> document.
local lu = require 'luaunit'
local json = require 'envctl.util.json'
local plan = require 'envctl.plan'
local digest = require 'envctl.plan.digest'
local selection = require 'envctl.plan.selection'

local M = {}

local function service(name, base, with)
  local s = {
    name = name, type = name, dir = name, command = { 'run-' .. name, '${port}' }, shell = false, listens = true,
    env = { PORT = '${port}', ENVCTL_PROJECT_NAME = '${project}' }, ready = { kind = 'tcp', timeout_ms = 30000 }, needs = {},
    critical = true, restart = 'no', prepare = {}, port_key = name:upper() .. '_PORT_BASE', port_base = base,
    origin = { command = { layer = 'bundled', evidence = 'found' }, port = { layer = 'dotenv', file = '.envctl', line = 2 } },
  }
  for k, v in pairs(with or {}) do
    s[k] = v
  end
  return s
end

local function config(with)
  local c = {
    startup_enabled = true, services = { backend = true, frontend = true }, dependencies = {},
    bases = {
      backend = { port = 8000 }, frontend = { port = 9000 }, postgres = { port = 5432 }, supabase = { port = 5432 },
      redis = { port = 6379 }, n8n = { port = 5678 },
    },
    spacing = 20, strategy = 'project_slot', parallel = { enabled = true, max = 4 },
  }
  for k, v in pairs(with or {}) do
    c[k] = v
  end
  return c
end

local function main_project(services, with)
  local p = { name = 'Main', mode = 'main', root = '/repo', services = services, skipped = {}, problems = {}, warnings = {} }
  for k, v in pairs(with or {}) do
    p[k] = v
  end
  return p
end

local function facts(with)
  local f = {
    command = 'start', mode = 'main', headless = true, interactive_tty = false, implicit = true, scope_id = 'repo-1',
    control_root = '/repo',
    configured = true, config = config(), discovered = { { name = 'Main', root = '/repo' } }, selection = { required = false },
    ledger = {}, busy = {},
    projects = {
      main_project {
        service('backend', 8000), service('frontend', 9000, { env = { PORT = '${port}', VITE_BACKEND_URL = '${services.backend.url}' } }),
      },
    },
  }
  for k, v in pairs(with or {}) do
    f[k] = v
  end
  -- `live`: by display name, true, false or nothing.
  f.truth, f.live = { services = {}, dependencies = {} }, nil
  for name in pairs(f.state and f.state.services or {}) do
    f.truth.services[name] = { alive = with.live[name], status = 'ready' }
  end
  return f
end

local function codes(list)
  local out = {}
  for i, e in ipairs(list) do
    out[i] = e.code
  end
  return out
end

-- The state that a start of this plan leaves behind.
local function state_of(document, with)
  local state = { run_id = 'run-1', mode = document.mode, services = {}, metadata = {} }
  local live = {}
  for _, project in ipairs(document.plan.projects) do
    for _, s in ipairs(project.services) do
      local name = project.name .. ' ' .. s.name:sub(1, 1):upper() .. s.name:sub(2)
      state.services[name] = {
        project = project.name, service = s.name, type = s.type, status = 'ready', requested_port = s.port, actual_port = s.port,
        plan_digest = s.plan_digest, plan = s,
      }
      live[name] = true
    end
  end
  for k, v in pairs(with or {}) do
    state[k] = v
  end
  return state, live
end

local function actions(document)
  local out = {}
  for _, a in ipairs(document.plan.actions or {}) do
    out[a.service] = a.action
  end
  return out
end

function M.test_a_fresh_start()
  local d, secrets = plan.build(facts())
  lu.assertEquals({ d.decision, d.command, d.explains, d.schema }, { 'start_fresh', 'explain-startup', 'start',
    'envctl.explain_startup.v1' })
  lu.assertEquals({ d.blockers, d.warnings, d.changes, d.skipped, secrets }, { {}, {}, {}, {}, {} })
  local p = d.plan.projects[1]
  lu.assertEquals({ p.name, p.root, p.slot, p.ports }, { 'Main', '/repo', 0, { backend = 8000, frontend = 9000 } })
  lu.assertEquals(p.services[2].env.VITE_BACKEND_URL, 'http://localhost:8000')
  lu.assertNil(d.plan.actions)
  lu.assertEquals(d.plan.digest, digest.plan(d.plan))
  lu.assertEquals(d.auto_resume.reason, 'no_matching_state')
end

function M.test_the_same_facts_give_the_same_bytes()
  local one = json.encode(plan.build(facts()))
  for _ = 1, 20 do
    lu.assertEquals(json.encode(plan.build(facts())), one)
  end
  -- Building does not change the facts.
  local f = facts { service_filter = { 'backend' } }
  local before = json.encode(f)
  plan.build(f)
  lu.assertEquals(json.encode(f), before)
end

function M.test_order_of_layers_then_definition()
  local f = facts()
  f.projects = { main_project { service('a', 8000, { needs = { 'c' } }), service('b', 8100), service('c', 8200) } }
  local names = {}
  for i, s in ipairs(plan.build(f).plan.projects[1].services) do
    names[i] = s.name .. s.layer
  end
  lu.assertEquals(names, { 'b1', 'c1', 'a2' })
end

-- What --service names comes with what it needs; a restart is of what is named.
function M.test_chosen_services_come_with_their_needs()
  local function names(changes)
    local f = facts(changes)
    f.projects = {
      main_project {
        service('a', 8000, { needs = { 'b', 'postgres' } }), service('b', 8100, { needs = { 'c' } }), service('c', 8200),
        service('d', 8300),
      },
    }
    f.config.dependencies = { 'postgres' }
    local out = {}
    for i, s in ipairs(plan.build(f).plan.projects[1].services) do
      out[i] = s.name
    end
    return out
  end
  lu.assertEquals(names { service_filter = { 'a' } }, { 'c', 'b', 'a' })
  lu.assertEquals(names { service_filter = { 'd' } }, { 'd' })
  lu.assertEquals(names { service_filter = { 'a' }, command = 'restart' }, { 'a' })
end

-- What stands in the way: change of the facts -> code, part of message, where.
local BLOCKERS = {
  { { configured = false }, 'config_missing', '.envctl', '/repo/.envctl' },
  { { config_errors = { { code = 'config_invalid', message = 'bad', where = '.envctl:3' } } }, 'config_invalid', 'bad', '.envctl:3' },
  { { state_error = { code = 'state_unreadable', message = 'broken' } }, 'state_unreadable', 'broken' },
  { { ports_error = { code = 'ports_unreadable', message = 'broken' } }, 'ports_unreadable', 'broken' },
  { { config = config { conflict = { code = 'config_invalid', message = 'postgres and supabase' } } }, 'config_invalid', 'supabase' },
  { { command = 'resume' }, 'state_missing', 'main mode' },
  { { implicit = false, config = config { startup_enabled = false } }, 'startup_disabled', 'main mode' },
  { { service_filter = { 'bakend' } }, 'unknown_target', 'no service "bakend"' },
  { { selection = { required = false, problems = { { code = 'unknown_target', message = 'no x' } } } }, 'unknown_target', 'no x' },
  { { projects = { main_project({}, { problems = { { code = 'config_invalid', message = 'dir', where = '.envctl:1' } } }) } },
    'config_invalid', 'dir', '.envctl:1' },
  { { projects = { main_project { service('a', 8000, { needs = { 'b' } }), service('b', 9000, { needs = { 'a' } }) } } },
    'dependency_cycle', 'a -> b -> a', 'Main/a' },
  { { projects = { main_project { service('a', 8000, { needs = { 'x' } }) } } }, 'unknown_need', 'a needs "x"', 'Main/a' },
  { { projects = { main_project { service('a', 8000), service('b', 8000) } } }, 'config_invalid', 'a and b start from the same port 8000' },
  { { projects = { main_project { service('api', 8000), service('API', 9000) } } }, 'config_invalid',
    'api and API are the same name but for upper case', 'Main/API' },
  { { projects = { main_project { service('a', 8000, { command = { '${oops}' } }) } } }, 'config_invalid',
    'a.command: ${oops} has no value' },
  { { projects = { main_project { service('a', 8000, { port_fixed = 8123 }) } }, busy = { [8123] = { pid = 77, command = 'nc' } } },
    'port_taken', 'port 8123 of Main/a is held by pid 77 (nc)', '.envctl:2' },
}

function M.test_blockers()
  for _, case in ipairs(BLOCKERS) do
    local with, code, text, where = table.unpack(case, 1, 4)
    local d = plan.build(facts(with))
    lu.assertEquals(d.decision, 'blocked', code)
    lu.assertEquals(codes(d.blockers), { code })
    lu.assertStrContains(d.blockers[1].message, text)
    lu.assertEquals(d.blockers[1].where, where or d.blockers[1].where)
    lu.assertNotNil(d.blockers[1].hint)
    json.encode(d)
  end
end

function M.test_resume_names_the_mode_that_has_a_state()
  local state = { run_id = 'run-1', mode = 'trees', services = { ['a-1 Backend'] = { project = 'a-1', service = 'backend' } } }
  local d = plan.build(facts { command = 'resume', state = state, live = {} })
  lu.assertEquals({ d.blockers[1].code, d.blockers[1].hint },
    { 'state_missing', 'there is one of trees mode: envctl resume --trees' })
end

function M.test_a_blocked_plan_is_still_shown()
  local d = plan.build(facts { configured = false })
  lu.assertEquals(#d.plan.projects[1].services, 2)
end

function M.test_a_taken_base_moves_and_says_who()
  local d = plan.build(facts { busy = { [8000] = { pid = 42, command = 'python3 -m http.server' } } })
  lu.assertEquals({ d.decision, codes(d.warnings) }, { 'start_fresh', { 'port_moved' } })
  local w = d.warnings[1]
  lu.assertEquals(w.message,
    'port 8000 of Main/backend is held by pid 42 (python3 -m http.server); Main moves to backend=8001 frontend=9001')
  lu.assertEquals({ w.before, w.after, w.holder.pid, w.where }, { 8000, 8001, 42, 'Main/backend' })
  lu.assertEquals(d.plan.projects[1].services[2].env.VITE_BACKEND_URL, 'http://localhost:8001')
end

-- A named service that has to move takes the others along that run: they hold its address, and their own ports move with it.
function M.test_who_runs_moves_along_although_others_are_named()
  local state, live = state_of(plan.build(facts()))
  live['Main Backend'] = false
  local function restart(busy)
    return plan.build(facts { state = state, live = live, command = 'restart', service_filter = { 'backend' }, busy = busy })
  end
  lu.assertEquals(actions(restart {}), { backend = 'start' })
  local d = restart { [8000] = { pid = 42, command = 'nc' } }
  lu.assertEquals(actions(d), { backend = 'start', frontend = 'restart' })
  local moved = {}
  for _, c in ipairs(d.changes) do
    moved[c.field] = { c.before, c.after }
  end
  lu.assertEquals(moved['env.VITE_BACKEND_URL'], { 'http://localhost:8000', 'http://localhost:8001' })
  lu.assertEquals(moved.port, { 9000, 9001 })
  -- What does not run is not started for it.
  live['Main Frontend'] = false
  lu.assertEquals(actions(restart { [8000] = {} }), { backend = 'start' })
end

function M.test_a_second_start_keeps()
  local state, live = state_of(plan.build(facts()))
  local d = plan.build(facts { state = state, live = live })
  lu.assertEquals(actions(d), { backend = 'keep', frontend = 'keep' })
  lu.assertEquals({ d.decision, d.auto_resume.reason, d.auto_resume.run_id }, { 'resume_exact', 'exact', 'run-1' })
  lu.assertEquals(d.changes, {})
  lu.assertEquals(d.plan.digest, digest.plan(d.plan))
end

function M.test_dead_unknown_new_and_left_over()
  local state, live = state_of(plan.build(facts()))
  live['Main Backend'] = false
  live['Main Frontend'] = nil
  local unknown = plan.build(facts { state = state, live = live })
  lu.assertEquals(actions(unknown), { backend = 'start', frontend = 'unknown' })
  lu.assertEquals({ unknown.decision, codes(unknown.blockers) }, { 'blocked', { 'state_unknown' } })
  state, live = state_of(plan.build(facts()))
  state.services['Main Backend'] = nil
  state.services['Main Worker'] = { project = 'Main', service = 'worker', type = 'worker', status = 'ready' }
  live['Main Worker'] = true
  lu.assertEquals(actions(plan.build(facts { state = state, live = live })), { backend = 'start', frontend = 'keep', worker = 'stop' })
  live['Main Worker'] = false
  lu.assertEquals(actions(plan.build(facts { state = state, live = live })).worker, 'forget')
  -- A state of the other mode is none of ours.
  state.mode = 'trees'
  lu.assertNil(plan.build(facts { state = state, live = live }).plan.actions)
end

function M.test_changes_are_listed_by_field()
  local state, live = state_of(plan.build(facts()))
  local f = facts { state = state, live = live }
  f.projects[1].services[2].command = { 'other' }
  f.projects[1].services[2].env.NEW = '1'
  local d = plan.build(f)
  lu.assertEquals(actions(d), { backend = 'keep', frontend = 'restart' })
  lu.assertEquals(d.changes, {
    { project = 'Main', service = 'frontend', field = 'command', before = { 'run-frontend', '9000' }, after = { 'other' } },
    { project = 'Main', service = 'frontend', field = 'env.NEW', before = json.null, after = '1' },
  })
  lu.assertEquals(d.plan.actions[2].reason, 'changed: command, env.NEW')
  -- Without the old plan in the record the digests are what differs.
  state.services['Main Frontend'].plan = nil
  lu.assertEquals(plan.build(f).changes[1].field, 'plan_digest')
  -- A moved port is a change too.
  f = facts { state = state, live = { ['Main Backend'] = false, ['Main Frontend'] = true }, busy = { [8000] = {} } }
  lu.assertEquals(plan.build(f).changes[1], { project = 'Main', service = 'frontend', field = 'port', before = 9000, after = 9001 })
end

function M.test_a_record_that_was_read_from_a_file()
  local state, live = state_of(json.decode(json.encode(plan.build(facts()))))
  local f = facts { state = json.strip_nulls(json.decode(json.encode(state))), live = live }
  f.projects[1].services[1].restart = 'always'
  local d = plan.build(f)
  lu.assertEquals(d.changes, { { project = 'Main', service = 'backend', field = 'restart', before = 'no', after = 'always' } })
end

function M.test_restart_and_no_resume_replace()
  local state, live = state_of(plan.build(facts()))
  local d = plan.build(facts { state = state, live = live, command = 'restart' })
  lu.assertEquals(actions(d), { backend = 'restart', frontend = 'restart' })
  lu.assertEquals({ d.decision, d.auto_resume.reason }, { 'start_fresh', 'auto_resume_disabled' })
  d = plan.build(facts { state = state, live = live, no_resume = true })
  lu.assertEquals(actions(d).backend, 'restart')
  d = plan.build(facts { state = state, live = live, command = 'restart', service_filter = { 'Main Backend' } })
  lu.assertEquals(actions(d), { backend = 'restart' })
  lu.assertEquals(#d.plan.projects[1].services, 1)
  lu.assertEquals(actions(plan.build(facts { state = state, live = live, command = 'resume' })).backend, 'keep')
end

local function trees(names)
  local discovered, projects = {}, {}
  for i, name in ipairs(names) do
    discovered[i] = { name = name, root = '/repo/trees/' .. name }
    projects[i] = { name = name, mode = 'trees', root = '/repo/trees/' .. name, services = { service('backend', 8000) } }
  end
  return discovered, projects
end

function M.test_relations_of_selection_and_state()
  for _, case in ipairs {
    { { 'a', 'b' }, { 'a', 'b' }, 'exact', 'resume_exact' },
    { { 'a' }, { 'a', 'b' }, 'subset', 'resume_subset' },
    { { 'a', 'b' }, { 'a' }, 'superset', 'reuse_and_extend' },
    { { 'a', 'c' }, { 'a', 'b' }, 'project_selection_mismatch', 'start_fresh' },
  } do
    local _, before = trees(case[2])
    local state, live = state_of(plan.build(facts { mode = 'trees', projects = before }))
    local discovered, projects = trees(case[1])
    local d = plan.build(facts { mode = 'trees', discovered = discovered, projects = projects, state = state, live = live })
    lu.assertEquals({ d.auto_resume.reason, d.decision }, { case[3], case[4] })
    lu.assertEquals(d.plan.actions[1].action, 'keep')
    lu.assertEquals(d.auto_resume.will_resume, case[3] ~= 'project_selection_mismatch')
  end
end

function M.test_a_failed_run_is_not_resumed_but_what_lives_is_kept()
  local state, live = state_of(plan.build(facts()), { metadata = { failed = true } })
  live['Main Frontend'] = false
  local d = plan.build(facts { state = state, live = live })
  lu.assertEquals({ d.auto_resume.existing_state_found, d.decision }, { false, 'start_fresh' })
  lu.assertEquals(actions(d), { backend = 'keep', frontend = 'start' })
end

function M.test_startup_switched_off()
  local d = plan.build(facts { config = config { startup_enabled = false, dependencies = { 'redis' } } })
  lu.assertEquals({ d.decision, d.reason, d.plan, d.startup_enabled }, { 'dashboard_only', 'config_startup_disabled', json.null, false })
  lu.assertEquals({ d.services, d.dependencies }, { { backend = false, frontend = false }, {} })
end

function M.test_nothing_to_start()
  local skipped = { { name = 'backend', reason = 'no backend found', enabled = true, origin = { layer = 'bundled' } } }
  local d = plan.build(facts { projects = { main_project({}, { skipped = skipped }) } })
  lu.assertEquals({ d.decision, d.plan, d.blockers }, { 'dashboard_only', json.null, {} })
  lu.assertEquals(d.skipped, { { project = 'Main', service = 'backend', reason = 'no backend found' } })
  skipped[1].origin = { layer = 'dotenv', file = '.envctl', line = 5 }
  d = plan.build(facts { projects = { main_project({}, { skipped = skipped }) } })
  lu.assertEquals({ d.decision, d.blockers[1].code, d.blockers[1].where }, { 'blocked', 'nothing_to_start', '.envctl:5' })
  skipped[1].enabled = false
  d = plan.build(facts { projects = { main_project({}, { skipped = skipped }) } })
  lu.assertEquals(d.blockers, {})
end

function M.test_what_is_no_longer_there_is_stopped()
  local state, live = state_of(plan.build(facts()))
  local d = plan.build(facts { state = state, live = live, projects = { main_project {} } })
  lu.assertEquals(actions(d), { backend = 'stop', frontend = 'stop' })
  lu.assertEquals(d.plan.projects, {})
end

function M.test_dependencies_move_along()
  local d = plan.build(facts { config = config { dependencies = { 'postgres', 'redis' } }, busy = { [5432] = {} } })
  local p = d.plan.projects[1]
  lu.assertEquals(p.ports, { backend = 8001, frontend = 9001, postgres = 5433, redis = 6380 })
  lu.assertEquals({ p.dependencies[1].id, p.dependencies[1].ports, p.dependencies[1].provider }, { 'postgres',
    { postgres = 5433 }, json.null })
  lu.assertEquals(d.dependencies, { 'postgres', 'redis' })
  lu.assertEquals(codes(d.warnings), { 'port_moved', 'dependency_not_started', 'dependency_not_started' })
end

function M.test_services_without_a_base_get_a_range_of_their_own()
  local list = {}
  for i = 1, 30 do
    list[i] = service('s' .. i, nil)
  end
  list[31] = service('w', nil, { listens = false, env = {}, command = { 'work' } })
  local d = plan.build(facts { projects = { main_project(list) } })
  lu.assertEquals(d.blockers, {})
  local seen = {}
  for id, port in pairs(d.plan.projects[1].ports) do
    lu.assertTrue(port > 9000 and port <= 65535, id)
    lu.assertNil(seen[port])
    seen[port] = true
  end
  lu.assertNil(d.plan.projects[1].ports.w)
end

function M.test_secrets_leave_by_the_side_door()
  local f = facts()
  f.projects[1].services[1].env.API_TOKEN = 'hush'
  local d, secrets = plan.build(f)
  lu.assertEquals(secrets, { ['Main/backend'] = { API_TOKEN = 'hush' } })
  lu.assertNotStrContains(json.encode(d), 'hush')
end

function M.test_parallel_trees()
  local discovered = trees { 'a', 'b', 'c' }
  local d = plan.build(facts { mode = 'trees', discovered = discovered, projects = {}, selection = { required = true } })
  lu.assertEquals(d.parallel_trees, { enabled = true, workers = 3 })
  lu.assertEquals(plan.build(facts()).parallel_trees, { enabled = false, workers = 1 })
  lu.assertEquals(plan.build(facts { mode = 'trees', discovered = discovered, projects = {}, selection = { required = true },
    config = config { parallel = { enabled = false, max = 4 } } }).parallel_trees, { enabled = false, workers = 1 })
end

-- Selection: input -> required, reason, selected, codes of problems.
local function select(with)
  local input = {
    command = 'start', mode = 'trees', headless = true, projects = {}, args = {}, preselected = { 'cart-1' }, recorded = {}, plans = {},
    discovered = { { name = 'cart-1' }, { name = 'checkout-1' }, { name = 'checkout-2' } },
  }
  for k, v in pairs(with) do
    input[k] = v
  end
  local r = selection.select(input)
  local names = {}
  for i, p in ipairs(r.selected) do
    names[i] = p.name
  end
  return { r.required, r.reason or 'none', names, codes(r.problems) }, r
end

function M.test_selection()
  local main = { { name = 'Main' } }
  local plans = {
    { id = 'web/checkout.md', feature = 'checkout' }, { id = 'web/cart.md', feature = 'cart' }, { id = 'web/new.md', feature = 'web_new' },
    { id = 'a/twice.md', feature = 'a_twice' }, { id = 'b/twice.md', feature = 'b_twice' },
  }
  for i, case in ipairs {
    { { mode = 'main', discovered = main }, { false, 'none', { 'Main' }, {} } },
    { {}, { true, 'headless_tree_start_requires_explicit_selection', {}, {} } },
    { { headless = false }, { true, 'interactive_tree_start_selector', {}, {} } },
    { { all = true }, { false, 'none', { 'cart-1', 'checkout-1', 'checkout-2' }, {} } },
    { { projects = { 'checkout-2', 'cart-1' } }, { false, 'explicit_project_filters', { 'cart-1', 'checkout-2' }, {} } },
    { { projects = { 'CART-1' } }, { false, 'explicit_project_filters', { 'cart-1' }, {} } },
    { { projects = { 'car' } }, { false, 'explicit_project_filters', { 'cart-1' }, {} } },
    { { projects = { 'check' } }, { false, 'explicit_project_filters', {}, { 'ambiguous_target' } } },
    { { projects = { 'nope', 'cart-1' } }, { false, 'explicit_project_filters', { 'cart-1' }, { 'unknown_target' } } },
    { { projects = { '' } }, { false, 'explicit_project_filters', {}, { 'unknown_target' } } },
    { { args = { 'cart-1' } }, { false, 'explicit_project_filters', { 'cart-1' }, {} } },
    { { command = 'plan' }, { true, 'no_planning_files', {}, {} } },
    { { command = 'plan', plans = plans }, { true, 'headless_plan_requires_explicit_selection', {}, {} } },
    { { command = 'plan', plans = plans, headless = false }, { true, 'interactive_plan_selector', {}, {} } },
    { { command = 'plan', plans = plans, args = { 'web/checkout.md' } },
      { false, 'explicit_plan_selectors', { 'checkout-1', 'checkout-2' }, {} } },
    { { command = 'plan', plans = plans, args = { 'Checkout', 'cart' } },
      { false, 'explicit_plan_selectors', { 'cart-1', 'checkout-1', 'checkout-2' }, {} } },
    { { command = 'plan', plans = plans, args = { 'web/new' } }, { false, 'explicit_plan_selectors', {}, {} } },
    { { command = 'plan', plans = plans, args = { 'twice' } }, { false, 'explicit_plan_selectors', {}, { 'plan_ambiguous' } } },
    { { command = 'plan', plans = plans, args = { 'cart-1' } }, { false, 'explicit_project_filters', { 'cart-1' }, {} } },
    { { command = 'plan', plans = plans, args = { 'nope' } }, { false, 'explicit_plan_selectors', {}, { 'plan_not_found' } } },
    { { command = 'plan', args = { 'checkout' } }, { false, 'explicit_project_filters', { 'checkout-1', 'checkout-2' }, {} } },
    { { command = 'resume', recorded = { ['cart-1'] = true } }, { false, 'none', { 'cart-1' }, {} } },
    { { command = 'restart', recorded = { ['cart-1'] = true } }, { false, 'none', { 'cart-1' }, {} } },
  } do
    lu.assertEquals((select(case[1])), case[2], 'case ' .. i)
  end
  local _, r = select {}
  lu.assertEquals(r.preselected, { 'cart-1' })
end

function M.test_a_selection_that_is_missing()
  local message = 'pick one'
  local f = facts { mode = 'trees', projects = {}, selection = { required = true, reason = 'x', message = message } }
  local d = plan.build(f)
  lu.assertEquals({ d.decision, codes(d.blockers), d.blockers[1].hint }, { 'blocked', { 'target_required' }, message })
  lu.assertEquals(d.plan, json.null)
  f.headless = false
  lu.assertEquals(plan.build(f).decision, 'open_selector')
end

return M
