--- What dependencies of a scope have stored: for the commands that throw data away after saying what.
local fs = require 'envctl.host.fs'
local names = require 'envctl.state.names'
local places = require 'envctl.deps.places'
local truth = require 'envctl.deps.truth'
local SHARED = require('envctl.deps.plan').SHARED

local M = {}

---@class envctl.deps.Holding
---@field project string
---@field id string
---@field path string? its directory, when it has one on this machine
---@field main boolean it belongs to the main project, or to all of them
---@field share boolean? only its password is there: its database lives on the server that projects share

-- Names of projects by the names of their directories: the repository's, and those that the state knows.
local function project_names(ctx, doc)
  local out = { [names.file(SHARED)] = SHARED }
  for _, mode in ipairs { 'main', 'trees' } do
    for _, p in ipairs(require('envctl.repo.projects').list(ctx.roots, ctx.settings, mode)) do
      out[names.file(p.name)] = p.name
    end
  end
  for name in pairs(doc and doc.requirements or {}) do
    out[names.file(name)] = name
  end
  return out
end

local function only_password(dir)
  local entries = fs.list(dir) or {}
  return #entries == 1 and entries[1].name == 'password'
end

--- What there is, sorted. Reads only.
---@param ctx envctl.Context
---@param doc table? run state
---@return envctl.deps.Holding[]
---@return string base
function M.list(ctx, doc)
  local base = places.base(ctx.settings, ctx.paths, ctx.roots.root)
  local scope, known, found, out = base .. '/' .. ctx.paths.scope_id, project_names(ctx, doc), {}, {}
  local function add(project, id, path)
    local key = project .. '\0' .. id
    if not found[key] then
      found[key] = { project = project, id = id, main = project == 'Main' or project == SHARED }
      out[#out + 1] = found[key]
    end
    found[key].path = found[key].path or path
    found[key].share = path and only_password(path) or nil
  end
  for _, entry in ipairs(fs.list(scope) or {}) do
    for _, dir in ipairs(entry.type == 'dir' and fs.list(scope .. '/' .. entry.name) or {}) do
      if dir.type == 'dir' and not dir.name:find('.deleted-', 1, true) then
        add(known[entry.name] or entry.name, dir.name, scope .. '/' .. entry.name .. '/' .. dir.name)
      end
    end
  end
  truth.each(doc, function(project, id, component)
    if component.provider == 'docker' then
      add(project, id, nil)
    end
  end)
  table.sort(out, function(a, b)
    return a.project .. '\0' .. a.id < b.project .. '\0' .. b.id
  end)
  return out, base
end

--- In words, for messages.
---@param holdings envctl.deps.Holding[]
---@return string[]
function M.lines(holdings)
  local out = {}
  for i, h in ipairs(holdings) do
    out[i] = names.short(h.project, h.id) .. (h.path and ' (' .. h.path .. ')' or ' (a volume)')
  end
  return out
end

--- Throws them away. Nothing may run on them. Awaits.
---@param ctx envctl.Context
---@param holdings envctl.deps.Holding[]
---@param base string
---@param opts {everything: boolean?} everything: volumes of this scope that nothing names as well
---@return table[] items {project, dependency, removed, path}
function M.remove(ctx, holdings, base, opts)
  local json = require 'envctl.util.json'
  local items = json.array {}
  for i, h in ipairs(holdings) do
    items[i] = { project = h.project, id = h.id }
  end
  return require('envctl.keeper.client').request(ctx, {
    op = 'data', command = ctx.route.command, action = 'reset', items = items, base = base,
    everything = opts.everything, env = require('envctl.host.sys').environ(),
  }, function() end).items
end

return M
