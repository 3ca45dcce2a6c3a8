--- show-state: the saved state, checked against what is true now. Reads only.
local procfs = require 'envctl.host.procfs'
local json = require 'envctl.util.json'
local store = require 'envctl.state.store'
local observe = require 'envctl.resume.observe'
local health = require 'envctl.resume.health'

local M = {}

--- Adds to each dependency whether it lives. What we do not run has no answer.
---@param doc table run state
---@param shown table the document that is shown
function M.dependencies_truth(doc, shown)
  local truth = require 'envctl.deps.truth'
  local live, reasons = truth.live(doc)
  truth.each(shown, function(project, id, component)
    local key = project .. '/' .. id
    component.live = live[key]
    if component.identity and live[key] == nil then
      component.live, component.live_reason, component.status = json.null, reasons[key] or 'unknown', 'unknown'
    elseif live[key] == false then
      component.live_reason = reasons[key]
      if observe.UP[component.status] then
        component.status, component.success = 'exited', false
      end
    end
  end)
end

--- The saved document with live truth added; nothing is written back.
---@param doc table run state
---@return table presented, integer live count
function M.with_truth(doc)
  local keeper = doc.keeper and procfs.identity(doc.keeper.pid)
  if not keeper or keeper.start_time_ticks ~= doc.keeper.start_time_ticks then
    doc.keeper = nil
  end
  local count = 0
  local shown = store.present(doc)
  for name, item in pairs(health.by_name(doc)) do
    local s = shown.services[name]
    s.status, s.live, s.live_reason = item.status, item.live, item.reason
    if s.live == nil then
      s.live, s.live_reason = json.null, item.reason or 'unknown'
    elseif s.live then
      count = count + 1
    end
  end
  M.dependencies_truth(doc, shown)
  return shown, count
end

local function text(ctx, doc, shown)
  local out = ctx.out
  local names, requirements = {}, 0
  for name in pairs(shown.services) do
    names[#names + 1] = name
  end
  for _ in pairs(doc.requirements) do
    requirements = requirements + 1
  end
  table.sort(names)
  out.text('run_id: ' .. doc.run_id)
  out.text('mode: ' .. doc.mode)
  if doc.imported then
    out.text 'written by: the Python engine'
  end
  out.text('services: ' .. #names)
  out.text('requirements: ' .. requirements)
  for _, name in ipairs(names) do
    local s = shown.services[name]
    local port = s.actual_port ~= json.null and s.actual_port or s.requested_port
    local line = '  ' .. name .. ': ' .. s.status
    if s.live == true then
      line = line .. ' (pid ' .. s.pid .. (s.live_reason and ': ' .. s.live_reason or '') .. ')'
    elseif s.live_reason then
      line = line .. ' (' .. s.live_reason .. ')'
    end
    if port ~= json.null and s.live == true then
      line = line .. ' ' .. (s.url ~= json.null and s.url or ('port ' .. port))
    end
    out.text(line)
  end
  require('envctl.deps.truth').each(shown, function(project, id, c)
    local port = c.final and (' port ' .. c.final) or ''
    local pid = c.live == true and (' (pid ' .. c.pid .. ')') or c.live_reason and (' (' .. c.live_reason .. ')') or ''
    out.text(('  %s/%s: %s%s%s, %s'):format(project, id, c.status or 'unknown', pid, port, c.provider or '?'))
  end)
  out.text('run_state_path:')
  out.text(doc.imported or ctx.paths.state_file)
end

---@param ctx table
---@return integer exit code
function M.run(ctx)
  require('envctl.state.paths').check(ctx.paths)
  local doc = store.read_any(ctx.paths)
  local explicit = ctx.route.mode
  if not doc or (explicit and not require('envctl.cli.select').has_mode(doc, explicit)) then
    if ctx.out.is_json then
      ctx.out.json { schema = 'envctl.show_state.v1', ok = false, found = false, mode = explicit or ctx.mode or 'main' }
    else
      ctx.out.text 'No previous state found.'
      local moved = require('envctl.resume.moved').notice(ctx)
      if moved then
        ctx.out.note('envctl: ' .. moved)
      end
    end
    return 1
  end
  local shown = M.with_truth(doc)
  if ctx.out.is_json then
    ctx.out.json {
      schema = 'envctl.show_state.v1',
      ok = true,
      found = true,
      runtime_root = ctx.paths.scope_dir,
      run_state_path = doc.imported or ctx.paths.state_file,
      state = shown,
    }
  else
    text(ctx, doc, shown)
  end
  return 0
end

return M
