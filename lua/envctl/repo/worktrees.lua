--- Making worktrees: a branch `<feature>-<n>` from a recorded base, in `<trees>/<feature>/<n>`. What is being made stands in a
--- journal first, so that one that was killed is completed or cleaned up by the next who makes or removes any.
local fs = require 'envctl.host.fs'
local git = require 'envctl.host.git'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local task = require 'envctl.task'
local path = require 'envctl.util.path'
local gitcmd = require 'envctl.repo.gitcmd'
local meta = require 'envctl.repo.meta'
local projects = require 'envctl.repo.projects'
local seed = require 'envctl.repo.seed'
local trash = require 'envctl.repo.trash'

local M = {}

local ADD_DEADLINE_MS = 600000
-- How often an add is tried that met another program's add in the making; it lasts for a few system calls only.
local ADD_ATTEMPTS = 5
local MAX_NUMBER = 10000

---@class envctl.NewTree
---@field feature string
---@field n integer?
---@field project string
---@field branch string
---@field path string
---@field base string name of the base, for people
---@field base_oid string
---@field plan string? path of the plan file below the planning directory
---@field plan_path string?

-- Names ------------------------------------------------------------------------------------------------------------

--- Raises unless the name can be a directory, a branch and a project.
---@param name string
---@param what string
function M.check_name(name, what)
  local bad
  if #name > 200 then
    bad = 'is longer than 200 bytes'
  elseif not utf8.len(name) then
    bad = 'is not UTF-8'
  elseif name:find '[%c%s~^:?*%[\\/"\'`$;&|<>(){}!,=#]' or name:find('@{', 1, true) then
    bad = 'has a character that a branch, a directory or a project cannot have'
  elseif name:find '^[-.]' or name:find('..', 1, true) or name:find '%.$' or name:find '%.lock$' or name == '' then
    bad = 'cannot be the name of a branch'
  end
  if bad then
    local slug = require('envctl.repo.plans').feature(name)
    err.raise('worktree_name_invalid', string.format('%s "%s" %s', what, name, bad), {
      hint = 'for example: ' .. slug,
    })
  end
end

local function has_branch(roots, name)
  if fs.lstat(roots.common_dir .. '/refs/heads/' .. name) then
    return true
  end
  local packed = fs.read(roots.common_dir .. '/packed-refs', { max = 256 * 1024 * 1024 }) or ''
  local ref = ' refs/heads/' .. name
  return packed:find(ref .. '\n', 1, true) ~= nil or packed:find(ref .. '/', 1, true) ~= nil
end

--- Directory of a feature's worktrees.
---@param roots envctl.Roots
---@param settings envctl.Settings
---@param feature string
---@return string
function M.feature_dir(roots, settings, feature)
  local trees = projects.trees_root(roots, settings)
  local flat = fs.lstat(trees .. '-' .. feature)
  if flat and flat.type == 'dir' then
    return trees .. '-' .. feature
  end
  return trees .. '/' .. feature
end

-- The trees root has to be where it says: a link would put worktrees somewhere else.
local function check_place(dir)
  if dir:find '[\r\n]' then
    err.raise('path_unsafe', ('%q has a line break, which a worktree of git cannot have in its path'):format(dir), {
      hint = 'set TREES_DIR_NAME to another place', where = dir,
    })
  end
  local there = dir
  while not fs.lstat(there) do
    there = path.parent(there)
  end
  local real = fs.realpath(there)
  local stat = fs.stat(there)
  if real ~= there or not stat or stat.type ~= 'dir' then
    local link = real ~= there
    err.raise('path_unsafe', there .. (link and ' is a symbolic link, or below one' or ' is not a directory'), {
      hint = link and 'set TREES_DIR_NAME to the real path: ' .. tostring(real) or 'move it away', where = there,
    })
  end
end

--- What a new branch starts from: --base, else the branch that we stand on. Awaits when there is a --base.
---@param roots envctl.Roots
---@param wanted string?
---@return {name: string, oid: string}
function M.base(roots, wanted)
  if wanted then
    local result = gitcmd.run(roots, {
      dir = roots.execution_root,
      args = { 'rev-parse', '-q', '--verify', '--end-of-options', wanted .. '^{commit}' },
    })
    local oid = result.code == 0 and result.out:match '%x+'
    if not oid then
      err.raise('base_unknown', 'there is no commit "' .. wanted .. '" to start from', {
        hint = 'give a branch, tag or commit to --base (git fetch first when it is a remote one)',
      })
    end
    return { name = wanted, oid = oid }
  end
  local head = git.head(roots.git_dir) or {}
  if not head.oid then
    err.raise('base_unknown', 'there is no commit to start from yet in ' .. roots.execution_root, {
      hint = 'commit something first, or give --base REF',
    })
  end
  return { name = head.branch or head.oid, oid = head.oid }
end

--- Where the next worktree of a feature would be. Nothing is made.
---@param ctx envctl.Context
---@param feature string
---@param opts {n: integer?, base: table, taken: table<string, boolean>, plan: table?, decide: function?}
---@return envctl.NewTree
function M.propose(ctx, feature, opts)
  local roots = ctx.roots
  M.check_name(feature, 'feature')
  local dir = M.feature_dir(roots, ctx.settings, feature)
  local function tree(n)
    local default = feature .. '-' .. n
    local project = default
    if opts.decide then
      local about = { feature = feature, number = n, plan = opts.plan and opts.plan.id }
      project = opts.decide('worktree.name', about, function()
        return default
      end, default)
      M.check_name(project, 'worktree name')
    end
    return {
      feature = feature, n = n, project = project, branch = project, path = dir .. '/' .. n, base = opts.base.name,
      base_oid = opts.base.oid, plan = opts.plan and opts.plan.id, plan_path = opts.plan and opts.plan.path,
      named = project ~= default or nil,
    }
  end
  if opts.n then
    return tree(opts.n)
  end
  local last
  for n = 1, MAX_NUMBER do
    local t = tree(n)
    local taken = opts.taken[t.project:lower()] or has_branch(roots, t.branch)
    if taken and t.project == last then
      err.raise('worktree_name_invalid', 'worktree.name gives "' .. last .. '" again, which is taken', {
        hint = 'use ctx.number in the name', where = feature,
      })
    end
    last = taken and t.project or nil
    if not taken and not fs.lstat(t.path) then
      opts.taken[t.project:lower()] = true
      return t
    end
  end
  err.raise('too_many_worktrees', 'no number is left for ' .. feature)
end

--- All the worktrees that a selection asks for. Awaits when there is a --base.
---@param ctx envctl.Context
---@param create {feature: string, count: integer, n: integer?, plan: table?, recreate: boolean?}[]
---@param discovered envctl.Project[]
---@param wanted_base string?
---@return envctl.NewTree[]
function M.propose_all(ctx, create, discovered, wanted_base)
  local base, taken, out = M.base(ctx.roots, wanted_base), M.taken(discovered), {}
  local session = ctx:scripts()
  local decide = session and session.overrides['worktree.name'] and require('envctl.script.join').decider(session)
  for _, c in ipairs(create) do
    for _ = 1, c.count do
      out[#out + 1] = M.propose(ctx, c.feature, { n = c.n, base = base, taken = taken, plan = c.plan, decide = decide })
      out[#out].recreate = c.recreate
    end
  end
  return out
end

--- Names that a new project cannot have.
---@param list envctl.Project[]
---@return table<string, boolean>
function M.taken(list)
  local out = {}
  for _, p in ipairs(list) do
    out[p.name:lower()] = true
  end
  return out
end

-- Journal ----------------------------------------------------------------------------------------------------------

local function journal_file(roots, entry)
  return meta.journal_dir(roots) .. '/' .. entry.id .. '.json'
end

local function delete_new_branch(roots, entry)
  if entry.new_branch then
    -- Only when it still is where it was made: then it holds nothing of its own.
    gitcmd.run(roots, {
      dir = roots.root, args = { 'update-ref', '--no-deref', '-d', 'refs/heads/' .. entry.branch, entry.base_oid },
    })
  end
end

-- Takes away what a failed or killed making left.
local function clean_up(roots, entry)
  if fs.lstat(entry.path) or meta.admin_naming(roots, entry.path) then
    trash.put(roots, { project = entry.project, root = entry.path, reason = 'half made' })
  end
  delete_new_branch(roots, entry)
  fs.rmdir(path.parent(entry.path)) -- the feature's directory, when it is empty
end

local function is_complete(roots, entry)
  local admin = meta.admin_of(roots, entry.path)
  return admin and not fs.lstat(admin .. '/locked') and fs.lstat(admin .. '/index') ~= nil and admin or nil
end

-- What follows after git made the tree. May run twice.
local function complete(roots, entry, admin)
  local recorded = {
    schema = 'envctl.worktree.v1', project = entry.project, feature = entry.feature, branch = entry.branch,
    base = entry.base, base_oid = entry.base_oid, plan = entry.plan, created_at = entry.at, imported = entry.imported,
    named = entry.named,
  }
  recorded.seeded = seed.fill(roots, entry)
  meta.write(admin .. '/envctl.json', recorded)
end

--- Completes or cleans up what was interrupted. The caller holds the lock. Awaits.
---@param roots envctl.Roots
---@return {project: string, outcome: 'completed'|'cleaned'}[]
function M.settle(roots)
  local out = {}
  trash.settle(roots)
  for _, file in ipairs(fs.list(meta.journal_dir(roots)) or {}) do
    local entry = file.name:find '%.json$' and meta.read(meta.journal_dir(roots) .. '/' .. file.name)
    if entry and type(entry.path) == 'string' then
      gitcmd.wait_for(entry.id, entry.path)
      local admin = is_complete(roots, entry)
      if admin then
        complete(roots, entry, admin)
      else
        clean_up(roots, entry)
      end
      out[#out + 1] = { project = entry.project, outcome = admin and 'completed' or 'cleaned' }
    end
    fs.unlink(meta.journal_dir(roots) .. '/' .. file.name)
  end
  return out
end

--- Settles what was interrupted, when there is anything; otherwise nothing is written and nobody is waited for. Awaits.
---@param ctx envctl.Context
function M.settle_pending(ctx)
  local roots = ctx.roots
  local pending = #(fs.list(meta.journal_dir(roots)) or {}) > 0
  for _, record in ipairs(trash.list(roots)) do
    pending = pending or record.state ~= 'trashed'
  end
  if pending then
    meta.locked(roots, function()
      for _, done in ipairs(M.settle(roots)) do
        ctx.out.note('envctl: worktree ' .. done.project .. ' was interrupted in the making; it is ' .. done.outcome)
      end
    end)
  end
end

-- Making -----------------------------------------------------------------------------------------------------------

local function add_arguments(tree)
  local args = { 'worktree', 'add' }
  if tree.existing_branch then
    return { 'worktree', 'add', tree.path, tree.branch }
  elseif tree.track then
    return { 'worktree', 'add', '--track', '-b', tree.branch, tree.path, tree.track }
  end
  table.move({ '--no-track', '-b', tree.branch, tree.path, tree.base_oid }, 1, 5, 3, args)
  return args
end

local function branch_exists(roots, branch)
  return gitcmd.run(roots, {
    dir = roots.root, args = { 'rev-parse', '-q', '--verify', 'refs/heads/' .. branch },
  }).code == 0
end

-- What scripts say about the files of new worktrees goes into the journal, so that one that is completed later gets the same.
local function choose_seeds(ctx, list)
  local session = ctx:scripts()
  if not session or not session.overrides['worktree.seed'] then
    return
  end
  local decide = require('envctl.script.join').decider(session)
  for _, tree in ipairs(list) do
    tree.seed = decide('worktree.seed', {
      project = { name = tree.project, mode = 'trees', root = tree.path }, plan = seed.plan_text(tree),
    }, function()
      return seed.defaults(ctx.roots, tree)
    end, tree.project)
  end
end

-- git gives up when it reads the list of worktrees while another git writes a new one into it: the file `commondir` is there,
-- and empty still.
local function met_half_made(result)
  return result.code == 128 and result.err:find('failed to read [^\n]*/commondir') ~= nil
end

-- Makes one; the caller holds the lock.
local function add(roots, tree)
  if fs.lstat(tree.path) then
    err.raise('path_occupied', tree.path .. ' exists already', { hint = 'move it away', where = tree.path })
  end
  local existed = branch_exists(roots, tree.branch)
  tree.existing_branch = tree.existing_branch or (existed and tree.recreate) or nil
  if existed and not tree.existing_branch then
    err.raise('branch_exists', 'there is a branch ' .. tree.branch .. ' already', {
      hint = 'bring it back as a worktree with `envctl import ' .. tree.branch .. '`',
    })
  end
  local entry = {}
  for k, v in pairs(tree) do
    entry[k] = v
  end
  entry.id, entry.at, entry.new_branch = sys.random_hex(8), sys.iso_time(sys.wall_ms()), not existed
  meta.write(journal_file(roots, entry), entry)
  local parent = path.parent(tree.path)
  local there, message, errno = fs.mkdirs(parent, 493)
  if not there then
    fs.unlink(journal_file(roots, entry))
    err.raise('io_error', 'cannot make worktree ' .. tree.project .. ': ' .. message, {
      where = parent, hint = 'make room there, or set TREES_DIR_NAME to another place', data = { errno = errno },
    })
  end
  local ok, result, admin
  for _ = 1, ADD_ATTEMPTS do
    ok, result = task.try(gitcmd.run, roots, {
      dir = roots.root, args = add_arguments(tree), deadline_ms = ADD_DEADLINE_MS, mark = entry.id,
      config = { 'worktree.guessRemote=false', 'checkout.guess=false', 'checkout.workers=0' },
    })
    admin = ok and result.code == 0 and is_complete(roots, entry)
    if not admin then
      gitcmd.wait_for(entry.id, entry.path)
      clean_up(roots, entry)
    end
    if admin or not ok or not met_half_made(result) then
      break
    end
  end
  if not admin then
    fs.unlink(journal_file(roots, entry))
    error(not ok and result or gitcmd.failure('cannot make worktree ' .. tree.project, result, tree.path), 0)
  end
  complete(roots, entry, admin)
  fs.unlink(journal_file(roots, entry))
end

--- Makes worktrees, one after the other: git does not hold two that are made at once (see met_half_made), and one has every
--- core to check out with. One that fails does not take the others down: its error is raised after they are done.
--- Awaits.
---@param ctx envctl.Context
---@param wanted (fun(): envctl.NewTree[]) called under the lock, so that nobody else takes the same numbers
---@return envctl.NewTree[] made
function M.create(ctx, wanted)
  local roots = ctx.roots
  local trees_root = projects.trees_root(roots, ctx.settings)
  local hooks = require 'envctl.script.hooks'
  hooks.before_created(ctx)
  local made, failure = {}, nil
  meta.locked(roots, function()
    M.settle(roots)
    local list = wanted()
    choose_seeds(ctx, list)
    meta.secure(meta.journal_dir(roots))
    for _, tree in ipairs(list) do
      check_place(path.parent(tree.path))
      check_place(trees_root)
    end
    seed.hide(roots, trees_root, list)
    for _, tree in ipairs(list) do
      local ok, e = task.try(add, roots, tree)
      if ok then
        made[#made + 1] = tree
      else
        failure = failure or e
      end
    end
  end)
  hooks.created(ctx, made)
  if failure then
    error(failure, 0)
  end
  return made
end

return M
