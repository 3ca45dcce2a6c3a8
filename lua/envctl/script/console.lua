--- `script repl`: a console in the script host, with what envctl knows about this repository. Nothing can be made to happen there:
--- it is the same cage, without `host`.
local sys = require 'envctl.host.sys'
local task = require 'envctl.task'
local err = require 'envctl.err'

local M = {}

local HELP = [[
An expression prints its value; a statement is run. Variables stay, except for local ones.
  facts    what is known before planning (paths, settings, projects, ports, state)
  explain  what `envctl explain-startup --json` says, scripts included
  script   what your .envctl.lua returns, with its functions; scripts.user, scripts["local"]: the other layers
  envctl   what scripts have, envctl.bundled("plan.ports") included
  :reload  reads scripts and repository again
  :help    this
  :quit    or the end of the input]]

local function clean(text)
  return require('envctl.ui.clean').text(text)
end

local function say(text)
  sys.write(1, text .. '\n')
end

local function complain(e)
  sys.write(2, clean(e.message) .. '\n')
  if e.hint then
    sys.write(2, '  hint: ' .. clean(e.hint) .. '\n')
  end
end

---@class envctl.script.Console
---@field ctx envctl.Context
---@field session envctl.script.Session
---@field values table what the console knows
local Console = {}
Console.__index = Console

-- Reads scripts and repository. What does not work is said, and the console knows less.
function Console:open()
  local session, facts, explain
  local ok, e = task.try(function()
    session = self.ctx:scripts()
    facts, explain = require('envctl.facts').plan(self.ctx, { command = 'start' })
  end)
  if not ok then
    complain(e)
  end
  self.session = session or require('envctl.script.session').new {}
  self.session.on_print = function(text)
    say(clean(text))
  end
  local wire = require 'envctl.script.wire'
  -- Through JSON's eyes: no functions, no nulls.
  self.values = { facts = facts and wire.exact(facts), explain = explain and wire.exact(explain) }
end

function Console:close()
  self.session:close()
  self.ctx:close()
end

-- A script host that was ended by what it ran begins anew, so it is told again.
function Console:ask(request)
  self.session:ready()
  if self.bound ~= self.session.pipe then
    self.bound = self.session.pipe
    self.session:ask({ op = 'bind', values = self.values }, {})
  end
  return self.session:ask(request, {})
end

-- Runs what was typed. Nil when it is not complete yet, else whether it went well.
function Console:run(text)
  local ok, result = task.try(self.ask, self, { op = 'eval', text = text })
  if not ok then
    result.hint = nil -- it is about scripts in files
    complain(result)
    return false
  elseif result.incomplete then
    return nil
  end
  for _, value in ipairs(result.values) do
    say(clean(require('envctl.script.wire').unpack(value)))
  end
  return true
end

--- Reads and runs until the end of the input. Awaits.
---@param fresh fun(): envctl.Context a context nobody else uses
---@return integer exit code: 1 when something failed and nobody sat there to see it
function M.run(fresh)
  local self = setmetatable({ ctx = fresh() }, Console)
  self:open()
  local closing <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      self:close()
    end,
  })
  local terminal = sys.isatty(0) and sys.isatty(1)
  if terminal then
    say 'envctl script repl; :help says what there is, :quit ends it.'
  end
  local pending, failed = nil, false
  while true do
    if terminal then
      sys.write(1, pending and '>> ' or '> ')
    end
    local line = sys.read_line()
    local word = not pending and line and line:match '^%s*(:%a+)%s*$'
    if word == ':quit' or (not line and not pending) then
      break
    elseif word == ':help' then
      say(HELP)
    elseif word == ':reload' then
      self:close()
      self.ctx = fresh()
      self:open()
    elseif word then
      complain(err.new('unknown_command', 'there is no ' .. word, { hint = ':help, :reload or :quit' }))
      failed = true
    elseif line and not pending and not line:find '%S' then
      pending = nil
    else
      local text = pending and pending .. '\n' .. (line or '') or line
      local done = self:run(text)
      if done == nil and line and line ~= '' then
        pending = text
      else
        if done == nil then
          complain(err.new('script_invalid', 'unfinished: ' .. text:match '[^\n]*'))
        end
        pending, failed = nil, failed or not done
      end
      if not line then
        break
      end
    end
  end
  if terminal then
    say ''
  end
  return failed and not terminal and 1 or 0
end

return M
