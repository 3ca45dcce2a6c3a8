--- What a new worktree gets beside its tracked files: MAIN_TASK.md from its plan, and the ignored files that .worktreeinclude
--- names. Nothing that is there is overwritten. What was put there is remembered by its hash.
local fs = require 'envctl.host.fs'
local hash = require 'envctl.host.hash'
local path = require 'envctl.util.path'
local gitcmd = require 'envctl.repo.gitcmd'

local M = {}

M.TASK_FILE = 'MAIN_TASK.md'
local INCLUDE = '.worktreeinclude'
local MAX_COPY = 64 * 1024 * 1024

--- Hides the trees directory and the task file from `git status`, in the repository's own info/exclude.
---@param roots envctl.Roots
---@param trees_root string
---@param list {path: string}[]
function M.hide(roots, trees_root, list)
  local names, seen = { { name = M.TASK_FILE, dir = false } }, {}
  local exclude = '\n' .. (fs.read(roots.common_dir .. '/info/exclude') or '') .. '\n'
  local function add(dir)
    local below = path.below(dir, roots.root)
    if below and below ~= '' and not seen[below] and not exclude:find('\n/' .. below .. '/\n', 1, true) then
      seen[below] = true
      names[#names + 1] = { name = below, dir = true }
    end
  end
  for _, tree in ipairs(list) do
    add(path.below(tree.path, trees_root) and trees_root or path.parent(tree.path))
  end
  local _, warning = require('envctl.config.ignore').update(roots, names)
  if warning then
    require('envctl.host.sys').write(2, 'envctl: ' .. warning .. '\n')
  end
end

-- A place in the tree that is reached without following a link.
local function reachable(root, rel)
  local at = root
  for part in (path.parent('/' .. rel)):gmatch '[^/]+' do
    at = at .. '/' .. part
    local stat = fs.lstat(at)
    if stat and stat.type ~= 'dir' then
      return false
    end
  end
  return true
end

-- What a write leaves that was killed before the file had its name (see fs.write_atomic).
local function remove_temporary(dir, name)
  for _, entry in ipairs(fs.list(dir) or {}) do
    if entry.type == 'file' and entry.name:match '^%.(.+)%.%d+%.tmp$' == name then
      fs.unlink(dir .. '/' .. entry.name)
    end
  end
end

local function put(root, rel, text, mode, seeded)
  if not reachable(root, rel) then
    return
  elseif fs.lstat(root .. '/' .. rel) then
    if fs.read(root .. '/' .. rel, { max = MAX_COPY, nofollow = true }) == text then
      seeded[rel] = hash.sha256(text) -- by an earlier try that was interrupted
    end
    return
  end
  local dir = path.parent(root .. '/' .. rel)
  remove_temporary(dir, rel:match '[^/]*$')
  if fs.mkdirs(dir, 493)
    and fs.write_atomic(root .. '/' .. rel, text, { mode = mode, durable = false }) then
    seeded[rel] = hash.sha256(text)
  end
end

local function set(list)
  local out = {}
  for _, item in ipairs(list) do
    out[item] = true
  end
  return out
end

-- Files of main that git ignores and that .worktreeinclude matches.
local function included(roots)
  if not fs.lstat(roots.root .. '/' .. INCLUDE) then
    return {}
  end
  local function listed(how)
    local result = gitcmd.run(roots, { dir = roots.root, args = { 'ls-files', '-z', '--others', '--ignored', how } })
    return result.code == 0 and gitcmd.split(result.out) or {}
  end
  local matching = listed('--exclude-from=' .. roots.root .. '/' .. INCLUDE)
  local ignored, out = #matching > 0 and set(listed '--exclude-standard') or {}, {}
  for _, rel in ipairs(matching) do
    if ignored[rel] and rel:sub(-1) ~= '/' then
      out[#out + 1] = rel
    end
  end
  return out
end

--- The text of the plan that a tree is for, or nil.
---@param entry {plan_path: string?}
---@return string?
function M.plan_text(entry)
  local text = entry.plan_path and fs.read(entry.plan_path)
  return text and (text:sub(-1) == '\n' and text or text .. '\n') or nil
end

---@class envctl.Seed
---@field files table<string, string> texts by path
---@field copy string[] files of the main working tree

--- What a new tree gets when nobody says anything else.
---@param roots envctl.Roots
---@param entry {plan_path: string?}
---@return envctl.Seed
function M.defaults(roots, entry)
  return { files = { [M.TASK_FILE] = M.plan_text(entry) }, copy = included(roots) }
end

--- Fills a new tree.
---@param roots envctl.Roots
---@param entry {path: string, plan_path: string?, seed: envctl.Seed?}
---@return table<string, string> seeded path -> sha256
function M.fill(roots, entry)
  local seeded = {}
  local root, wanted = entry.path, entry.seed or M.defaults(roots, entry)
  for _, rel in ipairs(wanted.copy or {}) do
    local from = roots.root .. '/' .. rel
    local stat = reachable(roots.root, rel) and fs.lstat(from)
    if stat and stat.type == 'file' and not path.below(from, root) then
      local text = fs.read(from, { max = MAX_COPY, nofollow = true })
      if text then
        put(root, rel, text, stat.mode, seeded)
      end
    end
  end
  for rel, text in pairs(wanted.files or {}) do
    put(root, rel, text, 420, seeded)
  end
  return seeded
end

return M
