--- The reference page of `.envctl.lua`, from the tables that scripts are checked with: docs/reference/scripting.md. Pure.
local points = require 'envctl.script.points'
local shapes = require 'envctl.script.shapes'

local M = {}

local sorted = require('envctl.util.names').sorted

local kinds = {}

-- What may stand there, in words.
local function kind_of(shape)
  return kinds[shape.type](shape)
end

function kinds.string(shape)
  return shape.what or 'a string'
end

function kinds.integer(shape)
  if shape.min and shape.min == shape.max then
    return ('`%d`'):format(shape.min)
  end
  return shape.min and shape.max and ('%d to %d'):format(shape.min, shape.max) or 'an integer'
end

function kinds.number()
  return 'a number'
end

function kinds.boolean()
  return '`true` or `false`'
end

kinds['function'] = function(shape)
  return shape.what or 'a function'
end

function kinds.any()
  return 'anything'
end

function kinds.enum(shape)
  local words = {}
  for i, value in ipairs(shape.values) do
    words[i] = ('`"%s"`'):format(value)
  end
  return table.concat(words, ', ', 1, #words - 1) .. (#words > 1 and ' or ' or '') .. words[#words]
end

function kinds.list(shape)
  if shape.item.type == 'record' then
    return 'a list of ' .. kind_of(shape.item)
  elseif shape.item.type == 'enum' then
    return 'a list of ' .. kind_of(shape.item):gsub(' or ', ', ')
  end
  return shape.what or 'a list'
end

function kinds.map(shape)
  return shape.what or 'a table'
end

function kinds.record(shape)
  return '`{ ' .. table.concat(sorted(shape.fields), ', ') .. ' }`'
end

function kinds.union(shape)
  local parts = {}
  for i, one in ipairs(shape.of) do
    parts[i] = kind_of(one)
  end
  return table.concat(parts, ', or ')
end

local function add(out, ...)
  local lines = { ... }
  table.move(lines, 1, #lines, #out + 1, out)
end

local function sentence(text)
  return text:sub(1, 1):upper() .. text:sub(2) .. '.'
end

local function cell(text)
  return (text:gsub('|', '\\|'):gsub('\n', ' '))
end

local function add_fields(out, shape)
  out[#out + 1] = '| key | value | |'
  out[#out + 1] = '|---|---|---|'
  for _, key in ipairs(sorted(shape.fields)) do
    local field = shape.fields[key]
    out[#out + 1] = ('| `%s` | %s | %s |'):format(key, cell(kind_of(field)), cell(field.doc or ''))
  end
end

-- The record within a shape, when there is one.
local function record_in(shape)
  if shape.type == 'record' then
    return shape
  elseif shape.type == 'list' then
    return record_in(shape.item)
  end
  for _, one in ipairs(shape.of or {}) do
    local found = record_in(one)
    if found then
      return found
    end
  end
end

-- Keys that are tables themselves have a section each.
local function add_nested(out, fields)
  for _, key in ipairs(sorted(fields)) do
    local record = record_in(fields[key])
    if record then
      local one = record.exclusive and ' One of `' .. table.concat(record.exclusive, '`, `') .. '`.' or ''
      local needed = record.required and ' Needed: `' .. table.concat(record.required, '`, `') .. '`.' or ''
      add(out, '', '### ' .. key, '', sentence(fields[key].doc) .. one .. needed, '')
      add_fields(out, record)
    end
  end
end

local function inputs(fields)
  local out = {}
  for i, name in ipairs(sorted(fields)) do
    out[i] = ('`%s`: %s'):format(name, fields[name])
  end
  return table.concat(out, '; ')
end

local function later(entry)
  return entry.available and '' or ' *This version does not use it yet: it is declared, and using it is a warning.*'
end

local function add_points(out)
  for _, p in ipairs(points.list) do
    add(out, '', '### ' .. p.name, '', sentence(p.doc) .. later(p), '',
      '- `ctx`: ' .. inputs(p.input), '- returns ' .. p.returns,
      '- example of `ctx`: `' .. require('envctl.util.json').encode_line(p.sample.input) .. '`')
  end
end

local function add_hooks(out)
  out[#out + 1] = '| event | when | `ev` |'
  out[#out + 1] = '|---|---|---|'
  for _, h in ipairs(points.hook_list) do
    out[#out + 1] = ('| `%s` | %s | %s |'):format(h.name, cell(h.doc .. (h.available and '' or ' (not called yet)')),
      cell(inputs(h.ev)))
  end
end

local function add_modules(out)
  for _, m in ipairs(points.module_list) do
    add(out, '', '### ' .. m.name, '', sentence(m.doc) .. later(m))
    local names = sorted(m.functions)
    if #names > 0 then
      out[#out + 1] = ''
    end
    for _, name in ipairs(names) do
      local f = m.functions[name]
      out[#out + 1] = ('- `%s(%s)` returns %s%s'):format(name, f.args, f.returns,
        f.optional and ' (may be missing: then the bundled one is used)' or '')
    end
  end
end

--- The page.
---@param note string first line
---@return string
function M.text(note)
  local out = {}
  add(out, note, '', '# Reference of `.envctl.lua`', '')
  add(out, 'What the file returns. The guide is [scripting](../scripting.md).', '')
  add_fields(out, points.shape())
  add(out, '', '## services', '', 'Each entry of `services` is a new service, or a change of one that was found.', '')
  add_fields(out, shapes.service)
  add_nested(out, shapes.service.fields)
  add(out, '', '## dependencies', '')
  add_fields(out, shapes.dependency)
  add(out, '', '## override', '')
  add(out, 'Functions `function(base, ctx)` by point. `base(ctx)` is what the layer below decides.')
  add_points(out)
  add(out, '', '## on', '', 'Functions `function(ev, host)` by event.', '')
  add_hooks(out)
  add(out, '', '## modules', '', 'Parts of envctl\'s policy that can be replaced whole.')
  add_modules(out)
  return table.concat(out, '\n') .. '\n'
end

return M
