--- The keeper's side of `envctl data`: throwing data away, and dumps of Postgres. Only data of this scope is ever touched.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local deps_plan = require 'envctl.deps.plan'
local observe = require 'envctl.resume.observe'
local places = require 'envctl.deps.places'
local tool = require 'envctl.deps.tool'

local M = {}

local MAIN = 'Main'
local LONG_MS = 3600000

local function raise(code, item, text, hint)
  err.raise(code, item.project .. '/' .. item.id .. ': ' .. text, {
    where = item.project .. '/' .. item.id, hint = hint, data = { dependency = item.id },
  })
end

-- true, false, or nil when that cannot be known.
local function alive(record)
  if not record or not record.identity then
    return false
  end
  return (observe.service(record))
end

local act = {}

--- Deletes the data directory. Nothing may run on it.
function act.reset(op, item, record)
  if alive(record) ~= false then
    raise('data_in_use', item, 'is running', 'stop it first: envctl stop --project ' .. item.project)
  end
  local dir = places.dir(op.request.base, op.paths.scope_id, item.project, item.id)
  if fs.lstat(dir .. '/data/postmaster.pid') then
    local pid = math.tointeger(tonumber((fs.read(dir .. '/data/postmaster.pid') or ''):match '^%s*(%d+)'))
    local procfs = require 'envctl.host.procfs'
    if pid and procfs.identity(pid) and procfs.cwd(pid) == fs.realpath(dir .. '/data') then
      raise('data_in_use', item, 'pid ' .. pid .. ' runs on it', 'end it first')
    end
  end
  local existed = fs.lstat(dir) ~= nil
  existed = require('envctl.deps.docker').remove(op.base_env, op.paths, item.project, item.id) or existed
  if fs.lstat(dir) then
    -- Out of the way first: what is half deleted is never taken for data.
    local aside = dir .. '.deleted-' .. sys.random_hex(4)
    err.check(fs.rename(dir, aside), nil, nil, 'io_error')
    err.check(fs.remove_tree(aside), nil, nil, 'io_error')
  end
  return { removed = existed, path = dir }
end

--- Deletes the data, and leaves word that the next start begins with a copy of Main's: what Main has then.
function act.seed(op, item, record)
  local from = places.dir(op.request.base, op.paths.scope_id, MAIN, item.id)
  if item.project == MAIN then
    raise('not_supported', item, 'is what others begin with a copy of', 'name a worktree with --project')
  elseif not fs.lstat(from .. '/data') then
    raise('data_missing', item, MAIN .. ' has no data here to start from', 'start it first: envctl start --main')
  end
  local done = act.reset(op, item, record)
  places.make(op.request.base, done.path, sys.geteuid() == 0)
  err.check(fs.write_atomic(done.path .. '/seed', MAIN, { mode = 384 }), nil, nil, 'io_error') -- 0600
  done.from = MAIN
  return done
end

-- A Postgres tool that talks to the running server; the password is in its environment.
local function pg(op, item, record, program, argv, log)
  if item.id ~= 'postgres' then
    raise('not_supported', item, 'dump and restore are there for postgres only')
  end
  local server = record
  if record and record.scope == 'shared' then
    server = deps_plan.record(op.world.doc, deps_plan.SHARED, item.id)
  end
  if not alive(server) then
    raise('dependency_not_running', item, 'is not running', 'start it first: envctl start --project ' .. item.project)
  end
  local plan = record.access or {}
  local bin = server.bin and server.bin .. '/' .. program
  local path = bin and sys.which(bin) or sys.which(program, { path = op.base_env.PATH })
  if not path then
    raise('command_not_found', item, 'there is no ' .. program .. ' on this machine')
  end
  local full = {
    path, '-w', '-h', '127.0.0.1', '-p', ('%d'):format(record.final), '-U', plan.user or 'postgres',
  }
  table.move(argv, 1, #argv, #full + 1, full)
  local password = record.data_dir and places.password(record.data_dir) or op.request.password
  local result = tool.run {
    argv = full, env = tool.env(op.base_env, { PGPASSWORD = password }), timeout_ms = LONG_MS, log = log,
  }
  return result
end

--- Writes a dump beside its final name, and gives it that name when it is whole.
function act.dump(op, item, record)
  local file = op.request.file
  if fs.lstat(file) then
    raise('path_occupied', item, file .. ' exists already', 'give another name with --file')
  end
  local fresh = file .. '.' .. sys.random_hex(4)
  local name = record and record.access and record.access.name or 'postgres'
  local result = pg(op, item, record, 'pg_dump', { '--format=custom', '--file=' .. fresh, '-d', name })
  if result.code ~= 0 then
    fs.unlink(fresh)
    raise('dump_failed', item, tool.last_line(result.out))
  end
  fs.chmod(fresh, 384) -- 0600
  err.check(fs.rename(fresh, file), nil, nil, 'io_error')
  return { file = file, bytes = (fs.stat(file) or {}).size }
end

--- Puts a dump into the running server, in place of what is there: all of it, or nothing changes.
function act.restore(op, item, record)
  local file = op.request.file
  if not fs.stat(file) then
    raise('file_missing', item, 'there is no ' .. file)
  end
  local name = record and record.access and record.access.name or 'postgres'
  local result = pg(op, item, record, 'pg_restore', {
    '--clean', '--if-exists', '--no-owner', '--single-transaction', '-d', name, file,
  })
  if result.code ~= 0 then
    raise('restore_failed', item, tool.last_line(result.out), 'nothing was changed')
  end
  return { file = file }
end

--- op.request: {action, items: [{project, id}], base, file?, password?, everything?}. everything: containers and volumes of the
--- scope that nothing names go as well.
---@param op table
---@return table result
function M.run(op)
  local request = op.request
  local action = act[request.action]
  if not action then
    err.raise('protocol_error', 'unknown action ' .. tostring(request.action))
  end
  if op.world.unreadable then
    error(op.world.unreadable, 0)
  end
  local items = json.array {}
  for _, item in ipairs(request.items) do
    local record = deps_plan.record(op.world.doc, item.project, item.id)
    op.progress { project = item.project, service = item.id, phase = 'preparing', message = request.action }
    local done = action(op, item, record)
    done.project, done.dependency = item.project, item.id
    op.world:emit('data.' .. request.action, { project = item.project, service = item.id }, { file = request.file })
    items[#items + 1] = done
  end
  if request.everything then
    require('envctl.deps.docker').remove(op.base_env, op.paths)
  end
  return { items = items }
end

return M
