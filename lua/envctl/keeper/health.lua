--- Checks of services while they run (`health` of scripts). So many failures in a row and a service is unhealthy: that is recorded
--- and said, and with a restart policy it is ended, so that the policy brings it back. What a stranger answers on the port never
--- counts.
local loop = require 'envctl.host.loop'
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local task = require 'envctl.task'
local readiness = require 'envctl.keeper.readiness'

local M = {}

local EVERY_MS, TIMEOUT_MS, FAILURES = 10000, 5000, 3

-- Whether the service is still the one that is watched.
local function watched(world, svc)
  return world.running[svc.record.name] == svc and not svc.exited and not svc.ending
end

local function restarts(world, svc)
  local policy = svc.plan.restart or 'no'
  return policy ~= 'no' and world.supervisor.can_restart(svc)
end

-- Awaits: a service that is to come back is ended here.
local function found_unhealthy(world, svc, detail)
  local record = svc.record
  record.status, record.unhealthy = 'unhealthy', detail
  local e = err.new('service_unhealthy', ('%s is unhealthy: %s'):format(record.name, detail), {
    where = record.project .. '/' .. record.service, hint = 'whole log: ' .. record.log_path,
  })
  world:emit('service.unhealthy', record, { message = detail })
  world:save(false)
  world:save_derived()
  world:write_errors { e }
  if restarts(world, svc) and not world.mutating() then
    svc.unhealthy = true -- however it ends now, it counts as a failure
    require('envctl.keeper.ending').stop { record }
  end
end

local function found_healthy(world, svc)
  svc.record.status, svc.record.unhealthy = 'ready', nil
  world:emit('service.healthy', svc.record, { pid = svc.record.pid or json.null })
  world:save(false)
  world:save_derived()
end

-- One check. Awaits.
local function look(world, svc, plan)
  local finished, ok, detail = false, false, nil
  local _, why = task.timeout(plan.timeout_ms or TIMEOUT_MS, function()
    ok, detail = readiness.probe(svc, plan)
    finished = true
  end)
  if why == 'timeout' or not finished then
    ok, detail = false, ('no answer within %g s'):format((plan.timeout_ms or TIMEOUT_MS) / 1000)
  end
  if not watched(world, svc) then
    return
  end
  svc.failures = ok and 0 or (svc.failures or 0) + 1
  if ok and svc.record.unhealthy then
    found_healthy(world, svc)
  elseif not ok and svc.failures >= (plan.failures or FAILURES) and
    (svc.failures == (plan.failures or FAILURES) or restarts(world, svc)) then
    found_unhealthy(world, svc, tostring(detail or 'the check failed'))
  end
end

--- Begins to check a service that is ready, when its plan says how. It ends with the service.
---@param world table
---@param svc table
function M.watch(world, svc)
  local plan = svc.plan and svc.plan.health
  if not plan then
    return
  end
  local timer
  local function again()
    timer = watched(world, svc) and loop.timer(plan.every_ms or EVERY_MS, function()
      timer = nil
      task.spawn(function()
        task.try(look, world, svc, plan)
        if watched(world, svc) then
          again()
        end
      end)
    end) or nil
  end
  function svc.stop_health()
    if timer then
      timer:close()
      timer = nil
    end
  end
  again()
end

return M
