--- Checks plain data against a described shape, with messages that name the path. Shapes are tables:
---   {type = 'integer', min, max} {type = 'string', empty, pattern, what} {type = 'boolean'} {type = 'function'} {type = 'any'}
---   {type = 'enum', values}      {type = 'list', item, min}           {type = 'map', item, key = {pattern, what, test}}
---   {type = 'record', fields, required, exclusive, open}              {type = 'union', of = {…}, what}
--- With marks allowed (data of a script layer), a function, envctl.unset or envctl.append can stand in for a value. Pure.
local marks = require 'envctl.script.marks'
local suggest = require 'envctl.script.suggest'

local M = {}

local MARK = marks.KIND -- a look-up instead of a call, for every table of a script

---@class envctl.script.Problem
---@field path (string|integer)[]
---@field message string what is wrong with the value there
---@field hint string?

--- A value as messages write it.
---@param v any
---@return string
function M.got(v)
  local kind = type(v)
  if kind == 'string' then
    local text = #v > 40 and v:sub(1, 37) .. '...' or v
    return '"' .. text:gsub('[%c\127]', '?'):gsub('"', '\\"') .. '"'
  elseif kind == 'number' or kind == 'boolean' then
    return tostring(v)
  elseif v == nil then
    return 'nothing'
  elseif marks.as_fn(v) or kind == 'function' then
    return 'a function'
  elseif marks.is_unset(v) then
    return 'envctl.unset'
  elseif marks.as_append(v) then
    return 'envctl.append'
  elseif kind == 'table' then
    return marks.is_list(v) and 'a list' or next(v) == nil and 'an empty table' or 'a table'
  end
  return 'a ' .. kind
end

local expected

local function integer_text(shape)
  if shape.min and shape.max then
    return string.format('an integer %d..%d', shape.min, shape.max)
  elseif shape.min == 0 then
    return 'an integer of at least 0'
  elseif shape.min then
    return string.format('an integer of at least %d', shape.min)
  end
  return 'an integer'
end

local EXPECTED = {
  integer = integer_text,
  string = function(shape)
    return shape.what or 'a string'
  end,
  boolean = function()
    return 'true or false'
  end,
  ['function'] = function(shape)
    return shape.what or 'a function'
  end,
  any = function()
    return 'a value'
  end,
  enum = function(shape)
    local out = {}
    for i, v in ipairs(shape.values) do
      out[i] = '"' .. v .. '"'
    end
    return #out == 1 and out[1] or table.concat(out, ', ', 1, #out - 1) .. ' or ' .. out[#out]
  end,
  list = function(shape)
    return shape.what or 'a list'
  end,
  map = function(shape)
    return shape.what or 'a table with names as keys'
  end,
  record = function(shape)
    return shape.what or 'a table'
  end,
  union = function(shape)
    if shape.what then
      return shape.what
    end
    local out = {}
    for i, s in ipairs(shape.of) do
      out[i] = expected(s)
    end
    return table.concat(out, ' or ')
  end,
}

function expected(shape)
  return EXPECTED[shape.type](shape)
end

---@param shape table
---@return string such as "an integer 1..65535"
function M.expected(shape)
  return expected(shape)
end

local function report(state, path, message, hint)
  if #state.problems < state.max then
    state.problems[#state.problems + 1] = { path = table.move(path, 1, #path, 1, {}), message = message, hint = hint }
  end
end

local function mismatch(state, shape, v, path)
  report(state, path, 'expected ' .. expected(shape) .. ', got ' .. M.got(v), shape.hint)
end

local check

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b)
    if type(a) ~= type(b) then
      return type(a) == 'number'
    end
    return a < b
  end)
  return keys
end

-- Problems in the order of their paths, so that the first one is the same every time.
local function in_order(a, b)
  for i = 1, math.max(#a.path, #b.path) do
    local x, y = a.path[i], b.path[i]
    if x ~= y then
      if x == nil or y == nil then
        return x == nil
      elseif type(x) ~= type(y) then
        return type(x) == 'number'
      end
      return x < y
    end
  end
  return a.message < b.message
end

-- What another type would have meant, when that is easy to say.
local function integer_hint(v)
  if type(v) == 'string' and v:find('^%s*%d+%s*$') then
    return 'write it without quotes: ' .. v:match('%d+')
  end
end

local CHECKS = {}

function CHECKS.integer(state, shape, v, path)
  local i = type(v) == 'number' and math.tointeger(v) or nil
  if not i or (shape.min and i < shape.min) or (shape.max and i > shape.max) then
    report(state, path, 'expected ' .. expected(shape) .. ', got ' .. M.got(v), shape.hint or integer_hint(v))
  end
end

function CHECKS.string(state, shape, v, path)
  if type(v) ~= 'string' or (v == '' and not shape.empty) or (shape.pattern and not v:find(shape.pattern)) then
    mismatch(state, shape, v, path)
  elseif v:find('\0', 1, true) then
    report(state, path, 'contains a NUL byte')
  elseif shape.test then
    local why, hint = shape.test(v)
    if why then
      report(state, path, why, hint)
    end
  end
end

function CHECKS.boolean(state, shape, v, path)
  if type(v) ~= 'boolean' then
    local word = type(v) == 'string' and v:lower()
    local hint = (word == 'true' or word == 'false') and 'write it without quotes: ' .. word or nil
    report(state, path, 'expected ' .. expected(shape) .. ', got ' .. M.got(v), shape.hint or hint)
  end
end

CHECKS['function'] = function(state, shape, v, path)
  if not marks.as_fn(v) and type(v) ~= 'function' then
    mismatch(state, shape, v, path)
  end
end

function CHECKS.any()
end

function CHECKS.enum(state, shape, v, path)
  for _, known in ipairs(shape.values) do
    if v == known then
      return
    end
  end
  local near = type(v) == 'string' and suggest.nearest(v, shape.values)
  report(state, path, 'expected ' .. expected(shape) .. ', got ' .. M.got(v),
    shape.hint or near and string.format('did you mean "%s"?', near) or nil)
end

function CHECKS.list(state, shape, v, path)
  if type(v) ~= 'table' or v[MARK] ~= nil or (v[1] == nil and next(v) ~= nil) then
    return mismatch(state, shape, v, path)
  end
  if shape.min and #v < shape.min then
    return report(state, path, 'expected ' .. expected(shape) .. ', got an empty list')
  end
  local outer = state.in_list
  state.in_list = true
  for i = 1, #v do
    path[#path + 1] = i
    check(state, shape.item, v[i], path)
    path[#path] = nil
  end
  state.in_list = outer
end

function CHECKS.map(state, shape, v, path)
  if type(v) ~= 'table' or v[MARK] ~= nil or v[1] ~= nil then
    return mismatch(state, shape, v, path)
  end
  local at = #path + 1
  for k, item in pairs(v) do
    path[at] = k
    if type(k) ~= 'string' then
      report(state, path, 'expected a name as key, got ' .. M.got(k))
    elseif shape.key and shape.key.pattern and not k:find(shape.key.pattern) then
      report(state, path, shape.key.what .. ', got ' .. M.got(k))
    elseif shape.key and shape.key.test and shape.key.test(k) then
      report(state, path, shape.key.test(k))
    elseif shape.keys and not shape.keys[k] then
      report(state, path, (shape.unknown or 'unknown key') .. ' ' .. M.got(k),
        suggest.hint(k, sorted_keys(shape.keys), shape.plural or 'keys'))
    else
      check(state, shape.item, item, path)
    end
  end
  path[at] = nil
end

function CHECKS.record(state, shape, v, path)
  if type(v) ~= 'table' or v[MARK] ~= nil or v[1] ~= nil then
    return mismatch(state, shape, v, path)
  end
  local at, fields = #path + 1, shape.fields
  for k, item in pairs(v) do
    path[at] = k
    local field = fields[k]
    if field then
      check(state, field, item, path)
    elseif not shape.open then
      report(state, path, 'unknown key', shape.renamed and shape.renamed[k]
        or suggest.hint(tostring(k), sorted_keys(shape.fields), 'keys'))
    end
  end
  path[at] = nil
  for _, k in ipairs(shape.required or {}) do
    if v[k] == nil then
      report(state, path, string.format('"%s" is missing', k), shape.fields[k].hint or shape.hint)
    end
  end
  if shape.exclusive then
    local given = {}
    for _, k in ipairs(shape.exclusive) do
      if v[k] ~= nil and v[k] ~= false and not marks.is_unset(v[k]) then
        given[#given + 1] = k
      end
    end
    if #given > 1 then
      report(state, path, table.concat(given, ' and ') .. ' exclude each other', 'give one of them')
    elseif #given == 0 and shape.one_of then
      report(state, path, 'expected one of the keys ' .. table.concat(shape.exclusive, ', '))
    end
  end
end

-- The alternative whose Lua type fits decides what is said about the inside.
local function fits(shape, v)
  local kind = shape.type
  if kind == 'integer' then
    return type(v) == 'number'
  elseif kind == 'string' or kind == 'enum' then
    return type(v) == 'string'
  elseif kind == 'boolean' then
    return type(v) == 'boolean'
  elseif kind == 'function' then
    return marks.as_fn(v) ~= nil or type(v) == 'function'
  elseif kind == 'list' then
    return type(v) == 'table' and v[MARK] == nil and (v[1] ~= nil or next(v) == nil)
  elseif kind == 'map' or kind == 'record' then
    return type(v) == 'table' and v[MARK] == nil and v[1] == nil
  end
  return kind == 'any'
end

function CHECKS.union(state, shape, v, path)
  for _, alternative in ipairs(shape.of) do
    if fits(alternative, v) then
      return check(state, alternative, v, path)
    end
  end
  mismatch(state, shape, v, path)
end

local function takes_function(shape)
  if shape.type == 'union' then
    for _, s in ipairs(shape.of) do
      if s.type == 'function' then
        return true
      end
    end
  end
  return shape.type == 'function' or shape.type == 'any'
end

local function takes_list(shape)
  if shape.type == 'union' then
    for _, s in ipairs(shape.of) do
      if s.type == 'list' then
        return s
      end
    end
  end
  return shape.type == 'list' and shape or nil
end

-- What stands for a value. True when there is nothing more to check.
local function check_mark(state, shape, v, path)
  local depth = state.functions_end
  if state.in_list then
    report(state, path, 'expected ' .. expected(shape) .. ', got ' .. M.got(v),
      'a list is taken as it is: leave things out of it, or give a function that returns the whole list')
    return true
  elseif marks.is_unset(v) then
    -- Below a table of functions only a whole entry can be taken out.
    if depth and #path > depth + 1 then
      mismatch(state, shape, v, path)
    end
    return true
  elseif marks.as_fn(v) then
    return not takes_function(shape) and not depth
  end
  local items = marks.as_append(v)
  if not items then
    return false
  end
  local list = takes_list(shape)
  if list then
    CHECKS.list(state, list, items, path)
  else
    report(state, path, 'envctl.append is for lists; expected ' .. expected(shape))
  end
  return true
end

function check(state, shape, v, path)
  if type(v) ~= 'table' then
    return CHECKS[shape.type](state, shape, v, path)
  end
  local outer = state.functions_end
  if shape.no_function and not outer then
    state.functions_end = #path
  end
  if not (state.marks and v[MARK] ~= nil and check_mark(state, shape, v, path)) then
    CHECKS[shape.type](state, shape, v, path)
  end
  state.functions_end = outer
end

---@param shape table
---@param v any
---@param opts? {marks: boolean?, path: (string|integer)[]?, max: integer?}
---@return envctl.script.Problem[] problems in the order of paths
function M.check(shape, v, opts)
  opts = opts or {}
  local state = { problems = {}, marks = opts.marks, max = opts.max or 500 }
  check(state, shape, v, table.move(opts.path or {}, 1, #(opts.path or {}), 1, {}))
  if #state.problems > 1 then
    table.sort(state.problems, in_order)
  end
  return state.problems
end

-- Empty tables that stand for lists become lists, and whole floats integers: what JSON and Lua cannot tell apart.
local function settle(shape, v, array)
  if type(v) == 'number' then
    return math.tointeger(v) or v
  elseif type(v) ~= 'table' or marks.is_mark(v) then
    return v
  end
  local kind, fields = shape.type, shape.fields
  if kind == 'union' then
    for _, s in ipairs(shape.of) do
      if fits(s, v) then
        return settle(s, v, array)
      end
    end
  end
  local out = {}
  for k, x in pairs(v) do
    local inner = kind == 'record' and fields[k] or (kind == 'map' or kind == 'list') and shape.item
    out[k] = settle(inner or { type = 'any' }, x, array)
  end
  if kind == 'list' or (kind == 'any' and v[1] ~= nil) then
    return array(out)
  end
  return setmetatable(out, getmetatable(v)) -- it can be known to be a list
end

--- A copy in which lists are declared as lists and whole numbers are integers.
---@param shape table
---@param v any
---@param array fun(t: table): table such as json.array
---@return any
function M.settle(shape, v, array)
  return settle(shape, v, array)
end

return M
