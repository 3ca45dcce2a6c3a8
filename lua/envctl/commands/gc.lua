--- gc: empties the trash of what has lain there for 7 days. It says what goes before anything goes.
local err = require 'envctl.err'
local json = require 'envctl.util.json'
local sys = require 'envctl.host.sys'
local meta = require 'envctl.repo.meta'
local trash = require 'envctl.repo.trash'

local M = {}

local function expired(ctx)
  local out, kept = {}, 0
  for _, record in ipairs(trash.list(ctx.roots)) do
    if sys.wall_ms() - record.at_ms >= trash.KEEP_MS then
      out[#out + 1] = record
    else
      kept = kept + 1
    end
  end
  return out, kept
end

local function confirm(ctx, records)
  local flags = ctx.route.flags
  if flags.yes or #records == 0 then
    return true
  elseif flags.headless or ctx.out.is_json or not (sys.isatty(0) and sys.isatty(1)) then
    err.raise('confirmation_required', 'gc deletes ' .. #records .. ' removed worktrees for good', {
      hint = 'see them with --dry-run, then give --yes',
    })
  end
  return require('envctl.ui.choose').yes 'Delete them for good?'
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local records, kept = expired(ctx)
  local dry = ctx.route.flags.dry_run == true
  local items, dropped = json.array {}, json.array {}
  for i, r in ipairs(records) do
    items[i] = { id = r.id, project = r.project, path = r.path, at = r.at, reason = r.reason }
    ctx.out.text(string.format('%s %s  %s  %s', dry and 'would drop' or 'to drop:', r.id, r.project, r.path))
  end
  if not dry and confirm(ctx, records) then
    meta.locked(ctx.roots, function()
      require('envctl.repo.worktrees').settle(ctx.roots)
      trash.sweep_pins(ctx.roots)
      for _, r in ipairs(expired(ctx)) do
        for _, item in ipairs(items) do
          if item.id == r.id then
            trash.drop(ctx.roots, r)
            dropped[#dropped + 1] = r.id
          end
        end
      end
    end)
  end
  if ctx.out.is_json then
    ctx.out.json {
      schema = 'envctl.gc.v1', ok = true, command = 'gc', dry_run = dry, items = items, dropped = dropped, kept = kept,
    }
  elseif #records == 0 then
    ctx.out.text('Nothing is older than 7 days' .. (kept > 0 and '; ' .. kept .. ' kept.' or '.'))
  elseif not dry then
    ctx.out.text(string.format('Dropped %d, kept %d.', #dropped, kept + #records - #dropped))
  end
  return 0
end

return M
