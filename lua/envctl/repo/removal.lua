--- Removing worktrees: look first, stop what runs in them and see that it ended, look again, then move them to the trash. Ports
--- and our own records of a tree go with it; branches stay, but for those that never got a commit of their own.
local fs = require 'envctl.host.fs'
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local path = require 'envctl.util.path'
local task = require 'envctl.task'
local gitcmd = require 'envctl.repo.gitcmd'
local guard = require 'envctl.repo.guard'
local meta = require 'envctl.repo.meta'
local projects = require 'envctl.repo.projects'
local trash = require 'envctl.repo.trash'
local worktrees = require 'envctl.repo.worktrees'

local M = {}

--- What stands against removing each. Awaits.
---@param ctx envctl.Context
---@param list envctl.Project[]
---@return {project: envctl.Project, reasons: envctl.GuardReason[]}[]
function M.look(ctx, list)
  local out = {}
  for i, project in ipairs(list) do
    out[i] = { project = project, reasons = guard.reasons(ctx.roots, project) }
  end
  return out
end

local NAMED = 5 -- the others of many are in the data

--- Raises when one of them has something to lose. The message names each.
function M.check(looked)
  local refused, messages, first = json.array {}, {}, nil
  for _, item in ipairs(looked) do
    if #item.reasons > 0 then
      local e = guard.refusal(item.project, item.reasons)
      refused[#refused + 1] = { project = item.project.name, code = e.code, reasons = e.data.reasons }
      messages[#messages + 1] = e.message
      first = first or e
    end
  end
  if first then
    first.message = table.concat(messages, '; ', 1, math.min(#messages, NAMED))
    if #messages > NAMED then
      first.message = first.message .. (' (and %d more)'):format(#messages - NAMED)
    end
    first.data.refused = refused
    error(first, 0)
  end
end

-- Services of the projects in the saved state by display name, and those that have dependencies of their own.
local function recorded(ctx, list)
  local wanted, names, logs, dependencies = {}, {}, {}, {}
  for _, p in ipairs(list) do
    wanted[p.name] = true
  end
  local doc = require('envctl.state.store').read(ctx.paths)
  for name, record in pairs(doc and doc.services or {}) do
    if wanted[record.project] and (record.mode or doc.mode) == 'trees' then
      names[#names + 1] = name
      logs[record.project] = logs[record.project] or {}
      logs[record.project][path.base(record.log_path or '/')] = true
    end
  end
  for project in pairs(doc and doc.requirements or {}) do
    dependencies[#dependencies + 1] = wanted[project] and project or nil
  end
  table.sort(names)
  table.sort(dependencies)
  return names, logs, dependencies
end

--- Stops what runs in the projects, and raises when something does not end. Their containers and networks go, where there is an
--- engine; what they have stored stays. Awaits.
---@return string[] names of what was stopped, table<string, table<string, boolean>> logs names of log files per project
function M.stop(ctx, list)
  require('envctl.state.paths').check(ctx.paths)
  local names, logs, dependencies = recorded(ctx, list)
  local env, gone = require('envctl.host.sys').environ(), nil
  if #require('envctl.deps.engine').all(env) > 0 then
    gone = json.array {}
    for i, project in ipairs(list) do
      gone[i] = project.name
    end
  elseif #names + #dependencies == 0 then
    return names, logs
  end
  local client = require 'envctl.keeper.client'
  local view = require('envctl.ui.progress').new(ctx)
  local closing <close> = setmetatable({}, { __close = view.close }) -- luacheck: ignore 211
  for attempt = 1, 3 do
    local ok, result = task.try(client.request, ctx, {
      op = 'stop', command = ctx.route.command, names = json.array(names),
      dependencies = #dependencies > 0 and json.array(dependencies) or nil, gone = gone, env = env,
    }, view.event)
    if ok then
      for _, s in ipairs(result.stopped) do
        if not s.stopped then
          err.raise('not_stopped', s.name .. ' does not end', { hint = 'no worktree was removed' })
        end
      end
      return names, logs
    elseif result.code ~= 'keeper_lost' or attempt == 3 then
      error(result, 0)
    end
  end
end

-- The reservations of a project that is gone.
local function free_ports(ctx, name)
  if not fs.stat(ctx.paths.ports_file) then
    return
  end
  require('envctl.state.ports_table').update(ctx.paths, function(entries)
    local out = {}
    for _, e in ipairs(entries) do
      if not (e.scope == ctx.paths.scope_id and e.project == name) then
        out[#out + 1] = e
      end
    end
    return #out < #entries and out or nil
  end)
end

-- A branch that envctl made and that never got a commit holds nothing.
local function drop_empty_branch(ctx, record, made)
  if made and not made.imported and record.branch and record.branch == made.branch and record.head == made.base_oid then
    local result = gitcmd.run(ctx.roots, {
      dir = ctx.roots.root,
      args = { 'update-ref', '--no-deref', '-d', 'refs/heads/' .. record.branch, record.head },
    })
    return result.code == 0
  end
  return false
end

local function remove_logs(ctx, names)
  local runs = ctx.paths.scope_dir .. '/runs'
  for _, run in ipairs(fs.list(runs) or {}) do
    for name in pairs(names or {}) do
      local log = runs .. '/' .. run.name .. '/' .. name
      fs.unlink(log)
      fs.unlink(require('envctl.state.log_times').path(log))
    end
  end
end

-- Directories that only held this tree.
local function remove_empty_parent(ctx, root)
  local trees = projects.trees_root(ctx.roots, ctx.settings)
  local parent = path.parent(root)
  local below = path.below(parent, trees)
  if below and below ~= '' or parent:sub(1, #trees + 1) == trees .. '-' then
    fs.rmdir(parent)
  end
end

local function remove_one(ctx, project, opts)
  local admin = meta.admin_of(ctx.roots, project.root) or meta.admin_naming(ctx.roots, project.root)
  local made = admin and meta.provenance(admin)
  local record = trash.put(ctx.roots, { project = project.name, root = project.root, reason = opts.reason })
  remove_empty_parent(ctx, project.root)
  local dropped = drop_empty_branch(ctx, record, made)
  free_ports(ctx, project.name)
  require('envctl.prepare.steps').forget(ctx.paths, project.name)
  if opts.logs then
    remove_logs(ctx, opts.log_names[project.name])
  end
  return {
    project = project.name, path = project.root, id = record.id, ref = record.ref, at = record.at,
    branch = record.branch or json.null, branch_kept = record.branch ~= nil and not dropped,
  }
end

--- Removes worktrees. Nothing happens unless all of them may go. Awaits.
---@param ctx envctl.Context
---@param list envctl.Project[]
---@param opts {force: boolean?, reason: string, logs: boolean?}
---@return table[] removed, string[] stopped, envctl.Err[] failures
function M.remove(ctx, list, opts)
  if not opts.force then
    M.check(M.look(ctx, list))
  end
  require('envctl.script.hooks').removing(ctx, list)
  local stopped
  stopped, opts.log_names = M.stop(ctx, list)
  local removed, failures = {}, {}
  meta.locked(ctx.roots, function()
    worktrees.settle(ctx.roots)
    for _, project in ipairs(list) do
      local ok, result = task.try(function()
        if not opts.force then
          M.check(M.look(ctx, { project }))
        end
        return remove_one(ctx, project, opts)
      end)
      table.insert(ok and removed or failures, result)
    end
  end)
  return removed, stopped, failures
end

return M
