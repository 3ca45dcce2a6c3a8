--- config: sets values in `.envctl`. Without a terminal everything comes from words, --set and --stdin-json.
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local schema = require 'envctl.config.schema'
local input = require 'envctl.config.input'

local M = {}

local MAX_STDIN = 1024 * 1024

local function invalid_json(message)
  err.raise('config_invalid', 'standard input is not a JSON object: ' .. message, {
    hint = 'for example: {"default_mode": "trees"}',
  })
end

local function read_document()
  if sys.isatty(0) then
    invalid_json 'it is a terminal'
  end
  local text, message, code = sys.read_stdin(MAX_STDIN)
  if not text then
    invalid_json(code == 'EFBIG' and 'more than 1 MiB' or message)
  elseif not text:find '%S' then
    invalid_json 'it is empty'
  end
  local value, why = json.decode(text)
  if value == nil then
    invalid_json(why)
  end
  return value
end

-- One error for all that is wrong with the input.
local function raise_problems(problems)
  if #problems == 0 then
    return
  end
  local lines, list = {}, json.array {}
  for i, p in ipairs(problems) do
    lines[i] = (p.path ~= '' and p.path .. ': ' or '') .. p.message
    list[i] = { path = p.path, message = p.message, hint = p.hint or json.null }
  end
  err.raise('config_invalid', table.concat(lines, '; '), {
    hint = problems[1].hint, data = { errors = list, saved = false },
  })
end

-- Managed values as the file has them, without environment and flags. What the file has wrong has to be set anew.
local function values_of_file(settings, given)
  local values = {}
  for _, def in ipairs(schema.list) do
    if def.managed then
      local v = settings.values[def.key]
      values[def.key] = v and v.value
      if values[def.key] == nil then
        values[def.key] = def.default
      end
    end
  end
  for _, e in ipairs(settings.errors) do
    local key = e.data and e.data.key
    local def = key and schema.find(key)
    if def and def.managed and given[key] == nil then
      err.raise('config_invalid', e.message, {
        where = e.where, hint = 'correct the line, or set it as well: ' .. key .. '=' .. schema.text(def.default),
      })
    end
  end
  return values
end

local function collect(ctx)
  local flags = ctx.route.flags
  local given = input.new()
  if flags.stdin_json then
    input.document(given, read_document())
  end
  for _, text in ipairs(flags.set_values or {}) do
    input.assignment(given, text)
  end
  for _, word in ipairs(ctx.route.args) do
    input.assignment(given, word)
  end
  raise_problems(given.problems)
  return given.values
end

local function changes_of(before, after)
  local out = json.array {}
  for _, def in ipairs(schema.list) do
    if def.managed and before[def.key] ~= after[def.key] then
      out[#out + 1] = { key = def.key, before = before[def.key], after = after[def.key] }
    end
  end
  return out
end

local function update_ignores(ctx)
  local path = require 'envctl.util.path'
  local names = {}
  local own = path.below(ctx.settings.config_file, ctx.roots.root)
  if own == '.envctl' then
    names[1] = { name = '.envctl', dir = false }
  end
  local trees = path.below(require('envctl.repo.projects').trees_root(ctx.roots, ctx.settings), ctx.roots.root)
  if trees and trees ~= '' and not trees:find('/', 1, true) then
    names[#names + 1] = { name = trees, dir = true }
  end
  return require('envctl.config.ignore').update(ctx.roots, names)
end

local function report(ctx, result)
  local out = ctx.out
  if out.is_json then
    out.json {
      schema = 'envctl.config.v1', ok = true, saved = result.saved, dry_run = not result.saved, path = result.path,
      config = require('envctl.config.payload').build(function(key)
        return result.values[key]
      end),
      changes = result.changes, moved = json.array(result.moved), warnings = json.array(result.warnings),
      ignore_updated = result.ignore_updated or false, ignore_warning = result.ignore_warning or json.null,
      diff = json.array(result.diff),
    }
    return
  end
  if not result.saved then
    out.text((#result.diff > 0 and 'Would change ' or 'Nothing would change in ') .. result.path)
    for _, line in ipairs(result.diff) do
      out.text(line)
    end
  else
    out.text 'Saved startup config:'
    out.text(result.path)
    if #result.diff > 0 then
      out.text 'Config saved. Running services take it up when they are restarted.'
    else
      out.text 'Nothing changed.'
    end
  end
  for _, key in ipairs(result.moved) do
    out.note('envctl: ' .. key .. ' stood outside of the managed block and ' .. (result.saved and 'was' or 'would be')
      .. ' moved into it')
  end
  for _, warning in ipairs(result.warnings) do
    out.note('envctl: ' .. warning)
  end
  if result.ignore_warning then
    out.note('envctl: ' .. result.ignore_warning)
  end
end

--- Applies values and saves (or says what would be saved).
---@param ctx envctl.Context
---@param given table<string, any> native values by key
---@return table result
function M.apply(ctx, given)
  local save = require 'envctl.config.save'
  local load = require 'envctl.config.load'
  local fs = require 'envctl.host.fs'
  local settings = load.file_only(ctx.roots)
  local before = values_of_file(settings, given)
  local values, others = {}, {}
  for key, value in pairs(before) do
    values[key] = value
  end
  for key, value in pairs(given) do
    if schema.find(key).managed then
      values[key] = value
    else
      others[key] = value
    end
  end
  local errors, warnings = save.validate(values)
  if #errors > 0 then
    err.raise('config_invalid', table.concat(errors, '; '), { data = { saved = false } })
  end
  local file = settings.config_file
  local text, message, code = fs.read(save.target(file))
  if not text and code ~= 'ENOENT' then
    err.raise('config_invalid', message, { hint = 'make it a readable file', where = file })
  end
  local merged = save.merge(text or '', values, others, require('envctl.util.path').shown(file, ctx.roots.root))
  local result = {
    saved = not ctx.route.flags.dry_run, path = file, values = values, changes = changes_of(before, values),
    moved = merged.moved, warnings = warnings, diff = require('envctl.util.diff').lines(text or '', merged.text),
  }
  if result.saved then
    if merged.text ~= text then
      save.write(file, merged.text)
    end
    result.ignore_updated, result.ignore_warning = update_ignores(ctx)
  end
  return result
end

local function effective(ctx)
  local document = require('envctl.config.payload').effective(ctx.settings)
  document.schema, document.ok = 'envctl.config.v1', true
  ctx.out.json(document)
  return 0
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local flags = ctx.route.flags
  if not flags.stdin_json and not flags.set_values and #ctx.route.args == 0 then
    if ctx.out.is_json then
      return effective(ctx)
    elseif flags.headless or not sys.isatty(0) or not sys.isatty(1) then
      err.raise('terminal_required', 'config without values needs a terminal', {
        hint = 'give values: envctl config KEY=VALUE, or JSON with --stdin-json; `envctl show-config` prints them',
      })
    end
    err.raise('not_available', 'the setup wizard is not available yet', {
      hint = 'give values: envctl config KEY=VALUE',
    })
  end
  report(ctx, M.apply(ctx, collect(ctx)))
  return 0
end

return M
