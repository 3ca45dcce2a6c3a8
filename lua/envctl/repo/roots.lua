--- Which repository is meant. The control root (main working tree) has configuration, state and ports; the execution root is the
--- working tree that we stand in.
local fs = require 'envctl.host.fs'
local git = require 'envctl.host.git'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local path = require 'envctl.util.path'

local M = {}

---@class envctl.Roots
---@field root string control root
---@field execution_root string
---@field git_dir string of the execution root
---@field common_dir string
---@field linked boolean the execution root is a linked worktree
---@field cwd string? current directory
---@field source 'flag'|'env'|'cwd' how the repository was chosen

local function none(start, source, asked)
  local message
  if source == 'cwd' then
    message = 'no git repository at or above ' .. start
  elseif source == 'flag' then
    message = '--repo ' .. asked .. ': no git repository at or above ' .. start
  else
    message = 'RUN_REPO_ROOT=' .. asked .. ': no git repository at or above ' .. start
  end
  err.raise('not_a_repository', message, {
    hint = source == 'cwd' and 'go into a repository, or name one with --repo PATH' or 'give the path of a repository',
  })
end

--- Where to start looking: the directory itself, or that of a file.
local function start_of(where, source, asked)
  local real = fs.realpath(where)
  local stat = real and fs.stat(real)
  if not stat then
    local what = source == 'flag' and '--repo ' .. asked or 'RUN_REPO_ROOT=' .. asked
    err.raise('not_a_repository', what .. ': there is no ' .. where, { hint = 'give the path of a repository' })
  end
  if stat.type ~= 'dir' then
    return path.parent(real)
  end
  return real
end

--- The variables that git and envctl agree on; only here.
local function asked_by_environment()
  local value = sys.getenv 'RUN_REPO_ROOT'
  return value and value ~= '' and value or nil
end

--- Finds the repository: --repo, else RUN_REPO_ROOT, else the current directory or one above it.
---@param opts {repo: string?, cwd: string?}
---@return envctl.Roots
function M.find(opts)
  local cwd, why = opts.cwd or nil, nil
  if not cwd then
    cwd, why = sys.cwd()
  end
  local source, asked
  if opts.repo then
    source, asked = 'flag', opts.repo
  else
    asked = asked_by_environment()
    source = asked and 'env' or 'cwd'
  end
  local start
  if asked then
    start = start_of(path.absolute(asked, cwd or '/', sys.home()), source, asked)
  elseif cwd then
    start = cwd
  else
    err.raise('not_a_repository', 'the current directory cannot be found: ' .. tostring(why), {
      hint = 'name a repository with --repo PATH',
    })
  end
  local found, message, code = git.discover(start)
  if not found then
    if code ~= nil and code ~= 'ENOENT' then
      err.raise('not_a_repository', message, { hint = 'git does not know this repository either' })
    end
    none(start, source, asked)
  end
  if found.bare then
    err.raise('not_a_repository', found.root .. ' is a bare repository: it has no files to run', {
      hint = 'go into one of its worktrees, or name one with --repo PATH',
    })
  end
  -- Worktrees of a bare repository have no main working tree: each is a repository of its own for us.
  local control = found.linked and found.main_root or found.root
  return {
    root = control,
    execution_root = found.root,
    git_dir = found.git_dir,
    common_dir = found.common_dir,
    linked = found.linked and control ~= found.root,
    cwd = cwd,
    source = source,
  }
end

return M
