--- stop and stop-all: names are resolved first, then the keeper ends everything of each service and looks again.
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local store = require 'envctl.state.store'

local M = {}

local function document(ctx, fields)
  local d = { schema = 'envctl.' .. ctx.route.command:gsub('-', '_') .. '.v1', ok = true, command = ctx.route.command }
  for k, v in pairs(fields) do
    d[k] = v
  end
  ctx.out.json(d)
end

local function nothing(ctx)
  if ctx.out.is_json then
    document(ctx, { stopped = json.array {}, found = false })
  else
    ctx.out.text 'No active runtime state found.'
  end
  return 0
end

-- Stopping what is stopped is fine, so a keeper that was killed meanwhile is no reason to give up: the next one goes on.
local function request_again(client, ctx, request, on_event)
  local task = require 'envctl.task'
  for attempt = 1, 3 do
    local ok, result = task.try(client.stop, ctx, request, on_event)
    if ok then
      return result
    elseif result.code ~= 'keeper_lost' or attempt == 3 then
      error(result, 0)
    end
  end
end

--- Sends the stop, with the hooks around it. Awaits.
---@param ctx envctl.Context
---@param request table {all?} or {names}
---@param names string[] display names of the services that it is about, as far as they are known
---@return table result of the keeper
function M.carry_out(ctx, request, names)
  local view = require('envctl.ui.progress').new(ctx)
  local hooks = require 'envctl.script.hooks'
  hooks.around_stop(ctx, 'before_stop', names)
  local result
  do
    local closing <close> = setmetatable({}, { __close = view.close }) -- luacheck: ignore 211
    request.op, request.command = 'stop', ctx.route.command
    result = request_again(require 'envctl.keeper.client', ctx, request, view.event)
  end
  local ended = {}
  for i, s in ipairs(result.stopped) do
    ended[i] = s.name
  end
  hooks.around_stop(ctx, 'stopped', ended)
  return result
end

--- Carries a stop out and reports.
---@param earlier table[]? what the command has stopped before, in the form of the keeper's `stopped`
---@return integer exit code
function M.execute(ctx, request, names, done, earlier)
  local result = M.carry_out(ctx, request, names)
  result.stopped = json.array(table.move(result.stopped, 1, #result.stopped, #(earlier or {}) + 1, earlier or {}))
  if ctx.out.is_json then
    document(ctx, {
      stopped = result.stopped, swept = result.swept, dependencies = result.dependencies, found = true,
      unwritten = result.unwritten,
    })
    return 0
  end
  for _, s in ipairs(result.stopped) do
    if not s.was_alive then
      ctx.out.text(s.name .. ': already gone')
    end
  end
  if #(result.dependencies or {}) > 0 then
    local list = {}
    for i, d in ipairs(result.dependencies) do
      list[i] = d.name
    end
    ctx.out.text('Stopped dependencies: ' .. table.concat(list, ', ') .. ' (data stays)')
  end
  if (result.swept or 0) > 0 then
    ctx.out.text('Ended ' .. result.swept .. ' unrecorded processes of this scope.')
  end
  ctx.out.text(done(result))
  return 0
end

--- What a dry run prints: what would be stopped.
---@param ctx table
---@param records table[] service records
---@return integer exit code
function M.preview(ctx, records)
  local live = {}
  for i, item in ipairs(require('envctl.resume.health').check(records)) do
    live[i] = { name = item.record.name, status = item.status, pid = item.record.pid or json.null }
  end
  if ctx.out.is_json then
    document(ctx, { dry_run = true, would_stop = json.array(live), stopped = json.array {}, found = #live > 0 })
    return 0
  end
  for _, s in ipairs(live) do
    ctx.out.text(('would stop %s (%s, pid %s)'):format(s.name, s.status, s.pid == json.null and '-' or s.pid))
  end
  return 0
end

--- Display names the route selects in the saved state. Everything must resolve before anything happens.
local function select_names(ctx, doc)
  local route = ctx.route
  local records, explicit = require('envctl.cli.select').services(route, doc)
  local names, projects, count = {}, {}, 0
  for _, r in ipairs(records) do
    names[#names + 1] = r.name
    if not projects[r.project] then
      projects[r.project] = true
      count = count + 1
    end
  end
  if count > 1 and not explicit and not route.flags.all then
    local list = {}
    for p in pairs(projects) do
      list[#list + 1] = p
    end
    table.sort(list)
    err.raise('target_required', 'several projects are running: ' .. table.concat(list, ', '), {
      hint = 'name one with --project, or use --all or `envctl stop-all`',
      data = { candidates = json.array(list) },
    })
  end
  return names, explicit, projects
end

-- Projects whose isolated dependencies end with them: those that are stopped as a whole.
local function dependencies_of(ctx, doc, projects)
  local route = ctx.route
  if #route.services > 0 or route.flags.keep_dependencies then
    return nil
  end
  local out, narrowed = json.array {}, #route.projects > 0 or #route.args > 0
  for project in pairs(doc.requirements) do
    -- One that has no service left is meant when nothing is named.
    if projects[project] or not narrowed and not next(doc.services) then
      out[#out + 1] = project
    end
  end
  table.sort(out)
  return #out > 0 and out or nil
end

-- The project that has nothing but dependencies left, and is named.
local function only_dependencies(ctx, doc)
  local route = ctx.route
  local names = {}
  for project in pairs(doc.requirements) do
    names[#names + 1] = project
  end
  table.sort(names)
  local tokens = #route.projects > 0 and route.projects or route.args
  local chosen = {}
  for _, token in ipairs(tokens) do
    chosen[require('envctl.cli.targets').running(token, names)] = true
  end
  return chosen
end

---@param ctx table
---@return integer exit code
function M.run(ctx)
  require('envctl.state.paths').check(ctx.paths)
  local doc = store.read_any(ctx.paths)
  local depends = require('envctl.deps.truth').any(doc)
  if not doc or next(doc.services) == nil and not (depends and #ctx.route.services == 0) then
    local route = ctx.route
    local named = route.services[1] or route.projects[1] or route.args[1]
    if named then
      err.raise('requested_project_not_running', 'nothing runs here, so there is no "' .. named .. '" to stop')
    end
    return nothing(ctx)
  end
  local names, explicit, projects = json.array {}, false
  if next(doc.services) then
    names, explicit, projects = select_names(ctx, doc)
  else
    projects = only_dependencies(ctx, doc)
  end
  local dependencies = dependencies_of(ctx, doc, projects)
  if #names == 0 and not dependencies then
    return nothing(ctx)
  end
  if ctx.route.flags.dry_run then
    local records = {}
    for i, name in ipairs(names) do
      records[i] = doc.services[name]
    end
    return M.preview(ctx, records)
  end
  local total = 0
  for _ in pairs(doc.services) do
    total = total + 1
  end
  names = json.array(names)
  return M.execute(ctx, { names = names, dependencies = dependencies }, names, function(result)
    -- What is still up was left out, so it is not said that all of it stopped.
    if explicit or #names < total then
      return 'Stopped ' .. #result.stopped .. (#result.stopped == 1 and ' service.' or ' services.')
    end
    return 'Stopped runtime state.'
  end)
end

return M
