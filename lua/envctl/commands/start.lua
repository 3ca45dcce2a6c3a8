--- start: plan, then let the keeper apply exactly that plan.
local err = require 'envctl.err'

local M = {}

local MAX_REPLANS = 5

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

--- Plans and applies; a plan that the world overtook meanwhile (a port was taken) is made again.
local function apply(ctx, view)
  local facts = require 'envctl.facts'
  local client = require 'envctl.keeper.client'
  local task = require 'envctl.task'
  for attempt = 1, MAX_REPLANS do
    local _, document, secrets = facts.plan(ctx, { command = ctx.route.command })
    raise_blockers(document)
    if type(document.plan) ~= 'table' then -- null: there is nothing to run
      return nil, document
    end
    for _, warning in ipairs(document.warnings or {}) do
      ctx.out.note('envctl: ' .. warning.message)
    end
    local ready = {}
    require('envctl.script.hooks').before_start(ctx, document.plan)
    local ok, result = task.try(client.request, ctx, {
      op = 'apply',
      command = ctx.route.command,
      mode = document.mode,
      plan = document.plan,
      secrets = secrets,
      env = base_env(ctx),
      log_max_bytes = ctx.settings:get 'ENVCTL_LOG_MAX_MB' * 1024 * 1024,
      runs_keep = ctx.settings:get 'ENVCTL_RUNS_KEEP',
      one_by_one = ctx.settings:get 'ENVCTL_SERVICE_PREP_PARALLEL' == false or nil,
    }, function(event)
      if event.phase == 'ready' then
        ready[#ready + 1] = event
      end
      view.event(event)
    end)
    if ok then
      require('envctl.script.hooks').after_start(ctx, document.plan, ready)
      return result, document
    end
    if result.code ~= 'plan_stale' or attempt == MAX_REPLANS then
      return nil, document, result
    end
  end
end

-- Names of the other projects, when a failure is that of one project among several worktrees.
local function without_failed(document, failure)
  local failed = failure.where and failure.where:match '^(.+)/[^/]*$'
  local others, found = {}, false
  for _, project in ipairs(document.mode == 'trees' and document.plan.projects or {}) do
    if project.name == failed then
      found = true
    else
      others[#others + 1] = project.name
    end
  end
  return found and #others > 0 and others or nil
end

--- One worktree that fails does not take the others down: they are started without it, and its failure is raised afterwards.
local function apply_all(ctx, view)
  local failures = {}
  while true do
    local result, document, failure = apply(ctx, view)
    if not failure then
      return result, document, failures
    end
    failures[#failures + 1] = failure
    local others = without_failed(document, failure)
    if not others then
      return nil, document, failures
    end
    ctx.route.projects, ctx.route.args, ctx.route.flags.all = others, {}, nil
    ctx.out.note('envctl: ' .. failure.message .. '; going on with ' .. table.concat(others, ', '))
  end
end

-- All that failed, as one error.
local function raise_failures(failures, result)
  local first = failures[1]
  first.data = first.data or {}
  if result then
    first.data.services = result.services
  end
  if #failures > 1 then
    local json = require 'envctl.util.json'
    local list = json.array {}
    for i, e in ipairs(failures) do
      list[i] = err.to_table(e, json.null)
    end
    first.data.failures = list
    first.message = first.message .. string.format(' (and %d more)', #failures - 1)
  end
  error(first, 0)
end

-- Why a plan is empty: what was found, and why it is left alone.
local function nothing_reason(document)
  local reasons = {}
  for i, s in ipairs(document.skipped or {}) do
    reasons[i] = s.project .. '/' .. s.service .. ': ' .. s.reason
  end
  return document.reason or (#reasons > 0 and table.concat(reasons, '; ')) or 'no app configured'
end

local function schema_of(ctx)
  return 'envctl.' .. ctx.route.command:gsub('-', '_') .. '.v1'
end

-- What was decided about services that a state already knew, and why.
local function tell_actions(ctx, document)
  local names = require 'envctl.state.names'
  for _, action in ipairs(document.plan.actions or {}) do
    ctx.out.note(('%s: %s (%s)'):format(names.display(action.project, action.service), action.action, action.reason))
  end
end

local function summary(ctx, result)
  local json = require 'envctl.util.json'
  local out = ctx.out
  if out.is_json then
    local document = { schema = schema_of(ctx), ok = true, command = ctx.route.command }
    for k, v in pairs(result) do
      document[k] = v
    end
    for k, v in pairs(ctx.report or {}) do
      document[k] = v
    end
    out.json(document)
    return
  end
  out.text('run_id: ' .. result.run_id)
  local order, projects = {}, {}
  for _, s in ipairs(result.services) do
    if not projects[s.project] then
      projects[s.project] = {}
      order[#order + 1] = s.project
    end
    if s.port ~= json.null then
      table.insert(projects[s.project], s.service .. '=' .. s.port)
    end
  end
  for _, project in ipairs(order) do
    out.text('Services ready for ' .. project .. ': ' .. table.concat(projects[project], ' '))
  end
  for _, s in ipairs(result.services) do
    if s.url ~= json.null then
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
  local result, document, failures
  do
    local closing <close> = setmetatable({}, { __close = view.close }) -- luacheck: ignore 211
    result, document, failures = apply_all(ctx, view)
  end
  if #failures > 0 and (not result or ctx.out.is_json) then
    raise_failures(failures, result)
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
  if ctx.route.command == 'resume' and not ctx.out.is_json then
    tell_actions(ctx, document)
  end
  summary(ctx, result)
  if #failures > 0 then
    raise_failures(failures, result)
  end
  return 0
end

return M
