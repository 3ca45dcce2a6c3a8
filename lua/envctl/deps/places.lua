--- Where data of dependencies lives, as whom servers run, and passwords. Finding out reads only; the keeper makes things.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local names = require 'envctl.state.names'

local M = {}

-- For servers that refuse root: their user cannot walk into the 0700 directories of root.
local ROOT_BASE = '/var/lib/envctl'

---@class envctl.deps.User
---@field name string
---@field uid integer
---@field gid integer

--- The first of the named users that this machine has.
---@param wanted string[]
---@return envctl.deps.User?
function M.user(wanted)
  local text = fs.read '/etc/passwd' or ''
  local found = {}
  for line in text:gmatch '[^\n]+' do
    local name, uid, gid = line:match '^([^:]+):[^:]*:(%d+):(%d+):'
    if name then
      found[name] = { name = name, uid = math.tointeger(tonumber(uid)), gid = math.tointeger(tonumber(gid)) }
    end
  end
  for _, name in ipairs(wanted) do
    if found[name] and found[name].uid ~= 0 then
      return found[name]
    end
  end
end

--- Directory that holds the data of all scopes.
---@param settings table
---@param paths envctl.Paths
---@param root string control root
---@return string
function M.base(settings, paths, root)
  local configured = settings:get 'ENVCTL_DATA_DIR'
  if configured then
    return require('envctl.util.path').absolute(configured, root, sys.home())
  end
  if sys.geteuid() ~= 0 then
    return paths.durable_root .. '/data'
  end
  return M.root_base(paths.durable_root)
end

-- The home directory that the system knows of root, whatever HOME says.
local function root_home()
  return ('\n' .. (fs.read '/etc/passwd' or '')):match '\n[^:\n]*:[^:\n]*:0:[^:\n]*:[^:\n]*:([^:\n]*)'
end

--- Where root keeps data. A durable root that is not root's own (RUN_SH_RUNTIME_DIR) has a directory apart, since both may have
--- scopes of the same name.
---@param durable_root string
---@return string
function M.root_base(durable_root)
  if durable_root == (root_home() or '') .. '/.local/state/envctl' then
    return ROOT_BASE
  end
  return ROOT_BASE .. '/at-' .. require('envctl.host.hash').sha256(durable_root):sub(1, 12)
end

--- Directory of one dependency of one project. `shared` ones belong to the repository.
---@param base string
---@param scope_id string
---@param project string
---@param id string
---@return string
function M.dir(base, scope_id, project, id)
  return ('%s/%s/%s/%s'):format(base, scope_id, names.file(project), id)
end

--- Whose data the next start of a dependency begins with, as `envctl data seed` left word; nil when it did not.
---@param dir string
---@return string? project
function M.wanted_seed(dir)
  return fs.read(dir .. '/seed', { max = 4096, nofollow = true })
end

--- Writes down which ports a container of this data publishes, so that a plan can know without asking anybody.
---@param dir string
---@param ports table<string, integer> by name
function M.note_container(dir, ports)
  local text = require('envctl.util.json').encode_line { ports = ports } .. '\n'
  err.check(fs.write_atomic(dir .. '/container', text, { mode = 384, durable = false }), nil, nil, 'io_error') -- 0600
end

--- The ports that the container of this data publishes, as far as it was written down.
---@param dir string
---@return table<string, integer> by name
function M.container_ports(dir)
  local doc = require('envctl.util.json').decode(fs.read(dir .. '/container', { max = 65536, nofollow = true }) or '')
  local out = {}
  for name, number in pairs(type(doc) == 'table' and type(doc.ports) == 'table' and doc.ports or {}) do
    out[name] = math.type(number) == 'integer' and number > 0 and number <= 65535 and number or nil
  end
  return out
end

--- Where a dependency takes its first data from, when it is asked to: the directory of another project that has some.
---@param d table dependency in the keeper
---@return string? dir, table? record of the server that runs on it
function M.seed(d)
  if not d.seed then
    return nil
  end
  local dir = M.dir(d.base, d.world.paths.scope_id, d.seed, d.id)
  if not fs.stat(dir .. '/data') then
    d.say('warning', 'there is no data of ' .. d.seed .. ' to start from')
    return nil
  end
  local record = require('envctl.deps.plan').record(d.world.doc, d.seed, d.id)
  local live = record and record.identity and require('envctl.resume.observe').service(record)
  return dir, live and record or nil
end

--- Makes the directory of a dependency, parents first. As root others may walk through the parents, nobody may read them.
---@param base string
---@param dir string below base
---@param walkable boolean a server with another user has to get through
function M.make(base, dir, walkable)
  local mode = walkable and 457 or 448 -- 0711, 0700
  local at = base
  local function one(path)
    local stat = fs.lstat(path)
    if not stat then
      err.check(fs.mkdirs(path, mode), nil, nil, 'dependency_failed')
      fs.chmod(path, mode) -- the umask may have taken bits away
      return
    end
    if stat.type ~= 'dir' or stat.uid ~= sys.geteuid() then
      err.raise('data_dir_unsafe', path .. ' is no directory of ours', {
        hint = 'move it away, or set ENVCTL_DATA_DIR', where = path,
      })
    end
    if path ~= base and walkable and stat.mode ~= mode then
      fs.chmod(path, mode)
    end
  end
  one(at)
  for part in dir:sub(#base + 2):gmatch '[^/]+' do
    at = at .. '/' .. part
    one(at)
  end
end

--- The password of a dependency, made when there is none yet.
---@param dir string
---@return string password
function M.make_password(dir)
  local known = M.password(dir)
  if known then
    return known
  end
  local password = sys.random_hex(20)
  err.check(fs.write_atomic(dir .. '/password', password .. '\n', { mode = 384 })) -- 0600
  return password
end

--- The password that was made, nil when there is none that we can read.
---@param dir string
---@return string?
function M.password(dir)
  local text = fs.read(dir .. '/password', { max = 4096, nofollow = true })
  return text and text:match '^([^\n]+)\n?$'
end

return M
