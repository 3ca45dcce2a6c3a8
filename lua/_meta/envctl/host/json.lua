---@meta
--- lua-cjson, restricted: policy uses envctl.util.json, which normalises on the way in and encodes canonically.
---@class envctl.host.json
local json = {}
--- Decodes one document. Every number is a float, empty arrays are empty tables, null is json.null.
---@param text string
---@return any? value, string? message message has a character offset
function json.decode(text) end
--- A JSON string literal. Invalid UTF-8 becomes U+FFFD; all non-ASCII is escaped as \uXXXX.
---@param text string
---@return string
function json.quote(text) end
--- The null value (a light userdata).
json.null = nil
return json
