--- The machine-wide table of port reservations of one user: ports.json in the durable root, changed only under ports.lock.
--- A reservation belongs to a project's service, not to the process that asked, and outlives stop: ports stay the same.
local fs = require 'envctl.host.fs'
local json = require 'envctl.util.json'
local err = require 'envctl.err'

local M = {}

local LOCK_WAIT_MS = 10000

local function parse(text, path)
  local doc, why = json.decode(text)
  if type(doc) ~= 'table' or type(doc.entries) ~= 'table' then
    err.raise('ports_unreadable', path .. ': ' .. (why or 'is not a port table'), {
      hint = 'move the file away; ports are reserved again at the next start',
      where = path,
    })
  end
  local entries = {}
  for _, e in ipairs(doc.entries) do
    if type(e) == 'table' and math.type(e.port) == 'integer' and type(e.scope) == 'string' then
      entries[#entries + 1] = e
    end
  end
  return entries
end

--- Entries of repositories that are gone are left out.
local function living(entries)
  local known, out = {}, {}
  for _, e in ipairs(entries) do
    local root = e.root or e.repo
    if known[root] == nil then
      local _, _, code = fs.stat(root)
      known[root] = code ~= 'ENOENT' and code ~= 'ENOTDIR'
    end
    if known[root] then
      out[#out + 1] = e
    end
  end
  return out
end

--- All reservations. Takes no lock: the file is replaced whole.
---@param paths table
---@return {scope: string, repo: string, root: string, project: string, slot: integer, service: string, port: integer}[]
function M.read(paths)
  local text, message, code = fs.read(paths.ports_file)
  if not text then
    if code == 'ENOENT' or code == 'ENOTDIR' then
      return {}
    end
    err.raise('ports_unreadable', message, { where = paths.ports_file })
  end
  return living(parse(text, paths.ports_file))
end

-- Temporary files of writers that were killed: nobody else writes while we hold the lock.
local function sweep(paths)
  for _, entry in ipairs(fs.list(paths.durable_root) or {}) do
    if entry.name:find '^%.ports%.json%.%d+%.tmp$' then
      fs.unlink(paths.durable_root .. '/' .. entry.name)
    end
  end
end

-- Awaits an exclusive lock beside the table; nil and why when it was held for too long.
local function acquire(paths, name)
  local task = require 'envctl.task'
  local sys = require 'envctl.host.sys'
  local deadline = sys.mono_ms() + LOCK_WAIT_MS
  while true do
    local lock, message, code = fs.flock(paths.durable_root .. '/' .. name)
    if lock then
      return lock
    elseif code ~= 'EWOULDBLOCK' then
      err.raise('io_error', message)
    elseif sys.mono_ms() > deadline then
      return nil, message
    end
    task.sleep(5)
  end
end

--- Takes a turn in planning. Of many that start at the same moment all but one find their ports reserved by another; planning
--- again one after the other, each is through at the next try. Awaits.
---@param paths table
---@return {close: fun()}? turn to be closed when the ports are reserved; nil when it did not come in time: then without
function M.turn(paths)
  return (acquire(paths, 'ports.turn'))
end

--- Runs change(entries) under the lock and writes what it returns (nil = leave). Only tasks may call this.
---@param paths table
---@param change fun(entries: table[]): table[]?
function M.update(paths, change)
  local held <close>, message = acquire(paths, 'ports.lock')
  if not held then
    err.raise('busy', 'the port table has been locked for 10 s: ' .. message, {
      hint = 'another envctl holds ' .. paths.durable_root .. '/ports.lock',
    })
  end
  sweep(paths)
  local entries = change(M.read(paths))
  if entries then
    table.sort(entries, function(a, b)
      if a.scope ~= b.scope then
        return a.scope < b.scope
      elseif a.project ~= b.project then
        return a.project < b.project
      end
      return a.service < b.service
    end)
    err.check(fs.write_atomic(paths.ports_file, json.encode {
      schema = 'envctl.port_table.v1',
      entries = json.array(entries),
    }))
  end
end

--- Replaces the reservations of the given projects. Raises plan_stale when a port meanwhile belongs to somebody else.
---@param wanted table[] entries, all of one scope
function M.reserve(paths, scope, wanted)
  M.update(paths, function(entries)
    local mine, ports = {}, {}
    for _, w in ipairs(wanted) do
      mine[w.project] = true
      ports[w.port] = w
    end
    local out = {}
    for _, e in ipairs(entries) do
      local same = e.scope == scope and mine[e.project]
      if not same then
        local w = ports[e.port]
        if w then
          local owner = e.project .. ' of ' .. e.repo
          err.raise('plan_stale', string.format('port %d was reserved for %s meanwhile', e.port, owner))
        end
        out[#out + 1] = e
      end
    end
    for _, w in ipairs(wanted) do
      out[#out + 1] = w
    end
    return out
  end)
end

return M
