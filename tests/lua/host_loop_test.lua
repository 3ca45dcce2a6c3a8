-- The bindings of envctl.host.loop: callbacks, their errors, and handles that are closed or forgotten.
local lu = require 'luaunit'
local loop = require 'envctl.host.loop'
local support = require 'host_support'

local M = {}

function M.test_timer()
  local calls = 0
  local handle = loop.timer(1, function(...)
    lu.assertEquals(select('#', ...), 0)
    calls = calls + 1
  end)
  lu.assertFalse(handle:is_closed())
  lu.assertEquals(loop.handles(), 1)
  loop.run()
  lu.assertEquals(calls, 1)
  lu.assertTrue(handle:is_closed()) -- one shot
  handle:close()
  lu.assertEquals(loop.handles(), 0)
end

function M.test_closed_timer()
  local called = false
  local handle = loop.timer(0, function()
    called = true
  end)
  handle:close()
  handle:close()
  lu.assertTrue(handle:is_closed())
  loop.run()
  lu.assertFalse(called)
  do
    local scoped <close> = loop.timer(0, function()
      called = true
    end)
    lu.assertFalse(scoped:is_closed())
  end
  loop.run()
  lu.assertFalse(called)
end

-- A timer that nobody stores still fires: the loop holds it.
function M.test_forgotten_timer()
  local called = false
  loop.timer(5, function()
    called = true
  end)
  support.collect()
  loop.run()
  lu.assertTrue(called)
end

M.test_changed = support.with_dir(function(dir)
  local fs = require 'envctl.host.fs'
  local file, calls = dir .. '/file', 0
  fs.append(file, 'one\n')
  local handle = assert(loop.changed(file, function()
    calls = calls + 1
  end))
  fs.append(file, 'two\n')
  fs.append(file, 'three\n')
  loop.run()
  lu.assertEquals(calls, 1) -- one shot
  lu.assertTrue(handle:is_closed())
  assert(loop.changed(file, error)):close()
  support.fails('ENOENT', dir .. '/none', loop.changed(dir .. '/none', error))
  loop.run()
  lu.assertEquals(loop.handles(), 0)
end)

function M.test_timer_that_starts_the_next()
  local n = 0
  local function step()
    n = n + 1
    if n < 100 then
      loop.timer(0, step)
    end
  end
  loop.timer(0, step)
  loop.run()
  lu.assertEquals(n, 100)
end

-- An error in a callback stops the loop and comes out of run(), whatever kind of value it is.
function M.test_errors_of_callbacks()
  local later = 0
  loop.timer(0, function()
    error('broken', 1)
  end)
  local rest = loop.timer(10, function()
    later = later + 1
  end)
  local ok, message = pcall(loop.run)
  lu.assertFalse(ok)
  lu.assertStrContains(message, 'host_loop_test.lua:')
  lu.assertStrContains(message, 'broken')
  lu.assertStrContains(message, 'stack traceback')
  lu.assertEquals(later, 0)
  loop.run() -- goes on
  lu.assertEquals(later, 1)
  lu.assertTrue(rest:is_closed())
  local object = { code = 'x' }
  loop.timer(0, function()
    error(object)
  end)
  local _, value = pcall(loop.run)
  lu.assertIs(value, object)
  loop.timer(0, error) -- nil
  lu.assertFalse((pcall(loop.run)))
  loop.run()
end

function M.test_callbacks_of_a_dead_coroutine()
  local called = false
  local co = coroutine.create(function()
    loop.timer(1, function()
      called = true
    end)
  end)
  assert(coroutine.resume(co))
  co = nil -- luacheck: ignore
  support.collect()
  loop.run()
  lu.assertTrue(called)
end

function M.test_stop()
  local handle = loop.timer(3600000, function() end)
  loop.timer(0, loop.stop)
  loop.run()
  handle:close()
  loop.run()
end

function M.test_signal()
  local proc = require 'envctl.host.proc'
  local sys = require 'envctl.host.sys'
  local names = {}
  local handle = loop.signal('WINCH', function(name)
    names[#names + 1] = name
  end)
  loop.run() -- does not keep the loop
  local code
  -- Only a child may signal us: proc.signal refuses to.
  local child = assert(proc.spawn {
    argv = { '/bin/sh', '-c', 'kill -WINCH ' .. sys.getpid() },
    env = {}, cwd = '/', stdin = 'null', stdout = 'null', stderr = 'null',
    on_exit = function(n)
      code = n
    end,
  })
  support.wait(function()
    return code and #names == 1
  end)
  lu.assertEquals({ code, names }, { 0, { 'WINCH' } })
  child:close()
  handle:close()
  support.raises('not a signal', loop.signal, 'KILL', print)
  support.raises('not a signal', loop.signal, 'SIGINT', print)
end

function M.test_readable()
  support.fails('EBADF', '987', loop.readable(987, function() end))
  support.raises('not a descriptor', loop.readable, -1, function() end)
  support.raises('function expected', loop.readable, 0)
  local n = loop.handles()
  support.raises('function expected', loop.timer, 0, 'x')
  support.raises('function expected', loop.signal, 'INT')
  support.raises('cannot be negative', loop.timer, -1, function() end)
  support.raises('number expected', loop.timer, 'soon', function() end)
  support.raises('no integer representation', loop.timer, 1.5, function() end)
  lu.assertEquals(loop.handles(), n) -- nothing was made
end

return M
