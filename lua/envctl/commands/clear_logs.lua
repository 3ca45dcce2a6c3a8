--- clear-logs: empties the logs of services. Services append, so a running one simply goes on at the start.
local fs = require 'envctl.host.fs'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local log_times = require 'envctl.state.log_times'
local select = require 'envctl.cli.select'

local M = {}

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local doc = select.require_state(ctx)
  local cleared = json.array {}
  for _, r in ipairs((select.services(ctx.route, doc))) do
    local stat = fs.stat(r.log_path)
    if stat then
      if not ctx.route.flags.dry_run then
        err.check(fs.truncate(r.log_path, 0))
        fs.unlink(log_times.path(r.log_path))
      end
      cleared[#cleared + 1] = { name = r.name, log_path = r.log_path, bytes = stat.size }
    end
  end
  if ctx.out.is_json then
    local dry = ctx.route.flags.dry_run == true
    ctx.out.json { schema = 'envctl.clear_logs.v1', ok = true, cleared = cleared, dry_run = dry }
    return 0
  end
  for _, c in ipairs(cleared) do
    ctx.out.text(('%s: %s %d bytes'):format(c.name, ctx.route.flags.dry_run and 'would clear' or 'cleared', c.bytes))
  end
  return 0
end

return M
