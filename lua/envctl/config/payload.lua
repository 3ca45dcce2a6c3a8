--- The nested document of the configuration: what `config --stdin-json` takes, and what `show-config` calls `effective`.
local schema = require 'envctl.config.schema'

local M = {}

local function put(document, way, value)
  local at = document
  for i = 1, #way - 1 do
    at[way[i]] = at[way[i]] or {}
    at = at[way[i]]
  end
  at[way[#way]] = value
end

--- Builds the document from a function key -> native value.
---@param get fun(key: string): any
---@return table
function M.build(get)
  local document = { managed_keys = {} }
  for _, def in ipairs(schema.list) do
    if def.managed then
      local value = get(def.key)
      document.managed_keys[def.key] = schema.text(value)
      for _, way in ipairs(def.json) do
        put(document, way, value)
      end
    end
  end
  return document
end

--- The document of settings: highest source of each key.
---@param settings envctl.Settings
---@return table
function M.effective(settings)
  return M.build(function(key)
    return settings:get(key)
  end)
end

return M
