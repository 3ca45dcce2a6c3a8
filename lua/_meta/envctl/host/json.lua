---@meta
--- lua-cjson, restricted: policy uses envctl.util.json, which normalises on the way in and encodes canonically.
---@class envctl.host.json
local json = {}
--- Decodes one document. Every number is a float, empty arrays are empty tables, null is json.null.
---@param text string
---@return any? value, string? message message has a character offset
function json.decode(text) end
--- Canonical JSON: sorted keys, exact integers; arrays are what has the metatable `array`, or something at 1. Raises for what JSON
--- cannot say.
---@param value any
---@param array table metatable
---@param indent boolean two spaces a level and a newline at the end, or nothing
---@return string
function json.encode(value, array, indent) end
--- The text with what decode loses put behind marks: "\\u0001envctl:[]" in an empty array, "\\u0001envctl:int:DIGITS" for a whole
--- number of 16 characters and more.
---@param text string
---@return string
function json.mark(text) end
--- What decode gave, in place: whole numbers become integers, arrays get the metatable, and the texts "\1envctl:[]" (alone in its
--- array) and "\1envctl:int:DIGITS", which stand for what decode loses, become that.
---@param value any
---@param array table metatable
---@return any
function json.settle(value, array) end
--- Takes every null out of a value, in place; null itself becomes nil.
---@param value any
---@return any
function json.strip_nulls(value) end
--- A JSON string literal. Invalid UTF-8 becomes U+FFFD; all non-ASCII is escaped as \uXXXX.
---@param text string
---@return string
function json.quote(text) end
--- The null value (a light userdata).
json.null = nil
return json
