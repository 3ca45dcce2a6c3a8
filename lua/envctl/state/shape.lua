--- What the fields of a saved state have to be. The file is read by processes that signal others by it: a value of another type,
--- or a pid that cannot be one, makes the whole document unreadable. Fields that are not named here are nobody's business. Pure.
local M = {}

local function integer(low, high)
  return function(value)
    return math.type(value) == 'integer' and value >= low and value <= high
  end
end

-- A check is the name of a type, or a function of the value.
local text, flag, number, object = 'string', 'boolean', 'number', 'table'
local count, pid, port = integer(0, math.maxinteger), integer(1, 0x7FFFFFFF), integer(1, 65535)

local function list_of(check)
  return function(value)
    if type(value) ~= 'table' then
      return false
    end
    for i, item in pairs(value) do
      if math.type(i) ~= 'integer' or not check(item) then
        return false
      end
    end
    return true
  end
end

local function record(fields)
  return function(value)
    if type(value) ~= 'table' then
      return false
    end
    for name, field in pairs(value) do
      local check = fields[name]
      if check and type(field) ~= check and (type(check) == 'string' or not check(field)) then
        return false, name
      end
    end
    return true
  end
end

-- A service, or a dependency.
local PROCESS = {
  pid = pid,
  identity = record {
    pid = pid, start_time_ticks = count, boot_id = text, pid_ns = count, session_id = integer(0, 0x7FFFFFFF),
  },
  exit = record { code = integer(0, 255), signal = text, at = text },
  requested_port = port, actual_port = port, final = port,
  listener_pids = list_of(pid), listener_inodes = list_of(count),
  restarts = count, ready_ms = count, stop_timeout_ms = count, started_at = number, log_since = count,
  critical = flag, success = flag, enabled = flag,
  plan = object, stop = object, access = object, ports = object,
}
for _, name in ipairs {
  'name', 'project', 'service', 'type', 'mode', 'cwd', 'log_path', 'marker', 'cgroup', 'url', 'run_id', 'plan_digest',
  'unhealthy', 'id', 'provider', 'scope', 'data_dir', 'container_id', 'container_name', 'docker_host', 'engine',
  'image', 'password_file', 'status',
} do
  PROCESS[name] = text
end

local process = record(PROCESS)

local function logs(value)
  for _, log in pairs(type(value) == 'table' and value or { false }) do
    if not process(log) or not log.log_path then
      return false
    end
  end
  return true
end

local metadata = record { log_max_bytes = count, logs = logs, project_roots = object }

--- What is wrong with the services and dependencies of a document.
---@param doc table
---@return string? message such as: service "Main Backend": "pid" is not what it should be
function M.problem(doc)
  local fine, wrong = metadata(doc.metadata)
  if not fine then
    return ('"metadata.%s" is not what it should be'):format(wrong)
  end
  for name, value in pairs(doc.services) do
    local ok, field = process(value)
    if not ok then
      return ('service "%s": "%s" is not what it should be'):format(name, field or 'record')
    end
    for _, needed in ipairs { 'type', 'project', 'service', 'status', 'log_path' } do
      if not value[needed] then
        return ('service "%s": "%s" is missing'):format(name, needed)
      end
    end
  end
  for project, requirement in pairs(doc.requirements) do
    local components = type(requirement) == 'table' and (requirement.components or {})
    if type(components) ~= 'table' then
      return ('dependencies of "%s" are not an object'):format(project)
    end
    for id, value in pairs(components) do
      local ok, field = process(value)
      if not ok then
        return ('dependency "%s/%s": "%s" is not what it should be'):format(project, id, field or 'record')
      end
    end
  end
end

return M
