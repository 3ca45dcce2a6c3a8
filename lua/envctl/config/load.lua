--- Settings: every key from its highest source, with the place that it came from. The environment is read here and nowhere else
--- in policy (the environment of children apart).
---
--- Sources, low to high: bundled defaults, `.envctl` (layer `dotenv`), scripts (`user`, `script`, `local`), environment (`env`),
--- flags (`flag`). A higher source wins whatever name it uses; within one source the canonical name wins over its aliases.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local schema = require 'envctl.config.schema'
local dotenv = require 'envctl.config.dotenv'
local path = require 'envctl.util.path'

local M = {}

local MAX_BYTES = 1024 * 1024

---@class envctl.Origin
---@field layer string
---@field file string? as shown: relative to the repository when it is in it
---@field line integer?
---@field alias string? the name it was given by, when that is not the canonical one

---@class envctl.Settings
---@field warnings envctl.Err[]
---@field errors envctl.Err[]
---@field config_file string where saving goes
---@field config_exists boolean
---@field config_source 'envctl'|'legacy_prefill'|'defaults'
---@field legacy_source_path string?
---@field source_path string? the file that was read
---@field source_text string? its text
---@field configured boolean `.envctl` or a script is there
---@field layers string[] paths that were read, in order
---@field scan envctl.dotenv.Scan? of the file that was read
---@field values table<string, {value: any, origin: envctl.Origin, text: string?}>
local Settings = {}
Settings.__index = Settings

local BUNDLED = { layer = 'bundled' }

--- Native value of a key: the highest source's, else the default, else nil.
---@param key string
---@return any
function Settings:get(key)
  local found = self.values[key]
  if found then
    return found.value
  end
  local def = schema.find(key)
  return def and def.default
end

--- Where the value of a key comes from.
---@param key string
---@return envctl.Origin
function Settings:origin(key)
  local found = self.values[key]
  return found and found.origin or BUNDLED
end

--- Whether a key was set anywhere.
---@param key string
---@return boolean
function Settings:is_set(key)
  return self.values[key] ~= nil
end

--- The launch environment sections (envctl.config.launch_env), parsed when first asked for.
Settings.sections = nil

local function lazily(self, key)
  if key == 'sections' then
    local sections = require('envctl.config.launch_env').parse(self.scan and self.scan.sections or {})
    rawset(self, 'sections', sections)
    return sections
  end
  return Settings[key]
end

local Meta = { __index = lazily, __name = 'envctl.Settings' }

local function problem(list, message, where, hint, data)
  list[#list + 1] = err.new('config_invalid', message, { where = where, hint = hint, data = data })
end

local function is_file(name)
  local stat = fs.stat(name)
  return stat ~= nil and stat.type == 'file', stat
end

--- Which file is read, and where saves go.
local function discover(settings, root, explicit)
  local own = root .. '/.envctl'
  settings.config_file = own
  local own_is_file, own_stat = is_file(own)
  if explicit then
    local file = path.absolute(explicit, root, sys.home())
    local there, stat = is_file(file)
    if there then
      settings.source_path = file
      if path.base(file) == '.envctl' then
        settings.config_file, settings.config_exists, settings.config_source = file, true, 'envctl'
      else
        settings.config_exists = own_is_file
        settings.config_source = own_is_file and 'envctl' or 'legacy_prefill'
        settings.legacy_source_path = file
      end
      return
    end
    problem(settings.errors, 'ENVCTL_CONFIG_FILE: ' .. file .. (stat and ' is not a file' or ' is not there'), nil,
      'correct the variable, or unset it to use ' .. own)
  end
  if own_is_file then
    settings.source_path, settings.config_exists, settings.config_source = own, true, 'envctl'
    return
  elseif own_stat then
    problem(settings.errors, own .. ' is not a file', '.envctl', 'move it away, then run `envctl config`')
  end
  for _, name in ipairs { '.envctl.sh', '.supportopia-config' } do
    local legacy = root .. '/' .. name
    if is_file(legacy) then
      settings.source_path, settings.legacy_source_path = legacy, legacy
      settings.config_source = 'legacy_prefill'
      return
    end
  end
end

local function read_source(settings)
  local file = settings.source_path
  if not file then
    return
  end
  local text, message, code = fs.read(file, { max = MAX_BYTES })
  settings.layers[#settings.layers + 1] = file
  if not text then
    if code == 'EFBIG' then
      message = file .. ': more than 1 MiB, that is no configuration'
    end
    problem(settings.errors, message, settings.shown, 'make it readable')
    return
  end
  settings.source_text = text
  settings.scan = dotenv.scan(text)
end

local function hint_for(def, value)
  local good = schema.text(def.default ~= nil and def.default or (def.choices and def.choices[1]) or '')
  if good == '' then
    return nil
  end
  return value and 'correct it, for example ' .. def.key .. '=' .. good
end

local function quoted(text)
  text = text:gsub('[%c\127]', '?')
  return '"' .. (#text > 60 and text:sub(1, 57) .. '…' or text) .. '"'
end

-- One key from one source. `rank` orders names within a source: canonical 1, first alias 2 …
local function offer(settings, def, text, origin, rank, level)
  local value, wanted = schema.parse(def, text)
  if wanted then
    local shown = def.secret and 'something else' or quoted(text)
    settings.bad[#settings.bad + 1] = {
      key = def.key, level = level, rank = rank, origin = origin,
      message = (origin.alias or def.key) .. ': ' .. wanted .. ', got ' .. shown
        .. (level == 'env' and ' (from the environment)' or ''),
      hint = hint_for(def, true),
    }
    return
  elseif value == nil then
    if def.type ~= 'command' then
      return -- empty is not set
    end
  end
  local now = settings.values[def.key]
  if now and now.level == level and now.rank < rank then
    return
  end
  settings.values[def.key] = { value = value, origin = origin, text = text, rank = rank, level = level }
end

local function rank_of(def, name)
  if def.key == name then
    return 1
  end
  for i, alias in ipairs(def.aliases or {}) do
    if alias == name then
      return i + 1
    end
  end
  return 1
end

-- The definitions that a name sets: one, or several for an alias such as REDIS_ENABLE.
local function definitions(name)
  local def = schema.by_key[name]
  if def then
    return { def }
  end
  local aliased = schema.by_alias[name]
  if aliased then
    return aliased
  end
  def = schema.find(name)
  return def and { def } or nil
end

local function unknown(settings, entry)
  local near = require('envctl.util.suggest').nearest(entry.key, schema.names())
  problem(settings.warnings, 'unknown key ' .. entry.key, settings.shown .. ':' .. entry.line,
    near and 'did you mean ' .. near .. '?' or 'it has no effect', { key = entry.key })
end

-- A name with a service in it that is nearly one of the bundled names is more likely a slip.
local function doubtful(settings, entry, def)
  if not def.pattern then
    return
  end
  local candidates = {}
  for _, name in ipairs(schema.names()) do
    if name == entry.key then
      return
    end
    candidates[#candidates + 1] = name
  end
  local near = require('envctl.util.suggest').nearest(entry.key, candidates)
  if near and #near >= #entry.key - 2 and require('envctl.util.suggest').distance(near, entry.key, 2) <= 2 then
    problem(settings.warnings, entry.key .. ' names no bundled service', settings.shown .. ':' .. entry.line,
      'did you mean ' .. near .. '?', { key = entry.key })
  end
end

local function from_file(settings)
  local scan = settings.scan
  if not scan then
    return
  end
  local legacy = settings.source_path:find '%.sh$' ~= nil
  for _, p in ipairs(scan.problems) do
    -- Shell code around the assignments of an old file is none of our business.
    if not legacy then
      problem(p.warning and settings.warnings or settings.errors, p.message, settings.shown .. ':' .. p.line, p.hint)
    end
  end
  local last = {}
  for _, entry in ipairs(scan.entries) do
    local before = last[entry.key]
    if before and not legacy and before.value ~= entry.value then
      problem(settings.warnings, entry.key .. ' is set twice, line ' .. entry.line .. ' counts',
        settings.shown .. ':' .. before.line, 'leave one of them out')
    end
    last[entry.key] = entry
  end
  for _, entry in ipairs(scan.entries) do
    if last[entry.key] == entry then
      local defs = definitions(entry.key)
      if not defs and not legacy then
        unknown(settings, entry)
      end
      for _, def in ipairs(defs or {}) do
        local origin = { layer = 'dotenv', file = settings.shown, line = entry.line }
        if def.key ~= entry.key then
          origin.alias = entry.key
        end
        if def.env_only then
          problem(settings.warnings, entry.key .. ' only counts in the environment',
            settings.shown .. ':' .. entry.line)
        else
          offer(settings, def, entry.value, origin, rank_of(def, entry.key), 'dotenv')
        end
        doubtful(settings, entry, def)
      end
    end
  end
end

-- What is wrong in the launch environments is told here, not first at launch.
local function from_sections(settings)
  if not settings.scan or #settings.scan.sections == 0 then
    return
  end
  for _, p in ipairs(settings.sections.problems) do
    problem(p.warning and settings.warnings or settings.errors, p.message, settings.shown .. ':' .. p.line, p.hint)
  end
end

local function from_environment(settings, env)
  for name, text in pairs(env) do
    local defs = definitions(name)
    for _, def in ipairs(defs or {}) do
      local origin = { layer = 'env' }
      if def.key ~= name then
        origin.alias = name
      end
      offer(settings, def, text, origin, rank_of(def, name), 'env')
    end
  end
end

--- Values of a script layer: native, checked by the script host.
---@param settings envctl.Settings
---@param layer 'user'|'script'|'local'
---@param file string as shown
---@param values table<string, {value: any, line: integer?}>
function M.add_layer(settings, layer, file, values)
  for key, v in pairs(values) do
    local now = settings.values[key]
    if not now or (now.level ~= 'env' and now.level ~= 'flag') then
      settings.values[key] = {
        value = v.value, origin = { layer = layer, file = file, line = v.line }, rank = 1, level = layer,
      }
    end
  end
end

local function from_flags(settings, route)
  local flags = require 'envctl.cli.flags'
  local given = route and route.flags or {}
  for _, flag in ipairs(flags.list) do
    if flag.setting and given[flag.key] ~= nil then
      settings.values[flag.setting] = {
        value = given[flag.key], origin = { layer = 'flag' }, rank = 1, level = 'flag',
      }
    end
  end
end

local LEVELS = { dotenv = 1, env = 2, flag = 3 } -- scripts are put on top later

-- A bad value is an error, unless a higher source has the say anyway.
local function report_bad(settings)
  table.sort(settings.bad, function(a, b)
    if (a.origin.line or 0) ~= (b.origin.line or 0) then
      return (a.origin.line or 0) < (b.origin.line or 0)
    end
    return a.message < b.message
  end)
  for _, bad in ipairs(settings.bad) do
    local now = settings.values[bad.key]
    local overruled = now
      and (LEVELS[now.level] > LEVELS[bad.level] or (now.level == bad.level and now.rank < bad.rank))
    local where = bad.origin.file and bad.origin.file .. ':' .. bad.origin.line or nil
    problem(overruled and settings.warnings or settings.errors, bad.message, where, bad.hint, { key = bad.key })
  end
  settings.bad = nil
end

local function file_there(name)
  return fs.lstat(name) ~= nil
end

--- Loads the settings of a repository.
---@param roots envctl.Roots
---@param route envctl.Route?
---@param env table<string, string>? instead of the process environment (tests)
---@return envctl.Settings
function M.load(roots, route, env)
  env = env or sys.environ()
  local settings = setmetatable({
    warnings = {}, errors = {}, layers = {}, values = {}, bad = {}, config_exists = false, config_source = 'defaults',
    root = roots.root,
  }, Meta)
  local explicit = env.ENVCTL_CONFIG_FILE
  discover(settings, roots.root, explicit ~= '' and explicit or nil)
  settings.shown = path.shown(settings.source_path or settings.config_file, roots.root)
  read_source(settings)
  from_file(settings)
  from_sections(settings)
  from_environment(settings, env)
  if route then
    from_flags(settings, route)
  end
  report_bad(settings)
  local bundled = route and route.flags.bundled
  settings.has_script = not bundled
    and (file_there(roots.root .. '/.envctl.lua')
      or (roots.linked and file_there(roots.execution_root .. '/.envctl.lua')))
  settings.configured = settings.config_exists or settings.has_script or false
  return settings
end

--- The settings of the file alone, for saving: what the environment or a flag says now is not to be written down.
---@param roots envctl.Roots
---@return envctl.Settings
function M.file_only(roots)
  return M.load(roots, nil, { ENVCTL_CONFIG_FILE = sys.getenv 'ENVCTL_CONFIG_FILE' })
end

return M
