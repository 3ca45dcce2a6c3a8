--- The program: parse, build the context, dispatch, and print an error once, here.
local sys = require 'envctl.host.sys'

local function print_error(e, command, as_json)
  if as_json then
    local json = require 'envctl.util.json'
    sys.write(1, json.encode {
      schema = 'envctl.error.v1',
      ok = false,
      command = command or json.null,
      error = require('envctl.err').to_table(e, json.null),
    })
    return
  end
  local clean = require('envctl.ui.clean').text
  local message = clean(e.message)
  local where = e.where
  if where and where:find ':%d+$' and not message:find(where, 1, true) then
    message = clean(where) .. ': ' .. message
  end
  sys.write(2, 'envctl: ' .. message .. '\n')
  if e.hint then
    sys.write(2, '  hint: ' .. clean(e.hint) .. '\n')
  end
end

-- The way out of what happens to every file alike.
local ERRNO_HINTS = {
  ENOSPC = 'free some space, or put state elsewhere with RUN_SH_RUNTIME_DIR',
  EDQUOT = 'free some of your quota, or put state elsewhere with RUN_SH_RUNTIME_DIR',
  EROFS = 'make it writable, or put state elsewhere with RUN_SH_RUNTIME_DIR',
  EACCES = 'check its owner and permissions',
  EPERM = 'check its owner and permissions',
  EMFILE = 'raise the limit of open files (ulimit -n)',
}

local function fail(e, command, as_json)
  local err = require 'envctl.err'
  e = err.wrap(e)
  e.hint = e.hint or (e.data and ERRNO_HINTS[e.data.errno]) or nil
  print_error(e, command, as_json)
  if e.traceback then
    sys.write(2, e.traceback .. '\n')
  end
  return (e.exit or e.code == 'interrupted' and 2) or 1
end

local function traceback(e)
  local err = require 'envctl.err'
  return err.is(e) and e or err.wrap(e, debug.traceback(tostring(e), 2))
end

--- Module of the handler, or an error that says that there is none yet.
local function handler(command)
  local name = require('envctl.cli.commands').module(command)
  local found, module = pcall(require, name)
  if found then
    return module
  end
  -- Only a module that is not there at all means "not yet"; one that does not load is a fault.
  if type(module) == 'string' and module:find("module '" .. name .. "' not found", 1, true) then
    require('envctl.err').raise('not_available', '`' .. command .. '` is not available yet', {
      hint = 'see `envctl help` for what is',
    })
  end
  error(module, 0)
end

local function run(route, as_json)
  local out = require('envctl.ui.out').new(as_json)
  local ctx = require('envctl.context').new(route, out)
  local commands = require 'envctl.cli.commands'
  local name = route.command
  if route.flags.dry_run and commands.starts[name] then
    -- A dry run of a start is its explanation.
    local inner = {}
    for k, v in pairs(route) do
      inner[k] = v
    end
    route.explain, route.command = inner, 'explain-startup'
    name = 'explain-startup'
  elseif route.verify then
    name = 'doctor-repo'
  end
  local module = handler(name)
  ctx:admit(commands.by_name[route.command])
  return require('envctl.task').main(function()
    local closing <close> = setmetatable({}, { -- luacheck: ignore 211
      __close = function()
        ctx:close()
      end,
    })
    return module.run(ctx)
  end)
end

-- A word that envctl does not know can be a command of the repository's scripts. Nil: it is not.
local function custom(argv, as_json)
  return require('envctl.task').main(require('envctl.commands.custom').run, argv, as_json)
end

local function keeper(argument)
  return require('envctl.task').main(require('envctl.keeper.server').main, argument)
end

---@return integer exit code
return function()
  local argv = sys.argv
  local first = argv[1]
  if (first == '--version' or first == 'version' or first == '-V') and #argv == 1 then
    sys.write(1, 'envctl ' .. sys.version .. '\n')
    return 0
  elseif first == '__keeper' then
    return keeper(argv[2])
  elseif first == '__complete' then
    return require('envctl.cli.completion').run(argv)
  elseif first == '__docs' then
    return require('envctl.cli.docs').run(argv[2])
  elseif first == '__script-host' then
    return require('envctl.script.child').main()
  end
  local router = require 'envctl.cli.router'
  local as_json = router.wants_json(argv)
  local ok, route = xpcall(router.parse, traceback, argv)
  if not ok then
    local code
    if require('envctl.err').is(route) and route.code == 'unknown_command' then
      ok, code = xpcall(custom, traceback, argv, as_json)
      route = not ok and code or route
    end
    return ok and code or fail(route, router.seen, as_json)
  end
  as_json = route.flags.json == true
  local code
  ok, code = xpcall(run, traceback, route, as_json)
  if not ok then
    return fail(code, route.command, as_json)
  end
  if code == nil or code == true or code == 0 then
    return 0
  end
  return code == 2 and 2 or 1
end
