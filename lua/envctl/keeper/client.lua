--- The command line's side of the keeper: connect (starting one when needed), send one request, hand progress on, return the
--- result or raise the error. Ctrl-C asks for cancel; a second one leaves at once.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local net = require 'envctl.host.net'
local loop = require 'envctl.host.loop'
local proc = require 'envctl.host.proc'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local task = require 'envctl.task'

local M = {}

local CONNECT_BUDGET_MS = 10000
local GREETING_BUDGET_MS = 60000 -- a disk that is slow to sync can hold a keeper up

--- Starts a keeper and waits until it listens, found another one, or failed.
local function start_keeper(paths, root)
  local argument = json.encode_line { paths = paths, root = root }
  local env = sys.environ()
  -- A keeper that carried a service's marker would be ended together with that service.
  env.ENVCTL_SERVICE, env.ENVCTL_SCOPE = nil, nil
  require('envctl.state.paths').prepare(paths)
  local text = ''
  local code, signal = task.await(function(resume)
    local process, message, errno = proc.spawn {
      argv = { sys.exe, '__keeper', argument },
      env = env,
      cwd = paths.scope_dir,
      stdin = 'null',
      stdout = 'pipe',
      stderr = { log = paths.scope_dir .. '/keeper.err' },
      on_stdout = function(chunk)
        text = text .. (chunk or '')
        if text:find('\n', 1, true) then
          resume('line')
        end
      end,
      on_exec = function(ok, why)
        if not ok then
          resume('exec', why)
        end
      end,
      on_exit = function(exit_code, exit_signal)
        resume(exit_code or -1, exit_signal)
      end,
    }
    if not process then
      err.raise('keeper_failed', 'the keeper cannot be started: ' .. message, { data = { errno = errno } })
    end
    M.process = process -- kept: closing it early would end the pipe the keeper reports on
  end)
  if text:find('^ready\n') or text:find('^busy\n') then
    return
  end
  local reported = json.decode(text:match('^[^\n]*') or '')
  if type(reported) == 'table' and reported.error then
    error(err.from_table(reported.error), 0)
  end
  local tail = fs.read_at(paths.scope_dir .. '/keeper.err', 0, 4096)
  local how = tostring(code) .. ' ' .. tostring(signal or '')
  err.raise('keeper_failed', 'the keeper ended before it was ready (' .. how .. ')', {
    hint = tail and tail ~= '' and tail or ('see ' .. paths.scope_dir .. '/keeper.log'),
  })
end

local function try_connect(paths)
  local conn, message, code = net.unix_connect(paths.socket_dir or paths.scope_dir, 'keeper.sock')
  if conn then
    return conn
  end
  if code == 'ENOENT' or code == 'ECONNREFUSED' or code == 'ENOTDIR' or code == 'EAGAIN' then
    return nil
  end
  err.raise('keeper_failed', message, { data = { errno = code } })
end

local function is_stopped(pid)
  return (fs.read(('/proc/%d/stat'):format(pid)) or ''):find '%) T ' ~= nil -- not what a debugger holds for a moment
end

-- A keeper greets at once, whatever it is at work on.
local function silent(conn, paths)
  local pid = conn:peer_pid()
  local stopped = is_stopped(pid)
  conn:close()
  err.raise('keeper_failed', ('the keeper (pid %d) %s'):format(pid, stopped and 'is stopped' or 'does not answer'), {
    hint = stopped and ('kill -CONT %d lets it go on'):format(pid)
      or ('kill -9 %d ends it: services live on, and the next command takes them over'):format(pid),
    where = paths.scope_dir .. '/keeper.log', data = { pid = pid },
  })
end

-- Waits for the greeting of a keeper, and greets back. False: it was just going.
local function greet(conn, paths, on_line)
  if is_stopped(conn:peer_pid()) then
    silent(conn, paths)
  end
  local greeted, timed_out = task.timeout(GREETING_BUDGET_MS, function()
    return task.await(function(resume)
      local first = true
      conn:start(function(line)
        if first then
          first = false
          resume(line)
        else
          on_line(line)
        end
      end)
    end)
  end)
  if timed_out then
    silent(conn, paths)
  elseif greeted then
    conn:write(json.encode_line { envctl = 1, version = sys.version } .. '\n')
  end
  return greeted ~= nil
end

--- Connects and waits for the greeting. Raises when no keeper can be had.
local function connect(paths, root, on_line)
  local deadline = sys.mono_ms() + CONNECT_BUDGET_MS
  while true do
    local conn = try_connect(paths)
    if conn then
      if greet(conn, paths, on_line) then
        return conn
      end
      conn:close() -- the next one is ours to start
    end
    if sys.mono_ms() > deadline then
      err.raise('keeper_failed', 'no keeper answers in ' .. paths.scope_dir, {
        hint = 'see ' .. paths.scope_dir .. '/keeper.log',
      })
    end
    start_keeper(paths, root)
    if M.process then
      M.process:close()
      M.process = nil
    end
    task.sleep(1)
  end
end

-- One request on a connection of its own.
local function request_once(ctx, request, on_progress)
  request.id = request.id or ('c' .. sys.random_hex(6))
  local inbox = task.channel()
  local conn = connect(ctx.paths, ctx.roots.root, function(line)
    inbox.put(line and json.decode(line) or { ended = true })
  end)
  local interrupts = 0
  local function interrupt()
    interrupts = interrupts + 1
    if interrupts > 1 then
      inbox.put { interrupted = true }
    else
      conn:write(json.encode_line { id = request.id .. '-cancel', op = 'cancel', target = request.id } .. '\n')
    end
  end
  local on_int = loop.signal('INT', interrupt)
  local on_term = loop.signal('TERM', interrupt)
  local closing <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      on_int:close()
      on_term:close()
      conn:close()
    end,
  })
  conn:write(json.encode_line(request) .. '\n')
  while true do
    local message = inbox.get()
    if message.ended then
      err.raise('keeper_lost', 'the keeper ended in the middle of ' .. (request.command or request.op), {
        hint = 'services live on; run `envctl show-state`, then repeat the command',
      })
    elseif message.interrupted then
      err.raise('interrupted', 'interrupted; the keeper goes on undoing it', { exit = 2 })
    elseif message.progress then
      on_progress(message.progress)
    elseif message.id == request.id then
      if message.ok then
        return message.result
      end
      local e = err.from_table(message.error)
      if e.code == 'interrupted' then
        e.exit = 2
      end
      error(e, 0)
    end
  end
end

--- What the keeper is at work on now. Starts no keeper: without one nobody is at work. Awaits. Raises keeper_failed for one that
--- does not answer.
---@param paths envctl.Paths
---@return {name: string, pid: integer, since_ms: integer}? operation
---@return boolean? restart_due a service that ended is about to be started again
function M.operation(paths)
  local conn = try_connect(paths)
  if not conn then
    return nil
  end
  local closing <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      conn:close()
    end,
  })
  local inbox = task.channel()
  if not greet(conn, paths, function(line)
    inbox.put(line and json.decode(line) or {})
  end) then
    return nil
  end
  conn:write(json.encode_line { id = 'status', op = 'status' } .. '\n')
  local status = json.strip_nulls(inbox.get().result or {})
  return status.operation, status.restart_due
end

local BUSY_PAUSE_MS = 200

--- Sends one request and waits for its reply. With --wait, another operation is waited for instead of being an error. Awaits.
---@param ctx table context
---@param request table {op, …}
---@param on_progress fun(event: table)
---@return table result
function M.request(ctx, request, on_progress)
  local told = false
  while true do
    local ok, result = task.try(request_once, ctx, request, on_progress)
    if ok then
      return result
    elseif result.code ~= 'busy' or not ctx.route.flags.wait then
      error(result, 0)
    end
    if not told then
      told = true
      ctx.out.note('envctl: ' .. result.message .. '; waiting')
    end
    task.sleep(BUSY_PAUSE_MS)
  end
end

--- As request(), for a stop: on a disk where no keeper can begin to listen this process ends the services itself. Awaits.
---@param ctx table context
---@param request table {op = 'stop', …}
---@param on_progress fun(event: table)
---@return table result
function M.stop(ctx, request, on_progress)
  local ok, result = task.try(M.request, ctx, request, on_progress)
  if ok then
    return result
  elseif not (result.data and err.DISK[result.data.errno]) then
    error(result, 0)
  end
  return require('envctl.keeper.server').stop_here(ctx.paths, ctx.roots.root, request, on_progress)
end

return M
