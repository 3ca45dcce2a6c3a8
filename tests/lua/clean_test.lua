-- Text from outside on its way to a terminal: whatever it is, nothing is left that a terminal acts upon (R36).
local lu = require 'luaunit'
local clean = require('envctl.ui.clean').text

local M = {}

function M.test_what_goes_and_what_stays()
  for text, wanted in pairs {
    ['plain \t text'] = 'plain \t text',
    ['grün ✓ 日本'] = 'grün ✓ 日本',
    ['\27[31mred\27[0m'] = 'red',
    ['\27]0;title\7after'] = 'after',
    ['\27]8;;http://x\27\\link\27]8;;\27\\'] = 'link',
    ['a\27]52;c;aGk=\7b\27Pq\27\\c\27_x\7d'] = 'abcd',
    ['a\27]2;one\27\\b\27]2;two\7c'] = 'abc',
    ['never ended \27]0;x'] = 'never ended 0;x',
    ['a\27\27[0m]0;x\7b'] = 'ab',
    ['\27cafter a reset'] = 'after a reset',
    ['back\8\8\rover'] = 'backover',
    ['\xC2\x9B31mC1'] = '31mC1',
    ['\xFFbad\xC3'] = '\u{FFFD}bad\u{FFFD}',
    ['re\u{202E}versed\u{2066}'] = 'reversed',
  } do
    lu.assertEquals(clean(text), wanted)
  end
end

-- Random lines made of what is dangerous. Seeded: a failure can be repeated.
function M.test_hostile_lines()
  local parts = {
    '\27', '\27[', '\27]', '\27P', '\27_', '\27\\', '\7', '\8', '\r', '\0', '\xC2', '\x9B', '\x9D', '\xFF', '\xE2\x80', '\xAE', '\u{202E}',
    '\u{2067}', '\xC0\x9B', '\127', '31m', '2J', '?25l', '52;c;aGk=', 'text', 'ä', ';', ']', '[', '\\', '\14', '\5',
  }
  math.randomseed(20251125)
  for _ = 1, 2000 do
    local line = {}
    for i = 1, math.random(1, 40) do
      line[i] = parts[math.random(#parts)]
    end
    local dirty = table.concat(line)
    local text = clean(dirty)
    lu.assertNil(text:find '[%z\1-\8\10-\31\127]', ('%q'):format(dirty))
    lu.assertNotNil(utf8.len(text), ('%q'):format(dirty))
    for _, c in utf8.codes(text) do
      lu.assertFalse(c >= 0x80 and c < 0xA0 or c >= 0x202A and c <= 0x202E or c >= 0x2066 and c <= 0x2069, ('%q'):format(dirty))
    end
  end
end

-- No time is measured: were it quadratic, this would take minutes.
function M.test_long_lines()
  for _, unit in ipairs { '\27]', '\27[1;', '\27P', '\27]x\7', '\27]x\27\\', '\xFF', '\xC2\x9B', '\27' } do
    lu.assertNil(clean(unit:rep(512 * 1024 // #unit)):find '\27')
  end
end

return M
