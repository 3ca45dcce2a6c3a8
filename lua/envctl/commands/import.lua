--- import BRANCH: a worktree for a branch that exists. A branch that is behind its upstream is moved forward; one that went its own
--- way is left as it is, and that is said. Nothing is fetched and nothing is reset.
local err = require 'envctl.err'
local fs = require 'envctl.host.fs'
local git = require 'envctl.host.git'
local json = require 'envctl.util.json'
local gitcmd = require 'envctl.repo.gitcmd'
local projects = require 'envctl.repo.projects'

local M = {}

local function oid_of(roots, ref)
  local result = gitcmd.run(roots, {
    dir = roots.root, args = { 'rev-parse', '-q', '--verify', '--end-of-options', ref .. '^{commit}' },
  })
  return result.code == 0 and result.out:match '%x+' or nil
end

-- Remote branches of that name: the full refs.
local function remote_refs(roots, branch)
  local out = {}
  local args = { 'for-each-ref', '--format=%(refname)', 'refs/remotes' }
  local text = gitcmd.output(roots, { dir = roots.root, args = args })
  for ref in text:gmatch '[^\n]+' do
    if ref:sub(-#branch - 1) == '/' .. branch and not ref:sub(14, -#branch - 2):find('/', 1, true) then
      out[#out + 1] = ref
    end
  end
  return out
end

local function unknown(branch, refs)
  if #refs > 1 then
    err.raise('ambiguous_target', 'several remotes have ' .. branch .. ': ' .. table.concat(refs, ', '), {
      hint = 'make it yourself: git branch ' .. branch .. ' REMOTE/' .. branch,
      data = { candidates = json.array(refs) },
    })
  end
  err.raise('unknown_target', 'there is no branch "' .. branch .. '"', {
    hint = 'git fetch first when it is a remote one; --plan and --setup-worktree make new ones',
  })
end

local function counts(roots, ours, theirs)
  local text = gitcmd.output(roots, {
    dir = roots.root, args = { 'rev-list', '--left-right', '--count', ours .. '...' .. theirs },
  })
  local ahead, behind = text:match '(%d+)%s+(%d+)'
  return tonumber(ahead), tonumber(behind)
end

-- The commit that a local branch can be moved forward to, when it only is behind its upstream.
local function forward(roots, branch, oid)
  local upstream = gitcmd.output(roots, {
    dir = roots.root, args = { 'for-each-ref', '--format=%(upstream)', 'refs/heads/' .. branch },
  }):match '[^\n]+'
  local theirs = upstream and oid_of(roots, upstream)
  if not theirs then
    return nil
  end
  local ahead, behind = counts(roots, oid, theirs)
  if ahead > 0 and behind > 0 then
    err.raise('branch_diverged', string.format('%s is %d ahead of and %d behind %s', branch, ahead, behind, upstream), {
      hint = 'rebase or merge it first; nothing was changed', data = { ahead = ahead, behind = behind },
    })
  end
  return behind > 0 and theirs or nil
end

local function check_free(ctx, branch)
  local main = git.head(ctx.roots.common_dir)
  if main and main.branch == branch then
    err.raise('branch_in_use', branch .. ' is checked out in ' .. ctx.roots.root, {
      hint = 'switch to another branch there first', where = ctx.roots.root,
    })
  end
  for _, w in ipairs(projects.foreign(ctx.roots)) do
    if w.branch == branch then
      err.raise('branch_in_use', ('git has %s checked out in %s'):format(branch, w.path), {
        hint = 'that belongs to the repository that this one was copied from; to have it here, remove ' .. w.git_dir,
        where = w.path,
      })
    end
  end
  for _, p in ipairs(projects.trees(ctx.roots, ctx.settings)) do
    if p.branch == branch then
      return p
    end
  end
end

-- Where it goes: `<trees>/<name>`, or among the worktrees of its feature when it is one of them by name.
local function place(ctx, name)
  local trees = projects.trees_root(ctx.roots, ctx.settings)
  local feature, n = name:match '^([%w_]+)%-([1-9]%d*)$'
  if feature then
    return require('envctl.repo.worktrees').feature_dir(ctx.roots, ctx.settings, feature) .. '/' .. n, feature
  end
  return trees .. '/' .. name, name
end

local function tree_of(ctx, branch)
  local roots = ctx.roots
  local worktrees = require 'envctl.repo.worktrees'
  local name = branch:gsub('/', '-')
  worktrees.check_name(name, 'branch')
  for _, p in ipairs(projects.trees(ctx.roots, ctx.settings)) do
    if p.name:lower() == name:lower() then
      err.raise('name_taken', ('%s would be called %s, and there is %s (%s)'):format(branch, name, p.name, p.root), {
        hint = 'upper case makes no other name; rename the branch, or delete that worktree first', where = p.root,
      })
    end
  end
  local dir, feature = place(ctx, name)
  local tree = { feature = feature, project = name, branch = branch, path = dir, imported = true, base = branch }
  local oid = oid_of(roots, 'refs/heads/' .. branch)
  if oid then
    tree.base_oid, tree.existing_branch = oid, true
    tree.forward = forward(roots, branch, oid)
    return tree
  end
  local refs = remote_refs(roots, branch)
  if #refs ~= 1 then
    unknown(branch, refs)
  end
  tree.track, tree.base_oid = refs[1]:gsub('^refs/remotes/', ''), oid_of(roots, refs[1])
  tree.base = tree.track
  return tree
end

local function report(ctx, fields, text)
  if ctx.out.is_json then
    fields.schema, fields.ok, fields.command = 'envctl.import.v1', true, 'import'
    ctx.out.json(fields)
  else
    ctx.out.text(text)
  end
  return 0
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local branch = ctx.route.args[1]
  if not branch or #ctx.route.args > 1 then
    err.raise('target_required', 'import takes one branch', { hint = 'envctl import feature/login' })
  end
  local there = check_free(ctx, branch)
  if there then
    return report(ctx, { created = false, project = there.name, branch = branch, path = there.root },
      branch .. ' is there already: ' .. there.name .. ' (' .. there.root .. ')')
  end
  local tree = tree_of(ctx, branch)
  if ctx.route.flags.dry_run then
    if fs.lstat(tree.path) then
      err.raise('path_occupied', tree.path .. ' exists already', { hint = 'move it away', where = tree.path })
    end
    return report(ctx, { created = false, dry_run = true, project = tree.project, branch = branch, path = tree.path },
      'would make worktree ' .. tree.project .. ' (' .. tree.path .. ') for branch ' .. branch)
  end
  require('envctl.repo.worktrees').create(ctx, function()
    if tree.forward then
      gitcmd.output(ctx.roots, {
        dir = ctx.roots.root,
        args = { 'update-ref', '-m', 'envctl: fast-forward', 'refs/heads/' .. branch, tree.forward, tree.base_oid },
      }, 'cannot move ' .. branch .. ' forward')
      tree.base_oid = tree.forward
    end
    return { tree }
  end)
  return report(ctx, {
    created = true, dry_run = false, project = tree.project, branch = branch, path = tree.path,
    forwarded = tree.forward ~= nil,
  }, 'Imported ' .. branch .. ' as ' .. tree.project .. ' (' .. tree.path .. ').')
end

return M
