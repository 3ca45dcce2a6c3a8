--- recover: lists removed worktrees, and brings one back byte for byte.
local err = require 'envctl.err'
local fs = require 'envctl.host.fs'
local json = require 'envctl.util.json'
local sys = require 'envctl.host.sys'
local meta = require 'envctl.repo.meta'
local trash = require 'envctl.repo.trash'

local M = {}

local function items_of(records)
  local items = json.array {}
  for _, r in ipairs(records) do
    items[#items + 1] = {
      id = r.id, project = r.project, path = r.path, ref = r.ref, at = r.at, reason = r.reason,
      branch = r.branch or json.null, head = r.head or json.null, tree = fs.lstat(r.tree) ~= nil,
    }
  end
  return items
end

local function list(ctx)
  local items = items_of(trash.list(ctx.roots))
  if ctx.out.is_json then
    ctx.out.json { schema = 'envctl.recover.v1', ok = true, command = 'recover', items = items }
    return 0
  end
  if #items == 0 then
    ctx.out.text 'The trash is empty.'
  end
  for _, item in ipairs(items) do
    ctx.out.text(string.format('%s  %s  %s  (%s, %s UTC)', item.id, item.project, item.path, item.reason,
      item.at:sub(1, 16):gsub('T', ' ')))
  end
  return 0
end

-- By id, else the latest of a project.
local function find(ctx, token)
  local found
  local records = trash.list(ctx.roots)
  for _, r in ipairs(records) do
    if r.id == token then
      return r
    elseif r.project == token and (not found or r.at_ms >= found.at_ms) then
      found = r
    end
  end
  if not found then
    local names = json.array {}
    for i, r in ipairs(records) do
      names[i] = r.id
    end
    err.raise('unknown_target', 'there is no "' .. token .. '" in the trash', {
      hint = #names > 0 and 'known: ' .. table.concat(names, ', ') or 'the trash is empty',
      data = { candidates = names },
    })
  end
  return found
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local route = ctx.route
  if #route.args == 0 then
    if route.flags.to then
      err.raise('target_required', '--to needs to know what to restore', { hint = 'name an id: see `envctl recover`' })
    end
    return list(ctx)
  elseif #route.args > 1 then
    err.raise('unexpected_argument', 'recover takes one id or project, got "' .. route.args[2] .. '" as well', {
      hint = 'see `envctl help recover`',
    })
  end
  local to = route.flags.to
  to = to and require('envctl.util.path').absolute(to, ctx.roots.cwd or sys.cwd() or '/', sys.home())
  if route.flags.dry_run then
    local record = find(ctx, route.args[1])
    ctx.out.text('would restore ' .. record.project .. ' to ' .. (to or record.path))
    if ctx.out.is_json then
      ctx.out.json {
        schema = 'envctl.recover.v1', ok = true, command = 'recover', dry_run = true, id = record.id,
        project = record.project, path = to or record.path,
      }
    end
    return 0
  end
  local record, target, note
  meta.locked(ctx.roots, function()
    require('envctl.repo.worktrees').settle(ctx.roots)
    record = find(ctx, route.args[1])
    target, note = trash.restore(ctx.roots, record, to)
  end)
  if note then
    ctx.out.note('envctl: ' .. note)
  end
  if ctx.out.is_json then
    ctx.out.json {
      schema = 'envctl.recover.v1', ok = true, command = 'recover', dry_run = false, id = record.id,
      project = record.project, path = target, note = note or json.null,
    }
  else
    ctx.out.text('Restored ' .. record.project .. ' to ' .. target .. '.')
  end
  return 0
end

return M
