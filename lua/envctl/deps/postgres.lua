--- Postgres on this machine: data directory, command line, and whether a query succeeds.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local procfs = require 'envctl.host.procfs'
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local tool = require 'envctl.deps.tool'

local M = {}

-- Paths of unix sockets end here, on every Unix.
local MAX_SOCKET_PATH = 100

local HBA = table.concat({
  'local all all scram-sha-256', 'host all all 127.0.0.1/32 scram-sha-256', 'host all all ::1/128 scram-sha-256',
  'host replication all 127.0.0.1/32 scram-sha-256', '', -- a new worktree may start with a copy
}, '\n')

local function failed(d, what, result)
  local why = result.timed_out and 'took too long' or tool.last_line(result.out)
  err.raise('dependency_failed', ('%s: %s: %s'):format(d.short, what, why), {
    where = d.short, hint = 'see ' .. d.log_path, data = { dependency = d.id },
  })
end

local function run(d, what, options)
  options.env = options.env or d.env
  options.user = d.user
  local result = tool.run(options)
  if result.code ~= 0 then
    failed(d, what, result)
  end
  return result
end

--- "15.18", from the server itself.
---@param d table dependency in the keeper
---@return string
function M.version(d)
  local result = tool.run { argv = { d.plan.program, '--version' }, env = d.env, timeout_ms = 10000 }
  return result.out:match '(%d[%w.]*)' or '?'
end

local function make_dir(d, path)
  local argv = { '/usr/bin/install', '-d', '-m', '0700' }
  if d.user then
    table.move({ '-o', ('%d'):format(d.user.uid), '-g', ('%d'):format(d.user.gid) }, 1, 4, #argv + 1, argv)
  end
  argv[#argv + 1] = path
  local result = tool.run { argv = argv, env = d.env }
  if result.code ~= 0 then
    failed(d, 'cannot make ' .. path, result)
  end
end

-- What a killed keeper left of its attempts. Others may be at work right now: only what is old.
local OLD_MS = 600000

local function sweep(cache, name)
  for _, entry in ipairs(fs.list(cache) or {}) do
    local path = cache .. '/' .. entry.name
    local stat = entry.name:sub(1, #name + 1) == name .. '.' and fs.lstat(path)
    if stat and stat.type == 'dir' and sys.wall_ms() - stat.mtime_ms > OLD_MS then
      fs.remove_tree(path)
    end
  end
end

-- A cluster that lets nobody in: what every new project starts from.
local function prepared(d)
  local cache = d.base .. '/.cache'
  require('envctl.deps.places').make(d.base, cache, d.user ~= nil)
  local name = ('postgres-%s-%s'):format(d.version:gsub('[^%w.]', '_'),
    require('envctl.host.hash').sha256(d.plan.program):sub(1, 8))
  local target = cache .. '/' .. name
  local held <close> = tool.lock(target) -- luacheck: ignore 211
  if fs.stat(target .. '/PG_VERSION') then
    return target
  end
  sweep(cache, name)
  d.say('preparing', 'initdb (once per version)')
  local fresh = target .. '.' .. sys.random_hex(4)
  make_dir(d, fresh)
  local argv = {
    d.plan.bin .. '/initdb', '-D', fresh, '-U', 'postgres', '-A', 'reject', '-E', 'UTF8', '--no-sync',
    '--locale=C.UTF-8',
  }
  local result = tool.run { argv = argv, env = d.env, user = d.user, timeout_ms = 120000 }
  if result.code ~= 0 and result.out:find 'locale' then
    argv[#argv] = '--no-locale'
    fs.remove_tree(fresh)
    make_dir(d, fresh)
    result = tool.run { argv = argv, env = d.env, user = d.user, timeout_ms = 120000 }
  end
  if result.code ~= 0 then
    fs.remove_tree(fresh)
    failed(d, 'initdb', result)
  end
  -- Another keeper may have been faster: then its copy is as good.
  if not fs.rename(fresh, target) then
    fs.remove_tree(fresh)
  end
  return target
end

local function identifier(text)
  return '"' .. text:gsub('"', '""') .. '"'
end

local function literal(text)
  return "'" .. text:gsub("'", "''") .. "'"
end

local function check_text(d, what, text)
  if text:find '%c' or text == '' then
    err.raise('config_invalid', ('%s: %s is not usable'):format(d.short, what), { where = d.short })
  end
end

-- The owner of everything and the database, set while no server runs: nothing has to be trusted for it, and the password
-- goes through standard input. What is `fresh` is made durable as a whole later.
local function set_up(d, data, fresh)
  local a = d.access
  check_text(d, 'DB_USER', a.user)
  check_text(d, 'DB_NAME', a.name)
  check_text(d, 'the password', a.password)
  local user, name = identifier(a.user), identifier(a.name)
  local lines = {}
  if a.user ~= 'postgres' then
    lines[1] = ('CREATE ROLE %s SUPERUSER LOGIN'):format(user)
  end
  lines[#lines + 1] = ('ALTER ROLE %s PASSWORD %s'):format(user, literal(a.password))
  if a.name ~= 'postgres' and a.name ~= 'template1' then
    lines[#lines + 1] = ('CREATE DATABASE %s OWNER %s'):format(name, user)
  end
  -- What exists already is an error of one statement, and no reason to stop: the query at the end is the judge.
  run(d, 'setting up', {
    argv = {
      d.plan.program, '--single', '-D', data, '-c', 'exit_on_error=false', '-c', 'log_min_error_statement=panic',
      '-c', 'log_min_messages=fatal', '-c', 'fsync=' .. (fresh and 'off' or 'on'), 'postgres',
    },
    input = table.concat(lines, '\n') .. '\n',
    timeout_ms = 120000,
  })
end

local function stamp_of(d)
  local text = table.concat({ d.access.user, d.access.name, d.access.password }, '\0')
  return require('envctl.host.hash').sha256(text)
end

-- A postmaster.pid whose process is gone, a zombie or somebody else. Postgres itself only asks whether the pid exists.
local function clear_stale_lock(d, data)
  local text = fs.read(data .. '/postmaster.pid', { max = 4096 })
  local pid = text and math.tointeger(tonumber(text:match '^%s*(%d+)'))
  if not pid then
    return
  end
  local stat = procfs.stat(pid)
  local alive = stat and stat.state ~= 'Z' and stat.state ~= 'X' and procfs.cwd(pid) == fs.realpath(data)
  if alive then
    err.raise('dependency_failed', ('%s: pid %d already serves %s'):format(d.short, pid, data), {
      where = d.short, hint = 'another envctl may have started it; end it there',
    })
  end
  fs.unlink(data .. '/postmaster.pid')
end

local function check_version(d, data)
  local made = (fs.read(data .. '/PG_VERSION', { max = 64 }) or ''):match '[%d.]+'
  local major = d.version:match '^%d+'
  if made and major and made ~= major then
    local text = ('%s: its data is of Postgres %s, this machine has %s'):format(d.short, made, major)
    err.raise('dependency_failed', text, {
      where = d.short,
      hint = 'install Postgres ' .. made .. ', or throw the data away with `envctl data reset`',
    })
  end
end

-- Fills an empty directory: a copy of another project's data when that was asked for, else of the prepared cluster.
local function first_data(d, fresh)
  local from, running = require('envctl.deps.places').seed(d)
  if from and running then
    d.say('preparing', 'copying the data of ' .. d.seed .. ', which runs')
    local a = running.access or {}
    local secret = require('envctl.deps.places').password(from) or d.access.password
    run(d, 'copying the data of ' .. d.seed, {
      argv = {
        d.plan.bin .. '/pg_basebackup', '-D', fresh, '-h', '127.0.0.1', '-p', ('%d'):format(running.final),
        '-U', a.user or 'postgres', '-w', '-X', 'stream', '-c', 'fast', '--no-sync',
      },
      env = tool.env(d.env, { PGPASSWORD = secret }),
      timeout_ms = 3600000,
    })
    return
  end
  local source = from and from .. '/data' or nil
  if source then
    clear_stale_lock(d, source)
    check_version(d, source)
    d.say('preparing', 'copying the data of ' .. d.seed)
  else
    source = prepared(d)
    d.say('preparing', 'copying the prepared data directory')
  end
  run(d, 'copying', { argv = { '/bin/cp', '-a', '--reflink=auto', source .. '/.', fresh }, timeout_ms = 3600000 })
end

--- Makes sure that there is a data directory with the wanted user and database. Awaits.
---@param d table
function M.prepare(d)
  local data = d.dir .. '/data'
  d.version = M.version(d)
  local state = fs.read(d.dir .. '/prepared.json')
  state = state and json.decode(state) or {}
  if fs.stat(data .. '/PG_VERSION') then
    check_version(d, data)
    clear_stale_lock(d, data)
    if state.stamp ~= stamp_of(d) then
      d.say('preparing', 'setting user and database')
      set_up(d, data)
    end
  else
    local fresh = d.dir .. '/data.new'
    fs.remove_tree(fresh)
    make_dir(d, fresh)
    first_data(d, fresh)
    set_up(d, fresh, true)
    -- Postgres takes what it finds for durable: from here on a power failure loses nothing that was committed.
    run(d, 'writing to disk', { argv = { d.plan.bin .. '/initdb', '--sync-only', '-D', fresh }, timeout_ms = 600000 })
    err.check(fs.rename(fresh, data), nil, nil, 'dependency_failed')
  end
  if state.stamp ~= stamp_of(d) then
    local text = json.encode { version = d.version, stamp = stamp_of(d) }
    err.check(fs.write_atomic(d.dir .. '/prepared.json', text))
  end
  -- Who may come in: with the password, from this machine. Beside the data, so that what was restored cannot widen it.
  err.check(fs.write_atomic(d.dir .. '/pg_hba.conf', HBA, { mode = 420 })) -- 0644: no secret in it
  local socket = d.dir .. '/run'
  if #socket <= MAX_SOCKET_PATH - #'/.s.PGSQL.65535' then
    make_dir(d, socket)
    d.socket = socket
  end
end

--- Command line of the server.
---@param d table
---@return {argv: string[], input: string?}
function M.command(d)
  return {
    argv = {
      d.plan.program, '-D', d.dir .. '/data', '-p', ('%d'):format(d.port), '-c', 'listen_addresses=localhost',
      '-c', 'unix_socket_directories=' .. (d.socket or ''), '-c', 'unix_socket_permissions=0700',
      '-c', 'hba_file=' .. d.dir .. '/pg_hba.conf', '-c', 'logging_collector=off', '-c', 'log_destination=stderr',
    },
  }
end

--- Gives a project a role and a database of its own on a running server. What is there stays. Awaits.
---@param d table the server
---@param user {name: string, user: string, password: string}
function M.share(d, user)
  check_text(d, 'database', user.name)
  local psql = sys.which(d.plan.bin .. '/psql') or sys.which('psql', { path = d.env.PATH })
  if not psql then
    err.raise('dependency_failed', d.short .. ': a shared server needs psql', { where = d.short })
  end
  local role, name = literal(user.user), literal(user.name)
  local sql = table.concat({
    'set log_min_error_statement = panic;',
    ("select format('create role %%I login', %s) where not exists (select from pg_roles where rolname = %s) \\gexec")
      :format(role, role),
    ('alter role %s password %s;'):format(identifier(user.user), literal(user.password)),
    ("select format('create database %%I owner %%I', %s, %s)"):format(name, role)
      .. (' where not exists (select from pg_database where datname = %s) \\gexec'):format(name),
    ('revoke connect on database %s from public;'):format(identifier(user.name)),
  }, '\n') .. '\n'
  local result = tool.run {
    argv = {
      psql, '-X', '-q', '-w', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-p', ('%d'):format(d.port),
      '-U', d.access.user, '-d', d.access.name, '-f', '-',
    },
    env = tool.env(d.env, { PGPASSWORD = d.access.password, PGCONNECT_TIMEOUT = '5' }),
    input = sql,
    timeout_ms = 60000,
  }
  if result.code ~= 0 then
    failed(d, 'preparing the database of a project', result)
  end
end

--- Whether a query succeeds. Awaits. A server without psql beside it counts as soon as it listens.
---@param d table
---@return boolean ok, string? why
function M.usable(d)
  local psql = d.plan.bin and sys.which(d.plan.bin .. '/psql') or sys.which('psql', { path = d.env.PATH })
  if not psql then
    return true
  end
  local a = d.access
  local env = { PGPASSWORD = a.password, PGCONNECT_TIMEOUT = '5' }
  local result = tool.run {
    argv = {
      psql, '-X', '-A', '-t', '-q', '-w', '-h', a.probe_host or '127.0.0.1', '-p', ('%d'):format(d.port), '-U', a.user,
      '-d', a.name, '-c', 'select 1',
    },
    env = tool.env(d.env, env),
    timeout_ms = 10000,
  }
  return result.code == 0 and result.out:find '^1' ~= nil, tool.last_line(result.out)
end

return M
