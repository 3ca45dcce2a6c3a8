--- The keeper process: one per scope, the only writer of its state, the parent of its services. Started on demand by the first
--- operation that changes something, gone when nothing it keeps is alive and nobody is connected.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local net = require 'envctl.host.net'
local log = require 'envctl.host.log'
local loop = require 'envctl.host.loop'
local procfs = require 'envctl.host.procfs'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local task = require 'envctl.task'
local apply = require 'envctl.keeper.apply'
local stop = require 'envctl.keeper.stop'
local prepare = require 'envctl.keeper.prepare'
local deps = require 'envctl.deps.apply'
local world_mod = require 'envctl.keeper.world'

local M = {}

local PROTOCOL = 1

local keeper -- the one of this process

local function reply_error(conn, id, e)
  conn:write(json.encode_line { id = id, ok = false, error = err.to_table(e, json.null) } .. '\n')
end

local function reply(conn, id, result)
  conn:write(json.encode_line { id = id, ok = true, result = result } .. '\n')
end

--- What an operation carries. The lists that are empty at first say what there is to undo and what went wrong.
local function new_op(request, pid, on_progress)
  local op = {
    id = request.id,
    name = request.command or request.op,
    pid = pid,
    progress = on_progress,
    since = sys.mono_ms(),
    world = keeper.world,
    paths = keeper.paths,
    root = keeper.root,
    plan = request.plan,
    secrets = request.secrets or {},
    base_env = request.env or {},
    projects_at_once = request.projects_at_once or 1,
    preparation = task.slots(request.one_by_one and 1 or prepare.AT_ONCE),
    dependency_slot = task.slots(request.dependencies_at_once or deps.AT_ONCE),
    command = request.command or 'start',
    mode = request.mode or 'main',
    request = request,
    started = {},
    started_dependencies = {},
    dependencies = {}, -- by project: what has to be started
    preparing = {}, -- records of the steps that run
    prepared = json.array {}, -- what was done of them, and what was left out and why
    holds = {},
    errors = {},
    failures = {}, -- by project: why it was given up
  }
  function op.on_phase(record, phase, message)
    op.progress {
      project = record.project,
      service = record.service,
      phase = phase,
      message = message,
      pid = record.pid,
    }
  end
  return op
end

local function check_idle()
  if keeper.op or keeper.connections > 0 or keeper.ending then
    return
  end
  if keeper.world:idle() then
    keeper.ending = true
    keeper.done()
  end
end

local function finish(op)
  if keeper.op == op then
    keeper.op = nil
  end
end

local RUN = {
  apply = apply.run,
  stop = stop.run,
  data = function(op)
    return require('envctl.deps.data').run(op)
  end,
}

local function run_op(op, handler)
  local ok, result = task.try(handler, op)
  if ok then
    finish(op)
    reply(op.conn, op.id, result)
  else
    keeper.world:log_failure('operation failed', result)
    local undone, undo_error = task.try(apply.rollback, op, result)
    if not undone then
      keeper.world:log_failure('rollback failed', undo_error)
    end
    finish(op)
    reply_error(op.conn, op.id, result)
  end
  check_idle()
end

-- Ends an operation: its task is closed, and another one undoes what it started. Then `after` is called.
local function interrupt(op, after)
  op.cancelled = true
  task.cancel(op.task)
  task.spawn(function()
    local e = err.new('interrupted', op.name .. ' was interrupted', {
      hint = op.request.op == 'stop' and 'some services may still run: see `envctl show-state`; repeat it for the rest'
        or 'what it had started is stopped',
    })
    local ok, failure = task.try(apply.rollback, op, e)
    if not ok then
      keeper.world:log_failure('rollback failed', failure)
    end
    finish(op)
    reply_error(op.conn, op.id, e)
    after()
    check_idle()
  end)
end

--- Ends the running operation of a connection.
local function cancel(conn, request)
  local op = keeper.op
  if not op or op.conn ~= conn or op.cancelled then
    return reply(conn, request.id, { cancelled = false })
  end
  interrupt(op, function() end)
end

local function status(conn, request)
  local op = keeper.op
  reply(conn, request.id, {
    pid = sys.getpid(),
    version = sys.version,
    operation = op and { name = op.name, pid = op.pid, since_ms = sys.mono_ms() - op.since } or json.null,
    restart_due = keeper.world.supervisor.busy(),
  })
end

local function mutate(conn, request, handler)
  local busy = keeper.op
  -- What a command that is gone has asked for is wanted until somebody says stop.
  if busy and request.all and request.op == 'stop' and busy.request.op == 'apply' and busy.conn:is_closed()
    and not busy.cancelled then
    return interrupt(busy, function()
      if not conn:is_closed() then
        mutate(conn, request, handler)
      end
    end)
  elseif busy then
    local since = (sys.mono_ms() - busy.since) // 1000
    local message = string.format('busy: %s by pid %d since %d s%s', busy.name, busy.pid, since,
      busy.conn:is_closed() and ' (its command has gone away, it goes on)' or '')
    return reply_error(conn, request.id, err.new('busy', message, {
      hint = 'try again when it has finished; what starts and stops has --wait for that',
      data = { operation = busy.name, pid = busy.pid },
    }))
  end
  local op = new_op(request, conn:peer_pid(), function(event)
    if not conn:is_closed() then
      conn:write(json.encode_line { id = request.id, progress = event } .. '\n')
    end
  end)
  op.conn = conn
  keeper.op = op
  keeper.world.command_id = request.id
  op.task = task.spawn(run_op, op, handler)
end

local function handle(conn, line)
  local request, why = json.decode(line)
  if type(request) ~= 'table' then
    return reply_error(conn, json.null, err.new('protocol_error', 'not JSON: ' .. tostring(why)))
  end
  if request.envctl then
    return -- the greeting; versions may differ, operations decide what they understand
  end
  local op = request.op
  request.secrets, request.env = json.strip_nulls(request.secrets), json.strip_nulls(request.env)
  if RUN[op] then
    mutate(conn, request, RUN[op])
  elseif op == 'cancel' then
    cancel(conn, request)
  elseif op == 'status' then
    status(conn, request)
  else
    reply_error(conn, request.id or json.null, err.new('protocol_error', 'unknown operation ' .. tostring(op)))
  end
end

local function on_connection(conn)
  if keeper.ending then
    conn:close()
    return
  end
  keeper.connections = keeper.connections + 1
  conn:write(json.encode_line { envctl = PROTOCOL, version = sys.version } .. '\n')
  local open = true
  conn:start(function(line)
    if line then
      handle(conn, line)
    elseif open then
      -- A client that is gone does not end its operation: the services it asked for are wanted until somebody says stop.
      open = false
      conn:close()
      keeper.connections = keeper.connections - 1
      check_idle()
    end
  end)
end

--- Carries out a stop in this process, for a disk on which no keeper can begin to listen. The lock keeps keepers out; where it
--- cannot be made, none can be. Awaits.
---@param paths table
---@param root string
---@param request table {op = 'stop', …}
---@param on_progress fun(event: table)
---@return table result
function M.stop_here(paths, root, request, on_progress)
  local lock <close>, message, code = fs.flock(paths.scope_dir .. '/keeper.lock') -- luacheck: ignore 211
  if code == 'EWOULDBLOCK' then
    err.raise('busy', 'busy: ' .. message, { hint = 'wait for it to finish and try again' })
  end
  keeper = { paths = paths, root = root, world = world_mod.open(paths) }
  function keeper.world.mutating()
    return true
  end
  return stop.run(new_op(request, sys.getpid(), on_progress))
end

local function serve(spec)
  local paths = spec.paths
  require('envctl.state.paths').prepare(paths)
  local lock, message, code = fs.flock(paths.scope_dir .. '/keeper.lock')
  if not lock then
    if code == 'EWOULDBLOCK' then
      sys.write(1, 'busy\n')
      return 0
    end
    err.raise('io_error', message)
  end
  log.open(paths.scope_dir .. '/keeper.log')
  keeper = { paths = paths, root = spec.root, connections = 0 }
  keeper.world = world_mod.open(paths)
  local me = procfs.self()
  keeper.world.keeper_record = { pid = me.pid, start_time_ticks = me.start_time_ticks, version = sys.version }
  keeper.world.on_change = check_idle
  keeper.world.mutating = function()
    return keeper.op ~= nil
  end
  lock:write(json.encode_line { pid = me.pid, version = sys.version } .. '\n')
  if keeper.world.doc then
    keeper.world:save(false)
  end
  local server = err.check(net.unix_listen(paths.socket_dir or paths.scope_dir, 'keeper.sock', on_connection))
  log.write('info', 'keeper started', json.encode_line { pid = me.pid, version = sys.version })
  sys.write(1, 'ready\n')
  task.await(function(resume)
    keeper.done = resume
    -- Asked politely to go: services live on, the next keeper adopts them.
    loop.signal('TERM', function()
      keeper.ending = true
      resume()
    end)
    loop.signal('HUP', function() end)
    loop.signal('INT', function() end)
    -- Nobody may ever connect (the client was killed): look once more after a moment.
    loop.timer(5000, check_idle)
  end)
  -- From here no new connection is taken; a client that comes now finds no listener and starts the next keeper.
  server:close()
  fs.unlink((paths.socket_dir or paths.scope_dir) .. '/keeper.sock')
  if keeper.world.doc then
    keeper.world.keeper_record = nil
    keeper.world:save(false)
  end
  log.write('info', 'keeper ended')
  return 0
end

--- Entry of the hidden command `__keeper`. argument: JSON {paths, root}.
---@param argument string
---@return integer exit code
function M.main(argument)
  local spec = json.decode(argument)
  if type(spec) ~= 'table' then
    err.raise('protocol_error', '__keeper is internal to envctl')
  end
  collectgarbage('incremental', 200) -- it stays: memory matters more than the first milliseconds
  local ok, result = xpcall(serve, function(e)
    return err.wrap(e, debug.traceback(tostring(e), 2))
  end, spec)
  if not ok then
    if result.traceback then
      log.write('error', result.message, json.encode_line { traceback = result.traceback })
    end
    sys.write(1, json.encode_line { error = err.to_table(result, json.null) } .. '\n')
    return 1
  end
  return result
end

return M
