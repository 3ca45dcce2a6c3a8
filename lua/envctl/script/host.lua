--- The door to the scripts of a repository for every other room: open(ctx) gives a session, or nothing where there is no script.
local sys = require 'envctl.host.sys'

local M = {}

--- Whether scripts are left out: --bundled, or ENVCTL_BUNDLED=1.
---@param ctx table
---@return boolean
function M.bundled(ctx)
  local flag = sys.getenv 'ENVCTL_BUNDLED'
  return ctx.route.flags.bundled == true or (flag ~= nil and flag ~= '' and flag ~= '0' and flag ~= 'false')
end

--- The scripts of a repository, ready to be asked; the script host is started and reads the first one meanwhile. No script, no
--- session, no process. With trusted_only (stop, logs, help) there is none unless all of them are trusted as they are.
---@param ctx table
---@param opts? {trusted_only: boolean?, exe: string?}
---@return envctl.script.Session? session close it
function M.open(ctx, opts)
  opts = opts or {}
  if M.bundled(ctx) or not require('envctl.script.layers').any(ctx.roots) then
    return nil
  end
  local trust = require 'envctl.script.trust'
  local entries = require('envctl.script.layers').find(ctx.roots)
  if #entries == 0 then
    return nil
  end
  local repo = trust.identity(ctx.roots)
  if opts.trusted_only then
    for _, entry in ipairs(entries) do
      if not trust.known(repo, entry) then
        return nil
      end
    end
  end
  local session = require('envctl.script.session').new(entries, { exe = opts.exe, on_print = M.printer(ctx) })
  session.repo = repo
  session.judge = function(s)
    trust.judge(s, repo)
  end
  session.may_ask = function()
    return M.may_ask(ctx)
  end
  session:start()
  return session
end

-- What `ask(session)` says about trusted scripts, or an empty list and what stands in the way. Outside of a repository there is
-- neither.
local function of_trusted(ctx, ask)
  local in_repository, roots = pcall(function()
    return ctx.roots
  end)
  if not in_repository or M.bundled(ctx) or not require('envctl.script.layers').any(roots) then
    return {}
  end
  local err = require 'envctl.err'
  local ok, result = require('envctl.task').try(function()
    local session <close> = M.open(ctx, { trusted_only = true })
    if not session then
      err.raise('script_untrusted', 'the scripts of this repository are not trusted: their commands are not shown', {
        hint = 'read them, then run `envctl script trust`',
      })
    end
    return ask(session)
  end)
  return ok and result or {}, not ok and result or nil
end

--- The commands that the scripts of a repository add, for what lists commands: of trusted scripts only, and best effort. What
--- stands in the way is said and changes nothing else; outside of a repository there is none. Awaits.
---@param ctx table
---@return {name: string, help: string?, usage: string?, layer: string, file: string, line: integer}[]
---@return envctl.Error? problem
function M.custom_commands(ctx)
  return of_trusted(ctx, function(session)
    session:load()
    return session:command_list()
  end)
end

--- The services that trusted scripts name, for completion: best effort. Awaits.
---@param ctx table
---@return string[] names, sorted
function M.service_names(ctx)
  return (of_trusted(ctx, function(session)
    return require('envctl.util.names').sorted(session:load().data.services)
  end))
end

--- Where print() of a script goes: to the notes, cleaned.
function M.printer(ctx)
  return function(text)
    if ctx.out and ctx.out.note then
      ctx.out.note('script: ' .. require('envctl.ui.clean').text(text))
    end
  end
end

--- Whether a question can be put to somebody.
---@param ctx table
---@return boolean
function M.may_ask(ctx)
  local flags = ctx.route.flags
  return not flags.json and not flags.headless and sys.isatty(0) and sys.isatty(2)
end

--- Where the script host's cage stands on this machine, for `script status` and doctor.
---@return {seccomp: boolean, landlock: integer, notes: string[]}
function M.cage()
  local report = require('envctl.host.confine').probe()
  local notes = {}
  if not report.seccomp then
    notes[#notes + 1] = 'seccomp: ' .. (report.seccomp_why or 'missing')
  end
  if report.landlock == 0 then
    notes[#notes + 1] = 'Landlock: ' .. (report.landlock_why or 'missing')
  end
  return { seccomp = report.seccomp, landlock = report.landlock, notes = notes }
end

return M
