local lu = require 'luaunit'
local json = require 'envctl.util.json'
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local store = require 'envctl.state.store'
local runtime_map = require 'envctl.state.runtime_map'
local names = require 'envctl.state.names'
local child_env = require 'envctl.keeper.child_env'
local clean = require('envctl.ui.clean').text

local M = {}

local function temp_dir()
  local dir = (sys.getenv 'TMPDIR' or '/tmp') .. '/envctl-state-test-' .. sys.random_hex(6)
  assert(fs.mkdirs(dir))
  return dir
end

local function sample()
  return {
    schema_version = 1,
    run_id = 'run-1',
    mode = 'main',
    services = {
      ['Main Backend'] = {
        type = 'backend', service = 'backend', project = 'Main', cwd = '/repo/backend', pid = 42, requested_port = 8000,
        actual_port = 8001, status = 'ready', url = 'http://localhost:8001', listener_pids = { 42 }, synthetic = false,
        log_path = '/x/Main_backend.txt',
      },
      ['Main Worker'] = {
        type = 'worker', service = 'worker', project = 'Main', cwd = '/repo', status = 'exited', log_path = '/tmp/y.txt',
      },
    },
    requirements = {},
    pointers = {},
    metadata = { project_roots = { Main = '/repo' } },
  }
end

local function with_dir(fn)
  local dir = temp_dir()
  local ok, e = pcall(fn, dir, { scope_dir = dir, state_file = dir .. '/run_state.json', durable_root = dir,
    ports_file = dir .. '/ports.json' })
  fs.remove_tree(dir)
  if not ok then
    error(e, 0)
  end
end

function M.test_write_then_read_is_the_same()
  with_dir(function(_, paths)
    local doc = sample()
    lu.assertTrue(store.write(paths, doc))
    local back = store.read(paths)
    lu.assertEquals(back.services['Main Backend'].actual_port, 8001)
    lu.assertEquals(math.type(back.services['Main Backend'].pid), 'integer')
    lu.assertNil(back.services['Main Worker'].pid)
    local text = fs.read(paths.state_file)
    lu.assertStrContains(text, '"exit": null')
    lu.assertStrContains(text, '"listener_pids": []')
    lu.assertStrContains(text, '"schema": "envctl.run_state.v1"')
  end)
end

function M.test_bad_documents_are_state_unreadable()
  local cases = {
    '', '{', '[]', '{}', '{"schema_version": 2, "run_id": "x", "mode": "main"}', '{"schema_version": 1, "mode": "main"}',
    '{"schema_version": 1, "run_id": "x", "mode": "other"}',
    '{"schema_version": 1, "run_id": "x", "mode": "main", "services": [1]}',
    '{"schema_version": 1, "run_id": "x", "mode": "main", "services": {"A": 1}}', '\0\1\2garbage',
  }
  with_dir(function(_, paths)
    for _, text in ipairs(cases) do
      fs.write_atomic(paths.state_file, text)
      local ok, e = pcall(store.read, paths)
      lu.assertFalse(ok, text)
      lu.assertEquals(e.code, 'state_unreadable', text)
      lu.assertStrContains(e.message, paths.state_file)
    end
  end)
end

-- What others are signalled by, what becomes a path, and what is reckoned with.
function M.test_a_field_of_another_type_is_unreadable()
  local function broken(change)
    with_dir(function(_, paths)
      local doc = sample()
      change(doc, doc.services['Main Backend'])
      assert(store.write(paths, doc))
      local ok, e = pcall(store.read, paths)
      lu.assertFalse(ok)
      lu.assertEquals(e.code, 'state_unreadable')
    end)
  end
  for field, values in pairs {
    pid = { 0, -1, 2 ^ 31 | 0, '1', 1.5 },
    identity = { 'x', { pid = 0 }, { pid = -1 }, { pid = 1, start_time_ticks = -1 }, { pid = 1, boot_id = 1 } },
    status = { 1, {} }, project = { 1, {} }, log_path = { 1, {} }, actual_port = { 0, 65536, 'x' },
    listener_pids = { { -1 }, { 'x' } }, started_at = { 'now' }, restarts = { -1 },
  } do
    for _, value in ipairs(values) do
      broken(function(_, service)
        service[field] = value
      end)
    end
  end
  for _, id in ipairs { '../..', 'x', '', 'run-1/../..' } do
    broken(function(doc)
      doc.run_id = id
    end)
  end
  broken(function(doc)
    doc.metadata.logs = { ['Main Backend'] = { log_path = 1 } }
  end)
  broken(function(doc)
    doc.requirements = { Main = { components = { postgres = { identity = { pid = -5 } } } } }
  end)
end

-- Written by the Python engine: no "schema". Whatever stands in it, nothing but plain values and the engine's own logs is taken.
function M.test_a_foreign_file_points_at_nothing_but_its_own_logs()
  with_dir(function(dir, paths)
    fs.write_atomic(paths.state_file, json.encode {
      schema_version = 1, run_id = '../run-1', mode = 'main', metadata = {}, pointers = {},
      requirements = { Main = { components = { redis = { enabled = true, success = true, final = 6379 }, n8n = { enabled = false } } } },
      services = {
        ['Main Backend'] = {
          type = 'backend', pid = 1, listener_pids = { 0, -1, 'x', 1.5 }, log_path = '/var/log/../syslog', actual_port = '80', cwd = 7,
          identity = { pid = 1 }, marker = 'HOME=/', cgroup = '/sys/fs/cgroup', status = 'running', container_id = 'x',
        },
        ['odd'] = { type = 'worker', log_path = '..', listener_pids = 5, status = 'simulated' },
      },
    })
    local ok, e = pcall(store.read, paths)
    lu.assertFalse(ok)
    lu.assertStrContains(e.message, 'written by the Python engine')
    local doc = store.read_any(paths)
    lu.assertEquals(doc.imported, paths.state_file)
    lu.assertEquals(doc.services['Main Backend'], {
      name = 'Main Backend', project = 'Main', service = 'backend', type = 'backend', mode = 'main', cwd = '', listener_pids = {},
      log_path = dir .. '/runs/run-1/syslog', status = 'running', synthetic = false,
    })
    lu.assertEquals({ doc.services.odd.project, doc.services.odd.status }, { 'odd', 'unknown' })
    lu.assertEquals(doc.requirements.Main.components, {
      redis = { id = 'redis', enabled = true, success = true, final = 6379, status = 'unknown' },
    })
    lu.assertTrue(store.write(paths, doc), 'it can be shown')
  end)
end

function M.test_no_file_is_no_state()
  with_dir(function(_, paths)
    lu.assertNil(store.read(paths))
  end)
end

function M.test_runtime_map_has_the_reference_keys()
  local map = runtime_map.build(sample())
  lu.assertEquals(map.projects.Main, { backend_port = 8001, frontend_port = json.null })
  lu.assertEquals(map.port_to_service, { ['8001'] = 'Main Backend' })
  lu.assertEquals(map.service_to_actual_port, { ['Main Backend'] = 8001 })
  lu.assertEquals(map.projection.Main.backend_url, 'http://localhost:8001')
  lu.assertEquals(map.projection.Main.frontend_url, json.null)
end

function M.test_a_dead_service_has_no_url()
  local doc = sample()
  doc.services['Main Backend'].status = 'exited'
  lu.assertEquals(runtime_map.build(doc).projection.Main.backend_url, json.null)
end

function M.test_manifest()
  local manifest = runtime_map.manifest(sample())
  lu.assertEquals(#manifest.projects, 1)
  lu.assertEquals(manifest.projects[1].ports.backend.final, 8001)
  lu.assertEquals(manifest.projects[1].ports.backend.requested, 8000)
end

function M.test_file_names_stay_apart()
  lu.assertEquals(names.file 'Main_backend', 'Main_backend')
  lu.assertEquals(names.file 'feature/a b', 'feature_a_b')
  lu.assertNotEquals(names.file 'a:b', names.file 'a;b')
  lu.assertFalse(names.file('../x'):find('/', 1, true) ~= nil)
  lu.assertEquals(names.service_file('Main', 'backend'), 'Main_backend')
  lu.assertNotEquals(names.service_file('web', 'shop_api'), names.service_file('web_shop', 'api'))
  lu.assertNotEquals(names.service_file('Main', 'api_prepare'), names.service_file('Main', 'api') .. '_prepare')
end

function M.test_child_env_lets_only_listed_names_through()
  local out = child_env.clean {
    PATH = '/bin', GIT_DIR = '/x', GIT_AUTHOR_NAME = 'me', LD_PRELOAD = '/evil.so', LUA_INIT = 'os.exit()', LUA_PATH_5_4 = 'x',
    ENVCTL_SERVICE = 'other', ENVCTL_SCOPE = 'other', LD_LIBRARY_PATH = '/lib', GITHUB_TOKEN = 't',
  }
  lu.assertEquals(out, { PATH = '/bin', GIT_AUTHOR_NAME = 'me', LD_LIBRARY_PATH = '/lib', GITHUB_TOKEN = 't' })
end

function M.test_clean_takes_control_bytes_out()
  local cases = {
    { 'plain text\twith tab', 'plain text\twith tab' },
    { '\27[31mred\27[0m', 'red' },
    { '\27]0;title\7x', 'x' },
    { '\27]52;c;AAAA\27\\y', 'y' },
    { 'a\0b\8c\127', 'abc' },
    { 'caf\u{e9} \u{1f600}', 'caf\u{e9} \u{1f600}' },
    { 'bad \xff\xfe end', 'bad \u{FFFD}\u{FFFD} end' },
    { 'rtl \u{202e}evil', 'rtl evil' },
    { 'c1 \u{9b}31m', 'c1 31m' },
    { '\27Pq data\27\\z', 'z' },
  }
  for _, c in ipairs(cases) do
    lu.assertEquals(clean(c[1]), c[2])
  end
end

function M.test_port_table_reserve()
  local task = require 'envctl.task'
  local table_mod = require 'envctl.state.ports_table'
  with_dir(function(dir, paths)
    local function entry(project, service, port)
      return { scope = 's1', repo = dir, root = dir, project = project, slot = 0, service = service, port = port }
    end
    task.main(function()
      table_mod.reserve(paths, 's1', { entry('A', 'backend', 8000), entry('A', 'frontend', 9000) })
      table_mod.reserve(paths, 's1', { entry('B', 'backend', 8001) })
      table_mod.reserve(paths, 's1', { entry('A', 'backend', 8005) })
      local ok, e = task.try(table_mod.reserve, paths, 's2', { entry('C', 'backend', 8001) })
      lu.assertFalse(ok)
      lu.assertEquals(e.code, 'plan_stale')
    end)
    local ports = {}
    for i, e in ipairs(table_mod.read(paths)) do
      ports[i] = e.project .. e.port
    end
    lu.assertEquals(ports, { 'A8005', 'B8001' })
  end)
end

return M
