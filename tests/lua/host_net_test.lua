-- The bindings of envctl.host.net. Servers of every temper are met in tests/c/test_net.c.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local loop = require 'envctl.host.loop'
local net = require 'envctl.host.net'
local port = require 'envctl.host.port'
local sys = require 'envctl.host.sys'
local support = require 'host_support'

local M = {}

-- A port that refuses: held, so that nobody else listens on it meanwhile.
local function with_silent_port(fn)
  return function()
    local low = port.ephemeral_range()
    local n = low - 1
    while not port.check(n) do
      n = n - 1
    end
    local handle <close> = assert(port.hold(n))
    fn(n, handle)
  end
end

M.test_refused = with_silent_port(function(n)
  local got = {}
  local probe = net.tcp_probe('127.0.0.1', n, 5000, function(...)
    got.probe = table.pack(...)
  end)
  net.http_get({ host = '127.0.0.1', port = n, path = '/', timeout_ms = 5000 }, function(...)
    got.get = table.pack(...)
  end)
  lu.assertFalse(probe:is_closed())
  lu.assertEquals(got, {})
  support.collect() -- the second is held by the loop alone
  support.wait(function()
    return got.probe and got.get
  end)
  for _, result in pairs(got) do
    lu.assertEquals(result.n, 3)
    support.fails('ECONNREFUSED', '127.0.0.1:' .. n, table.unpack(result, 1, 3))
  end
  lu.assertTrue(probe:is_closed())
  probe:close()
end)

M.test_cancelled = with_silent_port(function(n)
  local called = false
  local function note()
    called = true
  end
  local probe = net.tcp_probe('127.0.0.1', n, 5000, note)
  probe:close()
  probe:close()
  do
    local scoped <close> = net.http_get({ host = '::1', port = n, path = '/x', timeout_ms = 1 }, note)
    lu.assertFalse(scoped:is_closed())
  end
  support.a_while(20)
  lu.assertFalse(called)
end)

-- What cannot work is told like everything else: a task that waits for the callback is never left waiting.
function M.test_impossible()
  for _, case in ipairs { { 'localhost', '/' }, { '127.0.0.1', '/a b' }, { '127.0.0.1', '/\r\nHost: x' } } do
    local got
    lu.assertNotNil(net.http_get({ host = case[1], port = 9, path = case[2], timeout_ms = 1000 }, function(...)
      got = table.pack(...)
    end))
    support.wait(function()
      return got
    end)
    support.fails('EINVAL', case[1], table.unpack(got, 1, 3))
  end
end

function M.test_misuse()
  local function nothing() end
  support.raises('a port is 1..65535', net.tcp_probe, '127.0.0.1', 0, 1, nothing)
  support.raises('cannot be negative', net.tcp_probe, '127.0.0.1', 80, -1, nothing)
  support.raises('function expected', net.tcp_probe, '127.0.0.1', 80, 1)
  support.raises('NUL', net.tcp_probe, '127.0.0.1\0', 80, 1, nothing)
  local good = { host = '127.0.0.1', port = 80, path = '/', timeout_ms = 1 }
  support.raises('function expected', net.http_get, good)
  for name, value in pairs { port = 65536, timeout_ms = -1, max_bytes = 0, path = 1, host = {}, method = 'POST' } do
    local opts = {}
    for k, v in pairs(good) do
      opts[k] = v
    end
    opts[name] = value
    support.raises(name, net.http_get, opts, nothing)
  end
  support.raises('table expected', net.http_get, 'http://x', nothing)
  lu.assertEquals(loop.handles(), 0)
end

-- Both ends of a connection in this process.
local function with_pair(fn)
  return support.with_dir(function(dir)
    local accepted
    local server = assert(net.unix_listen(dir, 'sock', function(conn)
      accepted = conn
    end))
    local client = assert(net.unix_connect(dir, 'sock'))
    support.wait(function()
      return accepted
    end)
    local ok, e = pcall(fn, client, accepted, server, dir)
    client:close()
    accepted:close()
    server:close()
    loop.run()
    if not ok then
      error(e, 0)
    end
    lu.assertEquals(loop.handles(), 0)
  end)
end

M.test_lines = with_pair(function(client, accepted, server, dir)
  lu.assertEquals({ client:peer_uid(), accepted:peer_uid() }, { sys.geteuid(), sys.geteuid() })
  lu.assertEquals({ client:peer_pid(), accepted:peer_pid() }, { sys.getpid(), sys.getpid() })
  lu.assertEquals(fs.stat(dir .. '/sock').mode & tonumber('7777', 8), tonumber('600', 8))
  lu.assertFalse(server:is_closed())
  local lines, ended = {}, nil
  accepted:start(function(line, message, code)
    if line then
      lines[#lines + 1] = line
    else
      ended = { message, code }
    end
  end)
  lu.assertIs(client:write 'one\ntwo\0\n\nthr', true)
  lu.assertIs(client:write 'ee\ntorn', true)
  support.wait(function()
    return #lines == 4
  end)
  lu.assertEquals(lines, { 'one', 'two\0', '', 'three' })
  client:close()
  client:close()
  lu.assertTrue(client:is_closed())
  support.wait(function()
    return ended
  end)
  lu.assertEquals(ended, {})
  support.fails('EPIPE', 'connection', client:write 'x')
  support.raises('is closed', client.peer_uid, client)
  support.raises('is closed', client.start, client, print)
  support.raises('started before', accepted.start, accepted, print)
end)

-- What was queued is written although the handle was closed at once, also when it is more than a socket holds.
M.test_close_writes_what_is_queued = with_pair(function(client, accepted)
  local text = ('x'):rep(1000000)
  for _ = 1, 5 do
    assert(client:write(text .. '\n'))
  end
  client:close()
  local n, ended = 0, false
  accepted:start(function(line)
    if line then
      lu.assertEquals(#line, #text)
      n = n + 1
    else
      ended = true
    end
  end)
  support.wait(function()
    return ended
  end)
  lu.assertEquals(n, 5)
end)

M.test_closed_in_a_callback = with_pair(function(client, accepted)
  local lines = 0
  accepted:start(function()
    lines = lines + 1
    accepted:close()
  end)
  assert(client:write '1\n2\n3\n')
  support.wait(function()
    return lines > 0
  end)
  support.a_while(10)
  lu.assertEquals(lines, 1)
end)

M.test_errors_of_callbacks = with_pair(function(client, accepted)
  accepted:start(function(line)
    error('line ' .. tostring(line))
  end)
  assert(client:write '1\n2\n')
  support.raises('line 1', support.wait, function()
    return false
  end)
end)

-- A connection that nobody stores still delivers.
M.test_forgotten_connections = support.with_dir(function(dir)
  local lines = {}
  local server = assert(net.unix_listen(dir, 'sock', function(conn)
    conn:start(function(line)
      if line then
        lines[#lines + 1] = line
      else
        conn:close()
      end
    end)
  end))
  for i = 1, 20 do
    local client = assert(net.unix_connect(dir, 'sock'))
    assert(client:write('hello ' .. i .. '\n'))
    client:close()
    support.collect()
  end
  support.wait(function()
    support.collect()
    return #lines == 20
  end)
  support.wait(function()
    return loop.handles() <= 2 -- the server, and the tick of wait
  end)
  server:close()
  lu.assertTrue(server:is_closed())
end)

M.test_failures = support.with_dir(function(dir)
  support.fails('ENOENT', dir .. '/sock', net.unix_connect(dir, 'sock'))
  support.fails('ENOENT', dir .. '/no', net.unix_connect(dir .. '/no', 'sock'))
  support.fails('ENOENT', dir .. '/no', net.unix_listen(dir .. '/no', 'sock', function() end))
  assert(net.unix_listen(dir, 'sock', function() end)):close()
  loop.run()
  support.fails('ECONNREFUSED', dir .. '/sock', net.unix_connect(dir, 'sock'))
  support.raises('function expected', net.unix_listen, dir, 'sock')
  support.raises('NUL', net.unix_connect, dir, 'so\0ck')
  lu.assertEquals(loop.handles(), 0)
end)

return M
