--- Whether recorded services are as they should be, from live truth: the process by identity, its listener by ownership. Reads
--- only.
local procfs = require 'envctl.host.procfs'
local observe = require 'envctl.resume.observe'

local M = {}

-- How the statuses count.
M.CLASS = {
  ready = 'ok', running = 'ok', healthy = 'ok',
  starting = 'warn', stopping = 'warn', unknown = 'warn',
}

-- Which of the asked records nobody listens for. A leader that listens itself spares the walk over all processes.
local function not_listening(records)
  local leaders, queries, rest, out = {}, {}, {}, {}
  for i, ask in ipairs(records) do
    leaders[i] = ask.record.identity.pid
  end
  local own = {}
  for _, l in ipairs(#leaders > 0 and procfs.listening(leaders) or {}) do
    own[l.pid .. ':' .. l.port] = true
  end
  for i, ask in ipairs(records) do
    if not own[leaders[i] .. ':' .. ask.port] then
      queries[#queries + 1], rest[#rest + 1] = observe.query(ask.record), ask
    end
  end
  local members = #queries > 0 and procfs.members(queries) or {}
  for k, ask in ipairs(rest) do
    local pids, found = {}, false
    for n, m in ipairs(members[k]) do
      pids[n] = m.pid
    end
    for _, l in ipairs(procfs.listening(pids)) do
      found = found or l.port == ask.port
    end
    out[#out + 1] = not found and ask or nil
  end
  return out
end

--- Every record's status now.
---@param records table[] service records
---@return {record: table, status: string, class: 'ok'|'warn'|'bad', reason: string?, live: boolean?}[]
function M.check(records)
  local asked, out = {}, {}
  for i, record in ipairs(records) do
    local live, reason = observe.service(record)
    local item = { record = record, live = live, reason = reason, status = record.status }
    out[i] = item
    local port = record.actual_port or record.requested_port
    if live == nil then
      item.status = 'unknown'
    elseif not live then
      item.status = observe.UP[record.status] and 'exited' or record.status
    elseif record.status == 'unhealthy' then
      item.reason = record.unhealthy
    elseif port and M.CLASS[record.status] == 'ok' then
      asked[#asked + 1] = { record = record, port = port, item = item }
    end
  end
  for _, ask in ipairs(not_listening(asked)) do
    ask.item.status, ask.item.reason = 'unreachable', 'no process of it listens on port ' .. ask.port
  end
  for _, item in ipairs(out) do
    item.class = M.CLASS[item.status] or 'bad'
  end
  return out
end

--- The status of every service of a saved state now: the one word for it, wherever it is shown.
---@param state table? run state
---@return table<string, table> by display name, as check() has them
function M.by_name(state)
  local out, names, records = {}, {}, {}
  for name, record in pairs(state and state.services or {}) do
    names[#names + 1], records[#records + 1] = name, record
  end
  for i, item in ipairs(M.check(records)) do
    out[names[i]] = item
  end
  return out
end

--- What is true of a saved state, as the reconciler takes it.
---@param state table? run state
---@return envctl.resume.Truth
function M.truth(state)
  local out = { services = {}, dependencies = {} }
  for name, item in pairs(M.by_name(state)) do
    out.services[name] = {
      alive = item.live, status = item.status, why = item.reason,
      keeps_port = item.live == false and observe.socket_is_held(item.record) or nil,
    }
  end
  local truth = require 'envctl.deps.truth'
  local live, reasons = truth.live(state)
  truth.each(state, function(project, id, component)
    local key = project .. '/' .. id
    local why = live[key] and truth.unreachable(component)
    out.dependencies[key] = {
      alive = live[key], status = why and 'unreachable' or component.status, why = why or reasons[key],
    }
  end)
  return out
end

--- Failures that error_report.json keeps.
---@param paths table
---@return table[] error objects {code, message, hint, where}
function M.failures(paths)
  local text = require('envctl.host.fs').read(paths.scope_dir .. '/error_report.json')
  local json = require 'envctl.util.json'
  local report = text and json.decode(text)
  if type(report) ~= 'table' or type(report.failures) ~= 'table' then
    return {}
  end
  return report.failures
end

return M
