--- endpoints: URLs and ports of one running project, for scripts. Reads only; what is said to run was looked at.
local err = require 'envctl.err'
local json = require 'envctl.util.json'

local M = {}

--- Hides the password of a URL.
---@param url string
---@return string
function M.mask(url)
  return (url:gsub('^(%a[%w+.-]*://[^/@:]*):[^/@]*@', '%1:***@'))
end

local function projects_of(doc, mode)
  local out, seen = {}, {}
  for _, record in pairs(doc.services) do
    if record.project and not seen[record.project] and (not mode or (record.mode or doc.mode) == mode) then
      seen[record.project] = true
      out[#out + 1] = { name = record.project, mode = record.mode or doc.mode, root = record.project_root }
    end
  end
  for name in pairs(doc.requirements) do
    if not seen[name] and not mode then
      seen[name] = true
      out[#out + 1] = { name = name, mode = doc.mode }
    end
  end
  table.sort(out, function(a, b)
    return a.name < b.name
  end)
  return out
end

-- The one project that is meant.
local function choose(ctx, doc)
  local running = projects_of(doc, ctx.route.mode)
  local names = {}
  for i, p in ipairs(running) do
    names[i] = p.name
  end
  local tokens = #ctx.route.projects > 0 and ctx.route.projects or ctx.route.args
  if #tokens == 0 and #running == 1 then
    return running[1]
  elseif #tokens ~= 1 then
    local message = 'endpoints is about one project'
    if #tokens == 0 then
      message = #running == 0 and 'nothing is running' or 'several projects are running'
    end
    err.raise('target_required', message, {
      hint = #names > 0 and 'name one with --project: ' .. table.concat(names, ', ') or 'start something first',
      data = { candidates = json.array(names) },
    })
  end
  local chosen = require('envctl.cli.targets').running(tokens[1], names)
  for _, p in ipairs(running) do
    if p.name == chosen then
      return p
    end
  end
end

local function root_of(doc, project)
  local roots = doc.metadata.project_roots
  return project.root or type(roots) == 'table' and roots[project.name] or json.null
end

local function url_of(ctx, url)
  if type(url) ~= 'string' then
    return json.null
  end
  return ctx.route.flags.show_secrets and url or M.mask(url)
end

local function services_of(ctx, doc, project)
  local services = {}
  for name, item in pairs(require('envctl.resume.health').by_name(doc)) do
    local r = item.record
    if r.project == project.name then
      services[r.service or name] = {
        url = url_of(ctx, r.url), port = r.actual_port or r.requested_port or json.null, status = item.status,
      }
    end
  end
  return services
end

local function dependencies_of(ctx, doc, project)
  local out = {}
  local requirement = doc.requirements[project.name]
  for id, c in pairs(requirement and requirement.components or {}) do
    if type(c) == 'table' and c.enabled ~= false then
      local url = c.url
      if url and ctx.route.flags.show_secrets then
        local password = require('envctl.deps.select').written_password(ctx.settings, id, c.provider)
          or c.data_dir and require('envctl.deps.places').password(c.data_dir)
        url = password and url:gsub(':%*%*%*@', function()
          return ':' .. require('envctl.config.launch_env').encode(password) .. '@'
        end) or url
      end
      out[id] = {
        port = c.final or json.null, url = url_of(ctx, url), provider = c.provider or json.null,
        scope = c.scope or json.null,
      }
    end
  end
  return out
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  require('envctl.state.paths').check(ctx.paths)
  local doc = require('envctl.state.store').read(ctx.paths)
  if not doc then
    err.raise('state_missing', 'nothing of this repository is running', { hint = 'start it first: `envctl`' })
  end
  local project = choose(ctx, doc)
  local document = {
    schema = 'envctl.endpoints.v1', ok = true, project = project.name, mode = project.mode,
    root = root_of(doc, project),
    run_id = doc.run_id, services = services_of(ctx, doc, project),
    dependencies = dependencies_of(ctx, doc, project),
    chosen_by = ctx.implied and 'current directory'
      or (#ctx.route.projects + #ctx.route.args > 0 and 'name' or 'only one running'),
  }
  if ctx.out.is_json then
    ctx.out.json(document)
    return 0
  end
  for _, kind in ipairs { 'services', 'dependencies' } do
    local names = {}
    for name in pairs(document[kind]) do
      names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local e = document[kind][name]
      local where = e.url ~= json.null and e.url or e.port ~= json.null and 'port ' .. e.port or '-'
      ctx.out.text(name .. ': ' .. where .. (e.status and ' (' .. e.status .. ')' or ''))
    end
  end
  return 0
end

return M
