--- ports: reservations of this user on this machine, and who holds the ports now. Reads only.
local json = require 'envctl.util.json'

local M = {}

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  require('envctl.state.paths').check(ctx.paths)
  local entries = require('envctl.state.ports_table').read(ctx.paths)
  local listeners = require('envctl.host.port').listeners()
  local held = {}
  for _, e in ipairs(entries) do
    held[#held + 1] = listeners[e.port] and e.port
  end
  local holders = #held > 0 and require('envctl.host.procfs').holders(held) or {}
  local list = json.array {}
  for _, e in ipairs(entries) do
    local holder = holders[e.port]
    list[#list + 1] = {
      scope = e.scope, repo = e.repo or json.null, project = e.project, slot = e.slot or json.null, service = e.service,
      port = e.port, state = listeners[e.port] and 'held' or 'reserved',
      holder = holder and { pid = holder.pid, command = holder.command } or json.null,
    }
  end
  table.sort(list, function(a, b)
    return a.port < b.port
  end)
  if ctx.out.is_json then
    ctx.out.json { schema = 'envctl.ports.v1', ok = true, ports = list }
    return 0
  end
  for _, p in ipairs(list) do
    local text = ('%5d  %s/%s'):format(p.port, p.project, p.service)
    if p.scope ~= ctx.paths.scope_id then
      text = text .. ' of ' .. tostring(p.repo)
    end
    text = text .. '  ' .. p.state
    if p.holder ~= json.null then
      text = text .. ' by pid ' .. p.holder.pid .. ' (' .. p.holder.command .. ')'
    end
    ctx.out.text(text)
  end
  return 0
end

return M
