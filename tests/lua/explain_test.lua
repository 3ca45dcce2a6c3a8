-- explain-startup: facts from a context, the ports that were looked at, and the documents of the reference.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local json = require 'envctl.util.json'
local explain = require 'envctl.plan.explain'

local M = {}

local here = debug.getinfo(1, 'S').source:match '^@(.*)/[^/]*$'

local function golden(name)
  return assert(fs.read(here .. '/../fixtures/golden/' .. name))
end

local DEFAULTS = {
  ENVCTL_DEFAULT_MODE = 'main', BACKEND_DIR = 'backend', FRONTEND_DIR = 'frontend', BACKEND_PORT_BASE = 8000,
  FRONTEND_PORT_BASE = 9000, DB_PORT = 5432, REDIS_PORT = 6379, N8N_PORT_BASE = 5678, PORT_SPACING = 20,
  ENVCTL_BACKEND_START_CMD = 'sh -c true', ENVCTL_FRONTEND_START_CMD = 'sh -c true',
}

-- Modules of the other rooms, faked while fn runs: {module name = table}.
local function with_modules(fakes, fn)
  local before = {}
  for name, fake in pairs(fakes) do
    before[name] = package.loaded[name] or false
    package.loaded[name] = fake
  end
  local ok, e = pcall(fn)
  for name, old in pairs(before) do
    package.loaded[name] = old or nil
  end
  if not ok then
    error(e, 0)
  end
end

local function context(route, world)
  local values = setmetatable(world.settings or {}, { __index = DEFAULTS })
  local settings = { configured = world.configured ~= false, errors = world.errors or {}, warnings = {}, shown = '.envctl',
    sections = world.sections or { list = {}, problems = {} } }
  function settings.get(_, key)
    return values[key]
  end
  function settings.origin(_, key)
    return rawget(values, key) ~= nil and { layer = 'dotenv', file = '.envctl', line = 1 } or { layer = 'bundled' }
  end
  local r = { command = 'explain-startup', flags = { headless = true }, projects = {}, services = {}, args = {} }
  r.explain = { command = 'start', implicit = true, flags = { headless = true }, projects = {}, services = {}, args = {} }
  for k, v in pairs(route or {}) do
    r.explain[k] = v
  end
  local printed = {}
  local out = { is_json = world.json ~= false, text = function(line)
    printed[#printed + 1] = line
  end, json = function(document)
    printed[#printed + 1] = document
  end }
  return {
    scripts = function() end,
    route = r, settings = settings, out = out, roots = { root = '/nowhere/repo', execution_root = '/nowhere/repo' },
    paths = { scope_id = 'repo-1', scope_dir = '/nowhere/scope', durable_root = '/nowhere', durable_scope = '/nowhere/scope' },
  }, printed
end

-- Runs explain-startup in a world: {projects, ledger, state, live, busy = {[port] = holder}, settings, configured}.
local function run(route, world)
  world = world or {}
  local ctx, printed = context(route, world)
  local checks = {}
  with_modules({
    ['envctl.repo.projects'] = {
      list = function(_, _, mode)
        return mode == 'main' and { { name = 'Main', root = '/nowhere/repo' } } or world.projects or {}
      end,
    },
    ['envctl.repo.plans'] = {
      list = function()
        return world.plans or {}
      end,
      projects_of = function()
        return world.planned or {}
      end,
    },
    ['envctl.state.store'] = {
      read = function()
        if world.state_error then
          require('envctl.err').raise('state_unreadable', 'run_state.json: broken', { hint = 'stop-all' })
        end
        return world.state
      end,
    },
    ['envctl.state.ports_table'] = {
      read = function()
        return world.ledger or {}
      end,
    },
    ['envctl.resume.health'] = {
      truth = function()
        local truth = { services = {}, dependencies = {} }
        for name, alive in pairs(world.live or {}) do
          truth.services[name] = { alive = alive, status = 'ready' }
        end
        return truth
      end,
    },
    ['envctl.host.port'] = {
      check = function(n)
        checks[#checks + 1] = n
        local holder = world.busy and world.busy[n]
        if holder then
          holder.looks = (holder.looks or 0) + 1
        end
        if holder and holder.looks ~= holder.gone_at then
          return nil, 'in use', holder.code or 'EADDRINUSE'
        end
        return true
      end,
      sockets = function(n)
        return world.busy[n].sockets or {}
      end,
      listeners = function()
        local out = {}
        for n, holder in pairs(world.busy or {}) do
          out[n] = not holder.silent and { {} } or nil
        end
        return out
      end,
    },
    ['envctl.deps.engine'] = {
      docker = function()
        return false, 'docker: not installed'
      end,
      podman = function() end,
      socket = function() end,
    },
    ['envctl.host.procfs'] = {
      holders = function(list)
        local out = {}
        for _, n in ipairs(list) do
          out[n] = world.busy[n].pid and world.busy[n] or nil
        end
        return out
      end,
    },
  }, function()
    lu.assertEquals(require('envctl.commands.explain_startup').run(ctx), 0)
  end)
  return printed[1], printed, checks
end

local TREES = {
  { name = 'backend_checkout-1', root = '/nowhere/t/1' }, { name = 'backend_checkout-2', root = '/nowhere/t/2' },
  { name = 'frontend_cart-1', root = '/nowhere/t/3' },
}

function M.test_the_text_of_the_reference()
  local _, lines = run({ mode = 'trees' }, { projects = TREES, json = false })
  local wanted = {}
  for line in golden('trees-noconf-explain-startup-trees.txt'):gmatch '[^\n]+' do
    wanted[#wanted + 1] = line:match '^([%w_]+): '
  end
  for i, label in ipairs(wanted) do
    lu.assertEquals(lines[i]:match '^([%w_]+): ', label)
  end
  lu.assertStrContains(lines[#wanted + 1], "'--project <tree>'")
  lu.assertEquals({ lines[2], lines[4], lines[5], lines[7] },
    { 'mode: trees', 'headless: True', 'selected_projects: none', 'dependencies: none' })
end

function M.test_the_table_of_the_plan()
  local _, lines = run({}, { json = false, settings = { MAIN_FRONTEND_ENABLE = false } })
  local text = table.concat(lines, '\n')
  lu.assertStrContains(text, 'auto_resume: False (no_matching_state)\n')
  lu.assertStrContains(text, 'decision: start_fresh\nplan: sha256:')
  lu.assertStrContains(text, '\n  start  backend  8000  sh -c true\n')
  lu.assertStrContains(text, 'ENVCTL_BACKEND_START_CMD')
  lu.assertStrContains(text, 'skipped: Main/frontend: switched off by MAIN_FRONTEND_ENABLE')
end

function M.test_command_lines_are_quoted()
  lu.assertEquals(explain.command_line { 'a', 'b c', "d'e", '', '--x=1,2', '$HOME' }, "a 'b c' 'd'\\''e' '' --x=1,2 $HOME")
end

function M.test_taken_ports_are_looked_at_until_the_plan_stands()
  local busy = { [8000] = { pid = 7, command = 'one' }, [9001] = { pid = 8, command = 'two' }, [8002] = { pid = 9, command = 'three' } }
  local d, _, checks = run({}, { busy = busy })
  lu.assertEquals(d.plan.projects[1].ports, { backend = 8003, frontend = 9003 })
  lu.assertStrContains(d.warnings[1].message, 'held by pid 7 (one)')
  lu.assertEquals(#d.warnings, 1)
  -- Everything that listens is known after the first look: only wished and final ports were tried.
  lu.assertEquals(#checks, 4)
end

function M.test_who_is_gone_before_it_is_named_is_no_reason_to_move()
  local d = run({}, { busy = { [9000] = { gone_at = 2, silent = true } } })
  lu.assertEquals({ d.plan.projects[1].ports, #d.warnings }, { { backend = 8000, frontend = 9000 }, 0 })
  -- Behind the first one there may be another, who stays.
  d = run({}, { busy = { [8000] = { gone_at = 2 }, [9000] = { pid = 8, command = 'two' } } })
  lu.assertEquals({ d.plan.projects[1].slot, #d.warnings }, { 1, 1 })
  lu.assertStrContains(d.warnings[1].message, 'port 9000 of Main/frontend is held by pid 8 (two)')
end

function M.test_every_move_has_a_reason()
  local connection = { state = 'connection', inode = 5, uid = 1001 }
  local closed = { state = 'time-wait', inode = 0, uid = 0 }
  for reason, sockets in pairs {
    ['cannot be seen from here (of user id 1001)'] = { closed, connection },
    ['closed connections of a server that is gone'] = { closed },
    ['held by another program'] = {},
  } do
    local d = run({}, { busy = { [8000] = { sockets = sockets } } })
    lu.assertEquals(d.plan.projects[1].slot, 1)
    lu.assertStrContains(d.warnings[1].message, reason)
  end
end

function M.test_a_look_that_fails_moves_nothing()
  lu.assertErrorMsgContains('in use', run, {}, { busy = { [8000] = { code = 'EMFILE' } } })
end

function M.test_no_look_without_conflict_and_with_lock_only()
  local _, _, checks = run()
  lu.assertEquals(#checks, 2)
  local d
  d, _, checks = run({}, { busy = { [8000] = {} }, settings = { ENVCTL_PORT_AVAILABILITY_MODE = 'lock_only' } })
  lu.assertEquals({ #checks, d.plan.projects[1].slot }, { 0, 0 })
end

function M.test_how_a_port_is_found_to_be_free()
  -- 8000 is bound by somebody who does not listen.
  for mode, slot in pairs { auto = 1, socket_bind = 1, listener_query = 0, lock_only = 0 } do
    local d = run({}, { busy = { [8000] = { silent = true } }, settings = { ENVCTL_PORT_AVAILABILITY_MODE = mode } })
    lu.assertEquals(d.plan.projects[1].slot, slot, mode)
  end
  for mode, slot in pairs { auto = 1, socket_bind = 1, listener_query = 1, lock_only = 0 } do
    local d = run({}, { busy = { [8000] = {} }, settings = { ENVCTL_PORT_AVAILABILITY_MODE = mode } })
    lu.assertEquals(d.plan.projects[1].slot, slot, mode)
  end
end

function M.test_reservations_are_forgotten_but_those_of_what_runs()
  local function entry(scope, project, slot)
    return { scope = scope, project = project, slot = slot, service = 'backend', port = 8000 + slot, repo = '/r', root = '/r' }
  end
  local world = {
    ledger = { entry('repo-1', 'Main', 3), entry('repo-2', 'Main', 0) },
    settings = { MAIN_FRONTEND_ENABLE = false },
  }
  lu.assertEquals(run({}, world).plan.projects[1].slot, 3)
  local forget = { flags = { clear_port_state = true } }
  lu.assertEquals(run(forget, world).plan.projects[1].slot, 1) -- 0 belongs to another repository still
  world.state = { services = { ['Main Backend'] = { project = 'Main', service = 'backend', requested_port = 8003, actual_port = 8003 } } }
  world.live = { ['Main Backend'] = true }
  local d = run(forget, world)
  lu.assertEquals(d.plan.projects[1].slot, 3)
  lu.assertEquals({ #d.notices, d.notices[1].code, d.notices[1].project }, { 1, 'ports_kept', 'Main' })
end

function M.test_our_own_ports_are_not_looked_at()
  local world = {
    state = {
      run_id = 'run-1', mode = 'main', metadata = {},
      services = {
        ['Main Backend'] = { project = 'Main', service = 'backend', requested_port = 8000, actual_port = 8000, status = 'ready' },
      },
    },
    live = { ['Main Backend'] = true }, busy = { [8000] = { pid = 1, command = 'ours' } },
  }
  local d, _, checks = run({}, world)
  lu.assertEquals(checks, { 9000 })
  lu.assertEquals(d.plan.projects[1].ports.backend, 8000)
  lu.assertEquals({ d.plan.actions[1].action, d.plan.actions[2].action }, { 'restart', 'start' })
end

function M.test_a_fixed_port_that_is_taken()
  local d = run({}, { busy = { [8123] = { pid = 3, command = 'nc -l' } }, settings = { ENVCTL_BACKEND_PORT = 8123 } })
  lu.assertEquals({ d.decision, d.blockers[1].code, d.blockers[1].where }, { 'blocked', 'port_taken', '.envctl:1' })
  lu.assertStrContains(d.blockers[1].message, 'port 8123 of Main/backend is held by pid 3 (nc -l)')
end

function M.test_what_cannot_be_read_is_a_blocker()
  local d = run({}, { state_error = true })
  lu.assertEquals({ d.decision, d.blockers[1].code, d.blockers[1].hint }, { 'blocked', 'state_unreadable', 'stop-all' })
  d = run({}, { configured = false })
  lu.assertEquals({ d.decision, d.blockers[1].code }, { 'blocked', 'config_missing' })
  lu.assertNotEquals(d.plan, json.null)
  local err = require 'envctl.err'
  d = run({}, { errors = { err.new('config_invalid', 'x', { where = '.envctl:4' }) } })
  lu.assertEquals({ d.blockers[1].code, d.blockers[1].where }, { 'config_invalid', '.envctl:4' })
end

function M.test_the_command_that_is_explained_decides()
  lu.assertEquals(run({ command = 'plan' }, { projects = TREES }).mode, 'trees')
  lu.assertEquals(run({ command = 'plan', args = { 'cart' } }, { projects = TREES }).selection.selected_projects, { 'frontend_cart-1' })
  lu.assertEquals(run({ command = 'resume' }).blockers[1].code, 'state_missing')
  lu.assertEquals(run({ services = { 'backend' } }).plan.projects[1].services[2], nil)
  lu.assertEquals(run({ flags = { headless = true, frontend = false } }).skipped[1].reason, 'left out on the command line')
end

function M.test_dependencies_of_the_mode()
  local on = { MAIN_POSTGRES_ENABLE = true, TREES_REDIS_ENABLE = true }
  lu.assertEquals(run({}, { settings = on }).dependencies, { 'postgres' })
  lu.assertEquals(run({ mode = 'trees' }, { settings = on }).dependencies, { 'redis' })
  local both = run({}, { settings = { MAIN_POSTGRES_ENABLE = true, MAIN_SUPABASE_ENABLE = true } })
  lu.assertEquals({ both.blockers[1].code, both.blockers[1].where }, { 'config_invalid', '.envctl:1' })
  local d = run({ flags = { headless = true, main_services_local = true } }, { settings = { MAIN_POSTGRES_ENABLE = true } })
  lu.assertEquals(d.dependencies, { 'n8n', 'supabase' })
end

function M.test_launch_env_sections()
  local launch_env = require 'envctl.config.launch_env'
  local sections = launch_env.parse { {
    name = 'backend', start = 3, stop = 9,
    lines = {
      { line = 4, text = 'GREETING=hello $HOME' }, { line = 5, text = 'AGAIN=${GREETING}!' },
        { line = 6, text = 'DB=${ENVCTL_SOURCE_DATABASE_URL}' },
      { line = 7, text = 'API_TOKEN=hush' }, { line = 8, text = 'PORT=1' },
    },
  } }
  local d = run({}, { sections = sections })
  local backend, frontend = d.plan.projects[1].services[1], d.plan.projects[1].services[2]
  lu.assertEquals({ backend.env.GREETING, backend.env.AGAIN, backend.env.DB, backend.env.API_TOKEN, backend.env.PORT },
    { 'hello $HOME', 'hello $HOME!', nil, '***', '1' })
  lu.assertNil(frontend.env.GREETING)
  lu.assertEquals(backend.origin['env.GREETING'], { layer = 'dotenv', file = '.envctl', line = 4, evidence = json.null })
  lu.assertEquals({ d.notices[1].code, d.notices[1].where, #d.notices }, { 'launch_env_skipped', '.envctl:6', 1 })
end

return M
