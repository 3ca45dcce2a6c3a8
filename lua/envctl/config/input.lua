--- What `config` is given (JSON on standard input, KEY=VALUE words) -> values by key. Strict: an unknown name, a wrong type or a
--- bad value is an error with the path of it. Nothing is written here.
local json = require 'envctl.util.json'
local schema = require 'envctl.config.schema'

local M = {}

---@class envctl.config.Problem
---@field path string
---@field message string
---@field hint string?

---@class envctl.config.Input
---@field values table<string, any> native, by key
---@field from table<string, string> path that a key was given by
---@field problems envctl.config.Problem[]

---@return envctl.config.Input
function M.new()
  return { values = {}, from = {}, problems = {} }
end

local function problem(input, path, message, hint)
  input.problems[#input.problems + 1] = { path = path, message = message, hint = hint }
end

local function shown(value)
  if value == json.null then
    return 'null'
  elseif type(value) == 'table' then
    return json.is_array(value) and 'a list' or 'an object'
  elseif type(value) == 'string' then
    return '"' .. (#value > 60 and value:sub(1, 57) .. '…' or value) .. '"'
  end
  return tostring(value)
end

local function as_text(value)
  local kind = type(value)
  if kind == 'string' then
    return value
  elseif kind == 'boolean' or math.type(value) == 'integer' then
    return schema.text(value)
  elseif kind == 'number' then
    return tostring(value)
  end
end

local EXPECTED = {
  mode = 'main or trees', bool = 'true or false', port = 'a port from 1 to 65535',
  dir = 'a directory below the project', int = 'a whole number', number = 'a number',
}

-- A directory of a service lies in the project; a value is one line.
local function check_text(def, text)
  if text:find '[%c\127]' then
    return 'control characters are not allowed'
  elseif not utf8.len(text) then
    return 'expected UTF-8 text'
  elseif def.type == 'dir' then
    if text:sub(1, 1) == '/' or text:sub(1, 1) == '~' then
      return 'expected a directory below the project, got ' .. shown(text)
    end
    for part in text:gmatch '[^/]+' do
      if part == '..' then
        return 'expected a directory below the project, got ' .. shown(text)
      end
    end
  end
end

--- Takes one value for a key.
---@param input envctl.config.Input
---@param path string how it was given, for messages
---@param def envctl.Key
---@param value any text or native
function M.put(input, path, def, value)
  local text = as_text(value)
  if not text or (type(value) == 'boolean' and def.type ~= 'bool') then
    problem(input, path, 'expected ' .. (EXPECTED[def.type] or 'text') .. ', got ' .. shown(value))
    return
  end
  local why = check_text(def, text)
  local native, wanted
  if not why then
    native, wanted = schema.parse(def, text)
    if wanted then
      why = wanted .. ', got ' .. shown(value)
    elseif native == nil and def.managed then
      why = 'a value is missing (the default is ' .. schema.text(def.default) .. ')'
    end
  end
  if why then
    problem(input, path, why)
    return
  end
  if native == nil then
    native = ''
  end
  local before = input.values[def.key]
  if before ~= nil and before ~= native and input.from[def.key] ~= path then
    problem(input, path, def.key .. ' was given by ' .. input.from[def.key] .. ' already, with another value',
      'leave one of them out')
    return
  end
  input.values[def.key], input.from[def.key] = native, path
end

local function key_names()
  local out = {}
  for _, def in ipairs(schema.list) do
    if not def.env_only then
      out[#out + 1] = def.key
    end
  end
  return out
end

local function unknown(input, path, name, candidates)
  local near = require('envctl.util.suggest').nearest(name, candidates)
  problem(input, path, 'unknown key', near and 'did you mean ' .. near .. '?' or nil)
end

-- A definition by its name, when `config` may write it.
local function writable(input, path, name)
  local def = schema.find(name)
  if not def then
    local aliased = schema.by_alias[name]
    if aliased then
      local keys = {}
      for i, d in ipairs(aliased) do
        keys[i] = d.key
      end
      problem(input, path, 'old name', 'use ' .. table.concat(keys, ' and '))
      return nil
    end
    unknown(input, path, name, key_names())
  elseif def.env_only then
    problem(input, path, 'only counts in the environment')
    return nil
  end
  return def
end

local tree

-- The shape of the nested document: names -> tables, and at the leaves the definition of the key.
local function shape()
  if not tree then
    tree = {}
    for _, def in ipairs(schema.list) do
      for _, way in ipairs(def.json or {}) do
        local at = tree
        for i = 1, #way - 1 do
          at[way[i]] = at[way[i]] or {}
          at = at[way[i]]
        end
        at[way[#way]] = { def = def }
      end
    end
  end
  return tree
end

local sorted_keys = require('envctl.util.names').sorted

local function walk(input, node, value, path)
  if value == json.null then
    return -- leave as it is
  elseif node.def then
    M.put(input, path, node.def, value)
    return
  elseif type(value) ~= 'table' or json.is_array(value) then
    problem(input, path, 'expected an object, got ' .. shown(value))
    return
  end
  for _, key in ipairs(sorted_keys(value)) do
    local below = path == '' and key or path .. '.' .. key
    if node[key] then
      walk(input, node[key], value[key], below)
    else
      unknown(input, below, key, sorted_keys(node))
    end
  end
end

local function flat(input, key, value, path)
  if value == json.null then
    return
  end
  local def = writable(input, path, key)
  if def then
    M.put(input, path, def, value)
  end
end

--- Takes a decoded JSON document: the nested shape, keys in upper case, or both.
---@param input envctl.config.Input
---@param document any
function M.document(input, document)
  if type(document) ~= 'table' or json.is_array(document) then
    problem(input, '', 'expected an object, got ' .. shown(document))
    return
  end
  local nested = {}
  for _, key in ipairs(sorted_keys(document)) do
    local value = document[key]
    if key == 'managed_keys' and type(value) == 'table' and not json.is_array(value) then
      for _, name in ipairs(sorted_keys(value)) do
        flat(input, name, value[name], 'managed_keys.' .. name)
      end
    elseif key:find '^[A-Z][A-Z0-9_]*$' then
      flat(input, key, value, key)
    else
      nested[key] = value
    end
  end
  walk(input, shape(), nested, '')
end

--- Takes a word KEY=VALUE. A dotted path of the nested document is a key as well. Words overrule what came before.
---@param input envctl.config.Input
---@param text string
function M.assignment(input, text)
  local key, value = text:match '^%s*([^=]-)%s*=(.*)$'
  if not key or key == '' then
    problem(input, text, 'expected KEY=VALUE')
    return
  end
  local def
  if key:find '^[A-Z][A-Z0-9_]*$' then
    def = writable(input, key, key)
  else
    local node = shape()
    for part in key:gmatch '[^.]+' do
      node = node and not node.def and node[part] or nil
    end
    def = node and node.def
    if not def then
      unknown(input, key, key, key_names())
    end
  end
  if def then
    input.values[def.key], input.from[def.key] = nil, nil
    M.put(input, key, def, value)
  end
end

return M
