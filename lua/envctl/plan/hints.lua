--- The way out of what a plan cannot do: what was meant, or what has to be switched on. Pure.
local nearest = require('envctl.util.suggest').nearest

local M = {}

--- Something that is needed and not there.
---@param facts table
---@param known string[] names of the project's services
---@param need string
---@return string
function M.need(facts, known, need)
  local built_in = require('envctl.deps.plan').built_in
  for _, id in ipairs(built_in) do
    if id == need then
      return ('switch it on: %s_%s_ENABLE=true, or dependencies = { %s = {} } in a script'):format(
        facts.mode:upper(), need:upper(), need)
    end
  end
  known = table.move(facts.config.dependencies, 1, #facts.config.dependencies, #known + 1, known)
  local near = nearest(need, known) or nearest(need, built_in)
  return (near and 'did you mean "' .. near .. '"? ' or '') .. 'known: ' .. table.concat(known, ', ')
end

--- A placeholder that has no value.
---@param scope envctl.plan.Scope
---@param name string
---@return string
function M.placeholder(scope, name)
  local of = name:match '^services%.(.+)%.url$' or name:match '^services%.(.+)%.port$'
  if name == 'port' then
    return 'it does not listen, so it has no port'
  elseif of and scope.services[of] then
    return of .. ' does not listen, so it has none'
  end
  local known = { 'port', 'project', 'root' }
  for _, part in ipairs { { scope.sources, '' }, { scope.ports, 'ports.' }, { scope.services, 'services.', '.url' } } do
    for key in pairs(part[1]) do
      known[#known + 1] = part[2] .. key .. (part[3] or '')
    end
  end
  table.sort(known)
  local near = nearest(name, known)
  return near and 'did you mean ${' .. near .. '}?' or 'write $${' .. name .. '} when the text is meant as it is'
end

return M
