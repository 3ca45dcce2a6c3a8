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

--- Whether a saved state is about a mode: both modes can run at once, the state's own is the one started last.
---@param doc table
---@param mode 'main'|'trees'
---@return boolean
function M.has_mode(doc, mode)
  for _, r in pairs(doc.services) do
    if r.mode == mode then
      return true
    end
  end
  return doc.mode == mode
end

--- The saved state for a command that needs one. Raises state_missing.
---@param ctx envctl.Context
---@param hint string|false|nil what helps when there is none
---@return table doc
function M.require_state(ctx, hint)
  require('envctl.state.paths').check(ctx.paths)
  local doc = require('envctl.state.store').read(ctx.paths)
  local mode = ctx.route.mode
  if not doc or mode and not M.has_mode(doc, mode) then
    require('envctl.err').raise('state_missing', 'no active runtime state found', {
      hint = hint or 'start something first: `envctl`',
    })
  end
  return doc
end

return M
