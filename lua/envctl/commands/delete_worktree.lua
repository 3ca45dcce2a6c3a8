--- delete-worktree and blast-worktree: names first, then the guard, then stop, then the trash. Nothing is ever deleted here.
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local sys = require 'envctl.host.sys'
local guard = require 'envctl.repo.guard'
local names_of = require 'envctl.state.names'

local M = {}

-- The worktrees that are named, by project or branch. None is ever chosen for somebody.
local function targets(ctx)
  local route = ctx.route
  local list = require('envctl.repo.projects').trees(ctx.roots, ctx.settings)
  local by_branch = {}
  for _, p in ipairs(list) do
    by_branch[p.branch or ''] = p.name
  end
  for _, tokens in ipairs { route.projects, route.args } do
    for i, token in ipairs(tokens) do
      tokens[i] = by_branch[token] or token
    end
  end
  local chosen = require('envctl.cli.targets').projects(route, list)
  if #chosen == 0 and not route.flags.all then
    local names = json.array {}
    for i, p in ipairs(list) do
      names[i] = p.name
    end
    err.raise('target_required', 'name the worktrees to remove', {
      hint = #names > 0 and 'known: ' .. table.concat(names, ', ') or 'there are none', data = { candidates = names },
    })
  end
  if route.flags.all and not route.flags.yes and not route.flags.dry_run then
    err.raise('confirmation_required', route.command .. ' --all needs --yes', {
      hint = 'see what it would do with --dry-run',
    })
  end
  return chosen
end

-- The data of the worktrees: what goes with them, when that was asked for, and what stays.
local function data_of(ctx, chosen)
  local flags, names = ctx.route.flags, {}
  for _, project in ipairs(chosen) do
    names[project.name] = true
  end
  local all, base = require('envctl.deps.holdings').list(ctx, require('envctl.state.store').read(ctx.paths))
  local goes, stays = {}, {}
  local asked = flags.stop_all_remove_volumes or flags.blast_keep_worktree_volumes == false
  local to = asked and goes or stays
  for _, h in ipairs(all) do
    local list = h.share and stays or to
    list[#list + 1] = names[h.project] and h or nil
  end
  return goes, stays, base
end

-- Nobody would look for it where nothing is left of its worktree.
local function say_what_stays(holdings, stays, say)
  for i, line in ipairs(holdings.lines(stays)) do
    local h = stays[i]
    if h.share then
      say(('The database of %s on the shared server stays.'):format(names_of.short(h.project, h.id)))
    else
      say(('The data of %s stays; `envctl data reset %s --project %s` deletes it.'):format(line, h.id, h.project))
    end
  end
end

local function preview(ctx, looked, data, stays)
  local list = json.array {}
  for i, item in ipairs(looked) do
    local reasons = json.array {}
    for j, r in ipairs(item.reasons) do
      reasons[j] = { reason = r.reason, count = r.count, sample = json.array(r.sample) }
    end
    local refused = #reasons > 0 and not ctx.route.flags.force
    list[i] = { project = item.project.name, path = item.project.root, reasons = reasons, refused = refused }
    local verdict = refused and 'would refuse ' or 'would remove '
    ctx.out.text(verdict .. item.project.name .. ' (' .. item.project.root .. ')')
    for _, line in ipairs(guard.lines(item.reasons)) do
      ctx.out.text('  ' .. line)
    end
  end
  local holdings = require 'envctl.deps.holdings'
  local lines = holdings.lines(data)
  for _, line in ipairs(lines) do
    ctx.out.text('would delete the data of ' .. line)
  end
  say_what_stays(holdings, stays, ctx.out.text)
  if ctx.out.is_json then
    ctx.out.json {
      schema = 'envctl.' .. ctx.route.command:gsub('-', '_') .. '.v1', ok = true, command = ctx.route.command,
      dry_run = true, worktrees = list, removed = json.array {}, data = json.array(lines),
      data_kept = json.array(holdings.lines(stays)),
    }
  end
  return 0
end

local function may_ask(ctx)
  local flags = ctx.route.flags
  return not flags.yes and not flags.headless and not ctx.out.is_json and sys.isatty(0) and sys.isatty(1)
end

-- A worktree can be brought back, so it goes without a question where nobody can be asked. Data cannot.
local function confirmed(ctx, looked, data)
  local lines = require('envctl.deps.holdings').lines(data)
  if not may_ask(ctx) then
    if #data > 0 and not ctx.route.flags.yes then
      err.raise('confirmation_required', 'this would delete the data of ' .. table.concat(lines, ', '), {
        hint = 'give --yes; see it with --dry-run',
      })
    end
    return true
  end
  for _, item in ipairs(looked) do
    ctx.out.text(item.project.name .. ' (' .. item.project.root .. ')')
    for _, line in ipairs(guard.lines(item.reasons)) do
      ctx.out.text('  ' .. line)
    end
  end
  for _, line in ipairs(lines) do
    ctx.out.text('The data of ' .. line .. ' is deleted for good.')
  end
  return require('envctl.ui.choose').yes('Move ' .. (#looked == 1 and 'it' or 'them') .. ' to the trash?')
end

local function report(ctx, removed, stopped, stays)
  if ctx.out.is_json then
    ctx.out.json {
      schema = 'envctl.' .. ctx.route.command:gsub('-', '_') .. '.v1', ok = true, command = ctx.route.command,
      dry_run = false, removed = json.array(removed), stopped = json.array(stopped),
      data_kept = json.array(require('envctl.deps.holdings').lines(stays)),
    }
    return
  end
  for _, item in ipairs(removed) do
    local branch = item.branch_kept and '; branch ' .. item.branch .. ' stays' or ''
    ctx.out.text(string.format('Removed %s (%s)%s. `envctl recover %s` brings it back for 7 days.', item.project,
      item.path, branch, item.id))
  end
  say_what_stays(require 'envctl.deps.holdings', stays, ctx.out.text)
end

--- Runs for both commands.
---@param ctx envctl.Context
---@param opts {logs: boolean?}
---@return integer exit code
function M.execute(ctx, opts)
  local removal = require 'envctl.repo.removal'
  if not ctx.route.flags.dry_run then
    require('envctl.repo.worktrees').settle_pending(ctx)
  end
  local chosen = targets(ctx)
  local looked = removal.look(ctx, chosen)
  local data, stays, base = data_of(ctx, chosen)
  if ctx.route.flags.dry_run then
    return preview(ctx, looked, data, stays)
  end
  local force = ctx.route.flags.force
  if not force then
    removal.check(looked)
  end
  if not confirmed(ctx, looked, data) then
    ctx.out.text 'Nothing was removed.'
    return 1
  end
  local removed, stopped, failures = removal.remove(ctx, chosen, {
    force = force, reason = ctx.route.command .. (force and ' --force' or ''), logs = opts.logs,
  })
  if #failures > 0 then
    local first = failures[1]
    first.data = first.data or {}
    first.data.removed = json.array(removed)
    if not ctx.out.is_json then
      report(ctx, removed, stopped, stays)
    end
    error(first, 0)
  end
  if #data > 0 then
    require('envctl.deps.holdings').remove(ctx, data, base, {})
    for _, line in ipairs(require('envctl.deps.holdings').lines(data)) do
      ctx.out.note('envctl: the data of ' .. line .. ' is gone')
    end
  end
  report(ctx, removed, stopped, stays)
  return 0
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  return M.execute(ctx, { logs = false })
end

return M
