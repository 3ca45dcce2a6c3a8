--- events.jsonl: what happened, one object a line, appended as it happens. When it is big, it becomes events.jsonl.1, and the one
--- before goes. Best effort: a failing writer warns once and stays silent; it never stops an operation.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local intact = require('envctl.state.paths').intact

local M = {}

local MAX_BYTES = 16 * 1024 * 1024

local function last_seq(path)
  local stat = fs.stat(path)
  if not stat then
    return nil
  end
  local from = math.max(0, stat.size - 65536)
  local text = fs.read_at(path, from, 65536) or ''
  local seq = 0
  for line in text:gmatch('[^\n]+\n') do
    local n = line:match('"seq":(%d+)')
    seq = n and math.max(seq, math.tointeger(tonumber(n)) or 0) or seq
  end
  return seq
end

--- Opens the stream of a scope.
---@param paths table
---@param on_failure fun(message: string)
function M.open(paths, on_failure)
  local path = paths.scope_dir .. '/events.jsonl'
  local older = path .. '.1'
  local seq, failed = last_seq(path) or last_seq(older) or 0, false
  local stream = {}

  --- Appends one event. fields may carry run_id, command_id, project, service; the rest belongs into data.
  function stream.emit(event, fields, data)
    seq = seq + 1
    fields = fields or {}
    local line = json.encode_line {
      event = event,
      timestamp = sys.iso_time(sys.wall_ms()),
      seq = seq,
      run_id = fields.run_id or json.null,
      command_id = fields.command_id or json.null,
      project = fields.project or json.null,
      service = fields.service or json.null,
      data = data or {},
    }
    local ok, message = intact(paths)
    if ok then
      local stat = fs.stat(path)
      if stat and stat.size > MAX_BYTES then
        fs.rename(path, older)
      end
      ok, message = fs.append(path, line .. '\n')
    end
    if not ok and not failed then
      failed = true
      on_failure(message)
    end
  end

  return stream
end

return M
