--- What the keeper knows: the run state document in memory, and the processes it watches. Every change of the document goes
--- through here, so that there is one writer and one order: record first, act after.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local proc = require 'envctl.host.proc'
local procfs = require 'envctl.host.procfs'
local log = require 'envctl.host.log'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local store = require 'envctl.state.store'
local paths_of = require 'envctl.state.paths'
local observe = require 'envctl.resume.observe'
local logs = require 'envctl.keeper.logs'

local M = {}
local World = {}
World.__index = World

local function log_line(level, message, fields)
  log.write(level, message, fields and json.encode_line(fields) or nil)
end

--- Says in the keeper's log what went wrong.
---@param what string
---@param e envctl.Err
function World:log_failure(what, e) -- luacheck: ignore 212
  log_line('error', what, { code = e.code, message = e.message, traceback = e.traceback or json.null })
end

--- Reads the state and watches what lives of it.
---@param paths table
---@return table world
function M.open(paths)
  local self = setmetatable({
    paths = paths,
    running = {}, -- display name -> {record, process|watch, plan?, exited?}
    doc = nil,
    unreadable = nil,
    saves = 0,
  }, World)
  self.supervisor = require('envctl.keeper.supervise').new(self)
  self.events = require('envctl.state.events').open(paths, function(message)
    log_line('warn', 'events are not recorded: ' .. message)
  end)
  store.sweep(paths)
  local ok, result = xpcall(store.read, function(e)
    return e
  end, paths)
  if ok then
    self.doc = result
  elseif err.is(result) then
    self.unreadable = result
  else
    error(result, 0)
  end
  if self.doc then
    self:adopt()
  end
  return self
end

--- Writes the document. A failure is raised for what would start something (strict), else logged.
function World:save(strict)
  if not self.doc then
    return true
  end
  self.doc.generation = (self.doc.generation or 0) + 1
  self.doc.keeper = self.keeper_record
  local ok, message, code = paths_of.intact(self.paths)
  if ok then
    ok, message, code = store.write(self.paths, self.doc)
  end
  self.saves = self.saves + 1
  if not ok then
    log_line('error', 'state not saved', { reason = message })
    if strict then
      err.raise('state_not_saved', message, {
        hint = 'nothing was started; free some space or set RUN_SH_RUNTIME_DIR to a writable directory',
        data = { errno = code },
      })
    end
    return false, message
  end
  return true
end

function World:save_derived()
  if self.doc and paths_of.intact(self.paths) then
    local failure = store.write_derived(self.paths, self.doc)
    if failure then
      log_line('warn', 'derived file not written', { reason = failure })
    end
  end
end

--- error_report.json of what the keeper did last.
---@param errors envctl.Err[]
function World:write_errors(errors)
  if paths_of.intact(self.paths) then
    store.write_errors(self.paths, self.doc.run_id, errors, sys.iso_time(sys.wall_ms()))
  end
end

function World:emit(event, record, data)
  self.events.emit(event, {
    run_id = self.doc and self.doc.run_id or nil,
    command_id = self.command_id,
    project = record and record.project or nil,
    service = record and record.service or nil,
  }, data)
end

--- Called when the leader of a service ended.
function World:on_leader_exit(svc, code, signal)
  if svc.exited then
    return
  end
  local record = svc.record
  svc.exited = { code = code, signal = signal, oom = observe.oom(record) or nil, at = sys.iso_time(sys.wall_ms()) }
  record.unhealthy = nil
  if svc.stop_health then
    svc.stop_health()
  end
  if self.running[record.name] == svc then
    record.exit = svc.exited
    if not svc.ending or svc.overdue then
      record.status = 'exited'
      if svc.dependency then
        record.success = false
      end
      local event = svc.dependency and 'requirements.exit' or 'service.exit'
      self:emit(event, record, {
        code = code or json.null, signal = signal or json.null, oom = svc.exited.oom, pid = record.pid,
      })
      self:save(false)
      self:save_derived()
      if not svc.ending then
        if svc.was_ready then
          self:write_errors { self:exit_error(svc) }
        end
        self.supervisor.exited(svc)
      end
    end
  end
  if svc.on_exit then
    svc.on_exit()
  end
  self:changed()
end

--- The last lines of a service's log, cleaned for messages.
function M.log_tail(path, from, lines)
  local stat = fs.stat(path)
  if not stat then
    return {}
  end
  local start = math.max(from or 0, stat.size - 16384)
  local text = fs.read_at(path, start, 16384) or ''
  local clean = require('envctl.ui.clean').text
  local out = {}
  for line in text:gmatch('[^\r\n]+') do
    line = clean(line)
    if line:find('%S') then
      out[#out + 1] = #line > 400 and (line:sub(1, 400) .. ' …') or line
    end
  end
  return table.move(out, math.max(1, #out - lines + 1), #out, 1, {})
end

--- The hint of a failed service: what it printed last, and where the rest is.
---@param tail string[]
---@param path string
---@return string
function M.log_hint(tail, path)
  if #tail == 0 then
    return 'it printed nothing; whole log: ' .. path
  end
  return 'last lines of its log:\n    ' .. table.concat(tail, '\n    ') .. '\n  whole log: ' .. path
end

--- "exited with code 3", as an error that carries the end of the log.
function World:exit_error(svc)
  local r, e = svc.record, svc.exited
  local how = require('envctl.state.exit').text(e) or 'ended'
  local after = (sys.mono_ms() - svc.started_mono) / 1000
  local tail = M.log_tail(r.log_path, svc.log_start, 8)
  return err.new('service_exited', string.format('%s %s after %.1f s', r.name, how, after), {
    where = r.project .. '/' .. r.service,
    hint = M.log_hint(tail, r.log_path),
    data = {
      log_path = r.log_path,
      log_tail = json.array(tail),
      exit = { code = e.code or json.null, signal = e.signal or json.null, oom = e.oom },
    },
  })
end

--- Takes over what a former keeper left running. Exit codes of these are unknown: we are not their parent.
function World:adopt()
  local adopted = 0
  for name, record in pairs(self.doc.services) do
    record.name = name
    if observe.UP[record.status] then
      local live, reason = observe.service(record)
      if live then
        local svc = {
          record = record,
          adopted = true,
          started_mono = sys.mono_ms(),
          was_ready = true,
          unproven = record.status == 'starting', -- nobody saw it ready: the next operation that keeps it waits for that
          plan = record.plan,
          project = { name = record.project, mode = record.mode },
        }
        svc.watch = proc.watch(record.identity, function()
          self:on_leader_exit(svc, nil, nil)
        end)
        if svc.watch then
          self:keep(svc)
          adopted = adopted + 1
          if record.status == 'starting' or record.status == 'stopping' then
            record.status = 'running'
          end
          self:emit('service.adopt', record, { pid = record.pid })
          require('envctl.keeper.health').watch(self, svc)
        end
      elseif live == false then
        record.status = 'exited'
        record.exit = record.exit or { at = nil }
        self:emit('service.gone', record, { reason = reason })
      else
        record.status = 'unknown'
      end
    end
  end
  require('envctl.deps.apply').adopt(self)
  if adopted > 0 then
    log_line('info', 'adopted services', { count = adopted })
  end
end

--- The record of a service, made for a plan entry.
function M.new_record(project, service, run)
  local names = require 'envctl.state.names'
  local name = names.display(project.name, service.name)
  return {
    name = name,
    type = service.type,
    service = service.name,
    project = project.name,
    mode = project.mode,
    cwd = service.cwd,
    requested_port = service.port,
    actual_port = nil,
    log_path = run.dir .. '/' .. names.service_file(project.name, service.name) .. '.txt',
    marker = 'ENVCTL_SERVICE=' .. run.id .. '/' .. project.name .. '/' .. service.name,
    status = 'starting',
    synthetic = false,
    listener_pids = {},
    restarts = 0,
    url = service.url,
    run_id = run.id,
    critical = service.critical ~= false,
    plan_digest = service.plan_digest,
    plan = service, -- secrets are masked in it; a later plan is compared with this one, field by field
    stop_timeout_ms = service.stop and service.stop.timeout_ms or nil,
  }
end

--- Watches a service or dependency that was launched or adopted, until release().
function World:keep(svc)
  local record = svc.record
  self.running[record.name] = svc
  if not record.container_id then -- logs of containers are the daemon's
    svc.log = self:watch_log(record.log_path)
  end
end

--- Keeps a log within the cap of the run until the result is closed.
---@param path string
---@return envctl.LogWatch
function World:watch_log(path)
  return logs.watch(path, function()
    return self.doc and self.doc.metadata.log_max_bytes
  end, function()
    return paths_of.intact(self.paths)
  end)
end

--- Lets go of one that has ended.
function World:release(svc)
  if svc.stop_health then
    svc.stop_health()
  end
  for _, handle in ipairs { 'watch', 'process', 'log' } do
    if svc[handle] then
      svc[handle]:close()
    end
  end
  self.running[svc.record.name] = nil
end

--- Puts a launched (still gated) service into the document.
function World:add(svc)
  local r = svc.record
  self:keep(svc)
  self.doc.services[r.name] = r
  -- The service leaves the document when it is stopped; its log stays with the run.
  local metadata = self.doc.metadata
  metadata.logs = metadata.logs or {}
  metadata.logs[r.name] = {
    project = r.project, service = r.service, type = r.type, mode = r.mode, log_path = r.log_path,
  }
end

--- One that was to end and did not: when it does so later, that is recorded, and no policy brings it back.
function World:goes_on(name)
  if self.running[name] then
    self.running[name].overdue = true
  end
end

--- Forgets a service that is confirmed gone.
function World:remove(name)
  local svc = self.running[name]
  self.supervisor.cancel(name)
  if svc then
    self:release(svc)
  end
  if self.doc then
    self.doc.services[name] = nil
  end
end

--- Drops what no longer lives from memory (records stay). True when nothing is kept any more.
function World:idle()
  if self.supervisor.busy() then
    return false
  end
  for _, svc in pairs(self.running) do
    if svc.exited then
      -- A leader can end before its children: they are still this keeper's to end.
      if #procfs.members({ observe.query(svc.record) })[1] == 0 then
        self:release(svc)
      end
    end
  end
  return next(self.running) == nil
end

function World:changed()
  if self.on_change then
    self.on_change()
  end
end

return M
