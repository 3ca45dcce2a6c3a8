--- Redis on this machine: configuration, command line, and whether it answers PING.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local tool = require 'envctl.deps.tool'

local M = {}

local function failed(d, what, result)
  err.raise('dependency_failed', ('%s: %s: %s'):format(d.short, what, tool.last_line(result.out)), {
    where = d.short, hint = 'see ' .. d.log_path, data = { dependency = d.id },
  })
end

---@param d table
---@return string
function M.version(d)
  local result = tool.run { argv = { d.plan.program, '--version' }, env = d.env, timeout_ms = 10000 }
  return result.out:match 'v=(%d[%w.]*)' or '?'
end

--- Makes the data directory. Awaits.
---@param d table
function M.prepare(d)
  d.version = M.version(d)
  local data = d.dir .. '/data'
  if fs.stat(data) then
    return
  end
  local argv = { '/usr/bin/install', '-d', '-m', '0700' }
  if d.user then
    table.move({ '-o', ('%d'):format(d.user.uid), '-g', ('%d'):format(d.user.gid) }, 1, 4, #argv + 1, argv)
  end
  argv[#argv + 1] = data
  local result = tool.run { argv = argv, env = d.env }
  if result.code ~= 0 then
    failed(d, 'cannot make ' .. data, result)
  end
  local from = require('envctl.deps.places').seed(d)
  if from then
    -- Append-only files: what is written meanwhile is at most a cut last line, which Redis steps over.
    d.say('preparing', 'copying the data of ' .. d.seed)
    result = tool.run {
      argv = { '/bin/cp', '-a', '--reflink=auto', from .. '/data/.', data }, env = d.env, user = d.user,
      timeout_ms = 600000,
    }
    if result.code ~= 0 then
      failed(d, 'copying the data of ' .. d.seed, result)
    end
  end
end

-- Whether this version is at least major.minor.
local function since(d, major, minor)
  local a, b = d.version:match '^(%d+)%.(%d+)'
  a, b = tonumber(a) or 0, tonumber(b) or 0
  return a > major or a == major and b >= minor
end

local function quote(text)
  return '"' .. text:gsub('[\\"]', '\\%0') .. '"'
end

--- Command line; the configuration, with the password in it, goes through standard input.
---@param d table
---@return {argv: string[], input: string?}
function M.command(d)
  local lines = {
    'bind 127.0.0.1' .. (since(d, 6, 2) and ' -::1' or ''),
    'port ' .. ('%d'):format(d.port),
    'daemonize no',
    'supervised no',
    'logfile ""',
    'dir ' .. quote(d.dir .. '/data'),
    'appendonly yes',
    'databases ' .. (d.plan.scope == 'shared' and require('envctl.deps.definitions').REDIS_DATABASES or 16),
    'requirepass ' .. quote(d.access.password),
  }
  if since(d, 6, 2) then
    lines[#lines + 1] = 'set-proc-title no' -- or it would write over the marker in its environment
  end
  return { argv = { d.plan.program, '-' }, input = table.concat(lines, '\n') .. '\n' }
end

--- Whether it answers. Awaits. Without redis-cli it counts as soon as it listens.
---@param d table
---@return boolean ok, string? why
function M.usable(d)
  local cli = d.plan.bin and sys.which(d.plan.bin .. '/redis-cli') or sys.which('redis-cli', { path = d.env.PATH })
  if not cli then
    return true
  end
  local argv = { cli, '-h', d.access.probe_host or '127.0.0.1', '-p', ('%d'):format(d.port) }
  if d.access.user then
    table.move({ '--user', d.access.user }, 1, 2, #argv + 1, argv)
  end
  argv[#argv + 1] = 'ping'
  local result = tool.run {
    argv = argv, env = tool.env(d.env, { REDISCLI_AUTH = d.access.password }), timeout_ms = 5000,
  }
  return result.out:find 'PONG' ~= nil, tool.last_line(result.out)
end

return M
