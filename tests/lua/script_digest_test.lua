-- What explain-startup shows is what start does, whatever scripts say: 500 generated repositories, each planned by the two commands
-- in processes of their own. A failure names its seed; SEED=n runs that one alone.
local lu = require 'luaunit'
local json = require 'envctl.util.json'
local sys = require 'envctl.host.sys'
local digest = require 'envctl.plan.digest'
local task = require 'envctl.task'
local fixture = require 'fixture'
local support = require 'script_support'
local generator = require 'script_generator'

local M = {}

local COUNT = 500

-- What the keeper would be sent instead of sending it, and scripts that are trusted.
local function replaced(fn)
  local client, trust, exe = require 'envctl.keeper.client', require 'envctl.script.trust', sys.exe
  local request, judge = client.request, trust.judge
  local sent
  client.request = function(_, message)
    sent = message
    require('envctl.err').raise('interrupted', 'this is a test')
  end
  trust.judge = function(session)
    session.trusted = true
  end
  sys.exe = support.exe
  local ok, e = pcall(fn, function()
    local it = sent
    sent = nil
    return it
  end)
  client.request, trust.judge, sys.exe = request, judge, exe
  if not ok then
    error(e, 0)
  end
end

local function run(args, root)
  local context
  local ok, e = pcall(task.main, function()
    context = fixture.context(args, root, {
      RUN_SH_RUNTIME_DIR = root .. '/.runtime', ENVCTL_PORT_AVAILABILITY_MODE = 'lock_only',
    })
    local command = context.route.command
    local done, why = task.try(require(require('envctl.cli.commands').module(command)).run, context)
    context:close()
    if not done then
      error(why, 0)
    end
  end)
  return context.out.document, not ok and e or nil
end

local function one(seed, sent, repo)
  local texts = generator.make(seed)
  fixture.write(repo.root .. '/.envctl.lua', texts.script)
  local fs = require 'envctl.host.fs'
  fs.unlink(repo.root .. '/.envctl.local.lua')
  if texts['local'] then
    fixture.write(repo.root .. '/.envctl.local.lua', texts['local'])
  end
  local name = 'seed ' .. seed
  local document, why = run({ 'explain-startup', '--json' }, repo.root)
  local _, e = run({ 'start', '--headless' }, repo.root)
  local request = sent()
  if why then -- a script that cannot be used says the same to both
    lu.assertEquals({ e.code, e.message }, { why.code, why.message }, name)
    return false, why.message
  elseif #document.blockers > 0 then
    lu.assertNil(request, name)
    lu.assertEquals(e.code, document.blockers[1].code, name)
    return false, document.blockers[1].message
  end
  if document.plan == json.null then
    lu.assertNil(request, name)
    return false, 'no plan'
  end
  lu.assertNotNil(request, name .. ': ' .. tostring(e and e.message))
  lu.assertEquals(request.plan.digest, document.plan.digest, name)
  lu.assertEquals(digest.plan(request.plan), document.plan.digest, name)
  lu.assertEquals(json.encode_line(request.plan), json.encode_line(document.plan), name)
  return true
end

function M.test_what_is_explained_is_what_is_started()
  local only = math.tointeger(tonumber(sys.getenv 'SEED'))
  local repo = fixture.repo {
    ['.envctl'] = 'ENVCTL_DEFAULT_MODE=main\nENVCTL_BACKEND_START_CMD=./serve\nENVCTL_FRONTEND_START_CMD=./serve\n',
  }
  for _, name in ipairs { 'backend', 'frontend' } do
    fixture.write(repo.root .. '/' .. name .. '/serve', '#!/bin/sh\n', 493)
  end
  local planned, others = 0, {}
  replaced(function(sent)
    for seed = only or 1, only or COUNT do
      local ok, result, why = pcall(one, seed, sent, repo)
      if not ok then
        print('SEED=' .. seed .. ' tests/lua: ' .. generator.make(seed).script)
        error(result, 0)
      end
      planned = planned + (result and 1 or 0)
      if why and sys.getenv 'V' then
        print(seed, why)
      end
      others[#others + 1] = why
    end
  end)
  fixture.clean()
  -- A generator of scripts that cannot be used would prove nothing.
  lu.assertTrue(only ~= nil or planned > COUNT * 0.7, planned .. ' planned; the last other one: ' .. tostring(others[#others]))
end

-- Two processes, two seeds of hashes, other addresses: the same bytes.
function M.test_the_same_in_every_process()
  for seed = 1, 20 do
    local first
    for _ = 1, 2 do
      local texts = generator.make(seed)
      support.with(texts, function(session)
        local ok, e = pcall(session.load, session)
        local result = ok and session:load().data or e.message
        local bytes = type(result) == 'string' and result or json.encode_line {
          config = result.config, services = result.services, hooks = result.hooks,
        }
        first = first or bytes
        lu.assertEquals(bytes, first, 'seed ' .. seed)
      end)
    end
  end
end

return M
