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

return M
