--- Ports that an operation keeps from others until what needs them is started: sockets that are bound and do not listen.
local port = require 'envctl.host.port'
local err = require 'envctl.err'

local M = {}

--- Takes a port. Raises plan_stale when somebody has it: the client plans again; io_error when it cannot be told.
---@param op table
---@param number integer
function M.take(op, number)
  local free, message, code = port.check(number)
  local handle
  if free then
    handle, message, code = port.hold(number)
  end
  if not handle then
    local taken = code == 'EADDRINUSE' or code == 'EACCES'
    err.raise(taken and 'plan_stale' or 'io_error', tostring(message), { data = { port = number, errno = code } })
  end
  op.holds[number] = handle
end

--- Lets a port go; one that is not held is none of ours.
---@param op table
---@param number integer?
function M.release(op, number)
  if number and op.holds[number] then
    op.holds[number]:close()
    op.holds[number] = nil
  end
end

--- Lets all of them go.
---@param op table
function M.release_all(op)
  for _, handle in pairs(op.holds) do
    handle:close()
  end
  op.holds = {}
end

return M
