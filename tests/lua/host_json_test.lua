-- The bindings of envctl.host.json and envctl.host.hash.
local lu = require 'luaunit'
local hash = require 'envctl.host.hash'
local json = require 'envctl.host.json'

local M = {}

function M.test_decode()
  local v = json.decode '{"a": [1, 2.5, -3], "t": true, "n": null, "s": "\\u00e9\\ud83d\\ude00\\/", "o": {}, "e": []}'
  lu.assertEquals(v.a, { 1.0, 2.5, -3.0 })
  lu.assertEquals(math.type(v.a[1]), 'float')
  lu.assertIs(v.t, true)
  lu.assertIs(v.n, json.null)
  lu.assertEquals(type(json.null), 'userdata')
  lu.assertEquals(v.s, 'é😀/')
  lu.assertEquals({ v.o, v.e }, { {}, {} })
  lu.assertEquals(json.decode ' "text" ', 'text')
  lu.assertIs(json.decode 'false', false)
end

-- cjson is lenient about two things, `1.` and control characters in strings: neither is in this list.
function M.test_what_is_not_json()
  local bad = {
    '', ' ', '{', '[1,]', '{"a":1,}', '{a:1}', "{'a':1}", '[1] x', 'nan', 'NaN', '[inf]', '[-Infinity]', '0x10', '[0x10]',
    '01', '-01', '.5', '+1', '1e', '"open', '"\\x"', '"\\ud800', 'tru', '[1 2]', '{"a" 1}', '\0', '{"a":1}\0x', ('['):rep(2000),
  }
  for _, text in ipairs(bad) do
    local value, message, more = json.decode(text)
    lu.assertNil(value, text)
    lu.assertStrContains(message, text == ('['):rep(2000) and 'nested' or 'character')
    lu.assertNil(message:find '^[^ ]+%.lua:') -- it is about the text, not about our code
    lu.assertNil(more)
  end
  lu.assertError(json.decode, {})
  lu.assertError(json.decode)
end

-- Only what policy is meant to have: cjson's encoder with its hash order and 14 digits is not to be had in any way.
function M.test_surface()
  local names = {}
  for name in pairs(json) do
    names[#names + 1] = name
  end
  table.sort(names)
  lu.assertEquals(names, { 'decode', 'encode', 'mark', 'null', 'quote', 'settle', 'strip_nulls' })
  lu.assertNil(package.loaded.cjson)
end

function M.test_mark()
  local empty, big = '["\\u0001envctl:[]"]', '"\\u0001envctl:int:%s"'
  local digits = ('123456789'):rep(2)
  local cases = {
    { '' }, { '[' }, { '[ ' }, { '"' }, { '"\\' }, { '"\\"' }, { '-' }, { '[1]' }, { '{"a": {}}' }, { '123456789012345' },
    { '"[] ' .. digits .. '"' }, { '"\\"[]"' }, { '"a", "[]' }, -- in strings, also in one that does not end
    { digits .. '.5' }, { digits .. 'e1' }, { '0.' .. digits }, { '1e' .. digits }, { '1E-' .. digits }, -- no whole numbers
    { '[]', empty }, { '[ \n\t]', empty }, { '[[],[]]', '[' .. empty .. ',' .. empty .. ']' },
    { '{"a\\\\":[]}', '{"a\\\\":' .. empty .. '}' },
    { digits, big:format(digits) }, { '[-' .. digits .. ',1]', '[' .. big:format('-' .. digits) .. ',1]' },
  }
  for _, c in ipairs(cases) do
    lu.assertEquals(json.mark(c[1]), c[2] or c[1], c[1])
  end
end

function M.test_quote()
  local cases = {
    { '', '""' },
    { 'plain text /path', '"plain text /path"' },
    { '"\\', '"\\"\\\\"' },
    { '\b\f\n\r\t', '"\\b\\f\\n\\r\\t"' },
    { '\0\1\31\127', '"\\u0000\\u0001\\u001f\\u007f"' },
    { 'é', '"\\u00e9"' },
    { '€', '"\\u20ac"' },
    { '😀', '"\\ud83d\\ude00"' },
    { '\u{10ffff}\u{ffff}\u{e000}\u{d7ff}', '"\\udbff\\udfff\\uffff\\ue000\\ud7ff"' },
    -- Not UTF-8: one U+FFFD for each byte that begins nothing.
    { '\255', '"\\ufffd"' },
    { 'a\195', '"a\\ufffd"' },
    { '\195a', '"\\ufffda"' },
    { '\192\175', '"\\ufffd\\ufffd"' }, -- overlong
    { '\224\128\175', '"\\ufffd\\ufffd\\ufffd"' },
    { '\237\160\128', '"\\ufffd\\ufffd\\ufffd"' }, -- a surrogate
    { '\244\144\128\128', '"\\ufffd\\ufffd\\ufffd\\ufffd"' }, -- beyond U+10FFFF
    { '\240\159\152', '"\\ufffd\\ufffd\\ufffd"' }, -- cut off
  }
  for _, case in ipairs(cases) do
    lu.assertEquals(json.quote(case[1]), case[2])
  end
  lu.assertError(json.quote)
end

-- Whatever bytes there are: the result is ASCII, and it comes back when it was UTF-8.
function M.test_quote_of_any_bytes()
  local state = 20251125
  local function dice(n)
    state = (state * 1103515245 + 12345) % 2147483648
    return state // 65536 % n
  end
  for _ = 1, 3000 do
    local bytes = {}
    for i = 1, dice(12) do
      bytes[i] = dice(3) == 0 and utf8.char(dice(0xd800)) or string.char(dice(256))
    end
    local text = table.concat(bytes)
    local quoted = json.quote(text)
    lu.assertNil(quoted:find '[^ -~]')
    local back = json.decode(quoted)
    lu.assertNotNil(utf8.len(back))
    if utf8.len(text) then
      lu.assertEquals(back, text)
    end
    lu.assertEquals(json.quote(back), quoted)
  end
end

function M.test_sha256()
  lu.assertEquals(hash.sha256 '', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  lu.assertEquals(hash.sha256 'abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  lu.assertNotEquals(hash.sha256 'a\0b', hash.sha256 'a\0c')
  lu.assertError(hash.sha256)
end

return M
