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

local quote_cache = setmetatable({}, { __mode = 'k' })
local function quote(s)
  if #s > 64 then
    return host.quote(s)
  end
  local q = quote_cache[s]
  if not q then
    q = host.quote(s)
    quote_cache[s] = q
  end
  return q
end

local function number(v)
  if math.type(v) == 'integer' then
    return string.format('%d', v)
  end
  if v ~= v or v == math.huge or v == -math.huge then
    error('number cannot be written as JSON: ' .. tostring(v), 0)
  end
  local i = math.tointeger(v)
  if i and i >= -(1 << 53) and i <= (1 << 53) then
    return string.format('%d', i)
  end
  local text = string.format('%.15g', v)
  if tonumber(text) ~= v then
    text = string.format('%.17g', v)
  end
  return text
end

local MAX_DEPTH = 200

local function encode(v, out, indent, depth)
  local kind = type(v)
  if kind == 'string' then
    out[#out + 1] = quote(v)
  elseif kind == 'number' then
    out[#out + 1] = number(v)
  elseif kind == 'boolean' then
    out[#out + 1] = v and 'true' or 'false'
  elseif v == M.null then
    out[#out + 1] = 'null'
  elseif kind ~= 'table' then
    error('cannot write a ' .. kind .. ' as JSON', 0)
  elseif depth > MAX_DEPTH then
    error('JSON nested too deeply', 0)
  else
    local nl = indent and ('\n' .. string.rep('  ', depth + 1)) or ''
    local close = indent and ('\n' .. string.rep('  ', depth)) or ''
    if M.is_array(v) then
      local n = #v
      if n == 0 then
        out[#out + 1] = '[]'
        return
      end
      out[#out + 1] = '['
      for i = 1, n do
        out[#out + 1] = i == 1 and nl or (',' .. nl)
        encode(v[i], out, indent, depth + 1)
      end
      out[#out + 1] = close .. ']'
      return
    end
    local keys, n = {}, 0
    for k in pairs(v) do
      if type(k) ~= 'string' then
        error('JSON object key is a ' .. type(k), 0)
      end
      n = n + 1
      keys[n] = k
    end
    if n == 0 then
      out[#out + 1] = '{}'
      return
    end
    table.sort(keys)
    out[#out + 1] = '{'
    for i = 1, n do
      local k = keys[i]
      out[#out + 1] = (i == 1 and nl or (',' .. nl)) .. quote(k) .. (indent and ': ' or ':')
      encode(v[k], out, indent, depth + 1)
    end
    out[#out + 1] = close .. '}'
  end
end

--- Document text: sorted keys, two-space indent, ends in a newline.
---@param value any
---@return string
function M.encode(value)
  local out = {}
  encode(value, out, true, 0)
  out[#out + 1] = '\n'
  return table.concat(out)
end

--- The same without white space and without the final newline (lines of events and of the keeper protocol, digests).
---@param value any
---@return string
function M.encode_line(value)
  local out = {}
  encode(value, out, false, 0)
  return table.concat(out)
end

-- cjson loses what an empty array was, and digits beyond 2^53. Both are rare, so they are put behind a mark before decoding.
local EMPTY = '\1envctl:[]'
local BIG = '\1envctl:int:'

local function mark(text)
  if not (text:find('%[%s*%]') or text:find('%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d')) then
    return text
  end
  local out, pos, n = {}, 1, 0
  while true do
    local q = text:find('"', pos, true)
    local chunk = text:sub(pos, q and q - 1 or -1)
    chunk = chunk:gsub('%[%s*%]', '["\\u0001envctl:[]"]')
    chunk = chunk:gsub('%f[%d%-%.eE+]%-?%d+%f[^%d]', function(digits)
      if #digits >= 16 then
        return '"\\u0001envctl:int:' .. digits .. '"'
      end
    end)
    n = n + 1
    out[n] = chunk
    if not q then
      break
    end
    local stop = q
    repeat
      stop = text:find('["\\]', stop + 1)
      if stop and text:byte(stop) == 92 then
        stop = stop + 1
      elseif stop then
        break
      end
    until not stop
    n = n + 1
    out[n] = text:sub(q, stop or -1)
    if not stop then
      break
    end
    pos = stop + 1
  end
  return table.concat(out)
end

local function normalise(v, depth)
  local kind = type(v)
  if kind == 'number' then
    return math.tointeger(v) or v
  elseif kind == 'string' then
    if v:sub(1, #BIG) == BIG then
      return math.tointeger(tonumber(v:sub(#BIG + 1))) or tonumber(v:sub(#BIG + 1))
    end
    return v
  elseif kind == 'table' then
    if v[1] == EMPTY and v[2] == nil then
      return M.array {}
    end
    if v[1] ~= nil then
      setmetatable(v, Array)
    end
    for k, x in pairs(v) do
      v[k] = normalise(x, depth + 1)
    end
  end
  return v
end

--- Parses one document.
---@param text string
---@return any? value, string? message "line:column: reason"
function M.decode(text)
  local marked = mark(text)
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
  return normalise(value, 0)
end

--- Takes every null out, in place: absent and null mean the same inside the program.
---@param v any
---@return any
function M.strip_nulls(v)
  if v == M.null then
    return nil
  end
  if type(v) == 'table' then
    for k, x in pairs(v) do
      v[k] = M.strip_nulls(x)
    end
  end
  return v
end

return M
