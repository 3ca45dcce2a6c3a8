--- The docker provider, through the command of an engine (docker, or podman, see envctl.deps.engine): labelled containers and
--- volumes, published on loopback only, named by immutable id in every command that changes something. Runs inside of the keeper.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local procfs = require 'envctl.host.procfs'
local hash = require 'envctl.host.hash'
local port = require 'envctl.host.port'
local task = require 'envctl.task'
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local engines = require 'envctl.deps.engine'
local tool = require 'envctl.deps.tool'
local readiness = require 'envctl.keeper.readiness'

local M = {}

local PING_MS, LOOK_MS, CHANGE_MS, PULL_MS = 3000, 10000, 60000, 600000
local KEPT_LINES = 10000

-- The password becomes a file inside of the container: arguments can be read by everybody on the host.
local REDIS_START = [[umask 077
printf 'bind * -::*\nport 6379\nappendonly yes\ndir /data\nrequirepass "%s"\n' "$REDIS_PASSWORD" >/tmp/envctl.conf
exec redis-server /tmp/envctl.conf]]

-- What runs in a container of a built-in dependency. A described one says it itself (see kind_of).
local KINDS = {
  postgres = {
    ports = { postgres = 5432 }, volumes = { '/var/lib/postgresql/data' }, args = {},
    env = function(a)
      return { POSTGRES_USER = a.user, POSTGRES_PASSWORD = a.password, POSTGRES_DB = a.name }
    end,
    -- Over TCP: while the image initialises the data, its server only has a unix socket.
    check = 'PGPASSWORD="$POSTGRES_PASSWORD" psql -w -h 127.0.0.1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"'
      .. ' -tAc "select 1"',
    good = '^%s*1',
  },
  redis = {
    ports = { redis = 6379 }, volumes = { '/data' }, args = { 'sh', '-c', REDIS_START },
    env = function(a)
      return { REDIS_PASSWORD = a.password }
    end,
    check = 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli ping',
    good = 'PONG',
  },
}

---@class envctl.deps.Container
---@field ports table<string, integer> inside of the container, by the names of the plan's ports
---@field volumes string[] directories that are kept
---@field args string[] command and arguments
---@field env table<string, string>
---@field listens integer[] what it listens on inside, published or not
---@field network boolean? on the network of the project

---@return envctl.deps.Container
local function container_of(d)
  local kind = KINDS[d.id]
  if not kind then
    local described = d.plan.container
    return {
      ports = described.ports, volumes = described.volumes, args = described.args,
      env = require('envctl.deps.launch').own_env(d), listens = described.listens or {}, network = described.network,
    }
  end
  return { ports = kind.ports, volumes = kind.volumes, args = kind.args, env = kind.env(d.access), listens = {} }
end

local function client(engine)
  local path = sys.which(engine.name, { path = engine.env.PATH })
  if not path then
    err.raise('docker_unavailable', ('there is no %s command on PATH'):format(engine.name), {
      hint = 'install it, or use another provider',
    })
  end
  return path
end

local function unavailable(engine, text, timed_out)
  local lower = text:lower()
  local message
  if timed_out then
    message = (engine.name == 'docker' and 'the docker daemon' or 'podman') .. ' does not answer in time'
  elseif lower:find('permission denied while trying to connect', 1, true) then
    message = 'no permission to talk to the docker daemon'
  elseif lower:find('cannot connect to the docker daemon', 1, true) or lower:find('error during connect', 1, true) then
    message = 'the docker daemon does not run'
  end
  return message and err.new('docker_unavailable', message, { hint = tool.last_line(text) })
end

--- Runs a command of the engine. Awaits. A daemon that cannot be reached is an error of its own.
---@param engine envctl.deps.Engine
---@param args string[]
---@param timeout_ms integer?
---@param out {log: string?, each: fun(chunk: string)?}? where its output goes instead, see envctl.deps.tool
---@return envctl.deps.Result
function M.run(engine, args, timeout_ms, out)
  local argv = table.move(args, 1, #args, 2, { client(engine) })
  local env = require('envctl.keeper.child_env').clean(engine.env)
  local result = tool.run {
    argv = argv, env = env, timeout_ms = timeout_ms or LOOK_MS, log = out and out.log, each = out and out.each,
  }
  if result.code ~= 0 then
    -- What a program inside of a container says is not about the daemon.
    local e = args[1] ~= 'exec' and args[1] ~= 'logs' and unavailable(engine, result.out, result.timed_out)
    if e then
      error(e, 0)
    end
  end
  return result
end

--- A daemon that accepts and says nothing is told apart here, before anything waits for long. Podman has none. Awaits; raises
--- docker_unavailable.
---@param engine envctl.deps.Engine
function M.ping(engine)
  if engine.name == 'docker' then
    M.run(engine, { 'version', '--format', '{{.Server.Version}}' }, PING_MS)
  end
end

-- A command that has to succeed; its answer without the white space around it.
local function must(d, what, args, timeout_ms)
  local result = M.run(d.engine, args, timeout_ms)
  if result.code ~= 0 then
    err.raise('dependency_failed', ('%s: %s: %s'):format(d.short, what, tool.last_line(result.out)), {
      where = d.short, data = { dependency = d.id },
    })
  end
  return (result.answer:match '^%s*(.-)%s*$')
end

-- One repository under two runtime roots is two scopes.
local function scope_labels(paths)
  return { 'envctl.scope=' .. paths.scope_id, 'envctl.root=' .. hash.sha256(paths.scope_dir):sub(1, 12) }
end

local function project_label(project)
  return 'envctl.project=' .. project
end

local function own_labels(project, id)
  return { project_label(project), 'envctl.dependency=' .. id }
end

-- An answer that cannot be understood says nothing: neither that something is there nor that it is gone.
local function no_answer(engine, about, result)
  err.raise('docker_unavailable', ('%s does not say %s: %s'):format(engine.name, about, tool.last_line(result.out)), {
    hint = ('see what `%s ps` says'):format(engine.name),
  })
end

-- What two engines say of something that they do not have.
local function is_missing(result)
  return result.code ~= 0 and result.out:lower():find 'no such ' ~= nil
end

local LABELS = { container = '{{json .Config.Labels}}', volume = '{{json .Labels}}', network = '{{json .Labels}}' }
local LIST = {
  container = { 'ps', '-aq', '--no-trunc' }, volume = { 'volume', 'ls', '-q' }, network = { 'network', 'ls', '-q' },
}

local function has_labels(engine, kind, name, labels)
  local result = M.run(engine, { kind, 'inspect', '--format', LABELS[kind], name })
  local has = result.code == 0 and json.decode(result.answer)
  if type(has) ~= 'table' then
    if not is_missing(result) then
      no_answer(engine, ('whose the %s %s is'):format(kind, name:sub(1, 12)), result)
    end
    return false
  end
  for _, label in ipairs(labels) do
    local key, value = label:match '^([^=]+)=(.*)$'
    if has[key] ~= value then
      return false
    end
  end
  return true
end

-- Containers, volumes or networks that carry all of the labels. Podman before 5 lists volumes that carry any of them, so each is
-- looked at again.
local function list(engine, kind, paths, more)
  local labels = scope_labels(paths)
  table.move(more, 1, #more, #labels + 1, labels)
  local args, out = table.move(LIST[kind], 1, #LIST[kind], 1, {}), {}
  for _, label in ipairs(labels) do
    table.move({ '--filter', 'label=' .. label }, 1, 2, #args + 1, args)
  end
  local found = M.run(engine, args)
  if found.code ~= 0 then
    no_answer(engine, ('which %ss there are'):format(kind), found)
  end
  for name in found.answer:gmatch '[^\r\n]+' do
    -- A whole id names one container for ever; a part of one may mean another.
    if (kind ~= 'container' or name:find('^' .. ('%x'):rep(64) .. '$')) and has_labels(engine, kind, name, labels) then
      out[#out + 1] = name
    end
  end
  return out
end

--- What the daemon says about a container, nil when it says that there is none. Awaits; raises docker_unavailable when it
--- says neither.
---@param engine envctl.deps.Engine
---@param id string the whole one
---@return table? {id, running, pid, exit_code, labels}
function M.inspect(engine, id)
  local format = '{"State":{{json .State}},"Labels":{{json .Config.Labels}}}'
  local result = M.run(engine, { 'container', 'inspect', '--format', format, id })
  if is_missing(result) then
    return nil
  end
  local doc = result.code == 0 and json.decode(result.answer)
  local state = type(doc) == 'table' and doc.State
  if type(state) ~= 'table' or type(state.Running) ~= 'boolean' or math.type(state.Pid) ~= 'integer' then
    no_answer(engine, 'how the container ' .. id:sub(1, 12) .. ' is', result)
  end
  return {
    id = id, running = state.Running, pid = state.Pid, exit_code = state.ExitCode,
    labels = type(doc.Labels) == 'table' and doc.Labels or {},
  }
end

-- The volume of the n-th directory that is kept.
local function volume_name(d, n)
  local digest = hash.sha256(d.world.paths.scope_dir .. '\0' .. d.project.name):sub(1, 12)
  return ('envctl-%s-%s-%s%s'):format(d.world.paths.scope_id, digest, d.id, n > 1 and ('-%d'):format(n) or '')
end

local function add_labels(args, paths, more)
  for _, labels in ipairs { scope_labels(paths), more } do
    for _, label in ipairs(labels) do
      args[#args + 1] = '--label'
      args[#args + 1] = label
    end
  end
  return args
end

-- Networks of this scope that no container is on any more, running or not.
local function remove_networks(engine, paths, project)
  for _, id in ipairs(list(engine, 'network', paths, project and { project_label(project) } or {})) do
    local used = M.run(engine, { 'ps', '-aq', '--filter', 'network=' .. id })
    if used.code == 0 and not used.answer:find '%x' then
      M.run(engine, { 'network', 'rm', id })
    end
  end
end

-- A machine has addresses for some thirty networks.
local function no_addresses(result)
  return result.code ~= 0 and result.out:find('predefined address pools', 1, true) ~= nil
end

local function new(d, kind, name, labels)
  local args = add_labels({ kind, 'create' }, d.world.paths, labels)
  args[#args + 1] = name
  local made = M.run(d.engine, args, CHANGE_MS)
  if no_addresses(made) then -- ours that nobody uses make room; those of others are left alone
    remove_networks(d.engine, d.world.paths)
    made = M.run(d.engine, args, CHANGE_MS)
  end
  if made.code ~= 0 then
    local tidy = ('remove networks that nobody needs: `%s network ls`, `%s network rm NAME`'):gsub('%%s', d.engine.name)
    err.raise('dependency_failed', ('%s: making the %s %s: %s'):format(d.short, kind, name, tool.last_line(made.out)), {
      where = d.short, data = { dependency = d.id }, hint = no_addresses(made) and tidy or nil,
    })
  end
end

-- A volume or a network, made when it is not there. The name alone does not make one ours.
local function make(d, kind, name, labels)
  local look = { kind, 'inspect', '--format', '{{index .Labels "envctl.scope"}}', name }
  local there = M.run(d.engine, look)
  if there.code ~= 0 then
    new(d, kind, name, labels)
    there = M.run(d.engine, look)
  end
  if there.answer:match '^%s*(.-)%s*$' ~= d.world.paths.scope_id then
    err.raise('dependency_failed', ('%s: the %s %s is not ours'):format(d.short, kind, name), { where = d.short })
  end
  return name
end

-- The network on which containers of a project know each other by name.
local function make_network(d)
  local paths = d.world.paths
  local digest = hash.sha256(paths.scope_dir .. '\0' .. d.project.name):sub(1, 12)
  return make(d, 'network', ('envctl-%s-%s'):format(paths.scope_id, digest), { project_label(d.project.name) })
end

-- Podman asks which registry a short name is of; docker means its own.
local function full_name(image)
  local first = image:match '^([^/]+)/'
  if first and (first:find '[.:]' or first == 'localhost') then
    return image
  end
  return 'docker.io/' .. (first and '' or 'library/') .. image
end

-- The image by a name under which it is here.
local function pull(d)
  local there = { 'image', 'inspect', '--format', '{{.Id}}', d.plan.image }
  if M.run(d.engine, there).code == 0 then
    return d.plan.image
  end
  local name = d.engine.name == 'podman' and full_name(d.plan.image) or d.plan.image
  there[#there] = name
  if name == d.plan.image or M.run(d.engine, there).code ~= 0 then
    d.say('preparing', 'pulling ' .. name)
    must(d, 'pulling ' .. name, { 'pull', '-q', name }, PULL_MS)
  end
  return name
end

-- Variables of a container go through a file that is gone when it is made; one that a killed keeper left holds secrets.
local function env_file_of(d)
  return d.dir .. '/container.env'
end

local function create(d, container, image, digest)
  local lines = {}
  for name, value in pairs(container.env) do
    if value:find '[\r\n]' then
      err.raise('config_invalid', ('%s: a line break in %s'):format(d.short, name), { where = d.short })
    end
    lines[#lines + 1] = name .. '=' .. value
  end
  table.sort(lines)
  local env_file = env_file_of(d)
  local gone <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      fs.unlink(env_file)
    end,
  })
  err.check(fs.write_atomic(env_file, table.concat(lines, '\n') .. '\n', { mode = 384, durable = false })) -- 0600
  local args = add_labels({ 'create' }, d.world.paths, own_labels(d.project.name, d.id))
  local function add(...)
    for _, word in ipairs { ... } do
      args[#args + 1] = word
    end
  end
  add('--label', 'envctl.digest=' .. digest, '--label', 'envctl.run=' .. d.run_id, '--env-file', env_file)
  for n, directory in ipairs(container.volumes) do
    add('-v', make(d, 'volume', volume_name(d, n), own_labels(d.project.name, d.id)) .. ':' .. directory)
  end
  for name, inner in pairs(container.ports) do
    add('-p', ('127.0.0.1:%d:%d'):format(d.plan.ports[name], inner))
  end
  if container.network then
    add('--network', make_network(d), '--network-alias', d.id)
  end
  add(image, table.unpack(container.args))
  local id = must(d, 'creating the container', args, CHANGE_MS):match '(%x+)%s*$'
  if not id or #id ~= 64 then
    err.raise('dependency_failed', ('%s: %s gave no container id'):format(d.short, d.engine.name), { where = d.short })
  end
  return id
end

--- A container that runs: the one that is there when it is as wanted, else a new one on the same volume. Awaits.
---@param d table
---@return table container as from inspect
function M.bring_up(d)
  local container = container_of(d)
  local digest = hash.sha256(d.plan.plan_digest .. '\0' .. json.encode_line(container.env)):sub(1, 16)
  fs.unlink(env_file_of(d))
  M.ping(d.engine)
  engines.note(d.world.paths, d.engine)
  local image, id = pull(d), nil
  for _, found in ipairs(list(d.engine, 'container', d.world.paths, own_labels(d.project.name, d.id))) do
    local there = M.inspect(d.engine, found)
    if there and not id and there.labels['envctl.digest'] == digest then
      id = found
    elseif there then
      M.run(d.engine, { 'stop', '-t', '10', found }, CHANGE_MS)
      must(d, 'removing the old container', { 'rm', found }, CHANGE_MS)
    end
  end
  id = id or create(d, container, image, digest)
  d.container_id = id
  require('envctl.deps.places').note_container(d.dir, d.plan.ports)
  local there = M.inspect(d.engine, id)
  if not there or not there.running then
    d.release_ports()
    -- Not the daemon's "StartedAt": what the container says first can be older than that.
    d.started_after = sys.wall_ms() // 1000 - 1
    local started = M.run(d.engine, { 'start', id }, CHANGE_MS)
    if started.code ~= 0 and started.out:find 'network %x+ not found' then -- pruned while nothing ran on it
      must(d, 'removing the old container', { 'rm', id }, CHANGE_MS)
      id = create(d, container, image, digest)
      d.container_id = id
      started = M.run(d.engine, { 'start', id }, CHANGE_MS)
    end
    there = M.inspect(d.engine, id) -- the daemon knows better than an exit code
    if not there or started.code ~= 0 and not there.running then
      err.raise('dependency_failed', ('%s: %s'):format(d.short, tool.last_line(started.out)), { where = d.short })
    end
  end
  return there
end

local function asked_inside(d, argv, good)
  local result = M.run(d.engine, table.move(argv, 1, #argv, 3, { 'exec', d.container_id }), LOOK_MS)
  return result.code == 0 and (not good or result.out:find(good) ~= nil), tool.last_line(result.out)
end

-- What listens inside of a container is in the tables of its own network; the published port is open in any case. A container of
-- another machine counts as soon as it runs.
local function listens(d)
  local pid = d.record.pid
  if not pid then
    return true
  end
  local open = {}
  for _, name in ipairs { 'tcp', 'tcp6' } do
    for number in (fs.read(('/proc/%d/net/%s'):format(pid, name)) or ''):gmatch '%x+:(%x+) [%x:]+ 0A ' do
      open[tonumber(number, 16)] = true
    end
  end
  local container = container_of(d)
  local wanted = table.move(container.listens, 1, #container.listens, 1, {})
  for _, inner in pairs(container.ports) do
    wanted[#wanted + 1] = inner
  end
  for _, inner in ipairs(wanted) do
    if not open[inner] then
      return false, ('nothing listens on port %d in it yet'):format(inner)
    end
  end
  return true
end

local USABLE = {
  tcp = listens,
  http = function(d)
    return readiness.check(d.svc, d.plan.ready, { port = d.port }, {})
  end,
  log = function(d)
    local since = ('%d'):format(d.started_after or 0)
    local logs = M.run(d.engine, { 'logs', '--since', since, '--tail', '1000', d.container_id })
    return logs.out:find(d.plan.ready.pattern) ~= nil, 'its output does not say so yet'
  end,
  command = function(d)
    return asked_inside(d, d.plan.ready.command)
  end,
  none = function(d)
    return readiness.check(d.svc, d.plan.ready, {}, {})
  end,
}

-- Whether somebody has its published port. For a container of another machine that is not for us to say.
local function published(d)
  return not d.record.pid or not d.port or not port.check(d.port)
end

--- Whether it can be used: its port is published, and it is asked inside of the container, or as its description says. Awaits.
---@param d table
---@return boolean ok, string? why
function M.usable(d)
  local kind = KINDS[d.id]
  if not published(d) then
    return false, ('nothing listens on port %d, which it publishes'):format(d.port)
  end
  if kind then
    return asked_inside(d, { 'sh', '-c', kind.check }, kind.good)
  end
  return USABLE[d.plan.ready.kind](d)
end

--- Copies the end of a container's output into its log file, where it stays when the container is gone. Awaits; raises
--- docker_unavailable.
---@param engine envctl.deps.Engine
---@param record {container_id: string, log_path: string, log_since: integer?}
function M.keep_log(engine, record)
  local since = ('%d'):format((record.log_since or 0) // 1000)
  local args = { 'logs', '--tail', ('%d'):format(KEPT_LINES), '--since', since, record.container_id }
  local fresh = record.log_path .. '.new'
  fs.unlink(fresh)
  if M.run(engine, args, nil, { log = fresh }).code == 0 then
    err.check(fs.rename(fresh, record.log_path), nil, nil, 'io_error')
  else
    fs.unlink(fresh) -- what the engine complains about is no log
  end
end

--- Stops a container, and looks whether it did. It stays for the next start, and so does its volume. Awaits; raises nothing.
---@param engine envctl.deps.Engine
---@param record table component
---@param on_phase fun(record: table, phase: string, message: string?)
---@return envctl.Ended
function M.stop(engine, record, on_phase)
  local out = { name = record.name, was_alive = false, killed = false, stopped = false }
  local ok, e = task.try(function()
    M.ping(engine)
    local there = M.inspect(engine, record.container_id)
    if there and there.running then
      out.was_alive = true
      on_phase(record, 'stopping')
      M.run(engine, { 'stop', '-t', '10', record.container_id }, CHANGE_MS)
      there = M.inspect(engine, record.container_id)
    end
    out.stopped = not (there and there.running)
    if there then
      M.keep_log(engine, record)
    end
  end)
  if not ok and record.identity and procfs.alive(record.identity) == false then
    out.stopped = true -- no daemon to ask, but its process is gone for certain
  end
  if out.stopped and out.was_alive then
    on_phase(record, 'stopped')
  elseif not out.stopped then
    out.message = record.name .. ': ' .. (ok and 'the container still runs' or e.message)
  end
  return out
end

-- What stays although it was to go is no success.
local function gone_for_good(engine, args, what)
  local result = M.run(engine, args, CHANGE_MS)
  if result.code ~= 0 and not is_missing(result) then
    err.raise('docker_failed', ('%s does not remove %s: %s'):format(engine.name, what, tool.last_line(result.out)))
  end
  return true
end

local function remove_containers(engine, paths, labels)
  local removed = false
  M.ping(engine)
  for _, id in ipairs(list(engine, 'container', paths, labels)) do
    removed = gone_for_good(engine, { 'rm', '-f', id }, 'the container ' .. id:sub(1, 12))
  end
  return removed
end

--- Removes the containers of a project and their network; its volumes stay. Awaits; raises docker_unavailable, docker_failed.
---@param env table<string, string>
---@param paths table
---@param project string
function M.discard(env, paths, project)
  for _, engine in ipairs(engines.all(env)) do
    remove_containers(engine, paths, { project_label(project) })
    remove_networks(engine, paths, project)
  end
end

--- Removes containers and volumes, by id and label: of one dependency of a project, or all of the scope. Awaits; raises
--- docker_unavailable, docker_failed.
---@param env table<string, string>
---@param paths table
---@param project string?
---@param id string?
---@return boolean removed
function M.remove(env, paths, project, id)
  local labels, removed = project and own_labels(project, id) or {}, false
  for _, engine in ipairs(engines.all(env)) do
    removed = remove_containers(engine, paths, labels) or removed
    for _, name in ipairs(list(engine, 'volume', paths, labels)) do
      removed = gone_for_good(engine, { 'volume', 'rm', name }, 'the volume ' .. name)
    end
    remove_networks(engine, paths, project)
  end
  return removed
end

--- Stops every container of this scope: also those that no record names. Awaits. Nothing to talk to is nothing to stop.
---@param env table<string, string>
---@param paths table
---@param stateless boolean? there was no state: what was noted of the scope may be gone with it
function M.sweep(env, paths, stateless)
  for _, engine in ipairs(stateless and engines.all(env) or engines.noted(env, paths)) do
    task.try(function()
      M.ping(engine)
      local left = false
      for _, id in ipairs(list(engine, 'container', paths, {})) do
        local there = M.inspect(engine, id)
        if there and there.running then
          left = M.run(engine, { 'stop', '-t', '10', id }, CHANGE_MS).code ~= 0 or left
        end
      end
      if not left then
        engines.forget(paths, engine)
      end
    end)
  end
end

return M
