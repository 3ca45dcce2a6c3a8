local lu = require 'luaunit'
local json = require 'envctl.util.json'

local M = {}

function M.test_round_trip_keeps_text()
  local cases = {
    '{}\n',
    '[]\n',
    '{\n  "a": [],\n  "b": {}\n}\n',
    '[\n  1,\n  -5,\n  9007199254740993,\n  9223372036854775807\n]\n',
    '{\n  "n": null,\n  "t": true\n}\n',
    '"\\u00e9\\ud83d\\ude00 \\"x\\" [] \\\\"\n',
    '[\n  [],\n  [\n    []\n  ]\n]\n',
    '{\n  "text with [] and 12345678901234567890 inside": "[ ]"\n}\n',
  }
  for _, text in ipairs(cases) do
    local value, why = json.decode(text)
    lu.assertNil(why, text)
    lu.assertEquals(json.encode(value), text)
  end
end

function M.test_integers_are_integers_again()
  local v = json.decode '{"port": 8080, "ratio": 1.5, "big": 1763791234567890123}'
  lu.assertEquals(math.type(v.port), 'integer')
  lu.assertEquals(v.ratio, 1.5)
  lu.assertEquals(v.big, 1763791234567890123)
end

function M.test_keys_are_sorted_and_ascii()
  lu.assertEquals(json.encode_line { b = 1, a = 'ü', ['é'] = json.array {} }, '{"a":"\\u00fc","b":1,"\\u00e9":[]}')
end

function M.test_what_json_cannot_say_raises()
  for _, bad in ipairs { 0 / 0, math.huge, function() end, { [1.5] = 1 }, { 1, 2, x = { [true] = 1 } } } do
    lu.assertFalse((pcall(json.encode, { value = bad })) and type(bad) ~= 'table')
  end
end

function M.test_errors_name_line_and_column()
  local v, why = json.decode '{\n  "a": 1,\n  oops\n}'
  lu.assertNil(v)
  lu.assertStrContains(why, '3:')
end

function M.test_lax_numbers_are_refused()
  for _, text in ipairs { '[0x10]', '[nan]', '[Infinity]' } do
    lu.assertNil((json.decode(text)))
  end
end

function M.test_strip_nulls()
  lu.assertEquals({ json.strip_nulls(json.null), json.strip_nulls 'x', json.strip_nulls(false) }, { nil, 'x', false })
  lu.assertEquals(json.strip_nulls(json.decode '{"a": null, "b": {"c": null, "d": 1}}'), { b = { d = 1 } })
end

return M
