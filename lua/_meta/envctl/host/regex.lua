---@meta
--- POSIX extended regular expressions, in the bytes of the C locale.
---@class envctl.host.regex
local regex = {}

---@class envctl.Regex
local Regex = {}
--- Whether text, or a part of it, matches. A NUL byte does not end the text; '.' does not match it.
---@param text string shorter than 2 GiB
---@return boolean
function Regex:matches(text) end
--- Idempotent.
function Regex:close() end

---@param pattern string without NUL bytes
---@return envctl.Regex? regex, string? message, string? code EINVAL
function regex.compile(pattern) end
return regex
