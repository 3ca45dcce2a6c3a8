--- Hints for unknown names. Pure.
local nearest = require('envctl.util.suggest').nearest

local M = {}

M.nearest = nearest

--- The hint of an error about an unknown name.
---@param name string
---@param known string[]
---@param what string such as "keys"
---@return string
function M.hint(name, known, what)
  local near = nearest(name, known)
  if near then
    return string.format('did you mean "%s"?', near)
  end
  local sorted = table.move(known, 1, #known, 1, {})
  table.sort(sorted)
  return 'known ' .. what .. ': ' .. table.concat(sorted, ', ')
end

return M
