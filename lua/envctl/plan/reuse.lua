--- What is saved and what the plan wants, for the reconciler; whether this is a fresh start or a return. Pure.
local json = require 'envctl.util.json'
local names = require 'envctl.state.names'
local reconcile = require('envctl.resume.reconcile').reconcile
local SHARED = require('envctl.deps.plan').SHARED

local M = {}

--- What is saved about this mode. Both modes can run at once: a state is of the one that was started last, a record of its own;
--- what is shared is of both.
---@param facts table
---@return envctl.resume.Saved saved, boolean found whether there is anything of this mode alone
function M.saved(facts)
  local out, state = { services = {}, dependencies = {} }, facts.state or {}
  local mine, found = {}, false
  for _, project in ipairs(facts.projects) do
    mine[project.name] = true
  end
  for name, record in pairs(state.services or {}) do
    if (record.mode or state.mode) == facts.mode then
      out.services[name], found = record, true
    end
  end
  for project, requirement in pairs(state.requirements or {}) do
    local own = mine[project] == true or state.mode == facts.mode
    for id, component in pairs((own or project == SHARED) and requirement.components or {}) do
      out.dependencies[names.short(project, id)], found = component, found or own
    end
  end
  return out, found
end

-- restart and `start --no-resume` replace what lives; everything else keeps what is as it should be.
local function replacement_reason(facts)
  if facts.command == 'restart' then
    return 'restart was asked for'
  elseif facts.no_resume then
    return 'asked not to resume'
  end
end

local function wanted_of(facts, plan)
  local selected = json.array {}
  for i, project in ipairs(facts.projects) do
    selected[i] = project.name
  end
  return {
    projects = plan.projects, shared = plan.shared, selected = selected, partial = facts.service_filter ~= nil,
    replace = replacement_reason(facts), heal = facts.command == 'resume',
  }
end

-- Every dependency and service of a plan that somebody runs.
local function each_planned(plan, fn)
  local holders = { plan.shared }
  for _, holder in ipairs(table.move(plan.projects, 1, #plan.projects, #holders + 1, holders)) do
    for _, entry in ipairs(holder.dependencies) do
      if entry.provider ~= json.null then
        fn(holder, entry.id, entry)
      end
    end
    for _, service in ipairs(holder.services or {}) do
      fn(holder, service.name)
    end
  end
end

local function key_of(project, name, dependency)
  return (dependency and 'dependency ' or 'service ') .. names.short(project, name)
end

--- What resume.reconcile says, which dependencies of the plan get to know. What it leaves out may run, for all that is known.
---@param facts table
---@param plan table
---@param decide fun(point: string, input: any, base: fun(input: table): any): any
---@return envctl.resume.Action[] actions, boolean found whether anything was saved
function M.actions(facts, plan, decide)
  local saved, found = M.saved(facts)
  local input = { saved = saved, truth = facts.truth, wanted = wanted_of(facts, plan) }
  local function base(given)
    return reconcile(given.saved, given.truth, given.wanted)
  end
  local list, by_key = found and decide('resume.reconcile', input, base) or base(input), {}
  for _, a in ipairs(list) do
    by_key[key_of(a.project, a.service, a.dependency)] = a
  end
  each_planned(plan, function(holder, name, entry)
    local key = key_of(holder.name, name, entry)
    if not by_key[key] then
      by_key[key] = {
        project = holder.name, service = name, dependency = entry and true, action = 'unknown',
        reason = 'is left out by resume.reconcile', changes = {},
      }
      list[#list + 1] = by_key[key]
    end
    if entry then
      entry.action, entry.reason = by_key[key].action, by_key[key].reason
    end
  end)
  return list, found
end

local RESUMABLE = { start = true, plan = true, resume = true }

local function set_of(list)
  local set, n = {}, 0
  for _, v in ipairs(list) do
    if not set[v] then
      set[v] = true
      n = n + 1
    end
  end
  return set, n
end

local function recorded_projects(facts)
  local list = {}
  for _, record in pairs(M.saved(facts).services) do
    list[#list + 1] = record.project
  end
  return set_of(list)
end

local function relation(facts, selected)
  local recorded, recorded_count = recorded_projects(facts)
  if recorded_count == 0 or facts.state.metadata and facts.state.metadata.failed then
    return 'no_matching_state'
  end
  local wanted, wanted_count = set_of(selected)
  if wanted_count == 0 then
    return 'no_selected_projects'
  end
  local common = 0
  for name in pairs(wanted) do
    common = common + (recorded[name] and 1 or 0)
  end
  if common == wanted_count and common == recorded_count then
    return 'exact'
  elseif common == wanted_count then
    return 'subset'
  elseif common == recorded_count then
    return 'superset'
  end
  return 'project_selection_mismatch'
end

--- The reference's `auto_resume` object.
---@param facts table
---@param selected string[] project names
---@return table
function M.auto_resume(facts, selected)
  local eligible = RESUMABLE[facts.command] == true and not facts.no_resume and not facts.startup_detour
  local match = relation(facts, selected)
  local found = match ~= 'no_matching_state'
  local out = {
    eligible = eligible,
    existing_state_found = found,
    exact_match = match == 'exact',
    subset_match = match == 'subset',
    will_resume = eligible and (match == 'exact' or match == 'subset' or match == 'superset'),
    reason = eligible and match or 'auto_resume_disabled',
  }
  if found then
    out.run_id = facts.state.run_id
  end
  return out
end

local DECISIONS = { exact = 'resume_exact', subset = 'resume_subset', superset = 'reuse_and_extend' }

--- What kind of start this is, when nothing stands in its way.
---@param auto_resume table
---@return string
function M.decision(auto_resume)
  return auto_resume.will_resume and DECISIONS[auto_resume.reason] or 'start_fresh'
end

return M
