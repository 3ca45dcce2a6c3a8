--- Where scripts join the other rooms: what a session adds to the settings, to what was detected, and to decisions.
local M = {}

-- Which layers a value of a script layer may replace: precedence is by source (flags and environment win, the user's own file is
-- below the repository's .envctl).
local STRONGER = {
  user = { dotenv = true, script = true, ['local'] = true, env = true, flag = true },
  script = { ['local'] = true, env = true, flag = true },
  ['local'] = { env = true, flag = true },
}

--- Sets a value of a script, unless a stronger layer has set it.
---@param settings envctl.Settings
---@param key string
---@param value any
---@param at {layer: string, file: string?, line: integer?}?
function M.put(settings, key, value, at)
  at = at or { layer = 'script' }
  local now = settings.values[key]
  if not (now and STRONGER[at.layer][now.level]) then
    settings.values[key] = {
      value = value, origin = { layer = at.layer, file = at.file, line = at.line }, rank = 1, level = at.layer,
    }
  end
end

local function place(origins, path)
  return origins:nearest { 'config', table.unpack(path) }
end

local function path_of(def, from)
  if from == def.key then
    return { def.key }
  end
  local out = {}
  for part in (from or ''):gmatch '[^.]+' do
    out[#out + 1] = part
  end
  return out
end

--- Adds what scripts say under `config` to the settings. Raises script_invalid for a value that does not fit. Awaits.
---@param session envctl.script.Session
---@param settings envctl.Settings
function M.settings(session, settings)
  local values, origins = session:merge('config', {})
  if next(values) == nil then
    return
  end
  local reader, schema = require 'envctl.config.input', require 'envctl.config.schema'
  local input = reader.new()
  reader.document(input, values)
  local first = input.problems[1]
  if first then
    local path = {}
    for part in first.path:gmatch '[^.]+' do
      path[#path + 1] = part
    end
    local at = place(origins, path)
    error(require('envctl.script.problems').new {
      file = at and at.file, line = at and at.line, path = { 'config', table.unpack(path) },
      message = first.message, hint = first.hint,
    }, 0)
  end
  for key, value in pairs(input.values) do
    M.put(settings, key, value, place(origins, path_of(schema.find(key), input.from[key])))
  end
end

--- The session of a repository's scripts, loaded, with its configuration in the settings; nil where there are none. Awaits.
---@param ctx envctl.Context
---@param meanwhile (fun())? called when the script host is at work, before anything waits for it
---@return envctl.script.Session?
function M.open(ctx, meanwhile)
  local session = require('envctl.script.host').open(ctx)
  if not session then
    return nil
  end
  local task = require 'envctl.task'
  local ok, e = task.try(function()
    if meanwhile then
      meanwhile()
    end
    session:load()
    M.settings(session, ctx.settings)
  end)
  if not ok then
    session:close()
    error(e, 0)
  end
  return session
end

--- The functions of a policy module that a script replaces; nil where none does: `join.module(session, 'plan.startup')` is all that
--- a room needs.
---@param session envctl.script.Session?
---@param name string of envctl.script.points
---@return table<string, function>?
function M.module(session, name)
  return session and session.modules[name] and require('envctl.script.acting').module(session, name) or nil
end

--- How the planner asks a decision: through the scripts where there are some.
---@param session envctl.script.Session?
---@return fun(point: string, input: table, base: fun(input: table): any, label: string?): any
function M.decider(session)
  if not session then
    return function(_, input, base)
      return base(input)
    end
  end
  local asked
  return function(point, input, base, label)
    asked = asked or require('envctl.script.acting').asked(session)
    if not asked[point] then
      return base(input)
    end
    if type(input) == 'function' then
      input = input() -- only made when somebody reads it
    end
    return session:call(point, input, base, { label = label })
  end
end

return M
