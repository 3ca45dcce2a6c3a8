--- Makes worktrees what a selection wants: removes what is too many, makes what is missing, archives plans that are done, and
--- remembers what was chosen.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local path = require 'envctl.util.path'

local M = {}

-- Moves a plan to `done`, beside the planning directory.
local function archive(ctx, plan)
  local root = require('envctl.repo.plans').root(ctx.roots, ctx.settings)
  local to = path.parent(root) .. '/done/' .. plan.id
  if fs.lstat(to) then
    local stamp = sys.iso_time(sys.wall_ms()):gsub('[-:T]', ''):sub(1, 14)
    to = to:gsub('(%.[^./]*)$', function(extension)
      return '-' .. stamp .. extension
    end)
  end
  err.check(fs.mkdirs(path.parent(to), 493))
  err.check(fs.rename(plan.path, to))
  ctx.out.note('envctl: moved ' .. plan.id .. ' to done/' .. plan.id)
  return plan.id
end

local function remember(ctx, selection, names)
  local counts, plans = {}, require('envctl.repo.plans')
  for _, plan in ipairs(plans.list(ctx.roots, ctx.settings)) do
    for _, id in ipairs(selection.planning_files or {}) do
      if plan.id == id then
        for _, name in ipairs(names) do
          if name:gsub('%-%d+$', '') == plan.feature then
            counts[id] = (counts[id] or 0) + 1
          end
        end
      end
    end
  end
  if next(counts) then
    require('envctl.state.selection').remember(ctx.paths, { counts = counts })
  end
end

local function announce(ctx, tree)
  local from = tree.plan and ' for ' .. tree.plan or ''
  ctx.out.note(string.format('envctl: making worktree %s%s, on branch %s from %s', tree.project, from, tree.branch,
    tree.base))
end

local function make(ctx, selection)
  if #(selection.create or {}) == 0 then
    return {}
  end
  local worktrees = require 'envctl.repo.worktrees'
  return worktrees.create(ctx, function()
    -- Under the lock the numbers are chosen again: somebody else may have made worktrees meanwhile.
    local list = require('envctl.repo.projects').trees(ctx.roots, ctx.settings)
    local trees = worktrees.propose_all(ctx, selection.create, list, ctx.route.flags.base)
    for _, tree in ipairs(trees) do
      announce(ctx, tree)
    end
    return trees
  end)
end

--- Carries a selection out. Awaits.
---@param ctx envctl.Context
---@param selection envctl.plan.Selection
---@return {created: table[], removed: table[], names: string[]}
function M.run(ctx, selection)
  local removed = {}
  if #(selection.remove or {}) > 0 then
    local failures
    for _, project in ipairs(selection.remove) do
      ctx.out.note('envctl: removing worktree ' .. project.name .. ' (' .. project.root .. ')')
    end
    local _
    removed, _, failures = require('envctl.repo.removal').remove(ctx, selection.remove, {
      force = ctx.route.flags.force, logs = true,
      reason = selection.reason == 'setup_worktrees' and 'made anew' or 'scaled down',
    })
    for _, item in ipairs(removed) do
      ctx.out.note('envctl: ' .. item.project .. ' is in the trash; `envctl recover ' .. item.id .. '` brings it back')
    end
    if failures[1] then
      error(failures[1], 0)
    end
  end
  local created = make(ctx, selection)
  local names, made = {}, {}
  for _, project in ipairs(selection.selected) do
    names[#names + 1] = project.name
  end
  for i, tree in ipairs(created) do
    names[#names + 1] = tree.project
    made[tree.project] = { action = 'create', branch = tree.branch, base = tree.base }
    created[i] = { project = tree.project, branch = tree.branch, base = tree.base, base_oid = tree.base_oid,
      root = tree.path, plan = tree.plan or json.null }
  end
  rawset(ctx, 'created', made)
  local archived = {}
  for _, plan in ipairs(selection.archive or {}) do
    archived[#archived + 1] = archive(ctx, plan)
  end
  remember(ctx, selection, names)
  return { created = created, removed = removed, archived = archived, names = names }
end

--- From now on the route means exactly these worktrees, so that what was just made is not chosen once more.
---@param ctx envctl.Context
---@param names string[]
function M.pin(ctx, names)
  local route = ctx.route
  route.projects, route.args = names, {}
  route.flags.count, route.flags.setup_worktree, route.flags.setup_worktrees = nil, nil, nil
  route.flags.include_existing_worktrees = nil
end

return M
