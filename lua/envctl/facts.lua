--- Everything the planner may know, collected once: configuration, projects and what is in them, reservations, the saved state and
--- what of it is true. The only place before a plan that looks at the world; it writes nothing and runs nothing.
local M = {}

-- Bases of the ports that envctl knows by itself: id -> key. Postgres and Supabase are alternatives and share one.
local BASE_KEYS = {
  backend = 'BACKEND_PORT_BASE',
  frontend = 'FRONTEND_PORT_BASE',
  postgres = 'DB_PORT',
  supabase = 'DB_PORT',
  redis = 'REDIS_PORT',
  n8n = 'N8N_PORT_BASE',
}
local SERVICES = { 'backend', 'frontend' }
local DEPENDENCIES = { 'n8n', 'postgres', 'redis', 'supabase' }

-- Looking for free ports ends somewhere even when every look finds another one taken.
local MAX_SETTLE_ROUNDS = 200

local LAST_PRIVILEGED = 1023

local function plain_error(e)
  return require('envctl.err').to_table(e)
end

local function plain_errors(list)
  local out = {}
  for i, e in ipairs(list or {}) do
    out[i] = plain_error(e)
  end
  return out
end

local function dependency_flags(enabled, mode, flags)
  if mode ~= 'main' then
    return
  end
  if flags.main_services_local then
    enabled.postgres, enabled.supabase, enabled.n8n = nil, true, true
  elseif flags.main_services_remote then
    enabled.supabase, enabled.n8n = nil, nil
  end
end

local function where_of(origin)
  if origin and origin.file then
    return origin.line and origin.file .. ':' .. origin.line or origin.file
  end
end

local function conflict_of(enabled, settings, mode, flags)
  if flags.main_services_local and flags.main_services_remote then
    return {
      code = 'config_invalid', message = '--main-services-local and --main-services-remote exclude each other',
      hint = 'give one of them',
    }
  elseif enabled.postgres and enabled.supabase then
    local key = mode:upper() .. '_SUPABASE_ENABLE'
    return {
      code = 'config_invalid', message = 'postgres and supabase cannot both be enabled in ' .. mode .. ' mode',
      hint = 'switch one of them off', where = where_of(settings:origin(key)),
    }
  end
end

-- Which dependencies there are, and from whom, where scripts decide that: changes `enabled`, and returns the providers.
local function ask_dependencies(known, enabled, settings, mode, root, decide)
  local chosen = decide('deps.select', { mode = mode, root = root, known = known }, function()
    local out = {}
    for _, id in ipairs(known) do
      local provider = settings:get(require('envctl.deps.definitions').key(id, 'PROVIDER')) or 'auto'
      out[id] = enabled[id] and provider ~= 'off' and provider or false
    end
    return out
  end, 'dependencies')
  local providers = {}
  for _, id in ipairs(known) do
    enabled[id] = chosen[id] and true or nil
    providers[id] = type(chosen[id]) == 'string' and chosen[id] or nil
  end
  return providers
end

--- The part of the configuration that the planner uses, as plain data. Awaits where scripts decide about dependencies.
---@param settings table
---@param mode 'main'|'trees'
---@param flags table route flags
---@param root string
---@param session envctl.script.Session?
---@param declared table<string, envctl.deps.Definition>? dependencies that only scripts know
---@return table
function M.config(settings, mode, flags, root, session, declared)
  local upper = mode:upper()
  local enabled, list, known = {}, {}, table.move(DEPENDENCIES, 1, #DEPENDENCIES, 1, {})
  for _, id in ipairs(DEPENDENCIES) do
    enabled[id] = settings:get(upper .. '_' .. id:upper() .. '_ENABLE') == true or nil
  end
  for _, id in ipairs(require('envctl.util.names').sorted(declared or {})) do
    known[#known + 1], enabled[id] = id, true
  end
  dependency_flags(enabled, mode, flags)
  local wanted
  if session and session.overrides['deps.select'] then
    wanted = ask_dependencies(known, enabled, settings, mode, root, require('envctl.script.join').decider(session))
  end
  for _, id in ipairs(known) do
    list[#list + 1] = enabled[id] and id or nil
  end
  local bases, on = {}, {}
  for id, key in pairs(BASE_KEYS) do
    bases[id] = { port = settings:get(key) }
  end
  for _, name in ipairs(SERVICES) do
    on[name] = settings:get(upper .. '_' .. name:upper() .. '_ENABLE') ~= false
  end
  local startup_key = upper .. '_STARTUP_ENABLE'
  return {
    startup_enabled = settings:get(startup_key) ~= false,
    startup_origin = settings:origin(startup_key),
    services = on,
    dependencies = list,
    wanted_providers = wanted,
    bases = bases,
    conflict = conflict_of(enabled, settings, mode, flags),
    spacing = settings:get 'PORT_SPACING' or 20,
    strategy = settings:get 'ENVCTL_PORT_PREFERRED_STRATEGY' or 'project_slot',
    availability = settings:get 'ENVCTL_PORT_AVAILABILITY_MODE',
    parallel = {
      enabled = settings:get 'RUN_SH_OPT_PARALLEL_TREES' ~= false,
      max = math.max(settings:get 'RUN_SH_OPT_PARALLEL_TREES_MAX' or 4, 1),
    },
  }
end

-- Whether a person sits at the other end.
local function is_interactive(sys)
  local term = sys.getenv 'TERM'
  return sys.isatty(0) and sys.isatty(1) and term ~= nil and term ~= '' and term ~= 'dumb' and not sys.getenv 'CI'
end

local function guarded(fn, ...)
  local ok, result, second = pcall(fn, ...)
  if ok then
    return nil, result, second
  end
  local err = require 'envctl.err'
  if not err.is(result) then
    error(result, 0)
  end
  return plain_error(result)
end

-- The saved state and what of it is true. What cannot be read is a fact as well: it stops a start, not an explanation.
local function read_saved(facts, ctx)
  local state, e
  facts.state_error, state = guarded(function()
    return require('envctl.state.store').read(ctx.paths)
  end)
  facts.state, facts.truth = state, require('envctl.resume.health').truth(state)
  e, facts.ledger = guarded(function()
    return require('envctl.state.ports_table').read(ctx.paths)
  end)
  facts.ports_error, facts.ledger = e, facts.ledger or {}
end

-- Ports of what runs, or may run: of what cannot be told nothing is taken away.
local function own_ports(facts)
  local own = {}
  for name, record in pairs(facts.state and facts.state.services or {}) do
    if facts.truth.services[name].alive ~= false then
      own[record.requested_port or 0], own[record.actual_port or 0] = true, true
    end
  end
  require('envctl.deps.truth').each(facts.state, function(project, id, component)
    if facts.truth.dependencies[project .. '/' .. id].alive ~= false then
      for _, number in pairs(component.ports or {}) do
        own[number] = true
      end
    end
  end)
  return own
end

--- The reservations that are left once those of this repository are forgotten: of its projects only what runs keeps its ports.
---@param facts table
---@param entries table[]
---@return table[] entries, table<string, boolean> running the projects that keep theirs
function M.without_own(facts, entries)
  local own, running, left = own_ports(facts), {}, {}
  for _, e in ipairs(entries) do
    running[e.project] = running[e.project] or e.scope == facts.scope_id and own[e.port] or nil
  end
  for _, e in ipairs(entries) do
    if e.scope ~= facts.scope_id or running[e.project] then
      left[#left + 1] = e
    end
  end
  return left, running
end

-- One word brings back one mode: what should run of the other one is not passed over in silence.
local function name_other_mode(facts)
  local down = {}
  for name, record in pairs(facts.state and facts.state.services or {}) do
    local mode = record.mode or facts.state.mode
    if mode ~= facts.mode and record.status ~= 'stopped' and facts.truth.services[name].alive == false then
      down[name] = true
    end
  end
  if next(down) then
    local names = require 'envctl.util.names'
    facts.notices[#facts.notices + 1] = {
      code = 'other_mode_down',
      message = ('%s should run as well: envctl resume --%s'):format(names.listed(names.sorted(down)),
        facts.mode == 'main' and 'trees' or 'main'),
    }
  end
end

local function forget_ports(facts)
  local running
  facts.ledger, running = M.without_own(facts, facts.ledger)
  for _, project in ipairs(require('envctl.util.names').sorted(running)) do
    facts.notices[#facts.notices + 1] = {
      code = 'ports_kept', project = project,
      message = project .. ' runs, so its ports stay as they are; stop it first to have them chosen anew',
    }
  end
end

local function recorded_projects(facts)
  local state, out = facts.state or {}, {}
  for _, record in pairs(require('envctl.plan.reuse').saved(facts).services) do
    out[record.project] = true
  end
  for project in pairs(state.mode == facts.mode and state.requirements or {}) do
    out[project] = true
  end
  return out
end

-- Plan files are only looked for where a choice depends on them.
local function plan_files(ctx, facts, route)
  if facts.mode ~= 'trees' or #route.projects > 0 then
    return {}
  end
  return require('envctl.repo.plans').list(ctx.roots, ctx.settings)
end

local function uses_user_env(services)
  for _, s in ipairs(services) do
    for _, text in pairs(s.env or {}) do
      if tostring(text):find('${env.', 1, true) then
        return true
      end
    end
    for _, word in ipairs(type(s.command) == 'table' and s.command or { s.command }) do
      if word:find('${env.', 1, true) then
        return true
      end
    end
  end
  return false
end

-- Adds what an env file says that somebody has chosen. It beats what is handed over by default, which is said, and nothing else.
local function add_env_file(facts, project, service, file)
  service.env.APP_ENV_FILE = service.env.APP_ENV_FILE or file.file
  for _, entry in ipairs(file.entries) do
    local origin = service.origin['env.' .. entry.key]
    local handed = origin and origin.evidence == 'dependency'
    if service.env[entry.key] == nil or handed or origin and origin.layer == 'env_file' then
      service.env[entry.key] = entry.value:gsub('%${', '$${') -- no shell, and nothing of ours
      service.origin['env.' .. entry.key] = { layer = 'env_file', file = file.shown, line = entry.line }
    end
    if handed then
      facts.notices[#facts.notices + 1] = {
        code = 'env_file_wins',
        message = ('%s is what %s says, not what the dependency provides'):format(entry.key, file.shown),
        where = file.shown .. ':' .. entry.line, project = project.name, service = service.name,
      }
    end
  end
end

-- Adds what the launch env sections say to a service. Lines without a source are left out, which is said.
local function add_launch_env(facts, settings, project, service, sources)
  local sections = settings.sections
  if #sections.list == 0 and next(sources) == nil then
    return
  end
  local resolved = require('envctl.config.launch_env').resolve(sections, service.name, sources)
  local open_ports = next(sources) and require('envctl.deps.definitions').open_ports
  for _, v in ipairs(resolved.variables) do
    -- What is handed over by default never takes the place of what the service says itself.
    if v.line or service.env[v.name] == nil then
      local text = v.value:gsub('%${', '$${') -- it is filled in already
      service.env[v.name] = open_ports and open_ports(text) or text
      service.secrets = service.secrets or {}
      service.secrets[v.name] = v.secret or nil
      service.origin['env.' .. v.name] = v.line and { layer = 'dotenv', file = settings.shown, line = v.line }
        or { layer = 'bundled', evidence = 'dependency' }
    end
  end
  for _, skipped in ipairs(resolved.skipped) do
    facts.notices[#facts.notices + 1] = {
      code = 'launch_env_skipped',
      message = string.format('%s is left out: %s is not there', skipped.name, skipped.missing),
      where = settings.shown .. ':' .. skipped.line,
      project = project.name,
      service = service.name,
    }
  end
end

-- What was found on disk, with what the scripts say about it on top.
local function with_scripts(session, facts, project, found)
  local services, skipped, more, doubts = session:merge_services({
    name = project.name, mode = facts.mode, root = project.place or project.root, files = project.root,
    skipped = found.skipped,
  }, found.services)
  local problems, warnings = {}, {}
  table.move(found.problems or {}, 1, #(found.problems or {}), 1, problems)
  table.move(more, 1, #more, #problems + 1, problems)
  table.move(found.warnings or {}, 1, #(found.warnings or {}), 1, warnings)
  table.move(doubts, 1, #doubts, #warnings + 1, warnings)
  return services, skipped, problems, warnings
end

-- `backend=false` on the command line leaves a service out of this one start.
local function switched_off(flags)
  local off = {}
  for _, name in ipairs(SERVICES) do
    off[name] = flags[name] == false or nil
  end
  return off
end

local function detected(facts, project, settings, flags, session, without_of)
  if project.missing then
    local text = 'the worktree of ' .. project.name .. ' is gone: ' .. project.root
    local gone = {
      code = 'worktree_missing', message = text, hint = require('envctl.repo.projects').MISSING,
      where = project.name,
    }
    return {
      name = project.name, mode = facts.mode, root = project.root, services = {}, skipped = {}, warnings = {},
      problems = { gone },
    }
  end
  local found = require('envctl.detect').services({
    name = project.name, mode = facts.mode, root = project.root, off = switched_off(flags),
    no_prepare = flags.no_prepare, place = project.place,
  }, settings)
  local services, skipped, problems, warnings = found.services, found.skipped, found.problems, found.warnings
  if session then
    services, skipped, problems, warnings = with_scripts(session, facts, project, found)
  end
  -- Dependencies that this project does not get, by id, and why.
  local without = without_of {
    name = project.name, mode = facts.mode, root = project.place or project.root, files = project.root,
  }
  for _, id in ipairs(facts.config.dependencies) do
    if without[id] then
      skipped[#skipped + 1] = { name = id, reason = without[id], enabled = false }
    end
  end
  local sources = require('envctl.deps.plan').sources(facts, {
    name = project.name, root = project.root, without = without,
  })
  for _, service in ipairs(services) do
    add_launch_env(facts, settings, project, service, sources)
    local file, problem = require('envctl.config.env_file').read(settings, service.name, project, facts.control_root)
    if file then
      add_env_file(facts, project, service, file)
    elseif problem then
      table.insert(problem.warning and warnings or problems, problem)
    end
  end
  if uses_user_env(services) then
    facts.env = require('envctl.host.sys').environ()
  end
  return {
    name = project.name,
    mode = facts.mode,
    root = project.root,
    worktree = project.worktree,
    services = services,
    skipped = skipped,
    without = without,
    problems = problems,
    warnings = warnings,
  }
end

local function setup_of(flags)
  if flags.setup_worktree or flags.setup_worktrees then
    return {
      many = flags.setup_worktrees or {}, single = flags.setup_worktree or {},
      include = flags.include_existing_worktrees or {}, reuse = flags.setup_worktree_existing == true,
      recreate = flags.setup_worktree_recreate == true,
    }
  end
end

local function planning_of(ctx)
  local root = require('envctl.repo.plans').root(ctx.roots, ctx.settings)
  local base = ctx.roots.root
  return { root = root, base = base, relative = require('envctl.util.path').below(root, base) }
end

-- Names, places and bases of the worktrees that would be made. Nothing is made.
local function propose_trees(ctx, facts, wanted_base)
  local create = facts.selection.create
  if #create == 0 then
    return
  end
  local worktrees = require 'envctl.repo.worktrees'
  local e, trees = guarded(function()
    return worktrees.propose_all(ctx, create, facts.discovered, wanted_base)
  end)
  if e then
    table.insert(facts.selection.problems, e)
  end
  facts.selection.trees = trees or {}
end

-- A name that is none in this mode may be one in the other: what is missing is a flag then.
local function hint_at_mode(ctx, facts, tokens)
  local other, known, names = facts.mode == 'main' and 'trees' or 'main', {}, require 'envctl.util.names'
  for i, project in ipairs(require('envctl.repo.projects').list(ctx.roots, ctx.settings, other)) do
    known[i] = project.name
  end
  for _, token in ipairs(tokens) do
    local hits, said = names.matching(token, known), names.problem('project', token, {}, {}).message
    for _, problem in ipairs(#hits == 1 and facts.selection.problems or {}) do
      if problem.message == said then
        local what = other == 'trees' and ' is a worktree' or ' is the main working tree'
        problem.hint = hits[1] .. what .. ': add --' .. other
      end
    end
  end
end

-- What would be lost with worktrees that are too many is a reason not to begin.
local function guard_removal(ctx, facts, force)
  local remove = facts.selection.remove or {}
  if #remove > 0 and not force then
    local e = guarded(function()
      local removal = require 'envctl.repo.removal'
      removal.check(removal.look(ctx, remove))
    end)
    if e then
      table.insert(facts.selection.problems, e)
    end
  end
end

-- A worktree that is not there yet will hold what its base holds: what is checked out here stands for it.
local function detected_new(ctx, facts, tree, settings, flags, without_of)
  local there = { name = tree.project, root = ctx.roots.execution_root, place = tree.path }
  local project = detected(facts, there, settings, flags, ctx:scripts(), without_of)
  project.root = tree.path
  project.worktree = { action = 'create', branch = tree.branch, base = tree.base }
  return project
end

local function mode_of(ctx, route, command)
  if command == 'plan' then
    return 'trees'
  end
  return route.mode or ctx.settings:get 'ENVCTL_DEFAULT_MODE' or 'main'
end

--- Collects everything for one command. Ports are not looked at yet (see plan()).
---@param ctx table context
---@param opts? {command: string?, route: envctl.Route?} route: the one to explain, when it is not the context's own
---@return table facts
function M.gather(ctx, opts)
  opts = opts or {}
  local route = opts.route or ctx.route
  local sys = require 'envctl.host.sys'
  local settings, flags = ctx.settings, route.flags
  local command = opts.command or route.command
  local mode = mode_of(ctx, route, command)
  local tty = is_interactive(sys)
  local asked = flags.headless or (route == ctx.route and flags.json)
  local declared, provides, without_of = require('envctl.deps.scripted').read(ctx:scripts(), settings)
  local facts = {
    command = command,
    mode = mode,
    implicit = route.implicit == true,
    headless = asked == true or not tty,
    interactive_tty = tty,
    scope_id = ctx.paths.scope_id,
    control_root = ctx.roots.root,
    configured = settings.configured == true,
    config_errors = plain_errors(settings.errors),
    config_warnings = plain_errors(settings.warnings),
    config = M.config(settings, mode, flags, ctx.roots.root, ctx:scripts(), declared),
    no_resume = flags.no_resume == true,
    startup_detour = (flags.planning_prs or flags.setup_worktree or flags.setup_worktrees) ~= nil,
    service_filter = #route.services > 0 and route.services or nil,
    notices = {},
    busy = {},
    projects = {},
  }
  read_saved(facts, ctx)
  local moved = not facts.state and require('envctl.resume.moved').notice(ctx)
  if moved then
    facts.notices[#facts.notices + 1] = { code = 'repository_moved', message = moved }
  end
  if command == 'resume' then
    name_other_mode(facts)
  end
  if flags.clear_port_state then
    forget_ports(facts)
  end
  require('envctl.deps.select').gather(ctx, facts, flags, { declared = declared, provides = provides })
  facts.discovered = require('envctl.repo.projects').list(ctx.roots, settings, mode)
  local plans = plan_files(ctx, facts, route)
  facts.preselected = {}
  if mode == 'trees' then
    local remembered = require('envctl.state.selection').read(ctx.paths).projects
    local recorded = recorded_projects(facts)
    facts.preselected = require('envctl.plan.selection').preselected(facts.discovered, recorded, remembered, function()
      return require('envctl.repo.plans').projects_of(plans, facts.discovered)
    end)
  end
  facts.selection = require('envctl.plan.selection').select {
    counts = flags.count,
    setup = setup_of(flags),
    planning = #plans > 0 and planning_of(ctx) or nil,
    command = command,
    mode = mode,
    headless = facts.headless,
    all = flags.all == true,
    projects = route.projects,
    args = route.args,
    discovered = facts.discovered,
    preselected = facts.preselected,
    recorded = recorded_projects(facts),
    plans = plans,
  }
  for _, n in ipairs(facts.selection.notices or {}) do
    facts.notices[#facts.notices + 1] = n
  end
  if #facts.selection.problems > 0 and command ~= 'plan' then
    hint_at_mode(ctx, facts, route.projects)
    hint_at_mode(ctx, facts, route.args)
  end
  if settings:get 'PLANNING_KEEP_PLAN' then
    facts.selection.archive = nil
  end
  if facts.selection.create and #facts.selection.problems == 0 then
    propose_trees(ctx, facts, flags.base)
    guard_removal(ctx, facts, flags.force)
  end
  if facts.config.startup_enabled then
    local preparing = {
      paths = ctx.paths, path = require('envctl.host.sys').getenv 'PATH', off = flags.no_prepare,
      again = flags.refresh_cache, fast = flags.fast, resuming = command == 'resume',
    }
    for i, project in ipairs(facts.selection.selected) do
      facts.projects[i] = detected(facts, project, settings, flags, ctx:scripts(), without_of)
      facts.projects[i].worktree = ctx.created and ctx.created[project.name] or nil
    end
    for _, tree in ipairs(facts.selection.trees or {}) do
      facts.projects[#facts.projects + 1] = detected_new(ctx, facts, tree, settings, flags, without_of)
    end
    for _, project in ipairs(facts.projects) do
      require('envctl.prepare.steps').decide(project, project.services, preparing)
    end
    if #(facts.selection.trees or {}) > 0 then
      -- In the order in which they will be found.
      table.sort(facts.projects, function(a, b)
        return a.name < b.name
      end)
    end
  end
  return facts
end

-- How a port is found to be free: a function like port.check.
local function probe_of(availability)
  local port = require 'envctl.host.port'
  if availability ~= 'listener_query' then
    return port.check
  end
  local listeners = port.listeners()
  return function(number)
    return not listeners[number]
  end
end

-- What a port that cannot be had is refused with.
local TAKEN = { EADDRINUSE = true, EACCES = true }

-- One look at the ports that would be used. True when one of them is taken, which changes the plan.
local function look(facts, assigned, checked, own, probe)
  local found = false
  for _, result in pairs(assigned) do
    for _, number in pairs(result.ports) do
      if not checked[number] and not own[number] then
        checked[number] = true
        local free, message, code = probe(number)
        if not free then
          -- Any other failure is one of the look, and no reason to move.
          require('envctl.err').check(TAKEN[code or 'EADDRINUSE'], message, code)
          facts.busy[number] = {}
          found = true
          for below = 1, code == 'EACCES' and LAST_PRIVILEGED or 0 do
            facts.busy[below] = { denied = true }
          end
        end
      end
    end
  end
  return found
end

-- After the first surprise everything that listens is known, so that a crowded machine does not take a look per port.
local function add_listeners(facts, own)
  for number in pairs(require('envctl.host.port').listeners()) do
    if not own[number] then
      facts.busy[number] = facts.busy[number] or {}
    end
  end
end

-- What the kernel says about the sockets on a port that no process is seen to have.
local function unseen_holder(number)
  local found = {}
  for _, s in ipairs(require('envctl.host.port').sockets(number)) do
    found[s.state] = s
  end
  local socket = found.listen or found.bound or found.connection
  return socket and socket.inode ~= 0 and { uid = socket.uid } or found['time-wait'] and { lingers = true } or nil
end

-- Who holds what is in the way is only looked up for what will be said. True when something turned out not to be in the way: what
-- held a port for a moment is no reason to move.
local function name_holders(facts, assigned)
  local wanted, gone = {}, false
  local function want(conflict)
    if conflict and conflict.holder.kind == 'busy' and not conflict.holder.denied then
      wanted[#wanted + 1] = conflict.port
    end
  end
  for _, result in pairs(assigned) do
    want(result.moved and result.moved.conflicts[1])
    for _, p in ipairs(result.problems) do
      want(p.code == 'port_taken' and p or p.conflicts and p.conflicts[1])
    end
  end
  local holders = #wanted > 0 and require('envctl.host.procfs').holders(wanted)
  for _, number in ipairs(wanted) do
    local known = holders[number] or unseen_holder(number)
    local free = not known and probe_of(facts.config.availability)(number) == true
    facts.busy[number] = not free and (known or {}) or nil
    gone = gone or free
  end
  return gone
end

--- Looks at the ports that would be used until the plan stands on free ones. Fills facts.busy.
---@param facts table
---@param decide function? asks override points
---@param planner envctl.plan.Planner? in place of the bundled one
function M.settle_ports(facts, decide, planner)
  local plan = require 'envctl.plan'
  local looks, listed, checked, own = facts.config.availability ~= 'lock_only', false, {}, own_ports(facts)
  local probe = looks and probe_of(facts.config.availability)
  local assigned = plan.ports(facts, decide, planner)
  for _ = 1, MAX_SETTLE_ROUNDS do
    if looks and look(facts, assigned, checked, own, probe) then
      if not listed then
        listed = true
        add_listeners(facts, own)
      end
    elseif not name_holders(facts, assigned) then
      return
    end
    assigned = plan.ports(facts, decide, planner)
  end
  name_holders(facts, assigned)
end

-- What a plan with scripts needs in any case. It is loaded while the script host, another process, reads the scripts.
local ROOMS = {
  'script.points', 'script.schema', 'script.merge', 'script.services', 'script.acting', 'script.diff', 'state.paths',
  'state.store', 'state.ports_table', 'deps.select', 'deps.plan', 'deps.truth', 'repo.projects', 'plan.selection',
  'plan.startup', 'detect.python', 'detect.node',
}

local function load_rooms()
  for _, name in ipairs(ROOMS) do
    require('envctl.' .. name)
  end
end

--- Facts, and the plan from them: what explain-startup shows and what start carries out.
---@param ctx table
---@param opts? {command: string?, route: envctl.Route?}
---@return table facts, table document, table<string, table<string, string>> secrets
function M.plan(ctx, opts)
  local session = ctx:scripts(load_rooms)
  local facts = M.gather(ctx, opts)
  local join = require 'envctl.script.join'
  local decide, planner = join.decider(session), join.module(session, 'plan.startup')
  if session then
    facts.scripts = session:scripts()
    for _, w in ipairs(session.loaded.warnings) do
      facts.config_warnings[#facts.config_warnings + 1] = w
    end
    if not session.trusted then
      local e = require('envctl.script.trust').untrusted(session)
      facts.untrusted = { code = e.code, message = e.message, hint = e.hint, where = e.where }
    end
  end
  if #facts.projects > 0 then
    M.settle_ports(facts, decide, planner)
  end
  local document, secrets = require('envctl.plan').build(facts, decide, planner)
  if session then
    document.overrides = session:report()
  end
  return facts, document, secrets
end

return M
