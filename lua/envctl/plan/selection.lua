--- Which projects a command is about. Pure.
local names = require 'envctl.util.names'

local M = {}

local function names_of(projects)
  local out = {}
  for i, p in ipairs(projects) do
    out[i] = p.name
  end
  return out
end

-- A worktree goes by the name of its branch as well.
local function of_branch(token, discovered)
  for _, p in ipairs(discovered) do
    if p.branch == token then
      return p
    end
  end
end

local function by_names(tokens, discovered, problems)
  local selected, seen, known = {}, {}, names_of(discovered)
  for _, token in ipairs(tokens) do
    local hits = names.matching(token, known)
    -- A name goes before a branch, except that no name has a slash.
    local tree = (#hits == 0 or token:find('/', 1, true)) and of_branch(token, discovered)
    if #hits == 1 or tree then
      seen[tree and tree.name or hits[1]] = true
    else
      problems[#problems + 1] = names.problem('project', token, hits, known)
    end
  end
  for _, p in ipairs(discovered) do
    if seen[p.name] then
      selected[#selected + 1] = p
    end
  end
  return selected
end

local function by_substring(tokens, discovered, problems)
  local selected, seen = {}, {}
  for _, token in ipairs(tokens) do
    local hit = false
    for _, p in ipairs(discovered) do
      if p.name:lower():find(token:lower(), 1, true) then
        seen[p.name], hit = true, true
      end
    end
    if not hit then
      problems[#problems + 1] = names.problem('project', token, {}, names_of(discovered))
    end
  end
  for _, p in ipairs(discovered) do
    if seen[p.name] then
      selected[#selected + 1] = p
    end
  end
  return selected
end

local TREE_MESSAGE = "Run 'envctl list-trees --json', then name a tree: '--project <tree>' or '--plan <selector>'."
local NO_PLANS_MESSAGE = "There are no plan files. Name a tree: 'envctl plan <tree>', or use --trees."

local SHOWN_PLANS = 8

local function plan_message(plans)
  local ids = {}
  for i = 1, math.min(#plans, SHOWN_PLANS) do
    ids[i] = plans[i].id
  end
  local more = #plans > SHOWN_PLANS and (' and %d more'):format(#plans - SHOWN_PLANS) or ''
  return "Name what to plan: '--headless --plan <selector>'. There are: " .. table.concat(ids, ', ') .. more .. '.'
end

-- Whether all the selectors are worktrees by their whole names, and none of them a plan.
local function are_trees(input)
  local known = {}
  for _, p in ipairs(input.discovered) do
    known[p.name:lower()] = true
  end
  local find = require('envctl.plan.plan_selection').find
  for _, token in ipairs(input.args) do
    if not known[token:lower()] or #find(token, input.plans, input.planning) > 0 then
      return false
    end
  end
  return #input.args > 0
end

local function for_plan(input, result)
  local plans = input.plans
  local counted = input.counts and #input.counts > 0
  if not counted and are_trees(input) then
    result.reason = 'explicit_project_filters'
    result.selected = by_names(input.args, input.discovered, result.problems)
    return result
  end
  if #plans > 0 and (#input.args > 0 or counted) or counted then
    require('envctl.plan.plan_selection').select(input, result)
    return result
  elseif #input.args > 0 then
    result.reason = 'explicit_project_filters'
    result.selected = by_substring(input.args, input.discovered, result.problems)
    for _, problem in ipairs(#plans == 0 and input.planning and result.problems or {}) do
      problem.hint = problem.hint .. '; and there are no plan files: one is ' .. input.planning.root .. '/GROUP/NAME.md'
    end
    return result
  end
  result.required = true
  if #plans == 0 then
    result.reason, result.message = 'no_planning_files', NO_PLANS_MESSAGE
  elseif input.headless then
    result.reason, result.message = 'headless_plan_requires_explicit_selection', plan_message(plans)
  else
    result.reason = 'interactive_plan_selector'
  end
  return result
end

local function for_resume(input, result)
  local recorded = {}
  for _, p in ipairs(input.discovered) do
    if input.recorded[p.name] then
      recorded[#recorded + 1] = p
    end
  end
  result.selected = recorded
  return result
end

--- Worktrees that a choice begins with: those of the saved state, else those that were chosen last, else those of plan files.
---@param discovered {name: string}[]
---@param recorded table<string, any> projects of the saved state
---@param remembered string[]
---@param of_plans fun(): string[]
---@return string[] names
function M.preselected(discovered, recorded, remembered, of_plans)
  local chosen = {}
  for _, name in ipairs(remembered) do
    chosen[name] = true
  end
  for _, known in ipairs { recorded, chosen } do
    local out = {}
    for _, p in ipairs(discovered) do
      out[#out + 1] = known[p.name] and p.name or nil
    end
    if #out > 0 then
      return out
    end
  end
  return of_plans()
end

--- What somebody answered to the question which of a list: numbers of the list, names, `all`, or nothing for the default.
---@param text string
---@param known string[] names, in the order of the list
---@param default string[]
---@return string[]? chosen nil when it is not understood
---@return string? why
function M.answer(text, known, default)
  local chosen, out = {}, {}
  for word in text:gmatch '[^%s,]+' do
    local hits = word:find '^%d+$' and { known[tonumber(word)] } or names.matching(word, known)
    if word == 'all' then
      hits = known
    elseif #hits ~= 1 then
      return nil, #hits == 0 and 'there is no ' .. word or word .. ' fits ' .. names.listed(hits)
    end
    for _, name in ipairs(hits) do
      chosen[name] = true
    end
  end
  for _, name in ipairs(known) do
    out[#out + 1] = chosen[name] and name or nil
  end
  return #out > 0 and out or default
end

---@class envctl.plan.SelectionInput
---@field command string
---@field mode 'main'|'trees'
---@field headless boolean
---@field all boolean? --all: every tree
---@field projects string[] --project
---@field args string[] positionals
---@field discovered {name: string, root: string}[]
---@field preselected string[]
---@field recorded table<string, boolean> projects of the saved state of this mode
---@field plans {id: string, feature: string}[] plan files
---@field planning {root: string, base: string, relative: string}? where they are
---@field counts string[]? --count
---@field setup table? --setup-worktree and its companions

---@class envctl.plan.Selection
---@field required boolean somebody has to choose first
---@field reason string?
---@field message string?
---@field selected table[] projects
---@field preselected string[]
---@field planning_files string[]?
---@field problems table[] error objects
---@field create {feature: string, count: integer, n: integer?, plan: table?}[]? worktrees to make
---@field remove table[]? projects that are too many
---@field archive table[]? plans that are done

--- Decides.
---@param input envctl.plan.SelectionInput
---@return envctl.plan.Selection
function M.select(input)
  local result = { required = false, selected = {}, preselected = {}, problems = {} }
  if input.setup then
    require('envctl.plan.plan_selection').setup(input, result)
    return result
  elseif #input.projects > 0 then
    result.reason = 'explicit_project_filters'
    result.selected = by_names(input.projects, input.discovered, result.problems)
    return result
  elseif input.command == 'plan' then
    return for_plan(input, result)
  elseif #input.args > 0 then
    result.reason = 'explicit_project_filters'
    result.selected = by_names(input.args, input.discovered, result.problems)
    return result
  elseif input.command == 'resume' or (input.command == 'restart' and next(input.recorded)) then
    return for_resume(input, result)
  elseif input.mode == 'trees' and not input.all then
    result.required, result.preselected = true, input.preselected
    result.reason = 'interactive_tree_start_selector'
    if input.headless then
      result.reason, result.message = 'headless_tree_start_requires_explicit_selection', TREE_MESSAGE
    end
    return result
  end
  result.selected = input.discovered
  return result
end

return M
