--- Dependencies of scripts: what `dependencies` of .envctl.lua says about the bundled ones goes into the settings, and the others
--- become definitions like those that are built in.
local marks = require 'envctl.script.marks'
local problems = require 'envctl.script.problems'
local definitions = require 'envctl.deps.definitions'
local described = require 'envctl.deps.described'
local put = require('envctl.script.join').put
local services = require 'envctl.script.services'

local M = {}

local READY_MS = 60000

-- Fields that make sense for a dependency that has a definition already; the rest of it is built in.
local OF_BUNDLED = {
  enabled = true, image = true, provider = true, url = true, scope = true, command = true, ports = true,
  provides = true, enable_if = true,
}

local function place(origins, path)
  for n = #path, 1, -1 do
    local origin = origins:of(table.move(path, 1, n, 1, {}))
    if origin then
      return origin
    end
  end
end

local function invalid(origins, path, message, hint)
  path = { 'dependencies', table.unpack(path) }
  local at = place(origins, path)
  error(problems.new { file = at and at.file, line = at and at.line, path = path, message = message, hint = hint }, 0)
end

local function sorted_keys(map)
  return require('envctl.util.names').sorted(map or {})
end

local function ports_of(d)
  local out = {}
  for i, name in ipairs(sorted_keys(d.ports)) do
    local said = d.ports[name]
    local number = type(said) == 'table' and said.base or said
    out[i] = { name = name, base = number, inner = type(said) == 'table' and said.container or number }
  end
  return out
end

-- A definition of a dependency that only scripts know.
local function define(id, d, origins)
  if not (d.image or d.command or d.url) then
    invalid(origins, { id }, 'says neither image, command nor url: there is no way to run it',
      'such as image = "axllent/mailpit"')
  end
  local ports = ports_of(d)
  local description = {
    ports = ports, primary = described.primary(id, ports), args = d.args or {},
    command = d.command and services.words(d.command),
    env = services.env(d.env), provides = services.env(d.provides), volumes = d.volumes or {}, needs = d.needs or {},
    ready = services.ready({ ready = d.ready, listens = #ports > 0 }, READY_MS),
  }
  local asks = d.ready == 'tcp' or type(d.ready) == 'table' and (d.ready.tcp or d.ready.http)
  if asks and #ports == 0 and not d.url then
    invalid(origins, { id, 'ready' }, 'it has no ports to look at', 'say which: ports = { http = 8025 }')
  end
  local path, message = described.check(id, description, d.url ~= nil)
  if path then
    invalid(origins, { id, table.unpack(path) }, message, 'write $${…} when the text is meant as it is')
  end
  for i, volume in ipairs(description.volumes) do
    if volume:sub(1, 1) ~= '/' or volume:find '[:,%c]' then
      invalid(origins, { id, 'volumes', i }, 'expected the absolute path of a directory in the image')
    end
  end
  return {
    id = id, title = id, order = 100, programs = {}, user = {}, image = d.image, described = description,
    stop = definitions.stop(id), scripted = true,
  }
end

local BASE_KEYS = { postgres = 'DB_PORT', supabase = 'DB_PORT', redis = 'REDIS_PORT', n8n = 'N8N_PORT_BASE' }

-- What a script says about a dependency as settings, so that every place that asks for them sees it.
local function settle(settings, id, d, origins)
  local upper = id:upper()
  local function at(field)
    return place(origins, { 'dependencies', id, field })
  end
  for _, field in ipairs { 'image', 'provider', 'url', 'scope' } do
    if d[field] ~= nil then
      put(settings, definitions.key(id, field:upper()), d[field], at(field))
    end
  end
  if not definitions.by_id[id] then
    return
  end
  for _, mode in ipairs { 'MAIN_', 'TREES_' } do
    -- To be listed is to be wanted, unless the configuration has switched it off.
    if d.enabled ~= nil or not settings:is_set(mode .. upper .. '_ENABLE') then
      put(settings, mode .. upper .. '_ENABLE', d.enabled ~= false, at 'enabled')
    end
  end
  for name, number in pairs(d.ports or {}) do
    if name ~= id then
      invalid(origins, { id, 'ports', name }, ('%s has one port, which is called "%s"'):format(id, id))
    end
    put(settings, BASE_KEYS[id], type(number) == 'table' and number.base or number, at 'ports')
  end
  if d.command then
    put(settings, definitions.command_key(id), services.words(d.command), at 'command')
  end
end

local function check_bundled(id, d, origins)
  for _, field in ipairs(sorted_keys(d)) do
    if not OF_BUNDLED[field] then
      invalid(origins, { id, field }, ('%s is built in: its %s cannot be changed'):format(id, field),
        'give a dependency of your own another name')
    end
  end
end

-- Sources that a script adds to those of a bundled dependency. They may use its own.
local function more_sources(id, d, origins, settings)
  local out = d.provides and services.env(d.provides)
  for name, text in pairs(out or {}) do
    local message = described.check_more(id, text, settings)
    if message then
      invalid(origins, { id, 'provides', name }, message, 'it can use its port and what it provides, such as ${port}')
    end
  end
  return out
end

-- Order by needs: 1 for what needs nothing.
local function check_needs(declared, known, origins)
  local layers, open = {}, {}
  local function layer(id)
    local def = declared[id]
    if layers[id] or not def then
      return layers[id] or definitions.layer(id)
    end
    open[id] = true
    local n = 1
    for i, need in ipairs(def.described.needs) do
      if open[need] then
        invalid(origins, { id, 'needs', i }, ('%s and %s need each other'):format(id, need),
          'take one of these needs out')
      elseif not known[need] then
        local near = require('envctl.util.suggest').nearest(need, sorted_keys(known))
        invalid(origins, { id, 'needs', i }, ('there is no dependency "%s"'):format(need),
          near and 'did you mean "' .. near .. '"?' or 'dependencies can only need dependencies')
      end
      n = math.max(n, layer(need) + 1)
    end
    open[id] = nil
    layers[id] = n
    return n
  end
  for _, id in ipairs(sorted_keys(declared)) do
    declared[id].layer = layer(id)
  end
end

--- Definitions of the dependencies that the scripts add, by id; what they say about others is in the settings afterwards. Raises
--- script_invalid. Awaits.
---@param session envctl.script.Session?
---@param settings envctl.Settings
---@return table<string, envctl.deps.Definition> declared
---@return table<string, table<string, string>> provides more sources of bundled dependencies
---@return fun(project: {name: string, mode: string, root: string, files: string?}): table<string, string> without
--- what a project does not get, by id, and why; awaits
function M.read(session, settings)
  if not session then
    return {}, {}, function()
      return {}
    end
  end
  local origins = require('envctl.script.merge').origins()
  local all = session:merge('dependencies', {}, {
    origins = origins,
    keep = function(path)
      return path[3] == 'enable_if'
    end,
  })
  local declared, provides, known, conditions = {}, {}, {}, {}
  for id in pairs(definitions.by_id) do
    known[id] = true
  end
  for _, id in ipairs(sorted_keys(all)) do
    local d = all[id]
    if type(d) == 'table' and not marks.is_mark(d) then
      settle(settings, id, d, origins)
      conditions[id] = d.enable_if
      if definitions.by_id[id] then
        check_bundled(id, d, origins)
        provides[id] = more_sources(id, d, origins, settings)
      elseif d.enabled ~= false then
        declared[id], known[id] = define(id, d, origins), true
      end
    end
  end
  check_needs(declared, known, origins)
  return declared, provides, function(project)
    local out = {}
    for _, id in ipairs(sorted_keys(conditions)) do
      out[id] = services.unmet(session, { 'dependencies', id, 'enable_if' }, conditions[id], origins, project)
    end
    return out
  end
end

return M
