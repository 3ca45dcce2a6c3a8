--- list-trees: list-targets of trees mode, and with --json what git knows of each: how far it is from its upstream, and when it
--- was last worked on. Reads only.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'

local M = {}

-- Distance to the upstream per branch, from one call for all of them. Looking never fails because of it.
local function tracking(ctx, list)
  local args, any = { 'for-each-ref', '--format=%(refname)%00%(upstream)%00%(upstream:track,nobracket)' }, false
  for _, p in ipairs(list) do
    if p.branch ~= json.null then
      args[#args + 1], any = 'refs/heads/' .. p.branch, true
    end
  end
  if not any then
    return {}
  end
  local gitcmd = require 'envctl.repo.gitcmd'
  local ok, result = require('envctl.task').try(gitcmd.run, ctx.roots, {
    dir = ctx.roots.root, args = args, deadline_ms = 20000,
  })
  if not ok then
    return nil, result.code
  elseif result.code ~= 0 then
    return nil, 'git_failed'
  end
  local out = {}
  for ref, upstream, track in result.out:gmatch 'refs/heads/([^%z\n]+)%z([^%z\n]*)%z([^%z\n]*)\n' do
    out[ref] = { upstream = upstream, track = track }
  end
  return out
end

local function distance(project, tracks, why)
  local t = tracks and project.branch ~= json.null and tracks[project.branch]
  if not t or t.upstream == '' or t.track == 'gone' then
    local reason = why or project.branch == json.null and 'detached' or 'no_upstream'
    project.ahead, project.behind, project.ahead_reason = json.null, json.null, reason
    return
  end
  project.upstream = t.upstream:gsub('^refs/remotes/', '')
  project.ahead = tonumber(t.track:match 'ahead (%d+)' or 0)
  project.behind = tonumber(t.track:match 'behind (%d+)' or 0)
  project.ahead_reason = json.null
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
  local tracks, why = tracking(ctx, document.projects)
  for _, p in ipairs(document.projects) do
    distance(p, tracks, why)
    p.last_activity = last_activity(ctx.roots, p.root)
  end
  ctx.out.json(document)
  return 0
end

return M
