--- What leaves a script: its values as plain data with marks, or a message that names the path of what cannot leave. Reads tables
--- raw, so no metamethod of a script runs here. Used inside of the script host.
local json = require 'envctl.util.json'
local marks = require 'envctl.script.marks'

local M = {}

local MAX_DEPTH, MAX_NODES = 100, 200000

---@class envctl.script.Exporter
---@field unsets table<table, boolean> the envctl.unset of each chunk
---@field appends table<table, any[]> what envctl.append returned, with its items
---@field add_function (fun(fn: function): integer, string?, integer?)? id, file and line; nil when functions cannot leave

-- Its metatable is what a script cannot give to an error of its own.
local Problem = {}

--- An error that the script host raises about a script.
---@param fields {message: string, path: (string|integer)[]?, hint: string?}
---@return table
function M.problem(fields)
  return setmetatable(fields, Problem)
end

---@param e any
---@return boolean
function M.is_problem(e)
  return type(e) == 'table' and getmetatable(e) == Problem
end

local function fail(path, message)
  error(M.problem { path = table.move(path, 1, #path, 1, {}), message = message }, 0)
end

local function text(s, path)
  if not utf8.len(s) then
    fail(path, 'is not valid UTF-8')
  elseif s:find('\1envctl:', 1, true) then
    fail(path, 'contains a control character that is used internally')
  end
  return s
end

local function number(v, path)
  if v ~= v or v == math.huge or v == -math.huge then
    fail(path, 'is not a number that can be written: ' .. (v ~= v and 'nan' or tostring(v)))
  end
  return math.tointeger(v) or v
end

local value

local function list(state, v, n, path)
  local out = json.array {}
  local at = #path + 1
  for i = 1, n do
    path[at] = i
    out[i] = value(state, rawget(v, i), path)
    path[at] = nil
  end
  return out
end

-- A table is a list (keys 1..n) or a map (strings), never both.
local function kind_of(v, path)
  local count, strings, highest = 0, 0, 0
  for k in next, v do
    if math.type(k) == 'integer' and k >= 1 then
      count = count + 1
      highest = math.max(highest, k)
    elseif type(k) == 'string' then
      strings = strings + 1
    else
      fail(path, 'has a key that is neither a name nor a place in a list: ' .. tostring(k):gsub(': 0x%x+', ''))
    end
  end
  if count > 0 and strings > 0 then
    fail(path, 'is a list and a table with names at once')
  elseif highest ~= count then
    fail(path, string.format('is a list with a hole: %d of %d items are there', count, highest))
  end
  return count
end

local function map(state, v, path)
  local keys, out = {}, {}
  for k in next, v do
    keys[#keys + 1] = k
  end
  table.sort(keys)
  local at = #path + 1
  for _, k in ipairs(keys) do
    path[at] = k
    if k:find('[%c\127]') then
      fail(path, 'has a control character in its name')
    end
    text(k, path)
    out[k] = value(state, rawget(v, k), path)
    path[at] = nil
  end
  return out
end

local function table_value(state, v, path)
  if state.exporter.unsets[v] then
    return marks.unset()
  end
  local items = state.exporter.appends[v]
  if items then
    return marks.append(list(state, items, #items, path))
  elseif state.open[v] then
    fail(path, 'contains itself')
  elseif #path >= MAX_DEPTH then
    fail(path, 'is nested too deeply')
  end
  state.open[v] = true
  local n = kind_of(v, path)
  local out = n > 0 and list(state, v, n, path) or map(state, v, path)
  state.open[v] = nil
  return out
end

function value(state, v, path)
  state.nodes = state.nodes + 1
  if state.nodes > MAX_NODES then
    fail(path, 'is too large')
  end
  local kind = type(v)
  if kind == 'string' then
    return text(v, path)
  elseif kind == 'number' then
    return number(v, path)
  elseif kind == 'boolean' then
    return v
  elseif kind == 'table' then
    return table_value(state, v, path)
  elseif kind == 'function' and state.functions and state.exporter.add_function then
    return marks.fn(state.exporter.add_function(v))
  elseif kind == 'nil' then
    return json.null
  end
  fail(path, 'is a ' .. kind .. ', which cannot leave the script')
end

--- A script's value as data. Raises {export, path, message}.
---@param exporter envctl.script.Exporter
---@param v any
---@param opts? {functions: boolean?, path: (string|integer)[]?}
---@return any
function M.value(exporter, v, opts)
  local path = opts and opts.path or {}
  local state = { exporter = exporter, functions = opts and opts.functions, open = {}, nodes = 0 }
  return value(state, v, table.move(path, 1, #path, 1, {}))
end

return M
