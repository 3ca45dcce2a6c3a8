-- The bindings of envctl.host.port.
local lu = require 'luaunit'
local port = require 'envctl.host.port'
local support = require 'host_support'

local M = {}

-- A port that nobody has, below those that the kernel gives to others.
local function free_port()
  local low = port.ephemeral_range()
  local taken = port.listeners()
  for n = 21000, low - 1 do
    if not taken[n] and port.check(n) then
      return n
    end
  end
  error 'no port is free'
end

function M.test_range()
  local low, high = port.ephemeral_range()
  lu.assertEquals({ math.type(low), math.type(high) }, { 'integer', 'integer' })
  lu.assertTrue(1 <= low and low <= high and high <= 65535)
end

function M.test_listeners()
  for number, list in pairs(port.listeners()) do
    lu.assertEquals(math.type(number), 'integer')
    lu.assertTrue(#list > 0)
    for _, l in ipairs(list) do
      lu.assertEquals(type(l.addr), 'string')
      lu.assertTrue(l.family == 'inet' or l.family == 'inet6')
      lu.assertEquals({ math.type(l.inode), math.type(l.uid) }, { 'integer', 'integer' })
    end
  end
end

function M.test_hold()
  local n = free_port()
  local handle = assert(port.hold(n))
  lu.assertFalse(handle:is_closed())
  lu.assertNil(port.listeners()[n]) -- does not listen
  lu.assertIs(port.check(n), true) -- and is no obstacle to its service
  handle:close()
  handle:close()
  lu.assertTrue(handle:is_closed())
  do
    local scoped <close> = assert(port.hold(n))
    lu.assertFalse(scoped:is_closed())
  end
  assert(port.hold(n)) -- a forgotten one is closed by the collector; the leak check of the runner looks at descriptors
  support.collect()
end

function M.test_misuse()
  for _, fn in ipairs { port.check, port.hold } do
    support.raises('a port is 1..65535', fn, 0)
    support.raises('a port is 1..65535', fn, 65536)
    support.raises('a port is 1..65535', fn, -1)
    support.raises('no integer representation', fn, 80.5)
    support.raises('number expected', fn, 'http')
  end
end

return M
