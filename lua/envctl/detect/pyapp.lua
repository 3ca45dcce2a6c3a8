--- Finds the application object of a Python backend by looking at what the files say, and plain scripts that serve by themselves.
local Files = require 'envctl.detect.files'

local M = {}

local CONSTRUCTORS = {
  FastAPI = 'fastapi',
  Starlette = 'starlette',
  Flask = 'flask',
  Quart = 'quart',
  Litestar = 'litestar',
}
local FACTORIES = { create_app = true, make_app = true, build_app = true, get_app = true, app_factory = true }
local OBJECTS = { app = true, application = true, api = true, asgi = true }
-- Things called `app` that answer no request.
local NOT_WEB = { Typer = true, Celery = true, QApplication = true, Tk = true, App = true, Client = true }

-- Where an application object usually is, most usual first. '?' stands for every package of the directory.
local PLACES = {
  'main.py', 'app.py', 'app/main.py', 'app/__init__.py', 'app/app.py', 'asgi.py', 'wsgi.py', 'server.py', 'api.py',
  'api/main.py', 'api/__init__.py', 'src/main.py', 'src/app.py', 'src/app/main.py', 'src/app/__init__.py',
  '?/main.py', '?/app.py', '?/asgi.py', '?/wsgi.py', '?/api.py', '?/server.py', '?/__init__.py', '?/api/main.py',
}
local SCRIPTS = { 'main.py', 'app.py', 'server.py', 'run.py', 'api.py', 'src/main.py', 'src/server.py', 'app/main.py' }

local NOT_PACKAGES = {
  tests = true, test = true, docs = true, doc = true, scripts = true, migrations = true, alembic = true, venv = true,
  env = true, node_modules = true, build = true, dist = true, examples = true, frontend = true, static = true,
  templates = true, app = true, api = true, __pycache__ = true, site = true, public = true,
}
local MAX_PACKAGES = 24

local function packages(files, dir)
  local out = {}
  for _, entry in ipairs(files:list(dir)) do
    local name = entry.name
    if name:find('^[%a_][%w_]*$') and not NOT_PACKAGES[name] and #out < MAX_PACKAGES
      and (entry.type == 'dir' or entry.type == 'link' and files:is_dir(Files.join(dir, name))) then
      out[#out + 1] = name
    end
  end
  return out
end

--- Candidate files of a directory in the order of preference; `src` is added when packages live below src/.
---@param files envctl.detect.Files
---@param dir string
---@return {file: string, base: string}[] file relative to the project, base = '' or 'src' below dir
function M.candidates(files, dir)
  local out, seen = {}, {}
  local flat = packages(files, dir)
  local nested = files:is_dir(Files.join(dir, 'src')) and packages(files, Files.join(dir, 'src')) or {}
  -- src/ with an __init__.py is a package of that name, not a place for packages.
  local src_is_package = files:is_file(Files.join(dir, 'src/__init__.py'))
  local function put(inner)
    local file = Files.join(dir, inner)
    if not seen[file] and files:is_file(file) then
      seen[file] = true
      out[#out + 1] = { file = file, base = not src_is_package and inner:find('^src/') and 'src' or '' }
    end
  end
  for _, place in ipairs(PLACES) do
    if place:sub(1, 1) == '?' then
      for _, package in ipairs(flat) do
        put(package .. place:sub(2))
      end
      for _, package in ipairs(nested) do
        put('src/' .. package .. place:sub(2))
      end
    else
      put(place)
    end
  end
  return out
end

local function imported(text)
  for _, name in ipairs { 'fastapi', 'starlette', 'flask', 'quart', 'litestar' } do
    if text:find('%f[%w_]from%s+' .. name .. '%f[^%w_]') or text:find('%f[%w_]import%s+' .. name .. '%f[^%w_]') then
      return name
    end
  end
end

-- What one line at module level says: rank (small is certain), the name, the framework when the line itself tells.
local function judge(line)
  local name, value = line:match('^([%a_][%w_]*)%s*=%s*([^=].*)')
  if not name then
    name, value = line:match('^([%a_][%w_]*)%s*:%s*[%w_%.%[%]]+%s*=%s*(.+)')
  end
  if name then
    local callee = value:match('^([%w_%.]+)%s*%(')
    local last = callee and callee:match('[%w_]+$')
    if last and CONSTRUCTORS[last] then
      return 1, name, CONSTRUCTORS[last]
    elseif last and FACTORIES[last] then
      return 2, name
    elseif last == 'get_asgi_application' or last == 'get_wsgi_application' then
      return 3, name, 'django'
    elseif OBJECTS[name] and not NOT_WEB[last or ''] then
      return 5, name
    end
    return nil
  end
  local factory = line:match('^def%s+([%a_][%w_]*)%s*%(') or line:match('^async%s+def%s+([%a_][%w_]*)%s*%(')
  if factory and FACTORIES[factory] then
    return 4, factory
  end
end

---@class envctl.detect.PyApp
---@field file string relative to the project
---@field line integer
---@field name string
---@field rank integer
---@field factory boolean
---@field framework string?
---@field base string '' or 'src'

--- The most certain application object, or nil.
---@param files envctl.detect.Files
---@param dir string
---@return envctl.detect.PyApp?
function M.find(files, dir)
  local best
  for _, candidate in ipairs(M.candidates(files, dir)) do
    local text = files:text(candidate.file)
    local number = 0
    for line in (text or ''):gmatch('([^\n]*)\n?') do
      number = number + 1
      local rank, name, framework = judge(line)
      if rank and (not best or rank < best.rank) then
        best = {
          file = candidate.file, base = candidate.base, line = number, name = name, rank = rank,
          factory = rank == 4, framework = framework or imported(text),
        }
        if rank == 1 then
          return best
        end
      end
    end
  end
  return best
end

--- The import path of a file: app/main.py -> app.main, pkg/__init__.py -> pkg.
---@param app envctl.detect.PyApp
---@param dir string service directory
---@return string
function M.module(app, dir)
  local prefix = Files.join(dir, app.base)
  local inner = prefix == '' and app.file or app.file:sub(#prefix + 2)
  return (inner:gsub('%.py$', ''):gsub('/__init__$', ''):gsub('/', '.'))
end

local SERVES = {
  'http%.server', 'serve_forever', 'socketserver', 'wsgiref', 'start_server', 'uvicorn%.run', '%.run%s*%([^\n]*port',
  'run_app', 'waitress', '%.listen%s*%(', "['\"]PORT['\"]", "['\"]%-%-port['\"]",
}

--- A plain script that can be started: one that serves, else one that has a main part.
---@param files envctl.detect.Files
---@param dir string
---@param only_servers boolean for places where any program may lie around
---@return {file: string, line: integer, serves: boolean, port_option: boolean}?
function M.script(files, dir, only_servers)
  local fallback
  for _, name in ipairs(SCRIPTS) do
    local rel = Files.join(dir, name)
    local text = files:text(rel)
    if text then
      local option = text:find("['\"]%-%-port['\"]") ~= nil
      for _, pattern in ipairs(SERVES) do
        local at = text:find(pattern)
        if at then
          return { file = rel, line = Files.line_of(text, at), serves = true, port_option = option }
        end
      end
      local at = text:find("if%s+__name__%s*==%s*['\"]__main__['\"]")
      if at and not fallback and not only_servers then
        fallback = { file = rel, line = Files.line_of(text, at), serves = false, port_option = option }
      end
    end
  end
  return fallback
end

return M
