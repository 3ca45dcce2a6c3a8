-- Which steps before a start have to run, and why.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local steps = require 'envctl.prepare.steps'
local support = require 'script_support'

local M = {}

local function step(fields)
  local out = { name = 'install', command = { 'sh', 'install.sh' }, inputs = { 'lock' }, outputs = { 'out' } }
  for k, v in pairs(fields or {}) do
    out[k] = v or nil
  end
  return out
end

-- A project `P` below dir with a service in `web`; says what is decided about its step.
local function world(dir)
  local self = { paths = { durable_scope = dir .. '/scope' }, dir = dir .. '/repo/web' }
  self.project = { name = 'P', root = dir .. '/repo' }
  function self.says(options, fields)
    local one = step(fields)
    local o = { paths = self.paths, path = '/usr/bin:/bin' }
    for k, v in pairs(options or {}) do
      o[k] = v
    end
    steps.decide(self.project, { { dir = 'web', prepare = { one } } }, o)
    return one.skip_reason and 'skip: ' .. one.skip_reason or 'run: ' .. one.reason
  end
  function self.record(state, fields)
    local one = step(fields)
    assert(steps.write(steps.record_file(self.paths, 'P', self.dir, one), {
      state = state, command = steps.command_mark(one, '/usr/bin:/bin'), inputs = steps.inputs(self.dir, one),
    }))
  end
  return self
end

function M.test_what_runs_and_why()
  local dir <close> = support.directory()
  local w = world(dir.path)
  support.write(dir.path, 'repo/web/lock', '1')
  lu.assertEquals(w.says(), 'run: `out` is missing')
  assert(fs.mkdirs(w.dir .. '/out', 448))
  lu.assertEquals(w.says(), 'run: `out` is empty')
  support.write(dir.path, 'repo/web/out/x', '')
  lu.assertEquals(w.says(), 'skip: `out` exists') -- somebody else has made it
  lu.assertEquals(w.says({}, { outputs = false }), 'run: did not run yet')
  w.record 'running'
  lu.assertEquals(w.says(), 'run: was interrupted')
  w.record 'done'
  lu.assertEquals(w.says(), 'skip: nothing changed')
  lu.assertEquals(w.says { off = true }, 'skip: --no-prepare')
  lu.assertEquals(w.says { again = true }, 'run: --refresh-cache')
  lu.assertEquals(w.says({}, { command = { 'sh', 'other.sh' } }), 'run: the command or its program changed')
  support.write(dir.path, 'repo/web/lock', '2')
  lu.assertEquals(w.says(), 'run: `lock` changed')
  lu.assertEquals(w.says { fast = true }, 'skip: done before')
  fs.unlink(w.dir .. '/lock')
  lu.assertEquals(w.says(), 'run: `lock` changed')
  support.write(dir.path, 'repo/web/lock', '1') -- the same text in another file
  lu.assertEquals(w.says(), 'skip: nothing changed')
  fs.unlink(w.dir .. '/out/x')
  lu.assertEquals(w.says { fast = true }, 'run: `out` is empty')
  support.write(dir.path, 'repo/web/out/x', '')
  -- What is no record is none.
  local file = steps.record_file(w.paths, 'P', w.dir, step())
  for _, text in ipairs { '', '{', '[]', '{"schema": "envctl.prepared.v1"}', '{"schema": "x", "inputs": {}}' } do
    assert(fs.write_atomic(file, text))
    lu.assertEquals(w.says(), 'skip: `out` exists', text)
  end
  w.record 'done'
  steps.forget(w.paths, 'Other')
  lu.assertNotNil(fs.stat(file))
  steps.forget(w.paths, 'P')
  lu.assertNil(fs.stat(file))
end

function M.test_what_always_runs()
  local dir <close> = support.directory()
  local w = world(dir.path)
  local none = { inputs = false, outputs = false }
  lu.assertEquals(w.says({}, none), 'run: runs at every start')
  lu.assertEquals(w.says({ resuming = true }, none), 'skip: a resume starts what ran already')
  lu.assertEquals(w.says({ fast = true }, { always = true }), 'run: runs at every start')
  -- What was found to need nothing stays that way.
  lu.assertEquals(w.says({ again = true }, { skip_reason = 'a workspace' }), 'skip: a workspace')
end

return M
