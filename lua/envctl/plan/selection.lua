--- Which projects a command is about. Names match exactly, then without case, then as the only prefix without case. Pure.
local M = {}

local function matches(tests, list, name_of)
  for _, test in ipairs(tests) do
    local hits = {}
    for _, item in ipairs(list) do
      if test(name_of(item)) then
        hits[#hits + 1] = item
      end
    end
    if #hits > 0 then
      return hits
    end
  end
  return {}
end

--- Resolves one name.
---@generic T
---@param token string
---@param list T[]
---@param name_of fun(item: T): string
---@return T? hit, T[] candidates when the name fits several
function M.resolve(token, list, name_of)
  local lower = token:lower()
  local hits = matches({
    function(name)
      return name == token
    end,
    function(name)
      return name:lower() == lower
    end,
    function(name)
      return lower ~= '' and name:lower():sub(1, #lower) == lower
    end,
  }, list, name_of)
  if #hits == 1 then
    return hits[1], {}
  end
  return nil, hits
end

--- The error object for a name that fits nothing, or several.
---@param kind string 'project' or 'service'
---@param token string
---@param candidates string[] names it fits
---@param known string[] all names
---@return table
function M.problem(kind, token, candidates, known)
  if #candidates > 1 then
    return {
      code = 'ambiguous_target',
      message = string.format('%s "%s" fits %s', kind, token, table.concat(candidates, ', ')),
      hint = 'give the whole name', candidates = candidates,
    }
  end
  local near = require('envctl.util.suggest').nearest(token, known)
  local hint = #known > 0 and 'known: ' .. table.concat(known, ', ') or 'none is known here'
  return {
    code = 'unknown_target',
    message = string.format('there is no %s "%s"', kind, token),
    hint = near and 'did you mean ' .. near .. '? ' .. hint or hint,
    candidates = known,
  }
end

local function names_of(projects)
  local out = {}
  for i, p in ipairs(projects) do
    out[i] = p.name
  end
  return out
end

local function project_name(project)
  return project.name
end

local function by_names(tokens, discovered, problems)
  local selected, seen = {}, {}
  for _, token in ipairs(tokens) do
    local hit, several = M.resolve(token, discovered, project_name)
    if hit then
      seen[hit.name] = true
    else
      problems[#problems + 1] = M.problem('project', token, names_of(several), names_of(discovered))
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
      problems[#problems + 1] = M.problem('project', token, {}, names_of(discovered))
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
local PLAN_MESSAGE = "Run 'envctl list-trees --json', then name what to plan: '--headless --plan <selector>'."
local NO_PLANS_MESSAGE = "There are no plan files. Name a tree: 'envctl plan <tree>', or use --trees."

-- The plans that a selector can mean: by path, by file name, by feature; with or without .md.
local function plans_of(token, plans)
  local wanted, hits = token:lower():gsub('%.md$', ''), {}
  for _, plan in ipairs(plans) do
    local id = plan.id:lower():gsub('%.md$', '')
    if wanted == id or wanted == id:match('[^/]*$') or wanted == plan.feature then
      hits[#hits + 1] = plan
    end
  end
  return hits
end

-- Resolves every selector to one plan; nil when one of them is no plan.
local function resolve_plans(input, result)
  local out = {}
  for _, token in ipairs(input.args) do
    local hits = plans_of(token, input.plans)
    if #hits == 0 then
      return nil
    elseif #hits > 1 then
      local ids = {}
      for i, plan in ipairs(hits) do
        ids[i] = plan.id
      end
      result.problems[#result.problems + 1] = {
        code = 'plan_ambiguous',
        message = string.format('plan "%s" fits %s', token, table.concat(ids, ', ')),
        hint = 'give its path below the planning directory',
        candidates = ids,
      }
    else
      out[#out + 1] = hits[1]
    end
  end
  return out
end

local function trees_of_plans(input, plans, result)
  local features, met = {}, {}
  for _, plan in ipairs(plans) do
    features[plan.feature] = true
  end
  for _, p in ipairs(input.discovered) do
    local feature = p.feature or p.name:gsub('%-%d+$', '')
    if features[feature] then
      met[feature] = true
      result.selected[#result.selected + 1] = p
    end
  end
  for _, plan in ipairs(plans) do
    if not met[plan.feature] then
      met[plan.feature] = true
      result.problems[#result.problems + 1] = {
        code = 'not_available',
        message = 'there is no worktree for ' .. plan.id .. ', and this envctl does not make worktrees yet',
        hint = 'make one: git worktree add -b ' .. plan.feature .. '-1 trees/' .. plan.feature .. '/1',
      }
    end
  end
end

local function for_plan(input, result)
  local plans = input.plans
  if #input.args > 0 then
    local named = #plans > 0 and resolve_plans(input, result)
    if named then
      result.reason, result.planning_files = 'explicit_plan_selectors', {}
      for i, plan in ipairs(named) do
        result.planning_files[i] = plan.id
      end
      trees_of_plans(input, named, result)
    else
      result.reason = 'explicit_project_filters'
      result.selected = by_substring(input.args, input.discovered, result.problems)
    end
    return result
  end
  result.required = true
  if #plans == 0 then
    result.reason, result.message = 'no_planning_files', NO_PLANS_MESSAGE
  elseif input.headless then
    result.reason, result.message = 'headless_plan_requires_explicit_selection', PLAN_MESSAGE
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

---@class envctl.plan.Selection
---@field required boolean somebody has to choose first
---@field reason string?
---@field message string?
---@field selected table[] projects
---@field preselected string[]
---@field planning_files string[]?
---@field problems table[] error objects

--- Decides.
---@param input envctl.plan.SelectionInput
---@return envctl.plan.Selection
function M.select(input)
  local result = { required = false, selected = {}, preselected = {}, problems = {} }
  if #input.projects > 0 then
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
