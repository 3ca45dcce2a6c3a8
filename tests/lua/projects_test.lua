local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local projects = require 'envctl.repo.projects'
local plans = require 'envctl.repo.plans'
local roots = require 'envctl.repo.roots'
local fixture = require 'fixture'

local M = {}

local function names(list)
  local out = {}
  for i, p in ipairs(list) do
    out[i] = p.name
  end
  return out
end

function M.test_names_of_worktrees()
  local elsewhere = fixture.dir()
  local repo = fixture.repo({}, {
    ['trees/checkout/1'] = 'checkout-1', ['trees/checkout/iter_2'] = 'checkout-2', ['trees/cart'] = 'feature/cart',
    ['trees/deep/er/3'] = 'x', ['trees-flat/1'] = 'flat-1', ['trees-solo'] = false, [elsewhere .. '/wt'] = 'team/login',
    [elsewhere .. '/loose'] = false,
  })
  fs.mkdirs(repo.root .. '/trees/stray/1', 493)
  fs.mkdirs(repo.root .. '/trees/checkout/9', 493)
  local s = fixture.settings(repo.roots)
  local list = projects.trees(repo.roots, s)
  lu.assertEquals(names(list), { 'cart', 'checkout-1', 'checkout-iter_2', 'deep-er-3', 'flat-1', 'loose', 'solo', 'team-login' })
  lu.assertEquals({ list[2].branch, list[2].feature, list[2].iteration, list[2].root }, {
    'checkout-1', 'checkout', '1', repo.root .. '/trees/checkout/1',
  })
  lu.assertEquals({ list[6].branch, list[6].detached }, { nil, true })
  local strays = projects.strays(repo.roots, s, projects.trees(repo.roots, s))
  table.sort(strays)
  lu.assertEquals(strays, { repo.root .. '/trees/checkout/9', repo.root .. '/trees/stray' })
  fixture.clean()
end

function M.test_names_that_would_collide()
  local elsewhere = fixture.dir()
  local repo = fixture.repo({}, { ['trees/a/1'] = 'x', [elsewhere .. '/w'] = 'a-1' })
  local list = names(projects.trees(repo.roots, fixture.settings(repo.roots)))
  lu.assertEquals(#list, 2)
  lu.assertNotEquals(list[1]:lower(), list[2]:lower())
  fixture.clean()
end

function M.test_main()
  local repo = fixture.repo()
  local list = projects.list(repo.roots, fixture.settings(repo.roots), 'main')
  lu.assertEquals({ #list, list[1].name, list[1].root, list[1].branch }, { 1, 'Main', repo.root, 'main' })
  fixture.clean()
end

function M.test_roots()
  local repo = fixture.repo({ ['backend/app.py'] = '' }, { ['trees/a/1'] = 'a-1' })
  lu.assertEquals(roots.find({ cwd = repo.root .. '/backend' }).root, repo.root)
  lu.assertEquals(roots.find({ repo = repo.root .. '/backend/app.py' }).root, repo.root)
  lu.assertEquals(roots.find({ repo = 'backend', cwd = repo.root }).root, repo.root)
  local r = roots.find { cwd = repo.root .. '/trees/a/1' }
  lu.assertEquals({ r.root, r.execution_root, r.linked, r.common_dir }, {
    repo.root, repo.root .. '/trees/a/1', true, repo.root .. '/.git',
  })
  local outside = fixture.dir()
  local e = fixture.error_of(roots.find, { cwd = outside })
  lu.assertEquals(e.code, 'not_a_repository')
  lu.assertStrContains(e.message, outside)
  lu.assertNotNil(e.hint)
  e = fixture.error_of(roots.find, { repo = outside .. '/nowhere' })
  lu.assertStrContains(e.message, '--repo')
  fixture.clean()
end

function M.test_a_linked_worktree_uses_the_configuration_of_the_main_one()
  local repo = fixture.repo({ ['.envctl'] = 'BACKEND_DIR=main\n' }, { ['trees/a/1'] = 'a-1' })
  fixture.write(repo.root .. '/trees/a/1/.envctl', 'BACKEND_DIR=tree\n')
  local r = fixture.roots(repo.root .. '/trees/a/1')
  local s = fixture.settings(r)
  lu.assertEquals({ s:get 'BACKEND_DIR', s.config_file }, { 'main', repo.root .. '/.envctl' })
  fixture.clean()
end

function M.test_a_directory_inside_of_a_worktree_stands_for_its_project()
  local repo = fixture.repo({ ['.envctl'] = '' }, { ['trees/a/1'] = 'a-1' })
  local tree = repo.root .. '/trees/a/1'
  local function about(words)
    local ctx = fixture.context(words, tree)
    ctx:admit(require('envctl.cli.commands').by_name[ctx.route.command])
    return ctx
  end
  local ctx = about { 'stop' }
  lu.assertEquals({ ctx.route.projects, ctx.mode, ctx.implied }, { { 'a-1' }, 'trees', 'a-1' })
  lu.assertStrContains(ctx.out.notes[1], 'a-1')
  lu.assertEquals(about({ 'explain-startup' }).route.explain.projects, { 'a-1' })
  lu.assertEquals(about({ 'stop', '--all' }).route.projects, {})
  lu.assertEquals(about({ 'stop', '--project', 'x' }).route.projects, { 'x' })
  lu.assertEquals(about({ 'stop', '--main' }).route.projects, {})
  lu.assertEquals(about({ 'stop-all' }).route.projects, {})
  fixture.clean()
end

function M.test_plans()
  local repo = fixture.repo {
    ['todo/plans/backend/checkout.md'] = '# x', ['todo/plans/backend/README.md'] = '', ['todo/plans/backend/X_PLAN.md'] = '',
    ['todo/plans/done/old.md'] = '', ['todo/plans/a b/C-d.MD'] = '', ['todo/plans/Ünï/x.md'] = '', ['todo/plans/top.md'] = '',
    ['todo/plans/web/shop/cart.md'] = '', ['todo/plans/web/notes.txt'] = '',
  }
  local list = plans.list(repo.roots, fixture.settings(repo.roots))
  local got = {}
  for i, p in ipairs(list) do
    got[i] = p.id .. '=' .. p.feature
  end
  lu.assertEquals(got, {
    'a b/C-d.MD=a_b_c_d', 'backend/checkout.md=backend_checkout', 'web/shop/cart.md=web_shop_cart', 'Ünï/x.md=n_x',
  })
  lu.assertEquals(#plans.feature('g/' .. ('long '):rep(40) .. '.md'), 64)
  lu.assertNotEquals(plans.feature('g/' .. ('long '):rep(40) .. 'a.md'), plans.feature('g/' .. ('long '):rep(40) .. 'b.md'))
  lu.assertStrContains(plans.feature '日本/日本.md', 'plan_')
  fixture.clean()
end

function M.test_preselection_by_plans()
  local repo = fixture.repo({ ['todo/plans/backend/checkout.md'] = '' }, {
    ['trees/backend_checkout/1'] = 'a', ['trees/other/1'] = 'b',
  })
  local s = fixture.settings(repo.roots)
  lu.assertEquals(plans.projects_of(plans.list(repo.roots, s), projects.trees(repo.roots, s)), { 'backend_checkout-1' })
  fixture.clean()
end

return M
