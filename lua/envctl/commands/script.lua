--- script points|check|eject|repl|trust|untrust|status: for the people who write .envctl.lua.
local err = require 'envctl.err'
local json = require 'envctl.util.json'

local M = {}

--- What can be done, for completion as well.
M.actions = { 'check', 'eject', 'points', 'repl', 'status', 'trust', 'untrust' }

local function document(ctx, name, fields)
  fields.schema = 'envctl.script_' .. name .. '.v1'
  fields.command = 'script'
  if fields.ok == nil then
    fields.ok = true
  end
  ctx.out.json(fields)
end

local function no_words(ctx, name, most)
  if #ctx.route.args > most + 1 then
    err.raise('unknown_target', '`script ' .. name .. '` takes ' .. (most == 0 and 'no names' or 'one name'), {
      hint = most == 0 and 'it is about all layers of this repository' or nil,
    })
  end
end

-- Runs fn(session), or fn(nil) where there is no script.
local function with_session(ctx, fn)
  local session <close> = require('envctl.script.host').open(ctx)
  local result = fn(session)
  if session then
    session:close()
  end
  return result
end

-- --- points -----------------------------------------------------------------------------------------------------------

local function point_object(p)
  return {
    name = p.name, since = p.since, available = p.available, doc = p.doc, input = p.input, returns = p.returns,
    example = { input = p.sample.input, output = p.sample.output },
  }
end

local function module_object(m)
  local functions = json.array {}
  local names = {}
  for name in pairs(m.functions) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local f = m.functions[name]
    functions[i] = { name = name, args = f.args, returns = f.returns }
  end
  return { name = m.name, since = m.since, available = m.available, doc = m.doc, functions = functions }
end

local function print_point(out, p)
  out.text(p.name .. ': ' .. p.doc .. (p.available and '' or ' (not asked by this envctl yet)'))
  local fields = {}
  for field in pairs(p.input) do
    fields[#fields + 1] = field
  end
  table.sort(fields)
  for _, field in ipairs(fields) do
    out.text(string.format('  ctx.%-10s %s', field, p.input[field]))
  end
  out.text('  returns: ' .. p.returns)
  out.text('  example of ctx: ' .. json.encode_line(p.sample.input))
end

local function hook_objects()
  local out = json.array {}
  for i, h in ipairs(require('envctl.script.points').hook_list) do
    out[i] = { name = h.name, available = h.available, doc = h.doc, ev = h.ev }
  end
  return out
end

local function points(ctx)
  no_words(ctx, 'points', 1)
  local registry = require 'envctl.script.points'
  local name = ctx.route.args[2]
  if name and not registry.by_name[name] then
    local known = {}
    for i, p in ipairs(registry.list) do
      known[i] = p.name
    end
    err.raise('unknown_target', 'there is no override point "' .. name .. '"', {
      hint = require('envctl.script.suggest').hint(name, known, 'points'),
    })
  end
  if ctx.out.is_json then
    local list, modules = json.array {}, json.array {}
    for _, p in ipairs(registry.list) do
      if not name or p.name == name then
        list[#list + 1] = point_object(p)
      end
    end
    for i, m in ipairs(registry.module_list) do
      modules[i] = module_object(m)
    end
    document(ctx, 'points', { points = list, modules = modules, hooks = hook_objects() })
    return 0
  end
  if name then
    print_point(ctx.out, registry.by_name[name])
    return 0
  end
  for _, p in ipairs(registry.list) do
    ctx.out.text(string.format('%-18s %s%s', p.name, p.doc, p.available and '' or ' (not asked by this envctl yet)'))
  end
  ctx.out.text ''
  ctx.out.text 'Hooks, on = { … }:'
  for _, h in ipairs(registry.hook_list) do
    ctx.out.text(string.format('%-18s %s%s', h.name, h.doc, h.available and '' or ' (not called by this envctl yet)'))
  end
  ctx.out.text ''
  ctx.out.text 'Modules that a script can replace whole:'
  for _, m in ipairs(registry.module_list) do
    ctx.out.text(string.format('%-18s %s%s', m.name, m.doc, m.available and '' or ' (not used by this envctl yet)'))
  end
  return 0
end

-- --- check ------------------------------------------------------------------------------------------------------------

local function print_findings(ctx, findings)
  for _, list in ipairs { { 'error', findings.errors }, { 'warning', findings.warnings } } do
    for _, f in ipairs(list[2]) do
      local where = type(f.where) == 'string' and f.where:find ':%d+$' and not f.message:find(f.where, 1, true)
      ctx.out.text(list[1] .. ': ' .. (where and f.where .. ': ' or '') .. f.message)
      if f.hint and f.hint ~= json.null then
        ctx.out.text('  ' .. f.hint)
      end
    end
  end
  ctx.out.text(string.format('%d %s, %d %s', #findings.errors, #findings.errors == 1 and 'error' or 'errors',
    #findings.warnings, #findings.warnings == 1 and 'warning' or 'warnings'))
end

local function check(ctx)
  no_words(ctx, 'check', 0)
  return with_session(ctx, function(session)
    if not session then
      if ctx.out.is_json then
        document(ctx, 'check', { scripts = json.array {}, errors = json.array {}, warnings = json.array {} })
      else
        ctx.out.text 'There is no script here.'
      end
      return 0
    end
    local checks = require 'envctl.script.check'
    local findings = checks.run(session, ctx)
    if #findings.errors == 0 then
      checks.plan(ctx, findings)
    end
    local ok = #findings.errors == 0
    if ctx.out.is_json then
      document(ctx, 'check', {
        ok = ok, scripts = session:scripts(), errors = findings.errors, warnings = findings.warnings,
      })
    else
      for _, s in ipairs(session:scripts()) do
        ctx.out.text(s.path .. ' (' .. s.layer .. ')')
      end
      print_findings(ctx, findings)
    end
    return ok and 0 or 1
  end)
end

-- --- trust ------------------------------------------------------------------------------------------------------------

local function status(ctx)
  no_words(ctx, 'status', 0)
  local host = require 'envctl.script.host'
  local cage = host.cage()
  cage.notes = json.array(cage.notes)
  return with_session(ctx, function(session)
    local errors = json.array {}
    local scripts = json.array {}
    if session then
      for i, e in ipairs(session:load({ collect = true }).errors) do
        errors[i] = err.to_table(e, json.null)
      end
      scripts = session:scripts()
    end
    if ctx.out.is_json then
      document(ctx, 'status', {
        scripts = scripts, errors = errors, bundled = host.bundled(ctx), cage = cage,
        trusted = not session or session.trusted == true, trust_store = require('envctl.script.trust').directory(),
      })
      return 0
    end
    for _, s in ipairs(scripts) do
      ctx.out.text(string.format('%s (%s): %s', s.path, s.layer, s.trusted and 'trusted' or 'not trusted'))
      ctx.out.text('  sha256 ' .. s.sha256)
      for _, include in ipairs(s.includes) do
        ctx.out.text('  includes ' .. include.path)
      end
    end
    if #scripts == 0 then
      ctx.out.text(host.bundled(ctx) and 'Scripts are left out (--bundled).' or 'There is no script here.')
    end
    for _, e in ipairs(errors) do
      ctx.out.text('error: ' .. e.message)
    end
    ctx.out.text('script host: separate process, resource limits' .. (cage.seccomp and ', seccomp' or '')
      .. (cage.landlock > 0 and ', Landlock ' .. cage.landlock or ''))
    for _, note in ipairs(cage.notes) do
      ctx.out.text('  not in force: ' .. note)
    end
    return 0
  end)
end

local function trust(ctx)
  no_words(ctx, 'trust', 0)
  return with_session(ctx, function(session)
    local list = json.array {}
    if session then
      session:load()
      require('envctl.script.trust').trust(session)
      for _, s in ipairs(session:scripts()) do
        if s.layer ~= 'user' then
          list[#list + 1] = { path = s.path, sha256 = s.sha256 }
        end
      end
    end
    if ctx.out.is_json then
      document(ctx, 'trust', { trusted = list })
      return 0
    end
    for _, s in ipairs(list) do
      ctx.out.text('trusted ' .. s.path .. ' (sha256 ' .. s.sha256 .. ')')
    end
    if #list == 0 then
      ctx.out.text 'There is no script here.'
    end
    return 0
  end)
end

local function untrust(ctx)
  no_words(ctx, 'untrust', 0)
  local store = require 'envctl.script.trust'
  local count = store.forget(store.identity(ctx.roots))
  if ctx.out.is_json then
    document(ctx, 'untrust', { removed = count })
  else
    ctx.out.text(count == 0 and 'Nothing was trusted here.' or 'Took back the trust in the scripts of this repository.')
  end
  return 0
end

local function eject(ctx)
  no_words(ctx, 'eject', 1)
  local name = ctx.route.args[2]
  if not name then
    err.raise('target_required', 'name the override point or module', { hint = 'see `envctl script points`' })
  end
  local whole = ctx.route.flags.module == true
  local path = require('envctl.script.eject').write(ctx.roots.execution_root or ctx.roots.root, name, whole)
  local key = whole and 'modules' or 'override'
  local use = string.format('%s = { ["%s"] = envctl.include("%s") }', key, name, path)
  if ctx.out.is_json then
    document(ctx, 'eject', { path = path, use = use })
  else
    ctx.out.text('wrote ' .. path)
    ctx.out.text('use it in .envctl.lua: ' .. use)
  end
  return 0
end

local function repl(ctx)
  no_words(ctx, 'repl', 0)
  if ctx.out.is_json then
    err.raise('invalid_value', '`script repl` prints no JSON', {
      hint = 'envctl.bundled("util.json").encode_line(value) makes some',
    })
  end
  return require('envctl.script.console').run(function()
    local route = {}
    for k, v in pairs(ctx.route) do
      route[k] = v
    end
    route.command, route.args, route.projects = 'start', {}, {}
    return require('envctl.context').new(route, ctx.out)
  end)
end

local HANDLERS = {
  check = check, eject = eject, points = points, repl = repl, status = status, trust = trust, untrust = untrust,
}

---@param ctx table
---@return integer exit code
function M.run(ctx)
  local name = ctx.route.args[1]
  local handler = HANDLERS[name or 'status']
  if not handler then
    err.raise('unknown_command', 'there is no `script ' .. name .. '`', {
      hint = require('envctl.script.suggest').hint(name, M.actions, 'words'),
    })
  end
  return handler(ctx)
end

return M
