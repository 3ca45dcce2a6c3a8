-- docs/scripting.md, the reference and the stub for editors say what the code does: every recipe is run, every name is there.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local task = require 'envctl.task'
local points = require 'envctl.script.points'
local shapes = require 'envctl.script.shapes'
local support = require 'script_support'

local M = {}

local TOP = rawget(_G, 'ENVCTL_SOURCE_DIR')
local GUIDE = assert(fs.read(TOP .. '/docs/scripting.md'))
local REFERENCE = assert(fs.read(TOP .. '/docs/reference/scripting.md'))
local STUB = assert(fs.read(TOP .. '/lua/_meta/envctl/script.lua'))

-- The Lua blocks, as {name of the file or nil, text}.
local function blocks()
  local out = {}
  for text in GUIDE:gmatch '```lua\n(.-)```' do
    out[#out + 1] = { text:match '^%-%- ([%w/._-]+%.lua)\n', text }
  end
  return out
end

local function detected(name)
  return {
    name = name, type = name, dir = '', command = { 'x' }, listens = true, env = { SENTRY_DSN = 's', VITE_API_URL = 'v' },
    needs = { 'postgres' }, ready = { kind = 'tcp', timeout_ms = 1 }, restart = 'no', prepare = {}, origin = {},
  }
end

local HOST = {
  run = function(spec)
    return { code = #spec.argv, stdout = 'out', stderr = '' }
  end,
  read = function()
    return 'text'
  end,
  write = function() end,
  ask = function(_, default)
    return default
  end,
  print = function() end,
  http_get = function()
    return { status = 200, body = '' }
  end,
}

local function use(session)
  session:load()
  local merged, skipped = session:merge_services({ name = 'Main', mode = 'main', root = session.entries[1].root },
    { detected 'backend', detected 'frontend' })
  for name in pairs(session.overrides) do
    session:call(name, points.by_name[name].sample.input, function()
      return points.by_name[name].sample.output
    end)
  end
  for name in pairs(session.commands) do
    session:run_command(name, { args = { 'a' } }, HOST)
  end
  for event in pairs(session.hooks) do
    local ev = { project = 'Main', service = 'backend', url = 'http://localhost:1' }
    lu.assertTrue(session:run_hook(event, ev, HOST)[1].ok)
  end
  return merged, skipped
end

function M.test_recipes()
  local dir <close> = support.directory()
  for _, name in ipairs { 'search', 'admin', 'services/api' } do
    support.write(dir.path, name .. '/file', '')
  end
  local count = 0
  for _, block in ipairs(blocks()) do
    if block[1] then
      support.write(dir.path, block[1], block[2])
    else
      count = count + 1
      local ok, e = pcall(support.with, block[2], use, { root = dir.path, trusted = true })
      lu.assertTrue(ok, ok or (block[2] .. '\n' .. tostring(e.message)))
    end
  end
  lu.assertTrue(count >= 13, count)
end

function M.test_what_recipes_do()
  local dir <close> = support.directory()
  local results = {}
  for _, block in ipairs(blocks()) do
    if not block[1] and block[2]:find 'SENTRY_DSN' then
      support.with(block[2], function(session)
        for _, s in ipairs((use(session))) do
          results[s.name] = s.env
        end
      end, { root = dir.path, trusted = true })
    end
  end
  lu.assertEquals(results, { backend = { VITE_API_URL = 'v' }, frontend = { SENTRY_DSN = 's' } })
end

local function expect(text, name, where)
  lu.assertTrue(text:find(name, 1, true) ~= nil, where .. ' does not know ' .. name)
end

function M.test_every_name_is_there()
  for _, p in ipairs(points.list) do
    expect(REFERENCE, '\n### ' .. p.name .. '\n', 'the reference')
    expect(STUB, "'" .. p.name .. "'", 'the stub')
    expect(p.available and GUIDE or p.name, p.name, 'the guide')
  end
  for _, m in ipairs(points.module_list) do
    expect(REFERENCE, '\n### ' .. m.name .. '\n', 'the reference')
  end
  for _, h in ipairs(points.hook_list) do
    expect(REFERENCE, '| `' .. h.name .. '` |', 'the reference')
    expect(STUB, "'" .. h.name .. "'", 'the stub')
  end
  for _, list in ipairs { shapes.service.fields, shapes.dependency.fields } do
    for key, field in pairs(list) do
      expect(REFERENCE, '| `' .. key .. '` |', 'the reference')
      expect(STUB, '---@field ' .. key .. '?', 'the stub')
      lu.assertNotNil(field.doc, key)
    end
  end
  for key in pairs(points.shape().fields) do
    expect(STUB, '---@field ' .. key, 'the stub')
  end
  for name in pairs(require('envctl.script.api').new { root = '/' }) do
    expect(GUIDE, 'host.' .. name, 'the guide')
    expect(STUB, 'function ScriptHost.' .. name .. '(', 'the stub')
  end
end

-- What `script eject` writes is a script that passes the checks.
function M.test_ejected_files()
  local eject = require 'envctl.script.eject'
  local dir <close> = support.directory()
  local parts = { 'return { envctl = 1, override = {' }
  for _, p in ipairs(points.list) do
    if p.available then
      local path = eject.write(dir.path, p.name)
      lu.assertEquals(path, 'tools/envctl/' .. p.name:gsub('%.', '_') .. '.lua')
      parts[#parts + 1] = string.format('["%s"] = envctl.include("%s"),', p.name, path)
    else
      lu.assertEquals(select(2, task.try(eject.write, dir.path, p.name)).code, 'not_available')
    end
  end
  parts[#parts + 1] = '}, modules = {'
  for _, m in ipairs(points.module_list) do
    if m.available then
      parts[#parts + 1] = string.format('["%s"] = envctl.include("%s"),', m.name, (eject.write(dir.path, m.name, true)))
    else
      lu.assertEquals(select(2, task.try(eject.write, dir.path, m.name, true)).code, 'not_available')
    end
  end
  parts[#parts + 1] = '} }'
  support.with(table.concat(parts, '\n'), function(session)
    local ctx = { roots = { root = dir.path }, settings = { get = function() end, origin = function() end, errors = {} } }
    local findings = require('envctl.script.check').run(session, ctx)
    lu.assertEquals(findings, { errors = {}, warnings = {} })
  end, { root = dir.path })
  -- An existing file is never touched.
  lu.assertEquals(eject.write(dir.path, 'plan.ports'), 'tools/envctl/plan_ports-2.lua')
  local ok, e = task.try(eject.write, dir.path, 'plan.prots')
  lu.assertFalse(ok)
  lu.assertEquals(e.hint, 'did you mean "plan.ports"?')
end

function M.test_check_finds()
  local dir <close> = support.directory()
  local ctx = { roots = { root = dir.path }, settings = { get = function() end, origin = function() end, errors = {} } }
  local function findings(text)
    return support.with(text, function(session)
      return require('envctl.script.check').run(session, ctx)
    end, { root = dir.path })
  end
  local found = findings [[
local calls = 0
return { envctl = 1,
  override = {
    ['plan.ports'] = function(base, ctx) calls = calls + 1 local p = base(ctx) p.backend = 8000 + #tostring({}) return p end,
    ['reuse.decide'] = function() return 'whatever' end,
    ['plan.env'] = function(base, ctx) return base(ctx).x.y end,
    ['wizard.steps'] = function(base, ctx) return base(ctx) end,
  },
  modules = { ['debug.pack'] = {}, ['plan.startup'] = { build = function() return { 1 } end, other = function() end } },
  services = { api = { command = 'x', dir = 'missing' } },
  dependencies = { mail = { image = 'x', needs = { 'redsi' } } },
}]]
  local errors, warnings = {}, {}
  for i, e in ipairs(found.errors) do
    errors[i] = e.message
  end
  for i, w in ipairs(found.warnings) do
    warnings[i] = w.message
  end
  lu.assertEquals(errors, {
    '.envctl.lua:11: dependencies.mail.needs[1]: there is no dependency "redsi"',
    '.envctl.lua:10: services.api.dir: "missing" is not a directory in ' .. dir.path,
    '.envctl.lua:5: override["reuse.decide"]: expected "start_fresh", "resume_exact", "resume_subset" or "reuse_and_extend", '
      .. 'got "whatever"',
    '.envctl.lua:9: modules["plan.startup"].build: expected a table, got a list',
  })
  lu.assertEquals(warnings, {
    '.envctl.lua:7: override["wizard.steps"]: this envctl does not ask it yet',
    '.envctl.lua:9: modules["debug.pack"]: this envctl does not use it yet',
    ".envctl.lua:6: override[\"plan.env\"]: attempt to index a nil value (field 'x')",
    '.envctl.lua:9: modules["plan.startup"].other: is not called by anything',
  })
end

return M
