--- The keeper's stop operation: services by name, or everything of the scope.
local sys = require 'envctl.host.sys'
local procfs = require 'envctl.host.procfs'
local err = require 'envctl.err'
local task = require 'envctl.task'
local json = require 'envctl.util.json'
local store = require 'envctl.state.store'
local ending = require 'envctl.keeper.ending'
local dependencies = require 'envctl.deps.ending'

local M = {}

local function records_of(doc, request)
  local wanted
  if not request.all then
    wanted = {}
    for _, name in ipairs(request.names or {}) do
      wanted[name] = true
    end
  end
  local records = {}
  for name, record in pairs(doc and doc.services or {}) do
    if not wanted or wanted[name] then
      record.name = name
      records[#records + 1] = record
    end
  end
  table.sort(records, function(a, b)
    return a.name < b.name
  end)
  return records
end

local function warn(op, message)
  op.progress { project = '', service = '', phase = 'warning', message = message }
end

-- Without a readable state only markers and cgroups tell what is ours.
local function set_aside(op, path, why, what)
  local target, failure = store.set_aside(path, why)
  warn(op, target and what .. ' was set aside as ' .. target or what .. ' could not be set aside: ' .. failure)
  op.world.unreadable = nil
end

-- Records what has become of everything. What could not be written; nil when all was.
local function record_end(op)
  local world = op.world
  if not world.doc then
    return store.clear(op.paths) -- derived files of a document that is gone
  elseif next(world.doc.services) == nil and not require('envctl.deps.truth').any(world.doc) then
    world:emit('run.stopped', nil, {})
    world:save_derived()
    world.doc = nil
    return store.clear(op.paths)
  end
  local _, failure = world:save(false)
  world:save_derived()
  return failure
end

-- What the Python engine left, when there is no state of ours.
local function imported(op)
  local ok, doc = pcall(store.read_any, op.paths)
  return not op.world.doc and ok and doc or nil
end

--- op.request: {all: boolean?, names: string[]?, dependencies: string[]?, gone: string[]?}. gone: projects whose containers go.
---@return table result {stopped: [...], swept, dependencies, unwritten: why what was stopped could not be recorded}
function M.run(op)
  local world, request = op.world, op.request
  local left_behind, stateless = imported(op), world.doc == nil
  if world.unreadable and not left_behind then
    if not request.all then
      error(world.unreadable, 0)
    end
    set_aside(op, op.paths.state_file, 'corrupt', 'unreadable state')
  end
  local records = records_of(left_behind or world.doc, request)
  for _, record in ipairs(records) do
    local svc = world.running[record.name]
    if svc then
      svc.ending = true
    end
  end
  local results, stopped, failures = ending.stop(records, op.on_phase), json.array {}, {}
  for i, result in ipairs(results) do
    local record = records[i]
    world:emit('service.stop', record, {
      stopped = result.stopped,
      killed = result.killed,
      was_alive = result.was_alive,
    })
    stopped[#stopped + 1] = {
      name = result.name,
      project = record.project,
      service = record.service,
      stopped = result.stopped,
      was_alive = result.was_alive,
      killed = result.killed,
      reason = result.message or json.null,
    }
    if result.stopped then
      world:remove(result.name)
      if left_behind then
        left_behind.services[result.name] = nil
      end
    else
      record.status = 'unknown'
      world:goes_on(result.name)
      failures[#failures + 1] = result.message
    end
  end
  local ended = {}
  if request.all or request.dependencies then
    local unended
    ended, unended = dependencies.stop(op, not request.all and request.dependencies or nil)
    table.move(unended, 1, #unended, #failures + 1, failures)
  end
  -- A container that stays is a pity, and no reason to keep its worktree.
  for _, project in ipairs(request.gone or {}) do
    local ok, e = task.try(require('envctl.deps.docker').discard, op.base_env, op.paths, project)
    if not ok then
      op.progress { project = project, service = '', phase = 'warning', message = project .. ': ' .. e.message }
    end
  end
  local swept, left = 0, 0
  if request.all then
    require('envctl.deps.docker').sweep(sys.environ(), op.paths, stateless)
    swept, left = ending.sweep(op.paths)
    -- An update that changes nothing still sweeps what a killed writer of the port table left. Never a reason to fail.
    task.try(require('envctl.state.ports_table').update, op.paths, function() end)
  end
  local unwritten
  if left_behind then
    if next(left_behind.services) == nil then
      set_aside(op, left_behind.imported, 'python', 'the state of the Python engine')
    end
  else
    unwritten = record_end(op)
    if unwritten then
      warn(op, 'what was stopped could not be recorded: ' .. unwritten .. '; stop again when the disk can be written')
    end
  end
  if not next(world.running) then
    procfs.cgroup_remove((procfs.cgroup_base(ending.cgroup_name(op.paths), false)) or '/nonexistent')
  end
  if #failures > 0 or left > 0 then
    err.raise('not_stopped', failures[1] or (left .. ' processes of this scope do not end'), {
      hint = 'look at the process, end it yourself, then run `envctl stop-all` again',
      data = { stopped = stopped },
    })
  end
  return { stopped = stopped, swept = swept, dependencies = json.array(ended), unwritten = unwritten or json.null }
end

return M
