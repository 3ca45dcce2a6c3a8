--- The git command, for what is not read directly: one way to run it. Programs that a repository can plant (hooks, a file system
--- monitor, filters unless asked for, a pager) do not run, nothing of the caller's GIT_* environment leaks in, git never asks
--- anybody anything, and every call has a deadline.
local proc = require 'envctl.host.proc'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local task = require 'envctl.task'

local M = {}

local DEADLINE_MS, WAIT_MS = 120000, 120000
-- Says in the environment of git, and of what it starts, what it is at work for.
local MARKER = 'ENVCTL_GIT_FOR'
-- Below this much output nothing of ours comes close.
local MAX_OUTPUT = 512 * 1024 * 1024

-- What of GIT_* says where the user's configuration is; nothing else is let through.
local KEPT = { GIT_CONFIG_NOSYSTEM = true, GIT_CONFIG_GLOBAL = true, GIT_CONFIG_SYSTEM = true }

-- Settings for every call.
local HARDENED = {
  'core.hooksPath=/dev/null', 'core.fsmonitor=false', 'core.untrackedCache=false', 'core.pager=cat',
  'submodule.recurse=false', 'advice.detachedHead=false', 'maintenance.auto=false', 'gc.auto=0',
}

local found = {}

--- Absolute path of git; a file of the repository itself is never it.
---@param roots envctl.Roots
---@return string
function M.program(roots)
  local known = found[roots.root]
  if known then
    return known
  end
  local path, message = sys.which('git', { avoid = roots.root })
  if not path then
    err.raise('git_missing', 'the git command is needed and not there: ' .. tostring(message), { hint = 'install git' })
  end
  found[roots.root] = path
  return path
end

--- The environment for git.
---@param extra table<string, string>?
---@return table<string, string>
function M.environment(extra)
  local env = {}
  for name, value in pairs(sys.environ()) do
    if name:sub(1, 4) ~= 'GIT_' or KEPT[name] then
      env[name] = value
    end
  end
  env.LC_ALL, env.LANGUAGE = 'C', nil
  env.GIT_TERMINAL_PROMPT, env.GIT_OPTIONAL_LOCKS = '0', '0'
  env.GIT_PAGER, env.GIT_EDITOR = 'cat', 'true'
  env.ENVCTL_SERVICE, env.ENVCTL_SCOPE = nil, nil
  for name, value in pairs(extra or {}) do
    env[name] = value
  end
  return env
end

local function arguments(program, opts)
  local argv = { program, '--no-pager', '--no-optional-locks' }
  for _, setting in ipairs(HARDENED) do
    argv[#argv + 1] = '-c'
    argv[#argv + 1] = setting
  end
  for _, setting in ipairs(opts.config or {}) do
    argv[#argv + 1] = '-c'
    argv[#argv + 1] = setting
  end
  argv[#argv + 1] = '-C'
  argv[#argv + 1] = opts.dir
  for _, word in ipairs(opts.args) do
    argv[#argv + 1] = word
  end
  return argv
end

---@class envctl.GitCall
---@field dir string working directory
---@field args string[]
---@field config string[]? more settings, name=value
---@field input string? standard input
---@field env table<string, string>? more variables
---@field deadline_ms integer?
---@field mark string? what it is at work for, see M.wait_for

---@class envctl.GitResult
---@field code integer 0 when it succeeded
---@field out string
---@field err string

local function environment_of(opts)
  local env = M.environment(opts.env)
  env[MARKER] = opts.mark
  return env
end

local function spawn(argv, opts, running)
  return task.await(function(resume)
    local out, text, size, too_much = {}, {}, 0, false
    local process, message, code = proc.spawn {
      argv = argv,
      env = environment_of(opts),
      cwd = opts.dir,
      stdin = opts.input and 'pipe' or 'null',
      stdout = 'pipe',
      stderr = 'pipe',
      on_stdout = function(chunk)
        size = size + #(chunk or '')
        if size > MAX_OUTPUT then
          too_much = true
          running.process:signal 'KILL'
        elseif chunk then
          out[#out + 1] = chunk
        end
      end,
      on_stderr = function(chunk)
        if chunk and #text < 256 then
          text[#text + 1] = chunk
        end
      end,
      on_exec = function(ok, why)
        if not ok then
          running.failure = why
        end
      end,
      on_exit = function(exit_code, signal)
        local why = table.concat(text)
        if signal then
          why = why .. (too_much and 'too much output' or 'ended by signal ' .. signal)
        end
        resume { code = exit_code or -1, out = table.concat(out), err = running.failure or why, signal = signal }
      end,
    }
    if not process then
      err.raise('git_failed', 'git cannot be run: ' .. message, { data = { errno = code } })
    end
    running.process = process
    if opts.input then
      process:write(opts.input)
      process:close_stdin()
    end
  end)
end

--- Runs git and returns how it ended. Raises only when it cannot run or does not end in time. Awaits.
---@param roots envctl.Roots
---@param opts envctl.GitCall
---@return envctl.GitResult
function M.run(roots, opts)
  if not task.current() then
    err.raise('git_failed', 'git only runs inside of a task')
  end
  local argv = arguments(M.program(roots), opts)
  local running = {}
  local closing <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      if running.process then
        running.process:close()
      end
    end,
  })
  local deadline = opts.deadline_ms or DEADLINE_MS
  local result, why = task.timeout(deadline, function()
    return spawn(argv, opts, running)
  end)
  if not result then
    if running.process then
      running.process:signal 'KILL'
    end
    local text = string.format('`git %s` did not end within %g s (%s)', opts.args[1], deadline / 1000, why)
    err.raise('git_timeout', text, {
      hint = 'look for another git that holds a lock, then try again', where = opts.dir,
    })
  end
  return result
end

--- Waits for the git of an envctl that was killed: it goes on, and so do the programs that it started. Awaits.
---@param mark string
---@param where string what it changes, for the message
function M.wait_for(mark, where)
  local query, deadline = { { marker = MARKER .. '=' .. mark } }, sys.mono_ms() + WAIT_MS
  while true do
    local alive = require('envctl.host.procfs').members(query)[1]
    if #alive == 0 then
      return
    elseif sys.mono_ms() > deadline then
      err.raise('busy', 'git (pid ' .. alive[1].pid .. ') is still at work on ' .. where, {
        hint = 'wait for it, or end it, then try again', where = where,
      })
    end
    task.sleep(10)
  end
end

--- The line of git's own message that says what is wrong.
---@param text string
---@return string
function M.complaint(text)
  local last
  for line in text:gmatch '[^\r\n]+' do
    local fatal = line:match '^fatal: (.*)' or line:match '^error: (.*)'
    if fatal then
      return fatal
    end
    last = line
  end
  return last or 'no message'
end

-- The lock files that a message of git names.
local function named_lock(text)
  return text:match "'([^']+%.lock)'"
end

--- The error object for a call that failed. Locks are named, and never removed.
---@param what string
---@param result envctl.GitResult
---@param where string?
---@return envctl.Err
function M.failure(what, result, where)
  local lock = named_lock(result.err)
  local hint
  if lock then
    hint = 'another git may be running; when none is, remove ' .. lock .. ' yourself'
    local stat = require('envctl.host.fs').lstat(lock)
    if stat then
      hint = hint .. string.format(' (it is %d s old)', math.max(0, (sys.wall_ms() - stat.mtime_ms) // 1000))
    end
  end
  local foreign = result.err:match "dubious ownership in repository at '([^\n]*)'"
  if foreign then
    hint = 'it is of another user; when you trust it: `git config --global --add safe.directory ' .. foreign .. '`'
  end
  return err.new('git_failed', what .. ': ' .. M.complaint(result.err), {
    hint = hint, where = lock or where, data = { exit = result.code, lock = lock },
  })
end

--- Runs git and returns what it printed. Raises git_failed. Awaits.
---@param roots envctl.Roots
---@param opts envctl.GitCall
---@param what string? for the message
---@return string
function M.output(roots, opts, what)
  local result = M.run(roots, opts)
  if result.code ~= 0 then
    error(M.failure(what or ('git ' .. opts.args[1]), result, opts.dir), 0)
  end
  return result.out
end

--- The parts of an output that are separated by NUL.
---@param text string
---@return string[]
function M.split(text)
  local out = {}
  for part in text:gmatch '[^%z]+' do
    out[#out + 1] = part
  end
  return out
end

--- Settings that switch off every filter that the configuration names, for looking only.
---@param roots envctl.Roots
---@param dir string
---@return string[]
function M.no_filters(roots, dir)
  local result = M.run(roots, {
    dir = dir,
    args = { 'config', '-z', '--name-only', '--get-regexp', '^filter\\..*\\.(clean|smudge|process|required)$' },
  })
  local out, seen = {}, {}
  for _, key in ipairs(M.split(result.out)) do
    local name = key:match '^filter%.(.*)%.[^.]+$'
    if name and not seen[name] and not name:find '[=\n]' then
      seen[name] = true
      for _, part in ipairs { 'clean=', 'smudge=', 'process=', 'required=false' } do
        out[#out + 1] = 'filter.' .. name .. '.' .. part
      end
    end
  end
  return out
end

return M
