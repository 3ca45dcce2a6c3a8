--- The part of JSON Schema that docs/reference/schemas uses. An unknown keyword is an error, so that nothing is skipped unseen.
local json = require 'envctl.util.json'

local M = {}

local IGNORED = { title = true, ['$schema'] = true, ['$defs'] = true, description = true }

local function kind_of(value)
  if value == json.null then
    return 'null'
  elseif type(value) == 'table' then
    return json.is_array(value) and 'array' or 'object'
  elseif type(value) == 'number' then
    return math.type(value) == 'integer' and 'integer' or 'number'
  end
  return type(value)
end

local function show(value)
  return type(value) == 'table' and kind_of(value) or tostring(value)
end

local keywords = {}

function keywords.type(schema, value, at, problems)
  local wanted = schema.type
  local kind = kind_of(value)
  -- An empty table may be either.
  local empty = type(value) == 'table' and next(value) == nil and not getmetatable(value)
  for _, w in ipairs(type(wanted) == 'table' and wanted or { wanted }) do
    if w == kind or (w == 'number' and kind == 'integer') or (empty and w == 'object') then
      return
    end
  end
  problems[#problems + 1] = at .. ': is ' .. kind .. ', not ' .. (type(wanted) == 'table' and table.concat(wanted, '|') or wanted)
end

keywords['const'] = function(schema, value, at, problems)
  if value ~= schema.const then
    problems[#problems + 1] = at .. ': is ' .. show(value) .. ', not ' .. show(schema.const)
  end
end

keywords['enum'] = function(schema, value, at, problems)
  for _, v in ipairs(schema.enum) do
    if v == value then
      return
    end
  end
  problems[#problems + 1] = at .. ': ' .. show(value) .. ' is none of the allowed values'
end

function keywords.pattern(schema, value, at, problems)
  -- The patterns in use read the same in Lua.
  if type(value) == 'string' and not value:find(schema.pattern) then
    problems[#problems + 1] = at .. ': ' .. value .. ' does not fit ' .. schema.pattern
  end
end

function keywords.required(schema, value, at, problems)
  if kind_of(value) == 'null' then
    return
  end
  for _, key in ipairs(schema.required) do
    if type(value) == 'table' and value[key] == nil then
      problems[#problems + 1] = at .. ': ' .. key .. ' is missing'
    end
  end
end

function keywords.properties(schema, value, at, problems)
  for key, sub in pairs(schema.properties) do
    if type(value) == 'table' and value[key] ~= nil then
      M.check(sub, value[key], at .. '.' .. key, problems)
    end
  end
end

function keywords.additionalProperties(schema, value, at, problems)
  for key, v in pairs(type(value) == 'table' and value or {}) do
    if not (schema.properties and schema.properties[key]) and type(schema.additionalProperties) == 'table' then
      M.check(schema.additionalProperties, v, at .. '.' .. tostring(key), problems)
    end
  end
end

function keywords.items(schema, value, at, problems)
  for i, v in ipairs(type(value) == 'table' and value or {}) do
    M.check(schema.items, v, at .. '[' .. i .. ']', problems)
  end
end

local function count(value)
  local n = 0
  for _ in pairs(type(value) == 'table' and value or {}) do
    n = n + 1
  end
  return n
end

function keywords.minProperties(schema, value, at, problems)
  if count(value) < schema.minProperties then
    problems[#problems + 1] = at .. ': too few properties'
  end
end

function keywords.maxProperties(schema, value, at, problems)
  if count(value) > schema.maxProperties then
    problems[#problems + 1] = at .. ': too many properties'
  end
end

--- Adds what does not fit to problems.
---@param schema table
---@param value any
---@param at string
---@param problems string[]
function M.check(schema, value, at, problems)
  for keyword in pairs(schema) do
    local fn = keywords[keyword]
    if fn then
      fn(schema, value, at, problems)
    elseif not IGNORED[keyword] then
      problems[#problems + 1] = at .. ': unknown keyword ' .. keyword
    end
  end
  return problems
end

return M
