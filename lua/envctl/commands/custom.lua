--- Commands that a repository's scripts define: `envctl seed`. Asked only for a word that envctl itself does not know.
local M = {}

-- `[--repo P] NAME ARG…`: everything behind the name belongs to the script, except that it is asked for help.
local function split(argv)
  local repo, i = nil, 1
  while argv[i] do
    if argv[i] == '--repo' then
      repo, i = argv[i + 1], i + 2
    elseif argv[i]:find '^%-%-repo=' then
      repo, i = argv[i]:sub(8), i + 1
    else
      break
    end
  end
  local name = argv[i]
  if not name or name:find '^%-' then
    return nil
  end
  return name, table.move(argv, i + 1, #argv, 1, {}), repo
end

--- Runs the command of a script, if there is one of that name. Awaits.
---@param argv string[]
---@param as_json boolean
---@return integer? exit code, nil when no script has such a command
function M.run(argv, as_json)
  local name, args, repo = split(argv)
  if not name then
    return nil
  end
  local json = require 'envctl.util.json'
  local route = {
    command = name, flags = { json = as_json or nil }, projects = {}, services = {}, args = {}, repo = repo,
  }
  local ctx = require('envctl.context').new(route, require('envctl.ui.out').new(false))
  local closing <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      ctx:close()
    end,
  })
  local session = ctx:scripts()
  if not session or not session.commands[name] then
    return nil
  end
  if args[1] == '--help' or args[1] == '-h' then -- asking what it does must not do it
    ctx.route.args = { name }
    return require('envctl.commands.help').run(ctx)
  end
  local root = ctx.roots.execution_root
  return session:run_command(name, {
    args = json.array(args), root = root, project = ctx.cwd_project and ctx.cwd_project.name or 'Main', mode = ctx.mode,
  }, require('envctl.script.api').for_terminal(ctx, root))
end

return M
