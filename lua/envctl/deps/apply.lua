--- Dependencies of a plan in the keeper: started before services, behind the same gate, recorded before it opens, adopted after a
--- killed keeper, ended after the services that use them. Their data stays.
local sys = require 'envctl.host.sys'
local proc = require 'envctl.host.proc'
local net = require 'envctl.host.net'
local err = require 'envctl.err'
local task = require 'envctl.task'
local names = require 'envctl.state.names'
local definitions = require 'envctl.deps.definitions'
local ending = require 'envctl.deps.ending'
local launch = require 'envctl.deps.launch'
local places = require 'envctl.deps.places'
local holds = require 'envctl.keeper.holds'
local truth = require 'envctl.deps.truth'
local sorted = require('envctl.util.names').sorted

local M = {}

local SHARED = require('envctl.deps.plan').SHARED

-- At most this many at once, of all projects together: starting a database is work for the whole machine.
M.AT_ONCE = 4

local PROBE_MS = 3000

local RUNS = { native = true, docker = true, command = true }

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
  for _, a in ipairs(op.plan.actions or {}) do
    projects[a.project] = projects[a.project] or a.dependency
  end
  local started, others = ending.recorded(op.world, function(project)
    return projects[project]
  end)
  local old = {}
  for _, record in ipairs(started) do
    if planned[record.name] ~= 'keep' then
      old[#old + 1] = record
    end
  end
  for _, component in ipairs(others) do
    ending.remove(op.world, component)
  end
  if not op.plan.shared then
    ending.unused(op)
  end
  if #old > 0 then
    local _, failures = ending.records(op.world, old, op.on_phase)
    op.world:save(true)
    if failures[1] then
      err.raise('not_stopped', failures[1], { hint = 'nothing was started' })
    end
  end
end

-- One that is not there ends the start, or is only said where it is not required (ENVCTL_REQUIREMENTS_STRICT=false).
local function report_failure(op, project, plan, e)
  e.where = e.where or names.short(project.name, plan.id)
  op.progress { project = project.name, service = plan.id, phase = 'failed', message = e.message }
  op.world:emit('requirements.failure', { project = project.name, service = plan.id }, {
    code = e.code, message = e.message,
  })
  if plan.required then
    error(e, 0)
  end
  op.errors[#op.errors + 1] = e
end

-- Gives a project its part of a shared server.
local function share(op, project, plan)
  local server_plan
  for _, p in ipairs(op.plan.shared and op.plan.shared.dependencies or {}) do
    server_plan = p.id == plan.id and p or server_plan
  end
  local server = launch.new(op, op.plan.shared, server_plan)
  server.access.password = server.access.password or places.password(server.dir)
  local dir = plan.data
  if server.server.share then
    places.make(plan.base, dir, false)
    server.server.share(server, { name = plan.database, user = plan.user, password = places.make_password(dir) })
  else
    dir = server.dir -- one password for all; a logical database each
  end
  local port_number = server.port
  launch.requirement(op.world, project.name).components[plan.id] = {
    id = plan.id, project = project.name, service = plan.id, name = names.short(project.name, plan.id), enabled = true,
    success = true, simulated = false, health = 'unknown', retries = 0, requested = port_number, final = port_number,
    resources = { requested = port_number, primary = port_number }, provider = plan.provider, scope = 'shared',
    ports = plan.ports, status = 'shared', plan_digest = plan.plan_digest, data_dir = dir,
    access = { user = plan.user, name = plan.database },
    url = launch.url { id = plan.id, port = port_number, plan = plan },
  }
  op.progress {
    project = project.name, service = plan.id, phase = 'ready', port = port_number, message = 'on the shared server',
  }
end

-- An address that can be asked: names of other machines are nobody's business but the services'.
local function numeric(host)
  if host == 'localhost' then
    return '127.0.0.1'
  end
  return (host:find '^[%d.]+$' or host:find(':', 1, true)) and host or nil
end

-- What others run has to be there; envctl does nothing about it but look.
local function look_at_external(op, project, plan)
  local host = plan.host and numeric(plan.host)
  if not host or not plan.port then
    return
  end
  local ok, why = task.await(function(resume)
    return net.tcp_probe(host, plan.port, PROBE_MS, resume)
  end)
  if ok then
    return
  end
  local short, key = names.short(project.name, plan.id), definitions.key(plan.id, 'URL')
  local message = ('%s: nothing answers at %s port %d: %s'):format(short, plan.host, plan.port, why)
  local e = err.new('dependency_failed', message, {
    where = short, hint = plan.why .. '; start it, or change that', data = { dependency = plan.id, setting = key },
  })
  report_failure(op, project, plan, e)
end

local function external_record(project, plan)
  return {
    id = plan.id, project = project.name, service = plan.id, name = names.short(project.name, plan.id), enabled = true,
    success = true, simulated = false, health = 'unknown', retries = 0, requested = plan.port, final = plan.port,
    resources = { primary = plan.port }, provider = 'external',
    scope = plan.scope, ports = plan.ports, status = 'external', plan_digest = plan.plan_digest,
  }
end

-- What has to be there before something else comes before it.
local function layers_of(todo)
  local by_number, out = {}, {}
  for _, d in ipairs(todo) do
    local n = d.plan.layer
    by_number[n] = by_number[n] or {}
    table.insert(by_number[n], d)
  end
  for _, n in ipairs(sorted(by_number)) do
    out[#out + 1] = by_number[n]
  end
  return out
end

local function failed(op, d, e)
  report_failure(op, d.project, d.plan, e)
  launch.release_ports(op, d)
  if d.record and d.svc then
    ending.records(op.world, { d.record }, op.on_phase)
  end
end

--- Ends what is not planned any more and holds the ports of what will be started. Awaits.
---@param op table
function M.begin(op)
  end_old(op)
  for _, project in ipairs(holders_of(op.plan)) do
    local todo, shares, external = {}, {}, {}
    op.dependencies[project.name] = { todo = todo, shares = shares, external = external }
    for _, plan in ipairs(op.failures[project.name] and {} or project.dependencies or {}) do
      if plan.scope == 'shared' and project.name ~= SHARED then
        shares[#shares + 1] = plan
      elseif plan.provider == 'external' then
        external[#external + 1] = plan
      elseif RUNS[plan.provider] and plan.action ~= 'keep' then
        local d = launch.new(op, project, plan)
        for _, number in pairs(plan.ports) do
          holds.take(op, number)
        end
        d.say 'queued'
        todo[#todo + 1] = d
      elseif plan.action == 'keep' then
        op.progress { project = project.name, service = plan.id, phase = 'kept', port = plan.port }
      end
    end
  end
end

--- Starts what a project wants before its services. Awaits; raises the first failure, after the others were cancelled.
---@param op table
---@param project table of the plan, or the holder of what is shared
function M.start(op, project)
  local mine = op.dependencies[project.name]
  for _, plan in ipairs(mine.external) do
    look_at_external(op, project, plan)
    launch.requirement(op.world, project.name).components[plan.id] = external_record(project, plan)
  end
  for _, layer in ipairs(layers_of(mine.todo)) do
    task.scope(function(s)
      for _, d in ipairs(layer) do
        s:spawn(function()
          local slot <close> = op.dependency_slot() -- luacheck: ignore 211
          local ok, e = task.try(launch.start, op, d)
          if not ok then
            failed(op, d, e)
          end
        end)
      end
    end)
  end
  for _, plan in ipairs(mine.shares) do
    share(op, project, plan)
  end
  if #mine.todo + #mine.shares > 0 then
    op.world:save(true)
  end
end

--- Puts passwords into the environment of a service.
---@param world table
---@param project string
---@param env table<string, string>
---@param secrets table? of the operation
function M.fill(world, project, env, secrets)
  local find = launch.passwords(world, project, secrets)
  for name, value in pairs(env) do
    env[name] = definitions.fill(value, find)
  end
end

--- Takes over what a former keeper left running.
---@param world table
function M.adopt(world)
  local live, reasons = truth.live(world.doc)
  for _, record in ipairs((ending.recorded(world))) do
    local alive = live[record.name]
    if alive then
      local svc = { record = record, adopted = true, started_mono = sys.mono_ms(), was_ready = true, dependency = true }
      if record.container_id then
        local engine = require('envctl.deps.engine').of(record, sys.environ())
        svc.watch = launch.watch_container(world, svc, engine)
      else
        svc.watch = proc.watch(record.identity, function()
          world:on_leader_exit(svc, nil, nil)
        end)
      end
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

local function runs(world, project)
  local UP = require('envctl.resume.observe').UP
  for _, record in pairs(world.doc.services) do
    if record.project == project and UP[record.status] then
      return true
    end
  end
  return false
end

--- Undoes what this operation started. Awaits.
---@param op table
---@param project string? of this project only
function M.rollback(op, project)
  local records = {}
  for _, svc in ipairs(op.started_dependencies) do
    if op.world.running[svc.record.name] == svc and (not project or svc.record.project == project) then
      records[#records + 1] = svc.record
    end
  end
  if #records > 0 then
    ending.records(op.world, records, op.on_phase)
  end
  -- A project of which nothing runs is no user of a shared server, which ends with its last one.
  for name, mine in pairs(op.dependencies) do
    if (not project or name == project) and not runs(op.world, name) then
      for _, plan in ipairs(mine.shares) do
        ending.remove(op.world, { name = names.short(name, plan.id), project = name, id = plan.id })
      end
    end
  end
end

return M
