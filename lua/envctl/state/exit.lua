--- How a process ended, in words. Pure.
local M = {}

---@class envctl.Exit
---@field code integer?
---@field signal string? without SIG
---@field oom boolean? the kernel ended a process of the service for lack of memory
---@field at string? RFC 3339

local function known(value)
  return type(value) == 'string' or type(value) == 'number'
end

--- "exited with code 3", "was ended by SIGKILL (out of memory)"; nil when nobody saw it.
---@param exit envctl.Exit? nulls of JSON count as nothing
---@return string?
function M.text(exit)
  local e = type(exit) == 'table' and exit or {}
  local how
  if known(e.signal) then
    how = 'was ended by SIG' .. e.signal
  elseif known(e.code) then
    how = 'exited with code ' .. e.code
  end
  if e.oom == true then
    how = (how or 'ended') .. ' (out of memory: the kernel ended a process of it)'
  end
  return how
end

return M
