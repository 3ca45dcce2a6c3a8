--- The runs of a scope: each has a directory with its logs and the last copies of its documents, which stays after the run ended.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local store = require 'envctl.state.store'

local M = {}

--- A new id: the time, and what makes it unique. Ids sort by time, also within a second: the first digits behind it are its ms.
---@param now integer wall clock, ms
---@return string id run-<YYYYMMDDHHMMSS>-<8 hex digits>
function M.new_id(now)
  local second = sys.iso_time(now):gsub('[-:T]', ''):sub(1, 14)
  return ('run-%s-%03x%s'):format(second, now % 1000, sys.random_hex(3):sub(1, 5))
end

--- Ids of the runs that are kept, oldest first.
---@param paths envctl.Paths
---@return string[]
function M.list(paths)
  local ids = {}
  for _, entry in ipairs(fs.list(paths.scope_dir .. '/runs') or {}) do
    if entry.type == 'dir' and entry.name:find '^run%-%d+%-%x+$' then
      ids[#ids + 1] = entry.name
    end
  end
  return ids
end

--- Removes the oldest runs. Only the keeper does.
---@param paths envctl.Paths
---@param keep integer how many stay
---@param doc table the state: what it speaks of stays in any case
function M.prune(paths, keep, doc)
  local used = { [doc.run_id] = true }
  for _, record in pairs(doc.services) do
    used[record.run_id or ''] = true
  end
  for _, requirement in pairs(doc.requirements) do
    for _, component in pairs(requirement.components or {}) do
      used[component.run_id or ''] = true
    end
  end
  local ids = M.list(paths)
  for i = 1, #ids - keep do
    if not used[ids[i]] then
      fs.remove_tree(store.run_dir(paths, ids[i]))
    end
  end
end

local function find(paths, wanted)
  local ids = M.list(paths)
  if wanted == 'previous' then
    local current = store.read(paths)
    local last = #ids
    if current and current.run_id == ids[last] then
      last = last - 1
    end
    return ids[last], ids
  end
  for _, id in ipairs(ids) do
    if id == wanted then
      return id, ids
    end
  end
  return nil, ids
end

--- Adds the services that a run once had and has no more: their logs are still there.
---@param services table<string, table> records by display name
---@param doc table
function M.add_ended(services, doc)
  for name, record in pairs(doc.metadata.logs or {}) do
    record.status = 'stopped'
    services[name] = services[name] or record
  end
end

--- The document of a run, with a record of every service that it ever had. Raises unknown_target, state_unreadable.
---@param paths envctl.Paths
---@param wanted string an id, or 'previous' for the newest one that is not the current
---@return table doc
function M.read(paths, wanted)
  local id, ids = find(paths, wanted)
  local doc = id and store.read { state_file = store.run_dir(paths, id) .. '/run_state.json' }
  if not doc then
    local what = wanted == 'previous' and 'before this one' or '"' .. wanted .. '"'
    err.raise('unknown_target', 'there is no run ' .. what, {
      hint = #ids > 0 and 'runs that are kept: ' .. table.concat(ids, ', ', math.max(1, #ids - 4)) or 'no run is kept',
    })
  end
  M.add_ended(doc.services, doc)
  return doc
end

return M
