---@meta
--- Where in the text of a Lua chunk the keys of the table stand that the chunk returns.
---@class envctl.host.luakeys
local luakeys = {}

---@class envctl.LuaKeys
local Index = {}

--- Reads a text; any bytes will do. A broken chunk has no useful answer, never an error.
---@param text string
---@return envctl.LuaKeys index
function luakeys.index(text) end

--- The line of a path, or of the nearest key above it that is known.
---@param path (string|integer)[]
---@return integer? line from 1; nil when the chunk returns no table that can be seen
---@return integer depth how many parts of the path were found
---@return string? include the rest is in the file that envctl.include was given
function Index:find(path) end

--- Forgets it. Idempotent.
function Index:close() end

return luakeys
