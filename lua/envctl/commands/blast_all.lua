--- blast-all, and stop-all --remove-volumes: everything of this repository is ended; then data of dependencies that is named is
--- thrown away, and with blast-all what is saved about earlier runs. Only what carries this scope's identity is touched.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local task = require 'envctl.task'

local M = {}

-- Which data goes: with stop-all --remove-volumes all of it, with blast-all what was asked for.
local function doomed(ctx, all)
  local flags, out = ctx.route.flags, {}
  local main = flags.stop_all_remove_volumes or flags.blast_remove_main_volumes
  local trees = flags.stop_all_remove_volumes or flags.blast_keep_worktree_volumes == false
  for _, h in ipairs(all) do
    local goes = h.main and main or not h.main and trees
    -- What is shared holds the data of worktrees as well.
    if h.project == require('envctl.deps.plan').SHARED then
      goes = main and trees
    end
    out[#out + 1] = goes and h or nil
  end
  return out, (main and trees) == true
end

-- Files and directories about earlier runs. Worktrees in the trash, trust and set-aside states are somebody's.
local function saved_of(ctx)
  local paths, out = ctx.paths, {}
  for _, path in ipairs {
    paths.state_file, paths.scope_dir .. '/run_state.json', paths.scope_dir .. '/runtime_map.json',
    paths.scope_dir .. '/ports_manifest.json', paths.scope_dir .. '/error_report.json',
    paths.scope_dir .. '/events.jsonl', paths.scope_dir .. '/events.jsonl.1', paths.scope_dir .. '/runs',
    paths.durable_scope .. '/prepared', require('envctl.state.selection').file(paths),
  } do
    if fs.lstat(path) then
      out[#out + 1] = path
    end
  end
  return out
end

local function running_of(doc)
  local out = json.array {}
  for name in pairs(doc and doc.services or {}) do
    out[#out + 1] = name
  end
  require('envctl.deps.truth').each(doc, function(project, id, component)
    if component.identity or component.container_id then
      out[#out + 1] = require('envctl.state.names').short(project, id)
    end
  end)
  table.sort(out)
  return out
end

local function ports_of(ctx)
  local count = 0
  for _, e in ipairs(require('envctl.state.ports_table').read(ctx.paths) or {}) do
    count = count + (e.scope == ctx.paths.scope_id and 1 or 0)
  end
  return count
end

local function plan_of(ctx, blast)
  local ok, doc = task.try(require('envctl.state.store').read, ctx.paths)
  doc = ok and doc or nil
  local all, base = require('envctl.deps.holdings').list(ctx, doc)
  local goes, everything = doomed(ctx, all)
  return {
    running = running_of(doc), services = require('envctl.util.names').sorted(doc and doc.services or {}),
    data = goes, base = base, everything = everything, kept = #all - #goes,
    saved = blast and saved_of(ctx) or {}, ports = blast and ports_of(ctx) or 0,
  }
end

local function sentences(plan, blast)
  local out = {}
  if #plan.running > 0 then
    out[#out + 1] = 'stop ' .. table.concat(plan.running, ', ')
  end
  for _, line in ipairs(require('envctl.deps.holdings').lines(plan.data)) do
    out[#out + 1] = 'delete the data of ' .. line
  end
  if plan.everything then
    out[#out + 1] = 'remove the containers and volumes of this repository'
  end
  if #plan.saved > 0 or plan.ports > 0 then
    out[#out + 1] = ('clear what is saved about earlier runs%s'):format(
      plan.ports > 0 and (', and %d reserved ports'):format(plan.ports) or '')
  end
  if blast and plan.kept > 0 then
    out[#out + 1] = ('keep the data of %d dependencies'):format(plan.kept)
  end
  return out
end

local function data_document(data)
  local out = json.array {}
  for i, h in ipairs(data) do
    out[i] = { project = h.project, dependency = h.id, path = h.path or json.null }
  end
  return out
end

local function document(ctx, fields)
  fields.schema = 'envctl.' .. ctx.route.command:gsub('-', '_') .. '.v1'
  fields.ok, fields.command = true, ctx.route.command
  ctx.out.json(fields)
end

local function confirmed(ctx, lines)
  local flags = ctx.route.flags
  if flags.yes then
    return true
  elseif flags.headless or ctx.out.is_json or not (sys.isatty(0) and sys.isatty(1)) then
    err.raise('confirmation_required', ctx.route.command .. ' would ' .. table.concat(lines, '; '), {
      hint = 'give --yes; see it with --dry-run',
    })
  end
  for _, line in ipairs(lines) do
    ctx.out.text('would ' .. line)
  end
  return require('envctl.ui.choose').yes 'Really?'
end

local function clear(ctx, plan)
  for _, path in ipairs(plan.saved) do
    local stat = fs.lstat(path)
    if stat then -- the stop has cleared some
      err.check((stat.type == 'dir' and fs.remove_tree or fs.unlink)(path))
    end
  end
  if plan.ports > 0 then
    require('envctl.state.ports_table').update(ctx.paths, function(entries)
      local out = {}
      for _, e in ipairs(entries) do
        out[#out + 1] = e.scope ~= ctx.paths.scope_id and e or nil
      end
      return #out < #entries and out or nil
    end)
  end
end

-- Ends everything and throws away what the plan names. Awaits.
local function carry_out(ctx, plan)
  local result = require('envctl.commands.stop').carry_out(ctx, { all = true }, plan.services)
  local removed = json.array {}
  if #plan.data > 0 or plan.everything then
    removed = require('envctl.deps.holdings').remove(ctx, plan.data, plan.base, { everything = plan.everything })
  end
  return result, removed
end

--- Runs for both commands.
---@param ctx envctl.Context
---@param blast boolean what is saved goes as well
---@return integer exit code
function M.execute(ctx, blast)
  require('envctl.state.paths').check(ctx.paths)
  local plan = plan_of(ctx, blast)
  local lines = sentences(plan, blast)
  if ctx.route.flags.dry_run then
    if ctx.out.is_json then
      document(ctx, {
        dry_run = true, found = #plan.running > 0, would_stop = plan.running, stopped = json.array {},
        data = data_document(plan.data), saved = json.array(plan.saved), ports = plan.ports,
      })
    end
    for _, line in ipairs(lines) do
      ctx.out.text('would ' .. line)
    end
    return 0
  elseif #plan.running + #plan.data + #plan.saved + plan.ports == 0 and not plan.everything
    and not fs.stat(ctx.paths.scope_dir) then
    if ctx.out.is_json then
      document(ctx, {
        dry_run = false, found = false, stopped = json.array {}, data = json.array {}, saved = json.array {},
        ports = 0,
      })
    else
      ctx.out.text 'There is nothing of this repository.'
    end
    return 0
  elseif not confirmed(ctx, lines) then
    ctx.out.text 'Nothing was done.'
    return 1
  end
  local result, removed = carry_out(ctx, plan)
  clear(ctx, plan)
  if ctx.out.is_json then
    document(ctx, {
      dry_run = false, found = true, stopped = result.stopped, swept = result.swept,
      dependencies = result.dependencies, data = removed, saved = json.array(plan.saved), ports = plan.ports,
    })
    return 0
  end
  for _, item in ipairs(removed) do
    ctx.out.text(require('envctl.state.names').short(item.project, item.dependency) .. ': data is gone')
  end
  if blast and plan.kept > 0 then
    ctx.out.text(('Data of %d dependencies stays (--blast-remove-worktree-volumes, --blast-remove-main-volumes).')
      :format(plan.kept))
  end
  ctx.out.text(blast and 'Stopped everything and cleared what was saved.' or 'Stopped runtime state.')
  return 0
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  return M.execute(ctx, true)
end

return M
