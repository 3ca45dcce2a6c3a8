--- list-trees: list-targets of trees mode, and what git knows of each: how far it is from its upstream, and when it was last
--- worked on. Programs that read names get nothing but names. Reads only.
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

-- When something was last staged, committed or checked out, or the top directory changed: milliseconds; nil when nothing says.
local function last_activity(roots, root)
  local admin = require('envctl.repo.meta').admin_of(roots, root)
  local latest
  for _, file in ipairs(admin and { admin .. '/index', admin .. '/HEAD', admin .. '/logs/HEAD', root } or {}) do
    local stat = fs.stat(file)
    latest = stat and math.max(latest or 0, stat.mtime_ms) or latest
  end
  return latest
end

local function document_of(ctx)
  local document = require('envctl.commands.list_targets').document(ctx, 'trees', ctx.route.command)
  local heads, activity = {}, {}
  for _, p in ipairs(document.projects) do
    if p.branch ~= json.null and p.head ~= json.null then
      heads[p.branch] = p.head
    end
  end
  local distances = require('envctl.repo.upstream').distances(ctx.roots, heads)
  for i, p in ipairs(document.projects) do
    distance(p, distances[p.branch])
    activity[i] = last_activity(ctx.roots, p.root) or false
    p.last_activity = activity[i] and sys.iso_time(activity[i]) or json.null
  end
  return document, activity
end

local UNITS = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'min' }, { 1, 's' } }

local function age(ms)
  local seconds = math.max(ms // 1000, 1)
  for _, unit in ipairs(UNITS) do
    if seconds >= unit[1] then
      return ('%d %s ago'):format(seconds // unit[1], unit[2])
    end
  end
end

local function urls(p)
  local out = {}
  for _, service in ipairs(require('envctl.util.names').sorted(p.urls)) do
    out[#out + 1] = p.urls[service]
  end
  return table.concat(out, ' ')
end

-- The cells of a worktree's line. What is as one expects it, or was not looked at, stays empty.
local function cells(p, active_ms, now_ms)
  local off = {}
  for _, side in ipairs { 'ahead', 'behind' } do
    off[#off + 1] = p[side] ~= json.null and p[side] > 0 and p[side] .. ' ' .. side or nil
  end
  return {
    p.name,
    p.missing and 'missing' or p.running == json.null and 'unknown' or p.running and 'running' or 'stopped',
    (p.locked and 'locked ' or '') .. (p.dirty == true and 'dirty' or p.dirty == false and 'clean' or ''),
    p.branch == json.null and 'no branch' or p.branch ~= p.name and p.branch or '',
    table.concat(off, ', '),
    active_ms and age(now_ms - active_ms) or '',
    urls(p),
  }
end

-- Lines of a table; columns in which nothing stands are left out.
local function aligned(rows)
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for c, text in ipairs(row) do
      widths[c] = math.max(widths[c] or 0, utf8.len(text) or #text)
    end
  end
  for i, row in ipairs(rows) do
    local out = {}
    for c, text in ipairs(row) do
      out[#out + 1] = widths[c] > 0 and text .. (' '):rep(widths[c] - (utf8.len(text) or #text)) or nil
    end
    lines[i] = table.concat(out, '  '):gsub(' +$', '')
  end
  return lines
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  if not ctx.out.is_json and not sys.isatty(1) then
    return require('envctl.commands.list_targets').list(ctx, 'trees')
  end
  local document, activity = document_of(ctx)
  if ctx.out.is_json then
    ctx.out.json(document)
    return 0
  end
  local rows = {}
  for i, p in ipairs(document.projects) do
    rows[i] = cells(p, activity[i], sys.wall_ms())
  end
  for _, line in ipairs(aligned(rows)) do
    ctx.out.text(line)
  end
  return 0
end

return M
