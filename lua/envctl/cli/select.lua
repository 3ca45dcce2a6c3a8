--- Which service records of the saved state a command is about.
local M = {}

--- Records of the route's mode, sorted by name; only those its selectors name, when it has any. Raises for names that do not
--- resolve, before anything happens.
---@param route envctl.Route
---@param doc table run state
---@return table[] records service records with their display name in `name`
---@return boolean explicit selectors were given
function M.services(route, doc)
  local records = {}
  for name, r in pairs(doc.services) do
    if not route.mode or r.mode == route.mode then
      r.name = name
      records[#records + 1] = r
    end
  end
  table.sort(records, function(a, b)
    return a.name < b.name
  end)
  if #route.projects == 0 and #route.services == 0 and #route.args == 0 then
    return records, false
  end
  local wanted, out = {}, {}
  for _, name in ipairs(require('envctl.cli.targets').services(route, records)) do
    wanted[name] = true
  end
  for _, r in ipairs(records) do
    if wanted[r.name] then
      out[#out + 1] = r
    end
  end
  return out, true
end

--- The saved state for a command that needs one. Raises state_missing.
---@param ctx envctl.Context
---@return table doc
function M.require_state(ctx)
  require('envctl.state.paths').check(ctx.paths)
  local doc = require('envctl.state.store').read(ctx.paths)
  local mode = ctx.route.mode
  if doc and mode then
    local any = doc.mode == mode
    for _, r in pairs(doc.services) do
      any = any or r.mode == mode
    end
    doc = any and doc or nil
  end
  if not doc then
    require('envctl.err').raise('state_missing', 'no active runtime state found', {
      hint = 'start something first: `envctl`',
    })
  end
  return doc
end

return M
