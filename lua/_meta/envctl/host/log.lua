---@meta
--- The keeper's own log: one JSON object a line, one write each, no stdio.
---@class envctl.host.log
local log = {}
--- Opens (O_APPEND, 0600) the log file of this process.
---@param path string
---@return true? ok, string? message, string? code
function log.open(path) end
---@param level 'debug'|'info'|'warn'|'error'
---@param message string
---@param fields_json? string a JSON object with more fields
function log.write(level, message, fields_json) end
return log
