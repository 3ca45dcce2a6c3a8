--- logs: the end of the services' logs, and what comes after it with --logs-follow. Reads only.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local err = require 'envctl.err'

local M = {}

local DEFAULT_TAIL = 20
local READ_BYTES = 256 * 1024
local FOLLOW_MS = 100

--- The last n lines of a file, and the offset after them.
---@param path string
---@param n integer
---@return string[] lines, integer offset
function M.tail(path, n)
  local stat, message, code = fs.stat(path)
  if not stat then
    if code == 'ENOENT' then
      return {}, 0
    end
    err.raise('io_error', message)
  end
  if n <= 0 then
    return {}, stat.size
  end
  local size, from, text = stat.size, stat.size, ''
  local newlines = 0
  while from > 0 and newlines <= n and #text < 8 * READ_BYTES do
    local step = math.min(from, 65536)
    from = from - step
    local chunk = fs.read_at(path, from, step) or ''
    text = chunk .. text
    newlines = select(2, text:gsub('\n', ''))
  end
  -- Trimmed logs begin with a hole that reads as zero bytes.
  text = text:gsub('^%z+', '')
  local lines = {}
  for line in (text:sub(-1) == '\n' and text or (text .. '\n')):gmatch('([^\n]*)\n') do
    lines[#lines + 1] = (line:gsub('\r$', ''))
  end
  if text == '' then
    lines = {}
  end
  return table.move(lines, math.max(1, #lines - n + 1), #lines, 1, {}), size
end

local function printer(ctx)
  local raw = not sys.isatty(1) and not ctx.route.flags.logs_no_color
  local clean = require('envctl.ui.clean').text
  return function(line)
    if raw then
      sys.write(1, line .. '\n')
    else
      sys.write(1, clean(#line > 65536 and line:sub(1, 65536) or line) .. '\n')
    end
  end
end

local function print_json(ctx, doc, records, n)
  local services = json.array {}
  for _, r in ipairs(records) do
    local there = fs.stat(r.log_path)
    services[#services + 1] = {
      name = r.name,
      project = r.project,
      service = r.service,
      log_path = r.log_path,
      exists = there ~= nil,
      size_bytes = there and there.size or 0,
      tail_lines = json.array((M.tail(r.log_path, n))),
      status = r.status,
    }
  end
  ctx.out.json {
    schema = 'envctl.logs.v1',
    ok = true,
    run_id = doc.run_id,
    mode = doc.mode,
    tail = n,
    -- Following is for text; the reference has these keys in every document.
    follow_requested = false,
    streaming = false,
    duration_seconds = json.null,
    services = services,
  }
end

--- Prints whole new lines of each log until Ctrl-C (or for duration_ms).
local function follow(ctx, records, offsets, print_line)
  local task = require 'envctl.task'
  local loop = require 'envctl.host.loop'
  local rest, stop_now = {}, false
  local wake
  local function interrupt()
    stop_now = true
    if wake then
      wake()
    end
  end
  local on_int <close> = loop.signal('INT', interrupt) -- luacheck: ignore 211
  local on_term <close> = loop.signal('TERM', interrupt) -- luacheck: ignore 211
  local duration = ctx.route.flags.logs_duration
  local deadline = duration and duration > 0 and sys.mono_ms() + math.floor(duration * 1000)
  local many = #records > 1
  while true do
    for i, r in ipairs(records) do
      local data = fs.read_at(r.log_path, offsets[i], READ_BYTES)
      if data and #data > 0 then
        offsets[i] = offsets[i] + #data
        local text = (rest[i] or '') .. data
        local last = text:find('\n[^\n]*$') or 0
        for line in text:sub(1, last):gmatch('([^\n]*)\n') do
          print_line((many and (r.name .. ' | ') or '') .. line)
        end
        rest[i] = text:sub(last + 1)
      end
    end
    if stop_now then
      return 2
    end
    if deadline and sys.mono_ms() >= deadline then
      return 0
    end
    task.await(function(resume)
      local timer = loop.timer(FOLLOW_MS, resume)
      wake = function()
        timer:close()
        resume()
      end
      return timer
    end)
    wake = nil
  end
end

---@param ctx table
---@return integer exit code
function M.run(ctx)
  local select = require 'envctl.cli.select'
  local doc = select.require_state(ctx)
  local flags = ctx.route.flags
  local records = select.services(ctx.route, doc)
  local n = flags.logs_tail or DEFAULT_TAIL
  local following = flags.logs_follow or (flags.logs_duration or 0) > 0
  if ctx.out.is_json and not following then
    print_json(ctx, doc, records, n)
    return 0
  end
  local print_line, offsets = printer(ctx), {}
  for i, r in ipairs(records) do
    local lines, offset = M.tail(r.log_path, n)
    offsets[i] = offset
    ctx.out.text(r.name .. ': log')
    ctx.out.text(r.log_path)
    for _, line in ipairs(lines) do
      print_line(line)
    end
  end
  if following then
    return follow(ctx, records, offsets, print_line)
  end
  return 0
end

return M
