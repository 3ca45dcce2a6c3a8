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

-- A virtual environment is whole when it can be activated: `python -m venv` writes that last. Without pyvenv.cfg it is of another
-- kind.
local function whole(files, venv)
  return files:executable(venv .. '/bin/python')
    and (files:is_file(venv .. '/bin/activate') or not files:is_file(venv .. '/pyvenv.cfg'))
end

-- The virtual environment that a service finds in its directory or above, relative. A worktree to be made has none.
local function existing_venv(files, dir)
  if files.place then
    return nil
  end
  local dirs = dir == '' and { '' } or { dir, '' }
  for _, where in ipairs(dirs) do
    local names = { '.venv', 'venv' }
    for _, entry in ipairs(files:list(where)) do
      if entry.name:find('^%.venv.') then
        names[#names + 1] = entry.name
      end
    end
    for _, name in ipairs(names) do
      if whole(files, join(where, name)) then
        return join(where, name)
      end
    end
  end
end

-- `venv`: where the tool always makes it. `locate`: asks the tool where it made it.
local TOOLS = {
  {
    name = 'poetry', lock = 'poetry.lock', install = { 'poetry', 'install' },
    inputs = { 'pyproject.toml', 'poetry.lock' },
    locate = { 'poetry', 'env', 'info', '--path' },
  },
  {
    name = 'uv', lock = 'uv.lock', install = { 'uv', 'sync' }, inputs = { 'pyproject.toml', 'uv.lock' },
    venv = '.venv',
  },
  {
    name = 'pipenv', lock = 'Pipfile', install = { 'pipenv', 'install' },
    inputs = { 'Pipfile', 'Pipfile.lock' },
    locate = { 'pipenv', '--venv' },
  },
}

-- The tool that manages this project's environment, as far as files tell, and the file that tells. That of a workspace may lie in
-- the project root.
local function tool_of(files, dir, deps)
  for _, tool in ipairs(TOOLS) do
    for _, where in ipairs { dir, '' } do
      if files:is_file(join(where, tool.lock)) then
        return tool, join(where, tool.lock), where
      end
    end
    if tool.name == 'poetry' and deps.poetry then
      return tool, join(dir, 'pyproject.toml'), dir
    end
  end
end

-- Files below the directory, as a step names them.
local function below(dir, file)
  return file and (dir == '' and file or file:sub(1, #dir + 1) == dir .. '/' and file:sub(#dir + 2)) or nil
end

---@class envctl.detect.Runner
---@field argv string[] what comes before '-m' or a script
---@field manager string
---@field why string
---@field venv string? virtual environment, relative to the project
---@field missing boolean? no interpreter at all
---@field prepare envctl.prepare.Step[] what makes the environment and installs into it

-- The interpreter for a service that brings none: PYTHON_BIN, else python3.
local function system_python(files, preferred)
  local asked = preferred and files:which(preferred)
  if asked then
    return asked, 'PYTHON_BIN'
  end
  local python = files:which('python3') or files:which('python')
  return python, preferred and 'python3 on PATH (PYTHON_BIN=' .. preferred .. ' is not there)' or 'python3 on PATH'
end

-- A file as a step of the directory names it, also one above.
local function seen_from(dir, file)
  local _, parts = (dir == '' and '' or dir .. '/'):gsub('/', '')
  return below(dir, file) or ('../'):rep(parts) .. file
end

local function interpreter(files, venv)
  return files:placed(venv .. '/bin/python')
end

-- poetry, uv or pipenv.
local function tool_runner(files, tool, lock, home, dir, venv)
  local why = '`' .. lock .. '` and ' .. tool.name .. ' on PATH'
  venv = tool.venv and join(home, tool.venv) or venv
  local own = venv and below(home, venv)
  local step = {
    name = 'install', command = tool.install, key = tool.name, inputs = tool.inputs, locate = tool.locate,
    outputs = own and { own .. '/bin/python' } or nil, dir = home ~= dir and '.' or nil,
  }
  return {
    argv = venv and { interpreter(files, venv) } or { tool.name, 'run', 'python' },
    manager = tool.name, why = venv and '`' .. venv .. '/bin/python`, ' .. why or why, venv = venv, prepare = { step },
  }
end

-- The distribution's packages count as installed: what comes from there needs no network, and what is missing or has another
-- version is installed in front of it. Python 3.13 writes the .gitignore by itself.
local function venv_step(python)
  local word = python:find("[^%w/._-]") and "'" .. python:gsub("'", "'\\''") .. "'" or python
  return {
    name = 'venv', shell = true, key = 'venv', outputs = { '.venv/bin/activate' },
    command = { word .. " -m venv --system-site-packages .venv && echo '*' >.venv/.gitignore" },
  }
end

-- pip, for a service with requirements.txt: into the virtual environment that is there, or one that is made for it.
local function pip_runner(files, dir, deps, venv, python, why)
  local prepare, made = {}, 'bin/python'
  if not venv then
    venv, made = join(dir, '.venv'), 'bin/activate'
    prepare[1] = venv_step(python)
    why = why .. ' makes `' .. venv .. '`'
  else
    why = '`' .. venv .. '/bin/python`'
  end
  local own, inputs = below(dir, venv), {}
  for i, file in ipairs(deps.requirements) do
    inputs[i] = seen_from(dir, file)
  end
  local argv = { interpreter(files, venv) }
  prepare[#prepare + 1] = {
    name = 'install', command = { argv[1], '-m', 'pip', 'install', '-r', inputs[1] }, key = 'pip', inputs = inputs,
    outputs = own and { own .. '/' .. made } or nil,
    skip_reason = not own and '`' .. venv .. '` is not the service\'s own' or nil,
  }
  return { argv = argv, manager = 'pip', why = why, venv = venv, prepare = prepare }
end

--- How this project's Python is started, and what comes before.
---@param files envctl.detect.Files
---@param dir string relative
---@param deps envctl.detect.PyDeps
---@param opts {python: string?, no_prepare: boolean?} python: interpreter to use when the project brings none; no_prepare: nothing
--- is made before, so the environment has to be there already
---@return envctl.detect.Runner
function M.runner(files, dir, deps, opts)
  local tool, lock, home = tool_of(files, dir, deps)
  local venv = existing_venv(files, dir)
  local there = tool and files:which(tool.name)
  if there and (not opts.no_prepare or not tool.venv or whole(files, join(home, tool.venv))) then
    return tool_runner(files, tool, lock, home, dir, venv)
  end
  local python, why = system_python(files, opts.python)
  local missing = tool and not there and tool.name .. ', which is not on PATH' or nil
  if missing then
    why = why .. ' (`' .. lock .. '` asks for ' .. missing .. ')'
  end
  if #deps.requirements > 0 and (venv or python and not opts.no_prepare) then
    return pip_runner(files, dir, deps, venv, python, why)
  end
  local left_out = missing and {
    name = 'install', command = tool.install, skip_reason = '`' .. lock .. '` needs ' .. missing,
  }
  return {
    argv = { venv and interpreter(files, venv) or python or 'python3' }, manager = tool and tool.name or 'pip',
    why = venv and '`' .. venv .. '/bin/python`' or why, venv = venv, missing = not venv and not python,
    prepare = { left_out },
  }
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

local ALEMBIC = { 'alembic.ini', 'alembic/versions', 'migrations/versions' }

-- Migrations run at every start, when they are wanted at all: whether there is something to do, only the database knows.
local function migrate_step(files, dir, runner, opts, manage)
  if not opts.migrations then
    return nil
  end
  local step = { name = 'migrate', always = true, optional = not opts.strict or nil, timeout_ms = 300000 }
  if manage then
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

-- What comes before a start, and the environment it is for.
local function before(files, dir, runner, opts, manage)
  local prepare = runner.prepare
  prepare[#prepare + 1] = migrate_step(files, dir, runner, opts, manage)
  return prepare, runner.venv and files:placed(runner.venv)
end

--- What comes before a start of a Python project whose command somebody gave.
---@param files envctl.detect.Files
---@param dir string relative
---@param opts table as for detect()
---@return {prepare: envctl.prepare.Step[], venv: string?}? before venv: absolute; nil when it is no Python project
function M.before(files, dir, opts)
  local deps, manage = pydeps.read(files, dir), django(files, dir)
  if #deps.markers == 0 and not manage then
    return nil
  end
  local prepare, venv = before(files, dir, M.runner(files, dir, deps, opts), opts, manage)
  return { prepare = prepare, venv = venv }
end

local function result(files, dir, framework, command, evidence, where)
  local runner = command.runner
  local prepare, venv = before(files, dir, runner, command.opts, command.manage)
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
    env = { PYTHONUNBUFFERED = '1', VIRTUAL_ENV = venv },
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
  local runner = M.runner(files, dir, deps, opts)
  local flaskish = framework == 'flask' or framework == 'quart'
  local argv = flaskish and flask_command(runner.argv, framework, app, dir) or asgi_command(runner.argv, app, dir, deps)
  local what = app.factory and 'factory `' .. app.name .. '`' or '`' .. app.name .. '`'
  local texts = { what .. ' found in `' .. at(app) .. '`' }
  if evidence then
    table.insert(texts, 1, evidence)
  end
  return result(files, dir, framework, { argv = argv, runner = runner, opts = opts }, texts, app)
end

local function detect_script(files, dir, deps, opts)
  local script = pyapp.script(files, dir, opts.only_servers)
  if not script then
    return nil
  end
  local runner = M.runner(files, dir, deps, opts)
  local inner = script.file:sub(dir == '' and 1 or #dir + 2)
  local argv = concat(runner.argv, { inner }, script.port_option and { '--port', '${port}' } or {})
  local text = script.serves and 'a server in `' or 'a main part in `'
  local port = script.port_option and 'it takes --port' or 'the port comes in PORT'
  return result(files, dir, 'script', { argv = argv, runner = runner, opts = opts },
    { text .. script.file .. ':' .. script.line .. '`', port }, script)
end

--- A Python backend in a directory, or nil.
---@param files envctl.detect.Files
---@param dir string relative
---@param opts? {only_servers: boolean?, python: string?, no_prepare: boolean?, migrations: boolean?, strict: boolean?}
--- only_servers: a plain script must look like a server (for a project root); python, no_prepare: see runner(); migrations: at
--- every start, and with strict a failure ends the start
---@return envctl.detect.Found?
function M.detect(files, dir, opts)
  opts = opts or {}
  local deps = pydeps.read(files, dir)
  local manage, line = django(files, dir)
  if manage then
    local runner = M.runner(files, dir, deps, opts)
    local argv = concat(runner.argv, { manage, 'runserver', '127.0.0.1:${port}' })
    local rel = join(dir, manage)
    local texts = { '`' .. rel .. ':' .. line .. '` is Django' }
    if deps.found.django then
      table.insert(texts, 1, '`' .. deps.found.django .. '` names django')
    end
    return result(files, dir, 'django', { argv = argv, runner = runner, opts = opts, manage = manage },
      texts, { file = rel, line = line })
  end
  return detect_app(files, dir, deps, opts) or detect_script(files, dir, deps, opts)
end

return M
