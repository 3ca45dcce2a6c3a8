--- data: throws the data of a project's dependencies away, or dumps and restores Postgres. Asks before anything is lost.
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local sys = require 'envctl.host.sys'
local names_of = require 'envctl.util.names'
local names_mod = require 'envctl.state.names'

local M = {}

local SEEDED = { postgres = true, redis = true }
local ACTIONS = { reset = true, seed = true, dump = true, restore = true }

--- What can be done, for completion.
M.actions = names_of.sorted(ACTIONS)

local function usage(message)
  err.raise('usage', message, { hint = 'envctl data reset|seed|dump|restore [postgres|redis] --project PROJECT' })
end

-- The words of the command: what to do, and to which dependencies.
local function words_of(route, known)
  local action = route.args[1]
  if not action then
    usage 'data: what to do?'
  elseif not ACTIONS[action] then
    usage('data: "' .. action .. '" is none of its actions')
  end
  local ids = {}
  for i = 2, #route.args do
    local id = route.args[i]
    if not known[id] then
      usage(('data: there is no dependency "%s", only %s'):format(id, table.concat(names_of.sorted(known), ', ')))
    end
    ids[#ids + 1] = id
  end
  return action, ids
end

-- What is built in, and what has stored something.
local function known_ids(holdings)
  local out = {}
  for id in pairs(require('envctl.deps.definitions').by_id) do
    out[id] = true
  end
  for _, h in ipairs(holdings) do
    out[h.id] = true
  end
  return out
end

local function projects_of(ctx, doc, holdings)
  local names, seen = {}, {}
  local function add(name)
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  for _, mode in ipairs { 'main', 'trees' } do
    for _, p in ipairs(require('envctl.repo.projects').list(ctx.roots, ctx.settings, mode)) do
      add(p.name)
    end
  end
  for name in pairs(doc and doc.requirements or {}) do
    add(name)
  end
  for _, h in ipairs(holdings) do -- of worktrees that are gone
    if h.project ~= require('envctl.deps.plan').SHARED then
      add(h.project)
    end
  end
  table.sort(names)
  return names
end

local function project_of(ctx, doc, holdings)
  local tokens = ctx.route.projects
  local names = projects_of(ctx, doc, holdings)
  if #tokens ~= 1 then
    err.raise('target_required', 'data is about one project', {
      hint = 'name it with --project: ' .. table.concat(names, ', '), data = { candidates = json.array(names) },
    })
  end
  return require('envctl.cli.targets').one('project', tokens[1], names)
end

-- Dependencies with data: those that are named, else those that have some.
local function items_of(ctx, action, ids, project, holdings)
  local items = json.array {}
  if #ids == 0 and (action == 'reset' or action == 'seed') then
    local of = action == 'seed' and 'Main' or project
    for _, h in ipairs(holdings) do
      ids[#ids + 1] = h.project == of and (action == 'reset' or SEEDED[h.id]) and h.id or nil
    end
  elseif #ids == 0 then
    ids[1] = 'postgres'
  end
  for i, id in ipairs(ids) do
    local scope = ctx.settings:get(require('envctl.deps.definitions').key(id, 'SCOPE'))
    if scope == 'shared' and (action == 'reset' or action == 'seed') then
      err.raise('not_supported', id .. ' is shared: the data of one project cannot be deleted apart', {
        hint = 'drop its database with psql', where = names_mod.short(project, id),
      })
    end
    items[i] = { project = project, id = id }
  end
  return items
end

local LOSES = { reset = 'delete the data of', seed = 'replace the data of', restore = 'replace the data of' }

local function confirm(ctx, action, items)
  local flags = ctx.route.flags
  local list = {}
  for i, item in ipairs(items) do
    list[i] = names_mod.short(item.project, item.id)
  end
  local what = ('%s %s'):format(LOSES[action], table.concat(list, ', '))
  if flags.yes then
    return true
  elseif flags.headless or ctx.out.is_json or not (sys.isatty(0) and sys.isatty(1)) then
    err.raise('confirmation_required', 'this would ' .. what, { hint = 'give --yes; see it with --dry-run' })
  end
  sys.write(1, 'Really ' .. what .. '? [y/N] ')
  local answer = (sys.read_line() or ''):lower()
  return answer == 'y' or answer == 'yes'
end

local function file_of(ctx, action, items)
  if action == 'reset' or action == 'seed' then
    return nil
  end
  local file = ctx.route.flags.file
  if not file then
    if action == 'restore' then
      usage 'data restore: which file? give --file'
    end
    local stamp = sys.iso_time(sys.wall_ms()):gsub('[-:T]', ''):sub(1, 14)
    file = ('%s-%s-%s.dump'):format(names_mod.file(items[1].project), items[1].id, stamp)
  end
  return require('envctl.util.path').absolute(file, sys.cwd(), sys.home())
end

local function report(ctx, action, result)
  if ctx.out.is_json then
    ctx.out.json { schema = 'envctl.data.v1', ok = true, command = 'data', action = action, items = result.items }
    return 0
  end
  if #result.items == 0 then
    ctx.out.text 'There is no data.'
  end
  for _, item in ipairs(result.items) do
    local name = names_mod.short(item.project, item.dependency)
    if action == 'reset' then
      ctx.out.text(item.removed and ('%s: data is gone (%s)'):format(name, item.path) or name .. ': there was no data')
    elseif action == 'seed' then
      ctx.out.text(('%s: begins with a copy of the data of %s when it is started next'):format(name, item.from))
    elseif action == 'dump' then
      ctx.out.text(('%s: %s (%d bytes)'):format(name, item.file, item.bytes or 0))
    else
      ctx.out.text(('%s: restored from %s'):format(name, item.file))
    end
  end
  return 0
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  require('envctl.state.paths').check(ctx.paths)
  local doc = require('envctl.state.store').read(ctx.paths)
  local holdings, base = require('envctl.deps.holdings').list(ctx, doc)
  local action, ids = words_of(ctx.route, known_ids(holdings))
  local project = project_of(ctx, doc, holdings)
  local items = items_of(ctx, action, ids, project, holdings)
  if #items == 0 then
    return report(ctx, action, { items = json.array {} })
  end
  local file = file_of(ctx, action, items)
  if ctx.route.flags.dry_run then
    for _, item in ipairs(items) do
      ctx.out.text(('would %s %s%s'):format(action, names_mod.short(item.project, item.id), file and ' ' .. file or ''))
    end
    if ctx.out.is_json then
      ctx.out.json {
        schema = 'envctl.data.v1', ok = true, command = 'data', action = action, dry_run = true, items = items,
      }
    end
    return 0
  end
  if LOSES[action] and not confirm(ctx, action, items) then
    return 2
  end
  local view = require('envctl.ui.progress').new(ctx)
  local closing <close> = setmetatable({}, { __close = view.close }) -- luacheck: ignore 211
  return report(ctx, action, require('envctl.keeper.client').request(ctx, {
    op = 'data', command = 'data', action = action, items = items, base = base, file = file,
    password = require('envctl.deps.select').written_password(ctx.settings, 'postgres'), env = sys.environ(),
  }, function() end))
end

return M
