--- errors: the services that failed, and the last failures with the end of their logs.
local json = require 'envctl.util.json'
local select = require 'envctl.cli.select'
local health = require 'envctl.resume.health'

local M = {}

local function failed_of(items)
  local failed = {}
  for _, item in ipairs(items) do
    if item.class == 'bad' and item.status ~= 'stopped' then
      failed[#failed + 1] = item
    end
  end
  return failed
end

local function relevant(failures, records)
  local known, out = {}, {}
  for _, r in ipairs(records) do
    known[r.project .. '/' .. r.service] = true
  end
  for _, f in ipairs(failures) do
    if type(f.where) ~= 'string' or known[f.where] then
      out[#out + 1] = f
    end
  end
  return out
end

local function print_json(ctx, doc, records, failed, failures)
  local selected, names, recent = json.array {}, json.array {}, json.array {}
  for i, r in ipairs(records) do
    selected[i] = r.name
  end
  for i, item in ipairs(failed) do
    names[i] = item.record.name
  end
  for i, f in ipairs(failures) do
    recent[i] = f
  end
  ctx.out.json {
    schema = 'envctl.errors.v1', ok = #failed == 0 and #failures == 0, run_id = doc.run_id, mode = doc.mode,
    selected_services = selected, failed_services = names, recent_failures = recent,
    requirement_issues = json.array {},
  }
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local doc = select.require_state(ctx)
  local records = select.services(ctx.route, doc)
  local failed = failed_of(health.check(records))
  local failures = relevant(health.failures(ctx.paths), records)
  local code = (#failed == 0 and #failures == 0) and 0 or 1
  if ctx.out.is_json then
    print_json(ctx, doc, records, failed, failures)
    return code
  end
  if code == 0 then
    ctx.out.text 'No known service errors.'
    return 0
  end
  for _, item in ipairs(failed) do
    local how = require('envctl.state.exit').text(item.record.exit)
    ctx.out.text(item.record.name .. ': ' .. item.status .. (how and ' (' .. how .. ')' or '')
      .. (item.reason and (', ' .. item.reason) or ''))
    ctx.out.text('  log: ' .. item.record.log_path)
  end
  for _, f in ipairs(failures) do
    ctx.out.text(f.message)
    for _, line in ipairs(type(f.log_tail) == 'table' and f.log_tail or {}) do
      ctx.out.text('    ' .. line)
    end
  end
  return code
end

return M
