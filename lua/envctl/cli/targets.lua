--- Names -> projects and services, for every command; what fits is in util.names. Nothing happens before all names are resolved,
--- and an unknown name is an error with suggestions.
local err = require 'envctl.err'
local names_of = require 'envctl.util.names'

local matching, problem, not_running = names_of.matching, names_of.problem, names_of.not_running

local M = {}

local function fail(what)
  err.raise(what.code, what.message, {
    hint = what.hint, data = { candidates = require('envctl.util.json').array(what.candidates) },
  })
end

--- One name of a list. Raises.
---@param kind string
---@param token string
---@param names string[]
---@return string
function M.one(kind, token, names)
  local hits = matching(token, names)
  if #hits ~= 1 then
    fail(problem(kind, token, hits, names))
  end
  return hits[1]
end

local function name_list(records, field)
  local out, seen = {}, {}
  for _, r in ipairs(records) do
    local name = r[field]
    if name and not seen[name] then
      seen[name] = true
      out[#out + 1] = name
    end
  end
  table.sort(out)
  return out
end

--- Projects that the route names, in the order of `projects`; all of them when it names none and has --all, or none of them.
---@param route envctl.Route
---@param projects {name: string}[]
---@return table[] selected, boolean explicit
function M.projects(route, projects)
  local tokens = {}
  table.move(route.projects, 1, #route.projects, 1, tokens)
  table.move(route.args, 1, #route.args, #tokens + 1, tokens)
  if #tokens == 0 then
    return route.flags.all and projects or {}, route.flags.all == true
  end
  local names, wanted = name_list(projects, 'name'), {}
  for _, token in ipairs(tokens) do
    wanted[M.one('project', token, names)] = true
  end
  local out = {}
  for _, project in ipairs(projects) do
    if wanted[project.name] then
      out[#out + 1] = project
    end
  end
  return out, true
end

--- One name of those that are running. Raises requested_project_not_running, or ambiguous_target.
---@param token string
---@param names string[]
---@return string
function M.running(token, names)
  local hits = matching(token, names)
  if #hits == 1 then
    return hits[1]
  end
  fail(#hits > 1 and problem('project', token, hits, names) or not_running(token, names))
end

-- Records of the services that a script has put into a group of that name.
local function by_group(token, records)
  local out, lower = {}, token:lower()
  for _, r in ipairs(records) do
    for _, group in ipairs(r.plan and r.plan.groups or {}) do
      if group:lower() == lower then
        out[#out + 1] = r
        break
      end
    end
  end
  return out
end

-- Records that a service word names: by display name ("Main Backend"), else by the service's own name, in every project, else by
-- group.
local function by_service(token, records)
  local hits = matching(token, name_list(records, 'service'))
  local field = 'service'
  local display = matching(token, name_list(records, 'name'))
  local exact = #display == 1 and display[1]:lower() == token:lower()
  if exact or #hits == 0 then
    hits, field = display, 'name'
  end
  if #hits ~= 1 then
    local group = by_group(token, records)
    if #group > 0 then
      return group
    end
    local names = name_list(records, 'name')
    for _, name in ipairs(name_list(records, 'service')) do
      names[#names + 1] = name
    end
    local what = problem('service', token, hits, names)
    if #hits == 0 then -- it may well be one of the repository's
      what.message = ('service "%s" is not running'):format(token)
      what.hint = what.hint:gsub('known: ', 'there are: ')
    end
    fail(what)
  end
  local out = {}
  for _, r in ipairs(records) do
    if r[field] == hits[1] then
      out[#out + 1] = r
    end
  end
  return out
end

--- Display names of the records that the route selects. Projects and services narrow each other; words are projects, or display
--- names of services. With no selector at all: every record. Raises before anything is selected when one name does not resolve.
---@param route envctl.Route
---@param records {name: string, project: string, service: string}[]
---@return string[]
function M.services(route, records)
  local projects = name_list(records, 'project')
  local wanted, picked
  for _, token in ipairs(route.projects) do
    wanted = wanted or {}
    wanted[M.running(token, projects)] = true
  end
  for _, token in ipairs(route.args) do
    local display = {}
    for _, r in ipairs(records) do
      if r.name:lower() == token:lower() then
        display[#display + 1] = r.name
      end
    end
    if #display == 1 and #matching(token, projects) == 0 then
      picked = picked or {}
      picked[display[1]] = true
    else
      wanted = wanted or {}
      wanted[M.running(token, projects)] = true
    end
  end
  local pool = records
  if wanted then
    pool = {}
    for _, r in ipairs(records) do
      if wanted[r.project] then
        pool[#pool + 1] = r
      end
    end
  end
  local chosen = {}
  for _, token in ipairs(route.services) do
    for _, r in ipairs(by_service(token, pool)) do
      chosen[r.name] = true
    end
  end
  local filtered = #route.services > 0
  local out = {}
  for _, r in ipairs(records) do
    local in_pool = not wanted or wanted[r.project]
    local fits = filtered and chosen[r.name] or (not filtered and in_pool and (wanted or not picked))
    if fits or (picked and picked[r.name]) then
      out[#out + 1] = r.name
    end
  end
  return out
end

return M
