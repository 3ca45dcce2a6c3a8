--- Merges the layers of scripts: maps deep, lists replace, envctl.unset removes, envctl.append adds to a list, a function gets the
--- merged lower value. Says for every value which layer, file and line it is from. Pure: calling functions is the caller's.
local marks = require 'envctl.script.marks'

local M = {}

---@class envctl.script.Origin
---@field layer string
---@field file string?
---@field line integer?

---@class envctl.script.Source one layer
---@field layer string
---@field data table tree with marks
---@field at fun(path: (string|integer)[]): string?, integer? file and line of a path
---@field marked table<table, boolean>? the tables with marks in them; not known: all may have some

local function copy(v)
  if type(v) ~= 'table' then
    return v
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = copy(x)
  end
  return setmetatable(out, getmetatable(v))
end

M.copy = copy

---@class envctl.script.Origins a tree: origin of a value, and below it those of its parts. A node with `whole` stands for a value
--- that one layer wrote as it is: what has no node of its own there is from that layer.
local Origins = {}
Origins.__index = Origins

local function pending(source, path)
  return { layer = source.layer, pending = source, path = table.move(path, 1, #path, 1, {}) }
end

-- The node of a path, made when it is not there.
local function make_node(self, path, origin)
  local node = self.root
  for _, key in ipairs(path) do
    node.parts = node.parts or {}
    node.parts[key] = node.parts[key] or {}
    node = node.parts[key]
    node.origin = origin
  end
  return node
end

-- From a node and what the layer that it is cut from wrote there (`whole` and `value`), one key down.
local function step(node, whole, value, key)
  node = node and node.parts and node.parts[key]
  if node and node.cut then
    return node, node.whole, node.value
  elseif type(value) == 'table' then
    return node, whole, value[key]
  end
  return node, whole, nil
end

local function walk(self, path)
  local node, whole, value = self.root, nil, nil
  for _, key in ipairs(path) do
    node, whole, value = step(node, whole, value, key)
  end
  return node, whole, value
end

local function origin_of(node, whole, value, path)
  local origin = node and node.origin
  if not origin and whole and value ~= nil then
    origin = pending(whole, path)
  end
  if origin and origin.pending then -- lines are looked up when somebody asks
    origin.file, origin.line = origin.pending.at(origin.path or path)
    origin.pending, origin.path = nil, nil
  end
  return origin
end

--- Where the value at a path is from; a table is from where it was changed last.
---@param path (string|integer)[]
---@return envctl.script.Origin?
function Origins:of(path)
  local node, whole, value = walk(self, path)
  return origin_of(node, whole, value, path)
end

--- The same for many keys of one table, which has its last form: the function that is returned takes a key.
---@param path (string|integer)[] of the table
---@return fun(key: string|integer): envctl.script.Origin?
function Origins:of_keys(path)
  local node, whole, value = walk(self, path)
  local known, at, last = {}, table.move(path, 1, #path, 1, {}), #path + 1
  return function(key)
    local origin = known[key]
    if origin == nil then
      at[last] = key
      local inner, from, part = step(node, whole, value, key)
      origin = origin_of(inner, from, part, at) or false
      known[key] = origin
    end
    return origin or nil
  end
end

--- The same for a value that can be missing: then what it would be a part of counts.
---@param path (string|integer)[]
---@return envctl.script.Origin?
function Origins:nearest(path)
  for n = #path, 1, -1 do
    local origin = self:of(table.move(path, 1, n, 1, {}))
    if origin then
      return origin
    end
  end
end

--- Notes that the value at a path is from here, and so is what it is part of.
function Origins:touch(path, origin)
  make_node(self, path, origin)
end

--- The nodes of the parts of a value, to be set. An origin without a path is that of its node.
---@return table<string|integer, {origin: envctl.script.Origin}>
function Origins:parts(path)
  local node = self.root
  for _, key in ipairs(path) do
    node.parts = node.parts or {}
    node.parts[key] = node.parts[key] or {}
    node = node.parts[key]
  end
  node.parts = node.parts or {}
  return node.parts
end

--- Like touch, for a value that takes the place of what was there: nothing is known of its parts. With a source, they are as that
--- layer wrote them in `value`.
---@param source envctl.script.Source?
---@param value any
function Origins:replace(path, origin, source, value)
  local node = make_node(self, path, origin)
  node.parts, node.cut, node.whole, node.value = nil, true, source, value
end

---@return envctl.script.Origins
function M.origins()
  return setmetatable({ root = {} }, Origins)
end

local function same(a, b)
  if type(a) ~= 'table' or type(b) ~= 'table' then
    return a == b
  end
  for k, v in pairs(a) do
    if not same(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return true
end

M.same = same

-- A new value without marks, on top of a lower one.
local function settled(v, lower)
  if marks.is_unset(v) then
    return nil
  end
  local items = marks.as_append(v)
  if items then
    local out = marks.is_list(lower) and copy(lower) or {}
    for _, item in ipairs(items) do
      out[#out + 1] = settled(item, nil)
    end
    return out
  end
  if type(v) ~= 'table' or marks.is_mark(v) then
    return v
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = settled(x, type(lower) == 'table' and lower[k] or nil)
  end
  return out
end

local merge

local function origin_at(state, path)
  return pending(state.source, path)
end

-- Everything in a value that has no lower one, with functions called.
local function fresh(state, v, path)
  local marked = state.source.marked
  if marked and not marked[v] then
    state.origins:replace(path, origin_at(state, path), state.source, v)
    return copy(v)
  end
  state.origins:touch(path, origin_at(state, path))
  local n = #path + 1
  local out = {}
  for k, x in pairs(v) do
    path[n] = k
    out[k] = merge(state, nil, x, path)
    path[n] = nil
  end
  return out
end

local function is_map(v)
  return type(v) == 'table' and not marks.is_list(v)
end

-- After a function: what is different is from the function, the rest from where it was.
local function trace(state, before, after, path, origin)
  if same(before, after) then
    return
  end
  if not is_map(before) or not is_map(after) then
    state.origins:replace(path, origin)
    before = {}
  end
  local n = #path + 1
  for _, t in ipairs { before, is_map(after) and after or {} } do
    for k in pairs(t) do
      path[n] = k
      if t == before or before[k] == nil then
        trace(state, before[k], after[k], path, origin)
      end
      path[n] = nil
    end
  end
end

local function apply_function(state, lower, fn, path)
  local origin = { layer = state.source.layer, file = fn.file, line = fn.line }
  local result = state.call(fn, copy(lower), path, origin)
  local value = settled(result, lower)
  trace(state, lower, value, path, origin)
  return value
end

-- Keys of which a value can have one only: a higher layer's choice takes the lower one's place.
local EXCLUSIVE = {
  ready = { tcp = true, http = true, log = true, command = true },
  health = { tcp = true, http = true, command = true },
}

local function drop_rivals(out, upper, path)
  local group = EXCLUSIVE[path[#path]]
  if not group then
    return
  end
  for k in pairs(upper) do
    if group[k] and not marks.is_unset(upper[k]) then
      for other in pairs(group) do
        if other ~= k then
          out[other] = nil
        end
      end
    end
  end
end

local function merge_maps(state, lower, upper, path)
  local out, keys = {}, {}
  for k, v in pairs(lower) do
    out[k] = v
  end
  drop_rivals(out, upper, path)
  for k in pairs(upper) do
    keys[#keys + 1] = k
  end
  -- Functions are called in the order of their keys, so that they see the same every time.
  table.sort(keys)
  local n, parts, last = #path + 1, nil, nil
  for _, k in ipairs(keys) do
    if type(upper[k]) ~= 'table' then
      parts = parts or state.origins:parts(path)
      parts[k] = { origin = { layer = state.source.layer, pending = state.source }, cut = true }
      out[k], last = upper[k], k
    else
      path[n] = k
      out[k], last = merge(state, out[k], upper[k], path), nil
      path[n] = nil
    end
  end
  if last ~= nil then -- what it is all part of is from where its last part is
    path[n] = last
    state.origins:touch(path, origin_at(state, path))
    path[n] = nil
  end
  return out
end

function merge(state, lower, upper, path)
  local fn = marks.as_fn(upper)
  if fn and not state.keep(path) then
    return apply_function(state, lower, fn, path)
  elseif marks.is_unset(upper) then
    state.origins:replace(path, origin_at(state, path))
    return nil
  elseif marks.as_append(upper) then
    state.origins:touch(path, origin_at(state, path))
    return settled(upper, lower)
  elseif type(upper) ~= 'table' or fn or marks.is_list(upper) then
    state.origins:replace(path, origin_at(state, path))
    return copy(upper)
  elseif type(lower) == 'table' and not marks.is_list(lower) and not marks.is_mark(lower) then
    if next(upper) == nil then
      return lower
    end
    return merge_maps(state, lower, upper, path)
  end
  return fresh(state, upper, path)
end

---@class envctl.script.MergeOptions
---@field path (string|integer)[]? where the value belongs in the scripts
---@field call fun(fn: envctl.script.Fn, base: any, path: (string|integer)[], origin: envctl.script.Origin): any calls a function
---@field origins envctl.script.Origins? go on with these
---@field keep (fun(path: (string|integer)[]): boolean)? a function at this path is a value of its own, not a change

--- Puts layers on top of a value, lowest first.
---@param lower any value of the layers below, without marks
---@param sources envctl.script.Source[] the part of every layer that belongs at `path`
---@param opts envctl.script.MergeOptions
---@return any merged, envctl.script.Origins origins
function M.merge(lower, sources, opts)
  local state = {
    origins = opts.origins or M.origins(),
    call = opts.call,
    keep = opts.keep or function()
      return false
    end,
  }
  local value = copy(lower)
  local path = table.move(opts.path or {}, 1, #(opts.path or {}), 1, {})
  for _, source in ipairs(sources) do
    if source.data ~= nil then
      state.source = source
      value = merge(state, value, source.data, path)
    end
  end
  return value, state.origins
end

return M
