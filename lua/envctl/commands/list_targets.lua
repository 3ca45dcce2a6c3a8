--- list-targets and list-trees: projects with their planned ports, and what is known of them. Reads only.
local json = require 'envctl.util.json'

local M = {}

-- Looking for changes costs a walk over each worktree. Above this many of them, or bytes of their indexes (some 100 for a file), it
-- is done only when asked for.
local LOOK_TREES, LOOK_BYTES = 12, 65536

local PORTS = {
  { id = 'backend', key = 'BACKEND_PORT_BASE', kind = 'service' },
  { id = 'frontend', key = 'FRONTEND_PORT_BASE', kind = 'service' },
  { id = 'db', key = 'DB_PORT', kind = 'dependency' },
  { id = 'redis', key = 'REDIS_PORT', kind = 'dependency' },
  { id = 'n8n', key = 'N8N_PORT_BASE', kind = 'dependency' },
}

--- Planned ports of projects: the reserved slot, else the wish, out of the way of reservations. Nothing is reserved or probed.
---@param ctx envctl.Context
---@param projects envctl.Project[]
---@return table<string, table<string, integer>>
function M.ports(ctx, projects)
  local settings, bases, list = ctx.settings, {}, {}
  for _, p in ipairs(PORTS) do
    bases[p.id] = { port = settings:get(p.key) }
  end
  for i, project in ipairs(projects) do
    local wants = {}
    for j, p in ipairs(PORTS) do
      wants[j] = { id = p.id, base = bases[p.id].port, kind = p.kind }
    end
    list[i] = { name = project.name, wants = wants }
  end
  local facts = {
    scope_id = ctx.paths.scope_id,
    ledger = M.ledger(ctx),
    discovered = projects,
    live = {},
    config = {
      bases = bases, spacing = settings:get 'PORT_SPACING', strategy = settings:get 'ENVCTL_PORT_PREFERRED_STRATEGY',
    },
  }
  local out = {}
  for name, assigned in pairs(require('envctl.plan.ports').assign_all(facts, list)) do
    out[name] = assigned.ports
  end
  return out
end

--- Reservations, or none when the table cannot be read: looking goes on.
function M.ledger(ctx)
  local ok, entries = pcall(require('envctl.state.ports_table').read, ctx.paths)
  return ok and entries or {}
end

-- What the saved state says, and what of it is true.
local function recorded(ctx)
  require('envctl.state.paths').check(ctx.paths)
  local ok, doc = pcall(require('envctl.state.store').read, ctx.paths)
  local by_project = {}
  if not ok or not doc then
    return by_project, ok and json.null or 'state_unreadable'
  end
  local live = require('envctl.resume.observe').live(doc)
  for name, record in pairs(doc.services) do
    local project = record.project
    if project then
      local p = by_project[project] or { mode = record.mode or doc.mode, urls = {}, running = false }
      by_project[project] = p
      if live[name] == true then
        p.running = true
        if record.url then
          p.urls[record.service or name] = record.url
        end
      elseif live[name] == nil and p.running == false then
        p.running, p.reason = json.null, 'unknown'
      end
    end
  end
  return by_project, json.null
end

local function preselected(ctx, mode, projects, state)
  local trees, chosen = {}, {}
  if mode ~= 'trees' then
    return chosen
  end
  for name, p in pairs(state) do
    trees[name] = p.mode == 'trees' or nil
  end
  local remembered = require('envctl.state.selection').read(ctx.paths).projects
  local list = require('envctl.plan.selection').preselected(projects, trees, remembered, function()
    local plans = require 'envctl.repo.plans'
    return plans.projects_of(plans.list(ctx.roots, ctx.settings), projects)
  end)
  for _, name in ipairs(list) do
    chosen[name] = true
  end
  return chosen
end

local function cheap_to_look_at(roots, projects)
  local bytes = 0
  for _, p in ipairs(#projects <= LOOK_TREES and projects or {}) do
    local admin = require('envctl.repo.meta').admin_of(roots, p.root)
    local index = admin and require('envctl.host.fs').stat(admin .. '/index')
    bytes = bytes + (index and index.size or 0)
  end
  return #projects <= LOOK_TREES and bytes <= LOOK_BYTES
end

local function look_at(project, wanted)
  if not wanted then
    return json.null, 'not_looked'
  elseif project.missing then
    return json.null, 'missing'
  end
  local status, message, code = require('envctl.host.git').status(project.root)
  if not status then
    return json.null, code or message
  end
  return status.staged + status.modified + status.untracked + status.conflicted > 0, json.null
end

--- The document.
---@param ctx envctl.Context
---@param mode 'main'|'trees'
---@param name string of the command
---@return table
function M.document(ctx, mode, name)
  local projects = require('envctl.repo.projects').list(ctx.roots, ctx.settings, mode)
  local ports = M.ports(ctx, projects)
  local state, state_reason = recorded(ctx)
  local chosen = preselected(ctx, mode, projects, state)
  local list = json.array {}
  local look = ctx.route.flags.status or mode == 'trees' and cheap_to_look_at(ctx.roots, projects)
  for i, p in ipairs(projects) do
    local saved = state[p.name]
    saved = saved and saved.mode == mode and saved or nil
    local dirty, dirty_reason = look_at(p, look)
    list[i] = {
      name = p.name,
      root = p.root,
      ports = ports[p.name],
      preselected = chosen[p.name] == true,
      running = saved and saved.running or false,
      in_saved_state = saved ~= nil,
      urls = saved and saved.urls or {},
      branch = p.branch or json.null,
      head = p.head or json.null,
      dirty = dirty,
      dirty_reason = dirty_reason,
      ahead = json.null,
      behind = json.null,
      ahead_reason = 'not_looked',
      locked = p.locked == true,
      missing = p.missing == true,
    }
    if saved and saved.running == json.null then
      list[i].running, list[i].running_reason = json.null, saved.reason
    end
  end
  return {
    schema = 'envctl.' .. name:gsub('-', '_') .. '.v1', ok = true, mode = mode, count = #list, projects = list,
    state_reason = state_reason,
  }
end

--- Runs for a mode.
---@param ctx envctl.Context
---@param mode 'main'|'trees'
---@return integer exit code
function M.list(ctx, mode)
  if ctx.out.is_json then
    ctx.out.json(M.document(ctx, mode, ctx.route.command))
  else
    for _, p in ipairs(require('envctl.repo.projects').list(ctx.roots, ctx.settings, mode)) do
      ctx.out.text(p.name)
    end
  end
  return 0
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  return M.list(ctx, ctx.mode)
end

return M
