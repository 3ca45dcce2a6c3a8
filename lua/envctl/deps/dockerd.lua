--- Whether a docker daemon answers: its socket is connected to, nothing more. Costs nothing when there is no socket.
local M = {}

local DEFAULT = '/var/run/docker.sock'

--- Where its socket is; nil for a daemon that is not on this machine.
---@param env table<string, string>
---@return string? path
function M.socket(env)
  local host = env.DOCKER_HOST
  if not host or host == '' then
    return DEFAULT
  end
  return host:match '^unix://(/.+)$'
end

--- Looks.
---@param env table<string, string>
---@return boolean answers, string why
function M.answers(env)
  local path = M.socket(env)
  if not path then
    return false, 'docker: DOCKER_HOST is no socket of this machine'
  elseif not require('envctl.host.fs').stat(path) then
    return false, 'docker: no daemon here'
  elseif not require('envctl.host.sys').which('docker', { path = env.PATH }) then
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
  return false, 'docker: the daemon does not answer'
end

return M
