-- From keys of a script's table to lines of its text.
local lu = require 'luaunit'
local luakeys = require 'envctl.host.luakeys'

local M = {}

local TEXT = [==[
#!/usr/bin/env lua
-- a comment with return { x = 1 }
local db = envctl.include("tools/db.lua")
local helper = { --[[ services = { ]] a = 1 }
local M = {
  envctl = 1,
}
local function f(a) if a then return { q = 1 } end end
M.services = {
  api = { dir = "a", port = 8100,
    env = function(base)
      base.X = 1, 2; return { a = 1 }
    end,
    needs = { "a",
      "b" },
    ready = { http = "/x" }, -- trailing
    text = [[ long } , { text
      = 2 ]],
  },
  ["we b"] = f({ 1, 2 }) and {
     z = 1 },
  last = envctl.append {
    "q",
    "r"
  },
  inc = envctl.include "x.lua",
  helper = helper,
  'positional',
  [7] = {
    deep = 1 },
  cond = 1 == 2 and { no = 1 } or {
    yes = 2 };
  ['q\'uote'] = 1,
  ["tab\tkey"] = 1,
}
M["on"] = { ["service.ready"] = { run = function() for i = 1, 2 do end while true do end repeat until x end,
   optional = true } }
M.services.api.extra = true
for i = 1, 2 do M.ignored = i end
return M
]==]

local EXPECTED = {
  { { 'envctl' }, 6 },
  { { 'services' }, 9 },
  { { 'services', 'api' }, 10 },
  { { 'services', 'api', 'port' }, 10 },
  { { 'services', 'api', 'env' }, 11 },
  { { 'services', 'api', 'env', 'X' }, 11 },
  { { 'services', 'api', 'needs' }, 14 },
  { { 'services', 'api', 'needs', 2 }, 15 },
  { { 'services', 'api', 'ready', 'http' }, 16 },
  { { 'services', 'api', 'text' }, 17 },
  { { 'services', 'api', 'extra' }, 38 },
  { { 'services', 'we b' }, 20 },
  { { 'services', 'last', 2 }, 24 },
  { { 'services', 'inc' }, 26 },
  { { 'services', 'helper', 'a' }, 4 },
  { { 'services', 1 }, 28 },
  { { 'services', 7, 'deep' }, 30 },
  { { 'services', 'cond' }, 31 },
  { { 'services', "q'uote" }, 33 },
  { { 'services', 'tab\tkey' }, 34 },
  { { 'on', 'service.ready', 'run' }, 36 },
  { { 'on', 'service.ready', 'optional' }, 37 },
  { { 'nothing' }, 5 },
}

function M.test_paths()
  local index = luakeys.index(TEXT)
  for _, case in ipairs(EXPECTED) do
    local line = index:find(case[1])
    lu.assertEquals(line, case[2], table.concat(case[1], '.'))
  end
  local line, depth, include = index:find({ 'services', 'inc', 'port' })
  lu.assertEquals({ line, depth, include }, { 26, 2, 'x.lua' })
end

function M.test_other_ways_to_return()
  local function line(text, ...)
    return (luakeys.index(text):find({ ... }))
  end
  lu.assertEquals(line('return {\n a = 1,\n b = { c = 2 } }', 'b', 'c'), 3)
  lu.assertEquals(line('local t <const> = {\n a = 1 }\nreturn t', 'a'), 2)
  lu.assertEquals(line('config = {\n a = 1 }\nreturn config', 'a'), 2)
  lu.assertEquals(line('return setmetatable({\n a = 1 }, mt)', 'a'), 2)
  lu.assertEquals(line('local a, b = 1, 2\nreturn { x = a,\n y = b }', 'y'), 3)
  lu.assertEquals(line('if x then return { a = 1 } end\nreturn {\n a = 1 }', 'a'), 3)
  lu.assertEquals(line('return {\r\n a = 1,\r\n b = 2\r\n}', 'b'), 3)
  lu.assertNil(line('print(1)', 'a'))
  lu.assertNil(line('', 'a'))
  lu.assertEquals(line('return { [ [[x]] ] = 1,\n [ [=[y]=] ] = 2 }', 'y'), 2)
  lu.assertEquals(line('return { a = "x\\z\n   y",\n ["\\u{e4}\\x62\\99"] = 2 }', 'äbc'), 3)
  lu.assertEquals(line('return { a = "x\\\ny",\n [0x10] = 2, [2.0] = 3 }', 16), 3)
  lu.assertEquals(line('local t = {}\nt.a.b = 1\nt.c = {}\nt.c.d = 1\nreturn t', 'c', 'd'), 4)
  lu.assertEquals(line('return {\n ä = 1,\n ["ö"] = 2 }', 'ö'), 3)
end

-- Any bytes: no error, and an end.
function M.test_never_fails()
  local seed = 7
  local function random(n)
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed // 65536 % n + 1
  end
  for _ = 1, 3000 do
    local a, b = random(#TEXT), random(#TEXT)
    local text = TEXT:sub(1, a) .. TEXT:sub(b)
    if random(3) == 1 then
      local at = random(#text)
      text = text:sub(1, at - 1) .. string.char(random(256) - 1) .. text:sub(at + 1)
    end
    local index = luakeys.index(text)
    index:find({ 'services', 'api', 'port' })
  end
  for _, bytes in ipairs {
    '\0', '{', '}', 'return', 'return {', 'return {{{{', "return { '", 'return { [', 'local', 'local x', 'x.', 'return x.',
  } do
    luakeys.index(bytes):find({ 'a' })
  end
  luakeys.index('return ' .. ('{'):rep(50000))
  luakeys.index('return ' .. ('a.'):rep(50000))
  luakeys.index(('('):rep(50000))
end

function M.test_variables_that_point_at_each_other()
  local index = luakeys.index('local a = b\nlocal b = a\nreturn a')
  lu.assertEquals((index:find({ 'x' })), 2)
end

return M
