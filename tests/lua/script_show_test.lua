-- Values as the console prints them.
local lu = require 'luaunit'
local show = require 'envctl.script.show'

local M = {}

local function text(v)
  return show.value(v, function()
    return 'f.lua:3'
  end)
end

local again = { 1 }
again.me = again

local wide = {}
for i = 1, 40 do
  wide[i] = 'word' .. i
end

local CASES = {
  { false, 'false' }, { true, 'true' }, { 1, '1' }, { 1.5, '1.5' }, { 1.0, '1.0' }, { 'a\n"b"\0', '"a\\n\\"b\\"\\0"' },
  { {}, '{}' }, { { 1, 'x', { y = 2 } }, '{ 1, "x", { y = 2 } }' }, { print, '<function f.lua:3>' },
  { { b = 1, a = 2, [10] = 3, ['a b'] = 4, [true] = 5 }, '{ [true] = 5, [10] = 3, a = 2, ["a b"] = 4, b = 1 }' },
  { again, '{ 1, me = <this table again> }' }, { coroutine.create(print), '<thread>' },
  { setmetatable({ x = 1 }, { __index = error, __len = error, __pairs = error, __tostring = error }), '{ x = 1 }' },
  { { { { { { { { { { 1 } } } } } } } } }, '{ { { { { { { { {…} } } } } } } } }' },
}

function M.test_values()
  lu.assertEquals(text(nil), 'nil')
  for i = 1, #CASES do
    lu.assertEquals(text(CASES[i][1]), CASES[i][2], 'case ' .. i)
  end
end

function M.test_what_is_large()
  local lines = text(wide)
  lu.assertStrContains(lines, '{\n  "word1",\n  "word2",\n')
  lu.assertStrContains(lines, '  "word40",\n}')
  local endless = {}
  for i = 1, 200000 do
    endless[i] = i
  end
  lu.assertTrue(#text(endless) < 300000)
  lu.assertStrContains(text(endless), '…')
  lu.assertTrue(#text(('x'):rep(10 << 20)) < 300000)
end

return M
