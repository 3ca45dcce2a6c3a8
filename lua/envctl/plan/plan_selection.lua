--- Which plans and worktrees `plan` and the setup flags mean: what is there, what has to be made, what has to go. Naming a plan
--- means at least one worktree; only a count takes any away. Pure.
local M = {}

local function trimmed(token)
  return (token:match('^%s*(.-)%s*$'):gsub('\\', '/'))
end

local function strip(text, prefix)
  if prefix and prefix ~= '' and text:sub(1, #prefix + 1) == prefix .. '/' then
    return text:sub(#prefix + 2)
  end
  return text
end

-- A selector without what may stand around it: `./`, the planning directory, `.md`.
local function normal(token, planning)
  local text = strip(trimmed(token), '.')
  text = strip(text, planning.root)
  text = strip(text, planning.base)
  text = strip(text, planning.relative)
  return (text:gsub('%.[mM][dD]$', ''))
end

--- The plans that a selector fits: exactly, else without regard to case. By path, by file name, or by feature.
---@param token string
---@param plans envctl.Plan[]
---@param planning {root: string?, base: string?, relative: string?}?
---@return envctl.Plan[]
function M.find(token, plans, planning)
  local wanted = normal(token, planning or {})
  for _, fold in ipairs { false, true } do
    local hits = {}
    local want = fold and wanted:lower() or wanted
    for _, plan in ipairs(plans) do
      local id = plan.id:gsub('%.[mM][dD]$', '')
      id = fold and id:lower() or id
      if want == id or want == plan.feature or (not want:find('/', 1, true) and want == id:match '[^/]*$') then
        hits[#hits + 1] = plan
      end
    end
    if #hits > 0 then
      return hits
    end
  end
  return {}
end

local function ids_of(plans)
  local out = {}
  for i, plan in ipairs(plans) do
    out[i] = plan.id
  end
  return out
end

local function problem(result, e)
  result.problems[#result.problems + 1] = e
end

-- The one plan of a selector; nil and a problem when there is none.
local function one(input, result, token)
  local hits = M.find(token, input.plans, input.planning)
  if #hits > 1 then
    problem(result, {
      code = 'plan_ambiguous', message = string.format('plan "%s" fits %s', token, table.concat(ids_of(hits), ', ')),
      hint = 'give its path below the planning directory', candidates = ids_of(hits),
    })
    return nil
  elseif #hits == 0 then
    local ids = ids_of(input.plans)
    local near = require('envctl.util.suggest').nearest(token, ids)
    local hint = #ids > 0 and 'known: ' .. table.concat(ids, ', ') or 'there are no plan files'
    for _, p in ipairs(input.discovered) do
      if p.name:lower() == trimmed(token):lower() then
        hint = 'it is a worktree: envctl start --trees --project ' .. p.name
        near = nil
      end
    end
    problem(result, {
      code = 'plan_not_found', message = string.format('there is no plan "%s"', token),
      hint = near and 'did you mean ' .. near .. '? ' .. hint or hint, candidates = ids,
    })
    return nil
  end
  for _, other in ipairs(input.plans) do
    if other.feature == hits[1].feature and other.id ~= hits[1].id then
      problem(result, {
        code = 'feature_collision',
        message = string.format('%s and %s would both be the feature %s', hits[1].id, other.id, other.feature),
        hint = 'rename one of them', candidates = { hits[1].id, other.id },
      })
      return nil
    end
  end
  return hits[1]
end

local function number_of(project)
  return tonumber((project.iteration or project.name:match '%-(%d+)$' or ''):match '%d+$')
end

--- Worktrees of a feature that are there, in order: without a number, then by number.
---@param feature string
---@param discovered envctl.Project[]
---@return envctl.Project[]
function M.trees_of(feature, discovered)
  local out = {}
  for _, p in ipairs(discovered) do
    if not p.missing and (p.feature or p.name:gsub('%-%d+$', '')) == feature then
      out[#out + 1] = p
    end
  end
  table.sort(out, function(a, b)
    local x, y = number_of(a) or 0, number_of(b) or 0
    if x ~= y then
      return x < y
    end
    return a.name < b.name
  end)
  return out
end

-- What one plan asks for. exact: as many as wanted, else at least as many.
local function for_one(input, result, plan, wanted, exact)
  local there = M.trees_of(plan.feature, input.discovered)
  for i, p in ipairs(there) do
    if exact and i > wanted then
      table.insert(result.remove, 1, p)
    else
      result.selected[#result.selected + 1] = p
    end
  end
  if #there < wanted then
    result.create[#result.create + 1] = { feature = plan.feature, plan = plan, count = wanted - #there }
  end
  if exact and wanted == 0 and #there > 0 then
    result.archive[#result.archive + 1] = plan
  end
end

local function parse_count(result, text)
  local token, n = text:match '^(.*)=%s*(%d+)%s*$'
  n = math.tointeger(tonumber(n))
  if not token or token == '' or not n or n > 1000 then
    problem(result, {
      code = 'invalid_value', message = '--count: expected PLAN=NUMBER, got "' .. text .. '"',
      hint = 'for example --count checkout=2',
    })
    return nil
  end
  return token, n
end

--- Fills a selection from selectors and counts.
---@param input table
---@param result envctl.plan.Selection
function M.select(input, result)
  result.create, result.remove, result.archive, result.planning_files = {}, {}, {}, {}
  result.reason = 'explicit_plan_selectors'
  local order, wanted, exact = {}, {}, {}
  local function meet(plan)
    if not wanted[plan.id] then
      order[#order + 1], wanted[plan.id] = plan, 0
      result.planning_files[#order] = plan.id
    end
  end
  for _, token in ipairs(input.args) do
    local plan = one(input, result, token)
    if plan then
      meet(plan)
      wanted[plan.id] = wanted[plan.id] + 1
    end
  end
  for _, text in ipairs(input.counts or {}) do
    local token, n = parse_count(result, text)
    local plan = token and one(input, result, token)
    if plan then
      meet(plan)
      wanted[plan.id], exact[plan.id] = n, true
    end
  end
  for _, plan in ipairs(order) do
    for_one(input, result, plan, wanted[plan.id], exact[plan.id])
  end
  local chosen = {}
  for _, p in ipairs(result.selected) do
    chosen[p] = true
  end
  result.selected = {}
  for _, p in ipairs(input.discovered) do
    result.selected[#result.selected + 1] = chosen[p] and p or nil
  end
end

--- What somebody answered to the question how many of which plan: words like `2`, `checkout` (at least one), `2=3` (exactly so
--- many); numbers are those of the list.
---@param text string
---@param plans envctl.Plan[] the list
---@return {args: string[], counts: string[]}? as positionals and `--count` say it; nil when it is not understood
---@return string? why
function M.answer(text, plans)
  local out = { args = {}, counts = {} }
  for word in text:gmatch '[^%s,]+' do
    local token, n = word:match '^(.+)=(%d+)$'
    token = token or word
    local hits = token:find '^%d+$' and { plans[tonumber(token)] } or M.find(token, plans)
    if #hits ~= 1 then
      return nil, #hits == 0 and 'there is no plan ' .. token or token .. ' fits ' .. table.concat(ids_of(hits), ', ')
    end
    table.insert(n and out.counts or out.args, hits[1].id .. (n and '=' .. n or ''))
  end
  return out
end

local function named(input, feature, n)
  for _, p in ipairs(input.discovered) do
    if p.feature == feature and number_of(p) == n and p.iteration then
      return p
    end
  end
end

local function setup_one(input, result, s)
  local there = named(input, s.feature, s.iteration)
  if there and not there.missing and input.setup.reuse then
    result.selected[#result.selected + 1] = there
  elseif there and not input.setup.recreate then
    problem(result, {
      code = 'worktree_exists', message = string.format('worktree %s is there already', there.name),
      hint = 'give --reuse-existing-worktree or --recreate-existing-worktree', where = there.root,
    })
  else
    result.remove[#result.remove + 1] = there
    result.create[#result.create + 1] = { feature = s.feature, n = s.iteration, count = 1, recreate = there ~= nil }
  end
end

local function include(input, result, name, first_feature)
  local hit
  for _, p in ipairs(input.discovered) do
    if p.name:lower() == name:lower() then
      hit = p
    end
  end
  hit = hit or (name:find '^%d+$' and named(input, first_feature, tonumber(name)))
  for _, p in ipairs(result.selected) do
    if p == hit then
      return
    end
  end
  if hit and not hit.missing then
    result.selected[#result.selected + 1] = hit
  else
    result.notices[#result.notices + 1] = {
      code = 'worktree_missing', message = 'there is no worktree ' .. name .. ' to include',
    }
  end
end

--- Fills a selection from --setup-worktrees, --setup-worktree and --include-existing-worktrees.
---@param input table
---@param result envctl.plan.Selection
function M.setup(input, result)
  local setup = input.setup
  result.create, result.remove, result.archive, result.notices = {}, {}, {}, {}
  result.reason = 'setup_worktrees'
  local first
  for _, s in ipairs(setup.many) do
    first = first or s.feature
    result.create[#result.create + 1] = { feature = s.feature, count = s.count }
  end
  for _, s in ipairs(setup.single) do
    first = first or s.feature
    setup_one(input, result, s)
  end
  for _, name in ipairs(setup.include) do
    include(input, result, name, first)
  end
end

return M
