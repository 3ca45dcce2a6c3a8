--- errors: the services and dependencies that failed, the last failures with the end of their logs, and what looks like an error
--- in the logs of services that run.
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

-- The failures that a selection is about. What did not start at all is in no record: it counts by its project.
local function relevant(route, failures, records)
  local services, narrowed = #route.services > 0, #route.projects > 0 or #route.args > 0
  if not services and not narrowed then
    return failures
  end
  local known, out = {}, {}
  for _, r in ipairs(records) do
    known[services and r.project .. '/' .. r.service or r.project .. '/'] = true
  end
  for _, f in ipairs(failures) do
    if type(f.where) ~= 'string' or known[services and f.where or f.where:match '^[^/]*/'] then
      out[#out + 1] = f
    end
  end
  return out
end

local LOOK_BACK, SHOWN, SHOWN_BYTES = 200, 5, 400 -- lines, lines, bytes of a line

-- What servers write when something went wrong, whatever they are written in. Upper case words, because "0 errors" is good news.
local ALARMS = {
  '%f[%w_]ERROR%f[^%w_]', '%f[%w_]FATAL%f[^%w_]', '%f[%w_]CRITICAL%f[^%w_]', '^Traceback %(most recent call last%)',
  '^panic: ', '^[%w_.]*Error: ', '^[%w_.]*Exception: ',
}

--- Whether a line of a log tells of an error.
---@param line string without control characters
---@return boolean
function M.alarming(line)
  for _, pattern in ipairs(ALARMS) do
    if line:find(pattern) then
      return true
    end
  end
  return false
end

-- Lines that tell of errors among the last ones of each service that runs. Those of one that has ended stand in its failure.
local function log_issues_of(items)
  local issues, clean = json.array {}, require('envctl.ui.clean').text
  for _, item in ipairs(items) do
    local r, lines = item.record, json.array {}
    local query = { tail = LOOK_BACK, since = r.started_at and math.floor(r.started_at * 1000) }
    if item.live then
      require('envctl.commands.logs').read(r.log_path, query, function(line)
        line = clean(line:sub(1, SHOWN_BYTES))
        lines[#lines + 1] = M.alarming(line) and line or nil
      end)
    end
    if #lines > 0 then
      local shown = table.move(lines, math.max(1, #lines - SHOWN + 1), #lines, 1, json.array {})
      issues[#issues + 1] = { name = r.name, count = #lines, lines = shown, log_path = r.log_path }
    end
  end
  return issues
end

local function print_json(ctx, doc, records, failed, issues, failures, log_issues)
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
    schema = 'envctl.errors.v1', ok = #failed + #issues + #failures + #log_issues == 0, run_id = doc.run_id,
    mode = doc.mode, selected_services = selected, failed_services = names, recent_failures = recent,
    requirement_issues = dependencies, log_issues = log_issues,
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
  local items = health.check(records)
  local failed, log_issues = failed_of(items), log_issues_of(items)
  local depends = require('envctl.deps.truth').beside(ctx.route, doc, records)
  local issues = failed_of(depends)
  local failures = relevant(ctx.route, health.failures(ctx.paths), records)
  local code = #failed + #issues + #failures + #log_issues == 0 and 0 or 1
  if ctx.out.is_json then
    print_json(ctx, doc, records, failed, issues, failures, log_issues)
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
  for _, issue in ipairs(log_issues) do
    ctx.out.text(issue.name .. ': errors in its log (' .. issue.count .. ')')
    ctx.out.text('  log: ' .. issue.log_path)
    for _, line in ipairs(issue.lines) do
      ctx.out.text('    ' .. line)
    end
  end
  return code
end

return M
