-- Real documents against docs/reference/schemas, and the keys of the Python engine against the schemas.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local json = require 'envctl.util.json'
local jsonschema = require 'jsonschema'
local fixture = require 'fixture'
local program = require('script_support').exe

local M = {}

local DIR = rawget(_G, 'ENVCTL_SOURCE_DIR') .. '/docs/reference/schemas/'

local function schema_of(name)
  local text = assert(fs.read(DIR .. name .. '.schema.json'))
  return assert(json.decode(text))
end

-- A document fits the schema that it names, after a trip through its text.
local function fits(document)
  local decoded = assert(json.decode(json.encode(document)))
  local name = decoded.schema:match '^envctl%.([%w_]+)%.v1$'
  lu.assertEquals(jsonschema.check(schema_of(name), decoded, name, {}), {})
  return name
end

local ENVCTL = [[
ENVCTL_DEFAULT_MODE=main
REDIS_ENABLE=true
BACKEND_PORT_BASE=80a
UNKNOWN=1
ENVCTL_API_PORT=7000
DB_PASSWORD=secret
# >>> envctl backend launch env >>>
DATABASE_URL=${ENVCTL_SOURCE_DATABASE_URL}
X=${Y}
# <<< envctl backend launch env <<<
]]

function M.test_documents_of_commands()
  local repo = fixture.repo({ ['.envctl'] = ENVCTL, ['todo/plans/a/b.md'] = '' }, {
    ['trees/a_b/1'] = 'a_b-1', ['trees/other'] = false,
  })
  local seen = {}
  for _, line in ipairs {
    { 'version' }, { 'help' }, { 'help', 'stop' }, { 'list-commands' }, { 'list-targets' }, { 'list-targets', '--trees' },
    { 'list-trees' },
    { 'show-config' }, { 'show-config', '--all' }, { 'config' }, { 'config', 'BACKEND_PORT_BASE=1', '--dry-run' },
    { 'config', 'BACKEND_PORT_BASE=1' }, { 'completion', 'zsh' }, { 'doctor' }, { 'ports' }, { 'show-state' }, { 'explain-startup' },
    { 'explain-startup', '--trees' }, { 'explain-startup', 'resume' }, { 'install-prompts', '--list' },
    { 'install-prompts', '--cli', 'all,x', '--dry-run' }, { 'install-prompts' }, { 'install', '--dry-run' },
    { 'uninstall', '--dry-run' },
  } do
    table.insert(line, '--json')
    local _, ctx = fixture.run(line, repo.root)
    seen[fits(ctx.out.document)] = true
  end
  for _, name in ipairs {
    'list_targets', 'list_trees', 'show_config', 'config', 'doctor_repo', 'explain_startup', 'show_state', 'ports',
  } do
    lu.assertTrue(seen[name], name)
  end
  fixture.clean()
end

-- What the program itself prints: scripts run in a child of it.
local function printed(root, words)
  local pipe = assert(io.popen(("cd '%s' && env HOME='%s' XDG_STATE_HOME='%s/state' RUN_SH_RUNTIME_DIR='%s/run' '%s' %s --json"):format(
    root, root, root, root, program, table.concat(words, ' '))))
  local text = pipe:read 'a'
  pipe:close()
  return assert(json.decode(text), text)
end

function M.test_documents_of_scripts()
  local repo = fixture.repo {
    ['.envctl'] = '', ['.envctl.lua'] = 'return { envctl = 1, services = { worker = { command = { "true" }, listens = false } } }\n',
  }
  for _, words in ipairs {
    { 'status' }, { 'check' }, { 'points' }, { 'points', 'plan.ports' }, { 'trust' }, { 'status' }, { 'untrust' },
    { 'eject', 'plan.ports' },
  } do
    local document = printed(repo.root, { 'script', table.unpack(words) })
    lu.assertEquals({ fits(document), document.ok }, { 'script_' .. words[1], true })
  end
  fixture.write(repo.root .. '/.envctl.lua', 'x = = 1')
  local document = printed(repo.root, { 'script', 'check' })
  lu.assertEquals({ fits(document), document.ok }, { 'script_check', false })
  fixture.clean()
end

-- Every command that is there has a schema, under its own name or its documents'.
local OTHER = { doctor = 'doctor_repo', script = 'script_check' }

function M.test_no_command_without_a_schema()
  for _, c in ipairs(require('envctl.cli.commands').list) do
    local name = c.name:gsub('-', '_')
    if not c.hidden and fs.stat(DIR .. '../../../lua/envctl/commands/' .. name .. '.lua') then
      lu.assertNotNil(fs.stat(DIR .. (OTHER[c.name] or name) .. '.schema.json'), c.name)
    end
  end
end

function M.test_documents_of_a_saved_state()
  local repo = fixture.repo { ['.envctl'] = '' }
  local ctx = fixture.context({ 'show-state', '--json' }, repo.root)
  local paths = ctx.paths
  require('envctl.state.paths').prepare(paths)
  fixture.write(paths.state_file, json.encode {
    schema = 'envctl.run_state.v1', schema_version = 1, run_id = 'run-1', mode = 'main', requirements = {
      Main = {
        components = { postgres = { enabled = true, final = 5432, url = 'postgresql://u:p@localhost:5432/x', provider = 'native' } },
      },
    }, pointers = {}, metadata = { project_roots = { Main = repo.root } },
    services = {
      ['Main Backend'] = {
        type = 'backend', service = 'backend', project = 'Main', mode = 'main', cwd = repo.root, status = 'ready', actual_port = 8000,
        requested_port = 8000, log_path = repo.root .. '/x.txt', url = 'http://localhost:8000', listener_pids = json.array { 1 },
      },
    },
  })
  fixture.write(paths.ports_file, json.encode { entries = json.array {
    { scope = paths.scope_id, repo = repo.root, project = 'Main', slot = 0, service = 'backend', port = 8000 },
  } })
  for _, line in ipairs {
    { 'show-state' }, { 'endpoints' }, { 'endpoints', 'main' }, { 'ports' }, { 'list-targets' }, { 'explain-startup' },
  } do
    table.insert(line, '--json')
    local _, done = fixture.run(line, repo.root)
    fits(done.out.document)
  end
  local _, done = fixture.run({ 'endpoints', '--json' }, repo.root)
  lu.assertEquals(done.out.document.services.backend.status, 'exited')
  lu.assertEquals(done.out.document.dependencies.postgres.url, 'postgresql://u:***@localhost:5432/x')
  lu.assertEquals(done.out.document.root, repo.root)
  _, done = fixture.run({ 'endpoints', '--json', '--show-secrets' }, repo.root)
  lu.assertEquals(done.out.document.dependencies.postgres.url, 'postgresql://u:p@localhost:5432/x')
  lu.assertEquals(fixture.error_of(fixture.run, { 'endpoints', '--project', 'nope' }, repo.root).code, 'requested_project_not_running')
  fixture.clean()
end

-- Which project is meant is never guessed: one that does not run is no other one, and of two that run one has to be named.
function M.test_no_other_project_answers()
  local repo = fixture.repo({ ['.envctl'] = '' }, { ['trees/a/1'] = 'a-1', ['trees/a/2'] = 'a-2', ['trees/a/3'] = 'a-3' })
  local paths = fixture.context({ 'show-state' }, repo.root).paths
  require('envctl.state.paths').prepare(paths)
  local services = {}
  for _, name in ipairs { 'a-1', 'a-2' } do
    services[name .. ' Backend'] = {
      type = 'backend', service = 'backend', project = name, mode = 'trees', cwd = repo.root, status = 'ready', actual_port = 8000,
      requested_port = 8000, log_path = repo.root .. '/x.txt', url = 'http://localhost:8000', listener_pids = json.array {},
    }
  end
  fixture.write(paths.state_file, json.encode {
    schema = 'envctl.run_state.v1', schema_version = 1, run_id = 'run-1', mode = 'trees', requirements = {}, pointers = {},
    metadata = {}, services = services,
  })
  local before = fs.read(paths.state_file)
  for _, command in ipairs { 'health', 'logs', 'errors', 'endpoints', 'clear-logs', 'stop', 'wait' } do
    local e = fixture.error_of(fixture.run, { command, '--project', 'a-3', '--json' }, repo.root)
    lu.assertEquals({ e.code, e.data.candidates }, { 'requested_project_not_running', { 'a-1', 'a-2' } }, command)
    lu.assertStrContains(e.hint, 'running: a-1, a-2')
  end
  for _, command in ipairs { 'stop', 'endpoints' } do
    local e = fixture.error_of(fixture.run, { command, '--json' }, repo.root)
    lu.assertEquals({ e.code, e.data.candidates }, { 'target_required', { 'a-1', 'a-2' } }, command)
  end
  -- In a worktree it is that one, and the document says so.
  local _, done = fixture.run({ 'endpoints', '--json' }, repo.root .. '/trees/a/2', { RUN_SH_RUNTIME_DIR = repo.root .. '/.runtime' })
  lu.assertEquals({ done.out.document.project, done.out.document.chosen_by }, { 'a-2', 'current directory' })
  lu.assertEquals(fs.read(paths.state_file), before)
  fixture.clean()
end

function M.test_what_looks_like_an_error_in_a_log()
  local alarming = require('envctl.commands.errors').alarming
  for line, want in pairs {
    ['2024-01-01 12:00:00 ERROR in app: boom'] = true, ['[ERROR] x'] = true, ['level=FATAL msg=x'] = true, ['CRITICAL: x'] = true,
    ['Traceback (most recent call last):'] = true, ['ValueError: no such thing'] = true, ['TypeError: x is not a function'] = true,
    ['sqlalchemy.exc.OperationalError: gone'] = true, ['Error: listen EADDRINUSE'] = true, ['panic: runtime error'] = true,
    ['java.lang.IllegalStateException: x'] = true,
    ['0 errors, 0 warnings'] = false, ['GET /errors 200'] = false, ['ERRORS=0'] = false, ['LOG_ERROR_LEVEL=3'] = false,
    ['no error: all is well'] = false, ['compiled without Error'] = false, [''] = false,
  } do
    lu.assertEquals(alarming(line), want, line)
  end
end

-- Each choice is remembered beside the other.
function M.test_the_memory_of_choices()
  local selection = require 'envctl.state.selection'
  local repo = fixture.repo { ['.envctl'] = '' }
  local paths = fixture.context({ 'show-state' }, repo.root).paths
  lu.assertEquals(selection.read(paths), { counts = {}, projects = {} })
  selection.remember(paths, { counts = { ['web/a.md'] = 2 } })
  selection.remember(paths, { projects = { 'web_a-1' } })
  lu.assertEquals(selection.read(paths), { counts = { ['web/a.md'] = 2 }, projects = { 'web_a-1' } })
  fits(json.decode(assert(fs.read(selection.file(paths)))))
  fixture.write(selection.file(paths), '{"selected_counts": [1], "selected_projects": {"a": 1}')
  lu.assertEquals(selection.read(paths), { counts = {}, projects = {} })
  fixture.clean()
end

function M.test_errors()
  local err = require 'envctl.err'
  local e = err.new('port_taken', 'port 1 is taken', { hint = 'h', where = '.envctl:1', data = { pid = 1 } })
  fits { schema = 'envctl.error.v1', ok = false, command = 'start', error = err.to_table(e, json.null) }
  fits { schema = 'envctl.error.v1', ok = false, command = json.null, error = err.to_table(err.new('x', 'y'), json.null) }
end

function M.test_secrets_are_masked()
  local repo = fixture.repo { ['.envctl'] = ENVCTL }
  local _, ctx = fixture.run({ 'show-config', '--json' }, repo.root, { SUPABASE_JWT_SECRET = 'hidden' })
  local text = json.encode(ctx.out.document)
  lu.assertEquals(ctx.out.document.values.DB_PASSWORD.value, '***')
  lu.assertNil(text:find('hidden', 1, true))
  lu.assertNil(text:find('"secret"', 1, true))
  _, ctx = fixture.run({ 'show-config' }, repo.root)
  lu.assertNil(table.concat(ctx.out.lines, '\n'):find('=secret', 1, true))
  fixture.clean()
end

-- What scripts of the Python engine's users read: keys per document.
local REFERENCE = {
  list_commands = { 'commands' },
  list_targets = { 'mode', 'count', 'projects' },
  list_trees = { 'mode', 'count', 'projects' },
  show_config = {
    'base_dir', 'config_file', 'config_exists', 'config_source', 'legacy_source_path', 'effective', 'dependency_env_section_present',
    'dependency_env_templates', 'backend_dependency_env_section_present', 'backend_dependency_env_templates',
    'frontend_dependency_env_section_present', 'frontend_dependency_env_templates',
  },
  explain_startup = {
    'command', 'mode', 'headless', 'interactive_tty', 'startup_enabled', 'services', 'dependencies', 'parallel_trees', 'selection',
    'auto_resume',
  },
  run_state = { 'schema_version', 'run_id', 'mode', 'services', 'requirements', 'pointers', 'metadata' },
  logs = { 'run_id', 'mode', 'services', 'tail', 'follow_requested', 'streaming', 'duration_seconds' },
}

function M.test_the_keys_of_the_reference_are_required()
  for name, keys in pairs(REFERENCE) do
    local required = {}
    for _, key in ipairs(schema_of(name).required) do
      required[key] = true
    end
    for _, key in ipairs(keys) do
      lu.assertTrue(required[key], name .. '.' .. key)
    end
  end
  local project = schema_of('list_trees').properties.projects.items.required
  local text = table.concat(project, ' ')
  for _, key in ipairs { 'name', 'root', 'ports', 'preselected', 'running' } do
    lu.assertStrContains(text, key)
  end
end

function M.test_schemas_are_complete()
  for _, entry in ipairs(fs.list(DIR)) do
    local name = entry.name:match '^(.*)%.schema%.json$'
    if name then
      lu.assertEquals(schema_of(name).properties.schema.const, 'envctl.' .. name .. '.v1')
    end
  end
end

return M
