--- How dependencies end: politely, what needs others before them, and only what is confirmed gone is forgotten. Their data stays.
local sys = require 'envctl.host.sys'
local proc = require 'envctl.host.proc'
local procfs = require 'envctl.host.procfs'
local task = require 'envctl.task'
local json = require 'envctl.util.json'
local names = require 'envctl.state.names'
local truth = require 'envctl.deps.truth'
local sorted = require('envctl.util.names').sorted

local M = {}

local SHARED = require('envctl.deps.plan').SHARED

-- Ends processes by their records: politely to the leader first, then whatever is left of each. Awaits.
local function end_processes(world, records, on_phase)
  local budget, waiting, polite = 0, {}, {}
  for _, record in ipairs(records) do
    local svc = world.running[record.name]
    if svc then
      svc.ending = true
    end
    if procfs.alive(record.identity) then
      local stop = record.stop or { signal = 'TERM', timeout_ms = 10000 }
      on_phase(record, 'stopping')
      proc.signal(record.identity, stop.signal)
      proc.signal(record.identity, 'CONT') -- what somebody has stopped takes no other signal
      budget = math.max(budget, stop.timeout_ms)
      waiting[#waiting + 1] = record
    end
  end
  local deadline, wait = sys.mono_ms() + budget, 2
  while #waiting > 0 and sys.mono_ms() < deadline do
    task.sleep(wait)
    wait = math.min(wait * 2, 40)
    for i = #waiting, 1, -1 do
      if procfs.alive(waiting[i].identity) == false then
        polite[waiting[i]] = true
        table.remove(waiting, i)
      end
    end
  end
  local results = require('envctl.keeper.ending').stop(records, on_phase)
  for i, result in ipairs(results) do
    if result.stopped and polite[records[i]] and not result.was_alive then
      result.was_alive = true
      on_phase(records[i], 'stopped')
    end
  end
  return results
end

-- Ends dependencies of one layer by their records: adds to the results, by place. Awaits.
local function end_layer(world, records, places_of, results, on_phase)
  local processes, index = {}, {}
  for _, i in ipairs(places_of) do
    local record = records[i]
    if record.container_id then
      local svc = world.running[record.name]
      if svc then
        svc.ending = true
      end
      local engine = require('envctl.deps.engine').of(record, sys.environ())
      results[i] = require('envctl.deps.docker').stop(engine, record, on_phase)
    else
      processes[#processes + 1], index[#index + 1] = record, i
    end
  end
  for k, result in ipairs(end_processes(world, processes, on_phase)) do
    results[index[k]] = result
  end
end

-- Ends dependencies by their records, what needs others before them. Results are in the order of the records. Awaits.
local function end_records(world, records, on_phase)
  local results, by_layer = {}, {}
  for i, record in ipairs(records) do
    local layer = record.layer or 1
    by_layer[layer] = by_layer[layer] or {}
    table.insert(by_layer[layer], i)
  end
  local layers = sorted(by_layer)
  for n = #layers, 1, -1 do
    end_layer(world, records, by_layer[layers[n]], results, on_phase)
  end
  return results
end

--- Forgets a dependency that is confirmed gone.
---@param world table
---@param record table
function M.remove(world, record)
  local svc = world.running[record.name]
  if svc then
    world:release(svc)
  end
  local entry = world.doc and world.doc.requirements[record.project]
  if entry and entry.components then
    entry.components[record.id] = nil
    if next(entry.components) == nil then
      world.doc.requirements[record.project] = nil
    end
  end
end

--- Ends dependencies by their records. Awaits; raises nothing.
---@param world table
---@param records table[]
---@param on_phase fun(record: table, phase: string, message: string?)
---@return envctl.Ended[] results in the order of the records
---@return string[] failures
function M.records(world, records, on_phase)
  local results, failures = end_records(world, records, on_phase), {}
  for i, result in ipairs(results) do
    world:emit('requirements.stop', records[i], { stopped = result.stopped, killed = result.killed })
    if result.stopped then
      M.remove(world, records[i])
    else
      records[i].status = 'unknown'
      failures[#failures + 1] = result.message
    end
  end
  return results, failures
end

--- What is recorded, of some projects or of all.
---@param world table
---@param wanted (fun(project: string): boolean)?
---@return table[] components that were started, table[] others
function M.recorded(world, wanted)
  local started, others = {}, {}
  truth.each(world.doc, function(project, id, component)
    if not wanted or wanted(project) then
      component.name, component.project, component.id = names.short(project, id), project, id
      component.service = id
      table.insert((component.identity or component.container_id) and started or others, component)
    end
  end)
  return started, others
end

--- A shared server ends with its last user. Awaits.
---@param op table
function M.unused(op)
  local users = 0
  truth.each(op.world.doc, function(project, _, component)
    users = users + (project ~= SHARED and component.scope == 'shared' and 1 or 0)
  end)
  if users > 0 then
    return {}, {}
  end
  local records = (M.recorded(op.world, function(project)
    return project == SHARED
  end))
  if #records == 0 then
    return {}, {}
  end
  local results, failures = M.records(op.world, records, op.on_phase)
  return results, failures, records
end

--- Ends the dependencies of the given projects (nil: all). Awaits. Raises nothing.
---@param op table
---@param projects string[]?
---@return table[] stopped, string[] failures
function M.stop(op, projects)
  local set = {}
  for _, name in ipairs(projects or {}) do
    set[name] = true
  end
  local started, others = M.recorded(op.world, projects and function(project)
    return set[project]
  end)
  local results, failures = M.records(op.world, started, op.on_phase)
  for _, component in ipairs(others) do
    M.remove(op.world, component)
  end
  local more, more_failures, records = M.unused(op)
  table.move(more, 1, #more, #results + 1, results)
  table.move(records or {}, 1, #more, #started + 1, started)
  table.move(more_failures, 1, #more_failures, #failures + 1, failures)
  local stopped = {}
  for i, result in ipairs(results) do
    stopped[i] = {
      name = result.name, project = started[i].project, dependency = started[i].id, stopped = result.stopped,
      was_alive = result.was_alive, killed = result.killed, reason = result.message or json.null,
    }
  end
  return stopped, failures
end

return M
