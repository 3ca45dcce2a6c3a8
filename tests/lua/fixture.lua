--- Repositories for tests, made of a few files: no git program is needed. Removed by fixture.clean().
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'

local M = {}

local made = {}

--- A fresh directory, resolved.
---@return string
function M.dir()
  local base = sys.getenv 'TMPDIR' or '/tmp'
  local path = base .. '/envctl-lua-' .. sys.random_hex(6)
  assert(fs.mkdirs(path, 448))
  path = assert(fs.realpath(path))
  made[#made + 1] = path
  return path
end

--- Writes a file, with the directories that it is in.
function M.write(path, text, mode)
  assert(fs.mkdirs(path:match '^(.+)/[^/]+$', 493))
  assert(fs.write_atomic(path, text, { mode = mode or 420, durable = false }))
end

local OID = ('a'):rep(40)

local function bare_bones(git)
  for _, dir in ipairs { '/objects', '/refs/heads', '/info' } do
    assert(fs.mkdirs(git .. dir, 493))
  end
  M.write(git .. '/HEAD', 'ref: refs/heads/main\n')
  M.write(git .. '/refs/heads/main', OID .. '\n')
  M.write(git .. '/config', '[core]\n\trepositoryformatversion = 0\n\tbare = false\n')
end

--- A repository.
---@param files table<string, string>? path -> text
---@param worktrees table<string, string|false>? path relative to the root -> branch (false: detached)
---@return {root: string, roots: table}
function M.repo(files, worktrees)
  local root = M.dir() .. '/repo'
  bare_bones(root .. '/.git')
  for path, text in pairs(files or {}) do
    M.write(root .. '/' .. path, text)
  end
  for path, branch in pairs(worktrees or {}) do
    local tree = path:sub(1, 1) == '/' and path or root .. '/' .. path
    local name = path:gsub('[^%w]', '-'):gsub('^%-+', '')
    local admin = root .. '/.git/worktrees/' .. name
    M.write(tree .. '/.git', 'gitdir: ' .. admin .. '\n')
    M.write(admin .. '/gitdir', tree .. '/.git\n')
    M.write(admin .. '/commondir', '../..\n')
    M.write(admin .. '/HEAD', branch and 'ref: refs/heads/' .. branch .. '\n' or OID .. '\n')
    if branch then
      M.write(root .. '/.git/refs/heads/' .. branch, OID .. '\n')
    end
  end
  return { root = root, roots = M.roots(root) }
end

--- Roots of a place, as the program finds them.
function M.roots(path)
  return require('envctl.repo.roots').find { repo = path }
end

--- Settings with an environment of the test's own.
function M.settings(roots, env, route)
  return require('envctl.config.load').load(roots, route, env or {})
end

--- A context whose output is kept: out.document, out.lines, out.notes.
---@param args string[] command line
---@param place string directory of the repository
---@param env table<string, string>?
function M.context(args, place, env)
  local route = require('envctl.cli.router').parse(args)
  local out = { is_json = route.flags.json == true, lines = {}, notes = {} }
  function out.text(line)
    if not out.is_json then
      out.lines[#out.lines + 1] = line
    end
  end
  function out.note(line)
    out.notes[#out.notes + 1] = line
  end
  function out.json(document)
    assert(not out.document, 'two documents')
    out.document = document
  end
  route.repo = route.repo or place
  local ctx = require('envctl.context').new(route, out)
  if pcall(require('envctl.repo.roots').find, { repo = route.repo }) then
    rawset(ctx, 'settings', M.settings(ctx.roots, env or { RUN_SH_RUNTIME_DIR = place .. '/.runtime' }, route))
  end
  return ctx
end

--- Runs a command line in this process, the way main does.
---@return integer|boolean? code, table ctx
function M.run(args, place, env)
  local ctx = M.context(args, place, env)
  local commands = require 'envctl.cli.commands'
  ctx:admit(commands.by_name[ctx.route.command])
  local name = ctx.route.verify and 'doctor-repo' or ctx.route.command
  return require(commands.module(name)).run(ctx), ctx
end

--- Removes what was made.
function M.clean()
  for _, path in ipairs(made) do
    fs.remove_tree(path)
  end
  made = {}
end

--- Code of the structured error that fn raises.
function M.error_of(fn, ...)
  local ok, e = pcall(fn, ...)
  assert(not ok, 'no error was raised')
  assert(require('envctl.err').is(e), 'not a structured error: ' .. tostring(e))
  return e
end

return M
