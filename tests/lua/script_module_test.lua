-- Policy modules replaced whole, and what bundled modules scripts can use.
local lu = require 'luaunit'
local json = require 'envctl.util.json'
local sys = require 'envctl.host.sys'
local task = require 'envctl.task'
local plan = require 'envctl.plan'
local join = require 'envctl.script.join'
local support = require 'script_support'
local samples = require 'envctl.script.contract.facts'
local contract = require 'envctl.script.contract.plan_startup'

local M = {}

-- A repository whose planner is the ejected one, changed by gsub.
local function with_planner(fn, pattern, text, more)
  local dir <close> = support.directory()
  local path = require('envctl.script.eject').write(dir.path, 'plan.startup', true)
  if pattern then
    local source = assert(require('envctl.host.fs').read(dir.path .. '/' .. path))
    local changed, count = source:gsub(pattern, text)
    lu.assertEquals(count, 1, pattern)
    support.write(dir.path, path, changed)
  end
  local script = 'return { envctl = 1, modules = { ["plan.startup"] = envctl.include("' .. path .. '") }, ' .. (more or '') .. ' }'
  return support.with(script, function(session)
    session:load()
    return fn(session, join.module(session, 'plan.startup'))
  end, { root = dir.path })
end

local function all_facts()
  local out = { samples.sample }
  for _, case in ipairs(contract.list) do
    out[#out + 1] = case.facts
  end
  return out
end

function M.test_a_copy_gives_the_same_documents()
  with_planner(function(session, planner)
    local called = planner.build
    for _, facts in ipairs(all_facts()) do
      -- Also without what plan.build() sets right afterwards.
      lu.assertEquals(json.encode((called(facts))), json.encode((plan.build(facts))))
      local document, secrets = plan.build(facts, join.decider(session), planner)
      local expected, hidden = plan.build(facts)
      lu.assertEquals(json.encode(document), json.encode(expected))
      lu.assertEquals(secrets, hidden)
      lu.assertEquals(plan.ports(facts, nil, planner), plan.ports(facts))
    end
  end)
end

function M.test_a_change_is_what_is_planned()
  with_planner(function(session, planner)
    local document = plan.build(samples.sample, join.decider(session), planner)
    lu.assertEquals(document.reason, 'mine')
    lu.assertEquals(document.plan.digest, plan.build(samples.sample).plan.digest)
  end, "reason = not on and 'config_startup_disabled' or nil", "reason = 'mine'")
end

function M.test_overrides_are_asked_by_a_replacement()
  with_planner(function(session, planner)
    local document = plan.build(samples.sample, join.decider(session), planner)
    local expected = plan.build(samples.sample)
    local services = document.plan.projects[1].services
    lu.assertEquals({ services[1].port, services[2].port }, { 8123, 9000 })
    lu.assertEquals({ services[1].env, services[2].env.X }, { { PORT = '8123', X = 'y' }, nil })
    lu.assertEquals(services[2].needs, json.array {})
    lu.assertEquals(document.plan.projects[1].services[2].plan_digest, expected.plan.projects[1].services[2].plan_digest)
    local changed = {}
    for _, o in ipairs(session:report()) do
      changed[#changed + 1] = o.point .. ' ' .. #o.changed
    end
    lu.assertEquals(changed, { 'plan.env 1', 'plan.ports 1', 'plan.startup 0' })
  end, nil, nil, [[override = {
    ['plan.ports'] = function(base, ctx) local p = base(ctx) p.backend = 8123 return p end,
    ['plan.env'] = function(base, ctx)
      local env = base(ctx)
      if ctx.service == 'backend' then env.X = 'y' end
      return env
    end,
  } ]])
end

function M.test_overriding_the_whole_plan_keeps_its_form()
  support.with([[
return { envctl = 1, override = { ['plan.startup'] = function(base, ctx)
  local document = base(ctx)
  document.plan.projects[1].services[1].critical = false
  return document
end } }]], function(session)
    session:load()
    local document = plan.build(samples.sample, join.decider(session))
    local expected = plan.build(samples.sample)
    expected.plan.projects[1].services[1].critical = false
    require('envctl.plan.digest').seal(expected.plan)
    lu.assertEquals(json.encode(document), json.encode(expected))
    lu.assertNotEquals(document.plan.digest, plan.build(samples.sample).plan.digest)
  end)
end

function M.test_only_build_has_to_be_there()
  support.with([[
return { envctl = 1, modules = { ['plan.startup'] = { build = function(facts)
  return { schema = 'x', decision = 'dashboard_only', blockers = {}, warnings = {}, mode = facts.mode }
end } } }]], function(session)
    local planner = session:module 'plan.startup'
    lu.assertNil(planner.ports)
    local document, secrets = plan.build(samples.sample, nil, planner)
    lu.assertEquals({ document.schema, document.mode, secrets }, { 'x', 'main', {} })
    lu.assertEquals(json.encode_line(document.blockers), '[]')
  end)
  local e = support.failure("return { envctl = 1, modules = { ['plan.startup'] = {} } }", function(session)
    session:module 'plan.startup'
  end)
  lu.assertEquals(e.message, '.envctl.lua:1: modules["plan.startup"].build: is missing')
  lu.assertEquals(e.hint, 'it is called with facts, decide')
end

function M.test_no_module_no_planner()
  support.with('return { envctl = 1 }', function(session)
    session:load()
    lu.assertNil(join.module(session, 'plan.startup'))
  end)
  lu.assertNil(join.module(nil, 'plan.startup'))
end

-- --- the contract -----------------------------------------------------------------------------------------------------

function M.test_the_bundled_planner_holds_to_its_contract()
  lu.assertEquals(contract.run(require 'envctl.plan.startup'), {})
end

-- Each change of the planner breaks the contract it is about; unchanged, every case passes.
local BROKEN = {
  { "blockers = draft%.blockers,\n", 'blockers = json.array {},\n', 'a state that cannot be read is a blocker' },
  { "explains = facts%.command,", "explains = 'stop',", 'a start plans every service' },
  { "  gate%(draft%)\n", '', 'no configuration is a blocker' },
  { "  if next%(secrets%) then\n", '  if false then\n', 'secrets are in no document' },
  { "local only = draft%.chosen and %(draft%.chosen%[project%.name%] or {}%)", 'local only = nil', 'only what was asked for is planned' },
  {
    "local assigned = ports%.assign_all%(facts, list%)",
    "local assigned = ports.assign_all(setmetatable({ busy = {} }, { __index = facts }), list)",
    'a port that is taken is left alone',
  },
  { "plan, changes = build_plan%(draft%)", "plan, changes = json.null, json.array {}", 'a start plans every service' },
}

function M.test_broken_planners_do_not_hold_to_it()
  for _, case in ipairs(BROKEN) do
    with_planner(function(_, planner)
      local names = {}
      for _, failure in ipairs(contract.run(planner)) do
        names[failure.name] = true
      end
      lu.assertTrue(names[case[3]], case[1])
    end, case[1], (case[2]:gsub('%%', '%%%%')))
  end
end

function M.test_check_runs_the_contract()
  local dir <close> = support.directory()
  local path = require('envctl.script.eject').write(dir.path, 'plan.startup', true)
  local source = assert(require('envctl.host.fs').read(dir.path .. '/' .. path))
  support.write(dir.path, path, (source:gsub('explains = facts%.command,', "explains = 'stop',")))
  support.with('return { envctl = 1,\n modules = { ["plan.startup"] = envctl.include("' .. path .. '") } }', function(session)
    local ctx = { roots = { root = dir.path }, settings = { get = function() end, origin = function() end, errors = {} } }
    local findings = require('envctl.script.check').run(session, ctx)
    lu.assertEquals(#findings.errors, #contract.list)
    lu.assertEquals(findings.errors[1].message, '.envctl.lua:2: modules["plan.startup"]: contract: a start plans every service: '
      .. 'explains and mode are not those that were asked for')
    lu.assertEquals(findings.warnings, {})
  end, { root = dir.path })
end

-- --- resume.reconcile -------------------------------------------------------------------------------------------------

local reconcile = require 'envctl.resume.reconcile'
local reconcile_contract = require 'envctl.script.contract.resume_reconcile'

-- Everything ejected that the script names, each file changed by gsub where there is something to change.
local function with_modules(names, changes, fn, more)
  local dir <close> = support.directory()
  local parts = {}
  for i, name in ipairs(names) do
    local path = require('envctl.script.eject').write(dir.path, name, true)
    local change = changes[name]
    if change then
      local text, count = assert(require('envctl.host.fs').read(dir.path .. '/' .. path)):gsub(change[1], change[2])
      lu.assertEquals(count, 1, change[1])
      support.write(dir.path, path, text)
    end
    parts[i] = ('["%s"] = envctl.include("%s")'):format(name, path)
  end
  local script = 'return { envctl = 1,\n modules = { ' .. table.concat(parts, ', ') .. ' }, ' .. (more or '') .. ' }'
  return support.with(script, function(session)
    session:load()
    return fn(session, dir.path)
  end, { root = dir.path })
end

-- Facts about a run that was saved, and is as it should be.
local function saved_facts()
  local facts = {}
  for k, v in pairs(samples.sample) do
    facts[k] = v
  end
  facts.truth = { services = {}, dependencies = {} }
  facts.state = { run_id = 'run-1', mode = 'main', services = {} }
  for _, s in ipairs(plan.build(facts).plan.projects[1].services) do
    local name = require('envctl.state.names').display('Main', s.name)
    facts.state.services[name] = {
      project = 'Main', service = s.name, status = 'ready', requested_port = s.port, plan_digest = s.plan_digest, plan = s,
    }
    facts.truth.services[name] = { alive = true, status = 'ready' }
  end
  return facts
end

local function actions_of(document)
  local out = {}
  for i, a in ipairs(document.plan.actions) do
    out[i] = a.service .. ' ' .. a.action .. ' ' .. a.reason
  end
  return out
end

local KEPT = { 'backend keep runs and is unchanged', 'frontend keep runs and is unchanged' }

function M.test_a_copy_of_the_reconciler_says_the_same()
  with_modules({ 'resume.reconcile' }, {}, function(session)
    local copy = join.module(session, 'resume.reconcile').reconcile
    for _, case in ipairs(reconcile_contract.list) do
      lu.assertEquals(json.encode(copy(table.unpack(case.args))), json.encode(reconcile.reconcile(table.unpack(case.args))))
    end
    local facts = saved_facts()
    lu.assertEquals(json.encode(plan.build(facts, join.decider(session))), json.encode(plan.build(facts)))
  end)
end

local MINE = { "return 'keep', 'runs and is unchanged' .. ", "return 'keep', 'mine' .. " }
local OVERRIDE = [[override = { ['resume.reconcile'] = function(base, ctx)
  local actions = base(ctx)
  for _, a in ipairs(actions) do
    if a.service == 'frontend' then a.reason = a.reason .. ', and asked' end
  end
  return actions
end }]]

-- An override stands on top of the module, whoever plans: the bundled planner or a copy of it.
function M.test_a_replaced_reconciler_is_what_counts()
  for _, names in ipairs { { 'resume.reconcile' }, { 'resume.reconcile', 'plan.startup' } } do
    for _, override in ipairs { false, OVERRIDE } do
      with_modules(names, { ['resume.reconcile'] = MINE }, function(session)
        local document = plan.build(saved_facts(), join.decider(session), join.module(session, 'plan.startup'))
        lu.assertEquals(actions_of(document), { 'backend keep mine', override and 'frontend keep mine, and asked'
          or 'frontend keep mine' })
      end, override or nil)
    end
  end
end

function M.test_an_override_of_resume_reconcile()
  local function document(body, facts)
    return support.with("return { envctl = 1, override = { ['resume.reconcile'] = function(base, ctx) " .. body .. ' end } }',
      function(session)
        session:load()
        local d = plan.build(facts or saved_facts(), join.decider(session))
        return d, session:report()
      end)
  end
  lu.assertEquals(actions_of(document 'return base(ctx)'), KEPT)
  local d, report = document "local a = base(ctx) a[2].action = 'restart' a[2].reason = 'daily' return a"
  lu.assertEquals(actions_of(d), { KEPT[1], 'frontend restart daily' })
  lu.assertEquals(report[1].changed, {
    { path = '[2].action', before = 'keep', after = 'restart' },
    { path = '[2].reason', before = 'runs and is unchanged', after = 'daily' },
  })
  -- What it says nothing about may run: nothing is started beside it.
  d = document 'return { base(ctx)[1] }'
  lu.assertEquals(actions_of(d), { KEPT[1], 'frontend unknown is left out by resume.reconcile' })
  lu.assertEquals({ d.decision, d.blockers[1].code, d.blockers[1].where }, { 'blocked', 'state_unknown', 'Main/frontend' })
  -- Where nothing was saved there is nothing to reconcile.
  lu.assertNil(document("error('asked')", samples.sample).plan.actions)
end

function M.test_the_bundled_reconciler_holds_to_its_contract()
  lu.assertEquals(reconcile_contract.run(reconcile), {})
end

local BROKEN_RECONCILERS = {
  {
    "return 'start', 'is not running yet'\n  end\n  local heal", "return 'keep', 'x'\n  end\n  local heal",
    'what was never started is started',
  },
  { "return 'start', ended%(record, fact%)", "return 'keep', 'x'", 'what does not run is not kept' },
  { "return 'keep', 'runs and is unchanged'", "return 'start', 'x'", 'what runs is never started beside it' },
  { "return 'unknown', untold%(fact%)", "return 'start', 'x'", 'nothing is done where it cannot be told' },
  { "return 'stop', why", "return 'forget', 'x'", 'what runs is not forgotten when it is no longer planned' },
  { "return 'forget', ", "return 'start', ", 'what is no longer planned is not started' },
  { 'not planned%[name%] and meant%[record%.project%]', 'not planned[name]', 'projects that are not meant are left alone' },
}

function M.test_broken_reconcilers_do_not_hold_to_it()
  for _, case in ipairs(BROKEN_RECONCILERS) do
    with_modules({ 'resume.reconcile' }, { ['resume.reconcile'] = case }, function(session)
      local found = {}
      for _, failure in ipairs(reconcile_contract.run(join.module(session, 'resume.reconcile'))) do
        found[failure.name] = true
      end
      lu.assertTrue(found[case[3]], case[1])
    end)
  end
end

function M.test_check_runs_the_contract_of_the_reconciler()
  local broken = { "return 'unknown', untold%(fact%)", "return 'start', 'x'" }
  with_modules({ 'resume.reconcile' }, { ['resume.reconcile'] = broken }, function(session, root)
    local ctx = { roots = { root = root }, settings = { get = function() end, origin = function() end, errors = {} } }
    local findings = require('envctl.script.check').run(session, ctx)
    lu.assertEquals(#findings.errors, 1)
    lu.assertEquals(findings.errors[1].message, '.envctl.lua:2: modules["resume.reconcile"]: contract: nothing is done where it '
      .. 'cannot be told: the answer for Main/redis is "start"')
  end)
end

-- --- envctl.bundled ---------------------------------------------------------------------------------------------------

-- What a kept text requires is kept as well, or is one of the two that are not Lua.
function M.test_kept_texts_are_complete()
  local natives = require('envctl.script.sandbox').natives
  local seen, queue = {}, { 'envctl.plan.startup', 'envctl.resume.reconcile' }
  while #queue > 0 do
    local name = table.remove(queue)
    if not seen[name] and not natives[name:sub(8)] then
      seen[name] = true
      local text = sys.module_text(name)
      lu.assertNotNil(text, name)
      for required in text:gmatch "require%s*%(?%s*'([%w_.]+)'" do
        queue[#queue + 1] = required
      end
    end
  end
  lu.assertTrue(seen['envctl.deps.definitions'])
  lu.assertNil(sys.module_text 'envctl.main')
  lu.assertNil(sys.module_text 'envctl.script.child')
end

function M.test_bundled_modules_are_each_scripts_own()
  local text = [[
local json = envctl.bundled('util.json')
local digest = envctl.bundled('plan.digest')
local ports = envctl.bundled('plan.ports')
local before = ports.mine -- set by the layer below, if it could
ports.mine = true
local list = json.array {}
return { envctl = 1, config = {
  same = envctl.bundled('plan.digest') == digest,
  digest = digest.of { b = 1, a = json.array {} },
  hidden = type(getmetatable(list)) == 'string' and not pcall(setmetatable, list, {}),
  list = list,
  required = pcall(function() return require end),
  port = ports.MAX_PORT, before = before == nil,
} }]]
  support.with({ user = text, script = text }, function(session)
    local config = session:load().data.config
    lu.assertEquals(config, {
      same = true, digest = require('envctl.plan.digest').of { b = 1, a = json.array {} }, hidden = true, list = {},
      required = false, port = 65535, before = true,
    })
  end)
  local e = support.failure "return { envctl = 1, config = { x = envctl.bundled('keeper.server') } }"
  lu.assertEquals(e.message, '.envctl.lua:1: envctl has no module "keeper.server" for scripts')
  local ok, why = task.try(support.with, "return { envctl = 1, config = { x = envctl.bundled(1) } }", function(session)
    session:load()
  end)
  lu.assertFalse(ok)
  lu.assertEquals(why.message, '.envctl.lua:1: envctl.bundled takes a name, got number')
end

return M
