--- Hooks of a repository around a start and a stop, and around the making and removing of worktrees. They need trust; without
--- scripts, or without hooks, nothing happens.
local M = {}

local function run(session, ctx, event, project, ev)
  local functions = require('envctl.script.api').for_terminal(ctx, project.root)
  for _, result in ipairs(session:run_hook(event, ev, functions)) do
    if not result.ok then
      ctx.out.note('envctl: ' .. result.message .. ' (optional: it goes on)')
    end
  end
end

local function has(session, ...)
  for _, event in ipairs { ... } do
    if session.hooks[event] then
      return true
    end
  end
  return false
end

local function names_of(project)
  local out = require('envctl.util.json').array {}
  for i, s in ipairs(project.services) do
    out[i] = s.name
  end
  return out
end

local STARTS = { start = true, restart = true }

-- What is started of each project, by its name. A plan without actions starts everything.
local function starts_of(plan)
  local out = {}
  for _, project in ipairs(#(plan.actions or {}) == 0 and plan.projects or {}) do
    out[project.name] = {}
    for _, service in ipairs(project.services) do
      out[project.name][service.name] = true
    end
  end
  for _, a in ipairs(plan.actions or {}) do
    if STARTS[a.action] then
      out[a.project] = out[a.project] or {}
      out[a.project][a.service] = true
    end
  end
  return out
end

-- The steps that will run, as "service/step".
local function steps_of(project, starts)
  local json = require 'envctl.util.json'
  local out = json.array {}
  for _, service in ipairs(project.services) do
    for _, step in ipairs(starts[service.name] and service.prepare or {}) do
      if step.skip_reason == nil or step.skip_reason == json.null then
        out[#out + 1] = service.name .. '/' .. step.name
      end
    end
  end
  return out
end

--- Before the first step and the first service of each project of which something is started. Raises hook_failed. Awaits.
---@param ctx envctl.Context
---@param plan table
function M.before_start(ctx, plan)
  local session = ctx:scripts()
  if not session or not has(session, 'prepare', 'before_start') then
    return
  end
  local starts = starts_of(plan)
  for _, project in ipairs(plan.projects) do
    local here = starts[project.name]
    local steps = here and steps_of(project, here) or {}
    if #steps > 0 then
      run(session, ctx, 'prepare', project, {
        project = project.name, mode = project.mode, root = project.root, steps = steps,
      })
    end
    if here then
      run(session, ctx, 'before_start', project, {
        project = project.name, mode = project.mode, root = project.root, services = names_of(project),
        ports = project.ports,
      })
    end
  end
end

--- After everything is ready: service.ready for each service that was started now, then started for each project of which
--- something was.
---@param ctx envctl.Context
---@param plan table
---@param ready table[] progress events of the services that became ready
---@param failures {project: string}[] projects that were given up; nothing of them runs
function M.after_start(ctx, plan, ready, failures)
  local session = ctx:scripts()
  if not session or not has(session, 'service.ready', 'started') then
    return
  end
  local by_name = {}
  for _, project in ipairs(plan.projects) do
    by_name[project.name] = project
  end
  for _, failure in ipairs(failures) do
    by_name[failure.project] = nil
  end
  for _, event in ipairs(ready) do
    local project = by_name[event.project]
    if project then
      run(session, ctx, 'service.ready', project, {
        project = event.project, service = event.service, port = event.port, url = event.url, mode = project.mode,
        root = project.root,
      })
    end
  end
  local starts = starts_of(plan)
  for _, project in ipairs(plan.projects) do
    if starts[project.name] and by_name[project.name] then
      run(session, ctx, 'started', project, {
        project = project.name, mode = project.mode, root = project.root, services = names_of(project),
      })
    end
  end
end

--- Raises when worktrees cannot be made because a hook for them may not run. Awaits.
---@param ctx envctl.Context
function M.before_created(ctx)
  local session = ctx:scripts()
  if session and has(session, 'project.created') then
    session:require_trust()
  end
end

--- After worktrees were made. Raises hook_failed, after the hook had its turn for each of them. Awaits.
---@param ctx envctl.Context
---@param made envctl.NewTree[]
function M.created(ctx, made)
  local session = ctx:scripts()
  if not session or not has(session, 'project.created') then
    return
  end
  local failure
  for _, tree in ipairs(made) do
    local project = { project = tree.project, mode = 'trees', root = tree.path }
    project.feature, project.branch, project.base, project.plan = tree.feature, tree.branch, tree.base, tree.plan
    local ok, e = require('envctl.task').try(run, session, ctx, 'project.created', project, project)
    if not ok and not failure then
      e.message = tree.project .. ' is made, but its hook failed: ' .. e.message
      e.hint = 'correct the script, then `envctl delete-worktree ' .. tree.project .. '` and make it again'
      failure = e
    end
    if not ok and e.code == 'interrupted' then
      break
    end
  end
  if failure then
    error(failure, 0)
  end
end

--- Before worktrees are removed. Raises hook_failed: then none is. Awaits.
---@param ctx envctl.Context
---@param list envctl.Project[]
function M.removing(ctx, list)
  local session = ctx:scripts()
  if not session or not has(session, 'worktree.removing') then
    return
  end
  for _, project in ipairs(list) do
    if not project.missing then
      run(session, ctx, 'worktree.removing', project, {
        project = project.name, mode = 'trees', root = project.root, branch = project.branch,
      })
    end
  end
end

--- Around a stop: best effort. Scripts that are not trusted, or fail, never change what stop does; who interrupts the hook before
--- it does not want the stop any more.
---@param ctx envctl.Context
---@param event 'before_stop'|'stopped'
---@param names string[] display names of the services
function M.around_stop(ctx, event, names)
  local task, json = require 'envctl.task', require 'envctl.util.json'
  if #names == 0 then
    return
  end
  local ok, e = task.try(function()
    local session = require('envctl.script.host').open(ctx, { trusted_only = true })
    if not session then
      return
    end
    local closing <close> = setmetatable({}, { -- luacheck: ignore 211
      __close = function()
        session:close()
      end,
    })
    session:load()
    if has(session, event) then
      run(session, ctx, event, { root = ctx.roots.execution_root }, { services = json.array(names) })
    end
  end)
  if not ok and e.code == 'interrupted' and event == 'before_stop' then
    error(e, 0)
  elseif not ok then
    ctx.out.note('envctl: ' .. event .. ': ' .. e.message .. ' (stop goes on)')
  end
end

return M
