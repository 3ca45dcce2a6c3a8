--- What an override changed: the paths at which two values differ, with before and after. Pure.
local json = require 'envctl.util.json'
local marks = require 'envctl.script.marks'
local equal = require('envctl.util.like').equal

local M = {}

local MAX_CHANGES = 200
local MASK = '***'

local function known(v)
  if v == json.null then
    return nil
  end
  return v
end

local function is_map(v)
  return type(v) == 'table' and v[1] == nil
end

local function shown(v, name, mask)
  if v == nil then
    return json.null
  elseif not mask then
    return v
  elseif type(v) ~= 'table' then
    return mask(name, tostring(v)) and MASK or v
  end
  local out = {}
  for k, x in pairs(v) do
    out[k] = shown(x, type(k) == 'string' and k or name, mask)
  end
  return setmetatable(out, getmetatable(v))
end

local function put(out, path, before, after, opts)
  if #out >= MAX_CHANGES then
    return
  end
  local name, text, label = tostring(path[#path]), marks.path(path), opts.label
  if label then
    text = label .. ((text == '' or text:sub(1, 1) == '[') and '' or '.') .. text
  end
  out[#out + 1] = {
    path = text, before = shown(before, name, opts.mask), after = shown(after, name, opts.mask),
  }
end

local function walk(out, before, after, path, opts)
  before, after = known(before), known(after)
  if equal(before, after) then
    return
  end
  local maps = is_map(before) and is_map(after)
  local lists = not maps and type(before) == 'table' and type(after) == 'table' and #before == #after and #before > 0
  if not maps and not lists then
    put(out, path, before, after, opts)
    return
  end
  local keys, seen = {}, {}
  for _, t in ipairs { before, after } do
    for k in pairs(t) do
      if not seen[k] then
        seen[k] = true
        keys[#keys + 1] = k
      end
    end
  end
  table.sort(keys, function(a, b)
    if type(a) == type(b) then
      return a < b
    end
    return type(a) == 'number'
  end)
  local n = #path + 1
  for _, k in ipairs(keys) do
    path[n] = k
    walk(out, before[k], after[k], path, opts)
    path[n] = nil
  end
end

--- The differences, in the order of their paths. A list of another length is one change.
---@param before any
---@param after any
---@param opts? {label: string?, mask: (fun(name: string, value: string): boolean)?} label: what every path begins with
---@return {path: string, before: any, after: any}[]
function M.changes(before, after, opts)
  local out = json.array {}
  walk(out, before, after, {}, opts or {})
  return out
end

return M
