-- What a service's own command and its log say about it, and what is said when they do not.
local lu = require 'luaunit'
local task = require 'envctl.task'
local readiness = require 'envctl.keeper.readiness'
local support = require 'script_support'

local M = {}

local function check(svc, ready, state)
  local out
  task.main(function()
    out = { readiness.check(svc, ready, {}, state or {}) }
  end)
  return out
end

function M.test_a_command()
  local dir <close> = support.directory()
  support.write(dir.path, 'check.sh', '#!/bin/sh\ntest "$WHO" = me\n', 493)
  local svc = { record = { cwd = dir.path }, env = { PATH = '/usr/bin:/bin', WHO = 'me' } }
  local function says(...)
    return check(svc, { kind = 'command', command = { ... } })
  end
  lu.assertEquals(says('sh', '-c', 'test "$WHO" = me && test -f check.sh'), { true })
  lu.assertEquals(says './check.sh', { true })
  lu.assertEquals(says('sh', '-c', 'exit 3'), { false, '`sh -c exit 3` exited with code 3' })
  lu.assertEquals(says('sh', '-c', 'kill -KILL $$'), { false, '`sh -c kill -KILL $$` was ended by SIGKILL' })
  local missing = says('no-such-program', 'x')
  lu.assertFalse(missing[1])
  lu.assertStrContains(missing[2], '`no-such-program x` cannot be run: ')
end

function M.test_a_line_of_its_log()
  local dir <close> = support.directory()
  support.write(dir.path, 'log', 'ready\nstarting\n')
  local svc, ready, state = { record = { log_path = dir.path .. '/log' }, log_start = 6 }, { kind = 'log', pattern = 'ready' }, {}
  lu.assertEquals(check(svc, ready, state), { false, 'its log does not say so' }) -- what an earlier one said does not count
  support.write(dir.path, 'log', 'ready\nstarting\nrea')
  lu.assertFalse(check(svc, ready, state)[1])
  support.write(dir.path, 'log', 'ready\nstarting\nready\n')
  lu.assertTrue(check(svc, ready, state)[1])
end

return M
