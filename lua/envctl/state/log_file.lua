--- Reading the log of a service: whole lines, from a place on, however big it is. What the keeper trimmed away reads as a hole, and
--- is left out together with the rest of the line that it cut.
local fs = require 'envctl.host.fs'

local M = {}

local CHUNK = 256 * 1024
local STEP = 64 * 1024
local LINE_MAX = 1024 * 1024 -- of an endless line no more than this is kept

--- Where the first whole line begins.
---@param path string
---@return integer offset bytes
function M.first(path)
  local start = fs.data_start(path) or 0
  local at = start
  while start > 0 do
    local text = fs.read_at(path, at, STEP) or ''
    local newline = text:find('\n', 1, true)
    if newline then
      return at + newline
    elseif text == '' then
      return start -- one endless line: what is left of it
    end
    at = at + #text
  end
  return 0
end

--- Where the last n lines before `to` begin, looking back no further than `from`. A last line without its end counts.
---@param path string
---@param n integer
---@param from integer bytes
---@param to integer bytes
---@return integer offset bytes
function M.last(path, n, from, to)
  if n == 0 or to <= from then
    return to
  end
  local left = n + (fs.read_at(path, to - 1, 1) == '\n' and 1 or 0)
  while to > from do
    local at = math.max(from, to - STEP)
    local text = fs.read_at(path, at, to - at) or ''
    local count = select(2, text:gsub('\n', ''))
    if count >= left then
      local position = 0
      for _ = 1, count - left + 1 do
        position = text:find('\n', position + 1, true)
      end
      return at + position
    end
    left, to = left - count, at
  end
  return from
end

--- Hands out the lines of [from, to), without their ends.
---@param path string
---@param from integer bytes
---@param to integer bytes
---@param visit fun(line: string)
---@param rest string? what an earlier call left
---@return integer offset bytes, string rest the last line, as far as it goes, when its end is not there yet
function M.each(path, from, to, visit, rest)
  rest = rest or ''
  while from < to do
    local text = fs.read_at(path, from, math.min(CHUNK, to - from))
    if not text or text == '' then
      break -- emptied or removed meanwhile
    end
    from, text = from + #text, rest .. text
    -- A pattern would go through an endless line again from each of its bytes.
    local start, newline = 1, text:find('\n', 1, true)
    while newline do
      visit(text:sub(start, text:byte(newline - 1) == 13 and newline - 2 or newline - 1))
      start = newline + 1
      newline = text:find('\n', start, true)
    end
    rest = text:sub(start, start + LINE_MAX - 1)
  end
  return from, rest
end

return M
