-- Dependencies in a plan: ports, what is handed over, masks, and what is to be done.
local lu = require 'luaunit'
local json = require 'envctl.util.json'
local plan = require 'envctl.deps.plan'
local definitions = require 'envctl.deps.definitions'

local T = {}

local function facts(over)
  local f = {
    scope_id = 'repo-1',
    config = {
      dependencies = { 'postgres', 'redis' },
      bases = { postgres = { port = 5432 }, redis = { port = 6379 } },
      providers = {
        postgres = {
          provider = 'native', why = 'native: /usr/lib/postgresql/15/bin', bin = '/usr/lib/postgresql/15/bin', version = 15,
          base = '/data', scope = 'isolated',
          access = { host = 'localhost', user = 'postgres', password = definitions.token 'postgres', name = 'postgres' },
        },
        redis = {
          provider = 'native', why = 'native: /usr/bin', bin = '/usr/bin', base = '/data', scope = 'isolated',
          access = { host = 'localhost', password = definitions.token 'redis' },
        },
      },
    },
  }
  for k, v in pairs(over or {}) do
    f[k] = v
  end
  return f
end

local function project(name)
  return { name = name, root = '/repo' }
end

local PORTS = { postgres = 5440, redis = 6390 }

function T.test_what_is_handed_over_is_masked()
  local entry, password = plan.build(facts(), project 'Main', 'postgres', PORTS)
  lu.assertNil(password)
  lu.assertEquals(entry.provides.DATABASE_URL, '***')
  lu.assertEquals(entry.provides.DB_PASSWORD, '***')
  lu.assertEquals(entry.provides.DB_PORT, '5440')
  lu.assertEquals(entry.ports, { postgres = 5440 })
  lu.assertEquals(entry.data, '/data/repo-1/Main/postgres')
  lu.assertNil(json.encode_line(entry):find('~envctl~', 1, true))
end

function T.test_a_written_password_is_beside_the_plan()
  local f = facts()
  f.config.providers.postgres.access.password = 'hunter2'
  local entry, secrets = plan.build(f, project 'Main', 'postgres', PORTS)
  lu.assertEquals(secrets, { password = 'hunter2' })
  lu.assertNil(json.encode_line(entry):find('hunter2', 1, true))
  f.config.providers.postgres.access.password = 'hunter3'
  lu.assertNotEquals(plan.build(f, project 'Main', 'postgres', PORTS).plan_digest, entry.plan_digest)
end

function T.test_ports_that_are_asked_for()
  local f = facts()
  f.config.providers.redis.provider = 'external'
  f.config.providers.postgres.fixed = 7000
  lu.assertEquals(plan.wants(f.config, {}), { { id = 'postgres', fixed = 7000, kind = 'dependency' } })
end

function T.test_the_port_of_a_container_that_is_there()
  local f = facts()
  f.config.providers.postgres.adopted = { Main = { postgres = 5555 } }
  local function wanted(name)
    return plan.wants(f.config, { name = name })[1].adopted
  end
  lu.assertEquals({ wanted 'Main', wanted 'other' }, { 5555 })
end

function T.test_what_a_script_leaves_out_of_a_project()
  local f = facts()
  local without, with = { without = { postgres = 'why' } }, { without = {} }
  lu.assertEquals(plan.wants(f.config, without), { { id = 'redis', base = 6379, kind = 'dependency' } })
  lu.assertNil(plan.sources(f, { name = 'a', root = '/a', without = without.without }).DATABASE_URL)
  f.config.dependencies = { 'supabase', 'supabase-auth' }
  lu.assertEquals(plan.ids(f.config, { without = { supabase = 'why' } }), {}) -- a part goes with its whole
  -- A shared server is wanted as long as one project has a use for it.
  f.config.dependencies, f.config.providers.postgres.scope = { 'postgres' }, 'shared'
  f.projects = { without, with }
  lu.assertEquals(#plan.shared_wants(f), 1)
  f.projects = { without, without }
  lu.assertEquals(#plan.shared_wants(f), 0)
end

function T.test_tokens()
  local token = definitions.token 'postgres'
  lu.assertEquals(definitions.fill('a ' .. token .. ' b', function(id)
    return id == 'postgres' and 'x/y' or nil
  end), 'a x%2Fy b')
  lu.assertEquals(definitions.fill(token, function() end), token)
  local url = definitions.sources('postgres', {
    host = 'localhost', user = 'postgres', password = token, name = 'app',
  }).DATABASE_URL.value
  lu.assertStrContains(url, token)
  lu.assertEquals(definitions.open_ports(url), 'postgresql://postgres:' .. token .. '@localhost:${ports.postgres}/app')
end

function T.test_sources()
  local urls = definitions.sources('postgres', { host = 'h', port = 1, user = 'a:0', password = 'p@/', name = 'd' })
  lu.assertEquals(urls.DATABASE_URL.value, 'postgresql://a%3A0:p%40%2F@h:1/d')
  lu.assertEquals(urls.ASYNC_DATABASE_URL.value, 'postgresql+asyncpg://a%3A0:p%40%2F@h:1/d')
  local redis = definitions.sources('redis', { host = 'localhost', port = 6379 })
  lu.assertEquals(redis.REDIS_URL, { value = 'redis://localhost:6379/0', secret = false })
end

function T.test_urls_of_external_ones()
  local a = definitions.parse_url('postgres', 'postgresql+asyncpg://me:p%40w@db.example:5433/app?sslmode=require')
  lu.assertEquals(a, {
    scheme = 'postgresql', host = 'db.example', port = 5433, user = 'me', password = 'p@w', name = 'app', query = 'sslmode=require',
  })
  local handed = definitions.sources('postgres', a)
  lu.assertEquals(handed.DATABASE_URL.value, 'postgresql://me:p%40w@db.example:5433/app?sslmode=require')
  lu.assertEquals(handed.ASYNC_DATABASE_URL.value, 'postgresql+asyncpg://me:p%40w@db.example:5433/app?ssl=require')
  -- Without user, password or database, services get as little.
  local bare = definitions.sources('postgres', (definitions.parse_url('postgres', 'postgres://localhost')))
  lu.assertEquals(bare.DATABASE_URL.value, 'postgresql://localhost:5432/')
  lu.assertNil(bare.DB_USER)
  lu.assertNil(bare.DB_NAME)
  local redis = definitions.sources('redis', (definitions.parse_url('redis', 'rediss://h?ssl_cert_reqs=none')))
  lu.assertEquals(redis.REDIS_URL, { value = 'rediss://h:6379/0?ssl_cert_reqs=none', secret = true })
  lu.assertEquals(definitions.parse_url('redis', 'redis://:s@[::1]/3'),
    { scheme = 'redis', host = '::1', port = 6379, password = 's', name = '3' })
  for _, url in ipairs { 'mysql://x/y', 'postgresql://', 'postgresql://h:99999/x', 'nonsense', 'postgresql://:5432/x' } do
    local access, why = definitions.parse_url('postgres', url)
    lu.assertNil(access)
    lu.assertTrue(#why > 0 and (url == 'postgresql://' or not why:find(url, 1, true)))
  end
end

local function described_facts(provider)
  local f = facts()
  f.config.dependencies = { 'mail' }
  f.config.providers = { mail = {
    provider = provider, why = 'x', base = '/data', scope = 'isolated', image = 'i', command = { 'mail', '${port}' }, layer = 2,
    access = { host = 'localhost' },
    described = {
      ports = { { name = 'http', base = 8025, inner = 80 }, { name = 'smtp', base = 1025, inner = 25 } }, primary = 'http',
      args = { '--on', '${project}' }, env = { TOKEN = '${password}', PLACE = '${data}' },
      provides = { SMTP_URL = 'smtp://${host}:${ports.smtp}', AUTH = 'x:${password}' }, volumes = { '/v' },
      needs = { 'redis' }, ready = { kind = 'http', path = '/', timeout_ms = 1000 },
    },
  } }
  return f
end

function T.test_a_described_one()
  local f = described_facts 'command'
  lu.assertEquals(plan.wants(f.config, {}), {
    { id = 'mail.http', base = 8025, kind = 'dependency', whole = 'mail' },
    { id = 'mail.smtp', base = 1025, kind = 'dependency' },
  })
  local numbers = { ['mail.http'] = 8045, ['mail.smtp'] = 1045 }
  local entry, secrets = plan.build(f, project 'Main', 'mail', numbers)
  lu.assertEquals(entry.ports, { http = 8045, smtp = 1045 })
  lu.assertEquals({ entry.port, entry.url, entry.layer, entry.needs[1] }, { 8045, 'http://localhost:8045', 2, 'redis' })
  lu.assertEquals(entry.command, { 'mail', '8045' })
  lu.assertNil(entry.container)
  lu.assertEquals(entry.env, { TOKEN = '***', PLACE = '/data/repo-1/Main/mail' })
  lu.assertEquals(entry.provides, { SMTP_URL = 'smtp://localhost:1045', AUTH = '***' })
  lu.assertEquals(secrets, { env = { TOKEN = definitions.token 'mail' } })
  lu.assertEquals(plan.values(f, project 'Main', numbers).AUTH, 'x:' .. definitions.token 'mail')
  local docker = plan.build(described_facts 'docker', project 'Main', 'mail', numbers)
  lu.assertEquals(docker.container, { ports = { http = 80, smtp = 25 }, volumes = { '/v' }, args = { '--on', 'Main' } })
  lu.assertEquals(docker.command, json.null)
  lu.assertNotEquals(docker.plan_digest, entry.plan_digest)
end

return T
