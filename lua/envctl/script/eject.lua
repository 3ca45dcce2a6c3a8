--- `script eject`: a new file with a starting text for an override point or a module. Nothing of the user's is touched.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local points = require 'envctl.script.points'
local suggest = require 'envctl.script.suggest'

local M = {}

local DIRECTORY = 'tools/envctl'

-- What the bundled function does, in a script's words; for the others, base(ctx) is all there is to say.
local BODIES = {
  ['plan.ports'] = [[
  -- Every port is its base moved by the project's slot; what is fixed stays. base(ctx) steps over ports that are taken.
  local ports = base(ctx)
  for _, want in ipairs(ctx.wants) do
    ports[want.id] = ports[want.id] or want.fixed or want.base + ctx.slot
  end
  return ports]],
  ['detect.services'] = [[
  local services = base(ctx)
  -- services.api = { dir = "services/api", command = "python3 api.py --port ${port}" }
  return services]],
  ['plan.env'] = [[
  local env = base(ctx)
  if ctx.service == "backend" then
    env.LOG_LEVEL = env.LOG_LEVEL or "debug"
  end
  return env]],
  ['worktree.name'] = [[
  return ctx.feature .. "-" .. ctx.number]],
  ['resume.reconcile'] = [[
  local actions = base(ctx)
  for _, a in ipairs(actions) do
    -- if a.service == "worker" and a.action == "keep" then a.action, a.reason = "restart", "starts anew every time" end
  end
  return actions]],
  ['plan.startup'] = [[
  local document = base(ctx)
  -- Look at document.plan.projects here, and return the document.
  return document]],
}

local DEFAULT_BODY = [[
  local result = base(ctx)
  return result]]

local sorted = require('envctl.util.names').sorted

--- The text for a point.
---@param point envctl.script.Point
---@param path string where it will be
---@return string
function M.point_text(point, path)
  local out = {
    string.format('-- %s: %s. Written by envctl %s; it is yours from here on.', point.name, point.doc, sys.version),
    '--',
    '-- ctx:',
  }
  for _, field in ipairs(sorted(point.input)) do
    out[#out + 1] = string.format('--   %-9s %s', field, point.input[field])
  end
  out[#out + 1] = '-- returns: ' .. point.returns
  out[#out + 1] = '--'
  out[#out + 1] = '-- In .envctl.lua:'
  out[#out + 1] = string.format('--   override = { ["%s"] = envctl.include("%s") },', point.name, path)
  out[#out + 1] = 'return function(base, ctx)'
  out[#out + 1] = BODIES[point.name] or DEFAULT_BODY
  out[#out + 1] = 'end'
  return table.concat(out, '\n') .. '\n'
end

--- The text for a module: the bundled one, with what it requires taken from envctl.
---@param module envctl.script.Module
---@param path string
---@return string
function M.module_text(module, path)
  local out = {
    string.format('-- The module %s: %s.', module.name, module.doc),
    '-- A copy of the one in envctl ' .. sys.version .. '; it is yours from here on. It is pure: it gets all as',
    '-- arguments, and only its results count. `envctl script check` holds it to its contract.',
    '--',
    '-- In .envctl.lua:',
    string.format('--   modules = { ["%s"] = envctl.include("%s") },', module.name, path),
    '--',
    '-- Called by envctl:',
  }
  for _, name in ipairs(sorted(module.functions)) do
    local f = module.functions[name]
    out[#out + 1] = string.format('--   M.%s(%s)%s', name, f.args, f.optional and ' (may be left out)' or '')
    out[#out + 1] = '--     returns ' .. f.returns
  end
  local source = assert(sys.module_text(module.source), module.source)
  source = source:gsub("require(%s*%(?%s*)'envctl%.", "envctl.bundled%1'")
  return table.concat(out, '\n') .. '\n\n' .. source
end

-- A path that nothing stands at yet.
local function free_path(root, name)
  local base = DIRECTORY .. '/' .. name:gsub('%.', '_')
  local path, n = base .. '.lua', 1
  while fs.lstat(root .. '/' .. path) do
    n = n + 1
    path = base .. '-' .. n .. '.lua'
  end
  return path
end

local function names_of(list)
  local out = {}
  for i, p in ipairs(list) do
    out[i] = p.name
  end
  return out
end

--- Writes the file.
---@param root string directory of the repository
---@param name string
---@param whole boolean? a module
---@return string path below root
function M.write(root, name, whole)
  local known = whole and points.modules[name] or not whole and points.by_name[name]
  if not known then
    local list = names_of(whole and points.module_list or points.list)
    local other = whole and points.by_name[name] or not whole and points.modules[name]
    err.raise('unknown_target', string.format('there is no %s "%s"', whole and 'module' or 'override point', name), {
      hint = other and (whole and 'leave --module out' or 'use --module') or suggest.hint(name, list, 'names'),
    })
  end
  if not known.available then
    local what = whole and 'the module' or 'the override point'
    err.raise('not_available', string.format('this envctl does not use %s "%s" yet', what, name), {
      hint = 'see `envctl script points` for what it asks',
    })
  end
  local real = err.check(fs.realpath(root))
  local path = free_path(real, name)
  err.check(fs.mkdirs(real .. '/' .. DIRECTORY, 493))
  local directory = fs.realpath(real .. '/' .. DIRECTORY)
  if directory ~= real .. '/' .. DIRECTORY then
    err.raise('path_occupied', DIRECTORY .. ' is a link that leads elsewhere', { hint = 'make it a directory' })
  end
  local text = whole and M.module_text(known, path) or M.point_text(known, path)
  err.check(fs.write_atomic(real .. '/' .. path, text, { mode = 420 }))
  return path
end

return M
