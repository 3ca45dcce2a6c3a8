local lu = require 'luaunit'
local task = require 'envctl.task'
local err = require 'envctl.err'
local loop = require 'envctl.host.loop'

local M = {}

function M.test_sleep_and_result()
  lu.assertEquals(task.main(function()
    task.sleep(1)
    return 'done'
  end), 'done')
end

function M.test_scope_waits_for_all()
  local order = {}
  task.main(function()
    task.scope(function(s)
      s:spawn(function()
        task.sleep(5)
        order[#order + 1] = 'slow'
      end)
      s:spawn(function()
        order[#order + 1] = 'fast'
      end)
    end)
    order[#order + 1] = 'after'
  end)
  lu.assertEquals(order, { 'fast', 'slow', 'after' })
end

function M.test_first_error_cancels_the_others_and_releases()
  local closed = false
  local ok, e = pcall(task.main, function()
    task.scope(function(s)
      s:spawn(function()
        local guard <close> = setmetatable({}, { -- luacheck: ignore 211
          __close = function()
            closed = true
          end,
        })
        task.sleep(10000)
      end)
      s:spawn(function()
        task.sleep(1)
        err.raise('boom', 'it broke')
      end)
    end)
  end)
  lu.assertFalse(ok)
  lu.assertEquals(e.code, 'boom')
  lu.assertTrue(closed)
  lu.assertEquals(loop.handles(), 0)
end

function M.test_timeout_cancels()
  task.main(function()
    local value, why = task.timeout(2, function()
      task.sleep(10000)
    end)
    lu.assertNil(value)
    lu.assertEquals(why, 'timeout')
    lu.assertEquals(task.timeout(10000, function()
      task.sleep(1)
      return 7
    end), 7)
  end)
  lu.assertEquals(loop.handles(), 0)
end

function M.test_cancel_is_seen_by_joiners()
  task.main(function()
    local t = task.spawn(function()
      task.sleep(10000)
    end)
    task.cancel(t)
    local ok, e = task.try_join(t)
    lu.assertFalse(ok)
    lu.assertEquals(e.code, 'cancelled')
  end)
end

function M.test_second_completion_is_dropped()
  local n = 0
  task.main(function()
    local resume_later
    task.await(function(resume)
      resume_later = resume
      resume(1)
    end)
    resume_later(2)
    n = n + 1
  end)
  lu.assertEquals(n, 1)
end

function M.test_internal_errors_carry_a_traceback()
  local ok, e = pcall(task.main, function()
    task.sleep(1)
    local nothing = nil
    return nothing.field
  end)
  lu.assertFalse(ok)
  lu.assertEquals(e.code, 'internal')
  lu.assertStrContains(e.traceback, 'task_test.lua')
end

function M.test_channel_keeps_order()
  local got = {}
  task.main(function()
    local c = task.channel()
    c.put(1)
    c.put(2)
    task.spawn(function()
      task.sleep(1)
      c.put(3)
    end)
    for i = 1, 3 do
      got[i] = c.get()
    end
  end)
  lu.assertEquals(got, { 1, 2, 3 })
end

function M.test_slots_are_a_budget()
  local running, most, done = 0, 0, {}
  task.main(function()
    local take = task.slots(2)
    task.scope(function(s)
      for i = 1, 5 do
        s:spawn(function()
          local slot <close> = take() -- luacheck: ignore 211
          running = running + 1
          most = math.max(most, running)
          task.sleep(1)
          running = running - 1
          done[#done + 1] = i
        end)
      end
    end)
  end)
  lu.assertEquals({ most, #done }, { 2, 5 })
end

-- Whoever waits, was just granted a slot, or holds one when its scope is cancelled: no slot is lost, and nobody starts any more.
function M.test_slots_come_back_from_what_is_cancelled()
  task.main(function()
    local take, entered = task.slots(1), {}
    for _, when in ipairs { 'waiting', 'granted' } do
      pcall(task.scope, function(s)
        local first = take()
        for i = 1, 3 do
          s:spawn(function()
            local slot <close> = take() -- luacheck: ignore 211
            entered[#entered + 1] = i
          end)
        end
        local giving <close> = when == 'waiting' and first or nil -- luacheck: ignore 211
        if when == 'granted' then
          getmetatable(first).__close()
        end
        err.raise('boom', 'it broke')
      end)
      lu.assertEquals(entered, {})
      local got = task.timeout(1000, function()
        local slot <close> = take() -- luacheck: ignore 211
        return true
      end)
      lu.assertTrue(got)
    end
  end)
  lu.assertEquals(loop.handles(), 0)
end

return M
