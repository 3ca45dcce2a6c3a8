-- Services of a plan: placeholders, secrets, order, digests.
local lu = require 'luaunit'
local json = require 'envctl.util.json'
local services = require 'envctl.plan.services'
local placeholders = require 'envctl.plan.placeholders'
local digest = require 'envctl.plan.digest'

local M = {}

local function scope()
  return {
    port = 8000, project = 'Main', root = '/repo', ports = { backend = 8000, postgres = 5432 },
    services = { backend = { port = 8000, url = 'http://localhost:8000' }, worker = {} },
    env = { HOME = '/home/u' }, sources = { REDIS_URL = 'redis://localhost:6379/0' },
  }
end

function M.test_placeholders()
  for text, want in pairs {
    ['plain'] = 'plain',
    ['--port=${port}'] = '--port=8000',
    ['${project} in ${root}'] = 'Main in /repo',
    ['${ports.postgres}'] = '5432',
    ['${services.backend.url}/x:${services.backend.port}'] = 'http://localhost:8000/x:8000',
    ['${env.HOME}${env.NOT_SET}'] = '/home/u',
    ['${REDIS_URL} ${ENVCTL_SOURCE_REDIS_URL}'] = 'redis://localhost:6379/0 redis://localhost:6379/0',
    ['$HOME $(x) `y` {port}'] = '$HOME $(x) `y` {port}',
    ['$${port} $$${port}'] = '${port} $${port}',
    ['${open'] = '${open',
  } do
    lu.assertEquals(placeholders.expand(text, scope()), want, text)
  end
end

function M.test_placeholders_without_a_value()
  for text, name in pairs {
    ['${nothing}'] = 'nothing', ['${ports.x}'] = 'ports.x', ['${services.x.url}'] = 'services.x.url',
      ['${services.worker.url}'] = 'services.worker.url',
    ['${services.backend.pid}'] = 'services.backend.pid', ['a ${} b'] = '',
  } do
    local filled, unknown = placeholders.expand(text, scope())
    lu.assertNil(filled, text)
    lu.assertEquals(unknown, name)
  end
  lu.assertEquals(placeholders.services('${services.a.url} $${services.b.url} ${services.c-d.port}'), { 'a', 'c-d' })
end

function M.test_secrets_by_name_and_by_value()
  for name, want in pairs {
    DB_PASSWORD = true, db_passwd = true, JWT_SECRET = true,
    GITHUB_TOKEN = true, API_KEY = true, KEY = true, SSH_KEYS = true, SENTRY_DSN = true,
    AWS_CREDENTIALS = true, STRIPE_APIKEY = true, DB_PASS = true, SECRET_KEY_BASE = true,
    KEYBOARD_LAYOUT = false, MONKEY = false, PORT = false, PASSENGER = false, PWD = false, COMPASS_URL = false,
  } do
    lu.assertEquals(services.is_secret(name, 'x'), want, name)
  end
  for value, want in pairs {
    ['postgresql://u:p@localhost:5432/x'] = true, ['redis://:p@h'] = true, ['http://localhost:8000/a:b@c'] = false,
    ['https://user@host/x'] = false, ['mailto:a@b'] = false,
  } do
    lu.assertEquals(services.is_secret('URL', value), want, value)
  end
end

local function project(list, skipped)
  return { name = 'Main', root = '/repo', mode = 'main', services = list, skipped = skipped }
end

function M.test_layers_follow_needs()
  local layers, problems = services.layers(project {
    { name = 'c', needs = { 'b', 'postgres' } }, { name = 'b', needs = { 'a' } }, { name = 'a' }, { name = 'd', needs = { 'a' } },
  }, { postgres = true })
  lu.assertEquals(layers, { a = 1, b = 2, c = 3, d = 2 })
  lu.assertEquals(problems, {})
end

function M.test_cycles_are_named()
  for _, case in ipairs {
    { { { name = 'a', needs = { 'b' } }, { name = 'b', needs = { 'a' } } }, { 'a', 'b', 'a' } },
    { { { name = 'a', needs = { 'a' } } }, { 'a', 'a' } },
    { { { name = 'x', needs = { 'b' } }, { name = 'b', needs = { 'c' } }, { name = 'c', needs = { 'd' } },
      { name = 'd', needs = { 'b' } } }, { 'b', 'c', 'd', 'b' } },
  } do
    local _, problems = services.layers(project(case[1]), {})
    lu.assertEquals(problems[#problems].code, 'dependency_cycle')
    lu.assertEquals(problems[#problems].cycle, case[2])
  end
end

function M.test_needs_that_are_not_there()
  local _, problems = services.layers(project({ { name = 'a', needs = { 'off', 'nowhere' } } }, { { name = 'off' } }), {})
  lu.assertEquals(problems, {
    { code = 'need_skipped', service = 'a', need = 'off' },
    { code = 'unknown_need', service = 'a', need = 'nowhere' },
  })
end

local function build(service, unknown)
  return services.build(service, {
    project = project { service }, scope = scope(), layer = 1, facts = { scope_id = 'repo-1' },
    report = function(_, name)
      if not unknown then
        error('no value for ' .. name)
      end
      unknown[#unknown + 1] = name
    end,
  })
end

local function backend(with)
  local s = {
    name = 'backend', type = 'backend', dir = 'backend', command = { 'serve', '--port', '${port}' }, shell = false, listens = true,
    env = { PORT = '${port}', ENVCTL_PROJECT_NAME = '${project}' }, ready = { kind = 'tcp', timeout_ms = 30000 }, needs = {},
    critical = true,
    restart = 'no', prepare = {}, origin = { command = { layer = 'bundled', file = 'backend/main.py', line = 3, evidence = 'e' } },
  }
  for k, v in pairs(with or {}) do
    s[k] = v
  end
  return s
end

function M.test_a_service_of_the_plan()
  local got, secrets = build(backend())
  lu.assertEquals(got.command, json.array { 'serve', '--port', '8000' })
  lu.assertEquals(got.env, { PORT = '8000', ENVCTL_PROJECT_NAME = 'Main' })
  lu.assertEquals({ got.port, got.url, got.listens, got.port_fixed, got.layer }, { 8000, 'http://localhost:8000', true, false, 1 })
  lu.assertEquals(got.origin.command, { layer = 'bundled', file = 'backend/main.py', line = 3, evidence = 'e' })
  lu.assertEquals({ secrets, got.secrets_mark, got.templates }, { {}, json.null, json.null })
  lu.assertStrMatches(got.plan_digest, 'sha256:%x+')
  lu.assertStrContains(json.encode(got), '"needs": []')
end

function M.test_secrets_are_beside_the_plan()
  local env = { DB_PASSWORD = 'hunter2', URL = 'postgres://u:hunter3@h/x', PLAIN = '1' }
  local got, secrets = build(backend { env = env })
  lu.assertEquals(got.env, { DB_PASSWORD = '***', URL = '***', PLAIN = '1' })
  lu.assertEquals(secrets, { DB_PASSWORD = 'hunter2', URL = 'postgres://u:hunter3@h/x' })
  lu.assertNotStrContains(json.encode(got), 'hunter')
  -- A changed secret changes the service all the same.
  env.DB_PASSWORD = 'hunter4'
  lu.assertNotEquals(build(backend { env = env }).plan_digest, got.plan_digest)
end

function M.test_what_refers_to_other_services_can_be_filled_in_again()
  local got = build(backend { env = { API = '${services.backend.url}/v1', X = '1' }, command = { 'x', '${services.backend.port}' } })
  lu.assertEquals(got.templates.env, { API = '${services.backend.url}/v1' })
  lu.assertEquals(got.templates.command, json.array { 'x', '${services.backend.port}' })
  lu.assertEquals(got.env.API, 'http://localhost:8000/v1')
end

function M.test_a_service_that_does_not_listen()
  local got = build(backend { listens = false, env = {}, command = { 'work' }, ready = { kind = 'none' }, name = 'worker' })
  lu.assertEquals({ got.port, got.url, got.listens }, { json.null, json.null, false })
end

function M.test_unknown_placeholders_are_reported()
  local unknown = {}
  local got = build(backend { env = { A = '${nope}' }, command = { '${neither}' } }, unknown)
  table.sort(unknown)
  lu.assertEquals(unknown, { 'neither', 'nope' })
  lu.assertNil(got.env.A)
end

-- The shape of a service from a script goes through unchanged.
function M.test_services_of_scripts_fit()
  local got = build {
    name = 'api', dir = 'services/api', command = { 'python3', 'api.py' }, port_fixed = 8100, env = { X = 1 }, needs = { 'postgres' },
    groups = { 'app' }, ready = { kind = 'command', command = { 'true' } }, health = { http = '/healthz', every_ms = 10000 },
    stop = { signal = 'TERM', timeout_ms = 5000 }, origin = { port = { layer = 'script', file = '.envctl.lua', line = 4 } },
  }
  lu.assertEquals({ got.type, got.restart, got.critical, got.shell, got.port_fixed }, { 'api', 'no', true, false, true })
  lu.assertEquals(got.env, { X = '1' })
  lu.assertEquals({ got.groups, got.health.http, got.stop.timeout_ms }, { { 'app' }, '/healthz', 5000 })
  lu.assertEquals(got.origin.port, { layer = 'script', file = '.envctl.lua', line = 4, evidence = json.null })
end

function M.test_digests()
  local base = build(backend()).plan_digest
  -- What says the same about the process has the same digest.
  for _, same in ipairs {
    { origin = { command = { layer = 'bundled', line = 99 } } },
      { prepare = { { name = 'install', command = { 'x' }, skip_reason = 'y' } } },
    { manager = 'uv' }, { framework = 'flask' },
  } do
    lu.assertEquals(build(backend(same)).plan_digest, base)
  end
  for _, other in ipairs {
    { command = { 'other' } }, { dir = 'x' }, { env = {} }, { shell = true }, { restart = 'always' }, { critical = false },
      { needs = { 'x' } },
    { ready = { kind = 'tcp', timeout_ms = 1 } },
  } do
    lu.assertNotEquals(build(backend(other)).plan_digest, base)
  end
  lu.assertEquals(digest.plan { a = 1, digest = 'x' }, digest.plan { a = 1 })
  lu.assertEquals(digest.of {}, 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a')
end

return M
