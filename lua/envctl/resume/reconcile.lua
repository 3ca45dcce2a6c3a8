--- What is saved, what is true and what is wanted -> what happens to every service and dependency, and why. Pure: `start`,
--- `restart`, `resume` and `explain-startup` all go by it, and scripts can take part in it or replace it.
local json = require 'envctl.util.json'
local sorted = require('envctl.util.names').sorted
local equal = require('envctl.util.like').equal
local path = require 'envctl.util.path'
local names = require 'envctl.state.names'
local exit_text = require('envctl.state.exit').text
local digest = require 'envctl.plan.digest'

local M = {}

local MASK = '***'

---@class envctl.resume.Saved records of the saved state
---@field services table<string, table> by display name
---@field dependencies table<string, table> by "project/id"

---@class envctl.resume.Fact what is true of one record
---@field alive boolean? nil: it cannot be told
---@field why string? the word of procfs for what is not alive or not known, else what is wrong with it
---@field status string as envctl.resume.health has them
---@field keeps_port boolean? it has ended, and what it left behind still has its socket

---@class envctl.resume.Truth
---@field services table<string, envctl.resume.Fact> by display name
---@field dependencies table<string, envctl.resume.Fact> by "project/id"

---@class envctl.resume.Wanted
---@field projects table[] of the plan: {name, root, services, dependencies}
---@field shared table? of the plan: {name, dependencies}
---@field selected string[] the projects that are meant, with or without anything to run
---@field partial boolean? only some services were asked for, which says nothing about the others
---@field replace string? why everything that runs is replaced
---@field heal boolean? what runs, but is not as it should be, is restarted; else it is only called so

---@class envctl.resume.Action
---@field project string
---@field service string name of the service, or id of the dependency
---@field dependency true?
---@field action 'keep'|'restart'|'start'|'stop'|'forget'|'unknown' unknown: nothing is done, and nothing is started beside it
---@field reason string
---@field changes {field: string, before: any, after: any}[] what differs between what runs and what is wanted; secrets masked

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

-- Hidden values leave a mark in the plan, which says nothing to anybody.
local MARKS = { secrets_mark = true, secret_mark = true }

local function compare(out, before, after, prefix)
  local keys = {}
  for _, t in ipairs { before, after } do
    for k in pairs(t) do
      keys[k] = true
    end
  end
  for _, k in ipairs(sorted(keys)) do
    local a, b = known(before[k]), known(after[k])
    if k == 'env' and type(a) == 'table' and type(b) == 'table' then
      compare(out, a, b, 'env.')
    elseif not equal(a, b) then
      local field = prefix .. k
      if MARKS[k] then
        field, a, b = 'secrets', a and MASK, b and MASK
      end
      out[#out + 1] = { field = field, before = nullable(a), after = nullable(b) }
    end
  end
  return out
end

-- Records hold the service as it was planned in `plan`; one without it only tells its port and its digest.
local function service_changes(record, project, service)
  local cwd = path.absolute(service.dir, project.root)
  local moved = record.cwd and path.absolute(record.cwd, '/') ~= cwd
  if not moved and record.plan_digest == service.plan_digest and record.requested_port == known(service.port) then
    return {}
  end
  local out
  if type(record.plan) == 'table' then
    out = compare({}, digest.service_material(record.plan), digest.service_material(service), '')
  else
    out = compare({}, { port = record.requested_port }, { port = service.port }, '')
    if #out == 0 then
      out = compare(out, { plan_digest = record.plan_digest }, { plan_digest = service.plan_digest }, '')
    end
  end
  local told = type(record.plan) == 'table' and record.plan.dir ~= service.dir
  return moved and not told and compare(out, { cwd = record.cwd }, { cwd = cwd }, '') or out
end

local function dependency_changes(record, entry)
  if record.plan_digest == entry.plan_digest then
    return {}
  end
  local before, after = record.plan, digest.dependency_material(entry)
  if type(before) ~= 'table' then
    before, after = { plan_digest = record.plan_digest }, { plan_digest = entry.plan_digest }
  end
  return compare({}, before, after, '')
end

local WHY = {
  gone = 'its process is gone',
  zombie = 'its process has ended',
  reused = 'its process is gone, and its pid is another\'s',
  reboot = 'the machine was started again',
  never_started = 'was never started',
  other_pid_namespace = 'it was started in another container',
  no_procfs = 'there is no /proc',
}

local function ended(record, fact)
  if record.status == 'stopped' then
    return 'was stopped'
  end
  return exit_text(record.exit) or WHY[fact.why] or WHY.gone
end

local function untold(fact)
  return 'cannot be told whether it runs: ' .. (WHY[fact.why] or fact.why or 'unknown')
end

-- What runs, but not as it should. A port counts that it was once seen to listen on.
local function sick(record, fact)
  if fact.status == 'unhealthy' then
    return 'is not healthy' .. (fact.why and ': ' .. fact.why or '')
  elseif fact.status == 'unreachable' and record.actual_port then
    return fact.why or 'it does not listen'
  end
end

local function fields_of(changes)
  local list = {}
  for i, c in ipairs(changes) do
    list[i] = c.field
  end
  return table.concat(list, ', ')
end

-- What was started once. `changes`: how it differs from what is wanted.
local function judge(record, fact, changes, replace, heal)
  if fact.alive == nil then
    return 'unknown', untold(fact)
  elseif not fact.alive then
    return 'start', ended(record, fact)
  elseif replace then
    return 'restart', replace, changes
  elseif #changes > 0 then
    return 'restart', 'changed: ' .. fields_of(changes), changes
  elseif fact.status == 'stopping' then -- whoever asked it to end is gone, and it may still do
    return 'restart', 'was being stopped'
  end
  local trouble = sick(record, fact)
  if trouble and heal then
    return 'restart', 'runs, but ' .. trouble
  end
  return 'keep', 'runs and is unchanged' .. (trouble and ', but ' .. trouble or '')
end

local NOTHING = {}

local function judge_dependency(record, fact, project, entry, shared)
  if entry.scope == 'shared' and project ~= shared then -- nothing of its own runs: it is set up whenever it is planned
    return record and record.plan_digest == entry.plan_digest and 'keep' or 'start', 'uses the shared server'
  elseif entry.provider == 'external' and not (record and record.identity) then -- else ours gives way to it
    return 'keep', 'others run it'
  elseif not record or not record.identity then
    return 'start', 'is not running yet'
  end
  local heal = fact.status == 'unreachable' -- no use to anybody: it is brought back by every command
  return judge(record, fact, dependency_changes(record, entry), nil, heal)
end

-- What is wanted no more, or has a port that something wanted gets.
local function leave(fact, way)
  local why = way and 'is in the way: ' .. way or 'is no longer part of the plan'
  if fact.alive then
    return 'stop', why
  elseif fact.alive == nil then
    return 'unknown', why .. '; ' .. untold(fact)
  end
  return 'forget', 'is no longer part of the plan and does not run'
end

--- Actions in the order of the plan, then those for what is wanted no more.
---@param saved envctl.resume.Saved
---@param truth envctl.resume.Truth
---@param wanted envctl.resume.Wanted
---@return envctl.resume.Action[]
function M.reconcile(saved, truth, wanted)
  local out, planned, here, meant, ports = json.array {}, {}, {}, {}, {}
  local function put(project, name, dependency, action, reason, changes)
    out[#out + 1] = {
      project = project, service = name, dependency = dependency, action = action, reason = reason,
      changes = json.array(changes or {}),
    }
  end
  local function dependencies(holder)
    for _, entry in ipairs(holder.dependencies) do
      local key = names.short(holder.name, entry.id)
      if known(entry.provider) then -- else nothing is known that could run it
        planned[key] = true
        for _, port in pairs(entry.ports or {}) do
          ports[port] = key
        end
        put(holder.name, entry.id, true, judge_dependency(saved.dependencies[key], truth.dependencies[key] or NOTHING,
          holder.name, entry, wanted.shared and wanted.shared.name))
      end
    end
  end
  for _, name in ipairs(wanted.partial and {} or wanted.selected) do
    meant[name] = true
  end
  if wanted.shared then
    dependencies(wanted.shared)
  end
  for _, project in ipairs(wanted.projects) do
    here[project.name] = true
    dependencies(project)
    for _, service in ipairs(project.services) do
      local name = names.display(project.name, service.name)
      local record = saved.services[name]
      planned[name] = true
      ports[nullable(service.port)] = name
      if record then
        put(project.name, service.name, nil, judge(record, truth.services[name] or NOTHING,
          service_changes(record, project, service), wanted.replace, wanted.heal))
      else
        put(project.name, service.name, nil, 'start', 'is not running yet')
      end
    end
  end
  for _, name in ipairs(sorted(saved.dependencies)) do
    local record = saved.dependencies[name]
    if not planned[name] and record.identity and (meant[record.project] or here[record.project]) then
      put(record.project, record.service, true, leave(truth.dependencies[name] or NOTHING))
    end
  end
  for _, name in ipairs(sorted(saved.services)) do
    local record = saved.services[name]
    local fact = truth.services[name] or NOTHING
    if not planned[name] and meant[record.project] then
      put(record.project, record.service, nil, leave(fact))
    elseif not planned[name] and fact.alive ~= false then
      -- Others were asked for, and this one stays, unless it keeps one of them from starting: it has another name by now.
      local port = ports[record.requested_port] and record.requested_port
      port = port or ports[record.actual_port] and record.actual_port
      if port then
        put(record.project, record.service, nil, leave(fact, ('it has port %d of %s'):format(port, ports[port])))
      end
    end
  end
  return out
end

return M
