--- Progress of an operation: live lines on a terminal, as many as it has room for, plain lines on stderr otherwise, nothing with
--- --json. It only shows; whether something failed is decided elsewhere.
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

local function width_of(text)
  return utf8.len(text) or #text
end

local function cut(text, columns)
  if width_of(text) <= columns or not utf8.len(text) then
    return text
  end
  return text:sub(1, utf8.offset(text, columns) - 1) .. '…'
end

-- How much a phase is worth seeing when not everything can be seen.
local function rank(phase)
  return phase == 'failed' and 1 or phase == 'queued' and 3 or FINAL[phase] and 4 or 2
end

---@class envctl.ui.Row
---@field name string
---@field phase string
---@field text string
---@field since integer? when the phase began, for one that goes on

local PHASES = { 'failed', 'preparing', 'starting', 'stopping', 'warning', 'queued', 'ready', 'kept', 'stopped' }

-- "2 ready, 1 queued"
local function counted(rows)
  local counts, parts = {}, {}
  for _, row in ipairs(rows) do
    counts[row.phase] = (counts[row.phase] or 0) + 1
  end
  for _, phase in ipairs(PHASES) do
    parts[#parts + 1] = counts[phase] and counts[phase] .. ' ' .. phase or nil
  end
  return table.concat(parts, ', ')
end

local function row_of_service(item)
  return { name = item.name, phase = item.event.phase, text = M.describe(item.event), since = item.since }
end

-- One row for a project: the service that matters most, and how far the others are.
local function row_of_project(name, items)
  local lead, rows = items[1], {}
  for i, item in ipairs(items) do
    rows[i] = row_of_service(item)
    if rank(item.event.phase) < rank(lead.event.phase) then
      lead = item
    end
  end
  local phase, text = lead.event.phase, counted(rows)
  if rank(phase) <= 2 then
    text = text .. ': ' .. lead.event.service .. ' ' .. M.describe(lead.event)
  end
  return { name = name, phase = phase, text = text, since = lead.since }
end

local function rows_of_projects(items)
  local order, by_project = {}, {}
  for _, item in ipairs(items) do
    local project = item.event.project
    if not by_project[project] then
      by_project[project] = {}
      order[#order + 1] = project
    end
    table.insert(by_project[project], item)
  end
  local rows = {}
  for i, project in ipairs(order) do
    rows[i] = row_of_project(clean(project), by_project[project])
  end
  return rows
end

-- What fails and what is at work stays; the rest is counted in the last row.
local function squeeze(rows, height)
  local by_rank, kept, out, left = {}, {}, {}, {}
  for i, row in ipairs(rows) do
    by_rank[i] = { rank = rank(row.phase), index = i }
  end
  table.sort(by_rank, function(a, b)
    if a.rank ~= b.rank then
      return a.rank < b.rank
    end
    return a.index < b.index
  end)
  for i = 1, height - 1 do
    kept[by_rank[i].index] = true
  end
  for i, row in ipairs(rows) do
    table.insert(kept[i] and out or left, row)
  end
  local phase = rows[by_rank[height].index].phase
  out[#out + 1] = { name = string.format('… %d more', #left), phase = phase, text = counted(left) }
  return out
end

--- The rows to show in so many lines: one per service when they fit, else one per project, else some of these and a count.
---@param items {name: string, event: table, since: integer}[] the latest event of each service
---@param height integer lines that there are, at least 1
---@return envctl.ui.Row[]
function M.fit(items, height)
  local rows = {}
  if #items <= height then
    for i, item in ipairs(items) do
      rows[i] = row_of_service(item)
    end
    return rows
  end
  rows = rows_of_projects(items)
  return #rows <= height and rows or squeeze(rows, height)
end

--- Live lines. The block is repainted in place; it never grows beyond the terminal.
local function live(write, color)
  local items, by_key, painted, tick, timer = {}, {}, 0, 0, nil

  local function line(row, columns, width)
    local mark = MARK[row.phase] or FRAMES[tick % #FRAMES + 1]
    local text = row.text
    if row.since and rank(row.phase) == 2 then
      text = text .. string.format(' … %.1f s', (sys.mono_ms() - row.since) / 1000)
    end
    local body = cut(row.name .. string.rep(' ', width - width_of(row.name)) .. '  ' .. text, columns - 3)
    if color and COLOR[row.phase] then
      mark = '\27[' .. COLOR[row.phase] .. 'm' .. mark .. '\27[0m'
    end
    return mark .. ' ' .. body
  end

  local function paint()
    local columns, height = sys.term_size(2)
    local rows, width = M.fit(items, math.max(1, (height or 24) - 2)), 0
    for _, row in ipairs(rows) do
      width = math.max(width, width_of(row.name))
    end
    local out = { '\r' }
    if painted > 1 then
      out[#out + 1] = string.format('\27[%dA', painted - 1)
    end
    for i, row in ipairs(rows) do
      out[#out + 1] = '\27[2K' .. line(row, columns or 80, width) .. (i < #rows and '\n' or '\27[J')
    end
    painted = #rows
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
    local item = by_key[key]
    if not item then
      item = { name = label(event.project, event.service) }
      by_key[key] = item
      items[#items + 1] = item
    end
    local before = item.event and item.event.phase
    if before == 'failed' and (event.phase == 'stopping' or event.phase == 'stopped') then
      return -- that it is taken back does not make it better
    end
    if before ~= event.phase then
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
