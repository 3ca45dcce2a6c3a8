--- What the Python engine left: its run_state.json, imported so that it can be shown and stopped. It recorded bare pids, and a
--- pid alone is no identity. Proof that a process is of a service is that it writes to that service's log. A recorded pid that
--- only looks right, by its directory or by the service's port, is in doubt, and what is in doubt is left alone.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local procfs = require 'envctl.host.procfs'

local M = {}

-- Its default root. Ours has the user's id in its name, since /tmp is everybody's.
local DEFAULT_ROOT = '/tmp/envctl-runtime'

-- Only what nobody else could have put there.
local function ours(path, kind)
  local s = fs.lstat(path)
  return s ~= nil and s.type == kind and s.uid == sys.geteuid() and s.mode & 2 == 0
end

--- The engine's file for a scope, in a directory of its own, or nil. (In ours it is at `paths.state_file`.)
---@param paths envctl.Paths
---@return string? path
function M.file(paths)
  local root = paths.runtime_root
  if root == DEFAULT_ROOT .. '-' .. sys.geteuid() then
    root = DEFAULT_ROOT
  end
  local engine = root .. '/python-engine'
  local scope = engine .. '/' .. paths.scope_id
  local file = scope .. '/run_state.json'
  if ours(root, 'dir') and ours(engine, 'dir') and ours(scope, 'dir') and ours(file, 'file') then
    return file
  end
end

local function positive(value)
  return math.type(value) == 'integer' and value > 1 and value or nil
end

local STATUS = { running = 'running', starting = 'starting' }

-- Its project and its service are only in the display name: "Main Backend".
local function project_of(name, type)
  local suffix = ' ' .. type:sub(1, 1):upper() .. type:sub(2)
  return name:sub(-#suffix) == suffix and name:sub(1, -#suffix - 1) or name
end

-- Only known keys are taken, and the log only where the engine writes logs: a file cannot point at processes by another's log.
local function import_service(name, s, doc, runs)
  local log = type(s.log_path) == 'string' and s.log_path:match '[^/]+$'
  local pids = {}
  for _, pid in ipairs(type(s.listener_pids) == 'table' and s.listener_pids or {}) do
    pids[#pids + 1] = positive(pid)
  end
  return {
    name = name,
    type = s.type,
    service = s.type,
    project = project_of(name, s.type),
    mode = doc.mode,
    cwd = type(s.cwd) == 'string' and s.cwd or '',
    pid = positive(s.pid),
    requested_port = positive(s.requested_port),
    actual_port = positive(s.actual_port),
    log_path = log and runs .. log or '',
    status = STATUS[s.status] or 'unknown',
    synthetic = s.synthetic == true,
    started_at = type(s.started_at) == 'number' and s.started_at or nil,
    listener_pids = pids,
  }
end

-- Why the recorded pids of a service could be it although nothing proves it; nil when none of them could.
local function doubt(record)
  local pids = { record.pid, table.unpack(record.listener_pids) }
  for _, pid in ipairs(pids) do
    if record.cwd ~= '' and procfs.cwd(pid) == record.cwd then
      return ('pid %d is in its directory, but nothing proves that it is this service'):format(pid)
    end
  end
  for _, l in ipairs(procfs.listening(pids)) do
    if l.port == (record.actual_port or record.requested_port) then
      return ('pid %d listens on its port, but nothing proves that it is this service'):format(l.pid)
    end
  end
end

-- The engine keeps the logs of its services open while it runs: the parent of a service is none of its processes.
local function engine_of(record, writers)
  local stat = record.pid and procfs.stat(record.pid)
  for _, m in ipairs(writers) do
    if stat and m.pid == stat.ppid then
      return ('the Python engine that started it still runs as pid %d; end that first'):format(m.pid)
    end
  end
end

-- Gives each record the identity of a process that is proven to be of it, or the doubt.
local function identify(records)
  local queries = {}
  for i, record in ipairs(records) do
    queries[i] = { log = record.log_path }
  end
  for i, members in ipairs(procfs.members(queries)) do
    local record = records[i]
    local leader = members[1]
    for _, m in ipairs(members) do
      leader = m.pid == record.pid and m or leader
    end
    record.doubt = leader and engine_of(record, members) or not leader and doubt(record) or nil
    record.identity = leader and not record.doubt and procfs.identity(leader.pid) or nil
    record.pid = record.identity and leader.pid or record.pid
  end
end

--- A checked document of the engine as one of ours. Looks at the processes that it names.
---@param doc table without nulls
---@param path string the file it was read from
---@return table doc `imported` is that file; a service has an `identity`, or a `doubt` (why it cannot be known), or is gone
function M.import(doc, path)
  local services, records, requirements = {}, {}, {}
  local run_id = doc.run_id:gsub('[^%w_-]', '') -- it becomes a directory's name
  local runs = path:match '^(.*)/' .. '/runs/' .. run_id .. '/'
  for name, s in pairs(doc.services) do
    services[name] = import_service(name, s, doc, runs)
    records[#records + 1] = services[name]
  end
  identify(records)
  -- It records what it did not start as well.
  for project, requirement in pairs(doc.requirements) do
    local components = {}
    for id, c in pairs(type(requirement) == 'table' and requirement.components or {}) do
      if type(c) == 'table' and c.enabled then
        components[id] = {
          id = id, enabled = true, success = c.success == true, final = positive(c.final), status = 'unknown',
        }
      end
    end
    requirements[project] = next(components) and { components = components, failures = {} } or nil
  end
  return {
    imported = path,
    schema_version = doc.schema_version,
    run_id = run_id,
    mode = doc.mode,
    services = services,
    requirements = requirements,
    pointers = doc.pointers,
    metadata = doc.metadata,
  }
end

return M
