--- Late-bound placeholders in commands and environment values. `${…}` is ours; `$HOME` and `$(…)` are text, and `$${`
--- writes `${`. Pure.
local M = {}

---@class envctl.plan.Scope
---@field port integer?
---@field project string
---@field root string
---@field ports table<string, integer>
---@field services table<string, {url: string?, port: integer?}>
---@field env table<string, string> the user's environment
---@field sources table<string, string> what dependencies provide

local function lookup(name, scope)
  if name == 'port' then
    return scope.port
  elseif name == 'project' then
    return scope.project
  elseif name == 'root' then
    return scope.root
  end
  local kind, rest = name:match('^(%a+)%.(.+)$')
  if kind == 'ports' then
    return scope.ports[rest]
  elseif kind == 'env' then
    return scope.env[rest] or ''
  elseif kind == 'services' then
    local service, field = rest:match('^(.+)%.(%a+)$')
    local known = service and scope.services[service]
    if known and (field == 'url' or field == 'port') then
      return known[field]
    end
    return nil
  end
  return scope.sources[name] or scope.sources[(name:gsub('^ENVCTL_SOURCE_', ''))]
end

--- Fills a text in.
---@param text string
---@param scope envctl.plan.Scope
---@return string? filled, string? unknown name of the placeholder that has no value
function M.expand(text, scope)
  if not text:find('${', 1, true) then
    return text
  end
  local out, pos = {}, 1
  while true do
    local at = text:find('${', pos, true)
    local stop = at and text:find('}', at, true)
    if not stop then
      out[#out + 1] = text:sub(pos)
      return table.concat(out)
    end
    local escaped = at > pos and text:sub(at - 1, at - 1) == '$'
    out[#out + 1] = text:sub(pos, escaped and at - 2 or at - 1)
    if escaped then
      out[#out + 1] = '${'
      pos = at + 2
    else
      local name = text:sub(at + 2, stop - 1)
      local value = lookup(name, scope)
      if value == nil then
        return nil, name
      end
      out[#out + 1] = math.type(value) == 'integer' and string.format('%d', value) or tostring(value)
      pos = stop + 1
    end
  end
end

--- The services whose port or URL a text asks for, in the order of appearance.
---@param text string
---@return string[]
function M.services(text)
  local out = {}
  if not text:find('{services.', 1, true) then
    return out
  end
  for dollars, name in text:gmatch('(%$+){services%.([^{}]+)%.%a+}') do
    if #dollars == 1 then
      out[#out + 1] = name
    end
  end
  return out
end

return M
