--- `script check`: everything that can be known about scripts before they are needed. Loads them, merges their services with what
--- is on disk, and holds overrides and modules to what is declared about them.
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local task = require 'envctl.task'
local merge = require 'envctl.script.merge'
local points = require 'envctl.script.points'
local problems = require 'envctl.script.problems'

local M = {}

---@class envctl.script.Findings
---@field errors table[] error objects as data
---@field warnings table[]

local function add(list, e)
  list[#list + 1] = err.to_table(err.is(e) and e or err.wrap(e), json.null)
end

-- The same call in two processes: a decision must not depend on anything else than its input.
local function twice(session, call)
  local first = table.pack(task.try(call, session))
  session:restart()
  local second = table.pack(task.try(call, session))
  local same = first[1] == second[1] and (not first[1] or json.encode_line(first[2]) == json.encode_line(second[2]))
  return first, same
end

local function differs(o, path)
  return problems.new {
    file = o.file, line = o.line, path = path, message = 'gives another answer every time',
    hint = 'the same facts have to give the same plan: use nothing but ctx and base(ctx)',
  }
end

local function check_points(session, out)
  for _, point in ipairs(points.list) do
    local list = session.overrides[point.name]
    if list then
      local top, path = list[#list], { 'override', point.name }
      local result, same = twice(session, function()
        return session:call(point.name, point.sample.input, function()
          return merge.copy(point.sample.output)
        end)
      end)
      if not result[1] then
        -- A wrong answer is wrong; a script that does not know the example may still know this repository.
        local e = result[2]
        local wrong_answer = e.message:find(': expected ', 1, true) ~= nil
        e.hint = wrong_answer and e.hint or 'this was with the example of `envctl script points ' .. point.name .. '`'
        add(wrong_answer and out.errors or out.warnings, e)
      elseif not same then
        add(out.errors, differs(top, path))
      end
    end
  end
end

local names_of = require('envctl.util.names').sorted

local function not_called(m, module, out)
  local known = names_of(module.functions)
  for _, name in ipairs(names_of(m.functions)) do
    local fn = m.functions[name]
    -- What the bundled one has beside its interface, a copy of it has as well.
    if fn and not module.functions[name] and not require(module.source)[name] then
      add(out.warnings, problems.new {
        code = 'script_unused', file = fn.file, line = fn.line, path = { 'modules', module.name, name },
        message = 'is not called by anything', hint = 'known functions: ' .. table.concat(known, ', '),
      })
    end
  end
end

-- Every function the same twice, and all of the bundled module's contract.
local function check_module(session, module, m, out)
  local ok, functions = task.try(session.module, session, module.name)
  if not ok then
    return add(out.errors, functions)
  end
  local failed = false
  for _, name in ipairs(names_of(functions)) do
    local result, same = twice(session, function()
      return (functions[name](table.unpack(module.functions[name].sample())))
    end)
    failed = failed or not result[1]
    if not result[1] then
      add(out.errors, result[2])
    elseif not same then
      add(out.errors, differs(m, { 'modules', module.name, name }))
    end
  end
  for _, failure in ipairs(failed and {} or require(module.contract).run(functions)) do
    local e = failure.error
    add(out.errors, problems.new {
      file = m.file, line = m.line, path = { 'modules', module.name },
      message = 'contract: ' .. failure.name .. ': ' .. (failure.message or e.message),
      hint = 'envctl relies on it; `envctl script eject ' .. module.name .. ' --module` writes one that holds to it',
    })
  end
end

local function check_modules(session, out)
  for _, module in ipairs(points.module_list) do
    local list = module.available and session.modules[module.name]
    if list then
      check_module(session, module, list[#list], out)
      not_called(list[#list], module, out)
    end
  end
end

-- The services of the main project with the scripts on top, as a start would see them.
local function check_services(session, ctx, out)
  local project = { name = 'Main', mode = 'main', root = ctx.roots.root }
  local ok, found = task.try(function()
    return require('envctl.detect').services(project, ctx.settings)
  end)
  local lower = ok and found.services or {}
  project.skipped = ok and found.skipped or {}
  local list
  ok, found, list = task.try(function()
    local _, skipped, wrong = session:merge_services(project, lower)
    return skipped, wrong
  end)
  if not ok then
    add(out.errors, found)
    return
  end
  for _, p in ipairs(list) do
    out.errors[#out.errors + 1] = { code = p.code, message = p.message, hint = p.hint or json.null, where = p.where }
  end
end

-- Settings and dependencies, read into settings that nobody uses.
local function check_settings(session, ctx, out)
  local nobody = setmetatable({ values = {}, is_set = function() end }, { __index = ctx.settings })
  for _, read in ipairs { require('envctl.script.join').settings, require('envctl.deps.scripted').read } do
    local ok, e = task.try(read, session, nobody)
    if not ok then
      add(out.errors, e)
    end
  end
end

-- What a start would say about them: who needs what, placeholders, settings. What stands in its way today (a port, a daemon that
-- is down, trust) is nothing wrong with a script.
local OF_SCRIPTS = { script_invalid = true, config_invalid = true, unknown_need = true, dependency_cycle = true }

--- Adds what a start would say; for scripts that are right so far. Awaits.
---@param ctx envctl.Context
---@param out envctl.script.Findings
function M.plan(ctx, out)
  local nobody = function() end
  local inner = require('envctl.context').new({
    command = 'start', mode = 'main', implicit = true, repo = ctx.route.repo, flags = { headless = true },
    projects = {}, services = {}, args = {},
  }, { is_json = true, note = nobody, text = nobody, json = nobody })
  local ok, facts, document = task.try(require('envctl.facts').plan, inner)
  inner:close()
  if not ok then
    return add(out.errors, facts)
  end
  for _, e in ipairs(document.blockers) do
    out.errors[#out.errors + 1] = OF_SCRIPTS[e.code] and e or nil
  end
  for _, e in ipairs(document.warnings) do
    out.warnings[#out.warnings + 1] = e.code == 'script_command' and e or nil
  end
end

--- Checks.
---@param session envctl.script.Session
---@param ctx table
---@return envctl.script.Findings
function M.run(session, ctx)
  local out = { errors = json.array {}, warnings = json.array {} }
  local loaded = session:load { collect = true }
  for _, e in ipairs(loaded.errors) do
    add(out.errors, e)
  end
  if #loaded.errors > 0 then
    return out
  end
  for _, w in ipairs(loaded.warnings) do
    out.warnings[#out.warnings + 1] = { code = w.code, message = w.message, hint = json.null, where = w.where }
  end
  check_settings(session, ctx, out)
  check_services(session, ctx, out)
  check_points(session, out)
  check_modules(session, out)
  return out
end

return M
