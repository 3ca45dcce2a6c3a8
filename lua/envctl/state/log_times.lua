--- When a log grew. Services write their logs themselves, and their lines carry no time: so the keeper notes, beside each log, the
--- size that it had at a moment (`<log>.times`, lines of "<wall clock ms> <bytes>"). Whatever stands behind that size was written
--- later. Best effort: without notes a question about time is answered with more lines, never with fewer.
local fs = require 'envctl.host.fs'

local M = {}

local MAX_BYTES = 64 * 1024

---@param log_path string
---@return string
function M.path(log_path)
  return log_path .. '.times'
end

-- The notes that are about the log as it is: after it was emptied, they begin anew.
local function read(log_path)
  local notes = {}
  for at, size in (fs.read(M.path(log_path)) or ''):gmatch '(%d+) (%d+)\n' do
    local note = { at = math.tointeger(tonumber(at)) or 0, size = math.tointeger(tonumber(size)) or 0 }
    if #notes > 0 and note.size < notes[#notes].size then
      notes = {}
    end
    notes[#notes + 1] = note
  end
  return notes
end

-- Halves the notes; those about what was trimmed away go first. Each one that stays is as true as before.
local function thin(log_path)
  local start, lines = fs.data_start(log_path) or 0, {}
  for i, note in ipairs(read(log_path)) do
    if i % 2 == 0 and note.size >= start then
      lines[#lines + 1] = ('%d %d\n'):format(note.at, note.size)
    end
  end
  fs.write_atomic(M.path(log_path), table.concat(lines), { durable = false })
end

--- Notes the size of a log. Only the keeper does.
---@param log_path string
---@param at integer wall clock, ms
---@param size integer bytes
function M.note(log_path, at, size)
  local path = M.path(log_path)
  fs.append(path, ('%d %d\n'):format(at, size))
  local stat = fs.stat(path)
  if stat and stat.size > MAX_BYTES then
    thin(log_path)
  end
end

--- Where to begin to read a log so that nothing is missed that was written at or after a time. What comes a little earlier can be
--- among it: as far back as the note before.
---@param log_path string
---@param since integer wall clock, ms
---@return integer offset bytes; 0 when nothing is known
function M.offset(log_path, since)
  local offset = 0
  for _, note in ipairs(read(log_path)) do
    if note.at > since then -- the first one, also when the clock was set back meanwhile
      break
    end
    offset = note.size
  end
  return offset
end

return M
