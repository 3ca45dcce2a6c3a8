--- Env files of the applications that settings name (BACKEND_ENV_FILE_OVERRIDE and its like). They are read, and never written.
--- Without such a setting nothing is read: an application reads its own `.env` itself.
local fs = require 'envctl.host.fs'
local path = require 'envctl.util.path'
local dotenv = require 'envctl.config.dotenv'

local M = {}

local MAX = 1024 * 1024

local MAIN = { backend = 'MAIN_ENV_FILE_PATH', frontend = 'MAIN_FRONTEND_ENV_FILE_PATH' }

local function key_of(settings, service, project)
  local every = service:upper() .. '_ENV_FILE_OVERRIDE'
  if settings:get(every) then
    return every
  end
  return project == 'Main' and settings:get(MAIN[service]) and MAIN[service] or nil
end

-- Where a relative path may lead to: into the repository, and into the worktree of it that is the project.
local function places(text, root, control_root)
  local home = require('envctl.host.sys').home()
  local out = { path.absolute(text, control_root, home) }
  local own = path.absolute(text, root, home)
  out[2] = own ~= out[1] and own or nil
  return out
end

---@class envctl.EnvFile
---@field file string
---@field shown string for people
---@field entries envctl.dotenv.Entry[]

--- The file that a service is given. One that two roots have with different content is nobody's to choose.
---@param settings envctl.Settings
---@param service string
---@param project {name: string, root: string}
---@param control_root string root of the repository
---@return envctl.EnvFile? file
---@return table? problem {code, message, hint, where, warning?}
function M.read(settings, service, project, control_root)
  local key = MAIN[service] and key_of(settings, service, project.name)
  if not key then
    return nil
  end
  local texts, files = {}, places(settings:get(key), project.root, control_root)
  for i, file in ipairs(files) do
    texts[i] = fs.read(file, { max = MAX }) or false
  end
  local where, origin = key, settings:origin(key)
  if origin and origin.file and origin.line then
    where = settings.shown .. ':' .. origin.line
  end
  if texts[1] and texts[2] and texts[1] ~= texts[2] then
    return nil, {
      code = 'env_file_ambiguous', where = where,
      message = ('%s names two files with different content: %s and %s'):format(key, files[1], files[2]),
      hint = 'give an absolute path',
    }
  end
  local n = texts[1] and 1 or texts[2] and 2
  if not n then
    return nil, {
      code = 'env_file_missing', where = where, warning = true,
      message = ('%s: there is no readable file %s; %s gets nothing from it'):format(key, files[1], service),
    }
  end
  return { file = files[n], shown = path.shown(files[n], control_root), entries = dotenv.scan(texts[n]).entries }
end

return M
