--- A dependency that a command starts: one of the user's (ENVCTL_REQUIREMENT_<X>_CMD) or that of a description. It may stay in the
--- foreground, or end with 0 after it has started something that listens. Only what provably comes from it counts, and is ended.
local procfs = require 'envctl.host.procfs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local observe = require 'envctl.resume.observe'
local readiness = require 'envctl.keeper.readiness'

local M = {}

--- Awaits nothing: the command is all there is.
---@param d table
function M.prepare(d)
  local env = require('envctl.keeper.child_env').clean(d.base_env)
  for name, value in pairs(d.env) do
    env[name] = name:find '^ENVCTL_' and value or env[name]
  end
  env.PORT = d.port and ('%d'):format(d.port) or nil
  env.ENVCTL_PROJECT_NAME = d.project.name
  for name, value in pairs(require('envctl.deps.launch').own_env(d)) do
    env[name] = value
  end
  d.env, d.cwd = env, d.project.root
end

---@param d table
---@return {argv: string[]}
function M.command(d)
  local argv = table.move(d.plan.command, 1, #d.plan.command, 1, {})
  local program = argv[1]
  if program:find('/', 1, true) and program:sub(1, 1) ~= '/' then
    program = d.cwd .. '/' .. program
  end
  local path, message = sys.which(program, { path = d.env.PATH })
  if not path then
    err.raise('command_not_found', ('%s: cannot run "%s": %s'):format(d.short, argv[1], message), {
      where = d.short, hint = d.plan.why .. '; install it, or correct the command',
    })
  end
  argv[1] = path
  return { argv = argv }
end

--- Whether it is as its readiness says. That it listens has been seen. Awaits.
---@param d table
---@return boolean ok, string? why
function M.usable(d)
  d.looked = d.looked or {} -- what has been read of its log
  d.svc.env = d.env
  return readiness.check(d.svc, d.plan.ready, { port = d.port, addr = '127.0.0.1' }, d.looked)
end

--- After the command ended with 0: the process that it left behind and that listens, by identity.
---@param d table
---@return envctl.Identity?
function M.left_behind(d)
  local pids = {}
  for i, member in ipairs(procfs.members({ observe.query(d.record) })[1]) do
    pids[i] = member.pid
  end
  for _, l in ipairs(procfs.listening(pids)) do
    if l.port == d.port then
      return procfs.identity(l.pid)
    end
  end
end

return M
