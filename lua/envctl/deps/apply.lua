--- Dependencies in the keeper: started before services, behind the same gate, recorded before it opens, adopted after a killed
--- keeper, ended after the services that use them. Their data stays.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local proc = require 'envctl.host.proc'
local procfs = require 'envctl.host.procfs'
local port = require 'envctl.host.port'
local loop = require 'envctl.host.loop'
local err = require 'envctl.err'
local task = require 'envctl.task'
local json = require 'envctl.util.json'
local names = require 'envctl.state.names'
local definitions = require 'envctl.deps.definitions'
local places = require 'envctl.deps.places'
local tool = require 'envctl.deps.tool'
local truth = require 'envctl.deps.truth'

local M = {}

local SHARED = require('envctl.deps.plan').SHARED

-- At most this many at once: starting a database is work for the whole machine.
local AT_ONCE = 4

local RUNS = { native = true, docker = true, command = true }

local servers = { postgres = 'envctl.deps.postgres', redis = 'envctl.deps.redis' }

local function requirement(world, project)
  local all = world.doc.requirements
  if not all[project] then
    all[project] = { components = {}, health = 'unknown', failures = json.array {} }
  end
  return all[project]
end

--- What the keeper works with for one dependency of a plan.
local function new_dependency(op, project, plan)
  local short = names.short(project.name, plan.id)
  local d = {
    id = plan.id, short = short, project = project, plan = plan, port = plan.ports[plan.id], base = plan.base,
    dir = plan.data, world = op.world, base_env = op.base_env, run_id = op.run.id,
    server = require(plan.provider ~= 'native' and 'envctl.deps.' .. plan.provider or servers[plan.id]),
    log_path = op.run.dir .. '/' .. names.file(project.name .. '_' .. plan.id) .. '.txt',
  }
  if plan.run_as then
    d.user = places.user { plan.run_as }
    if not d.user then
      err.raise('dependency_failed', short .. ': there is no user ' .. plan.run_as, { where = short })
    end
  end
  d.marker = 'ENVCTL_SERVICE=' .. op.run.id .. '/' .. project.name .. '/' .. plan.id
  d.env = tool.env(op.base_env, { ENVCTL_SERVICE = d.marker:match '=(.*)$', ENVCTL_SCOPE = op.paths.scope_dir })
  function d.say(phase, message)
    op.progress { project = project.name, service = plan.id, phase = phase, message = message, port = d.port }
  end
  local written = op.secrets[project.name .. '/@' .. plan.id]
  d.access = { user = plan.user, name = plan.database, password = written and written.password }
  return d
end

local function new_record(op, d)
  local plan = d.plan
  return {
    id = d.id, name = d.short, project = d.project.name, service = d.id, enabled = true, success = false,
    simulated = false, health = 'unknown', retries = 0, requested = d.port, final = d.port,
    resources = { requested = d.port, primary = d.port },
    provider = plan.provider, scope = plan.scope, version = d.version, ports = plan.ports, log_path = d.log_path,
    marker = d.marker, status = 'starting', plan_digest = plan.plan_digest, data_dir = d.dir, run_id = op.run.id,
    bin = plan.bin, access = { user = plan.user, name = plan.database },
    requested_port = d.port, url = M.url(d), stop = definitions.by_id[d.id].stop,
    password_file = fs.lstat(d.dir .. '/password') and d.dir .. '/password' or nil,
  }
end

--- The address of a dependency, without its password.
function M.url(d)
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
  requirement(world, record.project).components[record.id] = record
  world:save(true)
  process:open_gate()
  if command.input then
    process:write(command.input)
    process:close_stdin()
  end
  world:emit('requirements.start', record, { pid = record.pid, port = record.final, provider = record.provider })
end

local function own_listeners(record)
  local out = {}
  local pids = { record.pid }
  if record.provider == 'command' then -- a shell may stand in front of what listens
    for i, member in ipairs(procfs.members({ require('envctl.resume.observe').query(record) })[1]) do
      pids[i] = member.pid
    end
  end
  for _, l in ipairs(procfs.listening(pids)) do
    if l.port == record.final then
      out[#out + 1] = l
    end
  end
  return out
end

local function pause(svc, ms)
  if svc.exited then
    return
  end
  task.await(function(resume)
    local timer = loop.timer(ms, resume)
    svc.on_exit = function()
      timer:close()
      resume()
    end
    return timer
  end)
  svc.on_exit = nil
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
    local own = port.listeners()[record.final] and own_listeners(record) or {}
    if #own > 0 then
      local ok
      ok, why = d.server.usable(d)
      if ok and not svc.exited then
        local inodes = json.array {}
        for _, l in ipairs(port.listeners()[record.final] or {}) do
          inodes[#inodes + 1] = l.inode
        end
        record.listener_inodes = inodes
        return
      end
    end
    pause(svc, wait)
    wait = math.min(wait * 2, 50)
  end
  if took_over(op, d) then
    return
  end
  error(not_ready(op, d, why), 0)
end

local function hold_port(op, d)
  local free, message = port.check(d.port)
  local handle
  if free then
    handle, message = port.hold(d.port)
  end
  if not handle then
    err.raise('plan_stale', tostring(message), { data = { port = d.port } })
  end
  op.holds[d.port] = handle
end

local function release(op, number)
  if op.holds[number] then
    op.holds[number]:close()
    op.holds[number] = nil
  end
end

local function container_failed(op, d, why)
  local docker, seconds = d.server, d.plan.ready.timeout_ms / 1000
  task.try(docker.keep_log, d)
  local world_mod = require 'envctl.keeper.world'
  local tail = world_mod.log_tail(d.log_path, 0, 8)
  local there = docker.inspect(op.base_env, d.container_id)
  local what = there and not there.running and ('its container exited with code ' .. tostring(there.exit_code))
    or ('is not ready after %g s (%s)'):format(seconds, why or '?')
  return err.new('dependency_failed', d.short .. ': ' .. what, {
    where = d.short, hint = world_mod.log_hint(tail, d.log_path),
    data = { dependency = d.id, log_path = d.log_path, log_tail = json.array(tail) },
  })
end

-- A container instead of a process: found or made, recorded by its id and by the process that it is on this machine.
local function bring_up(op, d)
  local world = op.world
  function d.release_port()
    release(op, d.port)
  end
  local began = sys.mono_ms()
  local there = d.server.bring_up(d)
  local record = new_record(op, d)
  d.record = record
  record.container_id, record.image, record.container_name = there.id, d.plan.image, there.id:sub(1, 12)
  record.docker_host = op.base_env.DOCKER_HOST
  record.identity = there.running and procfs.identity(there.pid) or nil
  record.pid = record.identity and record.identity.pid or nil
  record.started_at = sys.wall_ms() / 1000
  local svc = { record = record, started_mono = began, log_start = 0, dependency = true }
  d.svc = svc
  op.started_dependencies[#op.started_dependencies + 1] = svc
  world:keep(svc)
  requirement(world, record.project).components[record.id] = record
  world:save(true)
  world:emit('requirements.start', record, { container = there.id, port = record.final, provider = 'docker' })
  if record.identity then
    svc.watch = proc.watch(record.identity, function()
      world:on_leader_exit(svc, nil, nil)
    end)
  end
  local deadline, wait, why = began + d.plan.ready.timeout_ms, 50, nil
  while not svc.exited and sys.mono_ms() < deadline do
    local ok
    ok, why = d.server.usable(d)
    if ok then
      return
    elseif not svc.watch then
      -- It ended before it could be watched, or runs on another machine: the daemon is asked.
      local now = d.server.inspect(op.base_env, d.container_id)
      if not now or not now.running then
        break
      end
    end
    pause(svc, wait)
    wait = math.min(wait * 2, 500)
  end
  error(container_failed(op, d, why), 0)
end

local function start_one(op, d)
  d.say 'preparing'
  places.make(d.base, d.dir, d.user ~= nil)
  if d.plan.provider ~= 'command' then
    d.access.password = d.access.password or places.make_password(d.dir)
  end
  if d.plan.provider == 'docker' then
    bring_up(op, d)
  else
    d.server.prepare(d)
    d.record = new_record(op, d)
    d.say 'starting'
    launch(op, d)
    await_ready(op, d)
  end
  release(op, d.port)
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

-- Ends processes by their records: politely to the leader first, then whatever is left of each. Awaits.
local function end_processes(world, records, on_phase)
  local budget, waiting, polite = 0, {}, {}
  for _, record in ipairs(records) do
    local svc = world.running[record.name]
    if svc then
      svc.ending = true
    end
    if procfs.alive(record.identity) then
      local stop = record.stop or { signal = 'TERM', timeout_ms = 10000 }
      on_phase(record, 'stopping')
      proc.signal(record.identity, stop.signal)
      budget = math.max(budget, stop.timeout_ms)
      waiting[#waiting + 1] = record
    end
  end
  local deadline, wait = sys.mono_ms() + budget, 2
  while #waiting > 0 and sys.mono_ms() < deadline do
    task.sleep(wait)
    wait = math.min(wait * 2, 40)
    for i = #waiting, 1, -1 do
      if procfs.alive(waiting[i].identity) == false then
        polite[waiting[i]] = true
        table.remove(waiting, i)
      end
    end
  end
  local results = require('envctl.keeper.ending').stop(records, on_phase)
  for i, result in ipairs(results) do
    if result.stopped and polite[records[i]] and not result.was_alive then
      result.was_alive = true
      on_phase(records[i], 'stopped')
    end
  end
  return results
end

-- Ends dependencies by their records. Results are in the order of the records. Awaits.
local function end_records(world, records, on_phase)
  local results, processes, index = {}, {}, {}
  for i, record in ipairs(records) do
    if record.container_id then
      local svc = world.running[record.name]
      if svc then
        svc.ending = true
      end
      local env = sys.environ()
      env.DOCKER_HOST = record.docker_host
      results[i] = require('envctl.deps.docker').stop(env, record, on_phase)
    else
      processes[#processes + 1], index[#index + 1] = record, i
    end
  end
  for k, result in ipairs(end_processes(world, processes, on_phase)) do
    results[index[k]] = result
  end
  return results
end

--- Forgets a dependency that is confirmed gone.
local function remove(world, record)
  local svc = world.running[record.name]
  if svc then
    world:release(svc)
  end
  local entry = world.doc and world.doc.requirements[record.project]
  if entry and entry.components then
    entry.components[record.id] = nil
    if next(entry.components) == nil then
      world.doc.requirements[record.project] = nil
    end
  end
end

local function stop_records(world, records, on_phase)
  local results, failures = end_records(world, records, on_phase), {}
  for i, result in ipairs(results) do
    world:emit('requirements.stop', records[i], { stopped = result.stopped, killed = result.killed })
    if result.stopped then
      remove(world, records[i])
    else
      records[i].status = 'unknown'
      failures[#failures + 1] = result.message
    end
  end
  return results, failures
end

--- What is recorded, of some projects or of all.
---@param world table
---@param wanted (fun(project: string): boolean)?
---@return table[] components that were started, table[] others
local function recorded(world, wanted)
  local started, others = {}, {}
  truth.each(world.doc, function(project, id, component)
    if not wanted or wanted(project) then
      component.name, component.project, component.id = names.short(project, id), project, id
      component.service = id
      table.insert((component.identity or component.container_id) and started or others, component)
    end
  end)
  return started, others
end

-- A shared server ends with its last user.
local function end_unused(op)
  local users = 0
  truth.each(op.world.doc, function(project, _, component)
    users = users + (project ~= SHARED and component.scope == 'shared' and 1 or 0)
  end)
  if users > 0 then
    return {}, {}
  end
  local records = (recorded(op.world, function(project)
    return project == SHARED
  end))
  if #records == 0 then
    return {}, {}
  end
  local results, failures = stop_records(op.world, records, op.on_phase)
  return results, failures, records
end

--- Ends the dependencies of the given projects (nil: all). Awaits. Raises nothing.
---@param op table
---@param projects string[]?
---@return table[] stopped, string[] failures
function M.stop(op, projects)
  local set = {}
  for _, name in ipairs(projects or {}) do
    set[name] = true
  end
  local started, others = recorded(op.world, projects and function(project)
    return set[project]
  end)
  local results, failures = stop_records(op.world, started, op.on_phase)
  for _, component in ipairs(others) do
    remove(op.world, component)
  end
  local more, more_failures, records = end_unused(op)
  table.move(more, 1, #more, #results + 1, results)
  table.move(records or {}, 1, #more, #started + 1, started)
  table.move(more_failures, 1, #more_failures, #failures + 1, failures)
  local stopped = {}
  for i, result in ipairs(results) do
    stopped[i] = {
      name = result.name, project = started[i].project, dependency = started[i].id, stopped = result.stopped,
      was_alive = result.was_alive, killed = result.killed, reason = result.message or json.null,
    }
  end
  return stopped, failures
end

-- Projects of the plan, after the holder of what they share.
local function holders_of(plan)
  local out = { plan.shared }
  return table.move(plan.projects, 1, #plan.projects, #out + 1, out)
end

-- What is planned no more, or has to be replaced.
local function end_old(op)
  local planned, projects = {}, {}
  for _, project in ipairs(holders_of(op.plan)) do
    projects[project.name] = true
    for _, plan in ipairs(project.dependencies or {}) do
      planned[names.short(project.name, plan.id)] = plan.action or 'start'
    end
  end
  local started, others = recorded(op.world, function(project)
    return projects[project]
  end)
  local old = {}
  for _, record in ipairs(started) do
    if planned[record.name] ~= 'keep' then
      old[#old + 1] = record
    end
  end
  for _, component in ipairs(others) do
    remove(op.world, component)
  end
  if not op.plan.shared then
    end_unused(op)
  end
  if #old > 0 then
    local _, failures = stop_records(op.world, old, op.on_phase)
    op.world:save(true)
    if failures[1] then
      err.raise('not_stopped', failures[1], { hint = 'nothing was started' })
    end
  end
end

-- Gives a project its part of a shared server.
local function share(op, project, plan)
  local server_plan
  for _, p in ipairs(op.plan.shared and op.plan.shared.dependencies or {}) do
    server_plan = p.id == plan.id and p or server_plan
  end
  local server = new_dependency(op, op.plan.shared, server_plan)
  server.access.password = server.access.password or places.password(server.dir)
  local dir = plan.data
  if server.server.share then
    places.make(plan.base, dir, false)
    server.server.share(server, { name = plan.database, user = plan.user, password = places.make_password(dir) })
  else
    dir = server.dir -- one password for all; a logical database each
  end
  local port_number = server.port
  requirement(op.world, project.name).components[plan.id] = {
    id = plan.id, project = project.name, service = plan.id, name = names.short(project.name, plan.id), enabled = true,
    success = true, simulated = false, health = 'unknown', retries = 0, requested = port_number, final = port_number,
    resources = { requested = port_number, primary = port_number }, provider = plan.provider, scope = 'shared',
    ports = plan.ports, status = 'shared', plan_digest = plan.plan_digest, data_dir = dir,
    access = { user = plan.user, name = plan.database },
    url = M.url { id = plan.id, port = port_number, plan = plan },
  }
  op.progress {
    project = project.name, service = plan.id, phase = 'ready', port = port_number, message = 'on the shared server',
  }
end

local function external_record(project, plan)
  return {
    id = plan.id, project = project.name, service = plan.id, name = names.short(project.name, plan.id), enabled = true,
    success = true, simulated = false, health = 'unknown', retries = 0, requested = plan.ports[plan.id],
    final = plan.ports[plan.id], resources = { primary = plan.ports[plan.id] }, provider = 'external',
    scope = plan.scope, ports = plan.ports, status = 'external', plan_digest = plan.plan_digest,
  }
end

-- Runs fn over items, a few at once; the first failure is raised after the others were cancelled.
local function each_at_once(items, limit, fn)
  local next_item = 0
  task.scope(function(s)
    for _ = 1, math.min(limit, #items) do
      s:spawn(function()
        while next_item < #items do
          next_item = next_item + 1
          fn(items[next_item])
        end
      end)
    end
  end)
end

--- Starts what the plan wants, before any service. Awaits; raises the first failure.
---@param op table
function M.start(op)
  end_old(op)
  op.started_dependencies = {}
  local todo, users = {}, {}
  for _, project in ipairs(holders_of(op.plan)) do
    for _, plan in ipairs(project.dependencies or {}) do
      if plan.scope == 'shared' and project.name ~= SHARED then
        users[#users + 1] = { project = project, plan = plan }
      elseif plan.provider == 'external' then
        requirement(op.world, project.name).components[plan.id] = external_record(project, plan)
      elseif RUNS[plan.provider] and plan.action ~= 'keep' then
        local d = new_dependency(op, project, plan)
        hold_port(op, d)
        d.say 'queued'
        todo[#todo + 1] = d
      elseif plan.action == 'keep' then
        op.progress { project = project.name, service = plan.id, phase = 'kept', port = plan.ports[plan.id] }
      end
    end
  end
  each_at_once(todo, AT_ONCE, function(d)
    local ok, e = task.try(start_one, op, d)
    if not ok then
      e.where = e.where or d.short
      op.errors[#op.errors + 1] = e
      op.progress { project = d.project.name, service = d.id, phase = 'failed', message = e.message }
      op.world:emit('requirements.failure', { project = d.project.name, service = d.id }, {
        code = e.code, message = e.message,
      })
      error(e, 0)
    end
  end)
  for _, user in ipairs(users) do
    share(op, user.project, user.plan)
  end
  if #todo + #users > 0 then
    op.world:save(true)
  end
end

--- Puts passwords into the environment of a service.
---@param world table
---@param project string
---@param env table<string, string>
---@param secrets table? of the operation
function M.fill(world, project, env, secrets)
  local function find(id)
    local written = secrets and secrets[project .. '/@' .. id]
    if written then
      return written.password
    end
    local entry = world.doc and world.doc.requirements[project]
    local component = entry and entry.components and entry.components[id]
    return component and component.data_dir and places.password(component.data_dir)
  end
  for name, value in pairs(env) do
    env[name] = definitions.fill(value, find)
  end
end

--- Takes over what a former keeper left running.
---@param world table
function M.adopt(world)
  local live, reasons = truth.live(world.doc)
  for _, record in ipairs((recorded(world))) do
    local alive = live[record.name]
    if alive then
      local svc = { record = record, adopted = true, started_mono = sys.mono_ms(), was_ready = true, dependency = true }
      svc.watch = proc.watch(record.identity, function()
        world:on_leader_exit(svc, nil, nil)
      end)
      if svc.watch then
        world:keep(svc)
        world:emit('requirements.adopt', record, { pid = record.pid })
      end
    elseif alive == false then
      record.status, record.success = 'exited', false
      world:emit('requirements.gone', record, { reason = reasons[record.name] })
    else
      record.status = 'unknown'
    end
  end
end

--- Undoes what this operation started. Awaits.
---@param op table
function M.rollback(op)
  local records = {}
  for _, svc in ipairs(op.started_dependencies or {}) do
    if op.world.running[svc.record.name] == svc then
      records[#records + 1] = svc.record
    end
  end
  if #records > 0 then
    stop_records(op.world, records, op.on_phase)
  end
end

return M
