-- Selectors, counts and setup flags -> what is selected, made, removed and archived.
local lu = require 'luaunit'
local selection = require 'envctl.plan.selection'

local M = {}

local PLANS = {
  { id = 'web/checkout.md', feature = 'web_checkout' }, { id = 'web/cart.md', feature = 'web_cart' },
  { id = 'api/cart.md', feature = 'api_cart' }, { id = 'a-b/c.md', feature = 'a_b_c' }, { id = 'a/b_c.md', feature = 'a_b_c' },
}

local function tree(feature, n, with)
  local t = { name = feature .. '-' .. n, feature = feature, iteration = tostring(n), root = '/t/' .. feature .. '/' .. n }
  for k, v in pairs(with or {}) do
    t[k] = v
  end
  return t
end

local function names(list)
  local out = {}
  for i, item in ipairs(list or {}) do
    out[i] = item.name or item.id or item.code
  end
  return out
end

local function select(with)
  local input = {
    command = 'plan', mode = 'trees', headless = true, projects = {}, args = {}, preselected = {}, recorded = {}, plans = PLANS,
    planning = { root = '/r/todo/plans', base = '/r', relative = 'todo/plans' },
    discovered = { tree('web_checkout', 1), tree('web_checkout', 10), tree('web_checkout', 2), tree('web_checkout-spike', 1) },
  }
  for k, v in pairs(with) do
    input[k] = v
  end
  local r = selection.select(input)
  local create = {}
  for i, c in ipairs(r.create or {}) do
    create[i] = c.feature .. ':' .. (c.n and '#' .. c.n or c.count)
  end
  return { names(r.selected), create, names(r.remove), names(r.archive), names(r.problems) }, r
end

local ALL = { 'web_checkout-1', 'web_checkout-10', 'web_checkout-2' }

function M.test_plans()
  for i, case in ipairs {
    { { args = { 'checkout' } }, { ALL, {}, {}, {}, {} } },
    { { args = { 'web/cart' } }, { {}, { 'web_cart:1' }, {}, {}, {} } },
    { { args = { '/r/todo/plans/web/cart.md' } }, { {}, { 'web_cart:1' }, {}, {}, {} } },
    { { args = { './todo/plans/web/cart.MD' } }, { {}, { 'web_cart:1' }, {}, {}, {} } },
    { { args = { 'web\\cart' } }, { {}, { 'web_cart:1' }, {}, {}, {} } },
    { { args = { 'WEB_CART' } }, { {}, { 'web_cart:1' }, {}, {}, {} } },
    { { args = { 'web/cart', 'web/cart' } }, { {}, { 'web_cart:2' }, {}, {}, {} } },
    { { args = { 'cart' } }, { {}, {}, {}, {}, { 'plan_ambiguous' } } },
    { { args = { 'nope' } }, { {}, {}, {}, {}, { 'plan_not_found' } } },
    { { args = { 'a/b_c' } }, { {}, {}, {}, {}, { 'feature_collision' } } },
    { { args = { 'web_checkout-2' } }, { { 'web_checkout-2' }, {}, {}, {}, {} } },
    { { counts = { 'checkout=2' } }, { { 'web_checkout-1', 'web_checkout-2' }, {}, { 'web_checkout-10' }, {}, {} } },
    { { counts = { 'checkout=5' } }, { ALL, { 'web_checkout:2' }, {}, {}, {} } },
    { { counts = { 'checkout.md=0' } }, { {}, {}, { 'web_checkout-10', 'web_checkout-2', 'web_checkout-1' }, { 'web/checkout.md' }, {} } },
    { { counts = { 'web/cart=0' } }, { {}, {}, {}, {}, {} } },
    { { counts = { 'cart=1' } }, { {}, {}, {}, {}, { 'plan_ambiguous' } } },
    { { counts = { 'checkout' } }, { ALL, {}, {}, {}, { 'invalid_value' } }, 'problem' },
    { { counts = { 'checkout=-1' } }, { {}, {}, {}, {}, { 'invalid_value' } } },
    { { args = { 'checkout' }, counts = { 'checkout=1' } }, { { 'web_checkout-1' }, {}, { 'web_checkout-10', 'web_checkout-2' }, {}, {} } },
    { { args = { 'checkout' }, discovered = { tree('web_checkout', 1, { missing = true }) } }, { {}, { 'web_checkout:1' }, {}, {}, {} } },
  } do
    local got = select(case[1])
    if case[3] then
      lu.assertEquals(got[5], case[2][5], 'case ' .. i)
    else
      lu.assertEquals(got, case[2], 'case ' .. i)
    end
  end
end

function M.test_setup()
  local function setup(with)
    local s = { many = {}, single = {}, include = {}, reuse = false, recreate = false }
    for k, v in pairs(with) do
      s[k] = v
    end
    return select { command = 'start', setup = s }
  end
  local one = { { feature = 'web_checkout', iteration = 2 } }
  lu.assertEquals(setup { many = { { feature = 'fix', count = 2 } } }, { {}, { 'fix:2' }, {}, {}, {} })
  lu.assertEquals(setup { single = { { feature = 'fix', iteration = 3 } } }, { {}, { 'fix:#3' }, {}, {}, {} })
  lu.assertEquals(setup { single = one }, { {}, {}, {}, {}, { 'worktree_exists' } })
  lu.assertEquals(setup { single = one, reuse = true }, { { 'web_checkout-2' }, {}, {}, {}, {} })
  lu.assertEquals(setup { single = one, recreate = true }, { {}, { 'web_checkout:#2' }, { 'web_checkout-2' }, {}, {} })
  local got, r = setup { single = one, reuse = true, include = { '1', 'WEB_CHECKOUT-SPIKE-1', 'nope' } }
  lu.assertEquals(got[1], { 'web_checkout-2', 'web_checkout-1', 'web_checkout-spike-1' })
  lu.assertEquals(names(r.notices), { 'worktree_missing' })
end

function M.test_branches_are_names_too()
  local discovered = { { name = 'feature-login', branch = 'feature/login' } }
  local got = select { command = 'start', projects = { 'feature/login' }, discovered = discovered }
  lu.assertEquals(got[1], { 'feature-login' })
end


function M.test_what_an_answer_to_the_menu_means()
  local plans = {
    { id = 'web/cart.md', feature = 'web_cart' }, { id = 'web/a b.md', feature = 'web_a_b' },
    { id = 'api/cart.md', feature = 'api_cart' },
  }
  for text, wanted in pairs {
    ['1'] = { args = { 'web/cart.md' }, counts = {} },
    ['2=3, 1'] = { args = { 'web/cart.md' }, counts = { 'web/a b.md=3' } },
    ['api_cart api/cart=0'] = { args = { 'api/cart.md' }, counts = { 'api/cart.md=0' } },
    ['4'] = 'there is no plan 4', ['0'] = 'there is no plan 0', ['nope=2'] = 'there is no plan nope',
    ['cart'] = 'cart fits web/cart.md, api/cart.md',
  } do
    local answer, why = require('envctl.plan.plan_selection').answer(text, plans)
    lu.assertEquals(answer or why, wanted, text)
  end
end

function M.test_what_an_answer_about_worktrees_means()
  local known = { 'web_cart-1', 'web_cart-2', 'api-1' }
  local answer = require('envctl.plan.selection').answer
  for text, wanted in pairs {
    [''] = { 'api-1' }, ['3, 1'] = { 'web_cart-1', 'api-1' }, ['all'] = known, ['api'] = { 'api-1' },
    ['1 1 web_cart-1'] = { 'web_cart-1' }, ['9'] = 'there is no 9', ['web'] = 'web fits web_cart-1, web_cart-2',
  } do
    local chosen, why = answer(text, known, { 'api-1' })
    lu.assertEquals(chosen or why, wanted, text)
  end
end

function M.test_a_choice_begins_with_what_ran_else_with_the_last_choice()
  local preselected = require('envctl.plan.selection').preselected
  local trees = { { name = 'a' }, { name = 'b' }, { name = 'c' } }
  local function of_plans()
    return { 'plans' }
  end
  lu.assertEquals(preselected(trees, { c = true, gone = true }, { 'a' }, of_plans), { 'c' })
  lu.assertEquals(preselected(trees, { gone = true }, { 'b', 'a', 'gone' }, of_plans), { 'a', 'b' })
  lu.assertEquals(preselected(trees, {}, { 'gone' }, of_plans), { 'plans' })
end

return M
