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

local function pending(ctx)
  local doc = select.require_state(ctx)
  local waiting = {}
  local records = select.services(ctx.route, doc)
  for _, item in ipairs(health.check(records)) do
    if item.class ~= 'ok' then
      waiting[#waiting + 1] = item
    end
  end
  return waiting, records
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local deadline = sys.mono_ms() + math.floor((ctx.route.flags.timeout or DEFAULT_S) * 1000)
  while true do
    local waiting, records = pending(ctx)
    if #waiting == 0 then
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
    if sys.mono_ms() >= deadline then
      local first = waiting[1]
      err.raise('service_not_ready', ('%s is %s'):format(first.record.name, first.status), {
        where = first.record.project .. '/' .. first.record.service,
        hint = 'see `envctl errors` and `envctl logs`',
      })
    end
    task.sleep(PAUSE_MS)
  end
end

return M
