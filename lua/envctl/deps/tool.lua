--- Runs helper programs of dependencies to their end, inside of the keeper: initdb, cp, psql and the like. As root they run as the
--- user of the server. Secrets go through the environment or standard input, never through arguments.
local proc = require 'envctl.host.proc'
local sys = require 'envctl.host.sys'
local loop = require 'envctl.host.loop'
local task = require 'envctl.task'

local M = {}

local MAX_OUTPUT = 65536

--- An argument list that becomes the given user first. `setpriv` replaces itself: the process stays the same one.
---@param user envctl.deps.User?
---@param argv string[]
---@return string[]
function M.as_user(user, argv)
  if not user then
    return argv
  end
  local setpriv = sys.which('setpriv', { path = '/usr/bin:/bin:/usr/sbin:/sbin' }) or '/usr/bin/setpriv'
  local out = { setpriv, '--reuid', ('%d'):format(user.uid), '--regid', ('%d'):format(user.gid), '--init-groups', '--' }
  return table.move(argv, 1, #argv, #out + 1, out)
end

--- The environment of servers and helpers: little of the user's, so that PGHOST or PGDATA of a shell changes nothing.
---@param base table<string, string>
---@param extra table<string, string>?
---@return table<string, string>
function M.env(base, extra)
  local env = { PATH = base.PATH or '/usr/local/bin:/usr/bin:/bin', LC_ALL = 'C.UTF-8', HOME = '/' }
  for _, name in ipairs { 'TZ', 'LD_LIBRARY_PATH' } do
    env[name] = base[name]
  end
  for name, value in pairs(extra or {}) do
    env[name] = value
  end
  return env
end

---@class envctl.deps.Result
---@field code integer? exit code
---@field signal string?
---@field out string standard output and error
---@field answer string standard output alone
---@field timed_out boolean?

--- Runs a program. Awaits; on cancel or at the end of the budget it is killed.
---@param o {argv: string[], env: table, cwd: string?, input: string?, timeout_ms: integer?, log: string?,
---  each: fun(chunk: string)?, user: table?} log, each: a file, or what takes it as it comes, for all of its output
---@return envctl.deps.Result
function M.run(o)
  local chunks, answer, size = {}, {}, 0
  local function keep(chunk)
    if chunk and size < MAX_OUTPUT then
      chunks[#chunks + 1] = chunk
      size = size + #chunk
      return true
    end
  end
  local function keep_answer(chunk)
    answer[#answer + 1] = keep(chunk) and chunk or nil
  end
  local function each(chunk)
    if chunk then
      o.each(chunk)
    end
  end
  local result = { out = '', answer = '' }
  local process, timer
  local guard <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      if timer then
        timer:close()
      end
      if process then
        if not result.code and not result.signal then
          process:signal 'KILL'
        end
        process:close()
      end
    end,
  })
  local code, signal = task.await(function(resume)
    local message
    process, message = proc.spawn {
      argv = M.as_user(o.user, o.argv),
      env = o.env,
      cwd = o.cwd or '/',
      stdin = o.input and 'pipe' or 'null',
      stdout = o.log and { log = o.log } or 'pipe',
      stderr = (o.log or o.each) and 'stdout' or 'pipe',
      on_stdout = o.each and each or not o.log and keep_answer or nil,
      on_stderr = not (o.log or o.each) and keep or nil,
      on_exec = function(ok, why)
        if not ok then
          keep(why)
        end
      end,
      on_exit = resume,
    }
    if not process then
      keep(message)
      resume(127)
      return nil
    end
    if o.input then
      process:write(o.input)
      process:close_stdin()
    end
    timer = loop.timer(o.timeout_ms or 60000, function()
      result.timed_out = true
      process:signal 'KILL'
    end)
  end)
  result.code, result.signal = code, signal
  result.out, result.answer = table.concat(chunks), table.concat(answer)
  return result
end

--- The last line that says something, for messages.
---@param text string
---@return string
function M.last_line(text)
  local last = ''
  for line in text:gmatch '[^\r\n]+' do
    if line:find '%S' then
      last = line
    end
  end
  return last:sub(1, 300)
end

local locks = {} -- key -> waiting resumes

--- Holds a name within this process until the result is closed. Awaits.
---@param key string
---@return table closable
function M.lock(key)
  while locks[key] do
    task.await(function(resume)
      table.insert(locks[key], resume)
    end)
  end
  locks[key] = {}
  return setmetatable({}, {
    __close = function()
      local waiting = locks[key]
      locks[key] = nil
      for _, resume in ipairs(waiting) do
        loop.timer(0, resume) -- not from inside of a closing task
      end
    end,
  })
end

return M
