-- Names and places of worktrees, and the guard's knowledge of what can be made again. Real git is in tests/e2e/test_worktrees_*.py.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local worktrees = require 'envctl.repo.worktrees'
local guard = require 'envctl.repo.guard'
local gitcmd = require 'envctl.repo.gitcmd'
local meta = require 'envctl.repo.meta'
local seed = require 'envctl.repo.seed'
local fixture = require 'fixture'

local M = {}

local BASE = { base = { name = 'main', oid = ('a'):rep(40) } }

local function propose(repo, feature, with)
  local opts = { base = BASE.base, taken = {} }
  for k, v in pairs(with or {}) do
    opts[k] = v
  end
  return worktrees.propose({ roots = repo.roots, settings = fixture.settings(repo.roots) }, feature, opts)
end

function M.test_the_lowest_number_that_is_free()
  local repo = fixture.repo({}, { ['trees/a/1'] = 'a-1', ['trees/a/3'] = 'a-3' })
  local tree = propose(repo, 'a')
  lu.assertEquals({ tree.project, tree.branch, tree.path }, { 'a-2', 'a-2', repo.root .. '/trees/a/2' })
  -- A branch, a directory, a packed branch, a branch below it, and a name that another worktree has are all in the way.
  fixture.write(repo.root .. '/.git/refs/heads/b-1', ('a'):rep(40) .. '\n')
  fs.mkdirs(repo.root .. '/trees/b/2', 493)
  fixture.write(repo.root .. '/.git/packed-refs', ('a'):rep(40) .. ' refs/heads/b-3\n' .. ('a'):rep(40) .. ' refs/heads/b-4/x\n')
  lu.assertEquals(propose(repo, 'b', { taken = { ['b-5'] = true } }).project, 'b-6')
  lu.assertEquals(propose(repo, 'b', { n = 9 }).project, 'b-9')
  fs.mkdirs(repo.root .. '/trees-flat', 493)
  lu.assertEquals(propose(repo, 'flat').path, repo.root .. '/trees-flat/1')
  fixture.clean()
end

function M.test_names()
  for _, name in ipairs { 'a', 'web_checkout', 'Ünï-1', 'a.b', ('x'):rep(200) } do
    worktrees.check_name(name, 'feature')
  end
  for _, name in ipairs {
    '', '.', '..', '../x', 'a/b', 'a b', 'a\tb', '-x', '.git', 'a..b', 'a.', 'x.lock', 'a~1', 'a^', 'a:b', 'a?', 'a*', 'a[', 'a\\b',
    '@{u}', 'a@{1}', '$(id)', '`id`', 'a;b', '\255', ('x'):rep(201), "a'b", 'a"b',
  } do
    lu.assertEquals(fixture.error_of(worktrees.check_name, name, 'feature').code, 'worktree_name_invalid', name)
  end
end

function M.test_what_can_be_made_again()
  for _, name in ipairs { 'node_modules', '.venv', '__pycache__', 'x.pyc', 'dist', '.next', 'a.egg-info' } do
    lu.assertTrue(guard.reproducible(name), name)
  end
  for _, name in ipairs { '.env', 'data', '.envctl', 'notes', 'db.sqlite', 'x.swp', 'MAIN_TASK.md', 'cache' } do
    lu.assertFalse(guard.reproducible(name), name)
  end
end

function M.test_refusals()
  local project = { name = 'a-1', root = '/t' }
  local e = guard.refusal(project, {
    { reason = 'untracked', count = 7, sample = { 'x', 'y' } }, { reason = 'locked', count = 1, sample = { '' } },
  })
  lu.assertEquals({ e.code, #e.data.reasons }, { 'worktree_dirty', 2 })
  lu.assertStrContains(e.message, '7 untracked: x, y, …')
  e = guard.refusal(project, { { reason = 'locked', count = 1, sample = { 'on a stick' } } })
  lu.assertEquals({ e.code, e.message }, { 'worktree_locked', 'a-1 is locked: on a stick' })
end

function M.test_the_environment_of_git()
  local env = gitcmd.environment { X = '1' }
  for name in pairs(env) do
    lu.assertTrue(name:sub(1, 4) ~= 'GIT_' or not name:find 'DIR', name)
  end
  lu.assertEquals({ env.GIT_TERMINAL_PROMPT, env.GIT_OPTIONAL_LOCKS, env.X }, { '0', '0', '1' })
end

function M.test_complaints_of_git()
  lu.assertEquals(gitcmd.complaint "Preparing worktree\nfatal: 'x' already exists\n", "'x' already exists")
  local e = gitcmd.failure('cannot', { code = 128, err = "fatal: Unable to create '/r/.git/index.lock': File exists.\n" })
  lu.assertEquals({ e.where, e.data.lock }, { '/r/.git/index.lock', '/r/.git/index.lock' })
  lu.assertStrContains(e.hint, 'remove /r/.git/index.lock yourself')
end

function M.test_administration_directories()
  local repo = fixture.repo({}, { ['trees/a/1'] = 'a-1' })
  local root = repo.root .. '/trees/a/1'
  local admin = repo.root .. '/.git/worktrees/trees-a-1'
  lu.assertEquals({ meta.admin_of(repo.roots, root), meta.admin_naming(repo.roots, root) }, { admin, admin })
  fixture.write(root .. '/.git', 'gitdir: /somewhere/else\n')
  lu.assertEquals({ meta.admin_of(repo.roots, root), meta.admin_naming(repo.roots, root) }, { nil, admin })
  lu.assertNil(meta.admin_of(repo.roots, repo.root))
  fixture.clean()
end

function M.test_trees_are_hidden_once()
  local repo = fixture.repo()
  for _ = 1, 2 do
    seed.hide(repo.roots, repo.root .. '/deep/trees', { { path = repo.root .. '/deep/trees/a/1' } })
  end
  lu.assertEquals(fs.read(repo.root .. '/.git/info/exclude'), '/MAIN_TASK.md\n/deep/trees/\n')
  fixture.clean()
end

return M
