--- The log of a container as its engine has it, read and followed by `envctl logs`: nothing is written.
local sys = require 'envctl.host.sys'
local moment = require 'envctl.util.moment'
local docker = require 'envctl.deps.docker'
local engines = require 'envctl.deps.engine'

local M = {}

local READ_MS, FOLLOW_MS = 60000, 24 * 3600 * 1000
local AGAIN_MS = 1000 -- between looks at a container that does not run
local LINE_MAX = 1024 * 1024 -- of an endless line no more than this is kept
local PART = 16384 -- docker gives what it took in one piece a time of its own, also in the middle of a line

-- Every line begins with the time at which the engine took it. One that does not is a complaint of the engine's.
local STAMP = '^(%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.?%d*[Z+-][%d:]*) ?'

local function unstamped(line)
  local stamp = line:match(STAMP)
  if not stamp then
    return nil
  end
  local text = line:gsub(STAMP, '', 1)
  local at = PART + 1
  while #text >= at and text:sub(at, at + 50):find(STAMP) do
    text = text:sub(1, at - 1) .. text:sub(at):gsub(STAMP, '', 1)
    at = at + PART
  end
  return stamp, text
end

---@class envctl.deps.LogPlace
---@field stamp string? of the last line that was handed out
---@field same integer how many lines with this time were handed out: several may have it
---@field since integer? wall clock, ms: no line before it is wanted
---@field bytes integer

-- Hands out what comes in pieces, line by line, and remembers how far that is. What was handed out before is left out.
local function reader(place, visit)
  local before, skip, rest, complaint = place.stamp, place.same, '', nil
  local function line_of(line)
    local stamp, text = unstamped(line)
    if not stamp then
      complaint = line:find '%S' and line or complaint
      return
    elseif before and (stamp < before or stamp == before and skip > 0) then
      skip = stamp == before and skip - 1 or skip
      return
    end
    place.same = stamp == place.stamp and place.same + 1 or 1
    place.stamp, place.bytes = stamp, place.bytes + #text + 1
    visit((text:gsub('\r$', '')))
  end
  return function(chunk)
    if not chunk then
      if rest ~= '' then
        line_of(rest)
        rest = ''
      end
      return complaint
    end
    local from = 1
    for part, to in chunk:gmatch '([^\n]*)\n()' do
      line_of(rest .. part)
      rest, from = '', to
    end
    rest = (rest .. chunk:sub(from)):sub(1, LINE_MAX)
  end
end

local function words_of(record, place, more)
  local args = { 'logs', '-t' }
  local since = place.stamp and moment.parse(place.stamp, sys.wall_ms()) or place.since
  if since then
    table.move({ '--since', ('%d'):format(since // 1000) }, 1, 2, #args + 1, args)
  end
  table.move(more, 1, #more, #args + 1, args)
  args[#args + 1] = record.container_id
  return args
end

--- Hands out the lines that there are. Awaits; raises docker_unavailable, or dependency_failed with what the engine says.
---@param record table component with a container
---@param opts {since: integer?, tail: integer?} since: wall clock, ms
---@param visit fun(line: string)
---@return envctl.deps.LogPlace where following goes on
function M.read(record, opts, visit)
  local place = { same = 0, bytes = 0, since = math.max(opts.since or 0, record.log_since or 0) }
  place.since = place.since > 0 and place.since or nil
  local more = opts.tail and { '--tail', ('%d'):format(opts.tail) } or {}
  if opts.tail == 0 then
    place.since = sys.wall_ms()
  end
  local engine = engines.of(record, sys.environ())
  docker.ping(engine)
  local take = reader(place, visit)
  local result = docker.run(engine, words_of(record, place, more), READ_MS, { each = take })
  local complaint = take(nil)
  if result.code ~= 0 then
    require('envctl.err').raise('dependency_failed', complaint or engine.name .. ' does not give its log')
  end
  return place
end

--- Hands out the lines that come, also after the container was started again, until the task is cancelled. Awaits.
---@param record table component with a container
---@param place envctl.deps.LogPlace from read()
---@param visit fun(line: string)
function M.follow(record, place, visit)
  local task = require 'envctl.task'
  local engine = engines.of(record, sys.environ())
  while true do
    local take = reader(place, visit)
    -- Of a daemon that is down nothing is heard until it is back.
    task.try(docker.run, engine, words_of(record, place, { '-f' }), FOLLOW_MS, { each = take })
    take(nil)
    task.sleep(AGAIN_MS)
  end
end

return M
