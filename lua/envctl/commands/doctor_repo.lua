--- doctor --repo: is this installation fit for that repository? Reads only; exit 1 when something has to be mended.
local fs = require 'envctl.host.fs'
local git = require 'envctl.host.git'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local path = require 'envctl.util.path'

local M = {}

---@class envctl.Check
---@field id string
---@field status 'pass'|'warn'|'fail'
---@field detail string
---@field fix string?

local function add(checks, id, status, detail, fix)
  checks[#checks + 1] = { id = id, status = status, detail = detail, fix = fix or json.null }
end

local function program(checks, id, name, needed, fix)
  local found = sys.which(name)
  if found then
    add(checks, id, 'pass', found)
  else
    add(checks, id, needed and 'fail' or 'warn', name .. ' is not on the PATH', fix)
  end
end

local function check_binary(checks)
  local found = sys.which 'envctl'
  local real = found and fs.realpath(found)
  if not found then
    add(checks, 'on_path', 'warn', 'envctl is not on the PATH', 'run `envctl install`')
  elseif real ~= fs.realpath(sys.exe) then
    add(checks, 'on_path', 'warn', 'the PATH has another envctl: ' .. found,
      'put ' .. path.parent(sys.exe) .. ' in front')
  else
    add(checks, 'on_path', 'pass', found)
  end
end

local function check_libgit2(checks, roots)
  local readable, message, code = git.readable(roots.execution_root)
  if readable then
    add(checks, 'git_status', 'pass', 'libgit2 reads this repository')
  elseif code == 'EGIT_MISSING' then
    add(checks, 'git_status', 'warn', 'libgit2 is not installed', 'install libgit2; the git command is used meanwhile')
  else
    add(checks, 'git_status', 'warn', message, 'the git command is used instead')
  end
end

local function check_config(checks, settings, roots)
  if settings.config_exists then
    add(checks, 'config', 'pass', settings.config_file)
  elseif settings.configured then
    add(checks, 'config', 'pass', 'configured by .envctl.lua')
  elseif settings.legacy_source_path then
    add(checks, 'config', 'warn', 'only ' .. path.shown(settings.legacy_source_path, roots.root) .. ' is there',
      'run `envctl config --set KEY=VALUE` to take it over')
  else
    add(checks, 'config', 'warn', 'there is no .envctl yet', 'run `envctl config`')
  end
  for _, e in ipairs(settings.errors) do
    add(checks, 'config_error', 'fail', (e.where and e.where .. ': ' or '') .. e.message, e.hint)
  end
  for _, e in ipairs(settings.warnings) do
    add(checks, 'config_warning', 'warn', (e.where and e.where .. ': ' or '') .. e.message, e.hint)
  end
end

-- Hooks of the old tools that nothing runs any more. Who has a script said what to do instead.
local function check_hooks(checks, roots)
  if fs.stat(roots.root .. '/.envctl.lua') then
    return
  end
  local text = fs.read(roots.root .. '/.envctl.sh')
  local found = {}
  for i, hook in ipairs(text and require('envctl.script.migrate').find(text) or {}) do
    found[i] = hook.name
  end
  if #found > 0 then
    add(checks, 'hooks', 'warn', '.envctl.sh defines ' .. table.concat(found, ' and ') .. ', which is not run',
      'run `envctl migrate-hooks`')
  elseif fs.stat(roots.root .. '/.envctl_hooks.py') then
    add(checks, 'hooks', 'warn', '.envctl_hooks.py is not run', 'say the same in .envctl.lua')
  end
end

local function check_runtime(checks, paths)
  local ok, e = pcall(require('envctl.state.paths').check, paths)
  if not ok then
    add(checks, 'runtime_root', 'fail', require('envctl.err').wrap(e).message, e.hint)
    return
  end
  local there = fs.stat(paths.runtime_root) ~= nil
  add(checks, 'runtime_root', 'pass', paths.runtime_root .. (there and '' or ' (made at the first start)'))
  local old = require('envctl.state.python').file(paths)
  if old then
    add(checks, 'python_engine', 'warn', old .. ' is of the Python engine',
      'while envctl itself runs nothing here, `envctl show-state` shows it and `envctl stop-all` stops what it runs')
  end
end

local function check_trees(checks, roots, settings)
  local projects = require 'envctl.repo.projects'
  local list = projects.trees(roots, settings)
  add(checks, 'worktrees', 'pass', #list .. (#list == 1 and ' worktree' or ' worktrees'))
  for _, p in ipairs(list) do
    if p.missing then
      add(checks, 'worktree_missing', 'warn', p.root .. ' is gone', projects.MISSING)
    end
  end
  for _, w in ipairs(projects.foreign(roots)) do
    add(checks, 'worktree_foreign', 'warn',
      w.path .. ' belongs to the repository that this one was copied from, so it is no project here',
      'remove ' .. w.git_dir .. ', which is how git knows it here')
  end
  for _, dir in ipairs(projects.strays(roots, settings, list)) do
    add(checks, 'not_a_worktree', 'warn',
      path.shown(dir, roots.root) .. ' is no worktree of this repository, so no project')
  end
end

-- Whether the scripts can be used, and what they say about the other findings. Best effort: what goes wrong is one more finding.
local function check_scripts(checks, ctx)
  local session
  local ok, e = require('envctl.task').try(function()
    session = require('envctl.script.host').open(ctx)
    if not session then
      return
    end
    session:load()
    local names = {}
    for i, entry in ipairs(session.entries) do
      names[i] = entry.name
    end
    if not session.trusted then
      add(checks, 'scripts', 'warn', table.concat(names, ', ') .. ': not trusted, so not asked',
        'read, then run `envctl script trust`')
      return
    end
    add(checks, 'scripts', 'pass', table.concat(names, ', '))
    local decide = require('envctl.script.join').decider(session)
    local found = decide('doctor.checks', { scope = 'repository', root = ctx.roots.root }, function()
      return json.array { table.unpack(checks) }
    end)
    for i = 1, math.max(#found, #checks) do
      checks[i] = found[i]
      if found[i] then
        checks[i].fix = found[i].fix or json.null
      end
    end
  end)
  if session then
    session:close()
  end
  if not ok then
    add(checks, 'scripts', 'warn', e.message, e.hint)
  end
end

local function repository(ctx, checks)
  local ok, found = pcall(function()
    return ctx.roots
  end)
  if not ok then
    local e = require('envctl.err').wrap(found)
    add(checks, 'repository', 'fail', e.message, e.hint)
    return nil
  end
  add(checks, 'repository', 'pass',
    found.root .. (found.linked and ', from its worktree ' .. found.execution_root or ''))
  return found
end

--- The document.
---@param ctx envctl.Context
---@return table
function M.document(ctx)
  local checks = json.array {}
  local roots = repository(ctx, checks)
  local document = {
    schema = 'envctl.doctor_repo.v1', version = sys.version, binary = sys.exe, repo_root = json.null,
    control_root = json.null,
    config_file = json.null, config_exists = false, checks = checks,
  }
  if roots then
    local settings = ctx.settings
    document.repo_root, document.control_root = roots.execution_root, roots.root
    document.config_file, document.config_exists = settings.config_file, settings.config_exists
    check_config(checks, settings, roots)
    check_hooks(checks, roots)
    check_runtime(checks, ctx.paths)
    check_trees(checks, roots, settings)
    check_libgit2(checks, roots)
  end
  check_binary(checks)
  program(checks, 'git', 'git', true, 'install git')
  if roots then
    check_scripts(checks, ctx)
  end
  document.ok = true
  for _, check in ipairs(checks) do
    document.ok = document.ok and check.status ~= 'fail'
  end
  return document
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local document = M.document(ctx)
  local out = ctx.out
  if out.is_json then
    out.json(document)
    return document.ok and 0 or 1
  end
  out.text 'Launcher: envctl'
  out.text('Version: ' .. document.version)
  out.text('Binary Path: ' .. document.binary)
  out.text('Launcher Root: ' .. path.parent(document.binary))
  out.text('Repo Root: ' .. (document.repo_root == json.null and 'none' or document.repo_root))
  out.text 'Runtime Entry: native'
  for _, check in ipairs(document.checks) do
    out.text(('%s %s: %s'):format(check.status, check.id, check.detail))
    if check.fix ~= json.null then
      out.text('     fix: ' .. check.fix)
    end
  end
  return document.ok and 0 or 1
end

return M
