-- Detection: files on disk -> services with their evidence. The trees are in memory; one test looks at real files.
local lu = require 'luaunit'
local detect = require 'envctl.detect'
local Files = require 'envctl.detect.files'
local command = require 'envctl.detect.command'
local pydeps = require 'envctl.detect.pydeps'

local M = {}

-- A host whose file system is a table {path = text}. A key that ends in '*' is executable; links are {path = {link = target}}.
local function host(tree, programs)
  local files, dirs = {}, { ['/repo'] = true }
  for path, text in pairs(tree) do
    local clean = path:gsub('%*$', '')
    local full = clean:sub(1, 1) == '/' and clean or '/repo/' .. clean
    files[full] = { text = text, x = path ~= clean }
    local dir = full
    while true do
      dir = dir:match('^(.*)/[^/]*$')
      if dir == '' then
        break
      end
      dirs[dir] = true
    end
  end
  local function follow(path)
    for link, entry in pairs(files) do
      if type(entry.text) == 'table' and (path == link or path:sub(1, #link + 1) == link .. '/') then
        return entry.text.link .. path:sub(#link + 1)
      end
    end
    return path
  end
  local function own_type(path)
    return files[path] and (type(files[path].text) == 'table' and 'link' or 'file') or dirs[path] and 'dir' or nil
  end
  local fs = {}
  function fs.lstat(path)
    local kind = own_type(path) or own_type(follow(path))
    return kind and { type = kind } or nil
  end
  function fs.stat(path)
    path = follow(path)
    if files[path] and type(files[path].text) == 'string' then
      return { type = 'file', size = #files[path].text }
    elseif dirs[path] then
      return { type = 'dir', size = 0 }
    end
    return nil, path .. ': no such file', 'ENOENT'
  end
  function fs.read(path)
    path = follow(path)
    return files[path] and files[path].text or nil
  end
  function fs.list(path)
    path = follow(path)
    local seen, out = {}, {}
    for _, set in ipairs { files, dirs } do
      for name in pairs(set) do
        local child = name:sub(1, #path + 1) == path .. '/' and name:sub(#path + 2):match('^([^/]+)')
        if child and not seen[child] then
          seen[child] = true
          out[#out + 1] = { name = child, type = own_type(path .. '/' .. child) }
        end
      end
    end
    table.sort(out, function(a, b)
      return a.name < b.name
    end)
    return out
  end
  function fs.access(path)
    path = follow(path)
    return files[path] ~= nil and files[path].x
  end
  function fs.realpath(path)
    return follow(path)
  end
  local sys = {}
  function sys.which(name)
    for _, program in ipairs(programs or { 'python3', 'npm', 'node' }) do
      if program == name then
        return '/usr/bin/' .. name
      end
    end
    return nil, name .. ': not found', 'ENOENT'
  end
  return { fs = fs, sys = sys }
end

local DEFAULTS = {
  BACKEND_DIR = 'backend', FRONTEND_DIR = 'frontend', BACKEND_PORT_BASE = 8000, FRONTEND_PORT_BASE = 9000,
  MAIN_BACKEND_ENABLE = true, MAIN_FRONTEND_ENABLE = true,
}

local function settings(values)
  local s = {}
  function s.get(_, key)
    if values and values[key] ~= nil then
      return values[key]
    end
    return DEFAULTS[key]
  end
  function s.origin(_, key)
    if values and values[key] ~= nil then
      return { layer = 'dotenv', file = '.envctl', line = 7 }
    end
    return { layer = 'bundled' }
  end
  return s
end

local function run(tree, values, programs)
  local project = { name = 'Main', mode = 'main', root = '/repo' }
  local result = detect.services(project, settings(values), host(tree, programs))
  local by_name = {}
  for _, s in ipairs(result.services) do
    by_name[s.name] = s
  end
  return by_name, result
end

local function line(service)
  return service and table.concat(service.command, ' ')
end

-- Python backends: tree, programs -> command, framework, and a part of the evidence.
local PY = 'python3'
local P, VENV = '/usr/bin/python3 ', '/repo/backend/.venv/bin/python '
local UVICORN = ' --host 127.0.0.1 --port ${port}'
local BACKENDS = {
  {
    'the fixture of the reference', {
      ['backend/pyproject.toml'] = '[project]\nname = "fixture-backend"\n', ['backend/app/__init__.py'] = '',
      ['backend/app/main.py'] = 'app = "asgi-app-placeholder"\n', ['backend/uvicorn.py'] = 'import sys\n',
    }, nil, P .. '-m uvicorn app.main:app' .. UVICORN, 'asgi', '`app` found in `backend/app/main.py:1`',
  },
  {
    'fastapi in app/main.py', {
      ['backend/pyproject.toml'] = '[project]\ndependencies = [\n  "fastapi>=0.110", # web\n  "uvicorn[standard]",\n]\n',
      ['backend/app/main.py'] = '# a\nfrom fastapi import FastAPI\n\n\n\n\napp = FastAPI(title="x")\n',
    }, nil, P .. '-m uvicorn app.main:app' .. UVICORN, 'fastapi',
    '`backend/pyproject.toml` names fastapi; `app` found in `backend/app/main.py:7`',
  },
  {
    'fastapi with another name and an annotation', {
      ['backend/requirements.txt'] = 'fastapi==0.1\n',
        ['backend/main.py'] = 'import fastapi\nserver: fastapi.FastAPI = fastapi.FastAPI()\n',
    }, nil, VENV .. '-m uvicorn main:server' .. UVICORN, 'fastapi', '`backend/requirements.txt` names fastapi',
  },
  {
    'src layout', {
      ['backend/pyproject.toml'] = '[tool.poetry.dependencies]\npython = "^3.11"\nfastapi = "*"\n',
      ['backend/src/shop/__init__.py'] = '', ['backend/src/shop/main.py'] = 'app = FastAPI()\n',
    }, nil, P .. '-m uvicorn shop.main:app --app-dir src' .. UVICORN, 'fastapi', 'shop/main.py:1',
  },
  {
    'src/main.py', { ['backend/requirements.txt'] = 'fastapi', ['backend/src/main.py'] = 'app = FastAPI()' }, nil,
    VENV .. '-m uvicorn main:app --app-dir src' .. UVICORN, 'fastapi', 'src/main.py:1',
  },
  {
    'a factory', {
      ['backend/requirements.txt'] = 'starlette\n',
        ['backend/shop/__init__.py'] = 'def create_app():\n    app = Starlette()\n    return app\n',
    }, nil, VENV .. '-m uvicorn shop:create_app --factory' .. UVICORN, 'starlette', 'factory `create_app`',
  },
  {
    'flask', { ['backend/requirements.txt'] = 'Flask>=3\n', ['backend/app.py'] = 'from flask import Flask\napp = Flask(__name__)\n' },
    nil, VENV .. '-m flask --app app:app run' .. UVICORN, 'flask', '`backend/requirements.txt` names flask',
  },
  {
    'flask with a factory and a wsgi file', {
      ['backend/requirements/base.txt'] = 'flask\n', ['backend/requirements.txt'] = '-r requirements/base.txt\n',
      ['backend/shop/__init__.py'] = 'def create_app():\n    app = Flask(__name__)\n',
        ['backend/wsgi.py'] = 'from shop import create_app\napp = create_app()\n',
    }, nil, VENV .. '-m flask --app wsgi:app run' .. UVICORN, 'flask', '`app` found in `backend/wsgi.py:2`',
  },
  {
    'flask in src', { ['backend/setup.cfg'] = '[options]\ninstall_requires =\n    flask\n    redis\n',
      ['backend/src/shop/__init__.py'] = '\napp = Flask("shop")\n' },
    nil, P .. '-m flask --app src/shop/__init__.py:app run' .. UVICORN, 'flask', 'setup.cfg',
  },
  {
    'django', { ['backend/manage.py'] = 'import os\nfrom django.core.management import execute_from_command_line\n',
      ['backend/setup.py'] = 'setup(install_requires=["Django>=4"])' },
    nil, P .. 'manage.py runserver 127.0.0.1:${port}', 'django', '`backend/setup.py` names django; `backend/manage.py:2` is Django',
  },
  {
    'a plain script with --port',
      { ['backend/server.py'] = 'import argparse\np.add_argument("--port", type=int)\nif __name__ == "__main__":\n  main()\n' },
    nil, P .. 'server.py --port ${port}', 'script', 'it takes --port',
  },
  {
    'a plain script with PORT', { ['backend/app.py'] = 'from http.server import HTTPServer\nHTTPServer(("", 1)).serve_forever()\n' },
    nil, P .. 'app.py', 'script', 'a server in `backend/app.py:1`; the port comes in PORT',
  },
  {
    'a script with a main part', { ['backend/run.py'] = 'def main(): pass\nif __name__ == "__main__":\n  main()\n' },
    nil, P .. 'run.py', 'script', 'a main part in `backend/run.py:2`',
  },
  {
    'a server wins over a mere main part', {
      ['backend/main.py'] = 'if __name__ == "__main__":\n  pass\n', ['backend/server.py'] = 'import socketserver\n',
    }, nil, P .. 'server.py', 'script', 'server.py:1',
  },
  {
    'a command line program is no web app', {
      ['backend/pyproject.toml'] = '[project]\ndependencies = ["fastapi", "typer"]\n', ['backend/main.py'] = 'app = typer.Typer()\n',
      ['backend/api/main.py'] = 'api = FastAPI()\n',
    }, nil, P .. '-m uvicorn api.main:api' .. UVICORN, 'fastapi', 'api/main.py:1',
  },
  {
    'hypercorn', { ['backend/requirements.txt'] = 'fastapi\nhypercorn\n', ['backend/main.py'] = 'app = FastAPI()\n' }, nil,
    VENV .. '-m hypercorn main:app --bind 127.0.0.1:${port}', 'fastapi', 'names fastapi',
  },
  {
    'virtual environment of the service', {
      ['backend/requirements.txt'] = 'fastapi', ['backend/main.py'] = 'app = FastAPI()', ['backend/.venv/bin/python*'] = '',
        ['.venv/bin/python*'] = '',
    }, nil, '/repo/backend/.venv/bin/python -m uvicorn main:app' .. UVICORN, 'fastapi', 'Python: `backend/.venv/bin/python`',
  },
  {
    'virtual environment of the project', {
      ['backend/requirements.txt'] = 'fastapi', ['backend/main.py'] = 'app = FastAPI()', ['backend/venv/bin/python'] = '',
        ['.venv-311/bin/python*'] = '',
    }, nil, '/repo/.venv-311/bin/python -m uvicorn main:app' .. UVICORN, 'fastapi', 'Python: `.venv-311/bin/python`',
  },
  {
    'poetry', { ['backend/pyproject.toml'] = '[tool.poetry.dependencies]\nfastapi = "*"', ['backend/poetry.lock'] = '',
      ['backend/main.py'] = 'app = FastAPI()' },
    { 'poetry', PY }, 'poetry run python -m uvicorn main:app' .. UVICORN, 'fastapi', 'poetry on PATH',
  },
  {
    'poetry that is not there', { ['backend/pyproject.toml'] = '[tool.poetry.dependencies]\nfastapi = "*"',
      ['backend/main.py'] = 'app = FastAPI()' },
    nil, P .. '-m uvicorn main:app' .. UVICORN, 'fastapi', 'asks for poetry, which is not on PATH',
  },
  {
    'uv', { ['backend/pyproject.toml'] = '[project]\ndependencies = ["fastapi"]', ['backend/uv.lock'] = '',
      ['backend/main.py'] = 'app = FastAPI()' },
    { 'uv', PY }, VENV .. '-m uvicorn main:app' .. UVICORN, 'fastapi', '`backend/uv.lock` and uv on PATH',
  },
  {
    'pipenv', { ['backend/Pipfile'] = '[packages]\nflask = "*"\n[dev-packages]\ndjango = "*"\n',
      ['backend/app.py'] = 'app = Flask(__name__)' },
    { 'pipenv', PY }, 'pipenv run python -m flask --app app:app run' .. UVICORN, 'flask', 'Pipfile',
  },
  {
    'JavaScript in the backend', { ['backend/package.json'] = '{"scripts": {"start": "node server.js"}}' }, nil, 'npm run start', 'node',
      'the script `start`',
  },
  {
    'a Python project in the root', { ['main.py'] = 'app = FastAPI()', ['requirements.txt'] = 'fastapi' }, nil,
    '/repo/.venv/bin/python ' .. '-m uvicorn main:app' .. UVICORN, 'fastapi', 'main.py:1',
  },
}

function M.test_python_backends()
  for _, case in ipairs(BACKENDS) do
    local name, tree, programs, want, framework, evidence = table.unpack(case, 1, 6)
    local found, result = run(tree, nil, programs)
    lu.assertEquals(line(found.backend), want, name)
    lu.assertEquals(found.backend.framework, framework, name)
    lu.assertStrContains(found.backend.origin.command.evidence, evidence, false, false, name)
    lu.assertEquals(#result.problems, 0, name)
  end
end

function M.test_a_backend_carries_what_the_planner_needs()
  local b = run { ['backend/requirements.txt'] = 'fastapi', ['backend/main.py'] = 'app = FastAPI()' }.backend
  lu.assertEquals({ b.type, b.dir, b.listens, b.shell, b.critical, b.restart }, { 'backend', 'backend', true, false, true, 'no' })
  lu.assertEquals(b.env, {
    PORT = '${port}', ENVCTL_PROJECT_NAME = '${project}', PYTHONUNBUFFERED = '1', VIRTUAL_ENV = '/repo/backend/.venv',
  })
  lu.assertEquals(b.ready, { kind = 'tcp', timeout_ms = 30000 })
  lu.assertEquals({ b.port_key, b.port_base, b.port_fixed }, { 'BACKEND_PORT_BASE', 8000, nil })
  lu.assertEquals({ b.prepare[1].name, b.prepare[2].command[3] }, { 'venv', 'pip' })
  lu.assertEquals({ b.origin.command.file, b.origin.command.line }, { 'backend/main.py', 1 })
end

-- JavaScript: package.json, other files, programs -> command.
local V = ' --port ${port} --strictPort --host 127.0.0.1'
local FRONTENDS = {
  { 'the fixture of the reference', '{"scripts": {"dev": "node server.js", "test": "x"}}', {}, nil, 'npm run dev' },
  { 'vite', '{"scripts": {"dev": "vite"}, "devDependencies": {"vite": "5"}}', {}, nil, 'npm run dev --' .. V },
  { 'vite after something', '{"scripts": {"dev": "tsc -b && vite --open"}}', {}, nil, 'npm run dev --' .. V },
  { 'vite build is no server', '{"scripts": {"dev": "vite build --watch"}}', {}, nil, 'npm run dev' },
  { 'vitest is not vite', '{"scripts": {"dev": "vitest"}}', {}, nil, 'npm run dev' },
  { 'vite with its own host', '{"scripts": {"dev": "vite --host --strictPort"}}', {}, nil, 'npm run dev -- --port ${port}' },
  { 'vite with its own port', '{"scripts": {"dev": "vite --port 3000"}}', {}, nil, 'npm run dev -- --strictPort --host 127.0.0.1' },
  { 'pnpm', '{"scripts": {"dev": "vite"}}', { 'pnpm-lock.yaml' }, { 'pnpm', 'npm' }, 'pnpm run dev' .. V },
  { 'yarn', '{"scripts": {"dev": "vite"}}', { 'yarn.lock' }, { 'yarn' }, 'yarn run dev' .. V },
  { 'bun', '{"scripts": {"dev": "vite"}}', { 'bun.lockb' }, { 'bun' }, 'bun run dev' .. V },
  { 'pnpm is not there', '{"scripts": {"dev": "vite"}}', { 'pnpm-lock.yaml' }, { 'npm' }, 'npm run dev --' .. V },
  { 'packageManager wins', '{"packageManager": "yarn@4.1.0", "scripts": {"dev": "vite"}}', { 'package-lock.json' }, { 'yarn', 'npm' },
    'yarn run dev' .. V },
  { 'next', '{"scripts": {"dev": "next dev --turbo"}}', {}, nil, 'npm run dev -- -p ${port} -H 127.0.0.1' },
  { 'next lint is no server', '{"scripts": {"dev": "next lint"}}', {}, nil, 'npm run dev' },
  { 'astro', '{"scripts": {"dev": "astro dev"}}', {}, nil, 'npm run dev -- --port ${port} --host 127.0.0.1' },
  { 'create-react-app', '{"scripts": {"start": "react-scripts start"}}', {}, nil, 'npm run start' },
  { 'dev before start', '{"scripts": {"start": "node a.js", "dev": " ", "serve": "x", "preview": "y"}}', {}, nil, 'npm run start' },
  { 'preview last', '{"scripts": {"build": "x", "preview": "vite preview"}}', {}, nil, 'npm run preview --' .. V },
  { 'a watcher is no server', '{"scripts": {"dev": "npx tailwindcss -i a -o b --watch", "start": "node x.js"}}', {}, nil, 'npm run start' },
  { 'no scripts', '{"name": "x"}', { 'server.js' }, nil, 'node server.js' },
}

function M.test_javascript_frontends()
  for _, case in ipairs(FRONTENDS) do
    local name, package, files, programs, want = table.unpack(case, 1, 5)
    local tree = { ['frontend/package.json'] = package }
    for _, file in ipairs(files) do
      tree['frontend/' .. file] = ''
    end
    local found, result = run(tree, nil, programs)
    lu.assertEquals(line(found.frontend), want, name)
    lu.assertEquals(#result.problems, 0, name)
  end
end

function M.test_programs_without_a_package()
  lu.assertEquals(line(run({ ['frontend/server.mjs'] = 'x' }).frontend), 'node server.mjs')
  lu.assertEquals(line(run({ ['frontend/index.js'] = 'http.createServer(f)\n  .listen(3000)' }).frontend), 'node index.js')
  local found, result = run { ['frontend/index.js'] = 'export const a = 1' }
  lu.assertNil(found.frontend)
  lu.assertEquals(result.skipped[2].name, 'frontend')
end

function M.test_react_scripts_get_a_host()
  local f = run({ ['frontend/package.json'] = '{"scripts": {"start": "react-scripts start"}}' }).frontend
  lu.assertEquals({ f.env.HOST, f.env.BROWSER, f.framework }, { '127.0.0.1', 'none', 'react-scripts' })
end

function M.test_packages_are_a_step()
  local tree = { ['frontend/package.json'] = '{"scripts": {"dev": "vite"}, "devDependencies": {"vite": "5"}}',
    ['frontend/package-lock.json'] = '' }
  local found, result = run(tree)
  lu.assertEquals(found.frontend.prepare, { {
    name = 'install', command = { 'npm', 'ci' }, inputs = { 'package.json', 'package-lock.json', 'npm-shrinkwrap.json' },
    outputs = { 'node_modules' }, key = 'npm install',
  } })
  lu.assertEquals(#result.warnings, 0)
  -- What the root of a workspace has installed is not installed once more below.
  tree['frontend/package-lock.json'], tree['node_modules/x'] = nil, ''
  lu.assertStrContains(run(tree).frontend.prepare[1].skip_reason, '`node_modules` exists')
end

-- Which steps a backend has, a line each: name, command, inputs, outputs, and why it is left out.
local function steps_of(service)
  local out = {}
  for i, step in ipairs(service.prepare) do
    local parts = {
      step.name, step.dir and 'in ' .. step.dir, table.concat(step.command, ' '), table.concat(step.inputs or {}, ' '),
      table.concat(step.outputs or {}, ' '), step.skip_reason,
    }
    local words = {}
    for n = 1, 6 do
      words[#words + 1] = parts[n]
    end
    out[i] = table.concat(words, ' | ')
  end
  return out
end

local MAIN, PIP = 'app = FastAPI()', 'install | /repo/backend/.venv/bin/python -m pip install -r requirements.txt | '
local MAKE = "venv | /usr/bin/python3 -m venv --system-site-packages .venv && echo '*' >.venv/.gitignore |  | .venv/bin/activate"

local PYTHON_STEPS = {
  { 'none without requirements', { ['backend/pyproject.toml'] = '[project]\ndependencies = ["fastapi"]' }, nil, {} },
  { 'pip, with what is included', {
      ['backend/requirements.txt'] = '-r base.txt\n-c ../limits.txt\nfastapi\n', ['backend/base.txt'] = '', ['limits.txt'] = '',
    }, nil, { MAKE, PIP .. 'requirements.txt base.txt ../limits.txt | .venv/bin/activate' } },
  { 'a virtual environment that was not finished', {
      ['backend/requirements.txt'] = 'fastapi', ['backend/.venv/bin/python*'] = '', ['backend/.venv/pyvenv.cfg'] = '',
    }, nil, { MAKE, PIP .. 'requirements.txt | .venv/bin/activate' } },
  { 'one of another kind', { ['backend/requirements.txt'] = 'fastapi', ['backend/.venv/bin/python*'] = '' }, nil,
    { PIP .. 'requirements.txt | .venv/bin/python' } },
  { 'one above', { ['backend/requirements.txt'] = 'fastapi', ['.venv/bin/python*'] = '' }, nil, {
      "install | /repo/.venv/bin/python -m pip install -r requirements.txt | requirements.txt |  | `.venv` is not the service's own",
    } },
  { 'poetry', { ['backend/poetry.lock'] = '' }, { 'poetry' }, { 'install | poetry install | pyproject.toml poetry.lock | ' } },
  { 'uv', { ['backend/uv.lock'] = '' }, { 'uv' }, { 'install | uv sync | pyproject.toml uv.lock | .venv/bin/python' } },
  { 'uv, a workspace', { ['uv.lock'] = '' }, { 'uv' }, { 'install | in . | uv sync | pyproject.toml uv.lock | .venv/bin/python' } },
  { 'pipenv', { ['backend/Pipfile'] = '' }, { 'pipenv' }, { 'install | pipenv install | Pipfile Pipfile.lock | ' } },
  { 'a tool that is not there', { ['backend/uv.lock'] = '' }, nil,
    { 'install | uv sync |  |  | `backend/uv.lock` needs uv, which is not on PATH' } },
  { 'pip in its place', { ['backend/poetry.lock'] = '', ['backend/requirements.txt'] = 'fastapi' }, nil,
    { MAKE, PIP .. 'requirements.txt | .venv/bin/activate' } },
}

function M.test_packages_of_python_are_steps()
  for _, case in ipairs(PYTHON_STEPS) do
    local name, tree, tools, want = table.unpack(case, 1, 4)
    tree['backend/main.py'], tree['backend/uvicorn.py'] = MAIN, ''
    lu.assertEquals(steps_of(run(tree, nil, { 'python3', table.unpack(tools or {}) }).backend), want, name)
  end
end

function M.test_a_given_command_is_prepared_for_as_well()
  local given = { ENVCTL_BACKEND_START_CMD = 'gunicorn app:app -b :{port}', ENVCTL_FRONTEND_START_CMD = 'npm run other' }
  local tree = {
    ['backend/requirements.txt'] = 'gunicorn', ['frontend/package.json'] = '{"scripts": {"dev": "x"}, "dependencies": {"x": "1"}}',
  }
  local found, result = run(tree, given)
  lu.assertEquals(steps_of(found.backend), { MAKE, PIP .. 'requirements.txt | .venv/bin/activate' })
  lu.assertEquals(found.backend.env.VIRTUAL_ENV, '/repo/backend/.venv')
  lu.assertEquals(found.frontend.prepare[1].command, { 'npm', 'install' })
  lu.assertEquals(#result.problems, 0) -- gunicorn will be there
  tree['backend/requirements.txt'] = nil
  found, result = run(tree, given)
  lu.assertEquals(found.backend.prepare, {})
  lu.assertStrContains(result.problems[1].message, 'gunicorn is not on PATH')
end

function M.test_packages_of_a_workspace_are_installed_in_the_root()
  local package = '{"scripts": {"dev": "vite"}, "devDependencies": {"vite": "5"}}'
  local tree = {
    ['package.json'] = '{"workspaces": ["frontend"]}', ['yarn.lock'] = '', ['frontend/package.json'] = package,
  }
  local yarn = 'install | in . | yarn install --frozen-lockfile | package.json yarn.lock frontend/package.json | '
  lu.assertEquals(steps_of(run(tree, nil, { 'yarn' }).frontend), { yarn .. 'node_modules' })
  tree['.yarnrc.yml'] = 'enableTelemetry: false\n'
  lu.assertEquals(steps_of(run(tree, nil, { 'yarn' }).frontend), { yarn .. '.pnp.cjs' })
  tree['.yarnrc.yml'] = 'nodeLinker: node-modules\n'
  lu.assertEquals(steps_of(run(tree, nil, { 'yarn' }).frontend), { yarn .. 'node_modules' })
end

function M.test_the_frontend_is_told_where_the_backend_is()
  local both = run { ['backend/server.py'] = 'serve_forever', ['frontend/server.js'] = '' }
  lu.assertEquals(both.frontend.env.VITE_BACKEND_URL, '${services.backend.url}')
  lu.assertEquals(both.frontend.env.VITE_API_URL, '${services.backend.url}/api/v1')
  lu.assertNil(run({ ['frontend/server.js'] = '' }).frontend.env.VITE_BACKEND_URL)
end

function M.test_one_package_is_one_service()
  local found, result = run { ['package.json'] = '{"scripts": {"dev": "vite"}, "devDependencies": {"vite": "5"}}' }
  lu.assertNil(found.backend)
  lu.assertStrContains(result.skipped[1].reason, 'is a frontend (vite)')
  lu.assertEquals(found.frontend.dir, '')
  found, result = run { ['package.json'] = '{"scripts": {"dev": "node server.js"}}' }
  lu.assertEquals(line(found.backend), 'npm run dev')
  lu.assertStrContains(result.skipped[1].reason, 'is the backend already')
  found, result = run { ['package.json'] = '{"workspaces": ["a"], "scripts": {"dev": "turbo dev"}}' }
  lu.assertNil(next(found))
  found = run { ['package.json'] = '{"scripts": {"dev": "next dev --turbo"}, "dependencies": {"next": "15"}}' }
  lu.assertEquals(found.frontend.framework, 'next')
  found = run { ['package.json'] = '{"scripts": {"dev": "cd frontend && npm run dev"}}', ['frontend/server.js'] = '' }
  lu.assertNil(found.backend)
  lu.assertStrContains(result.skipped[1].reason, 'starts other packages (turbo)')
end

function M.test_a_tool_in_the_root_is_no_backend()
  local found, result = run { ['main.py'] = 'if __name__ == "__main__":\n  main()\n' }
  lu.assertNil(found.backend)
  lu.assertStrContains(result.skipped[1].reason, 'no backend found in the project root')
end

function M.test_configured_directories()
  local tree = { ['services/api/server.py'] = 'serve_forever', ['web/server.js'] = '', ['backend/server.py'] = 'serve_forever' }
  local found = run(tree, { BACKEND_DIR = './services/api/', FRONTEND_DIR = 'web' })
  lu.assertEquals({ found.backend.dir, found.frontend.dir }, { 'services/api', 'web' })
  lu.assertEquals(found.backend.origin.dir, { layer = 'dotenv', file = '.envctl', line = 7 })
  found = run({ ['server.py'] = 'serve_forever' }, { BACKEND_DIR = '.' })
  lu.assertEquals(found.backend.dir, '')
end

function M.test_directories_that_cannot_be_used()
  local tree = { ['backend/server.py'] = 'serve_forever', ['link'] = { link = '/elsewhere' }, ['/elsewhere/server.py'] = 'serve_forever' }
  for dir, want in pairs {
    ['../other'] = { 'config_invalid', 'leaves the project directory' },
    ['/etc'] = { 'config_invalid', 'leaves the project directory' },
    ['a/../../b'] = { 'config_invalid', 'leaves the project directory' },
    ['nowhere'] = { 'service_dir_missing', 'is not a directory' },
    ['link'] = { 'config_invalid', 'is a link that leaves' },
  } do
    local found, result = run(tree, { BACKEND_DIR = dir })
    lu.assertNil(found.backend, dir)
    lu.assertEquals(result.problems[1].code, want[1], dir)
    lu.assertStrContains(result.problems[1].message, want[2], false, false, dir)
    lu.assertEquals(result.problems[1].where, '.envctl:7', dir)
  end
end

function M.test_switched_off_and_not_found()
  local _, result = run({ ['backend/server.py'] = 'serve_forever' }, { MAIN_BACKEND_ENABLE = false })
  lu.assertEquals(result.skipped[1].reason, 'switched off by MAIN_BACKEND_ENABLE')
  lu.assertEquals({ result.skipped[1].enabled, result.skipped[2].enabled }, { false, true })
  lu.assertStrContains(result.skipped[2].reason, 'no frontend found in the project root')
  _, result = run { ['frontend/package.json'] = '{"scripts": {"test": "x"}}', ['backend/package.json'] = '{' }
  lu.assertStrContains(result.skipped[1].reason, 'cannot be read')
  lu.assertStrContains(result.skipped[2].reason, 'has no script dev, start, serve or preview')
end

function M.test_a_missing_program_is_a_problem()
  local found, result = run({ ['frontend/package.json'] = '{"scripts": {"dev": "vite"}}', ['backend/server.py'] = 'serve_forever' },
    nil, {})
  lu.assertEquals(#result.problems, 2)
  lu.assertStrContains(result.problems[1].message, 'no Python found')
  lu.assertStrContains(result.problems[2].message, 'needs npm, which is not on PATH')
  lu.assertEquals(line(found.frontend), 'npm run dev --' .. V)
end

function M.test_overrides()
  local tree = { ['backend/README'] = '', ['backend/bin/serve*'] = '', ['frontend/x'] = '' }
  local found, result = run(tree, {
    ENVCTL_BACKEND_START_CMD = "bin/serve '--name=a b' --port {port} --again ${port} $HOME ${HOME}",
    ENVCTL_FRONTEND_START_CMD = 'node x --p={port}',
    ENVCTL_BACKEND_PORT = 8100, ENVCTL_BACKEND_RESTART = 'on-failure', ENVCTL_FRONTEND_READY_TIMEOUT = 2,
  })
  lu.assertEquals(result.problems, {})
  lu.assertEquals(found.backend.command, { 'bin/serve', '--name=a b', '--port', '${port}', '--again', '${port}', '$HOME', '$${HOME}' })
  lu.assertEquals(found.frontend.command, { 'node', 'x', '--p=${port}' })
  lu.assertEquals({ found.backend.port_fixed, found.backend.restart }, { 8100, 'on-failure' })
  lu.assertEquals(found.backend.origin.command.line, 7)
  lu.assertEquals(found.backend.origin.port.layer, 'dotenv')
  lu.assertEquals({ found.backend.ready.timeout_ms, found.frontend.ready.timeout_ms }, { 30000, 2000 })
end

function M.test_readiness_and_interpreter_from_the_configuration()
  local tree = { ['backend/server.py'] = 'serve_forever' }
  local found = run(tree, { ENVCTL_BACKEND_READY_HTTP = 'healthz', PYTHON_BIN = 'python3.12' }, { 'python3', 'python3.12' })
  lu.assertEquals(found.backend.ready, { kind = 'http', path = '/healthz', timeout_ms = 30000 })
  lu.assertEquals(found.backend.origin.ready.line, 7)
  lu.assertEquals(line(found.backend), '/usr/bin/python3.12 server.py')
  found = run(tree, { PYTHON_BIN = 'pypy' })
  lu.assertStrContains(found.backend.origin.command.evidence, 'PYTHON_BIN=pypy is not there')
end

function M.test_first_words_that_cannot_run()
  local tree = { ['backend/sub/file'] = '', ['backend/run.sh'] = '', ['backend/tool*'] = '', ['/opt/x'] = '' }
  for text, want in pairs {
    ['sub'] = 'sub is not on PATH',
    ['./sub'] = 'is a directory',
    ['/opt'] = 'is a directory',
    ['/opt/x'] = 'is not executable',
    ['./run.sh --port {port}'] = 'is not executable',
    ['./none'] = 'does not exist',
    ['PORT=1 node x'] = 'starts with the assignment PORT=',
    ['node x && node y'] = 'shell operator &&',
    ['nothing-here'] = 'is not on PATH',
    ["node 'x"] = "a ' is never closed",
    ['node "x'] = 'a " is never closed',
    ['node x\\'] = 'ends in a \\',
    ["''"] = 'is not on PATH',
  } do
    local _, result = run(tree, { ENVCTL_BACKEND_START_CMD = text, MAIN_FRONTEND_ENABLE = false })
    lu.assertEquals(#result.problems, 1, text)
    lu.assertStrContains(result.problems[1].message, want, false, false, text)
    lu.assertEquals({ result.problems[1].code, result.problems[1].where }, { 'config_invalid', '.envctl:7' }, text)
  end
  local _, result = run(tree, { ENVCTL_BACKEND_START_CMD = 'PORT=1 node x' })
  lu.assertStrContains(result.problems[1].hint, 'env PORT=1 node x')
end

function M.test_splitting_words()
  for text, want in pairs {
    ['a  b\tc\n'] = { 'a', 'b', 'c' },
    ["a 'b c' d"] = { 'a', 'b c', 'd' },
    ['a "b \\"c\\" \\x" d\\ e'] = { 'a', 'b "c" \\x', 'd e' },
    ["a '' \"\""] = { 'a', '', '' },
    ["a'b'\"c\"d"] = { 'abcd' },
    [''] = {},
  } do
    lu.assertEquals(command.split(text), want, text)
  end
end

function M.test_pyproject_reader_is_tolerant()
  local found = {}
  local poetry = pydeps.pyproject(table.concat({
    '[project]', 'name = "x" # [not a section]', 'dependencies = ["Fast_API[all]>=1; python_version<\'4\'", \'b\',', '  "c", ]',
    '[project.optional-dependencies]', 'test = ["pytest"]', '[tool.poetry.group.dev.dependencies]', '"d.e" = { version = "1" }',
    '[tool.other]', 'dependencies = ["not-this"]', 'broken = [',
  }, '\n'), 'p', found)
  lu.assertTrue(poetry)
  lu.assertEquals(found, { ['fast-api'] = 'p', b = 'p', c = 'p', pytest = 'p', ['d-e'] = 'p' })
end

-- Whatever lies in the files: detection says something, and does not fail.
function M.test_nonsense_in_the_files()
  for _, package in ipairs {
    '[]', '""',
      'null', '{}', '{"scripts": []}', '{"scripts": {"dev": 1}}', '{"scripts": {"dev": "&& | ;"}}',
    '{"scripts": {"dev": "vite http://x/"}}',
    '{"scripts": {"dev": "vite"}, "dependencies": "x", "devDependencies": null, "packageManager": 3, "main": {}, "workspaces": null}',
    '\0\255{',
  } do
    local _, result = run { ['frontend/package.json'] = package, ['package.json'] = package, ['backend/package.json'] = package }
    lu.assertTrue(#result.services + #result.skipped >= 2, package)
  end
  math.randomseed(7)
  local pieces = { '[', ']', '"', "'", '=', '#', '\n', '[project]', 'dependencies', '[tool.poetry.dependencies]',
    'fastapi', ',', ' ', '\0', '-r ', '{', '}' }
  for _ = 1, 500 do
    local parts = {}
    for i = 1, math.random(1, 40) do
      parts[i] = pieces[math.random(#pieces)]
    end
    local text = table.concat(parts)
    run {
      ['backend/pyproject.toml'] = text, ['backend/requirements.txt'] = text, ['backend/setup.cfg'] = text, ['backend/setup.py'] = text,
      ['backend/Pipfile'] = text, ['backend/main.py'] = text, ['frontend/package.json'] = text,
    }
    command.split(text)
    command.to_template(text)
  end
end

function M.test_reader_stays_inside_and_bounded()
  lu.assertEquals({ Files.clean 'a/./b//c/..', Files.clean '.', Files.clean '' }, { 'a/b', '', '' })
  for _, bad in ipairs { '..', '/x', 'a/../../b', '~/x' } do
    lu.assertNil(Files.clean(bad), bad)
  end
  local files = Files.open('/repo', host { a = 'one\ntwo\nthree' })
  lu.assertEquals(Files.line_of(files:text 'a', 6), 2)
  lu.assertNil(files:text 'missing')
end

-- The same with real files: links, permission bits, and reading without a fake in between.
function M.test_real_files()
  local fs, sys = require 'envctl.host.fs', require 'envctl.host.sys'
  local root = (sys.getenv 'TMPDIR' or '/tmp') .. '/envctl-detect-test-' .. sys.random_hex(6)
  assert(fs.mkdirs(root .. '/backend/.venv/bin'))
  assert(fs.mkdirs(root .. '/other'))
  assert(fs.write_atomic(root .. '/backend/requirements.txt', 'fastapi\n'))
  assert(fs.write_atomic(root .. '/backend/main.py', 'app = FastAPI()\n'))
  assert(fs.write_atomic(root .. '/backend/.venv/bin/python', '#!/bin/sh\n', { mode = 493 }))
  assert(fs.symlink('/', root .. '/frontend'))
  assert(fs.symlink('other', root .. '/web'))
  assert(fs.write_atomic(root .. '/other/server.js', 'x\n'))
  local project = { name = 'Main', mode = 'main', root = root }
  local result = detect.services(project, settings())
  lu.assertEquals(result.services[1].command[1], root .. '/backend/.venv/bin/python')
  lu.assertStrContains(result.problems[1].message, 'is a link that leaves')
  result = detect.services(project, settings { FRONTEND_DIR = 'web' })
  lu.assertEquals({ result.services[2].dir, result.problems[1] }, { 'web', nil })
  assert(fs.remove_tree(root))
end

-- A listing answers for what is in it and for what is not; only links take a look.
function M.test_a_listing_saves_looks()
  local fakes = host { ['a/x.py'] = '', ['a/sub/y.py'] = '', ['a/out'] = { link = '/repo/a/sub' }, ['b/z.py'] = '' }
  local looks, stat = {}, fakes.fs.stat
  fakes.fs.stat = function(path)
    looks[#looks + 1] = path
    return stat(path)
  end
  local files = Files.open('/repo', fakes)
  lu.assertEquals(#files:list 'a', 3)
  lu.assertEquals(#files:list 'nowhere', 0)
  lu.assertEquals({ files:kind 'a/x.py', files:kind 'a/sub', files:kind 'a/none' }, { 'file', 'dir' })
  lu.assertNil(files:kind 'a/none/deeper/still')
  lu.assertEquals(looks, {})
  lu.assertEquals(files:kind 'a/out', 'dir')
  lu.assertEquals({ files:kind 'b/z.py', files:kind 'a/sub/y.py', files:kind 'c/d' }, { 'file', 'file' })
  lu.assertEquals(looks, { '/repo/a/out', '/repo/b', '/repo/b/z.py', '/repo/a/sub/y.py', '/repo/c' })
end

-- What the repository plants on PATH is stepped over, also behind a link.
function M.test_planted_programs()
  for _, planted in ipairs { '/repo/bin', '/elsewhere/bin' } do
    local fakes, asked = host { ['/elsewhere'] = { link = '/repo' } }, {}
    fakes.sys.which = function(name, opts)
      asked[#asked + 1] = opts and opts.avoid or 'anywhere'
      return (name == 'npm' and not opts and planted or '/usr/bin') .. '/' .. name
    end
    local files = Files.open('/repo', fakes)
    lu.assertEquals({ files:which 'node', files:which 'npm', files:which 'node' }, {
      '/usr/bin/node', '/usr/bin/npm', '/usr/bin/node',
    })
    lu.assertEquals(asked, { 'anywhere', 'anywhere', '/repo' })
  end
end

return M
