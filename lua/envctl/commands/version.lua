--- version, --version
local sys = require 'envctl.host.sys'

local M = {}

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  if ctx.out.is_json then
    ctx.out.json { schema = 'envctl.version.v1', ok = true, version = sys.version, binary = sys.exe }
  else
    ctx.out.text('envctl ' .. sys.version)
  end
  return 0
end

return M
