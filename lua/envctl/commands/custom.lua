--- Commands that a repository's scripts define: `envctl seed`. Asked only for a word that envctl itself does not know.
local M = {}

local SWITCHES = { ['--headless'] = 'headless', ['--json'] = 'json' }

-- `[--repo P] [--headless] [--json] NAME ARG…`: everything behind the name belongs to the script, except that it is asked for help.
local function split(argv)
  local repo, given, i = nil, {}, 1
  while argv[i] do
    if argv[i] == '--repo' then
      repo, i = argv[i + 1], i + 2
    elseif argv[i]:find '^%-%-repo=' then
      repo, i = argv[i]:sub(8), i + 1
    elseif SWITCHES[argv[i]] then
      given[SWITCHES[argv[i]]], i = true, i + 1
    else
      break
    end
  end
  local name = argv[i]
  if not name or name:find '^%-' then
    return nil
  end
  return name, table.move(argv, i + 1, #argv, 1, {}), repo, given
end

-- Raises for a repository that was named and is not there.
local function has_scripts(repo)
  local found, roots = pcall(require('envctl.repo.roots').find, { repo = repo })
  if not found and repo then
    error(roots, 0)
  end
  return found and require('envctl.script.layers').any(roots)
end

--- Runs the command of a script, if there is one of that name. Awaits.
---@param argv string[]
---@param as_json boolean
---@return integer? exit code, nil when no script has such a command
function M.run(argv, as_json)
  local name, args, repo, given = split(argv)
  if not name or not has_scripts(repo) then
    return nil
  end
  given.json = as_json or nil
  local json = require 'envctl.util.json'
  local route = {
    command = name, flags = given, projects = {}, services = {}, args = {}, repo = repo,
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
  local root, tree = ctx.roots.execution_root, ctx.cwd_project
  return session:run_command(name, {
    args = json.array(args), root = root, project = tree and tree.name or 'Main', mode = tree and 'trees' or 'main',
  }, require('envctl.script.api').for_terminal(ctx, root))
end

return M
