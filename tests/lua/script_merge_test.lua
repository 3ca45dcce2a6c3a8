-- Layers on top of each other: maps, lists, unset, append, functions, and where every value is from.
local lu = require 'luaunit'
local merge = require 'envctl.script.merge'
local marks = require 'envctl.script.marks'

local M = {}

local FUNCTIONS = {
  function(base)
    base.X = 'e'
    return base
  end,
  function(base)
    return { new = base }
  end,
  function()
    return nil
  end,
  function(base)
    return (base or 0) + 1
  end,
  function()
    return marks.append { 'z' }
  end,
  function(base)
    base.env.A = '2'
    base.port = 9
    return base
  end,
}

local function fn(id)
  return marks.fn(id, '.envctl.lua', 100 + id)
end

local function source(layer, data)
  return {
    layer = layer,
    data = data,
    at = function(path)
      return layer .. '.lua', #path
    end,
  }
end

local function run(lower, ...)
  local sources = {}
  for i, data in ipairs { ... } do
    sources[i] = source(({ 'user', 'script', 'local' })[i], data)
  end
  return merge.merge(lower, sources, {
    call = function(f, base)
      return FUNCTIONS[f.id](base)
    end,
  })
end

-- lower, layers…, expected
local CASES = {
  { 'nothing', { a = 1 }, {}, { a = 1 } },
  { 'scalar replaces', { a = 1, b = 2 }, { a = 3 }, { a = 3, b = 2 } },
  { 'maps merge deep', { a = { b = { c = 1, d = 2 } } }, { a = { b = { c = 3, e = 4 } } }, { a = { b = { c = 3, d = 2, e = 4 } } } },
  { 'lists replace', { a = { 1, 2, 3 } }, { a = { 9 } }, { a = { 9 } } },
  { 'list replaces scalar', { a = 'x y' }, { a = { 'x', 'y' } }, { a = { 'x', 'y' } } },
  { 'scalar replaces list', { a = { 'x' } }, { a = 'x y' }, { a = 'x y' } },
  { 'map replaces scalar', { a = 'none' }, { a = { http = '/' } }, { a = { http = '/' } } },
  { 'scalar replaces map', { a = { http = '/' } }, { a = 'none' }, { a = 'none' } },
  { 'map replaces list', { a = { 1 } }, { a = { x = 1 } }, { a = { x = 1 } } },
  { 'empty table changes no map', { a = { x = 1 } }, { a = {} }, { a = { x = 1 } } },
  { 'unset', { a = 1, b = { c = 1, d = 2 } }, { a = marks.unset(), b = { c = marks.unset() } }, { b = { d = 2 } } },
  { 'unset of nothing', {}, { a = marks.unset() }, {} },
  { 'unset, then set again', { a = { x = 1 } }, { a = marks.unset() }, { a = { y = 2 } }, { a = { y = 2 } } },
  { 'append', { a = { 1 } }, { a = marks.append { 2, 3 } }, { a = { 1, 2, 3 } } },
  { 'append to nothing', {}, { a = marks.append { 2 } }, { a = { 2 } } },
  { 'append twice', { a = { 1 } }, { a = marks.append { 2 } }, { a = marks.append { 3 } }, { a = { 1, 2, 3 } } },
  { 'function', { env = { A = '1' } }, { env = fn(1) }, { env = { A = '1', X = 'e' } } },
  {
    'function gets the merged value', { env = { A = '1' } }, { env = { B = '2' } }, { env = fn(2) },
    { env = { new = { A = '1', B = '2' } } },
  },
  { 'function that removes', { a = { b = 1 } }, { a = fn(3) }, {} },
  { 'function on nothing', {}, { n = fn(4) }, { n = 1 } },
  { 'functions in layers', { n = 1 }, { n = fn(4) }, { n = fn(4) }, { n = 3 } },
  { 'function that appends', { a = { 'x' } }, { a = fn(5) }, { a = { 'x', 'z' } } },
  { 'function in something new', {}, { s = { n = fn(4), m = marks.unset(), l = marks.append { 1 } } }, { s = { n = 1, l = { 1 } } } },
  {
    'readiness is one thing', { ready = { tcp = true, timeout_ms = 5 } }, { ready = { http = '/' } },
    { ready = { http = '/', timeout_ms = 5 } },
  },
  {
    'the time alone keeps the kind', { ready = { http = '/' } }, { ready = { timeout_ms = 5 } },
    { ready = { http = '/', timeout_ms = 5 } },
  },
  {
    'health is one thing', { health = { http = '/', every_ms = 1 } }, { health = { tcp = true } },
    { health = { tcp = true, every_ms = 1 } },
  },
}

function M.test_table()
  for _, case in ipairs(CASES) do
    local expected = case[#case]
    local before = merge.copy(case[2])
    local got = run(table.unpack(case, 2, #case - 1))
    lu.assertEquals(got, expected, case[1])
    lu.assertEquals(case[2], before, case[1] .. ': the lower value is not changed')
  end
end

function M.test_origins()
  local _, origins = run({ api = { port = 1, env = { A = '1', B = '1' } }, other = { x = 1 } }, { api = { env = { A = '2' } } }, {
    api = { port = 2 },
    new = { command = { 'a', 'b' } },
  })
  lu.assertEquals(origins:of { 'api', 'env', 'A' }, { layer = 'user', file = 'user.lua', line = 3 })
  lu.assertEquals(origins:of { 'api', 'env' }.layer, 'user')
  lu.assertNil(origins:of { 'api', 'env', 'B' })
  lu.assertEquals(origins:of { 'api', 'port' }.layer, 'script')
  lu.assertEquals(origins:of({ 'api' }).layer, 'script')
  lu.assertEquals(origins:of({ 'new', 'command' }).layer, 'script')
  for _, name in ipairs { 'api', 'new', 'other' } do
    local of = origins:of_keys { name }
    for _, key in ipairs { 'env', 'port', 'command', 'dir', 'env' } do
      lu.assertEquals(of(key), origins:of { name, key }, name .. '.' .. key)
    end
  end
  lu.assertNil(origins:of { 'other' })
end

function M.test_origin_of_a_function_is_what_it_changed()
  local _, origins = run({ env = { A = '1', B = '1' }, port = 8, dir = 'x' }, {}, nil)
  lu.assertNil(origins:of { 'port' })
  _, origins = merge.merge({ s = { env = { A = '1', B = '1' }, port = 8, dir = 'x' } }, { source('script', { s = fn(6) }) }, {
    call = function(f, base)
      return FUNCTIONS[f.id](base)
    end,
  })
  local expected = { layer = 'script', file = '.envctl.lua', line = 106 }
  lu.assertEquals(origins:of { 's', 'env', 'A' }, expected)
  lu.assertEquals(origins:of { 's', 'env' }, expected)
  lu.assertEquals(origins:of { 's', 'port' }, expected)
  lu.assertNil(origins:of { 's', 'env', 'B' })
  lu.assertNil(origins:of { 's', 'dir' })
end

function M.test_kept_functions_are_values()
  local got = merge.merge({}, { source('script', { s = { enable_if = fn(4) } }) }, {
    keep = function(path)
      return path[2] == 'enable_if'
    end,
    call = function()
      error 'not called'
    end,
  })
  lu.assertEquals(marks.as_fn(got.s.enable_if).id, 4)
end

function M.test_functions_run_in_the_order_of_keys()
  local order = {}
  merge.merge({}, { source('script', { c = fn(1), a = fn(2), b = fn(3) }) }, {
    call = function(f)
      order[#order + 1] = f.id
    end,
  })
  lu.assertEquals(order, { 2, 3, 1 })
end

function M.test_diff()
  local diff = require 'envctl.script.diff'
  local json = require 'envctl.util.json'
  lu.assertEquals(diff.changes({ a = 1, b = { c = 2, d = 3 } }, { a = 1, b = { c = 9, e = 4 } }), {
    { path = 'b.c', before = 2, after = 9 },
    { path = 'b.d', before = 3, after = json.null },
    { path = 'b.e', before = json.null, after = 4 },
  })
  lu.assertEquals(diff.changes({ a = { 1, 2 } }, { a = { 1, 3 } }), { { path = 'a[2]', before = 2, after = 3 } })
  lu.assertEquals(diff.changes({ a = { 1 } }, { a = { 1, 2 } }), { { path = 'a', before = { 1 }, after = { 1, 2 } } })
  lu.assertEquals(diff.changes({ a = json.null }, {}), {})
  lu.assertEquals(diff.changes('x', 'y', { label = 'Main' }), { { path = 'Main', before = 'x', after = 'y' } })
  lu.assertEquals(diff.changes({ A = 1 }, { A = 2 }, { label = 'Main/api' })[1].path, 'Main/api.A')
  local masked = diff.changes({ env = {} }, { env = { API_TOKEN = 's3cret', PORT = '1' } }, {
    mask = function(name)
      return name:find 'TOKEN' ~= nil
    end,
  })
  lu.assertEquals(masked, {
    { path = 'env.API_TOKEN', before = json.null, after = '***' },
    { path = 'env.PORT', before = json.null, after = '1' },
  })
  local whole = diff.changes({}, { env = { API_TOKEN = 's3cret' } }, {
    mask = function(name)
      return name:find 'TOKEN' ~= nil
    end,
  })
  lu.assertEquals(whole[1].after, { API_TOKEN = '***' })
end

return M
