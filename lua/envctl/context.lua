--- What a handler gets. Everything but the route is found when it is first asked for, so that a command pays only for what it
--- uses.
local err = require 'envctl.err'

local M = {}

---@class envctl.Context
---@field route envctl.Route
---@field out table ui.out
---@field roots envctl.Roots
---@field settings envctl.Settings
---@field paths envctl.Paths
---@field mode 'main'|'trees' the mode in effect
---@field implied string? project that the current directory stands for
local Context = {}

local finders = {}

function finders.roots(ctx)
  return require('envctl.repo.roots').find { repo = ctx.route.repo }
end

function finders.settings(ctx)
  local settings = require('envctl.config.load').load(ctx.roots, ctx.route)
  if settings:get 'BATCH' then
    ctx.route.flags.headless = true
  end
  return settings
end

function finders.paths(ctx)
  return require('envctl.state.paths').compute(ctx.roots, ctx.settings)
end

function finders.mode(ctx)
  return ctx.route.mode or ctx.settings:get 'ENVCTL_DEFAULT_MODE'
end

--- The project that the current directory is in, when it is a linked worktree that is a project. False when there is none.
function finders.cwd_project(ctx)
  if not ctx.roots.linked then
    return false
  end
  return require('envctl.repo.projects').at(ctx, ctx.roots.execution_root) or false
end

local function lookup(ctx, key)
  local own = Context[key]
  if own then
    return own
  end
  local find = finders[key]
  if find then
    local value = find(ctx)
    rawset(ctx, key, value)
    return value
  end
end

--- Without a selector, the worktree that the current directory is in is what a command is about.
local function imply_project(ctx)
  local route = ctx.route
  if route.mode == 'main' or route.flags.all or #route.projects > 0 or #route.services > 0 or #route.args > 0 then
    return
  end
  local about = route.explain or route
  if about.command == 'plan' then
    return
  end
  local project = ctx.cwd_project
  if not project then
    return
  end
  route.mode = 'trees'
  route.projects[1] = project.name
  if route.explain and route.explain ~= route then
    route.explain.mode = 'trees'
  end
  rawset(ctx, 'implied', project.name)
  if not ctx.out.is_json then
    ctx.out.note('envctl: in the worktree of ' .. project.name .. ': that project is meant (--all for all)')
  end
end

--- The scripts of the repository, loaded once per command; nil where there are none. Their configuration is in the settings from
--- here on. Awaits.
---@param meanwhile (fun())? called when the script host is at work, before anything waits for it
---@return envctl.script.Session?
function Context:scripts(meanwhile)
  local session = rawget(self, 'session')
  if session == nil then
    session = require('envctl.script.join').open(self, meanwhile) or false
    rawset(self, 'session', session)
  end
  return session or nil
end

--- Ends what the command opened.
function Context:close()
  local session = rawget(self, 'session')
  if session then
    session:close()
  end
end

--- Whether the repository is configured.
---@return boolean
function Context:configured()
  return self.settings.configured
end

--- Raises config_missing when the repository is not configured.
function Context:require_config()
  if not self:configured() then
    local root = self.roots.root
    err.raise('config_missing', 'there is no .envctl in ' .. root, {
      hint = 'run `envctl config` in a terminal, or `envctl config --set KEY=VALUE`',
      where = root .. '/.envctl',
    })
  end
end

--- Raises the first configuration error, with all of them as data.
function Context:require_valid_config()
  local errors = self.settings.errors
  if #errors == 0 then
    return
  end
  local first = errors[1]
  if #errors > 1 then
    local json = require 'envctl.util.json'
    local list = json.array {}
    for i, e in ipairs(errors) do
      list[i] = err.to_table(e, json.null)
    end
    first = err.new(first.code, first.message, { hint = first.hint, where = first.where, data = { errors = list } })
  end
  error(first, 0)
end

--- What has to hold before a command runs at all.
---@param command envctl.Command
function Context:admit(command)
  if command.repo == 'required' then
    local _ = self.settings
  end
  if command.config then
    self:require_config()
  end
  if require('envctl.cli.commands').starts[command.name] then
    self:require_valid_config()
  end
  if command.implied then
    imply_project(self)
  end
end

---@param route envctl.Route
---@param out table
---@return envctl.Context
function M.new(route, out)
  return setmetatable({ route = route, out = out }, { __index = lookup })
end

return M
