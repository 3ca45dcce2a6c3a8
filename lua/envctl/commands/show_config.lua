--- show-config: every value with where it came from, what is wrong, and the launch environments. Reads only.
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local schema = require 'envctl.config.schema'

local M = {}

-- Reference name of the JSON keys of a section.
local SECTION_KEYS = {
  shared = 'dependency_env', backend = 'backend_dependency_env', frontend = 'frontend_dependency_env',
}

local MASK = '***'

local function shown(def, value, is_set)
  if value == nil then
    return json.null
  elseif def.secret and is_set then
    return MASK
  end
  return value
end

local function add_value(values, settings, def)
  local origin = settings:origin(def.key)
  values[def.key] = {
    value = shown(def, settings:get(def.key), settings:is_set(def.key)),
    layer = origin.layer,
    file = origin.file or json.null,
    line = origin.line or json.null,
    alias = origin.alias or json.null,
  }
end

local function values_of(settings, all)
  local values = {}
  for _, def in ipairs(schema.list) do
    if all or not def.env_only or settings:is_set(def.key) then
      add_value(values, settings, def)
    end
  end
  if all then
    for _, def in ipairs(require('envctl.config.tuning').list) do
      add_value(values, settings, def)
    end
  end
  for key in pairs(settings.values) do
    if not values[key] then
      add_value(values, settings, schema.find(key))
    end
  end
  return values
end

local function errors_of(list)
  local out = json.array {}
  for i, e in ipairs(list) do
    out[i] = err.to_table(e, json.null)
  end
  return out
end

local function templates(section)
  local out = json.array {}
  for i, e in ipairs(section and section.entries or {}) do
    out[i] = { name = e.name, template = e.template, line_number = e.line }
  end
  return out
end

local function sections_of(settings, document)
  local sections = settings.sections
  for name, key in pairs(SECTION_KEYS) do
    document[key .. '_section_present'] = sections.by_name[name] ~= nil
    document[key .. '_templates'] = templates(sections.by_name[name])
  end
  local list = json.array {}
  for i, section in ipairs(sections.list) do
    local problems = json.array {}
    for j, p in ipairs(section.problems) do
      problems[j] = { line = p.line, message = p.message, hint = p.hint or json.null, warning = p.warning == true }
    end
    list[i] = { service = section.name, templates = templates(section), problems = problems }
  end
  document.launch_env = list
end

-- The files that were read, lowest layer first.
local function layers_of(settings, session)
  local out = json.array {}
  local function scripts(of_user)
    for _, entry in ipairs(session and session.entries or {}) do
      if (entry.layer == 'user') == of_user then
        out[#out + 1] = entry.root .. '/' .. entry.rel
      end
    end
  end
  scripts(true)
  table.move(settings.layers, 1, #settings.layers, #out + 1, out)
  scripts(false)
  return out
end

--- The document.
---@param ctx envctl.Context
---@param session envctl.script.Session?
---@return table
function M.document(ctx, session)
  local settings, roots = ctx.settings, ctx.roots
  local document = {
    schema = 'envctl.show_config.v1',
    ok = true,
    base_dir = roots.root,
    execution_root = roots.execution_root,
    config_file = settings.config_file,
    config_exists = settings.config_exists,
    config_source = settings.config_source,
    legacy_source_path = settings.legacy_source_path or json.null,
    configured = settings.configured,
    effective = require('envctl.config.payload').effective(settings),
    values = values_of(settings, ctx.route.flags.all),
    warnings = errors_of(settings.warnings),
    errors = errors_of(settings.errors),
    layers = layers_of(settings, session),
  }
  sections_of(settings, document)
  return document
end

local function word(value)
  if type(value) == 'boolean' then
    return value and 'True' or 'False'
  end
  return schema.text(value)
end

local function source_text(settings, key)
  local origin = settings:origin(key)
  if origin.layer == 'bundled' then
    return ''
  end
  local text = origin.file and (origin.line and origin.file .. ':' .. origin.line or origin.file) or origin.layer
  return ' (' .. text .. (origin.alias and ', as ' .. origin.alias or '') .. ')'
end

local LINES = {
  { 'default_mode', 'ENVCTL_DEFAULT_MODE' },
  { 'main_startup_enabled', 'MAIN_STARTUP_ENABLE' },
  { 'trees_startup_enabled', 'TREES_STARTUP_ENABLE' },
  { 'backend_dir', 'BACKEND_DIR' },
  { 'frontend_dir', 'FRONTEND_DIR' },
  { 'backend_port_base', 'BACKEND_PORT_BASE' },
  { 'frontend_port_base', 'FRONTEND_PORT_BASE' },
  { 'port_spacing', 'PORT_SPACING' },
  { 'preferred_port_strategy', 'ENVCTL_PORT_PREFERRED_STRATEGY' },
}

-- Keys that were set, or all of them.
local function keys_of(settings, all)
  local out = {}
  for key in pairs(values_of(settings, all)) do
    if all or settings:is_set(key) then
      out[#out + 1] = key
    end
  end
  table.sort(out)
  return out
end

local function problem_lines(out, label, list)
  for _, e in ipairs(list) do
    local where, hint = e.where and e.where .. ': ' or '', e.hint and ' (' .. e.hint .. ')' or ''
    out.text(label .. ': ' .. where .. e.message .. hint)
  end
end

local function text(ctx)
  local settings, out = ctx.settings, ctx.out
  out.text('config_file: ' .. settings.config_file)
  out.text('config_exists: ' .. word(settings.config_exists))
  out.text('config_source: ' .. settings.config_source)
  for _, line in ipairs(LINES) do
    out.text(line[1] .. ': ' .. word(settings:get(line[2])))
  end
  local keys = keys_of(settings, ctx.route.flags.all)
  out.text(#keys > 0 and 'values:' or 'values: all bundled')
  for _, key in ipairs(keys) do
    local def = schema.find(key)
    local value = shown(def, settings:get(key), settings:is_set(key))
    out.text('  ' .. key .. '=' .. (value == json.null and '' or schema.text(value)) .. source_text(settings, key))
  end
  for _, section in ipairs(settings.sections.list) do
    out.text('launch env for ' .. section.name .. ':')
    for _, e in ipairs(section.entries) do
      out.text('  ' .. e.name .. '=' .. e.template)
    end
  end
  problem_lines(out, 'error', settings.errors)
  problem_lines(out, 'warning', settings.warnings)
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  -- The configuration of scripts is effective too. Those that cannot be used are an error among the others, not the end of it.
  local session
  local ok, e = require('envctl.task').try(function()
    session = ctx:scripts()
    require('envctl.deps.scripted').read(session, ctx.settings)
  end)
  if not ok then
    table.insert(ctx.settings.errors, e)
  end
  if ctx.out.is_json then
    ctx.out.json(M.document(ctx, session))
  else
    text(ctx)
  end
  return 0
end

return M
