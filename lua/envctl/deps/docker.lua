--- The docker provider, through the docker command: labelled containers and volumes, published on loopback only, named by immutable
--- id in every command that changes something. Runs inside of the keeper.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local procfs = require 'envctl.host.procfs'
local hash = require 'envctl.host.hash'
local port = require 'envctl.host.port'
local task = require 'envctl.task'
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local tool = require 'envctl.deps.tool'
local readiness = require 'envctl.keeper.readiness'

local M = {}

local PING_MS, LOOK_MS, CHANGE_MS, PULL_MS = 3000, 10000, 60000, 600000

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

local function client(base_env)
  local path = sys.which('docker', { path = base_env.PATH })
  if not path then
    err.raise('docker_unavailable', 'there is no docker command on PATH', {
      hint = 'install it, or use another provider',
    })
  end
  return path
end

local function unavailable(text, timed_out)
  local lower = text:lower()
  local message
  if timed_out then
    message = 'the docker daemon does not answer in time'
  elseif lower:find('permission denied while trying to connect', 1, true) then
    message = 'no permission to talk to the docker daemon'
  elseif lower:find('cannot connect to the docker daemon', 1, true) or lower:find('error during connect', 1, true) then
    message = 'the docker daemon does not run'
  end
  return message and err.new('docker_unavailable', message, { hint = tool.last_line(text) })
end

--- Runs the docker command. Awaits. A daemon that cannot be reached is an error of its own.
---@param base_env table
---@param args string[]
---@param timeout_ms integer?
---@return envctl.deps.Result
function M.run(base_env, args, timeout_ms, log)
  local argv = table.move(args, 1, #args, 2, { client(base_env) })
  local env = require('envctl.keeper.child_env').clean(base_env)
  local result = tool.run { argv = argv, env = env, timeout_ms = timeout_ms or LOOK_MS, log = log }
  if result.code ~= 0 then
    -- What a program inside of a container says is not about the daemon.
    local e = args[1] ~= 'exec' and args[1] ~= 'logs' and unavailable(result.out, result.timed_out)
    if e then
      error(e, 0)
    end
  end
  return result
end

-- A daemon that accepts and says nothing is told apart here, before anything waits for long.
local function ping(base_env)
  return M.run(base_env, { 'version', '--format', '{{.Server.Version}}' }, PING_MS).out:match '[%w.-]+'
end

-- A command that has to succeed; its answer without the white space around it.
local function must(d, what, args, timeout_ms)
  local result = M.run(d.base_env, args, timeout_ms)
  if result.code ~= 0 then
    err.raise('dependency_failed', ('%s: %s: %s'):format(d.short, what, tool.last_line(result.out)), {
      where = d.short, data = { dependency = d.id },
    })
  end
  return (result.out:match '^%s*(.-)%s*$')
end

-- One repository under two runtime roots is two scopes.
local function scope_labels(paths)
  return { 'envctl.scope=' .. paths.scope_id, 'envctl.root=' .. hash.sha256(paths.scope_dir):sub(1, 12) }
end

local function filters(paths, more)
  local out = {}
  for _, label in ipairs(scope_labels(paths)) do
    out[#out + 1] = '--filter'
    out[#out + 1] = 'label=' .. label
  end
  for _, label in ipairs(more or {}) do
    out[#out + 1] = '--filter'
    out[#out + 1] = 'label=' .. label
  end
  return out
end

local function project_label(project)
  return 'envctl.project=' .. project
end

local function own_labels(project, id)
  return { project_label(project), 'envctl.dependency=' .. id }
end

-- An answer that cannot be understood says nothing: neither that something is there nor that it is gone.
local function no_answer(about, result)
  err.raise('docker_unavailable', ('docker does not say %s: %s'):format(about, tool.last_line(result.out)), {
    hint = 'see what `docker ps` says',
  })
end

local function list(base_env, paths, more)
  local args = { 'ps', '-a', '-q', '--no-trunc' }
  local found = filters(paths, more)
  table.move(found, 1, #found, #args + 1, args)
  local ids = {}
  local result = M.run(base_env, args)
  if result.code ~= 0 then
    no_answer('which containers there are', result)
  end
  -- A whole id names one container for ever; a part of one may mean another.
  for id in result.out:gmatch '%x+' do
    ids[#ids + 1] = #id == 64 and id or nil
  end
  return ids
end

--- What the daemon says about a container, nil when it says that there is none. Awaits; raises docker_unavailable when it
--- says neither.
---@param base_env table
---@param id string
---@return table? {id, running, pid, exit_code, labels}
function M.inspect(base_env, id)
  local result = M.run(base_env, { 'inspect', '--type', 'container', '--format', '{{json .}}', id })
  if result.code ~= 0 and result.out:lower():find 'no such ' then
    return nil
  end
  local doc = result.code == 0 and json.decode(result.out)
  local state = type(doc) == 'table' and doc.Id == id and doc.State
  if type(state) ~= 'table' or type(state.Running) ~= 'boolean' or math.type(state.Pid) ~= 'integer' then
    no_answer('how the container ' .. id:sub(1, 12) .. ' is', result)
  end
  local labels = type(doc.Config) == 'table' and doc.Config.Labels
  return {
    id = id, running = state.Running, pid = state.Pid, exit_code = state.ExitCode,
    labels = type(labels) == 'table' and labels or {},
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

local function make_volume(d, n)
  local name, paths = volume_name(d, n), d.world.paths
  local args = add_labels({ 'volume', 'create' }, paths, own_labels(d.project.name, d.id))
  args[#args + 1] = name
  must(d, 'making its volume', args, CHANGE_MS)
  local label = must(d, 'looking at its volume', {
    'volume', 'inspect', '--format', '{{index .Labels "envctl.scope"}}', name,
  })
  if label ~= paths.scope_id then
    err.raise('dependency_failed', ('%s: the volume %s is not ours'):format(d.short, name), { where = d.short })
  end
  return name
end

-- Networks of this scope that no container is on any more, running or not.
local function remove_networks(base_env, paths, project)
  local args = { 'network', 'ls', '-q' }
  local found = filters(paths, project and { project_label(project) })
  table.move(found, 1, #found, #args + 1, args)
  for id in M.run(base_env, args).out:gmatch '%x+' do
    if M.run(base_env, { 'ps', '-aq', '--filter', 'network=' .. id }).out:find '%x' == nil then
      M.run(base_env, { 'network', 'rm', id })
    end
  end
end

-- A machine has addresses for some thirty networks. Ours that nobody uses make room; those of others are left alone.
local function new_network(d, args)
  local made = M.run(d.base_env, args, CHANGE_MS)
  if made.code ~= 0 and made.out:find('predefined address pools', 1, true) then
    remove_networks(d.base_env, d.world.paths)
    made = M.run(d.base_env, args, CHANGE_MS)
  end
  if made.code ~= 0 then
    local why = tool.last_line(made.out)
    local full = why:find('predefined address pools', 1, true)
    err.raise('dependency_failed', d.short .. ': making the network of its project: ' .. why, {
      where = d.short, data = { dependency = d.id },
      hint = full and 'remove networks that nobody needs: `docker network ls`, `docker network rm NAME`' or nil,
    })
  end
end

-- The network on which containers of a project know each other by name, made when it is not there.
local function make_network(d)
  local paths = d.world.paths
  local digest = hash.sha256(paths.scope_dir .. '\0' .. d.project.name):sub(1, 12)
  local name = ('envctl-%s-%s'):format(paths.scope_id, digest)
  local look = { 'network', 'inspect', '--format', '{{index .Labels "envctl.scope"}}', name }
  local there = M.run(d.base_env, look)
  if there.code ~= 0 then
    local args = add_labels({ 'network', 'create' }, paths, { project_label(d.project.name) })
    args[#args + 1] = name
    new_network(d, args)
    there = M.run(d.base_env, look)
  end
  if not there.out:find(paths.scope_id, 1, true) then
    err.raise('dependency_failed', ('%s: the network %s is not ours'):format(d.short, name), { where = d.short })
  end
  return name
end

local function pull(d)
  if M.run(d.base_env, { 'image', 'inspect', '--format', '{{.Id}}', d.plan.image }).code == 0 then
    return
  end
  d.say('preparing', 'pulling ' .. d.plan.image)
  must(d, 'pulling ' .. d.plan.image, { 'pull', '-q', d.plan.image }, PULL_MS)
end

-- Variables of a container go through a file that is gone when it is made; one that a killed keeper left holds secrets.
local function env_file_of(d)
  return d.dir .. '/container.env'
end

local function create(d, container, digest)
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
    add('-v', make_volume(d, n) .. ':' .. directory)
  end
  for name, inner in pairs(container.ports) do
    add('-p', ('127.0.0.1:%d:%d'):format(d.plan.ports[name], inner))
  end
  if container.network then
    add('--network', make_network(d), '--network-alias', d.id)
  end
  add(d.plan.image, table.unpack(container.args))
  local id = must(d, 'creating the container', args, CHANGE_MS):match '(%x+)%s*$'
  if not id or #id ~= 64 then
    err.raise('dependency_failed', d.short .. ': docker gave no container id', { where = d.short })
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
  ping(d.base_env)
  pull(d)
  local id
  for _, found in ipairs(list(d.base_env, d.world.paths, own_labels(d.project.name, d.id))) do
    local there = M.inspect(d.base_env, found)
    if there and not id and there.labels['envctl.digest'] == digest then
      id = found
    elseif there then
      M.run(d.base_env, { 'stop', '-t', '10', found }, CHANGE_MS)
      must(d, 'removing the old container', { 'rm', found }, CHANGE_MS)
    end
  end
  id = id or create(d, container, digest)
  d.container_id = id
  local there = M.inspect(d.base_env, id)
  if not there or not there.running then
    d.release_ports()
    -- Not the daemon's "StartedAt": what the container says first can be older than that.
    d.started_after = sys.wall_ms() // 1000 - 1
    local started = M.run(d.base_env, { 'start', id }, CHANGE_MS)
    if started.code ~= 0 and started.out:find 'network %x+ not found' then -- pruned while nothing ran on it
      must(d, 'removing the old container', { 'rm', id }, CHANGE_MS)
      id = create(d, container, digest)
      d.container_id = id
      started = M.run(d.base_env, { 'start', id }, CHANGE_MS)
    end
    there = M.inspect(d.base_env, id) -- the daemon knows better than an exit code
    if not there or started.code ~= 0 and not there.running then
      err.raise('dependency_failed', ('%s: %s'):format(d.short, tool.last_line(started.out)), { where = d.short })
    end
  end
  return there
end

local function asked_inside(d, argv, good)
  local result = M.run(d.base_env, table.move(argv, 1, #argv, 3, { 'exec', d.container_id }), LOOK_MS)
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
    local logs = M.run(d.base_env, { 'logs', '--since', since, '--tail', '1000', d.container_id })
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

--- Copies a container's output into its log file. Awaits; raises docker_unavailable.
---@param d {base_env: table, container_id: string, log_path: string}
---@param lines integer? at most so many from the end; nil: all
---@param since integer? wall clock, ms
function M.keep_log(d, lines, since)
  local args = { 'logs', '--tail', lines and ('%d'):format(lines) or 'all' }
  if since then
    table.move({ '--since', ('%d'):format(since // 1000) }, 1, 2, #args + 1, args)
  end
  args[#args + 1] = d.container_id
  ping(d.base_env)
  local fresh = d.log_path .. '.new'
  fs.unlink(fresh)
  if M.run(d.base_env, args, nil, fresh).code == 0 then
    err.check(fs.rename(fresh, d.log_path), nil, nil, 'io_error')
  else
    fs.unlink(fresh) -- what docker complains about is no log
  end
end

--- Stops a container, and looks whether it did. It stays for the next start, and so does its volume. Awaits; raises nothing.
---@param base_env table
---@param record table component
---@param on_phase fun(record: table, phase: string, message: string?)
---@return envctl.Ended
function M.stop(base_env, record, on_phase)
  local out = { name = record.name, was_alive = false, killed = false, stopped = false }
  local ok, e = task.try(function()
    ping(base_env)
    local there = M.inspect(base_env, record.container_id)
    if there and there.running then
      out.was_alive = true
      on_phase(record, 'stopping')
      M.run(base_env, { 'stop', '-t', '10', record.container_id }, CHANGE_MS)
      there = M.inspect(base_env, record.container_id)
    end
    out.stopped = not (there and there.running)
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
local function gone_for_good(result, what)
  if result.code ~= 0 and not result.out:lower():find 'no such ' then
    err.raise('docker_failed', ('docker does not remove %s: %s'):format(what, tool.last_line(result.out)))
  end
  return true
end

local function remove_containers(base_env, paths, labels)
  local removed = false
  for _, id in ipairs(list(base_env, paths, labels)) do
    removed = gone_for_good(M.run(base_env, { 'rm', '-f', id }, CHANGE_MS), 'the container ' .. id:sub(1, 12))
  end
  return removed
end

--- Removes the containers of a project and their network; its volumes stay. Awaits; raises docker_unavailable, docker_failed.
---@param base_env table
---@param paths table
---@param project string
function M.discard(base_env, paths, project)
  ping(base_env)
  remove_containers(base_env, paths, { project_label(project) })
  remove_networks(base_env, paths, project)
end

--- Removes containers and volumes, by id and label: of one dependency of a project, or all of the scope. Awaits; raises
--- docker_unavailable, docker_failed.
---@param base_env table
---@param paths table
---@param project string?
---@param id string?
---@return boolean removed
function M.remove(base_env, paths, project, id)
  local labels = project and own_labels(project, id) or {}
  local removed = remove_containers(base_env, paths, labels)
  local args = { 'volume', 'ls', '-q' }
  local found = filters(paths, labels)
  table.move(found, 1, #found, #args + 1, args)
  for name in M.run(base_env, args).out:gmatch '[^\r\n]+' do
    removed = gone_for_good(M.run(base_env, { 'volume', 'rm', name }, CHANGE_MS), 'the volume ' .. name)
  end
  remove_networks(base_env, paths, project)
  return removed
end

--- Stops every container of this scope: also those that no record names. Awaits. Nothing to talk to is nothing to stop.
---@param base_env table
---@param paths table
---@return integer count
function M.sweep(base_env, paths)
  if not require('envctl.deps.dockerd').answers(base_env) then
    return 0
  end
  local count = 0
  task.try(function()
    ping(base_env)
    for _, id in ipairs(list(base_env, paths)) do
      local there = M.inspect(base_env, id)
      if there and there.running then
        count = count + 1
        M.run(base_env, { 'stop', '-t', '10', id }, CHANGE_MS)
      end
    end
  end)
  return count
end

return M
