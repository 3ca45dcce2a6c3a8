--- What a trip through a script or a file loses, found again in a value of the same form, or not looked at: which empty tables are
--- lists, and which keys are there with null. Pure.
local json = require 'envctl.util.json'

local M = {}

local function said(v)
  if v == json.null then
    return nil
  end
  return v
end

--- Whether two values say the same.
---@param a any
---@param b any
---@return boolean
function M.equal(a, b)
  a, b = said(a), said(b)
  if type(a) ~= 'table' or type(b) ~= 'table' then
    return a == b
  end
  for k, v in pairs(a) do
    if not M.equal(v, b[k]) then
      return false
    end
  end
  for k, v in pairs(b) do
    if said(v) ~= nil and said(a[k]) == nil then
      return false
    end
  end
  return true
end

-- What is known of a place: that it is a list, null at times, and what is known of its parts. All items of a list are one place.
local function learn(known, v)
  if v == json.null then
    known.null = true
  elseif type(v) ~= 'table' then
    return known
  elseif json.is_array(v) then
    known.list = true
    known.item = known.item or {}
    for _, x in ipairs(v) do
      learn(known.item, x)
    end
  else
    known.parts = known.parts or {}
    for k, x in pairs(v) do
      known.parts[k] = learn(known.parts[k] or {}, x)
    end
  end
  return known
end

local function apply(known, v)
  if type(v) ~= 'table' then
    return v
  elseif known.list and (next(v) == nil or v[1] ~= nil) then
    local out = json.array {}
    for i, x in ipairs(v) do
      out[i] = apply(known.item, x)
    end
    return out
  elseif not known.parts then
    return v
  end
  local out = setmetatable({}, getmetatable(v))
  for k, x in pairs(v) do
    out[k] = known.parts[k] and apply(known.parts[k], x) or x
  end
  for k, part in pairs(known.parts) do
    if out[k] == nil and part.null then
      out[k] = json.null
    end
  end
  return out
end

--- A copy of a value in the form of a model.
---@param model any
---@param value any
---@return any
function M.like(model, value)
  return apply(learn({}, model), value)
end

return M
