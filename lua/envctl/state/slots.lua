--- Budgets of the machine, for all repositories of one user: so many lock files beside the port table, each held by whoever has a
--- slot, and free again when its holder dies. One file more is the turn of who waits: without it, a repository with many steps
--- would take its next slot before another one looks again.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local task = require 'envctl.task'
local json = require 'envctl.util.json'

local M = {}

local LOOK_MS = 20
local TELL_MS = 300 -- what is free again by then is not worth a line

-- A lock; nil when another process has it.
local function try(file)
  local lock, message, code = fs.flock(file)
  if not lock and code ~= 'EWOULDBLOCK' then
    err.raise('io_error', message, { where = file, data = { errno = code } })
  end
  return lock
end

-- "pid 4711 of repository PATH (PROJECT/SERVICE)" of every slot. A file that a killed holder left names nobody who lives.
local function holders(files)
  local out = {}
  for _, file in ipairs(files) do
    local holder = json.decode(fs.read(file, { max = 4096 }) or '')
    if type(holder) == 'table' and math.type(holder.pid) == 'integer' and fs.stat('/proc/' .. holder.pid) then
      out[#out + 1] = ('pid %d of repository %s (%s)'):format(holder.pid, holder.repository, holder.what)
    end
  end
  return table.concat(out, ', ')
end

--- Takes one slot of a budget. Awaits one that is free. Raises io_error where the locks cannot be made.
---@param paths envctl.Paths
---@param name string of the budget
---@param count integer how many slots there are
---@param holder {repository: string, what: string} who asks, for those who will have to wait
---@param on_wait fun(message: string) called when it takes a while, and when others hold the slots then
---@return {close: fun()} slot for a <close> variable
function M.take(paths, name, count, holder, on_wait)
  local base, files = paths.durable_root .. '/' .. name, {}
  for i = 1, count do
    files[i] = ('%s-%d.lock'):format(base, i)
  end
  local turn
  local closing <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      if turn then
        turn:close()
      end
    end,
  })
  local tell_at, told = sys.mono_ms() + TELL_MS, nil
  while true do
    turn = turn or try(base .. '.turn')
    for i = 1, turn and count or 0 do
      local slot = try(files[i])
      if slot then
        slot:write(json.encode_line { pid = sys.getpid(), repository = holder.repository, what = holder.what } .. '\n')
        return slot
      end
    end
    if sys.mono_ms() >= tell_at then
      local by = holders(files)
      if by ~= '' and by ~= told then
        told = by
        on_wait('waiting for a ' .. name .. ' slot: held by ' .. by)
      end
    end
    task.sleep(LOOK_MS)
  end
end

return M
