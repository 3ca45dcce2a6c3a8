--- Python backends: which framework, which application object, which interpreter; and the evidence for each.
local Files = require 'envctl.detect.files'
local pydeps = require 'envctl.detect.pydeps'
local pyapp = require 'envctl.detect.pyapp'

local M = {}

local join = Files.join

---@class envctl.detect.Found
---@field command string[] with ${…}
---@field framework string
---@field manager string?
---@field env table<string, string>
---@field prepare table[]
---@field evidence string
---@field file string? file of the main piece of evidence, relative
---@field line integer?
---@field problem table? {message, hint}: found, but cannot be started as it is
---@field warnings string[]?

local function venv_python(files, dir)
  local dirs = dir == '' and { '' } or { dir, '' }
  for _, where in ipairs(dirs) do
    local names = { '.venv', 'venv' }
    for _, entry in ipairs(files:list(where)) do
      if entry.name:find('^%.venv.') then
        names[#names + 1] = entry.name
      end
    end
    for _, name in ipairs(names) do
      local rel = join(where, name .. '/bin/python')
      if files:executable(rel) then
        return rel
      end
    end
  end
end

-- A lock file of a workspace may lie in the project root.
local function lock_file(files, dir, name)
  if files:is_file(join(dir, name)) then
    return join(dir, name)
  elseif files:is_file(name) then
    return name
  end
end

local TOOLS = {
  { tool = 'poetry', lock = 'poetry.lock', install = { 'poetry', 'install' } },
  { tool = 'uv', lock = 'uv.lock', install = { 'uv', 'sync' } },
  { tool = 'pipenv', lock = 'Pipfile', install = { 'pipenv', 'install' } },
}

-- The tool that manages this project's environment, as far as files tell, and whether it is there.
local function manager_of(files, dir, deps)
  for _, t in ipairs(TOOLS) do
    local lock = lock_file(files, dir, t.lock)
    if lock or (t.tool == 'poetry' and deps.poetry) then
      return t, lock or join(dir, 'pyproject.toml'), files:which(t.tool) ~= nil
    end
  end
end

---@class envctl.detect.Runner
---@field argv string[] what comes before '-m' or a script
---@field manager string
---@field why string
---@field venv string? interpreter of a virtual environment, relative to the project
---@field lock string? name of the file that says what to install
---@field missing boolean? no interpreter at all
---@field install string[]? command that would install

-- The interpreter for a service that brings none: PYTHON_BIN, else python3.
local function system_python(files, preferred)
  local asked = preferred and files:which(preferred)
  if asked then
    return asked, 'PYTHON_BIN'
  end
  local python = files:which('python3') or files:which('python')
  return python, preferred and 'python3 on PATH (PYTHON_BIN=' .. preferred .. ' is not there)' or 'python3 on PATH'
end

--- How this project's Python is started.
---@param preferred string? interpreter to use when the project brings none
---@return envctl.detect.Runner
function M.runner(files, dir, deps, preferred)
  local tool, lock, available = manager_of(files, dir, deps)
  local manager = tool and tool.tool or 'pip'
  local install = tool and available and tool.install or nil
  local venv = venv_python(files, dir)
  if venv then
    local why = '`' .. venv .. '`'
    return {
      argv = { files:path(venv) }, manager = manager, why = why, install = install, venv = venv,
      lock = tool and tool.lock,
    }
  end
  if tool and available then
    return {
      argv = { tool.tool, 'run', 'python' },
      manager = manager,
      why = '`' .. lock .. '` and ' .. tool.tool .. ' on PATH',
      install = install,
      lock = tool.lock,
    }
  end
  local python, why = system_python(files, preferred)
  if tool then
    why = why .. ' (`' .. lock .. '` asks for ' .. tool.tool .. ', which is not on PATH)'
  end
  return { argv = { python or 'python3' }, manager = manager, why = why, missing = not python }
end

local function concat(...)
  local out = {}
  for _, list in ipairs { ... } do
    for _, v in ipairs(list) do
      out[#out + 1] = v
    end
  end
  return out
end

local function at(app)
  return app.file .. ':' .. app.line
end

-- ASGI servers: uvicorn unless the project names only hypercorn.
local function asgi_command(argv, app, dir, deps)
  local ref = pyapp.module(app, dir) .. ':' .. app.name
  local app_dir = app.base ~= '' and { '--app-dir', app.base } or {}
  if deps.found.hypercorn and not deps.found.uvicorn then
    local target = app.factory and ref .. '()' or ref
    local wsgi_root = app.base ~= '' and app.base .. '/' or ''
    return concat(argv, { '-m', 'hypercorn', wsgi_root .. target, '--bind', '127.0.0.1:${port}' })
  end
  local factory = app.factory and { '--factory' } or {}
  return concat(argv, { '-m', 'uvicorn', ref }, app_dir, factory, { '--host', '127.0.0.1', '--port', '${port}' })
end

local function flask_command(argv, framework, app, dir)
  local target = pyapp.module(app, dir)
  if app.base ~= '' then -- flask finds the package of a file by itself
    target = app.file:sub(dir == '' and 1 or #dir + 2)
  end
  local run = { 'run', '--host', '127.0.0.1', '--port', '${port}' }
  return concat(argv, { '-m', framework, '--app', target .. ':' .. app.name }, run)
end

local FRAMEWORKS = { 'fastapi', 'litestar', 'starlette', 'quart', 'flask', 'django' }

local function named_framework(deps)
  for _, name in ipairs(FRAMEWORKS) do
    if deps.found[name] then
      return name, '`' .. deps.found[name] .. '` names ' .. name
    end
  end
end

local function local_uvicorn(files, dir)
  if files:is_file(join(dir, 'uvicorn.py')) then
    return join(dir, 'uvicorn.py')
  elseif files:is_file(join(dir, 'uvicorn/__init__.py')) then
    return join(dir, 'uvicorn')
  end
end

-- What the application object is served with. An object of unknown kind counts only when something speaks of uvicorn.
local function framework_of(files, dir, deps, app)
  local named, evidence = named_framework(deps)
  local own = app.framework
  if own and own ~= named then
    return own, deps.found[own] and '`' .. deps.found[own] .. '` names ' .. own
  end
  if named then
    return named, evidence
  end
  if deps.found.uvicorn then
    return 'asgi', '`' .. deps.found.uvicorn .. '` names uvicorn'
  end
  local module = local_uvicorn(files, dir)
  if module then
    return 'asgi', 'uvicorn is `' .. module .. '`'
  end
end

local function django(files, dir)
  for _, name in ipairs { 'manage.py', 'src/manage.py' } do
    local text = files:text(join(dir, name))
    local pos = text and text:find('django', 1, true)
    if pos then
      return name, Files.line_of(text, pos)
    end
  end
end

-- Files below the directory, as a step names them.
local function below(dir, file)
  return file and (dir == '' and file or file:sub(1, #dir + 1) == dir .. '/' and file:sub(#dir + 2)) or nil
end

local function install_step(files, runner, deps, dir)
  local requirements = below(dir, deps.requirements)
  if runner.install then
    local inputs = {}
    for _, name in ipairs { 'pyproject.toml', 'requirements.txt', runner.lock or '' } do
      inputs[#inputs + 1] = files:is_file(join(dir, name)) and name or nil
    end
    local outputs = runner.venv and below(dir, runner.venv) and { below(dir, runner.venv) }
      or runner.manager == 'uv' and { '.venv' } or nil
    return { { name = 'install', command = runner.install, inputs = inputs, outputs = outputs } }
  elseif runner.manager == 'pip' and requirements then
    local command = concat(runner.argv, { '-m', 'pip', 'install', '-r', requirements })
    local step = { name = 'install', command = command, inputs = { requirements } }
    if runner.venv and below(dir, runner.venv) then
      step.outputs = { below(dir, runner.venv) }
    elseif runner.venv then
      step.skip_reason = '`' .. runner.venv .. '` is not the service\'s own'
    else
      step.skip_reason = 'there is no virtual environment; with one (python3 -m venv .venv) it is kept up to date'
    end
    return { step }
  end
  return {}
end

local ALEMBIC = { 'alembic.ini', 'alembic/versions', 'migrations/versions' }

-- Migrations run at every start, when they are wanted at all: whether there is something to do, only the database knows.
local function migrate_step(files, dir, runner, framework, opts, manage)
  if not opts.migrations then
    return nil
  end
  local step = { name = 'migrate', always = true, optional = not opts.strict or nil, timeout_ms = 300000 }
  if framework == 'django' then
    step.command = concat(runner.argv, { manage, 'migrate', '--noinput' })
    return step
  end
  for _, name in ipairs(ALEMBIC) do
    if files:is_file(join(dir, name)) or files:is_dir(join(dir, name)) then
      step.command = concat(runner.argv, { '-m', 'alembic', 'upgrade', 'head' })
      return step
    end
  end
end

local function result(files, dir, deps, framework, command, evidence, where)
  local prepare = install_step(files, command.runner, deps, dir)
  prepare[#prepare + 1] = migrate_step(files, dir, command.runner, framework, command.opts, command.manage)
  local runner = command.runner
  local parts = {}
  for _, text in ipairs(evidence) do
    parts[#parts + 1] = text
  end
  parts[#parts + 1] = 'Python: ' .. runner.why
  return {
    command = command.argv,
    framework = framework,
    manager = runner.manager,
    -- Without it a log shows nothing until four kilobytes have come together.
    env = { PYTHONUNBUFFERED = '1' },
    prepare = prepare,
    evidence = table.concat(parts, '; '),
    file = where.file,
    line = where.line,
    problem = runner.missing and {
      message = 'no Python found for `' .. (where.file or files:path(dir)) .. '`',
      hint = 'install python3, or make a virtual environment in the service directory',
    } or nil,
  }
end

local function detect_app(files, dir, deps, opts)
  local app = pyapp.find(files, dir)
  if not app then
    return nil
  end
  local framework, evidence = framework_of(files, dir, deps, app)
  if not framework or framework == 'django' then
    return nil
  end
  local runner = M.runner(files, dir, deps, opts.python)
  local flaskish = framework == 'flask' or framework == 'quart'
  local argv = flaskish and flask_command(runner.argv, framework, app, dir) or asgi_command(runner.argv, app, dir, deps)
  local what = app.factory and 'factory `' .. app.name .. '`' or '`' .. app.name .. '`'
  local texts = { what .. ' found in `' .. at(app) .. '`' }
  if evidence then
    table.insert(texts, 1, evidence)
  end
  return result(files, dir, deps, framework, { argv = argv, runner = runner, opts = opts }, texts, app)
end

local function detect_script(files, dir, deps, opts)
  local script = pyapp.script(files, dir, opts.only_servers)
  if not script then
    return nil
  end
  local runner = M.runner(files, dir, deps, opts.python)
  local inner = script.file:sub(dir == '' and 1 or #dir + 2)
  local argv = concat(runner.argv, { inner }, script.port_option and { '--port', '${port}' } or {})
  local text = script.serves and 'a server in `' or 'a main part in `'
  local port = script.port_option and 'it takes --port' or 'the port comes in PORT'
  return result(files, dir, deps, 'script', { argv = argv, runner = runner, opts = opts },
    { text .. script.file .. ':' .. script.line .. '`', port }, script)
end

--- A Python backend in a directory, or nil.
---@param files envctl.detect.Files
---@param dir string relative
---@param opts? {only_servers: boolean?, python: string?, migrations: boolean?, strict: boolean?} only_servers: a plain script must
--- look like a server (for a project root); migrations: at every start, and with strict a failure ends the start
---@return envctl.detect.Found?
function M.detect(files, dir, opts)
  opts = opts or {}
  local deps = pydeps.read(files, dir)
  local manage, line = django(files, dir)
  if manage then
    local runner = M.runner(files, dir, deps, opts.python)
    local argv = concat(runner.argv, { manage, 'runserver', '127.0.0.1:${port}' })
    local rel = join(dir, manage)
    local texts = { '`' .. rel .. ':' .. line .. '` is Django' }
    if deps.found.django then
      table.insert(texts, 1, '`' .. deps.found.django .. '` names django')
    end
    return result(files, dir, deps, 'django', { argv = argv, runner = runner, opts = opts, manage = manage },
      texts, { file = rel, line = line })
  end
  return detect_app(files, dir, deps, opts) or detect_script(files, dir, deps, opts)
end

return M
