--- plan, and start with --setup-worktree(s): the same decisions as explain-startup, then worktrees are made and removed, then all
--- that was selected is started in one go.
local err = require 'envctl.err'
local json = require 'envctl.util.json'

local M = {}

local function raise_blockers(document)
  local first = document.blockers[1]
  if first then
    local e = err.from_table(first)
    if #document.blockers > 1 then
      e.data = e.data or {}
      e.data.blockers = document.blockers
    end
    error(e, 0)
  end
end

local function fields(done)
  return {
    created = json.array(done.created), removed = json.array(done.removed), archived = json.array(done.archived),
  }
end

local function finish(ctx, done, reason, text)
  if ctx.out.is_json then
    local document = fields(done)
    document.schema, document.ok, document.command = 'envctl.plan.v1', true, ctx.route.command
    document.services, document.reason = json.array {}, reason
    ctx.out.json(document)
  else
    ctx.out.text(text)
  end
  return 0
end

-- The pull requests of what was selected, instead of starting it.
local function pull_requests(ctx, run)
  local found, pr = pcall(require, 'envctl.commands.pr')
  if not found then
    err.raise('not_available', '--planning-prs needs `pr`, which is not available yet', {
      hint = 'use --plan without it',
    })
  end
  return run and pr.run(ctx)
end

-- Asks how many worktrees of which plan, and takes the answer for what the command line says. False when nothing was chosen.
local function choose(ctx, facts)
  local counts = require('envctl.state.selection').read(ctx.paths).counts
  local plan_selection = require 'envctl.plan.plan_selection'
  local plans, choices, default = require('envctl.repo.plans').list(ctx.roots, ctx.settings), {}, {}
  for i, plan in ipairs(plans) do
    local there, last = #plan_selection.trees_of(plan.feature, facts.discovered), counts[plan.id] or 0
    local note = there > 0 and 'there: ' .. there or last > 0 and 'last time: ' .. last or nil
    choices[i] = { name = plan.id, note = note, marked = note ~= nil }
    for _ = 1, there > 0 and 1 or last do
      default[#default + 1] = plan.id
    end
  end
  local question = 'Which, and how many of each? Numbers or names, `2=3` for exactly three'
  local chosen = require('envctl.ui.choose').from('Plans:', choices, question, function(text)
    if text == '' then
      return { args = default, counts = {} }
    end
    return plan_selection.answer(text, plans)
  end)
  if chosen then
    ctx.route.args, ctx.route.flags.count = chosen.args, #chosen.counts > 0 and chosen.counts or nil
  end
  return chosen ~= nil
end

-- Before a choice made by hand takes worktrees away, it is said which.
local function agreed(selection)
  if #(selection.remove or {}) == 0 then
    return true
  end
  local names = {}
  for i, project in ipairs(selection.remove) do
    names[i] = project.name
  end
  local what = require('envctl.util.names').listed(names)
  return require('envctl.ui.choose').yes('Stop ' .. what .. ' and move to the trash?')
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local sync = require 'envctl.repo.sync'
  local session = ctx:scripts()
  if session then
    session:require_trust() -- before anything is made
  end
  require('envctl.repo.worktrees').settle_pending(ctx)
  local function look()
    local facts, document = require('envctl.facts').plan(ctx, { command = ctx.route.command })
    raise_blockers(document)
    return facts
  end
  local facts = look()
  if facts.selection.reason == 'interactive_plan_selector' and choose(ctx, facts) then
    facts = look()
    if not agreed(facts.selection) then
      ctx.out.text 'Nothing was changed.'
      return 1
    end
  end
  if facts.selection.required then
    err.raise('target_required', 'no plan is selected', {
      hint = facts.selection.message or 'name what to plan: envctl --plan SELECTOR',
    })
  end
  if ctx.route.flags.planning_prs then
    pull_requests(ctx, false)
  end
  local done = sync.run(ctx, facts.selection)
  if #done.names == 0 then
    return finish(ctx, done, 'scaled_to_zero', 'Planning counts scaled to zero; no worktrees remain.')
  end
  sync.pin(ctx, done.names)
  if ctx.route.flags.planning_prs then
    return pull_requests(ctx, true)
  elseif not facts.config.startup_enabled then
    return finish(ctx, done, 'config_startup_disabled',
      'Planning mode complete; skipping service startup because envctl runs are disabled for trees.')
  end
  rawset(ctx, 'report', fields(done))
  return require('envctl.commands.start').run(ctx)
end

return M
