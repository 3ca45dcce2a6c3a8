--- Lua values as text for people, as the console prints them: keys in order, strings quoted, nothing endless. Pure.
local M = {}

local MAX_DEPTH, MAX_BYTES, WIDTH = 8, 65536, 100

local function key_text(k)
  if type(k) == 'string' and k:find '^[%a_][%w_]*$' then
    return k
  end
  return '[' .. (type(k) == 'string' and string.format('%q', k):gsub('\\\n', '\\n') or tostring(k)) .. ']'
end

local function keys_of(t)
  local keys = {}
  for k in next, t do
    if not (math.type(k) == 'integer' and k >= 1 and k <= rawlen(t)) then
      keys[#keys + 1] = k
    end
  end
  table.sort(keys, function(a, b)
    local ta, tb = type(a), type(b)
    if ta == tb and (ta == 'string' or ta == 'number') then
      return a < b
    end
    return ta == tb and tostring(a) < tostring(b) or ta < tb
  end)
  return keys
end

local function render(v, indent, depth, seen, where)
  local kind = type(v)
  if kind == 'string' then
    return (string.format('%q', v):gsub('\\\n', '\\n'))
  elseif kind == 'function' then
    local at = where(v)
    return at and '<function ' .. at .. '>' or '<function>'
  elseif kind ~= 'table' then
    return kind == 'nil' and 'nil' or kind == 'thread' and '<thread>' or tostring(v)
  elseif seen[v] then
    return '<this table again>'
  elseif depth > MAX_DEPTH then
    return '{…}'
  end
  seen[v] = true
  local parts, size, deeper = {}, 0, indent .. '  '
  local function add(text)
    parts[#parts + 1] = text
    size = size + #text + 2
  end
  for i = 1, rawlen(v) do
    if size >= MAX_BYTES then
      add '…'
      break
    end
    add(render(rawget(v, i), deeper, depth + 1, seen, where))
  end
  for _, k in ipairs(keys_of(v)) do
    if size >= MAX_BYTES then
      add '…'
      break
    end
    add(key_text(k) .. ' = ' .. render(rawget(v, k), deeper, depth + 1, seen, where))
  end
  seen[v] = nil
  local line = table.concat(parts, ', ')
  if #parts == 0 then
    return '{}'
  elseif #line + #indent < WIDTH and not line:find('\n', 1, true) then
    return '{ ' .. line .. ' }'
  end
  return '{\n' .. deeper .. table.concat(parts, ',\n' .. deeper) .. ',\n' .. indent .. '}'
end

--- One value. Metatables of the value are not asked.
---@param v any
---@param where fun(fn: function): string? where a function is
---@return string
function M.value(v, where)
  local text = render(v, '', 1, {}, where)
  return #text > 4 * MAX_BYTES and text:sub(1, 4 * MAX_BYTES) .. '…' or text
end

return M
