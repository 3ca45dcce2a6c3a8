--- Waiting for a service to be usable. The wait ends at the first of: ready, the process ended, the budget is over. Evidence
--- comes from the service's own processes: what a stranger answers on the port never counts.
local port = require 'envctl.host.port'
local procfs = require 'envctl.host.procfs'
local net = require 'envctl.host.net'
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local task = require 'envctl.task'
local observe = require 'envctl.resume.observe'

local M = {}

local DEFAULT_BUDGET_MS = 30000
-- A service that listens elsewhere gets this long to open the port it was given as well (dev servers open helper ports first).
local REBOUND_GRACE_MS = 1500
local REBOUND_LOOK_MS = 100

local function member_pids(record)
  local pids = {}
  for i, m in ipairs(procfs.members({ observe.query(record) })[1]) do
    pids[i] = m.pid
  end
  return pids
end

--- The service's own listeners on a port.
local function own_listeners(record, wanted)
  local own = {}
  for _, l in ipairs(procfs.listening(member_pids(record))) do
    if l.port == wanted then
      own[#own + 1] = l
    end
  end
  return own
end

local function evidence(record, wanted, own)
  local pids, inodes, seen = {}, {}, {}
  local all = port.listeners()[wanted] or {}
  for _, l in ipairs(own) do
    if not seen[l.pid] then
      seen[l.pid] = true
      pids[#pids + 1] = l.pid
    end
  end
  for _, l in ipairs(all) do
    inodes[#inodes + 1] = l.inode
  end
  table.sort(pids)
  local addr = own[1].addr
  local host = (addr == '::1') and '[::1]' or (addr == '0.0.0.0' or addr == '::') and '127.0.0.1' or addr
  record.listener_pids, record.listener_inodes = pids, inodes
  return { port = wanted, host = host, addr = addr }
end

-- The nearest port above the wanted one, else the nearest at all: dev servers count upwards.
local function nearest(own, wanted)
  local best
  for _, l in ipairs(own) do
    local d = l.port >= wanted and l.port - wanted or 100000 + wanted - l.port
    if not best or d < best.d then
      best = { d = d, port = l.port }
    end
  end
  return best and best.port
end

--- One look at the ports. Returns evidence, or nil and who else is there.
local function look(svc, state)
  local record = svc.record
  local wanted = record.requested_port
  local listeners = port.listeners()
  if listeners[wanted] then
    local own = own_listeners(record, wanted)
    if #own > 0 then
      return evidence(record, wanted, own)
    end
    state.stranger = true
  end
  local now = sys.mono_ms()
  if now >= state.next_look then
    state.next_look = now + REBOUND_LOOK_MS
    local fresh = false
    for p in pairs(listeners) do
      fresh = fresh or not state.baseline[p]
    end
    local own = fresh and procfs.listening(member_pids(record)) or {}
    if #own == 0 then
      state.elsewhere_since = nil
    else
      state.elsewhere_since = state.elsewhere_since or now
      if now - state.elsewhere_since >= REBOUND_GRACE_MS then
        local actual = nearest(own, wanted)
        return evidence(record, actual, own_listeners(record, actual))
      end
    end
  end
  return nil
end

--- Parks until the service's process changed or ms went by. Awaits.
---@param svc table
---@param ms integer
function M.pause(svc, ms)
  if svc.exited then
    return
  end
  task.await(function(resume)
    local timer = require('envctl.host.loop').timer(ms, resume)
    svc.on_exit = function()
      timer:close()
      resume()
    end
    return timer
  end)
  svc.on_exit = nil
end

local function http_ok(ready, where, timeout_ms)
  local host = where.addr == '::1' and '::1' or '127.0.0.1'
  local status, body = task.await(function(resume)
    local path = ready.path or ready.http or '/'
    return net.http_get({ host = host, port = where.port, path = path, timeout_ms = timeout_ms or 2000 }, resume)
  end)
  return status and status >= 200 and status < 400, status and ('HTTP ' .. status) or body
end

local function log_matches(svc, ready, state)
  local data, size = fs.read_at(svc.record.log_path, state.log_offset or svc.log_start or 0, 262144)
  if not data then
    return false
  end
  local text = (state.log_tail or '') .. data
  state.log_offset = math.min(size, (state.log_offset or svc.log_start or 0) + #data)
  state.log_tail = text:sub(-4096)
  local found = text:find(ready.pattern or ready.log) ~= nil
  return found, not found and 'its log does not say so' or nil
end

local function command_ok(svc, ready)
  local env = svc.env or sys.environ() -- of an adopted service nobody knows it any more
  local said = '`' .. table.concat(ready.command, ' ') .. '` '
  local word = ready.command[1]
  local program, why = sys.which(word:find '^[^/]+/' and svc.record.cwd .. '/' .. word or word, { path = env.PATH })
  if not program then
    return false, said .. 'cannot be run: ' .. why
  end
  local argv = table.move(ready.command, 2, #ready.command, 2, { program })
  local process
  local code, signal = task.await(function(resume)
    local message
    process, message = require('envctl.host.proc').spawn {
      argv = argv,
      env = env,
      cwd = svc.record.cwd,
      stdin = 'null',
      stdout = 'null',
      stderr = 'null',
      on_exit = resume,
    }
    if not process then
      resume(message)
    end
    return process
  end)
  if process then
    process:close()
  end
  if code == 0 then
    return true
  end
  local ended = require('envctl.state.exit').text { code = code, signal = signal }
  return false, said .. (type(code) == 'string' and 'cannot be run: ' .. code or ended or 'failed')
end

local CHECKS = {
  tcp = function()
    return true
  end,
  http = function(_, ready, where)
    return http_ok(ready, where)
  end,
  log = function(svc, ready, _, state)
    return log_matches(svc, ready, state)
  end,
  command = function(svc, ready)
    return command_ok(svc, ready)
  end,
  none = function(svc, ready)
    return sys.mono_ms() - svc.started_mono >= (ready.start_ms or 300)
  end,
}

--- One look at what readiness asks for, once it listens. Awaits.
---@param svc table
---@param ready {kind: 'tcp'|'http'|'log'|'command'|'none'}
---@param where {port: integer?, addr: string?}
---@param state table of this wait
---@return boolean ok, string? detail
function M.check(svc, ready, where, state)
  return CHECKS[ready.kind](svc, ready, where, state)
end

--- Whether a service that was ready still is as its `health` says. Awaits.
---@param svc table
---@param plan {http: string?, tcp: boolean?, command: string[]?, timeout_ms: integer?}
---@return boolean ok, string? detail
function M.probe(svc, plan)
  if plan.command then
    return command_ok(svc, plan)
  end
  local wanted = svc.record.actual_port or svc.record.requested_port
  local own = wanted and own_listeners(svc.record, wanted) or {}
  if #own == 0 then
    return false, wanted and ('it does not listen on port %d'):format(wanted) or 'it has no port to look at'
  elseif not plan.http then
    return true
  end
  local ok, detail = http_ok({ path = plan.http }, { port = wanted, addr = own[1].addr }, plan.timeout_ms)
  return ok, not ok and ('%s on %s'):format(detail or 'no answer', plan.http) or nil
end

--- Waits. svc: the keeper's running service ({record, plan, exited?, started_mono, baseline}).
---@return table? where {port, host, addr} (empty table for a service that does not listen)
---@return string? why 'exited' | 'not_ready'
---@return string? detail
function M.wait(svc)
  local ready = svc.plan.ready or { kind = svc.plan.listens and 'tcp' or 'none' }
  local budget = ready.timeout_ms or DEFAULT_BUDGET_MS
  local deadline = svc.started_mono + budget
  local state = { next_look = 0, baseline = svc.baseline or {} }
  local interval, last = 1, nil
  while true do
    local where = {}
    if svc.plan.listens then
      where = look(svc, state)
    end
    if where then
      local ok, detail = M.check(svc, ready, where, state)
      last = detail or last
      if ok and not svc.exited then
        return where
      end
    end
    if svc.exited then
      return nil, 'exited', state.stranger and 'stranger' or nil
    end
    local now = sys.mono_ms()
    if now >= deadline then
      return nil, 'not_ready', state.stranger and 'stranger' or last
    end
    M.pause(svc, math.min(interval, deadline - now))
    interval = math.min(interval * 2, 20)
  end
end

return M
