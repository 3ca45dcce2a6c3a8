-- The bindings of envctl.host.procfs. The rules behind them are tested in tests/c/test_procfs.c and test_members.c.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local loop = require 'envctl.host.loop'
local net = require 'envctl.host.net'
local port = require 'envctl.host.port'
local proc = require 'envctl.host.proc'
local procfs = require 'envctl.host.procfs'
local sys = require 'envctl.host.sys'
local support = require 'host_support'

local M = {}

local function copy(t, changes)
  local out = {}
  for name, value in pairs(t) do
    out[name] = value
  end
  for name, value in pairs(changes) do
    out[name] = value
  end
  return out
end

-- Calls fn with a process that waits in a session of its own, with a marker in its environment and its output in a log.
local function with_service(fn)
  return support.with_dir(function(dir)
    local exited, started
    local marker = 'ENVCTL_TEST=' .. sys.random_hex(8)
    local process = assert(proc.spawn {
      argv = { '/bin/sh', '-c', 'exec sleep 100' },
      env = { ENVCTL_TEST = marker:match '=(.*)', PATH = '/usr/bin:/bin' },
      cwd = '/usr', stdin = 'null', stdout = { log = dir .. '/log' }, stderr = 'stdout',
      on_exec = function(ok)
        started = ok
      end,
      on_exit = function()
        exited = true
      end,
    })
    support.wait(function()
      local stat = procfs.stat(process:pid())
      return started and stat and stat.comm == 'sleep'
    end)
    local ok, e = pcall(fn, process, marker, dir .. '/log')
    process:signal 'KILL'
    support.wait(function()
      return exited
    end)
    process:close()
    if not ok then
      error(e, 0)
    end
  end)
end

function M.test_self()
  local self = procfs.self()
  lu.assertEquals(self.pid, sys.getpid())
  lu.assertEquals(self, procfs.identity(sys.getpid()))
  lu.assertEquals({ procfs.alive(self) }, { true })
  lu.assertEquals(self.boot_id, fs.read('/proc/sys/kernel/random/boot_id'):match '%S+')
  local stat = procfs.stat(sys.getpid())
  lu.assertEquals(stat.start_time_ticks, self.start_time_ticks)
  lu.assertEquals(stat.session, self.session_id)
  lu.assertEquals(stat.comm, 'envctl_test')
  lu.assertEquals(stat.state, 'R')
  for _, name in ipairs { 'pid', 'ppid', 'pgrp', 'session', 'start_time_ticks' } do
    lu.assertEquals(math.type(stat[name]), 'integer')
  end
  lu.assertEquals(procfs.cwd(sys.getpid()), sys.cwd())
  lu.assertStrContains(procfs.cmdline(sys.getpid())[1], 'envctl_test')
end

M.test_other_processes = with_service(function(process, marker)
  local pid = process:pid()
  lu.assertEquals(procfs.cmdline(pid), { 'sleep', '100' })
  lu.assertEquals(procfs.cwd(pid), '/usr')
  lu.assertEquals(procfs.environ_get(pid, 'ENVCTL_TEST'), marker:match '=(.*)')
  lu.assertNil(procfs.environ_get(pid, 'ENVCTL_TES'))
  lu.assertEquals(procfs.identity(pid).start_time_ticks, process:identity().start_time_ticks)
end)

M.test_alive = with_service(function(process)
  local id = process:identity()
  lu.assertEquals({ procfs.alive(id) }, { true })
  lu.assertEquals({ procfs.alive(copy(id, { start_time_ticks = 1 })) }, { false, 'reused' })
  lu.assertEquals({ procfs.alive(copy(id, { boot_id = 'x' })) }, { false, 'reboot' })
  lu.assertEquals({ procfs.alive(copy(id, { pid_ns = 1 })) }, { nil, 'other_pid_namespace' })
  lu.assertEquals({ procfs.alive(copy(id, { pid = 2147483647 })) }, { false, 'gone' })
end)

function M.test_nobody()
  local pid = 2147483647
  lu.assertNil(procfs.identity(pid))
  lu.assertNil(procfs.stat(pid))
  lu.assertNil(procfs.cmdline(pid))
  lu.assertNil(procfs.cwd(pid))
  lu.assertNil(procfs.environ_get(pid, 'PATH'))
  for _, fn in ipairs { procfs.identity, procfs.stat, procfs.cmdline, procfs.cwd } do
    support.raises('not a pid', fn, -1)
    support.raises('not a pid', fn, (1 << 32) + 1) -- is not pid 1
    support.raises('number expected', fn, {})
  end
end

M.test_members = with_service(function(process, marker, log)
  local pid, id = process:pid(), process:identity()
  local lists = procfs.members {
    { leader = id },
    { marker = marker },
    { log = log },
    { leader = id, marker = marker, log = log },
    { marker = marker .. 'x', log = log .. 'x', cgroup = '/nonexistent', leader = copy(id, { start_time_ticks = 1 }) },
    {},
  }
  lu.assertEquals(#lists, 6)
  local expected = { { 'leader' }, { 'marker' }, { 'log' }, { 'leader', 'marker', 'log' } }
  for i, via in ipairs(expected) do
    lu.assertEquals(lists[i], {
      { pid = pid, ppid = sys.getpid(), start_time_ticks = id.start_time_ticks, comm = 'sleep', via = via },
    })
  end
  lu.assertEquals({ lists[5], lists[6] }, { {}, {} })
  lu.assertEquals(procfs.members {}, {})
end)

M.test_signal_members = with_service(function(process, marker)
  lu.assertEquals(procfs.signal_members({ { marker = marker .. 'x' }, { marker = marker } }, 'TERM'), { 0, 1 })
  support.wait(function()
    return not procfs.alive(process:identity())
  end)
  lu.assertEquals(procfs.signal_members({ { marker = marker } }, 'KILL'), { 0 })
  lu.assertEquals(procfs.signal_members({}, 'KILL'), {})
end)

function M.test_misuse_of_members()
  for _, fn in ipairs { procfs.members, procfs.signal_members } do
    support.raises('table expected', fn, nil, 'TERM')
    support.raises('table expected', fn, { 'x' }, 'TERM')
    support.raises("unknown option 'name'", fn, { { name = 'vite' } }, 'TERM')
    support.raises('marker: string expected', fn, { { marker = 1 } }, 'TERM')
    support.raises('log: contains a NUL byte', fn, { { log = 'a\0b' } }, 'TERM')
    support.raises('table expected', fn, { { leader = 1 } }, 'TERM')
    support.raises('pid: integer expected', fn, { { leader = { pid = 1.5 } } }, 'TERM')
  end
  support.raises('not a signal name', procfs.signal_members, {}, 'TERMINATE')
end

-- The only TCP server a test in Lua can have is python's or node's; a held port does not listen. So: nothing of ours listens.
M.test_listening = with_service(function(process)
  lu.assertEquals(procfs.listening {}, {})
  lu.assertEquals(procfs.listening { process:pid(), sys.getpid() }, {})
  support.raises('integers expected', procfs.listening, { 'x' })
  support.raises('integers expected', procfs.listening, { 1.5 })
  support.raises('table expected', procfs.listening, 1)
  support.raises('a port is 1..65535', procfs.holders, { 0 })
  support.raises('a port is 1..65535', procfs.holders, { 80, 65536 + 22 })
  support.raises('a port is 1..65535', procfs.holders, { 'x' })
  support.raises('table expected', procfs.holders, 80)
  lu.assertEquals(procfs.holders {}, {})
end)

-- Somebody who listens, as the kernel and we see it.
function M.test_listening_and_holder_of_a_server()
  local python = sys.which 'python3'
  if not python then
    lu.skip 'no python3'
  end
  local number, exited
  local process = assert(proc.spawn {
    argv = {
      python, '-S', '-c',
      'import socket, os, time\ns = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()\nkeep = os.dup(s.fileno())\n'
        .. 'print(s.getsockname()[1], flush=True)\ntime.sleep(100)',
    },
    env = {}, cwd = '/', stdin = 'null', stdout = 'pipe', stderr = 'null',
    on_stdout = function(chunk)
      number = number or chunk and math.tointeger(tonumber(chunk))
    end,
    on_exit = function()
      exited = true
    end,
  })
  support.wait(function()
    return number
  end)
  local pid = process:pid()
  local ok, e = pcall(function()
    -- A duplicated descriptor is one listener.
    lu.assertEquals(procfs.listening { pid }, { { port = number, addr = '127.0.0.1', family = 'inet', pid = pid } })
    lu.assertEquals(procfs.listening { sys.getpid() }, {})
    -- Port 1 is nobody's.
    local holders = procfs.holders { 1, number, number }
    local holder = holders[number]
    lu.assertNil(holders[1])
    lu.assertEquals(holder.pid, pid)
    lu.assertEquals(holder.uid, sys.geteuid())
    lu.assertStrContains(holder.command, 'python')
    lu.assertNil(holder.command:find '%c')
    lu.assertEquals(port.listeners()[number][1].addr, '127.0.0.1')
    support.fails('EADDRINUSE', tostring(number), port.check(number))
    support.fails('EADDRINUSE', tostring(number), port.hold(number))
    local answered
    net.tcp_probe('127.0.0.1', number, 5000, function(...)
      answered = { ... }
    end)
    support.wait(function()
      return answered
    end)
    lu.assertEquals(answered, { true })
  end)
  process:signal 'KILL'
  support.wait(function()
    return exited
  end)
  process:close()
  loop.run()
  if not ok then
    error(e, 0)
  end
  lu.assertNil(procfs.holders({ number })[number])
end

function M.test_cgroups()
  local name = 'envctl-lua-' .. sys.random_hex(4)
  local none, why = procfs.cgroup_base(name, false)
  lu.assertNil(none)
  lu.assertEquals(type(why), 'string')
  local base = procfs.cgroup_base(name, true)
  if not base then
    lu.skip 'no writable cgroup'
  end
  local leaf = base .. '/leaf'
  lu.assertIs(procfs.cgroup_make(leaf), true)
  support.fails('EEXIST', leaf, procfs.cgroup_make(leaf))
  lu.assertFalse(procfs.cgroup_populated(leaf))
  local exited
  local process = assert(proc.spawn {
    argv = { '/bin/sh', '-c', 'exec sleep 100' }, env = { PATH = '/usr/bin:/bin' }, cwd = '/', cgroup = leaf,
    stdin = 'null', stdout = 'null', stderr = 'null',
    on_exit = function()
      exited = true
    end,
  })
  support.wait(function()
    return procfs.cgroup_populated(leaf)
  end)
  lu.assertTrue(procfs.cgroup_populated(base))
  local found = procfs.members({ { cgroup = leaf } })[1]
  lu.assertEquals(#found, 1)
  lu.assertEquals({ found[1].pid, found[1].via }, { process:pid(), { 'cgroup' } })
  support.fails('EBUSY', leaf, procfs.cgroup_remove(leaf))
  lu.assertEquals(procfs.signal_members({ { cgroup = leaf } }, 'KILL'), { 1 })
  support.wait(function()
    return exited and not procfs.cgroup_populated(leaf)
  end)
  process:close()
  lu.assertIs(procfs.cgroup_remove(leaf), true)
  lu.assertIs(procfs.cgroup_remove(base), true)
  support.fails('ENOENT', leaf, procfs.cgroup_remove(leaf))
end

return M
