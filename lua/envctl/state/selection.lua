--- What was chosen last in this repository: planning_selection.json. It only makes the next choice easier, so what cannot be read
--- is no memory, and what cannot be written is no reason to fail.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'

local M = {}

---@class envctl.Remembered
---@field counts table<string, integer> worktrees by plan (path below the planning directory)
---@field projects string[] worktrees that were chosen to be started

---@param paths envctl.Paths
---@return string
function M.file(paths)
  return paths.durable_scope .. '/planning_selection.json'
end

---@param paths envctl.Paths
---@return envctl.Remembered
function M.read(paths)
  local text = fs.read(M.file(paths))
  local doc = text and json.decode(text)
  local function part(name)
    return type(doc) == 'table' and type(doc[name]) == 'table' and doc[name] or {}
  end
  local out = { counts = {}, projects = {} }
  for id, n in pairs(part 'selected_counts') do
    out.counts[id] = math.type(n) == 'integer' and n > 0 and n or nil
  end
  for _, name in ipairs(part 'selected_projects') do
    out.projects[#out.projects + 1] = type(name) == 'string' and name or nil
  end
  return out
end

--- Remembers a choice; what it says nothing about stays as it was.
---@param paths envctl.Paths
---@param chosen {counts: table<string, integer>?, projects: string[]?}
function M.remember(paths, chosen)
  if not pcall(require('envctl.state.paths').prepare, paths) then
    return
  end
  local before = M.read(paths)
  fs.write_atomic(M.file(paths), json.encode {
    schema = 'envctl.planning_selection.v1', saved_at = sys.iso_time(sys.wall_ms()),
    selected_counts = chosen.counts or before.counts,
    selected_projects = json.array(chosen.projects or before.projects),
  })
end

return M
