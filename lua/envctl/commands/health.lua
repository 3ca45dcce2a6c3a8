--- health: what runs, checked now. Exit 1 when something is wrong.
local json = require 'envctl.util.json'
local select = require 'envctl.cli.select'
local health = require 'envctl.resume.health'

local M = {}

local MARK = { ok = '✓', warn = '!', bad = '✗' }

local function counts_of(items)
  local counts = { ok = 0, warn = 0, bad = 0 }
  for _, item in ipairs(items) do
    counts[item.class] = counts[item.class] + 1
  end
  return counts
end

local function port_of(record)
  return record.actual_port or record.requested_port
end

local function print_json(ctx, doc, items, counts, projects, failures, depends)
  local services, failing, recent = json.array {}, json.array {}, json.array {}
  for i, item in ipairs(items) do
    local r = item.record
    services[i] = {
      name = r.name, project = r.project, status = item.status, port = port_of(r) or json.null,
      live = item.live == nil and json.null or item.live, reason = item.reason or json.null,
    }
    if item.class == 'bad' then
      failing[#failing + 1] = r.name
    end
  end
  for i, f in ipairs(failures) do
    recent[i] = f.message
  end
  local dependencies, requirement_issues = json.array {}, json.array {}
  for i, d in ipairs(depends) do
    dependencies[i] = {
      project = d.project, id = d.id, status = d.status, port = d.port or json.null, provider = d.provider or json.null,
      live = d.live == nil and json.null or d.live, reason = d.reason or json.null,
    }
    if d.class == 'bad' then
      requirement_issues[#requirement_issues + 1] = d.project .. '/' .. d.id
    end
  end
  ctx.out.json {
    schema = 'envctl.health.v1', ok = counts.bad == 0, healthy = counts.bad == 0 and counts.warn == 0,
    run_id = doc.run_id, mode = doc.mode, projects = projects, services = services, dependencies = dependencies,
    status_counts = counts,
    issues = { failing_services = failing, recent_failures = recent, requirement_issues = requirement_issues },
  }
end

local function print_text(ctx, doc, items, counts, projects, depends)
  local out = ctx.out
  out.text 'Health Check'
  local head = 'run_id: %s mode: %s | projects=%d services=%d dependencies=%d'
  out.text(head:format(doc.run_id, doc.mode, projects, #items, #depends))
  out.text(('status: healthy/running=%d starting/simulated=%d issues=%d'):format(counts.ok, counts.warn, counts.bad))
  local last
  for _, item in ipairs(items) do
    local r = item.record
    if r.project ~= last then
      last = r.project
      out.text ''
      out.text(last)
    end
    local port = port_of(r)
    out.text(('    %s %-12s status=%-12s%s%s'):format(MARK[item.class], r.service, item.status,
      port and (' port=' .. port) or '', item.reason and ('  ' .. item.reason) or ''))
  end
  if #depends > 0 then
    out.text ''
    out.text 'Dependencies'
  end
  for _, d in ipairs(depends) do
    out.text(('    %s %-12s status=%-12s%s%s'):format(MARK[d.class], d.project .. '/' .. d.id, d.status,
      d.port and (' port=' .. d.port) or '', d.reason and ('  ' .. d.reason) or ''))
  end
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local doc = select.require_state(ctx)
  local records = select.services(ctx.route, doc)
  local items = health.check(records)
  local counts, seen, projects = counts_of(items), {}, 0
  for _, r in ipairs(records) do
    projects = projects + (seen[r.project] and 0 or 1)
    seen[r.project] = true
  end
  local depends = require('envctl.deps.truth').beside(ctx.route, doc, records)
  for _, d in ipairs(depends) do
    counts[d.class] = counts[d.class] + 1
  end
  if ctx.out.is_json then
    print_json(ctx, doc, items, counts, projects, counts.bad > 0 and health.failures(ctx.paths) or {}, depends)
  else
    print_text(ctx, doc, items, counts, projects, depends)
  end
  return counts.bad == 0 and 0 or 1
end

return M
