--- The environment of a script's chunk: the safe part of the standard library, made to give the same results every time, and the
--- table `envctl`. Every chunk has its own copy, so that no script reaches another one's. Used inside of the script host; the
--- process around it is what really holds (envctl.host.confine), this makes for good messages.
local M = {}

local raw = {
  next = next, pairs = pairs, pcall = pcall, error = error, load = load, type = type, tostring = tostring,
  select = select, rawlen = rawlen,
  setmetatable = setmetatable, getmetatable = getmetatable, rawget = rawget, create = coroutine.create,
  resume = coroutine.resume, close = coroutine.close, pack = table.pack, unpack = table.unpack,
}

-- What scripts look for and do not find, with the way that there is.
local ABSENT = {
  io = 'files are read and written with host.read and host.write, in hooks and commands',
  os = 'there is no clock and no environment here; use ${env.NAME} in texts, and host.run in hooks and commands',
  require = 'use envctl.include("path/in/the/repository.lua")',
  package = 'use envctl.include("path/in/the/repository.lua")',
  dofile = 'use envctl.include("path/in/the/repository.lua")',
  loadfile = 'use envctl.include("path/in/the/repository.lua")',
  debug = 'errors name their file and line by themselves',
  collectgarbage = 'memory is looked after',
  getfenv = 'scripts are Lua 5.4',
  setfenv = 'scripts are Lua 5.4',
  unpack = 'it is called table.unpack',
  loadstring = 'it is called load',
}

local RANK = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local ra, rb = RANK[raw.type(a)], RANK[raw.type(b)]
  if ra ~= rb then
    return ra < rb
  elseif ra == 3 then
    return not a and b
  end
  return a < b
end

-- The keys of a table in an order that does not depend on where things are in memory.
local function sorted_keys(t)
  local keys, n, objects = {}, 0, 0
  for k in raw.next, t do
    n = n + 1
    keys[n] = k
    objects = objects + (RANK[raw.type(k)] and 0 or 1)
  end
  if objects > 0 and n > 1 then
    raw.error('the keys of this table are tables or functions, which have no order: keep them in a list', 3)
  end
  if n ~= raw.rawlen(t) then
    table.sort(keys, before)
  else
    for i = 1, n do -- a list, unless something else hides in it
      if raw.rawget(t, i) == nil then
        table.sort(keys, before)
        return keys
      end
    end
    for i = 1, n do
      keys[i] = i
    end
  end
  return keys
end

local function iterate(t, keys)
  local i = 0
  return function()
    while true do
      i = i + 1
      local k = keys[i]
      if k == nil then
        return nil
      end
      local v = raw.rawget(t, k)
      if v ~= nil then
        return k, v
      end
    end
  end
end

local function check_table(v, n, name)
  if raw.type(v) ~= 'table' then
    raw.error(string.format("bad argument #%d to '%s' (table expected, got %s)", n, name,
      v == nil and 'no value' or raw.type(v)), 3)
  end
end

local function add_iteration(env)
  local remembered = setmetatable({}, { __mode = 'k' })
  function env.pairs(t)
    local mt = raw.type(t) == 'table' and raw.getmetatable(t)
    local own = raw.type(mt) == 'table' and raw.rawget(mt, '__pairs')
    if own then
      return own(t)
    end
    check_table(t, 1, 'for iterator')
    return iterate(t, sorted_keys(t)), t, nil
  end
  function env.next(t, key)
    check_table(t, 1, 'next')
    local order = remembered[t]
    if key == nil or not order then
      order = { keys = sorted_keys(t), place = {} }
      for i, k in ipairs(order.keys) do
        order.place[k] = i
      end
      remembered[t] = order
    end
    local i = key == nil and 0 or order.place[key]
    if not i then
      raw.error("invalid key to 'next'", 2)
    end
    for j = i + 1, #order.keys do
      local k = order.keys[j]
      local v = raw.rawget(t, k)
      if v ~= nil then
        return k, v
      end
    end
    return nil
  end
end

-- tostring() without addresses.
local function add_text(env, box)
  local function text(v)
    local kind = raw.type(v)
    if kind ~= 'table' and kind ~= 'function' and kind ~= 'thread' then
      return raw.tostring(v)
    end
    local mt = kind == 'table' and raw.getmetatable(v)
    mt = raw.type(mt) == 'table' and mt or nil
    local own = mt and raw.rawget(mt, '__tostring')
    if own then
      local s = own(v)
      if raw.type(s) ~= 'string' then
        raw.error("'__tostring' must return a string", 3)
      end
      return s
    end
    local name = mt and raw.rawget(mt, '__name')
    return (raw.type(name) == 'string' and name or kind) .. ': ' .. box.number_of(v)
  end
  function env.tostring(...)
    if raw.select('#', ...) == 0 then
      raw.error("bad argument #1 to 'tostring' (value expected)", 2)
    end
    return text((...))
  end
  function env.print(...)
    local parts = raw.pack(...)
    for i = 1, parts.n do
      parts[i] = text(parts[i])
    end
    box.log(table.concat(parts, '\t', 1, parts.n))
  end
  return text
end

local function string_library(text)
  local lib = {}
  for name, fn in raw.pairs(M.string) do
    lib[name] = fn
  end
  lib.dump = nil
  function lib.rep(s, n, sep)
    if raw.type(s) == 'string' and math.type(n) == 'integer' then
      local size = #s + (raw.type(sep) == 'string' and #sep or 0)
      if size == 0 then
        return ''
      elseif n > 0 and size > (64 << 20) // n then
        raw.error('resulting string too large', 2)
      end
    end
    return M.string.rep(s, n, sep)
  end
  function lib.format(fmt, ...)
    local args = raw.pack(...)
    for i = 1, args.n do
      local kind = raw.type(args[i])
      if kind == 'table' or kind == 'function' or kind == 'thread' then
        args[i] = text(args[i])
      end
    end
    if raw.type(fmt) == 'string' and M.string.find(M.string.gsub(fmt, '%%%%', ''), '%%[^%a]*p') then
      raw.error("bad argument #1 to 'format' (addresses differ from run to run: no %p)", 2)
    end
    return M.string.format(fmt, raw.unpack(args, 1, args.n))
  end
  return lib
end

local function table_library()
  local lib = {}
  for name, fn in raw.pairs(table) do
    lib[name] = fn
  end
  function lib.move(a, from, to, at, b)
    local known = math.type(from) == 'integer' and math.type(to) == 'integer'
    if known and to >= from and (to - from > 1e7 or to - from < 0) then
      raw.error('too many elements to move', 2)
    end
    return table.move(a, from, to, at, b)
  end
  return lib
end

-- xorshift64*: the same numbers every time, for every chunk by itself.
local function math_library(box)
  local lib = {}
  for name, value in raw.pairs(math) do
    lib[name] = value
  end
  local seed, state, epoch = 0x2545F4914F6CDD1D, nil, nil
  local function step()
    if epoch ~= box.epoch then -- a new call begins with the same numbers
      epoch, state = box.epoch, seed
    end
    state = state ~ (state >> 12)
    state = state ~ (state << 25)
    state = state ~ (state >> 27)
    return (state * 0x2545F4914F6CDD1D) >> 11 -- 53 bits
  end
  function lib.randomseed(n)
    local i = math.tointeger(n) or 0
    state, epoch = (i ~ 0x2545F4914F6CDD1D) | 1, box.epoch
  end
  function lib.random(...)
    local n = raw.select('#', ...)
    local low, high = ...
    if n == 0 then
      return step() / (1 << 53)
    elseif n == 1 and low == 0 then
      return step()
    elseif n == 1 then
      low, high = 1, low
    elseif n > 2 then
      raw.error('wrong number of arguments', 2)
    end
    low, high = math.tointeger(low), math.tointeger(high)
    if not low or not high then
      raw.error("bad argument to 'random' (integer expected)", 2)
    elseif low > high or high - low + 1 <= 0 then
      raw.error("bad argument to 'random' (interval is empty or too large)", 2)
    end
    return low + step() % (high - low + 1)
  end
  return lib
end

local function coroutine_library(box)
  local running = box.running
  local lib = {
    create = coroutine.create, yield = coroutine.yield, status = coroutine.status, running = coroutine.running,
    isyieldable = coroutine.isyieldable,
  }
  local function after(ok, ...)
    running()
    if not ok and box.is_fatal((...)) then
      raw.error((...), 0)
    end
    return ok, ...
  end
  function lib.resume(co, ...)
    if raw.type(co) ~= 'thread' then
      raw.error("bad argument #1 to 'resume' (coroutine expected)", 2)
    end
    running(co)
    return after(raw.resume(co, ...))
  end
  local function pass(ok, ...)
    if not ok then
      raw.error((...), 0)
    end
    return ...
  end
  function lib.wrap(fn)
    local co = raw.create(fn)
    return function(...)
      return pass(lib.resume(co, ...))
    end
  end
  function lib.close(co)
    if raw.type(co) ~= 'thread' then
      raw.error("bad argument #1 to 'close' (coroutine expected)", 2)
    end
    running(co)
    return after(raw.close(co))
  end
  return lib
end

-- Errors that a script cannot keep for itself: out of time, out of memory.
local function add_calls(env, box)
  local function results(ok, ...)
    if not ok and box.is_fatal((...)) then
      raw.error((...), 0)
    end
    return ok, ...
  end
  function env.pcall(...)
    if raw.select('#', ...) == 0 then
      raw.error("bad argument #1 to 'pcall' (value expected)", 2)
    end
    return results(raw.pcall(...))
  end
  -- The handler runs after the error was caught: inside of one no limit would be looked at.
  function env.xpcall(fn, handler, ...)
    if raw.type(handler) ~= 'function' then
      raw.error("bad argument #2 to 'xpcall' (function expected)", 2)
    end
    local r = raw.pack(results(raw.pcall(fn, ...)))
    if not r[1] then
      return false, handler(r[2])
    end
    return raw.unpack(r, 1, r.n)
  end
end

local function add_metatables(env)
  function env.setmetatable(t, mt)
    check_table(t, 1, 'setmetatable')
    if mt ~= nil then
      check_table(mt, 2, 'setmetatable')
      if raw.rawget(mt, '__gc') ~= nil then
        raw.error('__gc is not for scripts', 2)
      end
    end
    return raw.setmetatable(t, mt)
  end
  function env.getmetatable(v)
    if raw.type(v) ~= 'table' then
      return nil
    end
    return raw.getmetatable(v)
  end
end

local function add_load(env)
  function env.load(chunk, name, _, ...)
    if raw.type(chunk) == 'function' then
      local parts, size = {}, 0
      repeat
        local part = chunk()
        if part ~= nil and raw.type(part) ~= 'string' then
          raw.error('reader function must return a string', 2)
        end
        size = size + #(part or '')
        if size > 4 << 20 then
          raw.error('chunk too large', 2)
        end
        parts[#parts + 1] = part
      until part == nil or part == ''
      chunk = table.concat(parts)
    elseif raw.type(chunk) ~= 'string' then
      raw.error("bad argument #1 to 'load' (string expected, got " .. raw.type(chunk) .. ')', 2)
    end
    local label = raw.type(name) == 'string' and M.string.gsub(name, '^[@=]', '') or '(load)'
    if raw.select('#', ...) > 0 then
      return raw.load(chunk, '=' .. label, 't', (...))
    end
    return raw.load(chunk, '=' .. label, 't', env)
  end
end

local function envctl_library(box)
  local unset = raw.setmetatable({}, {
    __metatable = false,
    __name = 'envctl.unset',
    __newindex = function()
      raw.error('envctl.unset cannot be changed', 2)
    end,
  })
  box.exporter.unsets[unset] = true
  return {
    api = box.api,
    unset = unset,
    append = function(items)
      check_table(items, 1, 'envctl.append')
      local copy, n = {}, 0
      for _ in raw.next, items do
        n = n + 1
      end
      for i = 1, n do
        copy[i] = raw.rawget(items, i)
        if copy[i] == nil then
          raw.error('envctl.append takes a list', 2)
        end
      end
      local result = {}
      box.exporter.appends[result] = copy
      return result
    end,
    include = box.include,
    bundled = box.bundled,
  }
end

--- What getmetatable() says of the lists of bundled modules, and their metatable, which nobody gets at: it says what is a list when
--- a script's values leave.
M.LIST = 'list'
M.array = { __metatable = M.LIST }

-- The two modules of bundled ones that are not Lua, with what planning needs of them.
local function json_library()
  local host = require 'envctl.host.json'
  local lib = { null = host.null }
  function lib.array(t)
    if t ~= nil then
      check_table(t, 1, 'array')
    end
    return t and raw.getmetatable(t) == M.LIST and t or raw.setmetatable(t or {}, M.array)
  end
  function lib.is_array(t)
    return raw.type(t) == 'table' and (raw.getmetatable(t) == M.LIST or raw.rawget(t, 1) ~= nil)
  end
  function lib.encode_line(value)
    return host.encode(value, M.array, false)
  end
  return lib
end

--- What bundled modules require of the program itself. A fresh copy each time.
---@type table<string, fun(): table>
M.natives = {
  ['util.json'] = json_library,
  ['host.hash'] = function()
    return { sha256 = require('envctl.host.hash').sha256 }
  end,
}

local PLAIN = { 'assert', 'error', 'ipairs', 'rawequal', 'rawget', 'rawlen', 'rawset', 'select', 'tonumber', 'type' }

---@class envctl.script.Box what a chunk's environment is made with
---@field api integer
---@field epoch integer number of the call
---@field exporter envctl.script.Exporter
---@field include fun(path: string): any
---@field bundled fun(name: string): any
---@field log fun(text: string)
---@field running fun(co: thread?) says which coroutine runs
---@field is_fatal fun(e: any): boolean
---@field number_of fun(v: any): integer

--- A fresh environment.
---@param box envctl.script.Box
---@return table env
function M.environment(box)
  local env = { _VERSION = _VERSION }
  for _, name in ipairs(PLAIN) do
    env[name] = _G[name]
  end
  local text = add_text(env, box)
  add_iteration(env)
  add_calls(env, box)
  add_metatables(env)
  add_load(env)
  env.string = string_library(text)
  env.table = table_library()
  env.math = math_library(box)
  env.coroutine = coroutine_library(box)
  env.utf8 = {}
  for name, value in raw.pairs(utf8) do
    env.utf8[name] = value
  end
  env.envctl = envctl_library(box)
  env._G = env
  return raw.setmetatable(env, {
    __metatable = false,
    __index = function(_, name)
      local way = ABSENT[name]
      if way then
        raw.error(name .. ' is not there for scripts: ' .. way, 2)
      end
      return nil
    end,
  })
end

--- Takes the methods of strings away from scripts' hands: s:method() finds safe functions, and the table itself is hidden. For the
--- whole process, once.
---@param box envctl.script.Box
function M.seal_strings(box)
  local hidden = string_library(add_text({}, box))
  local mt = raw.getmetatable('')
  mt.__index = hidden
  mt.__metatable = false
end

-- The library as it was before anything was replaced.
M.string = {}
for name, fn in raw.pairs(string) do
  M.string[name] = fn
end

return M
