--- stop-all: everything of this scope, in both modes, also what only markers and cgroups still name.

local M = {}

--- Whether there can be anything at all to stop: a scope directory, ours or the Python engine's.
local function anything(ctx)
  local fs = require 'envctl.host.fs'
  return fs.stat(ctx.paths.scope_dir) ~= nil or fs.stat(ctx.paths.state_file) ~= nil
    or require('envctl.state.python').file(ctx.paths) ~= nil
end

-- What runs since before the repository was moved belongs to the scope of the old place.
local function stop_moved(ctx)
  local stopped = {}
  for _, m in ipairs(require('envctl.resume.moved').find(ctx)) do
    if ctx.route.flags.dry_run then
      local names = table.concat(m.names, ', ')
      ctx.out.note(('envctl: would stop what runs since this repository was %s: %s'):format(m.root, names))
    else
      ctx.out.note('envctl: stopping what runs since this repository was ' .. m.root)
      local there = setmetatable({ paths = m.paths }, { __index = ctx })
      local result = require('envctl.commands.stop').carry_out(there, { all = true }, m.names)
      table.move(result.stopped, 1, #result.stopped, #stopped + 1, stopped)
    end
  end
  return stopped
end

---@param ctx table
---@return integer exit code
function M.run(ctx)
  require('envctl.state.paths').check(ctx.paths)
  local json = require 'envctl.util.json'
  local earlier = stop_moved(ctx)
  if ctx.route.flags.stop_all_remove_volumes then
    return require('envctl.commands.blast_all').execute(ctx, false)
  end
  if not anything(ctx) then
    if ctx.out.is_json then
      ctx.out.json {
        schema = 'envctl.stop_all.v1',
        ok = true,
        command = 'stop-all',
        found = #earlier > 0,
        stopped = json.array(earlier),
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
  end, earlier)
end

return M
