--- The planner: facts in, the document of `explain-startup` and the hidden values out. Pure: it reads no file, no clock and no
--- environment, so the same facts always give the same plan and the same digest.
local json = require 'envctl.util.json'
local names = require 'envctl.state.names'
local ports = require 'envctl.plan.ports'
local services = require 'envctl.plan.services'
local digest = require 'envctl.plan.digest'
local reuse = require 'envctl.plan.reuse'
local chosen = require 'envctl.plan.chosen'
local deps = require 'envctl.deps.plan'
local hints = require 'envctl.plan.hints'

local M = {}

-- An error object as it stands in the document: the four fixed keys are always there.
local function object(e)
  local out = {}
  for k, v in pairs(e) do
    out[k] = type(v) == 'table' and v[1] ~= nil and json.array(v) or v
  end
  for _, key in ipairs { 'hint', 'where' } do
    out[key] = e[key] or json.null
  end
  return out
end

---@class envctl.plan.Draft
---@field facts table
---@field blockers table[]
---@field warnings table[]
---@field secrets table<string, table<string, string>>
---@field ports table<string, envctl.plan.Ports>
---@field chosen table<string, table<string, boolean>>? services per project, when only some are meant

local function block(draft, e)
  draft.blockers[#draft.blockers + 1] = object(e)
end

local function warn(draft, e)
  draft.warnings[#draft.warnings + 1] = object(e)
end

-- A service without a base gets a range of its own, from its name, above everything configured.
local RANGES, RANGE = 64, 300

local function free_base(name, highest, used)
  local first = highest + 500 + RANGES * RANGE < ports.MAX_PORT and highest + 500 or 30000
  local step = tonumber(require('envctl.host.hash').sha256(name):sub(1, 8), 16) % RANGES
  for i = 0, RANGES - 1 do
    local base = first + RANGE * ((step + i) % RANGES)
    if not used[base] then
      used[base] = true
      return base
    end
  end
end

--- What a project asks ports for: its services that listen, and the dependencies that are enabled.
---@param project table
---@param config table
---@return envctl.plan.Want[]
function M.wants(project, config)
  local out, used, highest = {}, {}, 0
  for _, base in pairs(config.bases) do
    highest = math.max(highest, base.port)
  end
  for _, s in ipairs(project.services or {}) do
    if s.listens ~= false then
      local base = s.port_base
      if not base and not s.port_fixed then
        base = free_base(s.name, highest, used)
      end
      out[#out + 1] = { id = s.name, base = base, fixed = s.port_fixed, kind = 'service' }
    end
  end
  local more = deps.wants(config, project)
  return table.move(more, 1, #more, #out + 1, out)
end

local function about(project)
  return { name = project.name, mode = project.mode, root = project.root }
end

-- What scripts decide about ports counts like a fixed port: it is not moved out of anybody's way. The name of a dependency means
-- its primary port.
local function ask_ports(facts, list, assigned, decide)
  local changed = false
  for i, project in ipairs(facts.projects) do
    local result, wants = assigned[project.name], json.array {}
    for n, want in ipairs(list[i].wants) do
      wants[n] = { id = want.id, kind = want.kind, base = want.base, fixed = want.fixed }
    end
    local answer = decide('plan.ports', { project = about(project), slot = result.slot, wants = wants }, function()
      local own = {}
      for id, port in pairs(result.ports) do
        own[id] = port
      end
      return own
    end, project.name)
    for _, want in ipairs(list[i].wants) do
      local port = want.whole and answer[want.whole] or answer[want.id]
      if port and port ~= result.ports[want.id] then
        want.fixed, changed = port, true
      end
    end
  end
  return changed
end

--- Ports of every selected project.
---@param facts table
---@param decide? fun(point: string, input: any, base: fun(input: table): any, label: string?): any
---@return table<string, envctl.plan.Ports> by project name
function M.ports(facts, decide)
  local list = {}
  for i, project in ipairs(facts.projects) do
    list[i] = { name = project.name, wants = M.wants(project, facts.config) }
  end
  local shared = deps.shared_wants(facts)
  if #shared > 0 then
    list[#list + 1] = { name = deps.SHARED, wants = shared }
  end
  local assigned = ports.assign_all(facts, list)
  if decide and ask_ports(facts, list, assigned, decide) then
    return ports.assign_all(facts, list)
  end
  return assigned
end

local function service_of(project, id)
  for _, s in ipairs(project.services) do
    if s.name == id then
      return s
    end
  end
end

local function where_of(origin, otherwise)
  if origin and origin.file then
    return origin.line and origin.file .. ':' .. origin.line or origin.file
  end
  return otherwise
end

local function holder_data(holder)
  return {
    kind = holder.kind, pid = holder.pid, command = holder.command,
    project = holder.project, service = holder.service, repo = holder.repo,
  }
end

local function moved_text(project, result)
  local list = {}
  for _, s in ipairs(project.services) do
    if result.ports[s.name] and not s.port_fixed then
      list[#list + 1] = s.name .. '=' .. result.ports[s.name]
    end
  end
  return table.concat(list, ' ')
end

local function report_move(draft, project, result)
  local move = result.moved
  local c = move.conflicts[1]
  warn(draft, {
    code = 'port_moved',
    message = string.format('port %d of %s is %s; %s moves to %s', c.port, names.short(project.name, c.id),
      ports.describe(c.holder), project.name, moved_text(project, result)),
    hint = 'all ports of a project move together, and stay where they are from now on',
    where = names.short(project.name, c.id),
    port = c.port, before = c.port, after = result.ports[c.id], holder = holder_data(c.holder),
  })
end

local function fixed_problem(project, p)
  local service = service_of(project, p.id)
  local short = names.short(project.name, p.id)
  local origin = service and service.origin and service.origin.port
  return {
    code = 'port_taken',
    message = string.format('port %d of %s is %s', p.port, short, ports.describe(p.holder)),
    hint = (p.holder.kind == 'planned' and '' or 'stop what holds it, or ') .. 'give ' .. p.id .. ' another port',
    where = where_of(origin, short),
    port = p.port, holder = holder_data(p.holder),
  }
end

local function port_problem(draft, project, p)
  if p.code == 'port_taken' then
    block(draft, fixed_problem(project, p))
  elseif p.code == 'same_base' then
    block(draft, {
      code = 'config_invalid', message = string.format('%s and %s start from the same port %d', p.other, p.id, p.port),
      hint = 'give one of them another base', where = project.name,
    })
  else
    local c = p.conflicts[1]
    local why = c and string.format(' (port %d is %s)', c.port, ports.describe(c.holder)) or ''
    block(draft, {
      code = 'no_free_port', message = 'no free ports are left for ' .. project.name .. why,
      hint = 'use lower port bases, or release ports that are reserved', where = project.name,
    })
  end
end

local function layer_problem(draft, project, p)
  if p.code == 'dependency_cycle' then
    block(draft, {
      code = 'dependency_cycle', message = 'services need each other in a circle: ' .. table.concat(p.cycle, ' -> '),
      hint = 'take one of these needs out', where = names.short(project.name, p.cycle[1]), cycle = p.cycle,
    })
  elseif p.code == 'need_skipped' then
    warn(draft, {
      code = 'need_skipped', message = string.format('%s needs %s, which is not started', p.service, p.need),
      where = names.short(project.name, p.service),
    })
  else
    block(draft, {
      code = 'unknown_need', message = string.format('%s needs "%s", which is neither a service nor a dependency here',
        p.service, p.need),
      hint = hints.need(draft.facts, M.service_names(project), p.need),
      where = where_of((service_of(project, p.service).origin or {}).needs, names.short(project.name, p.service)),
    })
  end
end

--- Names of a project's services in the order of their definition.
---@param project table
---@return string[]
function M.service_names(project)
  local out = {}
  for i, s in ipairs(project.services) do
    out[i] = s.name
  end
  return out
end

local function scope_of(draft, project)
  local own = deps.numbers(draft.ports, project.name)
  local addresses = {}
  for _, s in ipairs(project.services) do
    local port = own[s.name]
    addresses[s.name] = { port = port, url = port and services.url(port) }
  end
  return {
    project = project.name, root = project.root, ports = own, services = addresses, env = draft.facts.env or {},
    sources = deps.values(draft.facts, project, own),
  }
end

local function unknown_placeholder(draft, project, scope, service, name, variable)
  local what = variable and service .. '.env.' .. variable or service .. '.command'
  local origin = service_of(project, service).origin or {}
  block(draft, {
    code = 'config_invalid', message = string.format('%s: ${%s} has no value', what, name),
    hint = hints.placeholder(scope, name),
    where = where_of(origin[variable and 'env' or 'command'], names.short(project.name, service)),
  })
end

local function plan_services(draft, project)
  local known = {}
  for _, id in ipairs(draft.facts.config.dependencies) do
    known[id] = true
  end
  local layers, problems = services.layers(project, known)
  for _, p in ipairs(problems) do
    layer_problem(draft, project, p)
  end
  local scope = scope_of(draft, project)
  local only = draft.chosen and (draft.chosen[project.name] or {})
  local list = {}
  for i, s in ipairs(project.services) do
    if not only or only[s.name] then
      local out, secrets = services.build(s, {
        project = project,
        scope = scope,
        layer = layers[s.name],
        facts = draft.facts,
        decide = draft.decide,
        report = function(service, name, variable)
          unknown_placeholder(draft, project, scope, service, name, variable)
        end,
      })
      if next(secrets) then
        draft.secrets[project.name .. '/' .. s.name] = secrets
      end
      list[#list + 1] = { order = i, service = out }
    end
  end
  table.sort(list, function(a, b)
    if a.service.layer ~= b.service.layer then
      return a.service.layer < b.service.layer
    end
    return a.order < b.order
  end)
  local out = json.array {}
  for i, item in ipairs(list) do
    out[i] = item.service
  end
  return out
end

-- One that is enabled without a way to run it is said: facts that did not look have none.
local function not_started(draft, project, id)
  if not draft.facts.config.providers then
    warn(draft, {
      code = 'dependency_not_started', message = id .. ' is enabled, but nothing is known that could run it',
      hint = 'start it yourself, or switch it off', where = names.short(project.name, id),
    })
  end
  return {
    id = id, provider = json.null, why = 'nothing is known that could run it', scope = 'isolated',
    ports = { [id] = draft.ports[project.name].ports[id] }, provides = {}, ready = json.null, needs = json.array {},
  }
end

-- Ports, logs, records and what people type go by names, and nobody minds upper case there.
local function block_same_names(draft, project)
  local seen = {}
  for _, service in ipairs(project.services) do
    local lower = service.name:lower()
    if seen[lower] then
      block(draft, {
        code = 'config_invalid',
        message = ('%s and %s are the same name but for upper case'):format(seen[lower], service.name),
        hint = 'give one of the services another name',
        where = where_of((service.origin or {}).command, names.short(project.name, service.name)),
      })
    end
    seen[lower] = service.name
    for _, id in ipairs(deps.ids(draft.facts.config, project)) do
      if service.name == id then
        block(draft, {
          code = 'config_invalid', message = ('"%s" is the name of a service and of a dependency'):format(id),
          hint = 'give the service another name, or switch the dependency off', where = names.short(project.name, id),
        })
      end
    end
  end
end

-- A dependency can be left out of one project that another one needs.
local function check_needs(draft, project, entry, there)
  for _, need in ipairs(entry.needs) do
    if not there[need] then
      warn(draft, {
        code = 'need_skipped',
        message = string.format('%s needs %s, which %s does not get', entry.id, need, project.name),
        where = names.short(project.name, entry.id),
      })
    end
  end
end

local function plan_dependencies(draft, project)
  local out, facts, there = json.array {}, draft.facts, {}
  block_same_names(draft, project)
  local ids = deps.ids(facts.config, project)
  for _, id in ipairs(ids) do
    there[id] = true
  end
  for _, id in ipairs(ids) do
    if facts.config.providers and facts.config.providers[id] then
      local numbers = deps.numbers(draft.ports, project.name)
      local entry, secrets = deps.build(facts, project, id, numbers)
      out[#out + 1] = entry
      check_needs(draft, project, entry, there)
      -- Not the name of a service: no service begins with '@'.
      draft.secrets[project.name .. '/@' .. id] = secrets
    else
      out[#out + 1] = not_started(draft, project, id)
    end
  end
  return out
end

-- Servers that the projects of the repository share: once, beside the projects.
local function plan_shared(draft)
  local facts, result = draft.facts, draft.ports[deps.SHARED]
  if not result then
    return nil
  end
  local holder = { name = deps.SHARED, root = facts.control_root, services = {} }
  for _, p in ipairs(result.problems) do
    port_problem(draft, holder, p)
  end
  local list, secrets = deps.build_shared(facts, deps.numbers(draft.ports, deps.SHARED))
  for id, hidden in pairs(secrets) do
    draft.secrets[deps.SHARED .. '/@' .. id] = hidden
  end
  return {
    name = deps.SHARED, root = facts.control_root, slot = result.slot, ports = result.ports, dependencies = list,
  }
end

local function plan_project(draft, project)
  local result = draft.ports[project.name]
  for _, p in ipairs(result.problems) do
    port_problem(draft, project, p)
  end
  if result.moved then
    report_move(draft, project, result)
  end
  local list = plan_services(draft, project)
  if #list == 0 and draft.chosen then
    return nil -- other services were named
  end
  -- Databases alone are an environment too.
  local dependencies = plan_dependencies(draft, project)
  if #list == 0 and #dependencies == 0 then
    return nil
  end
  local own = {}
  for id, port in pairs(result.ports) do
    own[id] = port
  end
  return {
    name = project.name,
    mode = project.mode,
    root = project.root,
    worktree = project.worktree or json.null,
    slot = result.slot,
    ports = own,
    dependencies = dependencies,
    services = list,
  }
end

local function detection_notes(draft)
  local skipped = json.array {}
  for _, project in ipairs(draft.facts.projects) do
    for _, s in ipairs(project.skipped or {}) do
      skipped[#skipped + 1] = { project = project.name, service = s.name, reason = s.reason }
    end
    for _, p in ipairs(project.problems or {}) do
      block(draft, p)
    end
    for _, w in ipairs(project.warnings or {}) do
      warn(draft, w)
    end
  end
  return skipped
end

-- Puts the actions into the plan, where anything was saved. What may run already is never started a second time, and never taken
-- down on a guess.
local function act(draft, plan)
  local changes, actions = json.array {}, json.array {}
  local list, found = reuse.actions(draft.facts, plan, draft.decide)
  for i, a in ipairs(list) do
    actions[i] = {
      project = a.project, service = a.service, dependency = a.dependency, action = a.action,
      reason = a.reason or json.null,
    }
    for _, c in ipairs(a.changes or {}) do
      changes[#changes + 1] = {
        project = a.project, service = a.service, dependency = a.dependency, field = c.field,
        before = c.before == nil and json.null or c.before, after = c.after == nil and json.null or c.after,
      }
    end
    if a.action == 'unknown' then
      local name = (a.dependency and names.short or names.display)(a.project, a.service)
      block(draft, {
        code = 'state_unknown', message = name .. ' ' .. (a.reason or 'is unknown'), hint = 'run envctl stop-all first',
        where = names.short(a.project, a.service),
      })
    end
  end
  plan.actions = found and actions or nil
  return changes
end

local function build_plan(draft)
  local facts = draft.facts
  draft.ports = M.ports(facts, draft.decide)
  local problems
  draft.chosen, problems = chosen.services(facts)
  for _, p in ipairs(problems) do
    block(draft, p)
  end
  if draft.chosen then
    chosen.add_moved(facts, draft.chosen, draft.ports)
  end
  local plan = { projects = json.array {} }
  for _, project in ipairs(facts.projects) do
    plan.projects[#plan.projects + 1] = plan_project(draft, project)
  end
  plan.shared = #plan.projects > 0 and plan_shared(draft) or nil
  local changes = act(draft, plan)
  -- Nothing planned and nothing to take down: there is no plan. What still runs of it has to be ended, though.
  if #plan.projects == 0 and #(plan.actions or {}) == 0 then
    return json.null, changes
  end
  plan.digest = digest.plan(plan)
  return plan, changes
end

-- Explicitly enabled, found nowhere, and nothing else there to start: that is a mistake, not a choice.
local function nothing_startable(draft)
  local missing, where = {}, nil
  for _, project in ipairs(draft.facts.projects) do
    for _, s in ipairs(project.skipped or {}) do
      if s.enabled and s.origin and s.origin.layer ~= 'bundled' then
        missing[#missing + 1] = s.reason
        where = where or where_of(s.origin, project.name)
      end
    end
  end
  if #missing > 0 then
    block(draft, {
      code = 'nothing_to_start',
      message = 'nothing to start: ' .. table.concat(missing, '; '),
      hint = 'set ENVCTL_BACKEND_START_CMD or ENVCTL_FRONTEND_START_CMD, or switch off what is not there',
      where = where,
    })
  end
end

-- What there is to resume when it is not of this mode.
local function other_mode(facts)
  local other = facts.mode == 'main' and 'trees' or 'main'
  for _, record in pairs(facts.state and facts.state.services or {}) do
    if (record.mode or facts.state.mode) == other then
      return ('there is one of %s mode: envctl resume --%s'):format(other, other)
    end
  end
end

local function gate(draft)
  local facts = draft.facts
  local config = facts.config
  if facts.state_error then
    block(draft, facts.state_error)
  end
  if facts.ports_error then
    block(draft, facts.ports_error)
  end
  if facts.untrusted then
    block(draft, facts.untrusted)
  end
  local _, recorded = reuse.saved(facts)
  if not facts.configured and not (facts.command == 'resume' and recorded) then
    block(draft, {
      code = 'config_missing', message = 'there is no .envctl in ' .. facts.control_root,
      hint = 'run envctl config, or start envctl in a terminal to be asked', where = facts.control_root .. '/.envctl',
    })
  end
  for _, e in ipairs(facts.config_errors or {}) do
    block(draft, e)
  end
  for _, e in ipairs(facts.config_warnings or {}) do
    warn(draft, e)
  end
  if config.conflict then
    block(draft, config.conflict)
  end
  for _, e in ipairs(facts.selection.problems or {}) do
    block(draft, e)
  end
  if facts.selection.required and facts.headless then
    block(draft, {
      code = 'target_required',
      message = 'nothing is selected in ' .. facts.mode .. ' mode',
      hint = facts.selection.message,
    })
  end
  if facts.command == 'resume' and not recorded and not facts.state_error then
    block(draft, {
      code = 'state_missing', message = 'there is no saved state of ' .. facts.mode .. ' mode to resume',
      hint = other_mode(facts) or 'run envctl start' .. (facts.mode == 'trees' and ' --trees' or ''),
    })
  end
end

local function disabled(draft)
  local facts = draft.facts
  if facts.implicit or facts.command == 'plan' or facts.selection.create then
    return
  end
  block(draft, {
    code = 'startup_disabled', message = 'runs are switched off for ' .. facts.mode .. ' mode',
    hint = 'set ' .. facts.mode:upper() .. '_STARTUP_ENABLE=true, or run envctl config',
    where = where_of(facts.config.startup_origin),
  })
end

local function parallel_trees(facts)
  local count = math.max(#facts.projects, #facts.discovered)
  local workers = math.min(facts.config.parallel.max, count)
  if facts.mode ~= 'trees' or not facts.config.parallel.enabled or workers < 2 then
    return { enabled = false, workers = 1 }
  end
  return { enabled = true, workers = workers }
end

local function names_of(list)
  local out = json.array {}
  for i, item in ipairs(list) do
    out[i] = type(item) == 'string' and item or item.name
  end
  return out
end

local function new_trees(trees)
  local out = json.array {}
  for i, t in ipairs(trees) do
    out[i] = { project = t.project, branch = t.branch, base = t.base, root = t.path, plan = t.plan or json.null }
  end
  return out
end

local function plans_of(list)
  local out = json.array {}
  for i, plan in ipairs(list) do
    out[i] = plan.id
  end
  return out
end

local function selection_object(facts)
  local s = facts.selection
  return {
    required = s.required,
    reason = s.reason or json.null,
    message = s.message,
    planning_files = s.planning_files and json.array(s.planning_files) or nil,
    create = s.trees and #s.trees > 0 and new_trees(s.trees) or nil,
    remove = s.remove and #s.remove > 0 and names_of(s.remove) or nil,
    archive = s.archive and #s.archive > 0 and plans_of(s.archive) or nil,
    selected_projects = names_of(facts.projects),
    discovered_projects = names_of(facts.discovered),
    preselected_projects = names_of(s.preselected or {}),
  }
end

local function enabled_services(facts)
  local out = {}
  for name, enabled in pairs(facts.config.services) do
    out[name] = enabled and facts.config.startup_enabled
  end
  return out
end

local function notices(facts)
  local out = json.array {}
  for i, n in ipairs(facts.notices or {}) do
    out[i] = object(n)
  end
  return out
end

local function decide(draft, auto_resume, plan)
  local facts = draft.facts
  if #draft.blockers > 0 then
    return 'blocked'
  elseif facts.selection.required then
    return 'open_selector'
  elseif not facts.config.startup_enabled or plan == json.null then
    return 'dashboard_only'
  end
  local recorded = json.array {}
  for _, project in ipairs(facts.selection.recorded or {}) do
    recorded[#recorded + 1] = project
  end
  return draft.decide('reuse.decide', { mode = facts.mode, recorded = recorded }, function()
    return reuse.decision(auto_resume)
  end)
end

local function bundled_decision(_, input, base)
  return base(input)
end

-- Facts as plain JSON: a table by port is a table by text there.
local function plain(v)
  if type(v) ~= 'table' then
    return v
  end
  local out = json.is_array(v) and json.array {} or {}
  local list = json.is_array(v)
  for k, x in pairs(v) do
    if type(x) ~= 'function' then
      out[(list or type(k) == 'string') and k or tostring(k)] = plain(x)
    end
  end
  return out
end

local function build_document(facts, decide_point)
  local draft = {
    facts = facts, decide = decide_point, blockers = json.array {}, warnings = json.array {}, secrets = {},
  }
  local on = facts.config.startup_enabled
  gate(draft)
  local skipped = detection_notes(draft)
  local plan, changes = json.null, json.array {}
  if not on then
    disabled(draft)
  elseif #facts.projects > 0 then
    plan, changes = build_plan(draft)
    if plan == json.null then
      nothing_startable(draft)
    end
  end
  local auto_resume = reuse.auto_resume(facts, names_of(facts.projects))
  local document = {
    schema = 'envctl.explain_startup.v1',
    command = 'explain-startup',
    explains = facts.command,
    mode = facts.mode,
    headless = facts.headless,
    interactive_tty = facts.interactive_tty,
    startup_enabled = on,
    reason = not on and 'config_startup_disabled' or nil,
    services = enabled_services(facts),
    dependencies = on and names_of(facts.config.dependencies) or json.array {},
    parallel_trees = parallel_trees(facts),
    selection = selection_object(facts),
    auto_resume = auto_resume,
    decision = decide(draft, auto_resume, plan),
    blockers = draft.blockers,
    warnings = draft.warnings,
    notices = notices(facts),
    changes = changes,
    skipped = skipped,
    scripts = json.array(facts.scripts or {}),
    overrides = json.array(facts.overrides or {}),
    plan = plan,
  }
  return document, draft.secrets
end

--- A document that scripts had a hand in, in the form of the planner's own: lists are lists, what is null there is null here, and
--- the digests are right.
---@param document table
---@param model table the planner's document for the same facts
---@return table
function M.settle(document, model)
  local out = require('envctl.util.like').like(model, document)
  if type(out.plan) == 'table' and out.plan ~= json.null then
    digest.seal(out.plan)
  end
  return out
end

--- Builds the document.
---@param facts table
---@param decide_point? fun(point: string, input: any, base: fun(input: table): any, label: string?): any asks override points
---@return table document, table<string, table<string, string>> secrets
function M.build(facts, decide_point)
  decide_point = decide_point or bundled_decision
  local document, secrets = build_document(facts, decide_point)
  local answer = decide_point('plan.startup', function()
    return plain(facts)
  end, function()
    return document
  end)
  if answer ~= document then
    answer = M.settle(answer, document)
  end
  return answer, secrets
end

return M
