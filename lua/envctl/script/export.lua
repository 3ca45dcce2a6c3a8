--- What leaves a script: its values as plain data with marks, or a message that names the path of what cannot leave. Reads tables
--- raw, so no metamethod of a script runs here. Used inside of the script host.
local json = require 'envctl.util.json'
local marks = require 'envctl.script.marks'

local M = {}

local MAX_DEPTH, MAX_NODES = 100, 200000

---@class envctl.script.Exporter
---@field unsets table<table, boolean> the envctl.unset of each chunk
---@field appends table<table, any[]> what envctl.append returned, with its items
---@field list string what getmetatable() says of the lists that bundled modules make
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
  end
  path[at] = nil
  return out
end

-- A table is a list (keys 1..n) or a map (strings), never both. The keys of a map, or nil and the length of a list.
local function keys_of(v, path)
  local keys, n, count, highest = {}, 0, 0, 0
  for k in next, v do
    if type(k) == 'string' then
      n = n + 1
      keys[n] = k
    elseif math.type(k) == 'integer' and k >= 1 then
      count = count + 1
      highest = math.max(highest, k)
    else
      fail(path, 'has a key that is neither a name nor a place in a list: ' .. tostring(k):gsub(': 0x%x+', ''))
    end
  end
  if count > 0 and n > 0 then
    fail(path, 'is a list and a table with names at once')
  elseif highest ~= count then
    fail(path, string.format('is a list with a hole: %d of %d items are there', count, highest))
  elseif count > 0 then
    return nil, count
  elseif n > 1 then
    table.sort(keys) -- what is said first is the same every time
  end
  return keys, n
end

local function map(state, v, keys, n, path)
  local out, at, names = {}, #path + 1, state.names
  for i = 1, n do
    local k = keys[i]
    path[at] = k
    if not names[k] then -- the same names are all over a script
      if k:find('[%c\127]') then
        fail(path, 'has a control character in its name')
      end
      names[k] = text(k, path)
    end
    out[k] = value(state, rawget(v, k), path)
  end
  path[at] = nil
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
  local keys, n = keys_of(v, path)
  if n == 0 and getmetatable(v) == state.exporter.list then
    keys = nil
  end
  local out = keys and map(state, v, keys, n, path) or list(state, v, n, path)
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
  elseif kind == 'nil' or v == json.null then
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
  local state = { exporter = exporter, functions = opts and opts.functions, open = {}, names = {}, nodes = 0 }
  return value(state, v, table.move(path, 1, #path, 1, {}))
end

return M
