-- When a log grew: notes beside it, and what they say about a time.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local log_times = require 'envctl.state.log_times'
local support = require 'host_support'

local M = {}

M.test_nothing_known = support.with_dir(function(dir)
  local log = dir .. '/log'
  lu.assertEquals(log_times.offset(log, 1000), 0)
end)

M.test_offset = support.with_dir(function(dir)
  local log = dir .. '/log'
  log_times.note(log, 1000, 10)
  log_times.note(log, 2000, 20)
  log_times.note(log, 3000, 30)
  for since, offset in pairs { [999] = 0, [1000] = 10, [1999] = 10, [2000] = 20, [9000] = 30 } do
    lu.assertEquals(log_times.offset(log, since), offset, since)
  end
end)

-- More is shown, never less: what stands behind a note that claims a later time is not older.
M.test_clock_set_back = support.with_dir(function(dir)
  local log = dir .. '/log'
  log_times.note(log, 1000, 10)
  log_times.note(log, 900000, 20)
  log_times.note(log, 3000, 30)
  lu.assertEquals(log_times.offset(log, 3500), 10)
end)

M.test_emptied_in_between = support.with_dir(function(dir)
  local log = dir .. '/log'
  log_times.note(log, 1000, 500)
  log_times.note(log, 2000, 7)
  lu.assertEquals(log_times.offset(log, 1500), 0)
  lu.assertEquals(log_times.offset(log, 2500), 7)
end)

M.test_garbage_and_torn_lines = support.with_dir(function(dir)
  local log = dir .. '/log'
  fs.append(log_times.path(log), 'what\n1000\n1000 -5\n\0\0\n')
  log_times.note(log, 1000, 10)
  lu.assertEquals(log_times.offset(log, 1500), 10)
end)

-- However long a service logs, the notes stay few, and each is still true.
M.test_bounded = support.with_dir(function(dir)
  local log = dir .. '/log'
  fs.append(log, 'x\n')
  for i = 1, 10000 do
    log_times.note(log, 1000000 + i * 1000, i * 100)
  end
  lu.assertTrue(fs.stat(log_times.path(log)).size <= 64 * 1024)
  for i = 100, 10000, 777 do
    local offset = log_times.offset(log, 1000000 + i * 1000)
    lu.assertTrue(offset <= i * 100, i)
    lu.assertTrue(offset >= i * 100 // 2, i)
  end
end)

return M
