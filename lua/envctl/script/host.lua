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

--- Runs a custom command, when a script has one of that name. Trust is asked for, host.print goes to stdout.
---@param ctx table
---@param name string
---@param args string[]
---@return integer? exit code, nil when there is no such command
function M.run_command(ctx, name, args)
  local session <close> = M.open(ctx)
  if not session then
    return nil
  end
  session:load()
  if not session.commands[name] then
    session:close()
    return nil
  end
  local root = ctx.roots.execution_root or ctx.roots.root
  local input = { args = args, root = root, json = ctx.route.flags.json == true }
  local code = session:run_command(name, input, require('envctl.script.api').for_terminal(ctx, root))
  session:close()
  return code
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
