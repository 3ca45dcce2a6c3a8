-- The bindings of envctl.host.proc: options, events, handles. What children get from us is tested in tests/c/test_proc*.c.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local loop = require 'envctl.host.loop'
local proc = require 'envctl.host.proc'
local procfs = require 'envctl.host.procfs'
local sys = require 'envctl.host.sys'
local support = require 'host_support'

local M = {}

-- Options for a shell script; what is told goes into the second value.
local function script(text, changes)
  local heard = { stdout = {}, stderr = {}, order = {} }
  local function note(word)
    if heard.order[#heard.order] ~= word then
      heard.order[#heard.order + 1] = word
    end
  end
  local opts = {
    argv = { '/bin/sh', '-c', text },
    env = { PATH = '/usr/bin:/bin' },
    cwd = '/',
    stdin = 'null',
    stdout = 'pipe',
    stderr = 'pipe',
    on_exec = function(ok, message, code)
      note 'exec'
      heard.exec = { ok, message, code }
    end,
    on_exit = function(code, signal)
      note 'exit'
      heard.exit = { code, signal, n = 2 }
    end,
    on_stdout = function(chunk)
      note(chunk and 'out' or 'out end')
      heard.stdout[#heard.stdout + 1] = chunk
    end,
    on_stderr = function(chunk)
      heard.stderr[#heard.stderr + 1] = chunk
    end,
  }
  for name, value in pairs(changes or {}) do
    opts[name] = value
  end
  return opts, heard
end

local function run(text, changes)
  local opts, heard = script(text, changes)
  local process = assert(proc.spawn(opts))
  support.wait(function()
    return heard.exit
  end)
  process:close()
  loop.run()
  heard.out, heard.err = table.concat(heard.stdout), table.concat(heard.stderr)
  return heard
end

function M.test_events()
  local heard = run 'echo hello; echo oops >&2; exit 7'
  lu.assertEquals(heard.exec, { true })
  lu.assertEquals(heard.out, 'hello\n')
  lu.assertEquals(heard.err, 'oops\n')
  lu.assertEquals(heard.exit, { 7, nil, n = 2 })
  lu.assertEquals(math.type(heard.exit[1]), 'integer')
  lu.assertEquals(heard.order, { 'exec', 'out', 'out end', 'exit' })
  lu.assertEquals(run('kill -TERM $$').exit, { nil, 'TERM', n = 2 })
  lu.assertEquals(run('kill -KILL $$').exit, { nil, 'KILL', n = 2 })
  heard = run('echo a; echo b >&2', { stderr = 'stdout' })
  lu.assertEquals({ heard.out, heard.err }, { 'a\nb\n', '' })
end

function M.test_without_callbacks()
  local opts = script 'exit 0'
  opts.on_exec, opts.on_exit, opts.on_stdout, opts.on_stderr = nil, nil, nil, nil
  local process = assert(proc.spawn(opts))
  support.wait(function()
    return proc.children() == 0
  end)
  process:close()
end

function M.test_exec_failures()
  local heard = run('', { argv = { '/nonexistent/x' } })
  lu.assertEquals(heard.exec, { false, 'program /nonexistent/x: no such file or directory', 'ENOENT' })
  lu.assertEquals(heard.exit, { 127, nil, n = 2 })
  heard = run('', { cwd = '/nonexistent' })
  lu.assertEquals(heard.exec, { false, 'directory /nonexistent: no such file or directory', 'ENOENT' })
  support.fails('ENOENT', '/nonexistent/log', proc.spawn(script('', { stdout = { log = '/nonexistent/log' } })))
  lu.assertEquals(proc.children(), 0)
end

M.test_log = support.with_dir(function(dir)
  local log = dir .. '/log'
  for _ = 1, 2 do
    run('echo out; echo err >&2', { stdout = { log = log }, stderr = 'stdout' })
  end
  lu.assertEquals(fs.read(log), 'out\nerr\nout\nerr\n')
  lu.assertEquals(fs.stat(log).mode, tonumber('600', 8))
end)

function M.test_stdin()
  local opts, heard = script('cat', { stdin = 'pipe' })
  local process = assert(proc.spawn(opts))
  local data = ('0123456789abcdef'):rep(1 << 15)
  lu.assertIs(process:write(data), true)
  lu.assertIs(process:write 'the end', true)
  process:close_stdin()
  process:close_stdin()
  support.fails('EPIPE', 'standard input', process:write 'x')
  support.wait(function()
    return heard.exit
  end)
  lu.assertEquals(#table.concat(heard.stdout), #data + 7)
  lu.assertEquals(table.concat(heard.stdout):sub(-7), 'the end')
  process:close()
end

function M.test_gate_and_identity()
  local opts, heard = script('exit 3', { gated = true })
  local process = assert(proc.spawn(opts))
  local id = process:identity()
  lu.assertEquals(id.pid, process:pid())
  lu.assertEquals(id.session_id, id.pid)
  lu.assertEquals(id.boot_id, procfs.boot_id())
  lu.assertEquals(id.pid_ns, procfs.self().pid_ns)
  for _, field in ipairs { 'pid', 'start_time_ticks', 'pid_ns', 'session_id' } do
    lu.assertEquals(math.type(id[field]), 'integer')
  end
  support.a_while(20)
  lu.assertNil(heard.exec)
  lu.assertTrue(procfs.alive(id))
  process:open_gate()
  process:open_gate()
  support.wait(function()
    return heard.exit
  end)
  lu.assertEquals(heard.exit[1], 3)
  lu.assertEquals({ procfs.alive(id) }, { false, 'gone' })
  process:close()
end

-- The last reference to a child that waits at its gate goes away: so does the child.
function M.test_forgotten_gate()
  local opts, heard = script('exit 3', { gated = true })
  do
    local process <close> = assert(proc.spawn(opts))
    lu.assertTrue(process:pid() > 1)
  end
  support.wait(function()
    return proc.children() == 0
  end)
  lu.assertNil(heard.exec)
end

-- A running child whose handle nobody stores is still heard to its end.
function M.test_forgotten_process()
  local opts, heard = script 'sleep 0.05; echo done; exit 4'
  assert(proc.spawn(opts))
  support.collect()
  support.wait(function()
    return heard.exit
  end)
  lu.assertEquals(table.concat(heard.stdout), 'done\n')
  support.collect()
  loop.run()
  lu.assertEquals(loop.handles(), 0)
end

function M.test_signal_of_a_child()
  local opts, heard = script 'exec sleep 100'
  local process = assert(proc.spawn(opts))
  support.wait(function()
    return heard.exec
  end)
  lu.assertIs(process:signal 'TERM', true)
  support.wait(function()
    return heard.exit
  end)
  lu.assertEquals(heard.exit, { nil, 'TERM', n = 2 })
  support.fails('ESRCH', 'pid', process:signal 'TERM')
  support.raises('not a signal name', process.signal, process, 'SIGTERM')
  process:close()
  process:close()
  for _, name in ipairs { 'pid', 'identity', 'open_gate', 'signal', 'write', 'close_stdin' } do
    support.raises('is closed', process[name], process, 'TERM')
  end
end

function M.test_errors_in_callbacks()
  for _, name in ipairs { 'on_exec', 'on_stdout', 'on_exit' } do
    local opts = script('echo x', {
      [name] = function()
        error('from ' .. name)
      end,
    })
    local process = assert(proc.spawn(opts))
    support.raises('from ' .. name, function()
      support.wait(function()
        return false
      end)
    end)
    process:close()
    support.wait(function()
      return proc.children() == 0
    end)
    support.collect()
    loop.run()
  end
end

function M.test_misuse()
  local function bad(what, changes)
    local opts = script 'exit 0'
    for name, value in pairs(changes) do
      opts[name] = value
    end
    support.raises(what, proc.spawn, opts)
  end
  bad('argv: is empty', { argv = {} })
  bad('argv: table expected', { argv = 'sh' })
  bad('argv[2]: string expected, got number', { argv = { '/bin/sh', 1 } })
  bad('argv[1]: contains a NUL byte', { argv = { '/bin/sh\0' } })
  bad('env: names and values are strings', { env = { A = 1 } })
  bad('env: names and values are strings', { env = { 'A=1' } })
  bad('contains a NUL byte', { env = { A = 'x\0y' } })
  bad('cwd: contains a NUL byte', { cwd = '/\0' })
  bad("stdin: 'inherit' is not one of its classes", { stdin = 'inherit' })
  bad("stdout: 'terminal' is not one of its classes", { stdout = 'terminal' })
  bad("stdout: 'stdout' is not one of its classes", { stdout = 'stdout' })
  bad('stdin: a class is required', { stdin = { log = '/x' } })
  bad('stdout.log: path expected', { stdout = {} })
  bad("unknown option 'append'", { stdout = { log = '/x', append = true } })
  bad("unknown option 'shell'", { shell = true })
  bad('gated: boolean expected', { gated = 1 })
  bad('on_exit: function expected', { on_exit = {} })
  bad('session:', { stdin = 'terminal', session = true })
  for _, name in ipairs { 'cwd', 'stdin', 'stdout', 'stderr', 'argv', 'env' } do
    local opts = script 'exit 0'
    opts[name] = nil
    support.raises(name .. ':', proc.spawn, opts)
  end
  support.raises('table expected', proc.spawn, 'sh')
  lu.assertEquals(proc.children(), 0)
  lu.assertEquals(loop.handles(), 0)
end

function M.test_watch_and_signal_by_identity()
  local opts, heard = script 'exec sleep 100'
  local process = assert(proc.spawn(opts))
  local id = process:identity()
  local ended, closed_called = 0, false
  local watch = assert(proc.watch(id, function()
    ended = ended + 1
  end))
  local closed = assert(proc.watch(id, function()
    closed_called = true
  end))
  closed:close()
  closed:close()
  lu.assertTrue(closed:is_closed())
  lu.assertFalse(watch:is_closed())
  local stranger = {}
  for name, value in pairs(id) do
    stranger[name] = value
  end
  stranger.start_time_ticks = id.start_time_ticks + 1
  support.fails('ESRCH', 'pid ' .. id.pid, proc.signal(stranger, 'KILL'))
  support.fails('ESRCH', 'pid ' .. id.pid, proc.watch(stranger, function() end))
  stranger.start_time_ticks, stranger.boot_id = id.start_time_ticks, 'another'
  support.fails('ESRCH', 'reboot', proc.signal(stranger, 'KILL'))
  lu.assertTrue(procfs.alive(id))
  lu.assertIs(proc.signal(id, 'INT'), true)
  support.wait(function()
    return heard.exit and ended == 1
  end)
  lu.assertEquals(heard.exit[2], 'INT')
  lu.assertTrue(watch:is_closed())
  lu.assertFalse(closed_called)
  support.fails('ESRCH', 'pid ' .. id.pid, proc.signal(id, 'INT'))
  process:close()
  for _, pid in ipairs { 0, 1, sys.getpid() } do
    local own = procfs.self()
    own.pid = pid
    support.fails('EPERM', 'pid ' .. pid, proc.signal(own, 'KILL'))
  end
  support.raises('not a signal name', proc.signal, id, 'NOTHING')
  support.raises('table expected', proc.signal, 1, 'TERM')
  support.raises('pid: integer expected', proc.signal, { pid = '1' }, 'TERM')
  support.raises('function expected', proc.watch, id, nil)
end

-- Under a collector that never rests.
function M.test_under_gc_stress()
  collectgarbage('incremental', 1, 400)
  for i = 1, 20 do
    lu.assertEquals(run('echo ' .. i .. '; exit ' .. i).exit[1], i)
  end
  collectgarbage('incremental', 200, 100)
end

return M
