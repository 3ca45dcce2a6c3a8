--- What runs already and what the plan wants -> what to do per service, and whether this is a fresh start or a return. Pure.
local json = require 'envctl.util.json'
local names = require 'envctl.state.names'
local digest = require 'envctl.plan.digest'

local M = {}

--- Records of the saved state by display name, when the state is of this mode.
---@param facts table
---@return table<string, table>
function M.records(facts)
  if facts.state and facts.state.mode == facts.mode then
    return facts.state.services or {}
  end
  return {}
end

--- What is saved about dependencies, by project, when the state is of this mode.
---@param facts table
---@return table<string, table>
function M.dependencies(facts)
  if facts.state and facts.state.mode == facts.mode then
    return facts.state.requirements or {}
  end
  return {}
end

local function as_text(value)
  if type(value) == 'table' then
    return json.encode_line(value)
  end
  return value
end

-- Null in a plan and absent in a record mean the same.
local function known(value)
  if value == json.null then
    return nil
  end
  return value
end

local function nullable(value)
  return value == nil and json.null or value
end

local function differs(a, b)
  return as_text(known(a)) ~= as_text(known(b))
end

local function compare(before, after, put, prefix)
  local keys, seen = {}, {}
  for _, t in ipairs { before, after } do
    for k in pairs(t) do
      if not seen[k] then
        seen[k] = true
        keys[#keys + 1] = k
      end
    end
  end
  table.sort(keys)
  for _, k in ipairs(keys) do
    local a, b = known(before[k]), known(after[k])
    if k == 'env' and type(a) == 'table' and type(b) == 'table' then
      compare(a, b, put, 'env.')
    elseif differs(a, b) then
      put(prefix .. k, a, b)
    end
  end
end

-- What differs between the record of a running service and the plan. Records hold the service as it was planned in `plan`.
local function changes_of(record, service)
  local out = {}
  local function put(field, before, after)
    out[#out + 1] = { field = field, before = nullable(before), after = nullable(after) }
  end
  if type(record.plan) == 'table' then
    compare(digest.material(record.plan), digest.material(service), put, '')
    return out
  end
  if record.requested_port ~= known(service.port) then
    put('port', record.requested_port, service.port)
  end
  if #out == 0 then
    put('plan_digest', record.plan_digest, service.plan_digest)
  end
  return out
end

local function fields_of(changes)
  local list = {}
  for i, c in ipairs(changes) do
    list[i] = c.field
  end
  return table.concat(list, ', ')
end

local function is_same(record, service)
  return record.plan_digest == service.plan_digest and record.requested_port == known(service.port)
end

-- restart and `start --no-resume` replace what lives; everything else keeps what is as it should be.
local function replacement_reason(facts)
  if facts.command == 'restart' then
    return 'restart was asked for'
  elseif facts.no_resume then
    return 'asked not to resume'
  end
end

local function judge(facts, record, name, service)
  if not record then
    return 'start', 'is not running yet', {}
  end
  local live = facts.live[name]
  if live == nil then
    local why = facts.live_reasons and facts.live_reasons[name] or 'unknown'
    return 'unknown', 'cannot be told whether it runs: ' .. why, {}
  elseif live == false then
    return 'start', record.status == 'stopped' and 'was stopped' or 'its process is gone', {}
  end
  local changes = not is_same(record, service) and changes_of(record, service) or {}
  local replace = replacement_reason(facts)
  if replace then
    return 'restart', replace, changes
  elseif #changes > 0 then
    return 'restart', 'changed: ' .. fields_of(changes), changes
  end
  return 'keep', 'runs and is unchanged', {}
end

-- Services of the planned projects that the plan no longer has. A selection of services says nothing about the others.
local function leftovers(facts, records, planned, project_names, actions)
  if facts.service_filter then
    return
  end
  local order = {}
  for name in pairs(records) do
    order[#order + 1] = name
  end
  table.sort(order)
  for _, name in ipairs(order) do
    local record = records[name]
    if project_names[record.project] and not planned[name] then
      local live = facts.live[name]
      local action, reason = 'forget', 'is no longer part of the plan and does not run'
      if live then
        action, reason = 'stop', 'is no longer part of the plan'
      elseif live == nil then
        action, reason = 'unknown', 'is no longer part of the plan; it cannot be told whether it runs'
      end
      actions[#actions + 1] = { project = record.project, service = record.service, action = action, reason = reason }
    end
  end
end

--- Actions per service, when a state of this mode exists.
---@param facts table
---@param plan table
---@return table[]? actions, table[] changes
function M.actions(facts, plan)
  local records = M.records(facts)
  local changes = json.array {}
  if next(records) == nil then
    return nil, changes
  end
  local actions, planned, project_names = json.array {}, {}, {}
  for _, project in ipairs(facts.projects) do
    project_names[project.name] = true
  end
  for _, project in ipairs(plan.projects) do
    for _, service in ipairs(project.services) do
      local name = names.display(project.name, service.name)
      planned[name] = true
      local action, reason, differences = judge(facts, records[name], name, service)
      actions[#actions + 1] = { project = project.name, service = service.name, action = action, reason = reason }
      for _, c in ipairs(differences) do
        c.project, c.service = project.name, service.name
        changes[#changes + 1] = c
      end
    end
  end
  leftovers(facts, records, planned, project_names, actions)
  return actions, changes
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
  for _, record in pairs(M.records(facts)) do
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
