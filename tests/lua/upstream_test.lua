-- What a repository's configuration says about upstreams. Counting commits is in tests/e2e/test_worktrees_plan.py.
local lu = require 'luaunit'
local upstream = require 'envctl.repo.upstream'

local M = {}

local ORIGIN = '[remote "origin"]\n\turl = x\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'

function M.test_references_by_branch()
  local text = '[core]\n\tbare = false\n' .. ORIGIN .. [[
[branch "main"]
	remote = origin
	merge = refs/heads/main
[Branch "a/b.c"] # a comment
	Merge = "refs/heads/other"
	remote=origin ; another
[branch "local"]
	remote = .
	merge = refs/heads/main
[branch "half"]
	remote = origin
[branch "described"]
	description = merge = x
]]
  local refs = { main = 'refs/remotes/origin/main', ['a/b.c'] = 'refs/remotes/origin/other', ['local'] = 'refs/heads/main' }
  lu.assertEquals(upstream.parse(text), refs)
  lu.assertEquals(upstream.parse(text:gsub('\n', '\r\n')), refs)
  lu.assertEquals(upstream.parse '', {})
end

function M.test_what_only_git_can_tell()
  local branch = '[branch "b"]\nremote = origin\nmerge = refs/heads/b\n'
  for _, text in ipairs {
    '[include]\npath = x\n', '[includeIf "gitdir:x"]\npath = x\n', '[branch "a\\"b"]\n', '[branch.old]\nremote = origin\n', branch,
    branch .. ORIGIN .. 'fetch = +refs/pull/*:refs/remotes/pull/*\n', branch:gsub('refs/heads', 'refs/pull') .. ORIGIN,
    branch .. '[remote "origin"]\nfetch = +refs/heads/main:refs/remotes/origin/main\n',
  } do
    lu.assertNil(upstream.parse(text), text)
  end
end

return M
