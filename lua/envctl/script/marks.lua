--- What a script's table can hold beside plain data, as it crosses the pipe: a function, "unset", "append". A mark is a table with
--- a key that no script's own key can be (control characters in keys are refused). Pure.
local M = {}

local KIND = '\1'

--- The key that only marks have.
M.KIND = KIND

---@class envctl.script.Fn
---@field id integer the function's number in the script host
---@field file string shown path of the file it is written in
---@field line integer where it starts

---@param id integer
---@param file string
---@param line integer
---@return table
function M.fn(id, file, line)
  return { [KIND] = 'fn', id = id, file = file, line = line }
end

---@return table
function M.unset()
  return { [KIND] = 'unset' }
end

---@param items any[]
---@return table
function M.append(items)
  return { [KIND] = 'append', items = items }
end

---@param v any
---@return envctl.script.Fn?
function M.as_fn(v)
  if type(v) == 'table' and v[KIND] == 'fn' and math.type(v.id) == 'integer' then
    return v
  end
  return nil
end

---@param v any
---@return boolean
function M.is_unset(v)
  return type(v) == 'table' and v[KIND] == 'unset'
end

---@param v any
---@return any[]? items
function M.as_append(v)
  return type(v) == 'table' and v[KIND] == 'append' and type(v.items) == 'table' and v.items or nil
end

---@param v any
---@return boolean
function M.is_mark(v)
  return type(v) == 'table' and v[KIND] ~= nil
end

--- A list has [1] or nothing; what is empty can be either.
---@param v any
---@return boolean
function M.is_list(v)
  return type(v) == 'table' and v[1] ~= nil
end

-- A word that can stand after a dot.
local function is_name(key)
  return type(key) == 'string' and key:find('^[%a_][%w_-]*$') ~= nil
end

--- A path as the messages write it: services.api.port, needs[2], on["service.ready"].
---@param path (string|integer)[]
---@param last integer? up to this part
---@return string
function M.path(path, last)
  local out = {}
  for i = 1, last or #path do
    local key = path[i]
    if math.type(key) == 'integer' then
      out[#out + 1] = '[' .. key .. ']'
    elseif is_name(key) then
      out[#out + 1] = (i > 1 and '.' or '') .. key
    else
      out[#out + 1] = '["' .. tostring(key):gsub('[%c"\\]', '?') .. '"]'
    end
  end
  return table.concat(out)
end

return M
