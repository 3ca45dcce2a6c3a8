--- Points in time as people write them. Pure.
local M = {}

local UNITS = { s = 1000, m = 60 * 1000, h = 3600 * 1000, d = 24 * 3600 * 1000 }

-- Days from 1970-01-01 to a date of the Gregorian calendar; nil when there is no such date.
local function days(year, month, day)
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  local lengths = { 31, leap and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  if day < 1 or day > (lengths[month] or 0) then
    return nil
  end
  local before = year - 1
  local n = 365 * before + before // 4 - before // 100 + before // 400 - 719162
  for m = 1, month - 1 do
    n = n + lengths[m]
  end
  return n + day - 1
end

local function date_and_time(text)
  local year, month, day, hour, minute, rest = text:match '^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d)(.*)$'
  if not year then
    return nil
  end
  local second, fraction, zone = rest:match '^:(%d%d)(%.?%d*)(.*)$'
  second, zone = tonumber(second or 0), zone or rest
  local sign, zone_hour, zone_minute = zone:match '^([+-])(%d%d):(%d%d)$'
  local n = days(tonumber(year), tonumber(month), tonumber(day))
  hour, minute = tonumber(hour), tonumber(minute)
  if not n or hour > 23 or minute > 59 or second > 60 or not (sign or zone:find '^[Zz]$') then
    return nil
  end
  local offset = sign and (zone_hour * 60 + zone_minute) * (sign == '-' and -1 or 1) or 0
  local ms = ((n * 24 + hour) * 60 + minute - offset) * 60000 + second * 1000
  return math.tointeger(ms + math.floor((tonumber('0' .. (fraction or '')) or 0) * 1000))
end

--- "90s", "10m", "2h", "1d" before now, or a date and time with its zone (RFC 3339; seconds may be left out).
---@param text string
---@param now integer wall clock, ms
---@return integer? at wall clock, ms; nil when it is neither
function M.parse(text, now)
  local count, unit = text:match '^(%d+)([smhd])$'
  if count and #count <= 9 then
    return now - math.tointeger(tonumber(count)) * UNITS[unit]
  end
  return date_and_time(text)
end

return M
