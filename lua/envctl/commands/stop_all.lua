--- stop-all: everything of this scope, in both modes, also what only markers and cgroups still name.

local M = {}

--- Whether there can be anything at all to stop: a scope directory, ours or the Python engine's.
local function anything(ctx)
  local fs = require 'envctl.host.fs'
  return fs.stat(ctx.paths.scope_dir) ~= nil or fs.stat(ctx.paths.state_file) ~= nil
    or require('envctl.state.python').file(ctx.paths) ~= nil
end

---@param ctx table
---@return integer exit code
function M.run(ctx)
  require('envctl.state.paths').check(ctx.paths)
  if ctx.route.flags.stop_all_remove_volumes then
    return require('envctl.commands.blast_all').execute(ctx, false)
  end
  if not anything(ctx) then
    if ctx.out.is_json then
      local json = require 'envctl.util.json'
      ctx.out.json {
        schema = 'envctl.stop_all.v1',
        ok = true,
        command = 'stop-all',
        found = false,
        stopped = json.array {},
      }
    else
      ctx.out.text 'Stopped runtime state.'
    end
    return 0
  end
  local ok, doc = pcall(require('envctl.state.store').read_any, ctx.paths) -- one that cannot be read stops nobody
  if not ok and ctx.route.flags.dry_run then
    error(doc, 0)
  end
  local names = require('envctl.util.names').sorted(ok and doc and doc.services or {})
  if ctx.route.flags.dry_run then
    local records = {}
    for i, name in ipairs(names) do
      records[i] = doc.services[name]
      records[i].name = name
    end
    return require('envctl.commands.stop').preview(ctx, records)
  end
  return require('envctl.commands.stop').execute(ctx, { all = true }, names, function()
    return 'Stopped runtime state.'
  end)
end

return M
