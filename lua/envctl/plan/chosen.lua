--- Which services a command is about, when it names some. Pure.
local names = require 'envctl.state.names'
local reuse = require 'envctl.plan.reuse'

local M = {}

local function in_group(item, lower)
  for _, group in ipairs(item.groups or {}) do
    if group:lower() == lower then
      return true
    end
  end
  return false
end

-- Adds what the chosen services of a project need: they come first, or are kept when they run.
local function with_needs(project, chosen)
  local by_name, open = {}, {}
  for _, s in ipairs(project.services) do
    by_name[s.name] = s
    open[#open + 1] = chosen[s.name] and s or nil
  end
  while #open > 0 do
    for _, need in ipairs(table.remove(open).needs or {}) do
      if by_name[need] and not chosen[need] then
        chosen[need] = true
        open[#open + 1] = by_name[need]
      end
    end
  end
end

--- The services that --service names, by name or group, with what they need; a restart is of nothing else.
---@param facts table
---@return table<string, table<string, boolean>>? chosen services per project, nil when all are meant
---@return table[] problems errors for names that fit nothing
function M.services(facts)
  local problems = {}
  if not facts.service_filter then
    return nil, problems
  end
  local all, known, displayed, seen = {}, {}, {}, {}
  for _, project in ipairs(facts.projects) do
    for _, s in ipairs(project.services) do
      all[#all + 1] = { project = project.name, service = s.name, groups = s.groups }
      if not seen[s.name] then
        seen[s.name] = true
        known[#known + 1] = s.name
      end
      displayed[#displayed + 1] = names.display(project.name, s.name)
    end
  end
  table.move(displayed, 1, #displayed, #known + 1, known)
  local chosen = {}
  for _, token in ipairs(facts.service_filter) do
    local hits = {}
    for _, item in ipairs(all) do
      local lower = token:lower()
      if item.service:lower() == lower or names.display(item.project, item.service):lower() == lower
        or names.short(item.project, item.service):lower() == lower or in_group(item, lower) then
        hits[#hits + 1] = item
      end
    end
    if #hits == 0 then
      problems[#problems + 1] = require('envctl.util.names').problem('service', token, {}, known)
    end
    for _, item in ipairs(hits) do
      chosen[item.project] = chosen[item.project] or {}
      chosen[item.project][item.service] = true
    end
  end
  for _, project in ipairs(facts.command ~= 'restart' and facts.projects or {}) do
    with_needs(project, chosen[project.name] or {})
  end
  return chosen, problems
end

--- Ports of a project move together. So when it has to move, what runs of it moves along, also when only other services are named:
--- else it would go on with a port that is no longer its own, and with addresses of the others that are a stranger's now.
---@param facts table
---@param chosen table<string, table<string, boolean>> is added to
---@param assigned table<string, envctl.plan.Ports>
function M.add_moved(facts, chosen, assigned)
  local truth = facts.truth and facts.truth.services or {}
  for _, record in pairs(reuse.saved(facts).services or {}) do
    local own, ports = chosen[record.project], assigned[record.project]
    local fact = truth[names.display(record.project, record.service)]
    if own and ports and ports.moved and fact and fact.alive then
      own[record.service] = true
    end
  end
end

return M
