--- errors: the services and dependencies that failed, and the last failures with the end of their logs.
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

local function relevant(failures, records, depends)
  local known, out = {}, {}
  for _, d in ipairs(depends) do
    known[d.project .. '/' .. d.id] = true
  end
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

local function print_json(ctx, doc, records, failed, issues, failures)
  local selected, names, recent, dependencies = json.array {}, json.array {}, json.array {}, json.array {}
  for i, d in ipairs(issues) do
    dependencies[i] = d.project .. '/' .. d.id
  end
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
    schema = 'envctl.errors.v1', ok = #failed + #issues + #failures == 0, run_id = doc.run_id, mode = doc.mode,
    selected_services = selected, failed_services = names, recent_failures = recent,
    requirement_issues = dependencies,
  }
end

local function print_failed(ctx, name, item, record)
  local how = require('envctl.state.exit').text(record.exit)
  ctx.out.text(name .. ': ' .. item.status .. (how and ' (' .. how .. ')' or '')
    .. (item.reason and (', ' .. item.reason) or ''))
  if record.log_path then
    ctx.out.text('  log: ' .. record.log_path)
  end
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local doc = select.require_state(ctx)
  local records = select.services(ctx.route, doc)
  local failed = failed_of(health.check(records))
  local depends = require('envctl.deps.truth').beside(ctx.route, doc, records)
  local issues = failed_of(depends)
  local failures = relevant(health.failures(ctx.paths), records, depends)
  local code = #failed + #issues + #failures == 0 and 0 or 1
  if ctx.out.is_json then
    print_json(ctx, doc, records, failed, issues, failures)
    return code
  end
  if code == 0 then
    ctx.out.text 'No known service errors.'
    return 0
  end
  for _, item in ipairs(failed) do
    print_failed(ctx, item.record.name, item, item.record)
  end
  for _, d in ipairs(issues) do
    print_failed(ctx, d.project .. '/' .. d.id, d, d)
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
