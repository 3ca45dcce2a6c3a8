--- Restart policies: what becomes of a service that ended by itself. `no` leaves it, `on-failure` brings it back unless it exited
--- with 0, `always` brings it back. Back-off 1, 2, 4 … 30 s, forgotten after 60 s of being ready; five ends within 60 s are a
--- crash loop, and then it stays down.
local sys = require 'envctl.host.sys'
local loop = require 'envctl.host.loop'
local log = require 'envctl.host.log'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local task = require 'envctl.task'

local M = {}

local LOOP_EXITS = 5
local LOOP_WINDOW_MS = 60000
local STEADY_MS = 60000
local FIRST_PAUSE_MS = 1000
local LONGEST_PAUSE_MS = 30000

--- What to do about an exit. Pure.
---@param policy string 'no' | 'on-failure' | 'always'
---@param exit {code: integer?, signal: string?}
---@param exits integer[] monotonic times of this and earlier ends, in ms
---@param ready_for_ms integer how long it had been ready
---@return 'stay'|'restart'|'crash_loop' decision
---@return integer? pause_ms
function M.decide(policy, exit, exits, ready_for_ms)
  if policy ~= 'on-failure' and policy ~= 'always' then
    return 'stay'
  end
  if policy == 'on-failure' and exit.code == 0 then
    return 'stay'
  end
  if ready_for_ms >= STEADY_MS then
    return 'restart', FIRST_PAUSE_MS
  end
  local now, recent = exits[#exits], 0
  for _, at in ipairs(exits) do
    recent = recent + (now - at <= LOOP_WINDOW_MS and 1 or 0)
  end
  if recent >= LOOP_EXITS then
    return 'crash_loop'
  end
  return 'restart', math.min(FIRST_PAUSE_MS << (recent - 1), LONGEST_PAUSE_MS)
end

-- Hidden values are only in the memory of the keeper that started a service; a later one cannot give them again.
local function lost_secrets(svc)
  if svc.secrets then
    return false
  end
  for _, value in pairs(svc.plan.env or {}) do
    if value == '***' then
      return true
    end
  end
  return false
end

--- The supervisor of a keeper.
---@param world table
function M.new(world)
  local waiting, count = {}, 0 -- display name -> timer

  local function forget(name)
    if waiting[name] then
      waiting[name] = nil
      count = count - 1
    end
  end

  local supervisor = {}

  local function give_up(svc, status, e)
    svc.record.status = status
    world:save(false)
    world:save_derived()
    world:emit('service.' .. status, svc.record, { message = e.message })
    world:write_errors { e }
    world:changed()
  end

  local function bring_back(svc)
    local name = svc.record.name
    local apply = require 'envctl.keeper.apply'
    local ok, e = task.try(apply.relaunch, world, svc)
    forget(name)
    if not ok then
      log.write('warn', 'restart failed', json.encode_line { service = name, message = e.message })
      local again = world.running[name]
      if again and again.exited then
        supervisor.exited(again)
      end
    end
    world:changed()
  end

  --- Told of every end that nobody asked for.
  function supervisor.exited(svc)
    local plan = svc.plan
    if not plan or not svc.was_ready and not svc.exits or waiting[svc.record.name] then
      return -- a start in progress has its own way to fail
    end
    local now = sys.mono_ms()
    svc.exits = svc.exits or {}
    svc.exits[#svc.exits + 1] = now
    local ready_for = svc.was_ready and now - svc.started_mono or 0
    -- One that was ended for its health has failed, whatever it made of the signal.
    local decision, pause = M.decide(plan.restart or 'no', svc.unhealthy and {} or svc.exited, svc.exits, ready_for)
    if decision == 'crash_loop' then
      give_up(svc, 'crash_loop', err.new('crash_loop', ('%s ended %d times within a minute; it stays down'):format(
        svc.record.name, LOOP_EXITS), { where = svc.record.project .. '/' .. svc.record.service }))
    elseif decision == 'restart' and lost_secrets(svc) then
      log.write('warn', 'not restarted: its secrets are gone with the keeper that started it',
        json.encode_line { service = svc.record.name })
    elseif decision == 'restart' then
      count = count + 1
      waiting[svc.record.name] = loop.timer(pause, function()
        -- Somebody may have started or stopped it meanwhile.
        if world.running[svc.record.name] == svc and not svc.ending and not world.mutating() then
          task.spawn(bring_back, svc)
        else
          forget(svc.record.name)
          world:changed()
        end
      end)
    end
  end

  --- Called before a service is ended on purpose.
  function supervisor.cancel(name)
    local timer = waiting[name]
    if timer then
      timer:close()
      forget(name)
    end
  end

  --- Whether a service could be started again by this keeper.
  function supervisor.can_restart(svc)
    return not lost_secrets(svc)
  end

  ---@return boolean a restart is due
  function supervisor.busy()
    return count > 0
  end

  return supervisor
end

return M
