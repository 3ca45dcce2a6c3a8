-- What the tests of the bindings share: waiting for callbacks, and the two kinds of failures.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local loop = require 'envctl.host.loop'
local sys = require 'envctl.host.sys'

local M = {}

-- From its first stream on libuv keeps a descriptor in reserve. That is no leak of the test that happens to come first.
do
  require('envctl.host.net').tcp_probe('127.0.0.1', 1, 0, function() end)
  loop.run()
end

--- Runs the loop until done() is true; the limit is for hangs.
function M.wait(done)
  local deadline = sys.mono_ms() + 10000
  while not done() do
    assert(sys.mono_ms() < deadline, 'waited for too long')
    local tick = loop.timer(1, loop.stop)
    loop.run()
    tick:close()
  end
end

--- Runs the loop for a moment, to see that something does not happen.
function M.a_while(ms)
  local tick = loop.timer(ms, loop.stop)
  loop.run()
  tick:close()
end

--- The world said no: nil, a message of one line that names the object, the code.
function M.fails(code, object, ...)
  local value, message, got = ...
  lu.assertNil(value)
  lu.assertEquals(got, code)
  lu.assertStrContains(message, object)
  lu.assertNil(message:find('\n', 1, true))
end

--- Misuse raises a text that contains `what`.
function M.raises(what, fn, ...)
  local ok, message = pcall(fn, ...)
  lu.assertFalse(ok, 'did not raise: ' .. what)
  lu.assertStrContains(tostring(message), what)
end

--- Calls fn with a new directory, which is gone afterwards.
function M.with_dir(fn)
  return function()
    local dir = (sys.getenv 'TMPDIR' or '/tmp') .. '/envctl-lua.' .. sys.random_hex(6)
    assert(fs.mkdirs(dir))
    local ok, e = pcall(fn, dir)
    assert(fs.remove_tree(dir))
    if not ok then
      error(e, 0)
    end
  end
end

--- Two full collections: finalisers of the first may free what the second finds.
function M.collect()
  collectgarbage()
  collectgarbage()
end

return M
