local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local paths = require 'envctl.state.paths'
local fixture = require 'fixture'

local M = {}

local function compute(root, values)
  return paths.compute({ root = root }, {
    get = function(_, key)
      return (values or {})[key]
    end,
  })
end

function M.test_scope_ids()
  lu.assertEquals(paths.scope_id '/repo/demo', 'repo-5ca581e3e4a9')
  lu.assertEquals(paths.scope_id('/home' .. '/u/app'), 'repo-2bf7c3a66bb6')
  lu.assertEquals(paths.scope_id('/x', 'My Scope_1-é'), 'myscope_1-')
  lu.assertEquals(paths.scope_id('/x', '///'), 'repo')
  lu.assertEquals(paths.scope_id('/repo/demo', '  '), 'repo-5ca581e3e4a9')
end

function M.test_the_default_places()
  local p = compute('/repo/demo', { XDG_STATE_HOME = '/s' })
  local root = '/tmp/envctl-runtime-' .. sys.geteuid()
  lu.assertEquals({ p.runtime_root, p.engine_root, p.scope_dir }, { root, root .. '/engine', root .. '/engine/repo-5ca581e3e4a9' })
  lu.assertEquals({ p.durable_root, p.durable_scope }, { '/s/envctl', '/s/envctl/repo-5ca581e3e4a9' })
  lu.assertEquals({ p.state_file, p.ports_file }, { '/s/envctl/repo-5ca581e3e4a9/run_state.json', '/s/envctl/ports.json' })
  p = compute('/repo/demo', { XDG_STATE_HOME = 'relative' })
  lu.assertEquals(p.durable_root, sys.home() .. '/.local/state/envctl')
end

function M.test_a_configured_root()
  for value, root in pairs { ['/r'] = '/r', ['r/x'] = '/repo/demo/r/x', ['~/r'] = sys.home() .. '/r', ['../r'] = '/repo/r' } do
    local p = compute('/repo/demo', { RUN_SH_RUNTIME_DIR = value, XDG_STATE_HOME = '/s' })
    lu.assertEquals({ p.runtime_root, p.durable_root, p.durable_scope }, { root, root .. '/engine', p.scope_dir }, value)
  end
  -- The shared name of old is nobody's: ours has the uid in it.
  lu.assertEquals(compute('/repo/demo', { RUN_SH_RUNTIME_DIR = '/tmp/envctl-runtime' }).runtime_root,
    '/tmp/envctl-runtime-' .. sys.geteuid())
end

function M.test_paths_are_plain_data()
  local json = require 'envctl.util.json'
  local p = compute '/repo/demo'
  lu.assertEquals(json.decode(json.encode_line(p)), p)
end

function M.test_prepare()
  local dir = fixture.dir()
  local p = compute('/repo/demo', { RUN_SH_RUNTIME_DIR = dir .. '/deep/run' })
  paths.check(p)
  lu.assertNil(fs.lstat(dir .. '/deep'))
  paths.prepare(p)
  for _, path in ipairs { p.runtime_root, p.engine_root, p.scope_dir } do
    lu.assertEquals(fs.stat(path).mode, 448, path)
  end
  lu.assertEquals(fs.readlink(p.runtime_root .. '/python-engine'), 'engine')
  paths.prepare(p)
  paths.check(p)
  fixture.clean()
end

function M.test_durable_places()
  local dir = fixture.dir()
  local p = compute('/repo/demo', { RUN_SH_RUNTIME_DIR = dir .. '/run' })
  p.durable_root, p.durable_scope = dir .. '/state/envctl', dir .. '/state/envctl/' .. p.scope_id
  p.state_file = p.durable_scope .. '/run_state.json'
  paths.prepare(p)
  lu.assertEquals(fs.stat(p.durable_scope).mode, 448)
  lu.assertEquals(fs.readlink(p.scope_dir .. '/run_state.json'), p.state_file)
  -- A link of ours that points elsewhere is put right; a file in its place is left alone.
  fs.unlink(p.scope_dir .. '/run_state.json')
  fs.symlink('/elsewhere', p.scope_dir .. '/run_state.json')
  paths.prepare(p)
  lu.assertEquals(fs.readlink(p.scope_dir .. '/run_state.json'), p.state_file)
  fixture.clean()
end

function M.test_a_directory_of_the_python_tool_is_left_alone()
  local dir = fixture.dir()
  fixture.write(dir .. '/run/python-engine/x', 'theirs')
  paths.prepare(compute('/repo/demo', { RUN_SH_RUNTIME_DIR = dir .. '/run' }))
  lu.assertEquals(fs.read(dir .. '/run/python-engine/x'), 'theirs')
  lu.assertEquals(fs.lstat(dir .. '/run/python-engine').type, 'dir')
  fixture.clean()
end

function M.test_planted_places_are_refused()
  for _, part in ipairs { '', '/engine', '/engine/repo-5ca581e3e4a9' } do
    local dir = fixture.dir()
    local p = compute('/repo/demo', { RUN_SH_RUNTIME_DIR = dir .. '/run' })
    assert(fs.mkdirs((dir .. '/run' .. part):match '^(.+)/', 448))
    assert(fs.symlink(dir, dir .. '/run' .. part))
    for _, fn in ipairs { paths.check, paths.prepare } do
      local e = fixture.error_of(fn, p)
      lu.assertEquals({ e.code, e.data.errno }, { 'runtime_root_unsafe', 'ELOOP' }, part)
      lu.assertStrContains(e.message, dir .. '/run' .. part)
      lu.assertStrContains(e.hint, 'RUN_SH_RUNTIME_DIR')
    end
    fs.unlink(dir .. '/run' .. part)
    fixture.write(dir .. '/run' .. part, 'a file')
    lu.assertEquals(fixture.error_of(paths.prepare, p).code, 'runtime_root_unsafe', part)
    fixture.clean()
  end
end

return M
