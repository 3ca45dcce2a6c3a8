--- JSON in and out. Out: canonical (sorted keys, two-space indent, exact integers, declared arrays). In: lua-cjson, then
--- integers become integers again and arrays stay arrays, so that decode(encode(x)) has the same text.
local host = require 'envctl.host.json'

local M = {}

--- JSON null.
M.null = host.null

local Array = { __name = 'envctl.json.array' }

--- Marks a table as an array, so that an empty one encodes as [].
---@generic T
---@param t T[]?
---@return T[]
function M.array(t)
  return setmetatable(t or {}, Array)
end

---@param t any
---@return boolean
function M.is_array(t)
  if type(t) ~= 'table' then
    return false
  end
  return getmetatable(t) == Array or t[1] ~= nil
end

--- Document text: sorted keys, two-space indent, ends in a newline.
---@param value any
---@return string
function M.encode(value)
  return host.encode(value, Array, true)
end

--- The same without white space and without the final newline (lines of events and of the keeper protocol, digests).
---@param value any
---@return string
function M.encode_line(value)
  return host.encode(value, Array, false)
end

--- Parses one document.
---@param text string
---@return any? value, string? message "line:column: reason"
function M.decode(text)
  local marked = host.mark(text)
  local value, message = host.decode(marked)
  if value == nil then
    local offset = tonumber(tostring(message):match('character (%d+)'))
    local reason = tostring(message):gsub(' at character %d+', ''):gsub('^Expected', 'expected')
    if offset then
      local before = marked:sub(1, offset - 1)
      local _, lines = before:gsub('\n', '')
      return nil, string.format('%d:%d: %s', lines + 1, #before:match('[^\n]*$') + 1, reason)
    end
    return nil, reason
  end
  return host.settle(value, Array)
end

--- Takes every null out, in place: absent and null mean the same inside the program.
---@param v any
---@return any
M.strip_nulls = host.strip_nulls

return M
