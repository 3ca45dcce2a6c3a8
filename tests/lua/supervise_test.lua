local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local support = require 'host_support'
local decide = require('envctl.keeper.supervise').decide

local M = {}

function M.test_policies()
  local cases = {
    { 'no', { code = 1 }, 'stay' },
    { nil, { code = 1 }, 'stay' },
    { 'on-failure', { code = 0 }, 'stay' },
    { 'on-failure', { code = 3 }, 'restart' },
    { 'on-failure', { signal = 'KILL' }, 'restart' },
    { 'on-failure', {}, 'restart' }, -- nobody saw how it ended
    { 'always', { code = 0 }, 'restart' },
  }
  for i, c in ipairs(cases) do
    lu.assertEquals((decide(c[1], c[2], { 1000 }, 0)), c[3], 'case ' .. i)
  end
end

function M.test_back_off_doubles_and_is_capped()
  local exits, pauses = {}, {}
  for i = 1, 4 do
    exits[i] = i * 5000
    pauses[i] = select(2, decide('always', { code = 1 }, exits, 0))
  end
  lu.assertEquals(pauses, { 1000, 2000, 4000, 8000 })
end

function M.test_five_ends_in_a_minute_are_a_loop()
  lu.assertEquals((decide('always', { code = 1 }, { 1, 2, 3, 4, 5 }, 0)), 'crash_loop')
  lu.assertEquals((decide('always', { code = 1 }, { 1, 2, 3, 4, 70000 }, 0)), 'restart')
end

function M.test_a_minute_of_readiness_forgives()
  local decision, pause = decide('always', { code = 1 }, { 1, 2, 3, 4, 5 }, 60000)
  lu.assertEquals(decision, 'restart')
  lu.assertEquals(pause, 1000)
end

-- As the kernel writes it; the file stands in for one of a cgroup with the memory controller.
local function memory_events(dir, kills)
  fs.write_atomic(dir .. '/memory.events', 'low 0\nhigh 0\nmax 12\noom 1\noom_kill ' .. kills .. '\noom_group_kill 0\n')
end

M.test_out_of_memory_is_said = support.with_dir(function(dir)
  local world = require('envctl.keeper.world').open { scope_dir = dir, durable_scope = dir, state_file = dir .. '/run_state.json' }
  local function message(code, signal)
    local svc = {
      record = { name = 'Main Backend', project = 'Main', service = 'backend', log_path = dir .. '/log', cgroup = dir },
      started_mono = sys.mono_ms(),
    }
    world:on_leader_exit(svc, code, signal)
    return world:exit_error(svc).message:gsub(' after .*', ''), svc.exited.oom
  end
  lu.assertEquals({ message(nil, 'KILL') }, { 'Main Backend was ended by SIGKILL' })
  memory_events(dir, 0)
  lu.assertEquals({ message(nil, 'KILL') }, { 'Main Backend was ended by SIGKILL' })
  memory_events(dir, 2)
  local why = ' (out of memory: the kernel ended a process of it)'
  lu.assertEquals({ message(nil, 'KILL') }, { 'Main Backend was ended by SIGKILL' .. why, true })
  lu.assertEquals({ message(137, nil) }, { 'Main Backend exited with code 137' .. why, true })
  lu.assertEquals({ message(nil, nil) }, { 'Main Backend ended' .. why, true }) -- an adopted one
end)

return M
