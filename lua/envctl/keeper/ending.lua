--- Ending services: all processes of each, in parallel, confirmed by looking again. A service counts as stopped only when none
--- of its processes is left and its port is not held by what may still be a part of it.
local procfs = require 'envctl.host.procfs'
local proc = require 'envctl.host.proc'
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local task = require 'envctl.task'
local observe = require 'envctl.resume.observe'

local M = {}

M.TERM_BUDGET_MS = 5000
local KILL_BUDGET_MS = 3000
local PORT_BUDGET_MS = 1000

local function remaining(records, alive)
  local queries, index = {}, {}
  for i, r in ipairs(records) do
    if alive[i] then
      queries[#queries + 1] = observe.query(r)
      index[#index + 1] = i
    end
  end
  return queries, index
end

-- A walk over /proc can miss what forks and exits all the time, so one empty look is not enough. The kernel's own count of a
-- cgroup is; without one, several empty looks in a row are as sure as it gets.
local EMPTY_LOOKS = 3

local function observe_empty(records, alive, empty)
  local queries, index = remaining(records, alive)
  if #queries == 0 then
    return
  end
  local found = procfs.members(queries)
  for k, i in ipairs(index) do
    local populated = records[i].cgroup and procfs.cgroup_populated(records[i].cgroup)
    empty[i] = (#found[k] == 0 and not populated) and (empty[i] or 0) + 1 or 0
    local looks = records[i].cgroup and populated == false and 1 or EMPTY_LOOKS
    if empty[i] >= looks then
      alive[i] = false
    end
  end
end

local function any(alive)
  for _, value in pairs(alive) do
    if value then
      return true
    end
  end
  return false
end

--- Looks until every service is empty or the budget is over. act(queries), if any, runs before each look.
local function wait_empty(records, alive, budget_ms, longest_pause, act)
  local deadline = sys.mono_ms() + budget_ms
  local pause, empty = 1, {}
  while any(alive) do
    if act then
      act((remaining(records, alive)))
    end
    observe_empty(records, alive, empty)
    if not any(alive) then
      break
    end
    if sys.mono_ms() >= deadline then
      return false
    end
    task.sleep(pause)
    pause = math.min(pause * 2, longest_pause)
  end
  return true
end

local function kill_all(records, alive)
  return wait_empty(records, alive, KILL_BUDGET_MS, 20, function(queries)
    procfs.signal_members(queries, 'KILL')
  end)
end

--- Who still holds the port that a stopped service was seen on. The recorded socket itself is proof that it is ours.
local function check_port(record)
  local deadline = sys.mono_ms() + PORT_BUDGET_MS
  while observe.socket_is_held(record) do
    local holder = procfs.holders({ record.actual_port })[record.actual_port]
    local id = holder and procfs.identity(holder.pid)
    if id then
      proc.signal(id, 'KILL')
    end
    if sys.mono_ms() >= deadline then
      return holder or {}
    end
    task.sleep(10)
  end
end

local function release_cgroup(record)
  if record.cgroup then
    for _ = 1, 50 do
      local ok, _, code = procfs.cgroup_remove(record.cgroup)
      if ok or code ~= 'EBUSY' then
        return
      end
      task.sleep(2)
    end
  end
end

---@class envctl.Ended
---@field name string display name
---@field stopped boolean confirmed
---@field was_alive boolean
---@field killed boolean it needed SIGKILL
---@field message string? why it does not count as stopped

--- Ends the given service records. Awaits.
---@param records table[] service records with their display name in `name`
---@param on_phase? fun(record: table, phase: string, message: string?)
---@return envctl.Ended[]
function M.stop(records, on_phase)
  on_phase = on_phase or function() end
  local alive, results = {}, {}
  local queries = {}
  for i, r in ipairs(records) do
    queries[i] = observe.query(r)
  end
  local counts = procfs.signal_members(queries, 'TERM')
  procfs.signal_members(queries, 'CONT') -- what somebody has stopped takes no other signal
  local budget = 0
  for i, r in ipairs(records) do
    alive[i] = counts[i] > 0 or (r.cgroup ~= nil and procfs.cgroup_populated(r.cgroup))
    results[i] = { name = r.name, was_alive = alive[i], killed = false }
    if alive[i] then
      on_phase(r, 'stopping')
      budget = math.max(budget, r.stop_timeout_ms or M.TERM_BUDGET_MS)
    end
  end
  if not wait_empty(records, alive, budget, 40) then
    for i, r in ipairs(records) do
      if alive[i] then
        results[i].killed = true
        on_phase(r, 'stopping', string.format('ignored SIGTERM for %g s, killing it', budget / 1000))
      end
    end
    kill_all(records, alive)
  end
  for i, r in ipairs(records) do
    local holder = not alive[i] and check_port(r) or nil
    if alive[i] then
      local left = procfs.members { observe.query(r) }[1]
      local pid = left[1] and left[1].pid or 0
      results[i].message = string.format('%s: pid %d does not end (state unknown)', r.name, pid)
    elseif r.doubt then
      results[i].message = r.name .. ': ' .. r.doubt
    elseif holder then
      local pid = holder.pid or '?'
      results[i].message = string.format('%s: port %d is still held by pid %s', r.name, r.actual_port, pid)
    end
    results[i].stopped = results[i].message == nil
    if results[i].stopped then
      release_cgroup(r)
      if results[i].was_alive then
        on_phase(r, 'stopped', results[i].killed and 'killed' or nil)
      end
    else
      on_phase(r, 'failed', results[i].message)
    end
  end
  return results
end

--- Ends whatever carries this scope's marker although no record names it (left by a keeper that was killed at a bad moment, or
--- by a state file that cannot be read). Awaits.
---@param paths table
---@return integer count of processes found, integer left
function M.sweep(paths)
  local queries = { { marker = 'ENVCTL_SCOPE=' .. paths.scope_dir } }
  local base = procfs.cgroup_base(M.cgroup_name(paths), false)
  for _, entry in ipairs(base and fs.list(base) or {}) do
    if entry.type == 'dir' then
      queries[#queries + 1] = { cgroup = base .. '/' .. entry.name }
    end
  end
  local found = 0
  for _, list in ipairs(procfs.members(queries)) do
    found = found + #list
  end
  if found > 0 then
    local records, alive = {}, {}
    for i, q in ipairs(queries) do
      records[i] = { name = 'unrecorded', marker = q.marker, cgroup = q.cgroup }
      alive[i] = true
    end
    procfs.signal_members(queries, 'TERM')
    if not wait_empty(records, alive, M.TERM_BUDGET_MS, 40) then
      kill_all(records, alive)
    end
  end
  local left = 0
  for i, list in ipairs(procfs.members(queries)) do
    left = left + #list
    if queries[i].cgroup and #list == 0 then
      release_cgroup(queries[i])
    end
  end
  if base then
    procfs.cgroup_remove(base) -- fails while leaves are left, which is right
  end
  return found, left
end

--- Name of the scope's cgroup directory. The hash keeps two runtime roots of one repository apart.
function M.cgroup_name(paths)
  return 'envctl-' .. paths.scope_id .. '-' .. require('envctl.host.hash').sha256(paths.scope_dir):sub(1, 8)
end

return M
