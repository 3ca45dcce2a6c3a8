--- logs: the end of the services' logs, what came since a time, what matches, and with --logs-follow what comes. Reads only.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local clean = require('envctl.ui.clean').text
local log_file = require 'envctl.state.log_file'
local select = require 'envctl.cli.select'

local M = {}

local DEFAULT_TAIL = 20
local FOLLOW_MS = 100
local SHOWN_BYTES = 64 * 1024 -- of a line, on a terminal

---@class envctl.LogQuery what is wanted of each log
---@field since integer? wall clock, ms
---@field tail integer? at most so many lines from the end
---@field pattern envctl.Regex?

local function query_of(flags)
  local query = { tail = flags.logs_tail }
  if flags.since then
    query.since = require('envctl.util.moment').parse(flags.since, sys.wall_ms()) or err.raise('invalid_value',
      ('--since: expected 90s, 10m, 2h or a date and time such as %s, got "%s"'):format(
        sys.iso_time(sys.wall_ms()):gsub('%..*', 'Z'), flags.since))
  end
  if flags.grep then
    local pattern, message = require('envctl.host.regex').compile(flags.grep)
    query.pattern = pattern or err.raise('invalid_value', '--grep: ' .. message, {
      hint = 'it is a POSIX extended regular expression; \\ makes a special character an ordinary one',
    })
  end
  if not query.tail and not query.since and not query.pattern then
    query.tail = DEFAULT_TAIL
  end
  return query
end

local function matches(query, line)
  return not query.pattern or query.pattern:matches(clean(line))
end

-- Where the wanted part of a log begins: never later than the first line since the wanted time.
local function begin(path, query, size)
  local first = log_file.first(path)
  if not query.since then
    return first
  elseif query.since >= sys.wall_ms() then
    return size
  end
  local offset = require('envctl.state.log_times').offset(path, query.since)
  if offset <= first then
    return first
  end
  -- A line that was begun before and ended since belongs to it.
  local whole = fs.read_at(path, offset - 1, 1) == '\n'
  return log_file.last(path, whole and 0 or 1, first, math.min(offset, size))
end

-- Lets the lines through that match: the last of them, once they are all there, when only so many are wanted.
local function sieve(query, visit)
  local last, count = {}, 0
  local function line_of(line)
    if matches(query, line) then
      if query.tail then
        last[count % query.tail] = line
        count = count + 1
      else
        visit(line)
      end
    end
  end
  return line_of, function()
    for i = math.max(0, count - (query.tail or 0)), count - 1 do
      visit(last[i % query.tail])
    end
  end
end

--- Hands out the wanted lines of a log.
---@param path string
---@param query envctl.LogQuery
---@param visit fun(line: string)
---@return integer offset bytes, string rest where to go on, and the last line when its end is not there yet
function M.read(path, query, visit)
  local stat, message, code = fs.stat(path)
  if not stat then
    return code == 'ENOENT' and 0 or err.raise('io_error', message), ''
  end
  local from = begin(path, query, stat.size)
  if not query.pattern then
    from = query.tail and log_file.last(path, query.tail, from, stat.size) or from
    return log_file.each(path, from, stat.size, visit)
  end
  local line_of, finish = sieve(query, visit)
  local offset, rest = log_file.each(path, from, stat.size, line_of)
  finish()
  return offset, rest
end

---@class envctl.LogPlace where following goes on
---@field offset integer bytes
---@field rest string
---@field container envctl.deps.LogPlace? of a log that an engine has

-- What an engine gives is the log of a container; without it there is the end that the keeper has kept.
local function read_container(ctx, record, query, visit)
  local line_of, finish = visit, function() end
  if query.pattern then
    line_of, finish = sieve(query, visit)
  end
  local ok, place = require('envctl.task').try(require('envctl.deps.container_log').read, record, {
    since = query.since, tail = not query.pattern and query.tail or nil,
  }, line_of)
  if ok then
    finish()
    return place
  end
  ctx.out.note('envctl: ' .. record.name .. ': ' .. place.message .. '; this is what is known of its log')
end

-- Hands out the wanted lines of a service or dependency; a last line without its end only where that is wanted.
local function read(ctx, record, query, visit, with_rest)
  local container = record.container_id and read_container(ctx, record, query, visit)
  if container then
    return { offset = 0, rest = '', container = container }
  end
  local offset, rest = M.read(record.log_path, query, visit)
  if with_rest and rest ~= '' and matches(query, rest) and query.tail ~= 0 then
    visit(rest)
  end
  return { offset = offset, rest = rest }
end

local function printer(ctx)
  local raw = not sys.isatty(1) and not ctx.route.flags.logs_no_color
  return function(line)
    sys.write(1, (raw and line or clean(line:sub(1, SHOWN_BYTES))) .. '\n')
  end
end

local function print_json(ctx, doc, records, query)
  local services = json.array {}
  for i, r in ipairs(records) do
    local lines = json.array {}
    local container = read(ctx, r, query, function(line)
      lines[#lines + 1] = line
    end, true).container
    local there = not container and fs.stat(r.log_path) or nil
    services[i] = {
      name = r.name,
      project = r.project,
      service = r.service,
      log_path = r.log_path,
      exists = (there or container) ~= nil,
      size_bytes = container and container.bytes or there and there.size or 0,
      trimmed_bytes = there and log_file.first(r.log_path) or 0,
      tail_lines = lines,
      status = r.status,
    }
  end
  ctx.out.json {
    schema = 'envctl.logs.v1',
    ok = true,
    run_id = doc.run_id,
    mode = doc.mode,
    tail = query.tail or json.null,
    since = query.since and sys.iso_time(query.since) or json.null,
    grep = ctx.route.flags.grep or json.null,
    -- Following is for text; the reference has these keys in every document.
    follow_requested = false,
    streaming = false,
    duration_seconds = json.null,
    services = services,
  }
end

-- What a log got since the last look.
local function go_on(ctx, record, place, visit)
  local stat = fs.stat(record.log_path)
  if not stat or stat.size == place.offset then
    return
  elseif stat.size < place.offset then
    place.offset, place.rest = 0, '' -- emptied
  elseif (fs.data_start(record.log_path) or 0) > place.offset then
    place.offset, place.rest = log_file.first(record.log_path), ''
    ctx.out.note('envctl: ' .. record.name .. ': lines were trimmed before they could be shown')
  end
  place.offset, place.rest = log_file.each(record.log_path, place.offset, stat.size, visit, place.rest)
end

-- Has the lines of containers printed as they come. They end with the result.
local function follow_containers(records, places, visitors)
  local task = require 'envctl.task'
  local tasks = {}
  for i, r in ipairs(records) do
    if places[i].container then
      tasks[#tasks + 1] = task.spawn(require('envctl.deps.container_log').follow, r, places[i].container, visitors[i])
    end
  end
  return setmetatable({}, {
    __close = function()
      for _, t in ipairs(tasks) do
        task.cancel(t)
      end
    end,
  })
end

--- Prints whole new lines of each log until Ctrl-C (or for duration_ms).
local function follow(ctx, records, places, query, print_line)
  local task = require 'envctl.task'
  local loop = require 'envctl.host.loop'
  local stop_now = false
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
  local visitors = {}
  for i, r in ipairs(records) do
    local prefix = #records > 1 and r.name .. ' | ' or ''
    visitors[i] = function(line)
      if matches(query, line) then
        print_line(prefix .. line)
      end
    end
  end
  local following <close> = follow_containers(records, places, visitors) -- luacheck: ignore 211
  while true do
    for i, r in ipairs(records) do
      if not places[i].container then
        go_on(ctx, r, places[i], visitors[i])
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

-- The run that is asked for, or what runs now.
local function document_of(ctx)
  local runs = require 'envctl.state.runs'
  if ctx.route.flags.run then
    require('envctl.state.paths').check(ctx.paths)
    return runs.read(ctx.paths, ctx.route.flags.run)
  end
  return select.require_state(ctx, #runs.list(ctx.paths) > 0 and 'logs of the last run: `envctl logs --run previous`')
end

-- The services; and what is asked for by name: dependencies, and services that were stopped. Among others they would be noise.
local function records_of(ctx, doc)
  if #ctx.route.services == 0 then
    return (select.services(ctx.route, doc))
  end
  local all = { mode = doc.mode, services = {} }
  for name, record in pairs(doc.services) do
    all.services[name] = record
  end
  require('envctl.state.runs').add_ended(all.services, doc)
  require('envctl.deps.truth').each(doc, function(project, id, component)
    if component.log_path then
      component.project, component.service, component.mode = project, id, ctx.route.mode
      all.services[require('envctl.state.names').display(project, id)] = component
    end
  end)
  return (select.services(ctx.route, all))
end

-- Where a person finds the whole of it.
local function place_of(record)
  if record.container_id then
    return ('container %s of %s'):format(record.container_id:sub(1, 12), record.engine or 'docker')
  end
  return record.log_path
end

---@param ctx table
---@return integer exit code
function M.run(ctx)
  local flags, query = ctx.route.flags, query_of(ctx.route.flags)
  local doc = document_of(ctx)
  local records = records_of(ctx, doc)
  local following = flags.logs_follow or (flags.logs_duration or 0) > 0
  if ctx.out.is_json and not following then
    print_json(ctx, doc, records, query)
    return 0
  end
  local print_line, places = printer(ctx), {}
  for i, r in ipairs(records) do
    ctx.out.text(r.name .. ': log')
    ctx.out.text(place_of(r))
    places[i] = read(ctx, r, query, print_line, not following)
  end
  return following and follow(ctx, records, places, query, print_line) or 0
end

return M
