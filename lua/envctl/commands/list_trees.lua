--- list-trees: list-targets of trees mode, and with --json what git knows of each: how far it is from its upstream, and when it
--- was last worked on. Reads only.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'

local M = {}

local function distance(project, d)
  d = d or { reason = 'detached' }
  if d.upstream then
    project.upstream = d.upstream:gsub('^refs/remotes/', '')
  end
  project.ahead, project.behind = d.ahead or json.null, d.behind or json.null
  project.ahead_reason = d.reason or json.null
end

-- When something was last staged, committed or checked out, or the top directory changed.
local function last_activity(roots, root)
  local admin = require('envctl.repo.meta').admin_of(roots, root)
  local latest = 0
  for _, file in ipairs(admin and { admin .. '/index', admin .. '/HEAD', admin .. '/logs/HEAD', root } or {}) do
    local stat = fs.stat(file)
    latest = math.max(latest, stat and stat.mtime_ms or 0)
  end
  return latest > 0 and sys.iso_time(latest) or json.null
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local targets = require 'envctl.commands.list_targets'
  if not ctx.out.is_json then
    return targets.list(ctx, 'trees')
  end
  local document = targets.document(ctx, 'trees', ctx.route.command)
  local heads = {}
  for _, p in ipairs(document.projects) do
    if p.branch ~= json.null and p.head ~= json.null then
      heads[p.branch] = p.head
    end
  end
  local distances = require('envctl.repo.upstream').distances(ctx.roots, heads)
  for _, p in ipairs(document.projects) do
    distance(p, distances[p.branch])
    p.last_activity = last_activity(ctx.roots, p.root)
  end
  ctx.out.json(document)
  return 0
end

return M
