-- Old shell hooks and what becomes of them: what is found, what is taken as data, and that the outcome is a script that loads.
local lu = require 'luaunit'
local migrate = require 'envctl.script.migrate'
local support = require 'script_support'

local M = {}

local SETUP, DEFINE = 'envctl_setup_infrastructure', 'envctl_define_services'

local function found(text)
  local out = {}
  for i, hook in ipairs(migrate.find(text)) do
    out[i] = { hook.name, hook.line, hook.data or table.concat(hook.body, '|') }
  end
  return out
end

-- Text of the shell file -> name, line and data of each hook, or its body when that is code.
local FOUND = {
  { 'BACKEND_PORT_BASE=8000\n# envctl_define_services() {\nexport X="envctl_define_services"\n', {} },
  { 'envctl_define_services\n', {} },
  { 'envctl_other() {\n  true\n}\n', {} },
  { 'envctl_define_services() {\n  no end\n', {} },
  { 'envctl_define_services() {\n}\n', { { DEFINE, 1, {} } } },
  { 'envctl_define_services() { :; }\n', { { DEFINE, 1, {} } } },
  { 'function envctl_define_services {\n  # nothing\n  return 0\n}\n', { { DEFINE, 1, {} } } },
  { '\n  function envctl_define_services()\n  {\n    :\n  }\n', { { DEFINE, 2, {} } } },
  { "envctl_define_services() {\r\n  ENVCTL_HOOK_JSON='{\"a\": 1}'\r\n}\r\n", { { DEFINE, 1, { a = 1 } } } },
  { "envctl_define_services() {\n  export ENVCTL_HOOK_JSON='{\"a\": null, \"b\": [1]}'\n}\n", { { DEFINE, 1, { b = { 1 } } } } },
  { 'envctl_define_services() {\n  ENVCTL_HOOK_JSON="{\\"a\\": \\"x\\"}"\n  export ENVCTL_HOOK_JSON\n}\n', { { DEFINE, 1, { a = 'x' } } } },
  { "envctl_define_services() {\n  ENVCTL_HOOK_JSON='{\n    \"a\": 1\n  }'\n}\n", { { DEFINE, 1, { a = 1 } } } },
  -- The shell would have had its say: that is code.
  { 'envctl_define_services() {\n  ENVCTL_HOOK_JSON="{\\"p\\": $PORT}"\n}\n',
    { { DEFINE, 1, '  ENVCTL_HOOK_JSON="{\\"p\\": $PORT}"' } } },
  { "envctl_define_services() {\n  ENVCTL_HOOK_JSON='{broken'\n}\n", { { DEFINE, 1, "  ENVCTL_HOOK_JSON='{broken'" } } },
  -- Braces in the code do not end it.
  { 'envctl_setup_infrastructure() {\n  for x in 1 2; do {\n    echo ${x}\n    }\n  done\n}\necho after\n',
    { { SETUP, 1, '  for x in 1 2; do {|    echo ${x}|    }|  done' } } },
  -- Both, in the order in which they ran; of two definitions the first.
  { 'envctl_define_services() { run me; }\nenvctl_setup_infrastructure() {\n  up\n}\nenvctl_define_services() { again; }\n',
    { { SETUP, 2, '  up' }, { DEFINE, 1, 'run me' } } },
}

function M.test_what_is_found()
  for i, case in ipairs(FOUND) do
    lu.assertEquals(found(case[1]), case[2], 'case ' .. i)
  end
end

local function hook(name, json)
  return name .. "() {\n  ENVCTL_HOOK_JSON='" .. json .. "'\n}\n"
end

-- Text of the shell file -> what the script says: services (by name: command, dir, port), and the points that it overrides.
local SAID = {
  { hook(DEFINE, [[{"services": [
      {"name": "API server", "cwd": "services/api", "requested_port": 8100, "command": "python3 api.py --port 8100"},
      {"name": "Worker", "command": ["sh", "-c", "work \"x\""], "type": "worker"},
      {"name": "Pipe", "command": "a | b", "port": "8200"},
      {"name": "Old", "pid": 1234, "actual_port": 8300, "cwd": "/somewhere/else"}
    ], "skip_default_services": true}]]), {
    ['api-server'] = { command = 'python3 api.py --port 8100', dir = 'services/api', port = 8100 },
    worker = { command = { 'sh', '-c', 'work "x"' }, listens = false },
    pipe = { command = 'a | b', shell = true, port = 8200 },
  }, { '-- old = {', '-- dir = "/somewhere/else", -- relative to the project', 'command = "…"' } },
  { hook(SETUP, [[{"skip_default_requirements": true, "requirements": {"postgres": {"final": 5433}}}]]), {}, {
    'postgres on port 5433', 'ENVCTL_POSTGRES_URL', '["deps.select"] = function()',
  } },
  { hook(SETUP, '{}'), {}, { 'changed nothing' } },
  { SETUP .. '() {\n\tdocker compose up -d "$X" ]]\n\tif true; then\n\t\tsleep 1 --]]\n\tfi\n}\n', {}, {
    '    --     docker compose up -d "$X" ]]\n    --     if true; then\n    --     \tsleep 1 --]]\n', '.envctl.sh:1: ' .. SETUP,
  } },
  { DEFINE .. '() {\n  (cd api && npm run dev) &\n}\n', {}, { '    --     (cd api && npm run dev) &\n' } },
}

function M.test_what_becomes_of_it()
  local dir <close> = support.directory()
  support.write(dir.path, 'services/api/api.py', '')
  for i, case in ipairs(SAID) do
    local text = migrate.text(migrate.find(case[1]), '.envctl.sh')
    for _, part in ipairs(case[3]) do
      lu.assertStrContains(text, part, false, false, 'case ' .. i)
    end
    support.with(text, function(session)
      local data = session:load().data
      local services = {}
      for name, service in pairs(data.services or {}) do
        if service.command then
          services[name] = service
        end
      end
      lu.assertEquals(services, case[2], 'case ' .. i)
      local settings = { get = function() end, origin = function() end, errors = {} }
      local ctx = { roots = { root = dir.path }, settings = settings }
      lu.assertEquals(require('envctl.script.check').run(session, ctx).errors, {}, 'case ' .. i)
    end, { root = dir.path })
  end
  support.with(migrate.starter(), function(session)
    lu.assertNotNil(session:load())
  end)
end

return M
