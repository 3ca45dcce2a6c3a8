--- What a trip through a script loses, found again in a value of the same form: which empty tables are lists, and which keys are
--- there with null. Pure.
local json = require 'envctl.util.json'

local M = {}

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
