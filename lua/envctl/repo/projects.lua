--- Projects of a repository. Main mode has one, Main. In trees mode every linked worktree that git knows is one; a directory
--- below the trees root that git does not know is none (doctor mentions it).
local git = require 'envctl.host.git'
local path = require 'envctl.util.path'

local M = {}

--- What to do about a worktree whose directory is not where git has it.
M.MISSING = 'if it was moved: `git worktree repair PATH`, with where it is now; if it was deleted: `git worktree prune`'

---@class envctl.Project
---@field name string
---@field mode 'main'|'trees'
---@field root string
---@field branch string? nil when detached
---@field head string?
---@field detached boolean?
---@field locked boolean?
---@field missing boolean? the directory is gone
---@field feature string? of a worktree below the trees root
---@field iteration string?

--- Where worktrees are made: absolute.
---@param roots envctl.Roots
---@param settings envctl.Settings
---@return string
function M.trees_root(roots, settings)
  local name = settings:get 'TREES_DIR_NAME'
  return path.absolute(name, roots.root, require('envctl.host.sys').home())
end

local function is_iteration(name)
  return name:find '^%d+$' ~= nil or name:lower():find '^iter[-_]?%d+$' ~= nil
end

-- Feature and iteration from where a worktree lies: <trees>/<feature>[/<iteration>] or <trees>-<feature>[/<iteration>].
local function place(root, trees)
  local below = path.below(root, trees)
  local parts = {}
  if below and below ~= '' then
    for part in below:gmatch '[^/]+' do
      parts[#parts + 1] = part
    end
  elseif root:sub(1, #trees + 1) == trees .. '-' then
    for part in root:sub(#trees + 2):gmatch '[^/]+' do
      parts[#parts + 1] = part
    end
  end
  if #parts == 2 and is_iteration(parts[2]) then
    return parts[1], parts[2]
  elseif #parts > 0 then
    return table.concat(parts, '-'), nil
  end
end

local function name_of(worktree, trees)
  local feature, iteration = place(worktree.path, trees)
  if feature then
    return iteration and feature .. '-' .. iteration or feature, feature, iteration
  end
  -- Elsewhere on the disk the branch names it, and the directory when there is no branch.
  if worktree.branch then
    return (worktree.branch:gsub('/', '-')), nil, nil
  end
  return path.base(worktree.path), nil, nil
end

local function listed(roots, foreign)
  local out = {}
  for _, w in ipairs(git.worktrees(roots.common_dir) or {}) do
    out[#out + 1] = w.foreign == foreign and w or nil
  end
  return out
end

--- Worktrees that git lists here and that belong to another repository, of which this one is a copy. They are no projects: what
--- is done to them would be done to the work of the other one.
---@param roots envctl.Roots
---@return {name: string, path: string, git_dir: string, branch: string?}[]
function M.foreign(roots)
  return listed(roots, true)
end

--- The worktrees as projects, sorted by name. A name that two worktrees would share gets the directory's name with it.
---@param roots envctl.Roots
---@param settings envctl.Settings
---@return envctl.Project[]
function M.trees(roots, settings)
  local list = listed(roots, false)
  local trees = M.trees_root(roots, settings)
  local out, seen = {}, {}
  for _, w in ipairs(list) do
    local name, feature, iteration = name_of(w, trees)
    -- A script can have named it.
    local file = roots.common_dir .. '/worktrees/' .. w.name .. '/envctl.json'
    local own = feature and require('envctl.repo.meta').read(file)
    if own and own.named == true and type(own.project) == 'string' then
      name = own.project
    end
    local project = {
      name = name, mode = 'trees', root = w.path, branch = w.branch, head = w.oid, detached = w.branch == nil,
      locked = w.locked, missing = w.missing, feature = feature, iteration = iteration,
    }
    local key = name:lower()
    if seen[key] then
      project.name = name .. '~' .. w.name
    end
    seen[project.name:lower()] = true
    out[#out + 1] = project
  end
  table.sort(out, function(a, b)
    return a.name < b.name
  end)
  return out
end

--- The project of main mode.
---@param roots envctl.Roots
---@return envctl.Project
function M.main(roots)
  local head = git.head(roots.git_dir) or {}
  return {
    name = 'Main', mode = 'main', root = roots.execution_root, branch = head.branch, head = head.oid,
    detached = head.detached or false, locked = false, missing = false,
  }
end

--- Projects of a mode.
---@param roots envctl.Roots
---@param settings envctl.Settings
---@param mode 'main'|'trees'
---@return envctl.Project[]
function M.list(roots, settings, mode)
  if mode == 'trees' then
    return M.trees(roots, settings)
  end
  return { M.main(roots) }
end

--- The worktree project at a place.
---@param ctx envctl.Context
---@param root string
---@return envctl.Project?
function M.at(ctx, root)
  for _, project in ipairs(M.trees(ctx.roots, ctx.settings)) do
    if project.root == root then
      return project
    end
  end
end

--- Directories below the trees root that look like worktrees and are none of this repository.
---@param roots envctl.Roots
---@param settings envctl.Settings
---@param list envctl.Project[] the worktrees that are known
---@return string[] paths
function M.strays(roots, settings, list)
  local fs = require 'envctl.host.fs'
  local trees, known, out = M.trees_root(roots, settings), {}, {}
  for _, p in ipairs(list) do
    local at = p.root
    while #at > #trees do
      known[at] = true
      at = path.parent(at)
    end
  end
  for _, entry in ipairs(fs.list(trees) or {}) do
    local dir = trees .. '/' .. entry.name
    if entry.type == 'dir' and not known[dir] then
      out[#out + 1] = dir
    elseif entry.type == 'dir' then
      for _, inner in ipairs(fs.list(dir) or {}) do
        if inner.type == 'dir' and is_iteration(inner.name) and not known[dir .. '/' .. inner.name] then
          out[#out + 1] = dir .. '/' .. inner.name
        end
      end
    end
  end
  return out
end

return M
