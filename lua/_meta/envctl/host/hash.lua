---@meta
---@class envctl.host.hash
local hash = {}
--- SHA-256 as 64 lower-case hex digits.
---@param data string
---@return string
function hash.sha256(data) end
return hash
