--- wait --ready: returns when every selected service is ready, or says which is not.
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local task = require 'envctl.task'
local select = require 'envctl.cli.select'
local health = require 'envctl.resume.health'

local M = {}

local DEFAULT_S = 30
local PAUSE_MS = 50

-- The first that is not ready, and all that are meant. Raises for what is not there.
local function look(ctx)
  local records = select.services(ctx.route, (select.require_state(ctx)))
  for _, item in ipairs(health.check(records)) do
    if item.class ~= 'ok' then
      return records, item
    end
  end
  return records
end

-- What has ended by itself, and is not started again, does not get ready by waiting.
local function give_up_on(item)
  err.raise('service_not_ready', item.record.name .. ' has ended, and nothing starts it again', {
    where = item.record.project .. '/' .. item.record.service, hint = 'see `envctl errors` and `envctl logs`',
  })
end

local function give_up(budget_s, busy, item)
  local message, where, hint = nil, nil, 'see `envctl errors` and `envctl logs`'
  if item then
    local why = item.reason ~= 'gone' and item.reason
    message = item.record.name .. ': ' .. item.status .. (why and ', ' .. why or '')
    where = item.record.project .. '/' .. item.record.service
  end
  if busy then
    local work = ('%s by pid %d is still at work'):format(busy.name, busy.pid)
    message, hint = message and message .. '; ' .. work or work, 'give it more time: --timeout SECONDS'
  end
  err.raise('service_not_ready', ('not ready after %g s: %s'):format(budget_s, message), { where = where, hint = hint })
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local budget_s = ctx.route.flags.timeout or DEFAULT_S
  local deadline = sys.mono_ms() + math.floor(budget_s * 1000)
  local operation, over = require('envctl.keeper.client').operation, 0
  while true do
    -- In this order: an operation that ends in between has saved all that it started. While there is one, what is not
    -- there yet may still come.
    local busy, restart_due = operation(ctx.paths)
    local ok, records, item = task.try(look, ctx)
    if not ok and not busy then
      error(records, 0)
    elseif ok and not item and not busy then
      if ctx.out.is_json then
        local names = json.array {}
        for i, r in ipairs(records) do
          names[i] = r.name
        end
        ctx.out.json { schema = 'envctl.wait.v1', ok = true, ready = names }
      else
        ctx.out.text(('%d %s ready.'):format(#records, #records == 1 and 'service is' or 'services are'))
      end
      return 0
    end
    -- Seen twice: it can end after the keeper was asked.
    over = item and item.status == 'exited' and not busy and not restart_due and over + 1 or 0
    if over > 1 then
      give_up_on(item)
    elseif sys.mono_ms() >= deadline then
      give_up(budget_s, busy, item)
    end
    task.sleep(PAUSE_MS)
  end
end

return M
