--- One dependency in the keeper: its process behind a gate or its container, its record, and the wait until it is usable. All
--- those of a plan: envctl.deps.apply.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local proc = require 'envctl.host.proc'
local procfs = require 'envctl.host.procfs'
local port = require 'envctl.host.port'
local err = require 'envctl.err'
local task = require 'envctl.task'
local json = require 'envctl.util.json'
local names = require 'envctl.state.names'
local definitions = require 'envctl.deps.definitions'
local places = require 'envctl.deps.places'
local holds = require 'envctl.keeper.holds'
local readiness = require 'envctl.keeper.readiness'
local tool = require 'envctl.deps.tool'

local M = {}

-- What knows how to run one: the daemon, a server that is built in, or the command that is said.
local function server_of(plan)
  local builtin = plan.provider == 'native' and plan.env == nil
  return require('envctl.deps.' .. (plan.provider == 'docker' and 'docker' or builtin and plan.id or 'command'))
end

--- The dependencies of a project in the state, made when there are none yet.
---@param world table
---@param project string
---@return table
function M.requirement(world, project)
  local all = world.doc.requirements
  if not all[project] then
    all[project] = { components = {}, health = 'unknown', failures = json.array {} }
  end
  return all[project]
end

--- What the keeper works with for one dependency of a plan.
---@param op table
---@param project table of the plan
---@param plan table
---@return table d
function M.new(op, project, plan)
  local short = names.short(project.name, plan.id)
  local d = {
    id = plan.id, short = short, project = project, plan = plan, port = plan.port, base = plan.base,
    dir = plan.data, world = op.world, base_env = op.base_env, run_id = op.run.id, server = server_of(plan),
    log_path = op.run.dir .. '/' .. names.service_file(project.name, plan.id) .. '.txt',
  }
  if plan.run_as then
    d.user = places.user { plan.run_as }
    if not d.user then
      err.raise('dependency_failed', short .. ': there is no user ' .. plan.run_as, { where = short })
    end
  end
  d.marker = 'ENVCTL_SERVICE=' .. op.run.id .. '/' .. project.name .. '/' .. plan.id
  d.env = tool.env(op.base_env, { ENVCTL_SERVICE = d.marker:match '=(.*)$', ENVCTL_SCOPE = op.paths.scope_dir })
  d.engine = plan.provider == 'docker' and { name = plan.engine, env = op.base_env } or nil
  function d.say(phase, message)
    op.progress { project = project.name, service = plan.id, phase = phase, message = message, port = d.port }
  end
  local written = op.secrets[project.name .. '/@' .. plan.id]
  d.access = { user = plan.user, name = plan.database, password = written and written.password }
  d.seed = plan.provider == 'native' and places.wanted_seed(plan.data) or plan.seed
  d.hidden_env = written and written.env
  d.password_of = M.passwords(op.world, project.name, op.secrets)
  return d
end

--- Finds passwords of a project's dependencies: those that are written down, then those that were made.
---@param world table
---@param project string
---@param secrets table? of the operation
---@return fun(id: string): string?
function M.passwords(world, project, secrets)
  return function(id)
    local written = secrets and secrets[project .. '/@' .. id]
    if written and written.password then
      return written.password
    end
    local entry = world.doc and world.doc.requirements[project]
    local component = entry and entry.components and entry.components[id]
    return component and component.data_dir and places.password(component.data_dir)
  end
end

--- Variables of its own that a plan describes, with what plans do not show.
---@param d table
---@return table<string, string>
function M.own_env(d)
  local out = {}
  for _, part in ipairs { d.plan.env or {}, d.hidden_env or {} } do
    for name, value in pairs(part) do
      out[name] = definitions.fill(value, function(id)
        return id == d.id and d.access.password or d.password_of(id)
      end)
    end
  end
  return out
end

local function new_record(op, d)
  local plan = d.plan
  return {
    id = d.id, name = d.short, project = d.project.name, service = d.id, enabled = true, success = false,
    simulated = false, health = 'unknown', retries = 0, requested = d.port, final = d.port,
    resources = { requested = d.port, primary = d.port },
    provider = plan.provider, scope = plan.scope, layer = plan.layer, version = d.version,
    ports = plan.ports, log_path = d.log_path,
    marker = d.marker, status = 'starting', plan_digest = plan.plan_digest, data_dir = d.dir, run_id = op.run.id,
    plan = require('envctl.plan.digest').dependency_material(plan), -- a later plan is compared with this one
    bin = plan.bin, access = { user = plan.user, name = plan.database },
    requested_port = d.port, url = M.url(d), stop = definitions.stop(d.id),
    password_file = fs.lstat(d.dir .. '/password') and d.dir .. '/password' or nil,
  }
end

--- The address of a dependency, without its password.
function M.url(d)
  if d.plan.url then
    return d.plan.url
  end
  local sources = definitions.sources(d.id, {
    host = 'localhost', port = d.port, user = d.plan.user, password = '***', name = d.plan.database,
  })
  local source = sources.DATABASE_URL or sources.REDIS_URL
  return source and (source.value:gsub('%%2A%%2A%%2A', '***')) or nil
end

local function make_cgroup(op, record)
  if op.cgroup_base then
    local leaf = op.cgroup_base .. '/' .. names.file(record.project .. '_' .. record.id .. '_' .. sys.random_hex(3))
    record.cgroup = procfs.cgroup_make(leaf) and leaf or nil
  end
end

--- Lets the ports of one go.
---@param op table
---@param d table
function M.release_ports(op, d)
  for _, number in pairs(d.plan.ports) do
    holds.release(op, number)
  end
end

-- Starts the server behind its gate, makes that durable, lets it go.
local function launch(op, d)
  local world, record = op.world, d.record
  make_cgroup(op, record)
  local stat = fs.stat(d.log_path)
  local svc = { record = record, log_start = stat and stat.size or 0, dependency = true }
  local command = d.server.command(d)
  local process, message, code = proc.spawn {
    argv = tool.as_user(d.user, command.argv),
    env = d.env,
    cwd = d.cwd or '/',
    stdin = command.input and 'pipe' or 'null',
    stdout = { log = d.log_path },
    stderr = 'stdout',
    gated = true,
    cgroup = record.cgroup,
    on_exit = function(exit_code, signal)
      world:on_leader_exit(svc, exit_code, signal)
    end,
  }
  if not process then
    err.raise('dependency_failed', d.short .. ': ' .. message, { where = d.short, data = { errno = code } })
  end
  svc.process, svc.started_mono = process, sys.mono_ms()
  record.identity = process:identity()
  record.pid = record.identity.pid
  record.started_at = sys.wall_ms() / 1000
  d.svc = svc
  op.started_dependencies[#op.started_dependencies + 1] = svc
  world:keep(svc)
  M.requirement(world, record.project).components[record.id] = record
  world:save(true)
  M.release_ports(op, d) -- not every server can bind beside the one that keeps its port
  process:open_gate()
  if command.input then
    process:write(command.input)
    process:close_stdin()
  end
  world:emit('requirements.start', record, { pid = record.pid, port = record.final, provider = record.provider })
end

-- The ports that have to be open before anything else is asked: those that it says, unless its readiness is about something else.
local function awaited_ports(d)
  local kind = d.plan.ready.kind
  if kind == 'none' or kind == 'log' or kind == 'command' then
    return {}
  elseif kind == 'http' then
    return { d.port }
  end
  local out = {}
  for _, number in pairs(d.plan.ports) do
    out[#out + 1] = number
  end
  return out
end

local function own_listeners(d, number)
  local out = {}
  local pids = { d.record.pid }
  if d.server.left_behind then -- a shell may stand in front of what listens
    for i, member in ipairs(procfs.members({ require('envctl.resume.observe').query(d.record) })[1]) do
      pids[i] = member.pid
    end
  end
  for _, l in ipairs(procfs.listening(pids)) do
    if l.port == number then
      out[#out + 1] = l
    end
  end
  return out
end

-- Every listener of the awaited ports, once each port is open by the dependency's own doing.
local function listeners_of(d)
  local inodes, all = json.array {}, nil
  for _, number in ipairs(awaited_ports(d)) do
    all = all or port.listeners()
    if not all[number] or #own_listeners(d, number) == 0 then
      return nil
    end
    for _, l in ipairs(all[number]) do
      inodes[#inodes + 1] = l.inode
    end
  end
  return inodes
end

local function not_ready(op, d, why)
  local e
  if d.svc.exited then
    e = op.world:exit_error(d.svc)
  else
    local world_mod = require 'envctl.keeper.world'
    local seconds = d.plan.ready.timeout_ms / 1000
    local tail = world_mod.log_tail(d.log_path, d.svc.log_start, 8)
    local text = ('%s is not ready after %g s%s'):format(d.short, seconds, why and (' (' .. why .. ')') or '')
    e = err.new('dependency_failed', text, {
      hint = world_mod.log_hint(tail, d.log_path), data = { log_path = d.log_path, log_tail = json.array(tail) },
    })
  end
  e.code, e.where = 'dependency_failed', d.short
  e.data = e.data or {}
  e.data.dependency = d.id
  return e
end

-- A command that ended with 0 may have left a server behind: then that one is kept.
local function took_over(op, d)
  local svc = d.svc
  if not d.server.left_behind or not svc.exited or svc.exited.code ~= 0 then
    return false
  end
  local deadline = svc.started_mono + d.plan.ready.timeout_ms
  while sys.mono_ms() < deadline do
    local identity = d.server.left_behind(d)
    if identity then
      local record = d.record
      record.identity, record.pid, record.exit = identity, identity.pid, nil
      svc.exited = nil
      svc.process:close()
      svc.process = nil
      svc.watch = proc.watch(identity, function()
        op.world:on_leader_exit(svc, nil, nil)
      end)
      return svc.watch ~= nil
    elseif #procfs.members { { marker = d.marker, log = d.log_path, cgroup = d.record.cgroup } }[1] == 0 then
      return false
    end
    task.sleep(20)
  end
  return false
end

-- The first of usable, ended, or the budget.
local function await_ready(op, d)
  local svc, record = d.svc, d.record
  local deadline = svc.started_mono + d.plan.ready.timeout_ms
  local wait, why = 2, nil
  while not svc.exited and sys.mono_ms() < deadline do
    local inodes = listeners_of(d)
    if inodes then
      local ok
      ok, why = d.server.usable(d)
      if ok and not svc.exited then
        record.listener_inodes = inodes
        return
      end
    end
    readiness.pause(svc, wait)
    wait = math.min(wait * 2, 50)
  end
  if took_over(op, d) then
    return
  end
  error(not_ready(op, d, why), 0)
end

local function container_failed(d, why)
  local docker, seconds = d.server, d.plan.ready.timeout_ms / 1000
  task.try(docker.keep_log, d.engine, d.record)
  local world_mod = require 'envctl.keeper.world'
  local tail = world_mod.log_tail(d.log_path, 0, 8)
  local asked, there = task.try(docker.inspect, d.engine, d.container_id)
  there = asked and there or nil
  local what = there and not there.running and ('its container exited with code ' .. tostring(there.exit_code))
    or ('is not ready after %g s (%s)'):format(seconds, why or '?')
  return err.new('dependency_failed', d.short .. ': ' .. what, {
    where = d.short, hint = world_mod.log_hint(tail, d.log_path),
    data = { dependency = d.id, log_path = d.log_path, log_tail = json.array(tail) },
  })
end

--- Watches the process of a container. When it ends, the end of its log is there before anything is said about it.
---@param world table
---@param svc table
---@param engine envctl.deps.Engine
---@return envctl.Handle?
function M.watch_container(world, svc, engine)
  return (proc.watch(svc.record.identity, function()
    task.spawn(function()
      if not svc.ending then
        task.try(require('envctl.deps.docker').keep_log, engine, svc.record)
      end
      world:on_leader_exit(svc, nil, nil)
    end)
  end))
end

-- A container instead of a process: found or made, recorded by its id and by the process that it is on this machine.
local function bring_up(op, d)
  local world = op.world
  function d.release_ports()
    M.release_ports(op, d)
  end
  local began = sys.mono_ms()
  local there = d.server.bring_up(d)
  local record = new_record(op, d)
  d.record = record
  record.container_id, record.image, record.container_name = there.id, d.plan.image, there.id:sub(1, 12)
  record.engine, record.docker_host = d.engine.name, op.base_env.DOCKER_HOST
  record.identity = there.running and procfs.identity(there.pid) or nil
  record.pid = record.identity and record.identity.pid or nil
  record.log_since = d.started_after and d.started_after * 1000
  record.started_at = sys.wall_ms() / 1000
  local svc = { record = record, started_mono = began, log_start = 0, dependency = true }
  d.svc = svc
  op.started_dependencies[#op.started_dependencies + 1] = svc
  world:keep(svc)
  M.requirement(world, record.project).components[record.id] = record
  world:save(true)
  world:emit('requirements.start', record, {
    container = there.id, port = record.final, provider = 'docker', engine = record.engine,
  })
  svc.watch = record.identity and M.watch_container(world, svc, d.engine)
  local deadline, wait, why = began + d.plan.ready.timeout_ms, 50, nil
  while not svc.exited and sys.mono_ms() < deadline do
    local ok
    ok, why = d.server.usable(d)
    if ok then
      return
    elseif not svc.watch then
      -- It ended before it could be watched, or runs on another machine: the daemon is asked.
      local now = d.server.inspect(d.engine, d.container_id)
      if not now or not now.running then
        break
      end
    end
    readiness.pause(svc, wait)
    wait = math.min(wait * 2, 500)
  end
  error(container_failed(d, why), 0)
end

-- A second look at one that is ready: its answer may say that it is no use all the same.
local function bootstrap(d)
  local plan = d.plan.bootstrap
  local deadline = d.svc.started_mono + d.plan.ready.timeout_ms
  local why
  repeat
    local ok
    ok, why = readiness.check(d.svc, { kind = 'http', path = plan.path }, { port = d.port }, {})
    if ok then
      return
    end
    readiness.pause(d.svc, 100)
  until d.svc.exited or why == 'HTTP 404' or sys.mono_ms() > deadline
  local message = ('%s: it runs, but %s gives no answer that is of use: %s'):format(d.short, plan.path, why or '?')
  if plan.strict then
    err.raise('dependency_failed', message, {
      where = d.short, hint = 'see ' .. d.log_path, data = { dependency = d.id, log_path = d.log_path },
    })
  end
  d.say('warning', message)
end

--- Starts one, and waits until it is usable. Awaits; raises what went wrong.
---@param op table
---@param d table from new()
function M.start(op, d)
  d.say 'preparing'
  places.make(d.base, d.dir, d.user ~= nil)
  if d.plan.makes_password then
    d.access.password = d.access.password or places.make_password(d.dir)
  end
  if d.plan.provider == 'docker' then
    bring_up(op, d)
  else
    d.server.prepare(d)
    fs.unlink(d.dir .. '/seed')
    d.record = new_record(op, d)
    d.say 'starting'
    launch(op, d)
    await_ready(op, d)
  end
  if d.plan.bootstrap then
    bootstrap(d)
  end
  M.release_ports(op, d)
  local record = d.record
  record.status, record.success, record.actual_port = 'ready', true, d.port
  record.ready_ms = sys.mono_ms() - d.svc.started_mono
  d.svc.was_ready = true
  op.world:emit('requirements.healthy', record, { port = d.port, ready_ms = record.ready_ms, version = d.version })
  op.progress {
    project = d.project.name, service = d.id, phase = 'ready', port = d.port, elapsed_ms = record.ready_ms,
    pid = record.pid,
  }
end

return M
