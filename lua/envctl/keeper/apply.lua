--- Carries out a plan: ports first, then layer by layer. Within a layer every child is started behind its gate, all identities
--- are made durable in one save, and only then the gates open: whatever kills the keeper, no process runs that no file names.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local proc = require 'envctl.host.proc'
local procfs = require 'envctl.host.procfs'
local port = require 'envctl.host.port'
local err = require 'envctl.err'
local task = require 'envctl.task'
local json = require 'envctl.util.json'
local store = require 'envctl.state.store'
local runs = require 'envctl.state.runs'
local ports_table = require 'envctl.state.ports_table'
local names = require 'envctl.state.names'
local world_mod = require 'envctl.keeper.world'
local ending = require 'envctl.keeper.ending'
local readiness = require 'envctl.keeper.readiness'
local observe = require 'envctl.resume.observe'
local child_env = require 'envctl.keeper.child_env'
local rebind = require 'envctl.keeper.rebind'
local deps = require 'envctl.deps.apply'
local holds = require 'envctl.keeper.holds'
local prepare = require 'envctl.keeper.prepare'

local M = {}

local function digest_of(plan)
  local copy = {}
  for k, v in pairs(plan) do
    if k ~= 'digest' then
      copy[k] = v
    end
  end
  return 'sha256:' .. require('envctl.host.hash').sha256(json.encode_line(copy))
end

local function each_service(plan, fn)
  for _, project in ipairs(plan.projects) do
    for _, service in ipairs(project.services) do
      fn(project, service)
    end
  end
end

-- Ends what this operation started of a project (nil: of all). Records stay, so that logs, errors and show-state can speak about
-- them. Awaits.
local function undo(op, project)
  prepare.rollback(op, project)
  local world, records, by_name = op.world, {}, {}
  for _, svc in ipairs(op.started) do
    if world.running[svc.record.name] == svc and (not project or svc.record.project == project) then
      svc.ending = true
      records[#records + 1] = svc.record
      by_name[svc.record.name] = svc
    end
  end
  for _, result in ipairs(ending.stop(records, op.on_phase)) do
    local svc = by_name[result.name]
    if result.stopped then
      svc.record.status = (svc.exited and not result.was_alive) and 'exited' or 'stopped'
      world:release(svc)
    else
      svc.record.status = 'unknown'
    end
  end
  deps.rollback(op, project)
end

-- Gives one project of the plan up: what was started of it is undone, the others go on. Awaits.
local function give_up(op, name, failure)
  op.failures[name] = failure
  local parts = err.parts(failure, json.null)
  for _, part in ipairs(parts) do
    op.errors[#op.errors + 1] = err.from_table(part)
  end
  local service = failure.where and failure.where:match '[^/]*$' or ''
  op.progress { project = name, service = service, phase = 'failed', message = parts[1].message }
  op.world:emit('startup.project.failed', { project = name }, { code = failure.code, message = failure.message })
  op.world:log_failure('cannot start ' .. name, failure)
  undo(op, name)
  op.world:save(false)
end

local function absolute(root, dir)
  if not dir or dir == '.' or dir == '' then
    return root
  end
  return dir:sub(1, 1) == '/' and dir or (root .. '/' .. dir)
end

--- What to do per service: the plan's actions, or start for everything.
local function actions_of(plan)
  local by_name = {}
  for _, a in ipairs(plan.actions or {}) do
    if not a.dependency then
      by_name[names.display(a.project, a.service)] = a.action
    end
  end
  return by_name
end

--- Nothing is started in a project over a record whose truth is unknown.
local function check_unknown(op)
  local planned = {}
  for _, project in ipairs(op.plan.projects) do
    planned[project.name] = true
  end
  for _, a in ipairs(op.plan.actions or {}) do
    local name = names.display(a.project, a.service)
    local record = not a.dependency and op.world.doc and op.world.doc.services[name]
    if record and record.status == 'unknown' and a.action ~= 'keep' and not op.failures[a.project] then
      local e = err.new('state_unknown', name .. ': it cannot be told whether it still runs', {
        hint = 'run `envctl stop-all` first',
        where = names.short(a.project, a.service),
      })
      if not planned[a.project] then
        error(e, 0)
      end
      give_up(op, a.project, e)
    end
  end
end

--- Between planning and now another client may have ended what this plan keeps, or started what it starts. Raises plan_stale: the
--- client plans again.
local function check_fresh(op, plan, actions)
  local doc = op.world.doc
  each_service(plan, function(project, service)
    local name = names.display(project.name, service.name)
    local record, action = doc and doc.services[name], actions[name] or 'start'
    local live = record ~= nil and observe.service(record) == true
    local own = record and (record.mode or doc.mode) == op.mode -- plans look at nothing else
    if op.failures[project.name] then
      return
    elseif action == 'keep' and not live or action == 'start' and live and own then
      err.raise('plan_stale', name .. (live and ' was started' or ' has ended') .. ' meanwhile', {
        where = names.short(project.name, service.name),
        hint = 'others start and stop the same services; try again',
      })
    end
  end)
end

local function ledger_entries(plan, scope)
  local wanted = {}
  local holders = table.move(plan.projects, 1, #plan.projects, 1, {})
  holders[#holders + 1] = plan.shared
  for _, project in ipairs(holders) do
    for service, number in pairs(project.ports or {}) do
      wanted[#wanted + 1] = {
        scope = scope.id,
        repo = scope.root,
        root = project.root,
        project = project.name,
        slot = project.slot or 0,
        service = service,
        port = number,
      }
    end
  end
  return wanted
end

--- Holds the ports of what will be started. Raises plan_stale when one is taken: the client plans again.
local function hold_ports(op, todo)
  for _, item in ipairs(todo) do
    local number = item.service.listens and item.service.port
    if number then
      holds.take(op, number)
    end
  end
end

local function service_env(op, project, service, record)
  local env = child_env.clean(op.base_env)
  for k, v in pairs(service.env or {}) do
    env[k] = v
  end
  for k, v in pairs((op.secrets or {})[project.name .. '/' .. service.name] or {}) do
    env[k] = v
  end
  if env.VIRTUAL_ENV then -- as its `activate` does
    env.PATH = env.VIRTUAL_ENV .. '/bin' .. (env.PATH and ':' .. env.PATH or '')
  end
  local marker_name, marker_value = record.marker:match('^([^=]+)=(.*)$')
  env[marker_name] = marker_value
  env.ENVCTL_SCOPE = op.paths.scope_dir
  deps.fill(op.world, project.name, env, op.secrets)
  return env
end

local function resolve_argv(service, env, where)
  local argv = {}
  if service.shell then
    argv = { '/bin/sh', '-c', table.concat(service.command, ' ') }
  else
    for i, word in ipairs(service.command) do
      argv[i] = word
    end
  end
  local program = argv[1]
  if program:find('/', 1, true) and program:sub(1, 1) ~= '/' then
    program = service.cwd .. '/' .. program
  end
  local path, message, code = sys.which(program, { path = env.PATH })
  if not path then
    err.raise('command_not_found', string.format('%s: cannot run "%s": %s', where, service.command[1], message), {
      where = where,
      hint = 'install it, or set the start command of this service',
      data = { errno = code },
    })
  end
  argv[1] = path
  return argv
end

local function make_cgroup(op, record)
  if not op.cgroup_base then
    return
  end
  local leaf = op.cgroup_base .. '/' .. names.file(record.project .. '_' .. record.service .. '_' .. sys.random_hex(3))
  if procfs.cgroup_make(leaf) then
    record.cgroup = leaf
  end
end

--- Starts one service behind its gate.
local function launch(op, item)
  local world, project, service = op.world, item.project, item.service
  local record = world_mod.new_record(project, service, op.run)
  local where = names.short(project.name, service.name)
  local previous = world.doc.services[record.name]
  record.restarts = previous and previous.restarts or 0
  local svc = {
    record = record,
    plan = service,
    project = project,
    env = service_env(op, project, service, record),
    base_env = op.base_env,
    secrets = op.secrets,
  }
  local argv = resolve_argv(service, svc.env, where)
  make_cgroup(op, record)
  local stat = fs.stat(record.log_path)
  svc.log_start = stat and stat.size or 0
  local baseline = {}
  for number in pairs(port.listeners()) do
    baseline[number] = true
  end
  svc.baseline = baseline
  local process, message, code = proc.spawn {
    argv = argv,
    env = svc.env,
    cwd = service.cwd,
    stdin = 'null',
    stdout = { log = record.log_path },
    stderr = 'stdout',
    gated = true,
    cgroup = record.cgroup,
    on_exec = function(ok, why, errno)
      if not ok then
        svc.exec_error = err.new('command_not_found', where .. ': ' .. why, { where = where, data = { errno = errno } })
      end
    end,
    on_exit = function(exit_code, signal)
      world:on_leader_exit(svc, exit_code, signal)
    end,
  }
  if not process then
    err.raise('spawn_failed', where .. ': ' .. message, { where = where, data = { errno = code } })
  end
  svc.process = process
  svc.started_mono = sys.mono_ms()
  record.identity = process:identity()
  record.pid = record.identity.pid
  record.started_at = sys.wall_ms() / 1000
  item.svc = svc
  op.started[#op.started + 1] = svc
  world:add(svc)
  return svc
end

local function mark_ready(op, svc, where)
  local record = svc.record
  record.ready_ms = sys.mono_ms() - svc.started_mono
  record.status = 'ready'
  svc.was_ready, svc.unproven = true, nil
  if not svc.stop_health then -- an adopted one is checked already
    require('envctl.keeper.health').watch(op.world, svc)
  end
  if where.port then
    record.actual_port = where.port
    if record.requested_port ~= where.port then
      record.url = 'http://localhost:' .. where.port
    end
  end
  op.world:emit('service.ready', record, {
    port = where.port or json.null,
    ready_ms = record.ready_ms,
    pid = record.pid,
  })
  op.progress {
    project = record.project,
    service = record.service,
    phase = 'ready',
    port = where.port,
    url = where.port and string.format('http://%s:%d', where.host, where.port) or nil,
    elapsed_ms = record.ready_ms,
    pid = record.pid,
  }
end

local function describe_holder(number)
  local holder = procfs.holders({ number })[number]
  return holder and string.format('pid %d (%s)', holder.pid, holder.command) or 'another program'
end

local function not_ready_error(op, svc, why, detail)
  local r = svc.record
  local where = r.project .. '/' .. r.service
  if svc.exec_error then
    return svc.exec_error
  end
  if why == 'exited' then
    local e = op.world:exit_error(svc)
    if detail == 'stranger' then
      local holder = describe_holder(r.requested_port)
      e.message = e.message .. string.format('; port %d is held by %s', r.requested_port, holder)
    end
    return e
  end
  local tail = world_mod.log_tail(r.log_path, svc.log_start, 8)
  local seconds = (svc.plan.ready and svc.plan.ready.timeout_ms or 30000) / 1000
  local hint = world_mod.log_hint(tail, r.log_path)
  local what = svc.plan.listens and string.format('does not listen on port %d', r.requested_port) or 'is not ready'
  if svc.plan.listens and not detail then
    hint = hint .. '\n  its port is in PORT; a script has it as ${port}, and `listens = false` for one without a port'
  end
  if detail == 'stranger' then
    local holder = describe_holder(r.requested_port)
    what = string.format('does not listen on port %d, which %s holds', r.requested_port, holder)
  elseif detail then
    what = 'is not ready (' .. tostring(detail) .. ')'
  end
  return err.new('service_not_ready', string.format('%s %s after %g s', r.name, what, seconds), {
    where = where,
    hint = hint,
    data = { log_path = r.log_path, log_tail = json.array(tail) },
  })
end

-- Bind conflicts that our own held socket can cause: a server without SO_REUSEADDR cannot bind over it.
local function hit_our_hold(op, svc)
  if not svc.exited or not op.holds[svc.record.requested_port or 0] then
    return false
  end
  local text = table.concat(world_mod.log_tail(svc.record.log_path, svc.log_start, 40), '\n'):lower()
  return text:find('address already in use', 1, true) or text:find('eaddrinuse', 1, true)
end

local function await_ready(op, item)
  local svc = item.svc
  local where, why, detail = readiness.wait(svc)
  if not where and hit_our_hold(op, svc) then
    holds.release(op, svc.record.requested_port)
    op.world:remove(svc.record.name)
    svc = launch(op, item)
    op.world:save(true)
    svc.process:open_gate()
    where, why, detail = readiness.wait(svc)
  end
  local record = svc.record
  holds.release(op, record.requested_port)
  if not where then
    error(not_ready_error(op, svc, why, detail), 0)
  end
  if where.port and where.port ~= record.requested_port then
    local text = string.format('listens on port %d, not on %d as asked', where.port, record.requested_port)
    if svc.plan.port_fixed then
      err.raise('port_mismatch', record.name .. ' ' .. text, { where = names.short(record.project, record.service) })
    end
    op.progress { project = record.project, service = record.service, phase = 'warning', message = text }
  end
  mark_ready(op, svc, where)
end

-- Services that were told a URL which is not true are started again with the real one; those of later layers only hear it.
local function follow_rebound(op, items)
  local again, listed = {}, {}
  for _, item in ipairs(items) do
    local record = item.svc and item.svc.record
    if record and record.actual_port and record.actual_port ~= record.requested_port and not item.followed then
      item.followed = true
      op.actual[item.project.name] = op.actual[item.project.name] or {}
      op.actual[item.project.name][item.service.name] = record.actual_port
      for _, dependent in ipairs(rebind.dependents(item.project, item.service.name)) do
        rebind.refill(item.project, dependent, op.actual[item.project.name])
        local name = names.display(item.project.name, dependent.name)
        local other = op.items[name]
        if other and other.svc and not listed[name] then
          listed[name] = true
          again[#again + 1] = other
        end
      end
    end
  end
  if #again == 0 then
    return
  end
  local records = {}
  for i, item in ipairs(again) do
    item.svc.ending = true
    records[i] = item.svc.record
  end
  for _, result in ipairs(ending.stop(records, op.on_phase)) do
    if not result.stopped then
      err.raise('not_stopped', result.message)
    end
    op.world:remove(result.name)
  end
  op.start_layer(op, again)
end

--- Starts the services of one layer together. Critical failures are raised after all of the layer were heard, in plan order.
local function start_layer(op, items)
  for _, item in ipairs(items) do
    op.progress { project = item.project.name, service = item.service.name, phase = 'starting' }
    launch(op, item)
  end
  op.world:save(true)
  for _, item in ipairs(items) do
    item.svc.process:open_gate()
    op.world:emit('service.start', item.svc.record, { pid = item.svc.record.pid })
  end
  local failures = {}
  task.scope(function(s)
    for i, item in ipairs(items) do
      s:spawn(function()
        local ok, e = task.try(await_ready, op, item)
        if not ok then
          failures[i] = e
          local r = item.svc.record
          op.progress { project = r.project, service = r.service, phase = 'failed', message = e.message }
          op.world:emit('service.failure', r, { code = e.code, message = e.message })
        end
      end)
    end
  end)
  local critical = {}
  for i, item in ipairs(items) do
    local e = failures[i]
    if e and item.service.critical == false then
      ending.stop { item.svc.record }
      item.svc.record.status = 'exited'
      op.errors[#op.errors + 1] = e
    elseif e then
      critical[#critical + 1] = e
    end
  end
  op.world:save(true)
  if #critical > 0 then
    error(err.join(critical, json.null), 0)
  end
  follow_rebound(op, items)
end

local function layers_of(todo)
  local layers, order = {}, {}
  for _, item in ipairs(todo) do
    local n = item.service.layer or 1
    if not layers[n] then
      layers[n] = {}
      order[#order + 1] = n
    end
    table.insert(layers[n], item)
  end
  table.sort(order)
  return layers, order
end

local ENDS = { restart = true, start = true, stop = true, forget = true }

--- Ends what will be replaced or is no longer planned, and what a dead leader left behind; its records go.
local function end_old(op, actions)
  local records = {}
  for name, record in pairs(op.world.doc and op.world.doc.services or {}) do
    local action = actions[name]
    if ENDS[action] and not op.failures[record.project] then
      record.name = name
      records[#records + 1] = record
      local svc = op.world.running[name]
      if svc then
        svc.ending = true
      end
    end
  end
  if #records == 0 then
    return
  end
  for _, result in ipairs(ending.stop(records, op.on_phase)) do
    if not result.stopped then
      op.world:goes_on(result.name)
      err.raise('not_stopped', result.message, { hint = 'nothing was started' })
    end
    op.world:remove(result.name)
  end
  op.world:save(true)
end

local function begin_run(op, plan)
  local doc = op.world.doc
  if not doc or next(doc.services) == nil then
    doc = {
      schema_version = store.SCHEMA_VERSION,
      generation = doc and doc.generation or 0,
      run_id = runs.new_id(sys.wall_ms()),
      services = {},
      requirements = doc and doc.requirements or {},
      pointers = {},
      metadata = {},
    }
  end
  local run = { id = doc.run_id, dir = store.run_dir(op.paths, doc.run_id) }
  err.check(fs.mkdirs(run.dir, 448)) -- 0700
  op.run, op.world.doc = run, doc
  runs.prune(op.paths, op.request.runs_keep, doc)
  doc.mode = op.mode
  doc.plan_digest = plan.digest
  doc.metadata.command = op.command
  doc.metadata.log_max_bytes = op.request.log_max_bytes
  doc.metadata.repo_scope_id = op.paths.scope_id
  doc.metadata.failed, doc.metadata.failure_message = nil, nil
  doc.metadata.project_roots = doc.metadata.project_roots or {}
  for _, project in ipairs(plan.projects) do
    doc.metadata.project_roots[project.name] = project.root
  end
  for key, file in pairs {
    run_state = 'run_state.json',
    runtime_map = 'runtime_map.json',
    ports_manifest = 'ports_manifest.json',
    error_report = 'error_report.json',
  } do
    doc.pointers[key] = op.run.dir .. '/' .. file
  end
  doc.pointers.events = op.paths.scope_dir .. '/events.jsonl'
  op.world:emit('startup.begin', nil, { command = op.command, mode = op.mode, plan_digest = plan.digest })
end

local function todo_of(op, plan, actions)
  local todo = {}
  each_service(plan, function(project, service)
    local name = names.display(project.name, service.name)
    local action, svc = actions[name] or 'start', op.world.running[name]
    if op.failures[project.name] then
      return
    elseif action == 'start' or action == 'restart' then
      todo[#todo + 1] = { project = project, service = service, name = name }
      op.progress { project = project.name, service = service.name, phase = 'queued' }
    elseif action == 'keep' and svc and svc.unproven then
      op.unproven[#op.unproven + 1] = { project = project, service = service, name = name, svc = svc }
      op.progress { project = project.name, service = service.name, phase = 'starting' }
    elseif action == 'keep' then
      local record = op.world.doc.services[name]
      op.progress {
        project = project.name,
        service = service.name,
        phase = 'kept',
        port = record and record.actual_port,
        url = record and record.url,
        pid = record and record.pid,
      }
    end
  end)
  return todo
end

-- What is kept and was never seen ready: its keeper went in the middle of its start. Awaits; raises the first failure.
local function await_unproven(op, project)
  for _, item in ipairs(op.unproven) do
    if item.project == project then
      local ok, e = task.try(await_ready, op, item)
      if not ok and item.service.critical ~= false then
        error(e, 0)
      end
      op.errors[#op.errors + 1] = not ok and e or nil
    end
  end
end

-- Starts what is wanted of one project: dependencies, steps before, services layer by layer. Awaits; raises the first failure.
local function start_project(op, project, todo)
  deps.start(op, project)
  prepare.run(op, todo)
  await_unproven(op, project)
  local layers, order = layers_of(todo)
  for _, n in ipairs(order) do
    start_layer(op, layers[n])
  end
end

-- Starts the projects of the plan, so many at a time. One that fails is undone alone. Awaits.
local function start_projects(op, todo)
  local take = task.slots(op.projects_at_once)
  task.scope(function(s)
    for _, project in ipairs(op.plan.projects) do
      s:spawn(function()
        local slot <close> = take() -- luacheck: ignore 211
        if op.failures[project.name] then
          return
        end
        local mine = {}
        for _, item in ipairs(todo) do
          mine[#mine + 1] = item.project == project and item or nil
        end
        local ok, e = task.try(start_project, op, project, mine)
        if not ok then
          give_up(op, project.name, e)
        end
      end)
    end
  end)
end

-- What failed, in the order of the plan. Raises it when it is everything.
local function failures_of(op)
  local list, projects = {}, {}
  for _, project in ipairs(op.plan.projects) do
    list[#list + 1] = op.failures[project.name]
    projects[#list] = op.failures[project.name] and project.name or projects[#list]
  end
  if #list > 0 and #list == #op.plan.projects then
    error(err.join(list, json.null), 0)
  end
  return list, projects
end

--- Runs a plan. op is what keeper/server makes for a request. A project that fails is undone, and told in `failures` of the result;
--- the others go on. Raises when nothing of the plan could be started.
---@return table result
function M.run(op)
  local plan, world = op.plan, op.world
  if digest_of(plan) ~= plan.digest then
    err.raise('protocol_error', 'the plan does not match its digest')
  end
  json.strip_nulls(plan)
  each_service(plan, function(project, service)
    service.cwd = absolute(project.root, service.dir)
  end)
  if world.unreadable then
    error(world.unreadable, 0)
  end
  local actions = actions_of(plan)
  check_unknown(op)
  check_fresh(op, plan, actions)
  ports_table.reserve(op.paths, op.paths.scope_id, ledger_entries(plan, { id = op.paths.scope_id, root = op.root }))
  end_old(op, actions)
  op.unproven = {}
  local todo = todo_of(op, plan, actions)
  hold_ports(op, todo)
  begin_run(op, plan)
  op.cgroup_base = procfs.cgroup_base(ending.cgroup_name(op.paths), true)
  op.env_of = service_env
  op.items, op.actual, op.start_layer = {}, {}, start_layer
  for _, item in ipairs(todo) do
    op.items[item.name] = item
  end
  deps.begin(op)
  if plan.shared then
    deps.start(op, plan.shared)
  end
  start_projects(op, todo)
  local failures, failed = failures_of(op)
  holds.release_all(op)
  world:save(true)
  world:save_derived()
  world:write_errors(op.errors)
  world:emit('startup.done', nil, { started = #op.started })
  local result = M.result(world, op)
  result.prepared, result.failures, result.warnings = op.prepared, json.array {}, json.array {}
  if #failures == 0 then -- what went wrong, and did not have to go well
    for i, e in ipairs(op.errors) do
      result.warnings[i] = err.to_table(e, json.null)
    end
  end
  for i, e in ipairs(failures) do
    result.failures[i] = err.to_table(e, json.null)
    result.failures[i].project = failed[i]
  end
  return result
end

--- Starts one service again that its restart policy wants back, outside of any operation. Awaits; raises what went wrong.
---@param world table
---@param old table the service that ended
---@return table svc
function M.relaunch(world, old)
  local record = old.record
  local op = {
    world = world,
    paths = world.paths,
    base_env = old.base_env or sys.environ(),
    secrets = old.secrets,
    run = { id = record.run_id, dir = store.run_dir(world.paths, record.run_id) },
    cgroup_base = procfs.cgroup_base(ending.cgroup_name(world.paths), true),
    holds = {},
    errors = {},
    started = {},
    progress = function() end,
  }
  local item = { project = old.project, service = old.plan, name = record.name }
  ending.stop { record } -- children of the dead leader would keep its port
  world:remove(record.name)
  local svc = launch(op, item)
  svc.record.restarts = record.restarts + 1
  svc.exits = old.exits
  world:save(false)
  svc.process:open_gate()
  world:emit('service.restart', svc.record, { pid = svc.record.pid, restarts = svc.record.restarts })
  local ok, e = task.try(await_ready, op, item)
  world:save(false)
  world:save_derived()
  if not ok then
    error(e, 0)
  end
  return svc
end

--- What the client prints.
function M.result(world, op)
  local services = json.array {}
  for _, name in ipairs(M.sorted_names(world.doc)) do
    local r = world.doc.services[name]
    services[#services + 1] = {
      name = name,
      project = r.project,
      service = r.service,
      type = r.type,
      status = r.status,
      pid = r.pid or json.null,
      port = r.actual_port or r.requested_port or json.null,
      url = r.url or json.null,
      ready_ms = r.ready_ms or json.null,
      log_path = r.log_path,
    }
  end
  return {
    run_id = world.doc.run_id,
    mode = world.doc.mode,
    plan_digest = world.doc.plan_digest,
    services = services,
    started = #op.started,
    state_path = op.paths.state_file,
  }
end

function M.sorted_names(doc)
  local list = {}
  for name in pairs(doc.services) do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

--- Undoes what this operation started, after a failure or a cancel; what ran before stays. Awaits.
---@param op table
---@param failure envctl.Err
function M.rollback(op, failure)
  holds.release_all(op)
  undo(op)
  local world = op.world
  if world.doc and op.run then
    world.doc.metadata.failed = true
    world.doc.metadata.failure_message = failure.message
    world:save(false)
    world:save_derived()
    local errors = op.errors
    if #errors == 0 then
      errors = { failure }
    end
    world:write_errors(errors)
    world:emit('startup.failed', nil, { code = failure.code, message = failure.message })
  end
end

return M
