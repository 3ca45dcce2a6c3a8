--- Runs the steps that a plan wants before its services start. Services are prepared side by side, the steps of one service or one
--- directory one after the other, and what several services of a directory share once. A step is recorded as running before it
--- runs and as done after it succeeded, so that one that was interrupted in between is not taken for done.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local loop = require 'envctl.host.loop'
local proc = require 'envctl.host.proc'
local err = require 'envctl.err'
local task = require 'envctl.task'
local json = require 'envctl.util.json'
local tool = require 'envctl.deps.tool'
local names = require 'envctl.state.names'
local steps = require 'envctl.prepare.steps'
local slots = require 'envctl.state.slots'
local ending = require 'envctl.keeper.ending'
local world_mod = require 'envctl.keeper.world'

local M = {}

local TIMEOUT_MS = 30 * 60000
-- Installing is heavy on disk and processor: more than two at once on a machine take longer.
M.AT_ONCE = 2
local STOP_MS = 2000

local function argv_of(item, step, env, dir)
  if step.shell then
    return { '/bin/sh', '-c', table.concat(step.command, ' ') }
  end
  local argv = table.move(step.command, 1, #step.command, 1, {})
  local program = argv[1]
  if program:find('/', 1, true) and program:sub(1, 1) ~= '/' then
    program = dir .. '/' .. program
  end
  local path, message, code = sys.which(program, { path = env.PATH })
  if not path then
    err.raise('command_not_found', ('%s: %s: cannot run "%s": %s'):format(item.name, step.name, argv[1], message), {
      where = names.short(item.project.name, item.service.name), data = { errno = code },
      hint = 'install it, or start without this step: --no-prepare',
    })
  end
  argv[1] = path
  return argv
end

-- What stands for the processes of a step; ended like a service.
local function record_of(op, item, step)
  local project, service = item.project.name, item.service.name
  return {
    name = item.name .. ' (' .. step.name .. ')', project = project, service = service, stop_timeout_ms = STOP_MS,
    marker = ('ENVCTL_SERVICE=%s/%s/%s@%s'):format(op.run.id, project, service, step.name),
    log_path = op.run.dir .. '/' .. names.service_file(project, service) .. '_prepare.txt',
  }
end

-- Runs a step to its end. Awaits. How it ended: exit code, signal, and whether its time was over.
local function execute(op, item, step, record, dir, file)
  local env = op.env_of(op, item.project, item.service, record)
  local argv = argv_of(item, step, env, dir)
  local timer, process, log
  local closing <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      if timer then
        timer:close()
      end
      if process then
        process:close()
        log:close()
      end
    end,
  })
  -- Only what a record names may run: whoever comes after a killed keeper finds it there.
  err.check(steps.write(file, {
    state = 'running', command = '', inputs = {}, marker = record.marker,
  }))
  local timed_out = false
  local code, signal = task.await(function(resume)
    local message
    process, message = proc.spawn {
      argv = argv, env = env, cwd = dir, stdin = 'null', stdout = { log = record.log_path }, stderr = 'stdout',
      on_exec = function(ok, why)
        if not ok then
          fs.append(record.log_path, why .. '\n')
        end
      end,
      on_exit = resume,
    }
    if not process then
      fs.append(record.log_path, message .. '\n')
      resume(127)
      return
    end
    log = op.world:watch_log(record.log_path)
    record.identity = process:identity()
    op.preparing[record] = true
    timer = loop.timer(step.timeout_ms or TIMEOUT_MS, function()
      timed_out = true
      process:signal 'KILL'
    end)
  end)
  if timed_out then
    ending.stop { record }
  end
  op.preparing[record] = nil
  return code, signal, timed_out
end

local function failure(item, step, record, from, how)
  local tail = world_mod.log_tail(record.log_path, from, 12)
  local command = table.concat(step.command, ' ')
  return err.new('prepare_failed', ('%s: %s failed: `%s` %s'):format(item.name, step.name, command, how), {
    where = names.short(item.project.name, item.service.name),
    hint = world_mod.log_hint(tail, record.log_path) .. '\n  --no-prepare starts without it',
    data = { log_path = record.log_path, log_tail = json.array(tail), step = step.name },
  })
end

-- Where a tool made what it made; nil when it does not say.
local function locate(step, env, dir)
  local program = step.locate and sys.which(step.locate[1], { path = env.PATH })
  if program then
    local argv = { program, table.unpack(step.locate, 2) }
    local said = tool.run { argv = argv, env = env, cwd = dir }
    return said.code == 0 and tool.last_line(said.out):match '^/.+' or nil
  end
end

local function write_done(op, step, dir, file, located)
  err.check(steps.write(file, {
    state = 'done', command = steps.command_mark(step, op.base_env.PATH), inputs = steps.inputs(dir, step),
    located = located, at = sys.iso_time(sys.wall_ms()),
  }))
end

-- Notes for the result what became of a step.
local function note(op, item, step, status, duration_ms, log_path)
  op.prepared[#op.prepared + 1] = {
    project = item.project.name, service = item.service.name, step = step.name, command = json.array(step.command),
    status = status, reason = step.skip_reason or step.reason, duration_ms = duration_ms or json.null,
    log_path = log_path or json.null,
  }
end

local function run_step(op, item, step)
  local dir = steps.dir(item.project.root, item.service, step)
  local file = steps.record_file(op.paths, item.project.name, dir, step)
  local before = steps.read(file)
  if before and before.state == 'running' and before.marker then
    -- Left by a keeper that was killed: two at once in one directory would spoil each other's work.
    ending.stop { { name = item.name, marker = before.marker, stop_timeout_ms = STOP_MS } }
  end
  local record, ref = record_of(op, item, step), { project = item.project.name, service = item.service.name }
  local stat = fs.stat(record.log_path)
  local from, began = stat and stat.size or 0, sys.mono_ms()
  op.progress {
    project = item.project.name, service = item.service.name, phase = 'preparing',
    message = step.name .. ': ' .. table.concat(step.command, ' '),
  }
  op.world:emit('service.bootstrap', ref, { step = step.name, reason = step.reason })
  local code, signal, timed_out = execute(op, item, step, record, dir, file)
  local took = (sys.mono_ms() - began) / 1000
  note(op, item, step, code == 0 and 'done' or 'failed', math.floor(took * 1000), record.log_path)
  if code ~= 0 then
    local how = timed_out and ('did not end within %g s'):format((step.timeout_ms or TIMEOUT_MS) / 1000)
      or signal and 'was ended by SIG' .. signal or ('exited with code %s'):format(code)
    error(failure(item, step, record, from, how .. (timed_out and '' or (' after %.1f s'):format(took))), 0)
  end
  if step.always then
    fs.unlink(file)
  else
    write_done(op, step, dir, file, locate(step, op.env_of(op, item.project, item.service, record), dir))
  end
  op.world:emit('service.bootstrap.phase', ref, {
    step = step.name, status = 'ok', duration_ms = took * 1000,
  })
end

-- What is there already and was not recorded: from now on a change of its inputs is noticed.
local function adopt(op, item, step)
  local dir = steps.dir(item.project.root, item.service, step)
  local file = steps.record_file(op.paths, item.project.name, dir, step)
  if step.inputs and not step.always and not fs.lstat(file) and not steps.missing(dir, step) then
    write_done(op, step, dir, file)
  end
end

local function leave_out(op, item, step)
  if step.outputs then
    adopt(op, item, step)
  end
  note(op, item, step, 'skipped')
  op.world:emit('service.bootstrap.skip', { project = item.project.name, service = item.service.name }, {
    step = step.name, reason = step.skip_reason,
  })
end

-- What is due is not done, also when what comes before it fails or is killed.
local function mark_due(op, item, step)
  local file = steps.record_file(op.paths, item.project.name, steps.dir(item.project.root, item.service, step), step)
  local record = steps.read(file)
  if not step.always and not (record and record.state == 'running') then
    err.check(steps.write(file, { state = 'running', command = '', inputs = {} }))
  end
end

-- A slot of the machine's budget. What a step starts by another envctl is a part of that step, which has one already: waiting for a
-- second one, such steps could wait for each other.
local function machine_slot(op, item)
  local caller = op.base_env.ENVCTL_SERVICE
  if caller and caller:find '@[^/]*$' then
    return nil
  end
  local project, service = item.project.name, item.service.name
  local holder = { repository = op.root, what = names.short(project, service) }
  return slots.take(op.paths, 'preparation', M.AT_ONCE, holder, function(message)
    op.progress { project = project, service = service, phase = 'preparing', message = message }
  end)
end

-- Runs a step, unless it is optional and fails: that is a warning.
local function attempt(op, item, step)
  local ok, e = task.try(run_step, op, item, step)
  if not ok and not (step.optional and e.code == 'prepare_failed') then
    error(e, 0)
  elseif not ok then
    op.progress {
      project = item.project.name, service = item.service.name, phase = 'warning', message = e.message,
    }
    op.errors[#op.errors + 1] = e
  end
end

--- Runs what the services to start need before. Awaits. Raises prepare_failed with the first failure in the order of the services,
--- after the others were heard; a step that is optional only warns.
---@param op table of keeper.apply
---@param todo table[] services to start
function M.run(op, todo)
  local seen, failures = {}, {}
  local function service(i)
    local item = todo[i]
    for _, step in ipairs(item.service.prepare or {}) do
      if not step.skip_reason then
        local dir = steps.dir(item.project.root, item.service, step)
        local key = dir .. '\0' .. step.name .. '\0' .. table.concat(step.command, '\0')
        local turn <close> = tool.lock(dir) -- luacheck: ignore 211
        if not seen[key] then
          seen[key] = true
          local place <close> = op.preparation() -- luacheck: ignore 211
          local slot <close> = machine_slot(op, item) -- luacheck: ignore 211
          if next(failures) then
            return
          end
          local ok, e = task.try(attempt, op, item, step)
          failures[i] = not ok and e or nil
        end
      end
    end
  end
  for _, item in ipairs(todo) do
    for _, step in ipairs(item.service.prepare or {}) do
      (step.skip_reason and leave_out or mark_due)(op, item, step)
    end
  end
  task.scope(function(scope)
    for i = 1, #todo do
      scope:spawn(service, i)
    end
  end)
  for i = 1, #todo do
    if failures[i] then
      error(failures[i], 0)
    end
  end
end

--- Ends what still runs of it, when a start is given up. Awaits.
---@param op table
---@param project string? of this project only
function M.rollback(op, project)
  local records = {}
  for record in pairs(op.preparing) do
    if not project or record.project == project then
      records[#records + 1] = record
    end
  end
  if #records > 0 then
    ending.stop(records)
  end
end

return M
