--- The registry of override points, hooks and replaceable modules: what a script may decide or be told, what it is given and what
--- it has to return. What has available = false is declared for a room that this version does not have yet. Pure.
local shapes = require 'envctl.script.shapes'

local M = {}

---@class envctl.script.Point
---@field name string
---@field since integer version of envctl's script API
---@field available boolean whether this envctl asks it
---@field doc string
---@field input table<string, string> fields of ctx
---@field output table shape
---@field returns string the output in words
---@field sample {input: table, output: any} for `script check`: an input, and what the bundled function makes of it
---@field secret boolean? values can be secrets: before and after are masked by name

local TEXT = { type = 'string' }
local EMPTY_TEXT = { type = 'string', empty = true }
local ANY_MAP = { type = 'map', item = { type = 'any' } }

local function list(item, what)
  return { type = 'list', item = item, what = what }
end

local function map(item, key, what)
  return { type = 'map', item = item, key = key, what = what }
end

local function enum(...)
  return { type = 'enum', values = { ... } }
end

local SERVICES = map(shapes.service, shapes.parts.name, 'a table of services by name')
local PROJECT = { name = 'Main', mode = 'main', root = '/repo' }
local DECISIONS = {
  'start_fresh', 'resume_exact', 'resume_subset', 'reuse_and_extend', 'open_selector', 'blocked', 'dashboard_only',
}

---@type envctl.script.Point[]
M.list = {
  {
    name = 'detect.services', since = 1, available = true,
    doc = 'the services of a project, from the files in it',
    input = { project = '{ name, mode, root }' },
    output = SERVICES, returns = 'services by name, as under `services`',
    sample = {
      input = { project = PROJECT }, output = { backend = { dir = 'backend', command = { 'python3', 'main.py' } } },
    },
  },
  {
    name = 'plan.ports', since = 1, available = true,
    doc = 'the ports of one project',
    input = {
      project = '{ name, mode, root }', slot = 'the project\'s place, 0 for Main',
      wants = 'list of { id, kind = "service" or "dependency", base, fixed }',
    },
    output = map(shapes.parts.port, nil, 'a table of ports by service or dependency'),
    returns = 'port numbers by service or dependency; other ports of a dependency by "name.port"',
    sample = {
      input = { project = PROJECT, slot = 0, wants = { { id = 'backend', kind = 'service', base = 8000 } } },
      output = { backend = 8000 },
    },
  },
  {
    name = 'plan.startup', since = 1, available = true,
    doc = 'the whole plan, as explain-startup prints it',
    input = { ['…'] = 'everything that is known before planning: projects, config, ledger, state' },
    output = {
      type = 'record', open = true, required = { 'decision' },
      fields = { decision = { type = 'enum', values = DECISIONS }, blockers = list(ANY_MAP), warnings = list(ANY_MAP) },
    },
    returns = 'the document, with decision, blockers, warnings and plan',
    sample = { input = { projects = {} }, output = { decision = 'start_fresh', blockers = {}, warnings = {} } },
  },
  {
    name = 'plan.env', since = 1, available = true, secret = true,
    doc = 'the environment of one service, placeholders not filled in yet',
    input = { project = '{ name, mode, root }', service = 'name of the service', port = 'its port, or nil' },
    output = shapes.parts.env, returns = 'variables by name',
    sample = { input = { project = PROJECT, service = 'backend', port = 8000 }, output = { PORT = '${port}' } },
  },
  {
    name = 'deps.select', since = 1, available = true,
    doc = 'which dependencies the projects get, and from whom',
    input = { mode = '"main" or "trees"', root = 'the repository', known = 'list of ids that have a definition' },
    output = map({
      type = 'union', what = 'the name of a provider, or false',
      of = { enum('auto', 'native', 'docker', 'external', 'command'), { type = 'boolean' } },
    }),
    returns = 'provider by dependency; what is false or missing is off',
    sample = { input = { mode = 'main', root = '/repo', known = { 'postgres' } }, output = { postgres = 'auto' } },
  },
  {
    name = 'reuse.decide', since = 1, available = true,
    doc = 'whether a start returns to what is saved, or begins anew',
    input = { mode = '"main" or "trees"', recorded = 'services of the saved state' },
    output = enum('start_fresh', 'resume_exact', 'resume_subset', 'reuse_and_extend'),
    returns = 'one of the four words',
    sample = { input = { mode = 'main', recorded = {} }, output = 'start_fresh' },
  },
  {
    name = 'resume.reconcile', since = 1, available = true,
    doc = 'what happens to each service and dependency, once something was saved',
    input = {
      saved = '{ services, dependencies }: the records of the saved state, by display name and by "project/id"',
      truth = '{ services, dependencies }: of each { alive, status, why }; no alive: it cannot be told',
      wanted = '{ projects, shared } of the plan, { selected, partial, replace, heal }: what was asked for',
    },
    output = list({
      type = 'record', open = true, required = { 'project', 'service', 'action' },
      fields = {
        project = TEXT, service = TEXT, dependency = { type = 'boolean' }, reason = EMPTY_TEXT,
        action = enum('keep', 'restart', 'start', 'stop', 'forget', 'unknown'),
        changes = list({
          type = 'record', open = true, required = { 'field' },
          fields = { field = TEXT, before = { type = 'any' }, after = { type = 'any' } },
        }),
      },
    }),
    returns = 'list of { project, service, dependency, action, reason, changes }; what is left out counts as unknown',
    sample = {
      input = {
        saved = { services = {}, dependencies = {} }, truth = { services = {}, dependencies = {} },
        wanted = { projects = {}, selected = {}, partial = false },
      },
      output = {},
    },
  },
  {
    name = 'wizard.steps', since = 1, available = false,
    doc = 'the steps of the configuration wizard, in order',
    input = { answers = 'what was answered so far' },
    output = list({ type = 'record', open = true, required = { 'id' }, fields = { id = TEXT, title = TEXT } }),
    returns = 'list of { id, title }',
    sample = { input = { answers = {} }, output = { { id = 'mode', title = 'Mode' } } },
  },
  {
    name = 'wizard.defaults', since = 1, available = false,
    doc = 'the answers that the wizard starts with',
    input = { detected = 'what was found in the repository' },
    output = ANY_MAP, returns = 'settings by name',
    sample = { input = { detected = {} }, output = { default_mode = 'main' } },
  },
  {
    name = 'worktree.name', since = 1, available = true,
    doc = 'the name of a new worktree, which is its branch and its project as well',
    input = { feature = 'name of the feature', number = 'from 1', plan = 'id of the plan file, or nil' },
    output = { type = 'string', what = 'a name of letters, digits, ., _ and -', pattern = '^[%w_][%w._-]*$' },
    returns = 'the name',
    sample = { input = { feature = 'checkout', number = 1 }, output = 'checkout-1' },
  },
  {
    name = 'worktree.seed', since = 1, available = true,
    doc = 'files that a new worktree gets; what is there is never overwritten',
    input = { project = '{ name, mode, root }', plan = 'text of the plan, or nil' },
    output = {
      type = 'record',
      fields = {
        files = map(EMPTY_TEXT, { test = shapes.tree_path_problem }, 'a table of texts by path'),
        copy = list({ type = 'string', test = shapes.tree_path_problem }, 'a list of paths'),
      },
    },
    returns = '{ files = { path = text }, copy = { paths of ignored files to bring over } }',
    sample = { input = { project = PROJECT, plan = '# Checkout' }, output = { files = {}, copy = {} } },
  },
  {
    name = 'test.suites', since = 1, available = false,
    doc = 'the test suites of a project',
    input = { project = '{ name, mode, root }', failed = 'true for `test --failed`' },
    output = list({
      type = 'record', open = true, required = { 'name', 'command' },
      fields = {
        name = TEXT, command = shapes.parts.command, dir = EMPTY_TEXT, framework = TEXT, timeout_ms = shapes.parts.ms,
      },
    }),
    returns = 'list of { name, command, dir, framework, timeout_ms }',
    sample = {
      input = { project = PROJECT, failed = false }, output = { { name = 'backend', command = { 'pytest' } } },
    },
  },
  {
    name = 'debug.collect', since = 1, available = false,
    doc = 'what goes into a debug bundle',
    input = { session = 'id of the session' },
    output = list(TEXT, 'a list of entries'), returns = 'list of the names of entries',
    sample = { input = { session = 'session-1' }, output = { 'state', 'events' } },
  },
  {
    name = 'debug.redact', since = 1, available = false,
    doc = 'one line of a bundle, after the bundled redaction',
    input = { text = 'the line, redacted', source = 'where it is from' },
    output = EMPTY_TEXT, returns = 'the line',
    sample = { input = { text = 'a line', source = 'log' }, output = 'a line' },
  },
  {
    name = 'doctor.checks', since = 1, available = true,
    doc = 'the findings of doctor --repo',
    input = { scope = '"repository"', root = 'the repository' },
    output = list({
      type = 'record', required = { 'id', 'status', 'detail' },
      fields = { id = TEXT, status = enum('pass', 'warn', 'fail'), detail = EMPTY_TEXT, fix = EMPTY_TEXT },
    }),
    returns = 'list of { id, status, detail, fix }',
    sample = {
      input = { scope = 'repository', root = '/repo' }, output = { { id = 'git', status = 'pass', detail = 'git' } },
    },
  },
  {
    name = 'dashboard.rows', since = 1, available = false,
    doc = 'the rows of the dashboard',
    input = { project = '{ name, mode, root }', services = 'what is known of each' },
    output = list({
      type = 'record', open = true, required = { 'label' }, fields = { label = TEXT, value = EMPTY_TEXT },
    }),
    returns = 'list of { label, value }',
    sample = { input = { project = PROJECT, services = {} }, output = { { label = 'backend', value = 'ready' } } },
  },
}

---@type table<string, envctl.script.Point>
M.by_name = {}
for _, p in ipairs(M.list) do
  M.by_name[p.name] = p
end

---@class envctl.script.ModuleFunction
---@field args string
---@field returns string
---@field outputs table[] shape of each result; all but the first may be nothing
---@field arguments integer how many there are before decide
---@field sample fun(): any[] arguments for `script check`
---@field optional boolean? the bundled one is used when it is missing

---@class envctl.script.Module a policy module that a script can replace whole
---@field name string
---@field since integer
---@field available boolean whether this envctl uses it
---@field doc string
---@field source string? the bundled module
---@field contract string? module with the contract tests
---@field functions table<string, envctl.script.ModuleFunction>
---@field base (fun(functions: table<string, function>, input: any): any)? its answer for the override point of the same name

local function facts_sample()
  return { require('envctl.script.contract.facts').sample }
end

---@type envctl.script.Module[]
M.module_list = {
  {
    name = 'plan.startup', since = 1, available = true, doc = 'the planner', source = 'envctl.plan.startup',
    contract = 'envctl.script.contract.plan_startup',
    functions = {
      build = {
        args = 'facts, decide',
        returns = 'the document of explain-startup, and what it hides: { ["Project/service"] = { NAME = value } }',
        outputs = { M.by_name['plan.startup'].output, map(map({ type = 'string', empty = true })) },
        arguments = 1, sample = facts_sample,
      },
      ports = {
        args = 'facts, decide', returns = 'for each project { slot, ports = { id = port }, problems }', optional = true,
        outputs = {
          map({
            type = 'record', open = true, required = { 'ports' },
            fields = { ports = map(shapes.parts.port), problems = list(ANY_MAP) },
          }),
        },
        arguments = 1, sample = facts_sample,
      },
    },
  },
  {
    name = 'wizard.model', since = 1, available = false, doc = 'the wizard: its questions, and what answers mean',
    functions = {},
  },
  {
    name = 'resume.reconcile', since = 1, available = true,
    doc = 'the reconciler: what is saved, true and wanted in, actions out',
    source = 'envctl.resume.reconcile', contract = 'envctl.script.contract.resume_reconcile',
    functions = {
      reconcile = {
        args = 'saved, truth, wanted', returns = M.by_name['resume.reconcile'].returns,
        outputs = { M.by_name['resume.reconcile'].output }, arguments = 3,
        sample = function()
          return require('envctl.script.contract.resume_reconcile').sample()
        end,
      },
    },
    base = function(functions, input)
      return functions.reconcile(input.saved, input.truth, input.wanted)
    end,
  },
  { name = 'debug.pack', since = 1, available = false, doc = 'what goes into a debug bundle', functions = {} },
}

---@type table<string, envctl.script.Module>
M.modules = {}
for _, m in ipairs(M.module_list) do
  M.modules[m.name] = m
end

---@class envctl.script.Hook an event that scripts are told of
---@field name string
---@field available boolean whether this envctl tells it
---@field doc string
---@field ev table<string, string> fields of ev

local OF_PROJECT = { project = 'its name', mode = '"main" or "trees"', root = 'its directory' }

local function event(name, doc, ev, available)
  for field, text in pairs(ev and OF_PROJECT or {}) do
    ev[field] = ev[field] or text
  end
  return { name = name, available = available ~= false, doc = doc, ev = ev or { services = 'their names' } }
end

---@type envctl.script.Hook[]
M.hook_list = {
  event('project.created', 'a worktree was made; nothing of it runs yet', {
    feature = 'name of the feature', branch = 'its branch', base = 'what the branch began at',
    plan = 'id of the plan, or nil',
  }),
  event('prepare', 'before the prepare steps of a project, when there are some to run', {
    steps = 'those that will run, as "service/step"',
  }),
  event('before_start', 'before the first service of a project starts; not when all of it runs already', {
    services = 'names of its services', ports = 'ports by service',
  }),
  event('service.ready', 'for each service that was started, once all are ready', {
    service = 'its name', port = 'its port, or nil', url = 'its URL, or nil',
  }),
  event('started', 'everything of a project is ready, and some of it was started now', {
    services = 'names of its services',
  }),
  event('before_stop', 'before `stop`, `stop-all` or `blast-all` stops services; not before a restart'),
  event('stopped', 'after that'),
  event('worktree.removing', 'before a worktree is removed, while it still runs; a failure keeps it', {
    branch = 'its branch, or nil',
  }),
  event('test.finished', 'a test run has ended', {}, false),
}

---@type table<string, envctl.script.Hook>
M.hooks = {}
for _, h in ipairs(M.hook_list) do
  M.hooks[h.name] = h
end

--- The shape of a script.
---@return table
function M.shape()
  return shapes.script(M.by_name, M.hooks, M.modules)
end

return M
