--- start: plan, then let the keeper apply exactly that plan.
local err = require 'envctl.err'

local M = {}

-- Each of them means that somebody else took a port meanwhile.
local MAX_REPLANS = 20

local function raise_blockers(document)
  local blockers = document.blockers or {}
  if #blockers > 0 then
    local first = err.from_table(blockers[1])
    if #blockers > 1 then
      first.data = first.data or {}
      first.data.blockers = blockers
    end
    error(first, 0)
  end
end

local function base_env(ctx)
  local _ = ctx
  return require('envctl.host.sys').environ()
end

-- What of the plan could not be started while the rest was, as one error.
local function failure_of(result)
  local failures = {}
  for i, e in ipairs(result.failures) do
    failures[i] = err.from_table(e)
  end
  result.failures = nil
  if #failures == 0 then
    return nil
  end
  local failure = err.join(failures, require('envctl.util.json').null)
  failure.data = failure.data or {}
  failure.data.services = result.services
  return failure
end

-- Asks which worktrees, and takes the answer for what the command line says.
local function choose(ctx, facts)
  local selection, marked = require 'envctl.plan.selection', {}
  for _, name in ipairs(facts.selection.preselected) do
    marked[name] = true
  end
  local choices, known = {}, {}
  for i, p in ipairs(facts.discovered) do
    known[i] = p.name
    choices[i] = { name = p.name, note = p.branch ~= p.name and p.branch or nil, marked = marked[p.name] }
  end
  local question = 'Start which? Numbers or names, `all`'
  local chosen = #choices > 0 and require('envctl.ui.choose').from('Worktrees:', choices, question, function(text)
    return selection.answer(text, known, facts.selection.preselected)
  end)
  if not chosen then
    err.raise('target_required', 'no worktree is selected', {
      hint = 'name one: envctl start --trees --project NAME, or make one: envctl --plan',
    })
  end
  ctx.route.projects = chosen
  return chosen
end

-- A port that every new plan chose again, and that was taken every time: how ports are looked at hides it.
local function unseen_port(ctx, plan, failure)
  local number = failure.code == 'plan_stale' and failure.data and failure.data.port
  if not number then
    return failure
  end
  local holder = require('envctl.host.procfs').holders({ number })[number] or {}
  holder.kind = 'busy'
  local where
  for _, project in ipairs(plan.projects) do
    for service, port in pairs(project.ports or {}) do
      where = port == number and project.name .. '/' .. service or where
    end
  end
  local mode = ctx.settings:get 'ENVCTL_PORT_AVAILABILITY_MODE'
  return err.new('port_taken', ('port %d%s is %s'):format(number, where and ' of ' .. where or '',
    require('envctl.plan.ports').describe(holder)), {
    where = where,
    hint = 'stop what holds it'
      .. (mode == 'auto' and '' or ', or let the plan see it: ENVCTL_PORT_AVAILABILITY_MODE=auto, not ' .. mode),
    data = failure.data,
  })
end

--- Plans and applies; a plan that the world overtook meanwhile (a port was taken) is made again.
---@return table? result nil when there was nothing to start
---@return table document
---@return envctl.Err? failure of some projects; raised when it is everything
local function apply(ctx, view)
  local facts = require 'envctl.facts'
  local client = require 'envctl.keeper.client'
  local task = require 'envctl.task'
  local chosen
  for attempt = 1, MAX_REPLANS do
    local turn <close> = attempt > 1 and require('envctl.state.ports_table').turn(ctx.paths) or nil
    local found, document, secrets = facts.plan(ctx, { command = ctx.route.command })
    if found.selection.required and not found.headless then
      chosen = choose(ctx, found)
      document, secrets = select(2, facts.plan(ctx, { command = ctx.route.command }))
    end
    raise_blockers(document)
    if type(document.plan) ~= 'table' then -- null: there is nothing to run
      return nil, document
    end
    local ready, told = {}, { document.notices or {}, document.warnings or {} }
    -- With the first word of the keeper the ports are reserved, and the plan stands.
    local function stands()
      if turn then
        turn:close()
      end
      for _, list in ipairs(told) do
        for _, item in ipairs(list) do
          ctx.out.note('envctl: ' .. item.message)
        end
      end
      told = {}
    end
    if ctx.route.flags.clear_port_state and attempt == 1 then
      require('envctl.state.ports_table').update(ctx.paths, function(entries)
        return (facts.without_own(found, entries))
      end)
    end
    require('envctl.script.hooks').before_start(ctx, document.plan)
    local ok, result = task.try(client.request, ctx, {
      op = 'apply',
      command = ctx.route.command,
      mode = document.mode,
      plan = document.plan,
      secrets = secrets,
      env = base_env(ctx),
      projects_at_once = document.parallel_trees.workers,
      log_max_bytes = ctx.settings:get 'ENVCTL_LOG_MAX_MB' * 1024 * 1024,
      runs_keep = ctx.settings:get 'ENVCTL_RUNS_KEEP',
      one_by_one = ctx.settings:get 'ENVCTL_SERVICE_PREP_PARALLEL' == false or nil,
      dependencies_at_once = ctx.settings:get 'ENVCTL_REQUIREMENTS_PARALLEL' == false and 1
        or ctx.settings:get 'ENVCTL_REQUIREMENTS_PARALLEL_MAX',
    }, function(event)
      stands()
      if event.phase == 'ready' then
        ready[#ready + 1] = event
      end
      view.event(event)
    end)
    local stale = not ok and result.code == 'plan_stale' and attempt < MAX_REPLANS
    if not stale then
      stands()
    end
    if ok then
      if chosen then
        require('envctl.state.selection').remember(ctx.paths, { projects = chosen })
      end
      view.close() -- hooks print
      require('envctl.script.hooks').after_start(ctx, document.plan, ready, result.failures)
      return result, document, failure_of(result)
    end
    if not stale then
      error(unseen_port(ctx, document.plan, result), 0)
    end
  end
end

-- Why a plan is empty: what was found, and why it is left alone.
local function nothing_reason(document)
  local reasons = {}
  for i, s in ipairs(document.skipped or {}) do
    reasons[i] = s.project .. '/' .. s.service .. ': ' .. s.reason
  end
  return document.reason or (#reasons > 0 and table.concat(reasons, '; '))
    or (document.mode == 'trees' and 'there is no worktree; `envctl --plan` and `--setup-worktree` make some')
    or 'no app configured'
end

local function schema_of(ctx)
  return 'envctl.' .. ctx.route.command:gsub('-', '_') .. '.v1'
end

-- What was decided about what a state already knew, and why: resume says all of it, other commands what they did not keep for
-- what differs.
local function tell_actions(ctx, document)
  local explain, clean = require 'envctl.plan.explain', require('envctl.ui.clean').text
  for _, action in ipairs(ctx.route.command == 'resume' and document.plan.actions or {}) do
    ctx.out.note(clean(explain.action(action)))
  end
  for _, change in ipairs(document.changes or {}) do
    ctx.out.note(clean(explain.change(change)))
  end
end

local function summary(ctx, result, plan_document)
  local json = require 'envctl.util.json'
  local UP = require('envctl.resume.observe').UP
  local out = ctx.out
  if out.is_json then
    local document = {
      schema = schema_of(ctx), ok = true, command = ctx.route.command, changes = plan_document.changes or json.array {},
      actions = plan_document.plan.actions or json.array {},
    }
    for k, v in pairs(result) do
      document[k] = v
    end
    for k, v in pairs(ctx.report or {}) do
      document[k] = v
    end
    document.warnings = table.move(result.warnings, 1, #result.warnings, #plan_document.warnings + 1,
      table.move(plan_document.warnings, 1, #plan_document.warnings, 1, json.array {}))
    out.json(document)
    return
  end
  out.text('run_id: ' .. result.run_id)
  local order, projects = {}, {}
  for _, s in ipairs(result.services) do
    local up = UP[s.status]
    if up and not projects[s.project] then
      projects[s.project] = {}
      order[#order + 1] = s.project
    end
    if up and s.port ~= json.null then
      table.insert(projects[s.project], s.service .. '=' .. s.port)
    end
  end
  for _, project in ipairs(order) do
    out.text('Services ready for ' .. project .. ': ' .. table.concat(projects[project], ' '))
  end
  for _, s in ipairs(result.services) do
    if UP[s.status] and s.url ~= json.null then
      out.text('- ' .. s.name .. ': ' .. s.url)
    end
  end
end

---@param ctx table
---@return integer exit code
function M.run(ctx)
  local session = ctx:scripts()
  if session then
    session:require_trust()
  end
  if ctx.route.flags.setup_worktree or ctx.route.flags.setup_worktrees then
    return require('envctl.commands.plan').run(ctx)
  end
  if ctx.mode == 'trees' then
    require('envctl.repo.worktrees').settle_pending(ctx) -- a half-made worktree is none
  end
  local view = require('envctl.ui.progress').new(ctx)
  local result, document, failure
  do
    local closing <close> = setmetatable({}, { __close = view.close }) -- luacheck: ignore 211
    result, document, failure = apply(ctx, view)
  end
  if failure and ctx.out.is_json then
    error(failure, 0)
  elseif not result then
    local reason = nothing_reason(document)
    if ctx.out.is_json then
      ctx.out.json {
        schema = schema_of(ctx),
        ok = true,
        command = ctx.route.command,
        services = require('envctl.util.json').array {},
        reason = reason,
      }
    else
      ctx.out.text('Nothing to start: ' .. reason .. '.')
    end
    return 0
  end
  if not ctx.out.is_json then
    tell_actions(ctx, document)
  end
  summary(ctx, result, document)
  if failure then
    error(failure, 0)
  end
  return 0
end

return M
