--- Progress of an operation: one live line per service on a terminal, plain lines on stderr otherwise, nothing with --json.
--- It only shows; whether something failed is decided elsewhere.
local sys = require 'envctl.host.sys'
local loop = require 'envctl.host.loop'
local clean = require('envctl.ui.clean').text

local M = {}

local FRAMES = { '⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏' }
local FRAME_MS = 100

local MARK = { ready = '✓', kept = '✓', stopped = '✓', failed = '✗', queued = '·', warning = '!' }
local COLOR = { ready = '32', kept = '32', stopped = '32', failed = '31', warning = '33', queued = '2' }
local FINAL = { ready = true, kept = true, stopped = true, failed = true }

local function label(project, service)
  return require('envctl.state.names').display(project, service)
end

--- What a line says about an event.
---@param event table progress event
---@return string
function M.describe(event)
  local phase = event.phase
  if phase == 'ready' then
    local text = string.format('ready in %.1f s', (event.elapsed_ms or 0) / 1000)
    return event.url and (text .. ' at ' .. event.url) or text
  elseif phase == 'kept' then
    return 'already running' .. (event.url and (' at ' .. event.url) or '')
  elseif phase == 'failed' then
    return 'failed: ' .. clean(event.message or '')
  elseif event.message then
    return phase .. ': ' .. clean(event.message)
  end
  return phase
end

local function plain(write)
  local last = {}
  return {
    event = function(event)
      if event.phase == 'queued' then
        return
      end
      if event.service == '' or not event.service then
        write('envctl: ' .. clean(event.message or event.phase) .. '\n')
        return
      end
      local name = label(event.project, event.service)
      local text = M.describe(event)
      if last[name] ~= text then
        last[name] = text
        write(name .. ': ' .. text .. '\n')
      end
    end,
    close = function() end,
  }
end

local function cut(text, columns)
  local n = utf8.len(text)
  if not n or n <= columns then
    return text
  end
  return text:sub(1, utf8.offset(text, columns) - 1) .. '…'
end

--- Live lines. The block is repainted in place; it never grows beyond the terminal.
local function live(write, color)
  local order, lines, painted, tick, timer = {}, {}, 0, 0, nil
  local started = sys.mono_ms()

  local function row(item, columns, width)
    local event = item.event
    local mark = MARK[event.phase] or FRAMES[tick % #FRAMES + 1]
    local text = M.describe(event)
    if not FINAL[event.phase] and event.phase ~= 'queued' then
      text = text .. string.format(' … %.1f s', (sys.mono_ms() - item.since) / 1000)
    end
    local name = item.name .. string.rep(' ', width - #item.name)
    local body = cut(name .. '  ' .. text, columns - 3)
    if color and COLOR[event.phase] then
      mark = '\27[' .. COLOR[event.phase] .. 'm' .. mark .. '\27[0m'
    end
    return mark .. ' ' .. body
  end

  local function paint()
    local columns, rows = sys.term_size(2)
    columns, rows = columns or 80, rows or 24
    local width = 0
    for _, key in ipairs(order) do
      width = math.max(width, #lines[key].name)
    end
    local out = { '\r' }
    if painted > 1 then
      out[#out + 1] = string.format('\27[%dA', painted - 1)
    end
    local shown = math.min(#order, math.max(1, rows - 2))
    for i = 1, shown do
      out[#out + 1] = '\27[2K' .. row(lines[order[i]], columns, width) .. (i < shown and '\n' or '')
    end
    painted = shown
    write(table.concat(out))
  end

  local function schedule()
    timer = loop.timer(FRAME_MS, function()
      timer = nil
      tick = tick + 1
      paint()
      schedule()
    end)
  end

  local view = {}
  function view.event(event)
    if event.service == '' or not event.service then
      return
    end
    local key = event.project .. '\0' .. event.service
    local item = lines[key]
    if not item then
      item = { name = label(event.project, event.service), since = started }
      lines[key] = item
      order[#order + 1] = key
    end
    if not item.event or item.event.phase ~= event.phase then
      item.since = sys.mono_ms()
    end
    item.event = event
    paint()
    if not timer then
      schedule()
    end
  end
  function view.close()
    if timer then
      timer:close()
      timer = nil
    end
    if painted > 0 then
      paint()
      write('\n')
      painted = 0
    end
  end
  return view
end

--- A progress view for an operation. close() it before anything else is printed.
---@param ctx table context
---@return {event: fun(event: table), close: fun()}
function M.new(ctx)
  local env = sys.getenv
  if ctx.out.is_json then
    return { event = function() end, close = function() end }
  end
  local function write(text)
    sys.write(2, text)
  end
  local term = env 'TERM'
  local dumb = not term or term == '' or term == 'dumb' or env 'CI'
  if ctx.route.flags.headless or dumb or not sys.isatty(2) then
    return plain(write)
  end
  return live(write, not (env 'NO_COLOR' and env 'NO_COLOR' ~= ''))
end

return M
