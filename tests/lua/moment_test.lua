-- Points in time as people write them.
local lu = require 'luaunit'
local moment = require 'envctl.util.moment'

local M = {}

local NOW = 1800000000000

function M.test_ago()
  for text, ms in pairs { ['90s'] = 90000, ['10m'] = 600000, ['2h'] = 7200000, ['1d'] = 86400000, ['0s'] = 0 } do
    lu.assertEquals(moment.parse(text, NOW), NOW - ms, text)
  end
end

function M.test_dates()
  for text, at in pairs {
    ['1970-01-01T00:00:00Z'] = 0,
    ['1969-12-31T23:59:59Z'] = -1000,
    ['2000-02-29T12:00:00Z'] = 951825600000,
    ['2024-12-31T23:59:59.250Z'] = 1735689599250,
    ['2026-11-25 21:30:00+02:00'] = 1795635000000,
    ['2026-11-25t21:30z'] = 1795642200000,
    ['2026-11-25T21:30:00-05:30'] = 1795662000000,
  } do
    lu.assertEquals(moment.parse(text, NOW), at, text)
    lu.assertEquals(math.type(moment.parse(text, NOW)), 'integer')
  end
end

function M.test_what_is_neither()
  for _, text in ipairs {
    '', '10', 'm', '-5m', '1.5h', '10 m', '99999999999s', 'yesterday', '2026-11-25', '2026-11-25T21:30:00',
    '2026-02-29T00:00:00Z', '2026-13-01T00:00:00Z', '2026-00-01T00:00:00Z', '2026-01-00T00:00:00Z', '2026-01-01T24:00:00Z',
    '2026-01-01T00:60:00Z', '2026-01-01T00:00:61Z', '2026-01-01T00:00:00X', '2026-01-01T00:00:00+2', '26-01-01T00:00:00Z',
  } do
    lu.assertNil(moment.parse(text, NOW), text)
  end
end

return M
