--- Plan files: what is below the planning directory, which feature each stands for, and which selector names which. Reads only.
local fs = require 'envctl.host.fs'
local path = require 'envctl.util.path'

local M = {}

local MAX_DEPTH = 8
local MAX_SLUG = 64

---@class envctl.Plan
---@field id string path relative to the planning directory
---@field path string absolute
---@field group string first directories, '' for a file in the planning directory itself
---@field feature string

--- The planning directory, absolute.
---@param roots envctl.Roots
---@param settings envctl.Settings
---@return string
function M.root(roots, settings)
  return path.absolute(settings:get 'ENVCTL_PLANNING_DIR', roots.root, require('envctl.host.sys').home())
end

--- The feature of a plan: all parts of its path, `[a-z0-9_]` only. A long one is cut and gets a piece of its hash.
---@param id string
---@return string
function M.feature(id)
  local text = id:gsub('%.[mM][dD]$', '')
  local slug = text:lower():gsub('[^a-z0-9]+', '_'):gsub('^_', ''):gsub('_$', '')
  if slug == '' then
    slug = 'plan_' .. require('envctl.host.hash').sha256(text):sub(1, 8)
  elseif #slug > MAX_SLUG then
    slug = slug:sub(1, MAX_SLUG - 9):gsub('_$', '') .. '_' .. require('envctl.host.hash').sha256(text):sub(1, 8)
  end
  return slug
end

local function is_plan(name)
  return name:lower():find '%.md$' ~= nil and name ~= 'README.md' and not name:find '_PLAN%.md$'
end

local function walk(dir, prefix, depth, out)
  for _, entry in ipairs(fs.list(dir) or {}) do
    local id = prefix .. entry.name
    if entry.type == 'dir' and depth < MAX_DEPTH and entry.name:lower() ~= 'done' and entry.name:sub(1, 1) ~= '.' then
      walk(dir .. '/' .. entry.name, id .. '/', depth + 1, out)
    elseif entry.type == 'file' and is_plan(entry.name) and prefix ~= '' then
      out[#out + 1] = { id = id, path = dir .. '/' .. entry.name, group = prefix:sub(1, -2), feature = M.feature(id) }
    end
  end
end

--- All plan files, sorted.
---@param roots envctl.Roots
---@param settings envctl.Settings
---@return envctl.Plan[]
function M.list(roots, settings)
  local out = {}
  walk(M.root(roots, settings), '', 0, out)
  table.sort(out, function(a, b)
    return a.id < b.id
  end)
  return out
end

--- Names of the worktree projects that belong to plans.
---@param plans envctl.Plan[]
---@param projects envctl.Project[]
---@return string[]
function M.projects_of(plans, projects)
  local features, out = {}, {}
  for _, plan in ipairs(plans) do
    features[plan.feature] = true
  end
  for _, project in ipairs(projects) do
    if features[project.feature or project.name:gsub('%-%d+$', '')] then
      out[#out + 1] = project.name
    end
  end
  return out
end

return M
