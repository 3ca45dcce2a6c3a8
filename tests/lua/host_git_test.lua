-- The bindings of envctl.host.git. The formats are tested in tests/c/test_git.c.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local git = require 'envctl.host.git'
local sys = require 'envctl.host.sys'

local M = {}

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Runs the git command in dir, without the user's configuration.
local function run(dir, ...)
  local words = {
    'env', '-u', 'GIT_DIR', '-u', 'GIT_WORK_TREE', '-u', 'GIT_INDEX_FILE', 'GIT_CONFIG_NOSYSTEM=1',
    'GIT_CONFIG_GLOBAL=/dev/null', 'git', '-C', quote(dir), '-c', 'user.name=t', '-c', 'user.email=t',
  }
  for _, word in ipairs { ... } do
    words[#words + 1] = quote(word)
  end
  local pipe = assert(io.popen(table.concat(words, ' ') .. ' 2>&1'))
  local text = pipe:read 'a'
  lu.assertTrue((pipe:close()), text)
  return (text:gsub('\n$', ''))
end

-- Calls fn with a repository that has one commit on main.
local function with_repo(fn)
  return function()
    local base = (sys.getenv 'TMPDIR' or '/tmp') .. '/envctl-lua.' .. sys.random_hex(6)
    assert(fs.mkdirs(base .. '/repo'))
    base = fs.realpath(base)
    local repo = base .. '/repo'
    local ok, e = pcall(function()
      run(repo, 'init', '-q', '-b', 'main')
      assert(fs.write_atomic(repo .. '/file', 'one'))
      run(repo, 'add', 'file')
      run(repo, 'commit', '-q', '-m', 'one')
      fn(repo, base)
    end)
    assert(fs.remove_tree(base))
    if not ok then
      error(e, 0)
    end
  end
end

local function assert_fails(code, object, value, message, got)
  lu.assertNil(value)
  lu.assertEquals(got, code)
  lu.assertStrContains(message, object)
end

M.test_discover = with_repo(function(repo, base)
  lu.assertEquals(git.discover(repo .. '/file'), {
    root = repo, git_dir = repo .. '/.git', common_dir = repo .. '/.git', main_root = repo, linked = false, bare = false,
  })
  run(repo, 'worktree', 'add', '-q', '-b', 'side', base .. '/tree')
  lu.assertEquals(git.discover(base .. '/tree'), {
    root = base .. '/tree', git_dir = repo .. '/.git/worktrees/tree', common_dir = repo .. '/.git', main_root = repo,
    linked = true, bare = false,
  })
  run(base, 'clone', '-q', '--bare', 'repo', 'bare.git')
  lu.assertEquals(git.discover(base .. '/bare.git'), {
    root = base .. '/bare.git', git_dir = base .. '/bare.git', common_dir = base .. '/bare.git', linked = false, bare = true,
  })
  assert_fails('ENOENT', base, git.discover(base))
  assert_fails('ENOENT', base .. '/none', git.discover(base .. '/none'))
end)

M.test_head = with_repo(function(repo)
  local oid = run(repo, 'rev-parse', 'HEAD')
  lu.assertEquals(git.head(repo .. '/.git'), { branch = 'main', oid = oid, detached = false })
  run(repo, 'checkout', '-q', '--detach')
  lu.assertEquals(git.head(repo .. '/.git'), { oid = oid, detached = true })
  run(repo, 'checkout', '-q', '--orphan', 'new')
  lu.assertEquals(git.head(repo .. '/.git'), { branch = 'new', detached = false })
  assert(fs.write_atomic(repo .. '/.git/HEAD', 'nonsense\n'))
  assert_fails('EINVAL', repo .. '/.git/HEAD', git.head(repo .. '/.git'))
  assert_fails('ENOENT', repo .. '/HEAD', git.head(repo))
end)

M.test_resolve = with_repo(function(repo)
  local common, oid = repo .. '/.git', run(repo, 'rev-parse', 'HEAD')
  lu.assertEquals(git.resolve(common, 'refs/heads/main'), oid)
  run(repo, 'pack-refs', '--all')
  lu.assertEquals(git.resolve(common, 'refs/heads/main'), oid)
  assert_fails('ENOENT', common, git.resolve(common, 'refs/heads/none'))
  assert_fails('ENOENT', common, git.resolve(common, '../../etc/passwd'))
end)

M.test_readable = with_repo(function(repo, base)
  lu.assertTrue(git.readable(repo))
  assert_fails('EGIT_UNSUPPORTED', base, git.readable(base))
end)

M.test_worktrees = with_repo(function(repo, base)
  local common, oid = repo .. '/.git', run(repo, 'rev-parse', 'HEAD')
  lu.assertEquals(git.worktrees(common), {})
  for _, name in ipairs { 'c', 'a', 'b', 'z/last', 'gone' } do
    run(repo, 'worktree', 'add', '-q', '-b', 'branch-' .. name, base .. '/' .. name)
  end
  run(repo, 'worktree', 'lock', base .. '/b')
  assert(fs.remove_tree(base .. '/gone'))
  local function tree(name, more)
    local w = {
      name = name:match '[^/]*$', path = base .. '/' .. name, git_dir = common .. '/worktrees/' .. name:match '[^/]*$',
      branch = 'branch-' .. name, oid = oid, detached = false, locked = false, missing = false, foreign = false,
    }
    for key, value in pairs(more or {}) do
      w[key] = value
    end
    return w
  end
  lu.assertEquals(git.worktrees(common), {
    tree 'a', tree('b', { locked = true }), tree 'c', tree('gone', { missing = true }), tree 'z/last',
  })
  -- Not a worktree, whatever it is.
  assert(fs.mkdirs(common .. '/worktrees/stray'))
  lu.assertEquals(#git.worktrees(common), 5)
  lu.assertEquals(git.worktrees(base .. '/none'), {})
  -- What cannot be listed is not the same as nothing.
  assert(fs.mkdirs(base .. '/odd'))
  assert(fs.write_atomic(base .. '/odd/worktrees', ''))
  assert_fails('ENOTDIR', base .. '/odd/worktrees', git.worktrees(base .. '/odd'))
end)

M.test_status = with_repo(function(repo, base)
  lu.assertEquals(git.status(repo), { staged = 0, modified = 0, untracked = 0, conflicted = 0 })
  lu.assertTrue(git.loaded())
  assert(fs.write_atomic(repo .. '/new', ''))
  assert(fs.write_atomic(repo .. '/file', 'two'))
  run(repo, 'add', 'new')
  assert(fs.write_atomic(repo .. '/other', ''))
  local status = git.status(repo)
  lu.assertEquals(status, { staged = 1, modified = 1, untracked = 1, conflicted = 0 })
  lu.assertEquals(math.type(status.staged), 'integer')
  run(base, 'init', '-q', '--object-format=sha256', 'sha256')
  assert_fails('EGIT_UNSUPPORTED', base .. '/sha256', git.status(base .. '/sha256'))
end)

function M.test_misuse()
  for _, name in ipairs { 'discover', 'head', 'worktrees', 'status' } do
    lu.assertErrorMsgContains('string expected', git[name])
    lu.assertErrorMsgContains('NUL byte', git[name], 'a\0b')
  end
end

return M
