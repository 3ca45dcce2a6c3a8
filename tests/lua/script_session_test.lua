-- What a session makes of scripts: errors with file and line, services, override points, hooks, commands.
local lu = require 'luaunit'
local json = require 'envctl.util.json'
local task = require 'envctl.task'
local support = require 'script_support'

local M = {}

-- The golden file, as {script, message, hint}.
local function wrong_scripts()
  local path = rawget(_G, 'ENVCTL_SOURCE_DIR') .. '/tests/lua/script_errors.txt'
  local text = assert(require('envctl.host.fs').read(path))
  local out = {}
  for case in text:gsub('^.-\n=== \n', '', 1):gsub('\n=== \n', '\0'):gmatch '[^\0]+' do
    local script, message = case:match '^(.-)\n%-%-%- ([^\n]*)'
    out[#out + 1] = { script = script, message = message, hint = case:match '\n%-%-%- hint: ([^\n]*)' }
  end
  return out
end

function M.test_wrong_scripts()
  local cases = wrong_scripts()
  for _, case in ipairs(cases) do
    local inner = case.script:match '^…\n(.*)$'
    local text = inner and 'return { envctl = 1,\n' .. inner .. ' }' or case.script
    local e = support.failure(text)
    lu.assertEquals(e.code, 'script_invalid', text)
    lu.assertEquals(e.message, case.message, text)
    lu.assertEquals(e.where, case.message:match '^%.envctl%.lua:%d+' or '.envctl.lua', text)
    lu.assertEquals(e.hint, case.hint or require('envctl.script.problems').BUNDLED, text)
  end
  lu.assertTrue(#cases >= 80, #cases)
end

function M.test_several_errors_are_all_there()
  local e = support.failure 'return { envctl = 1,\n services = { a = { port = 0 }, b = { port = 0 } },\n x = 1 }'
  lu.assertEquals(#e.data.errors, 3)
  lu.assertEquals(e.data.errors[3].where, '.envctl.lua:3')
end

function M.test_errors_of_other_layers_and_files()
  local e = support.failure { user = 'return { envctl = 1,\n services = 1 }' }
  lu.assertEquals(e.where, '~/.config/envctl/init.lua:2')
  local dir <close> = support.directory()
  support.write(dir.path, 'tools/db.lua', 'return {\n  image = 1 }')
  support.write(dir.path, 'tools/bad.lua', '\n\nreturn {')
  support.write(dir.path, 'tools/throws.lua', 'local function f()\n  error("deep")\nend\nf()')
  support.write(dir.path, 'tools/loop.lua', 'return envctl.include("tools/loop.lua")')
  local opts = { root = dir.path }
  e = support.failure("return { envctl = 1,\n dependencies = { db = envctl.include('tools/db.lua') } }", nil, opts)
  lu.assertEquals(e.message, 'tools/db.lua:2: dependencies.db.image: expected a string, got 1')
  e = support.failure("return { envctl = 1,\n dependencies = envctl.include('tools/bad.lua') }", nil, opts)
  lu.assertStrContains(e.message, "tools/bad.lua:3: unexpected symbol near <eof>")
  e = support.failure("return { envctl = 1,\n dependencies = envctl.include('tools/throws.lua') }", nil, opts)
  lu.assertEquals(e.message, 'tools/throws.lua:2: deep')
  e = support.failure("return { envctl = 1,\n dependencies = envctl.include('tools/loop.lua') }", nil, opts)
  lu.assertStrContains(e.message, 'tools/loop.lua includes itself')
end

function M.test_long_and_strange_file_names()
  local dir <close> = support.directory()
  local long = 'tools/' .. ('long-directory-name/'):rep(5) .. 'file.lua'
  support.write(dir.path, long, 'return {\n x = nil + 1 }')
  local e = support.failure("return envctl.include('" .. long .. "')", nil, { root = dir.path })
  lu.assertEquals(e.where, long .. ':2')
end

local DETECTED = {
  name = 'backend', type = 'backend', dir = 'backend', command = { 'python3', 'main.py', '--port', '${port}' }, shell = false,
  listens = true, env = { PORT = '${port}', A = '1' }, ready = { kind = 'tcp', timeout_ms = 9000 }, needs = {}, critical = true,
  restart = 'no', framework = 'fastapi', manager = 'pip', prepare = {}, port_key = 'BACKEND_PORT_BASE', port_base = 8000,
  origin = { command = { layer = 'bundled', evidence = 'main.py' }, env = { layer = 'bundled' } },
}

local function merge(texts, opts)
  local dir <close> = support.directory()
  for _, name in ipairs { 'backend', 'services/api' } do
    support.write(dir.path, name .. '/file', 'x')
  end
  opts = opts or {}
  local project = { name = 'Main', mode = opts.mode or 'main', root = dir.path, skipped = opts.skipped }
  return support.with(texts, function(session)
    return session:merge_services(project, opts.lower or { DETECTED })
  end, { root = dir.path })
end

local function by_name(list)
  local out = {}
  for _, s in ipairs(list) do
    out[s.name] = s
  end
  return out
end

function M.test_services_without_changes_stay_as_they_are()
  local services = merge 'return { envctl = 1 }'
  lu.assertEquals(services, { DETECTED })
end

function M.test_new_service()
  local services = by_name(merge [[
return { envctl = 1, services = {
  api = {
    dir = 'services/api',
    command = 'python3 "a b.py" --port ${port}',
    port = 8100, needs = { 'postgres' },
    env = { X = 1, Y = true },
    ready = { http = '/healthz' },
    prepare = { { command = 'make deps', inputs = { 'Makefile' } } },
  },
  worker = { command = { 'celery', '-A', 'app' }, listens = false, critical = false },
  piped = { command = 'a | b', shell = true, ready = { log = 'up', timeout_ms = 100 } },
} }]])
  local api = services.api
  lu.assertEquals(api.command, { 'python3', 'a b.py', '--port', '${port}' })
  lu.assertEquals(api.dir, 'services/api')
  lu.assertEquals(api.port_fixed, 8100)
  lu.assertNil(api.port_base)
  lu.assertEquals(api.env, { X = '1', Y = 'true', PORT = '${port}', ENVCTL_PROJECT_NAME = '${project}' })
  lu.assertEquals(api.ready, { kind = 'http', path = '/healthz', timeout_ms = 30000 })
  lu.assertEquals(api.needs, { 'postgres' })
  lu.assertEquals(api.prepare, { { name = 'step 1', command = { 'make', 'deps' }, inputs = { 'Makefile' } } })
  lu.assertEquals(api.origin.port, { layer = 'script', file = '.envctl.lua', line = 5 })
  lu.assertEquals(api.origin.command, { layer = 'script', file = '.envctl.lua', line = 4 })
  lu.assertEquals(services.worker.ready.kind, 'none')
  lu.assertFalse(services.worker.listens)
  lu.assertFalse(services.worker.critical)
  lu.assertNil(services.worker.env.PORT)
  lu.assertEquals(services.piped.command, { 'a | b' })
  lu.assertTrue(services.piped.shell)
  lu.assertEquals(services.piped.ready, { kind = 'log', pattern = 'up', timeout_ms = 100 })
end

function M.test_change_of_a_detected_service()
  local services, skipped = merge [[
return { envctl = 1, services = {
  backend = {
    env = function(base) base.A = nil; base.X = 'e'; return base end,
    ready = { http = '/up' },
  },
} }]]
  local b = services[1]
  lu.assertEquals(b.env, { PORT = '${port}', X = 'e' })
  lu.assertEquals(b.ready, { kind = 'http', path = '/up', timeout_ms = 9000 })
  lu.assertEquals(b.framework, 'fastapi')
  lu.assertEquals(b.port_base, 8000)
  lu.assertEquals(b.origin.env, { layer = 'script', file = '.envctl.lua', line = 3 })
  lu.assertEquals(b.origin.ready.line, 4)
  lu.assertEquals(b.origin.command, DETECTED.origin.command)
  lu.assertEquals(skipped, {})
end

function M.test_layers_of_services()
  local services = merge {
    user = "return { envctl = 1, services = { backend = { env = { WHO = 'user', U = '1' } } } }",
    script = "return { envctl = 1, services = { backend = { env = { WHO = 'script' }, needs = { 'a' } } } }",
    ['local'] = "return { envctl = 1, services = { backend = { env = { WHO = 'local' }, needs = envctl.append { 'b' } } } }",
  }
  lu.assertEquals(services[1].env.WHO, 'local')
  lu.assertEquals(services[1].env.U, '1')
  lu.assertEquals(services[1].needs, { 'a', 'b' })
  lu.assertEquals(services[1].origin.env, { layer = 'local', file = '.envctl.local.lua', line = 1 })
end

function M.test_services_that_are_left_out()
  local services, skipped = merge [[
return { envctl = 1, services = {
  backend = envctl.unset,
  frontend = { env = { A = 'b' } },
  trees = { command = 'x', modes = { 'trees' } },
  missing = { command = 'x', enable_if = 'services/none' },
  there = { command = 'x', enable_if = 'services/api' },
  yes = { command = 'x', enable_if = function(ctx) return ctx.project.name == 'Main' end },
  no = { command = 'x', enable_if = function(ctx) return ctx.project.mode == 'trees' end },
} }]]
  local names = {}
  for i, s in ipairs(services) do
    names[i] = s.name
  end
  lu.assertEquals(names, { 'there', 'yes' })
  local reasons = {}
  for _, s in ipairs(skipped) do
    reasons[s.name] = s.reason
  end
  lu.assertEquals(reasons, {
    backend = 'taken out by .envctl.lua:2',
    frontend = 'was not found on disk, and .envctl.lua:3 only changes it',
    trees = 'is only for trees mode',
    missing = 'there is no `services/none`',
    no = 'switched off by .envctl.lua:8',
  })
end

-- Whatever a function gives is as if it stood there.
function M.test_functions_instead_of_what_they_give()
  local function text(api)
    return 'return { envctl = 1, services = ' .. api:gsub('F%b()', function(given)
      return 'function() return ' .. given:sub(3, -2) .. ' end'
    end) .. ' }'
  end
  local function origins_of(service)
    local out = {}
    for field, origin in pairs(service.origin) do
      out[field] = origin.layer .. ' ' .. origin.file .. ':' .. origin.line
    end
    return out
  end
  local expected = merge(text '{ api = { command = { "x", "y" }, port = 8100, env = { A = "1" }, ready = { log = "a" } } }')
  for _, api in ipairs {
    'F({ api = { command = { "x", "y" }, port = 8100, env = { A = "1" }, ready = { log = "a" } } })',
    '{ api = F({ command = { "x", "y" }, port = 8100, env = { A = "1" }, ready = { log = "a" } }) }',
    '{ api = { command = F({ "x", "y" }), port = F(8100), env = F({ A = "1" }), ready = F({ log = "a" }) } }',
    '{ api = { command = { "x", "y" }, port = 8100, env = { A = F("1") }, ready = { log = F("a") } } }',
  } do
    local services, skipped = merge(text(api))
    -- A function that does not give back what was there takes it out.
    lu.assertEquals(#skipped, api:find '^F' and 1 or 0, api)
    local service, same = services[#services], expected[#expected]
    lu.assertEquals(origins_of(service), origins_of(same), api)
    service.origin = same.origin
    lu.assertEquals(service, same, api)
  end
end

function M.test_wrong_services_after_merging()
  local function failure(text)
    local ok, e = pcall(merge, 'return { envctl = 1, services = {\n' .. text .. ' } }')
    lu.assertFalse(ok)
    return e.message
  end
  lu.assertEquals(failure 'api = { port = 1 }', '.envctl.lua:2: services.api: "command" is missing')
  lu.assertEquals(failure 'backend = function(base)\n base.port = "x" return base end',
    '.envctl.lua:2: services.backend.port: expected an integer 1..65535, got "x"')
  for given, message in pairs {
    ['5'] = 'services: expected a table of services by name, got 5',
    ['{ 1, 2 }'] = 'services: expected a table of services by name, got a list',
    ['{ api = 5 }'] = 'services.api: expected a table that describes the service, got 5',
    ['{ api = { command = "x", redy = 1 } }'] = 'services.api.redy: unknown key',
  } do
    local ok, e = pcall(merge, 'return { envctl = 1,\n services = function() return ' .. given .. ' end }')
    lu.assertFalse(ok)
    lu.assertEquals(e.message, '.envctl.lua:2: ' .. message)
  end
  lu.assertEquals(failure 'backend = {\n env = function(base) return 1 end }',
    '.envctl.lua:3: services.backend.env: expected a table of variables, got 1')
  lu.assertEquals(failure 'backend = {\n env = function(base) return base.x.y end }',
    ".envctl.lua:3: services.backend.env: attempt to index a nil value (field 'x')")
  lu.assertEquals(failure 'x = { command = "y", enable_if = function() return 1 end }',
    '.envctl.lua:2: services.x.enable_if: expected true or false, got 1')
  local _, _, problems = merge "return { envctl = 1, services = {\n x = { command = 'y',\n dir = 'none' } } }"
  lu.assertEquals(problems[1].code, 'service_dir_missing')
  lu.assertEquals(problems[1].where, '.envctl.lua:3')
end

function M.test_detection_is_a_point()
  local services = merge [[
return { envctl = 1, override = { ['detect.services'] = function(base, ctx)
  local services = base(ctx)
  services.backend.command = { 'other' }
  services.extra = { command = 'x', dir = 'services/api' }
  return services
end } }]]
  services = by_name(services)
  lu.assertEquals(services.backend.command, { 'other' })
  lu.assertEquals(services.backend.origin.command, { layer = 'script', file = '.envctl.lua', line = 1 })
  lu.assertEquals(services.extra.dir, 'services/api')
end

-- --- override points ---------------------------------------------------------------------------------------------------

local CTX = { project = { name = 'Main', mode = 'main', root = '/r' }, slot = 0, wants = { { id = 'backend', base = 8000 } } }

local function ports(texts, base, opts)
  local calls = 0
  return support.with(texts, function(session)
    local output = session:call('plan.ports', CTX, function(input)
      calls = calls + 1
      return (base or function()
        return { backend = 8000, frontend = 9000 }
      end)(input)
    end, { label = 'Main' })
    return output, session:report(), calls
  end, opts)
end

local function override(body)
  return 'return { envctl = 1, override = {\n  ["plan.ports"] = function(base, ctx)\n' .. body .. '\nend } }'
end

function M.test_override()
  local output, report, calls = ports(override 'local p = base(ctx)\np.backend = 8500\nreturn p')
  lu.assertEquals(output, { backend = 8500, frontend = 9000 })
  lu.assertEquals(report, {
    {
      point = 'plan.ports', layer = 'script', file = '.envctl.lua', line = 2,
      changed = { { path = 'Main.backend', before = 8000, after = 8500 } },
    },
  })
  lu.assertEquals(calls, 1)
end

function M.test_override_without_base()
  local output, report = ports(override 'return { backend = 1 }')
  lu.assertEquals(output, { backend = 1 })
  lu.assertEquals(report[1].changed, {
    { path = 'Main.backend', before = 8000, after = 1 },
    { path = 'Main.frontend', before = 9000, after = json.null },
  })
end

function M.test_override_with_another_context()
  local output = ports(override 'ctx.slot = 5\nreturn base(ctx)', function(input)
    return { backend = 8000 + input.slot }
  end)
  lu.assertEquals(output, { backend = 8005 })
  output = ports(override 'return base()', function(input)
    return { backend = 8000 + input.slot }
  end)
  lu.assertEquals(output, { backend = 8000 })
end

function M.test_overrides_on_top_of_each_other()
  local output, report = ports {
    script = override 'local p = base(ctx)\np.backend = p.backend + 1\nreturn p',
    ['local'] = override 'local p = base(ctx)\np.backend = p.backend * 2\nreturn p',
  }
  lu.assertEquals(output.backend, 16002)
  lu.assertEquals(report[1].changed, { { path = 'Main.backend', before = 8000, after = 8001 } })
  lu.assertEquals(report[2].changed, { { path = 'Main.backend', before = 8001, after = 16002 } })
  output = ports {
    script = override 'return { backend = 1 }',
    ['local'] = 'return { envctl = 1, override = { ["plan.ports"] = envctl.unset } }',
  }
  lu.assertEquals(output.backend, 8000)
  output = ports {
    script = override 'return { backend = 1 }',
    ['local'] = 'return { envctl = 1, override = envctl.unset, on = envctl.unset, modules = envctl.unset }',
  }
  lu.assertEquals(output.backend, 8000)
end

function M.test_asked_twice_is_told_once()
  support.with(override 'local p = base(ctx)\np.backend = ctx.slot\nreturn p', function(session)
    for slot = 1, 3 do
      for _, label in ipairs { 'a', 'b' } do
        session:call('plan.ports', { slot = slot }, function()
          return { backend = 8000 }
        end, { label = label })
      end
    end
    lu.assertEquals(session:report()[1].changed, {
      { path = 'a.backend', before = 8000, after = 3 }, { path = 'b.backend', before = 8000, after = 3 },
    })
  end)
end

function M.test_no_override_is_the_bundled_function()
  local output, report, calls = ports 'return { envctl = 1 }'
  lu.assertEquals(output, { backend = 8000, frontend = 9000 })
  lu.assertEquals(report, {})
  lu.assertEquals(calls, 1)
end

function M.test_wrong_overrides()
  local function failure(texts, base)
    local ok, e = pcall(ports, texts, base, { cpu_ms = 150 })
    lu.assertFalse(ok)
    return e.message, e
  end
  lu.assertEquals(failure(override 'return { backend = 99999 }'),
    '.envctl.lua:2: override["plan.ports"].backend: expected an integer 1..65535, got 99999')
  lu.assertEquals(failure(override 'return nil'),
    '.envctl.lua:2: override["plan.ports"]: expected a table of ports by service or dependency, got nothing')
  lu.assertEquals(failure(override 'return { backend = base }'),
    '.envctl.lua:2: override["plan.ports"].backend: is a function, which cannot leave the script')
  lu.assertEquals(failure(override 'return base(ctx).x.y'),
    ".envctl.lua:3: override[\"plan.ports\"]: attempt to index a nil value (field 'x')")
  lu.assertStrContains(failure(override 'while true do end'), '.envctl.lua:3: override["plan.ports"]: ran for ')
  lu.assertEquals(failure {
    script = override 'return { backend = "x" }', ['local'] = override 'return base(ctx)',
  }, '.envctl.lua:2: override["plan.ports"].backend: expected an integer 1..65535, got "x"')
  local message, e = failure(override 'return base(ctx)', function()
    require('envctl.err').raise('port_taken', 'port 8000 is taken', { hint = 'another one' })
  end)
  lu.assertEquals({ message, e.code, e.hint }, { 'port 8000 is taken', 'port_taken', 'another one' })
end

function M.test_points_inside_of_points()
  support.with([[
return { envctl = 1, override = {
  ['plan.startup'] = function(base, ctx) local d = base(ctx) d.decision = 'blocked' return d end,
  ['plan.ports'] = function(base, ctx) local p = base(ctx) p.backend = p.backend + 1 return p end,
} }]], function(session)
    local inner
    local output = session:call('plan.startup', { projects = { { name = 'a' } } }, function()
      inner = session:call('plan.ports', CTX, function()
        return { backend = 8000 }
      end)
      return { decision = 'start_fresh', blockers = json.array {}, warnings = {} }
    end)
    lu.assertEquals(inner, { backend = 8001 })
    lu.assertEquals(output.decision, 'blocked')
    lu.assertEquals(json.encode_line(output), '{"blockers":[],"decision":"blocked","warnings":[]}')
  end)
end

function M.test_calls_from_several_tasks()
  support.with(override 'local p = base(ctx)\np.backend = p.backend + ctx.slot\nreturn p', function(session)
    session:load()
    local out = {}
    task.scope(function(scope)
      for i = 1, 8 do
        scope:spawn(function()
          out[i] = session:call('plan.ports', { project = { name = 'p' .. i }, slot = i }, function()
            task.sleep(1)
            return { backend = 8000 }
          end).backend
        end)
      end
    end)
    lu.assertEquals(out, { 8001, 8002, 8003, 8004, 8005, 8006, 8007, 8008 })
  end)
end

function M.test_layers_do_not_reach_each_other()
  local _, report = ports {
    script = [[
string.upper = function() return 'taken' end
SHARED = 'script'
local kept
return { envctl = 1, override = { ['plan.ports'] = function(base, ctx)
  if kept and kept.frontend ~= 9000 then error 'changed from outside' end
  kept = base(ctx)
  return kept
end } }]],
    ['local'] = [[
return { envctl = 1, override = { ['plan.ports'] = function(base, ctx)
  if SHARED or ('x'):upper() ~= 'X' then error 'reached' end
  local p = base(ctx)
  p.frontend = 1
  return base(ctx)
end } }]],
  }
  lu.assertEquals(report[1].changed, {})
  lu.assertEquals(report[2].changed, {})
end

-- --- hooks and commands ------------------------------------------------------------------------------------------------

local HOST = {
  double = function(n)
    return n * 2
  end,
  fail = function()
    require('envctl.err').raise('io_error', 'the disk is on fire')
  end,
  list = function()
    return { 1, 2 }
  end,
}

function M.test_commands()
  local text = [[
return { envctl = 1, commands = {
  seed = { help = 'x', run = function(ctx, host) return host.double(ctx.n) end },
  none = { run = function() end },
  bad = { run = function() return 'x' end },
  fails = { run = function(ctx, host)
    host.fail()
  end },
  caught = { run = function(ctx, host) local ok, e = pcall(host.fail) return ok and 1 or #host.list() end },
  typo = { run = function(ctx, host)
    host.dubble(1)
  end },
} }]]
  support.with(text, function(session)
    local function run(name, ctx)
      return session:run_command(name, ctx, HOST)
    end
    local function failure(name)
      local ok, e = task.try(run, name)
      lu.assertFalse(ok)
      return e.message
    end
    lu.assertEquals(run('seed', { n = 4 }), 8)
    lu.assertEquals(run 'none', 0)
    lu.assertEquals(run 'caught', 2)
    lu.assertEquals(failure 'bad', '.envctl.lua:4: commands.bad: expected an exit code 0..255 or nothing, got "x"')
    lu.assertEquals(failure 'fails', '.envctl.lua:6: commands.fails: the disk is on fire')
    lu.assertEquals(failure 'typo', '.envctl.lua:10: commands.typo: host.dubble is not there; known: double, fail, list')
    lu.assertEquals(failure 'nope', 'no script has a command "nope"')
  end, { trusted = true })
end

function M.test_hooks()
  local texts = {
    script = [[
return { envctl = 1, on = {
  started = function(ev, host) host.note('script ' .. ev.project) end,
  stopped = { run = function(ev, host) error 'no' end, optional = true },
  before_start = function()
    error('not today')
  end,
  prepare = { run = function(ev, host) host.wait() end, timeout_ms = 30 },
} }]],
    ['local'] = 'return { envctl = 1, on = { started = function(ev, host) host.note("local") end } }',
  }
  support.with(texts, function(session)
    local notes = {}
    local host = {
      note = function(text)
        notes[#notes + 1] = text
      end,
      wait = function()
        task.sleep(60000)
      end,
    }
    local function failure(event)
      local ok, e = task.try(session.run_hook, session, event, {}, host)
      lu.assertFalse(ok)
      return e.code .. ': ' .. e.message
    end
    local results = session:run_hook('started', { project = 'Main' }, host)
    lu.assertEquals(#results, 2)
    lu.assertEquals(notes, { 'script Main', 'local' })
    results = session:run_hook('stopped', {}, host)
    lu.assertFalse(results[1].ok)
    lu.assertEquals(results[1].message, '.envctl.lua:3: on.stopped: no')
    lu.assertEquals(failure 'before_start', 'hook_failed: .envctl.lua:5: on.before_start: not today')
    lu.assertEquals(failure 'prepare', 'hook_failed: .envctl.lua:7: on.prepare: took longer than 0.03 s')
    -- The script host was ended by that; the next event is served all the same.
    lu.assertEquals(#session:run_hook('started', { project = 'Main' }, host), 2)
    lu.assertEquals(session:run_hook('project.created', {}, host), {})
  end, { trusted = true })
end

function M.test_what_acts_needs_trust()
  local text = 'return { envctl = 1, on = { started = function() end }, commands = { x = { run = function() end } } }'
  support.with(text, function(session)
    session.judge = function(s)
      s.trusted = false
    end
    for _, act in ipairs { { session.run_hook, 'started' }, { session.run_command, 'x' } } do
      local ok, e = task.try(act[1], session, act[2], {}, {})
      lu.assertFalse(ok)
      lu.assertEquals(e.code, 'script_untrusted')
      lu.assertStrContains(e.hint, 'envctl script trust')
    end
  end)
end

function M.test_merging_sections()
  support.with({
    user = 'return { envctl = 1, config = { ports = { backend = 1 } } }',
    script = "return { envctl = 1, config = { default_mode = function(base) return base .. '!' end, ports = { frontend = 2 } } }",
  }, function(session)
    session:load()
    local value, origins = session:merge('config', { default_mode = 'main' })
    lu.assertEquals(value, { default_mode = 'main!', ports = { backend = 1, frontend = 2 } })
    lu.assertEquals(origins:of { 'config', 'default_mode' }, { layer = 'script', file = '.envctl.lua', line = 1 })
  end)
  for section, what in pairs { config = 'settings', dependencies = 'dependencies by name' } do
    support.with('return { envctl = 1,\n ' .. section .. ' = function() return 5 end }', function(session)
      session:load()
      local ok, e = pcall(session.merge, session, section, {})
      lu.assertFalse(ok)
      lu.assertEquals(e.message, '.envctl.lua:2: ' .. section .. ': expected a table of ' .. what .. ', got 5')
    end)
  end
end

return M
