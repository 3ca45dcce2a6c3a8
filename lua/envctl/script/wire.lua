--- What both ends of the script host's pipe share: one JSON object a line, and texts that keep their bytes. Pure.
local json = require 'envctl.util.json'

local M = {}

--- Version of the conversation. Both ends are one binary; it is there to notice a mistake.
M.VERSION = 1
--- The version of the script API (`envctl = 1`).
M.API = 1
--- Limits of one call.
M.CPU_MS, M.WALL_MS, M.MEMORY, M.ANSWER = 1000, 2000, 64 << 20, 4 << 20
--- A line to the script host holds a script, or what a planner knows.
M.MAX_LINE = 32 << 20

--- Bytes as a text that JSON carries unchanged: every byte becomes the character of that number.
---@param bytes string
---@return string
function M.pack(bytes)
  if utf8.len(bytes) == #bytes then -- ASCII, as scripts usually are
    return bytes
  end
  return (bytes:gsub('[\128-\255]', function(c)
    return utf8.char(c:byte())
  end))
end

--- The bytes of a packed text.
---@param text string
---@return string
function M.unpack(text)
  if utf8.len(text) == #text then
    return text
  end
  return (text:gsub('[\194\195][\128-\191]', function(c)
    return string.char(utf8.codepoint(c))
  end))
end

---@param message table
---@return string line with its newline
function M.encode(message)
  return json.encode_line(message) .. '\n'
end

---@param line string
---@return table? message, string? problem
function M.decode(line)
  local message, why = json.decode(line)
  if type(message) ~= 'table' then
    return nil, why or 'not an object'
  end
  return message
end

--- A copy without nulls and without metatables: plain Lua data for a script.
---@param v any
---@return any
function M.plain(v)
  if v == json.null then
    return nil
  elseif type(v) ~= 'table' then
    return v
  end
  local out = {}
  for k, x in next, v do
    out[k] = M.plain(x)
  end
  return out
end

-- A table whose keys are not all names, and no list either: both in a row.
local MAP = '\1map'

local function is_list(v)
  local n = 0
  for k in next, v do
    if math.type(k) ~= 'integer' then
      return false
    end
    n = n + 1
  end
  return n > 0 and n == rawlen(v)
end

--- A value as JSON can carry it without a loss: numbers stay keys, lists stay lists, null stays null. Functions are left out.
---@param v any
---@return any
function M.exact(v)
  if type(v) ~= 'table' then
    return v
  elseif is_list(v) or (next(v) == nil and json.is_array(v)) then
    local out = json.array {}
    for i = 1, rawlen(v) do
      out[i] = M.exact(v[i])
    end
    return out
  end
  local out, keys, values, odd = {}, json.array {}, json.array {}, false
  for k, x in next, v do
    if type(x) ~= 'function' then
      odd = odd or type(k) ~= 'string'
      keys[#keys + 1] = k
      values[#values + 1] = M.exact(x)
      out[k] = values[#values]
    end
  end
  return odd and { [MAP] = true, keys = keys, values = values } or out
end

--- The value again, on the other side.
---@param v any
---@param array table metatable of lists there
---@return any
function M.from_exact(v, array)
  if type(v) ~= 'table' then
    return v
  end
  local out = {}
  if v[MAP] then
    for i, k in ipairs(v.keys) do
      out[k] = M.from_exact(v.values[i], array)
    end
    return out
  end
  for k, x in next, v do
    out[k] = M.from_exact(x, array)
  end
  return json.is_array(v) and setmetatable(out, array) or out
end

return M
