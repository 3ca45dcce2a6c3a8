--- What runs containers on this machine: a docker daemon that answers, or podman, which has no daemon. Looks, and runs nothing.
local M = {}

---@class envctl.deps.Engine
---@field name 'docker'|'podman' its command, which takes the same words
---@field env table<string, string> of whoever asks

local DEFAULT = '/var/run/docker.sock'

--- Where the docker daemon's socket is; nil for one that is not on this machine.
---@param env table<string, string>
---@return string? path
function M.socket(env)
  local host = env.DOCKER_HOST
  if not host or host == '' then
    return DEFAULT
  end
  return host:match '^unix://(/.+)$'
end

local function which(name, env)
  return require('envctl.host.sys').which(name, { path = env.PATH })
end

--- Whether a docker daemon answers: its socket is connected to, nothing more. Costs nothing when there is no socket.
---@param env table<string, string>
---@return boolean answers, string why, boolean? down it is there, and does not answer
function M.docker(env)
  local path = M.socket(env)
  if not path then
    return false, 'docker: DOCKER_HOST is no socket of this machine', true
  elseif not require('envctl.host.fs').stat(path) then
    return false, which('docker', env) and 'docker: no daemon here' or 'docker: not installed'
  elseif not which('docker', env) then
    return false, 'docker: no docker command'
  end
  local conn, _, code = require('envctl.host.net').unix_connect(path:match '^(.*)/[^/]*$', path:match '[^/]*$')
  if conn then
    conn:close()
  end
  -- A daemon of root is another user's: it answers all the same.
  if conn or code == 'EPERM' then
    return true, 'docker: the daemon answers'
  elseif code == 'EACCES' then
    return false, 'docker: no permission for ' .. path
  end
  return false, 'docker: the daemon does not answer', true
end

--- Podman, where docker is not there. A docker daemon that is down, or that DOCKER_HOST names, has volumes of its own: without it
--- data would seem to be gone, so nothing takes its place.
---@param env table<string, string>
---@return string? path
function M.podman(env)
  local _, _, down = M.docker(env)
  if not down and (env.DOCKER_HOST or '') == '' then
    return (which('podman', env))
  end
end

-- A podman that has never stored anything is not asked: asking makes its directories, and for users a process that stays.
local function has_stored(env)
  local fs = require 'envctl.host.fs'
  local home = env.HOME or '/'
  local data, config = env.XDG_DATA_HOME or home .. '/.local/share', env.XDG_CONFIG_HOME or home .. '/.config'
  local own = require('envctl.host.sys').geteuid() == 0 and '/var/lib' or data
  local config_path = '/containers/storage.conf' -- may put it anywhere
  return (env.CONTAINERS_STORAGE_CONF or '') ~= '' or fs.stat(own .. '/containers/storage') ~= nil
    or fs.stat(config .. config_path) ~= nil or fs.stat('/etc' .. config_path) ~= nil
end

--- Every engine that may have something of ours.
---@param env table<string, string>
---@return envctl.deps.Engine[]
function M.all(env)
  local out = {}
  if M.docker(env) then
    out[1] = { name = 'docker', env = env }
  end
  if which('podman', env) and has_stored(env) then
    out[#out + 1] = { name = 'podman', env = env }
  end
  return out
end

local function note_of(paths, engine)
  return paths.scope_dir .. '/containers.' .. engine.name
end

--- Notes that the scope is about to have a container that runs in an engine, before it has one.
---@param paths envctl.Paths
---@param engine envctl.deps.Engine
function M.note(paths, engine)
  local fs, err = require 'envctl.host.fs', require 'envctl.err'
  err.check(fs.write_atomic(note_of(paths, engine), '', { mode = 384, durable = false }), nil, nil, 'io_error') -- 0600
end

--- Takes that back: nothing of the scope runs in the engine any more.
---@param paths envctl.Paths
---@param engine envctl.deps.Engine
function M.forget(paths, engine)
  require('envctl.host.fs').unlink(note_of(paths, engine))
end

--- Every engine that something of the scope may run in: the others are not asked, which would take longer than all the rest.
---@param env table<string, string>
---@param paths envctl.Paths
---@return envctl.deps.Engine[]
function M.noted(env, paths)
  local out = {}
  for _, engine in ipairs(M.all(env)) do
    out[#out + 1] = require('envctl.host.fs').lstat(note_of(paths, engine)) and engine or nil
  end
  return out
end

--- The engine that a recorded container is in.
---@param record table component
---@param env table<string, string>
---@return envctl.deps.Engine
function M.of(record, env)
  local own = {}
  for name, value in pairs(env) do
    own[name] = value
  end
  own.DOCKER_HOST = record.docker_host
  return { name = record.engine or 'docker', env = own }
end

return M
