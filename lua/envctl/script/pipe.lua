--- The parent's end of the script host: starts the process, sends a request, answers what the script asks meanwhile, and ends the
--- process when it takes too long or says too much. All functions but start and kill await.
local sys = require 'envctl.host.sys'
local task = require 'envctl.task'
local json = require 'envctl.util.json'
local wire = require 'envctl.script.wire'
local problems = require 'envctl.script.problems'

local M = {}

local START_MS, LAST_WORDS_MS = 20000, 500

---@class envctl.script.Pipe
---@field dead envctl.script.ChildProblem? why it answers no more
---@field cage envctl.ConfineReport?
local Pipe = {}
Pipe.__index = Pipe

-- What a debug build needs to find its modules and to report; nothing of the user's environment.
local PASSED = { 'ENVCTL_LUA_DIR', 'ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS' }

local function environment()
  local env = { LC_ALL = 'C' }
  for _, name in ipairs(PASSED) do
    env[name] = sys.getenv(name)
  end
  return env
end

function Pipe:wake()
  local waiter = self.waiter
  if waiter and (self.lines[self.first] or self.ended) then
    self.waiter = nil
    waiter()
  end
end

-- Splits what arrives into lines. More than an answer may have without an end of line is the end of the process.
function Pipe:feed(chunk)
  local from = 1
  while true do
    local stop = chunk:find('\n', from, true)
    if not stop then
      break
    end
    local line = table.concat(self.partial) .. chunk:sub(from, stop - 1)
    self.partial, self.partial_size = {}, 0
    if line ~= '' then
      self.last = self.last + 1
      self.lines[self.last] = line
    end
    from = stop + 1
  end
  local rest = from > 1 and chunk:sub(from) or chunk
  if rest ~= '' then
    self.partial[#self.partial + 1] = rest
    self.partial_size = self.partial_size + #rest
  end
  if self.partial_size > wire.ANSWER + 4096 then
    self:kill { message = string.format('the answer is larger than %d MiB', wire.ANSWER >> 20), limit = 'answer' }
    self.partial, self.partial_size = {}, 0
  end
end

local function overdue_problem()
  return { message = string.format('ran for %g s', wire.WALL_MS / 1000), limit = 'wall' }
end

local function ending(code, signal)
  if signal == 'SYS' then
    return { message = 'tried something that scripts cannot do; the kernel ended it' }
  elseif signal then
    return { message = 'the script host was ended by SIG' .. signal }
  end
  return { message = string.format('the script host ended with code %s', tostring(code)) }
end

--- Starts the script host.
---@param opts? {exe: string?, cpu_ms: integer?} exe: program to run instead of this one
---@return envctl.script.Pipe
function M.start(opts)
  local self = setmetatable({
    lines = {}, first = 1, last = 0, partial = {}, partial_size = 0, cpu_ms = opts and opts.cpu_ms or wire.CPU_MS,
  }, Pipe)
  local process, message = require('envctl.host.proc').spawn {
    argv = { opts and opts.exe or sys.exe, '__script-host' },
    env = environment(),
    cwd = '/',
    stdin = 'pipe',
    stdout = 'pipe',
    stderr = 'null',
    on_stdout = function(chunk)
      if chunk then
        self:feed(chunk)
      else
        self.eof = true
      end
      self:wake()
    end,
    on_exec = function(ok, why)
      if not ok then
        self.dead = self.dead or { message = tostring(why) }
      end
    end,
    on_exit = function(code, signal)
      self.ended = true
      self.dead = self.dead or ending(code, signal)
      self:wake()
    end,
  }
  if not process then
    error(problems.new { message = 'the script host does not start: ' .. tostring(message) }, 0)
  end
  self.process = process
  return self
end

--- Ends the process. Idempotent.
---@param why envctl.script.ChildProblem?
function Pipe:kill(why)
  self.dead = self.dead or why or { message = 'the script host was closed' }
  if not self.ended then
    self.process:signal 'KILL'
  end
end

--- Ends the process and waits until it is gone.
function Pipe:close()
  self:kill()
  if not self.ended and task.current() then
    task.await(function(resume)
      self.waiter = resume
    end)
  end
  self.process:close()
end

-- Parks until a line is there, the process has ended, or ms went by.
function Pipe:pause(ms)
  task.await(function(resume)
    local timer = require('envctl.host.loop').timer(ms, function()
      self.waiter = nil
      resume()
    end)
    self.waiter = function()
      timer:close()
      resume()
    end
    return timer
  end)
  self.waiter = nil
end

-- Out of time. The script is interrupted, then asked where it is, then ended.
function Pipe:overdue()
  self.late = true
  for _ = 1, self.cage and 2 or 0 do
    if not self.ended and not self.lines[self.first] then
      self.process:signal 'USR1'
      self:pause(LAST_WORDS_MS)
    end
  end
  if not self.ended and not self.lines[self.first] then
    self:kill(self.cage and overdue_problem() or { message = 'the script host does not start', limit = 'wall' })
  end
end

-- Waits for a line at most ms, and gives back how many it took.
function Pipe:next_line(ms)
  local began = sys.mono_ms()
  while not self.lines[self.first] and not self.ended do
    local left = ms - (sys.mono_ms() - began)
    if left > 0 then
      self:pause(left)
    elseif self.late or self.dead then
      self:kill(overdue_problem())
      self:pause(1000)
    else
      self:overdue()
    end
  end
  local line = self.lines[self.first]
  if line then
    self.lines[self.first] = nil
    self.first = self.first + 1
  end
  return line, sys.mono_ms() - began
end

-- The last line of a process that ended itself says which line of the script ran too long.
local function note_fatal(self, message)
  local fatal = type(message.fatal) == 'table' and message.fatal or {}
  local wall = fatal.why == 'wall'
  local p = wall and overdue_problem() or { message = string.format('ran for %g s', self.cpu_ms / 1000), limit = 'cpu' }
  p.file, p.line = fatal.file, fatal.line
  p = problems.from_child(p)
  self.dead = self.dead and self.dead.limit and self.dead or p
end

function Pipe:answer(message, handlers)
  local handler = handlers[message.ask]
  local reply, text
  if not handler then
    reply = { error = { message = 'cannot be done here' } }
  else
    local ok, result, more = task.try(handler, message)
    if not ok and result.code == 'interrupted' then -- that is not for the script to catch
      self:kill()
      error(result, 0)
    elseif ok then
      reply, text = { answer = result == nil and {} or result }, more
    else
      reply = { error = { message = result.message } }
    end
  end
  self:send(reply, text)
end

-- A message, and the bytes of a text behind it as they are.
function Pipe:send(message, text)
  message.bytes = text and #text or nil
  if not self.dead then
    self.process:write(text and wire.encode(message) .. text or wire.encode(message))
  end
end

--- Sends a request without waiting: Pipe:request with the same one waits for the result. Nothing else is asked in between.
---@param request table
---@param text string? bytes that belong to it
function Pipe:post(request, text)
  request.cpu_ms, self.posted = self.cpu_ms, request
  self:send(request, text)
end

--- Sends a request and waits for its result. Time in which the script waits for an answer of ours does not count.
---@param request table
---@param handlers table<string, fun(message: table): any, string?> what the script may ask, the answer and a text with it; raised
--- errors go back to it
---@param text string? bytes that belong to the request
---@return table? result, envctl.script.ChildProblem? problem
function Pipe:request(request, handlers, text)
  if self.posted ~= request then
    self:post(request, text)
  end
  self.posted, self.late = nil, false
  -- Until it has said hello, it is the process that starts, not the script that runs.
  local used, budget = 0, self.cage and wire.WALL_MS or START_MS
  while true do
    local line, took = self:next_line(budget - used)
    used = used + took
    if not line then
      return nil, self.dead or { message = 'the script host says nothing' }
    end
    local message = wire.decode(line)
    if not message then
      self:kill { message = 'the script host speaks nonsense' }
    elseif message.fatal ~= nil then
      note_fatal(self, message)
    elseif message.log ~= nil then
      if handlers.log then
        handlers.log(message)
      end
    elseif message.hello ~= nil then
      self.cage = type(message.cage) == 'table' and json.strip_nulls(message.cage) or {}
      used, budget = 0, wire.WALL_MS
    elseif message.ask ~= nil then
      self:answer(message, handlers)
    elseif message.error ~= nil then
      local p = problems.from_child(json.strip_nulls(message.error))
      if self.late and p.limit then
        p.message, p.limit = overdue_problem().message, 'wall'
      end
      return nil, p
    else
      return message
    end
  end
end

return M
