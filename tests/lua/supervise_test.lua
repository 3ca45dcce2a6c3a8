local lu = require 'luaunit'
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

return M
