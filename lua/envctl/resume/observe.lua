--- What is true now about the services of a saved state. Reads only.
local fs = require 'envctl.host.fs'
local procfs = require 'envctl.host.procfs'

local M = {}

-- Statuses that claim a running process.
M.UP = { starting = true, running = true, ready = true, unhealthy = true, stopping = true, unknown = true }

--- How to recognise the processes of a service record.
---@param record table
---@return envctl.MemberQuery
function M.query(record)
  if record.doubt then
    return {} -- what cannot be told from others has no processes of its own
  end
  return { leader = record.identity, marker = record.marker, log = record.log_path, cgroup = record.cgroup }
end

--- Whether the recorded process is alive, by identity.
---@param record table
---@return boolean? live, string? reason
function M.service(record)
  if not record.identity then
    if record.doubt then
      return nil, record.doubt
    end
    return false, record.pid and 'gone' or 'never_started'
  end
  return procfs.alive(record.identity)
end

--- Whether somebody still has the very socket that a service was seen listening on: what it left behind then.
---@param record table
---@return boolean
function M.socket_is_held(record)
  if not record.actual_port or not record.listener_inodes then
    return false
  end
  for _, l in ipairs(require('envctl.host.port').listeners()[record.actual_port] or {}) do
    for _, inode in ipairs(record.listener_inodes) do
      if l.inode == inode then
        return true
      end
    end
  end
  return false
end

--- Whether the kernel has ended a process of a service for lack of memory. It counts them in the service's cgroup, where the memory
--- controller is on there; elsewhere nobody can tell.
---@param record table
---@return boolean
function M.oom(record)
  local text = record.cgroup and fs.read(record.cgroup .. '/memory.events')
  return text ~= nil and tonumber(text:match '%f[%w_]oom_kill (%d+)' or 0) > 0
end

--- Per display name: true, false, or nil when it cannot be known (reasons in the second table).
---@param state table run state
function M.live(state)
  local live, reasons = {}, {}
  for name, record in pairs(state.services) do
    live[name], reasons[name] = M.service(record)
  end
  return live, reasons
end

return M
