local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local schema = require 'envctl.config.schema'
local fixture = require 'fixture'

local M = {}

local function settings(text, env, flags, more)
  local files = more or {}
  if text then
    files['.envctl'] = text
  end
  local repo = fixture.repo(files)
  local s = fixture.settings(repo.roots, env, flags and { flags = flags })
  fixture.clean()
  return s, repo
end

local function where_list(list)
  local out = {}
  for i, e in ipairs(list) do
    out[i] = (e.where or '-') .. ' ' .. e.message
  end
  return out
end

function M.test_defaults()
  local s = settings(nil)
  lu.assertEquals(s:get 'ENVCTL_DEFAULT_MODE', 'main')
  lu.assertEquals(s:get 'BACKEND_PORT_BASE', 8000)
  lu.assertEquals(s:get 'MAIN_POSTGRES_ENABLE', false)
  lu.assertEquals(s:get 'TREES_N8N_ENABLE', false)
  lu.assertEquals(s:origin('BACKEND_PORT_BASE').layer, 'bundled')
  lu.assertNil(s:get 'ENVCTL_BACKEND_PORT')
  lu.assertNil(s:get 'NO_SUCH_KEY')
  lu.assertEquals({ s.config_exists, s.config_source, s.configured, #s.errors, #s.warnings }, { false, 'defaults', false, 0, 0 })
end

function M.test_values_and_their_lines()
  local s = settings('# mine\nBACKEND_PORT_BASE=8100 # api\nMAIN_REDIS_ENABLE=YES\nENVCTL_DEFAULT_MODE=Trees\n\nBACKEND_DIR="my app"\n')
  lu.assertEquals({ s:get 'BACKEND_PORT_BASE', s:get 'MAIN_REDIS_ENABLE', s:get 'ENVCTL_DEFAULT_MODE', s:get 'BACKEND_DIR' }, {
    8100, true, 'trees', 'my app',
  })
  lu.assertEquals(s:origin 'BACKEND_PORT_BASE', { layer = 'dotenv', file = '.envctl', line = 2 })
  lu.assertEquals({ s.config_exists, s.config_source, s.configured }, { true, 'envctl', true })
end

-- A source that is higher wins whatever name it uses; within one source the canonical name wins.
function M.test_precedence()
  local s = settings('MAIN_POSTGRES_ENABLE=true\n', { POSTGRES_MAIN_ENABLE = 'false' })
  lu.assertEquals(s:get 'MAIN_POSTGRES_ENABLE', false)
  lu.assertEquals(s:origin 'MAIN_POSTGRES_ENABLE', { layer = 'env', alias = 'POSTGRES_MAIN_ENABLE' })
  s = settings('REDIS_ENABLE=true\nMAIN_REDIS_ENABLE=false\n')
  lu.assertEquals({ s:get 'MAIN_REDIS_ENABLE', s:get 'TREES_REDIS_ENABLE' }, { false, true })
  lu.assertEquals(s:origin('TREES_REDIS_ENABLE').alias, 'REDIS_ENABLE')
  s = settings('REDIS_MAIN_ENABLE=true\nREDIS_ENABLE=false\n')
  lu.assertEquals(s:get 'MAIN_REDIS_ENABLE', true)
  s = settings('RUN_SH_OPT_PARALLEL_TREES_MAX=2\n', { RUN_SH_OPT_PARALLEL_TREES_MAX = '3' }, { parallel_trees_max = 5 })
  lu.assertEquals({ s:get 'RUN_SH_OPT_PARALLEL_TREES_MAX', s:origin('RUN_SH_OPT_PARALLEL_TREES_MAX').layer }, { 5, 'flag' })
  s = settings('BACKEND_PORT_BASE=1\nBACKEND_PORT_BASE=2\n')
  lu.assertEquals({ s:get 'BACKEND_PORT_BASE', s:origin('BACKEND_PORT_BASE').line, #s.warnings }, { 2, 2, 1 })
end

function M.test_empty_is_not_set()
  local s = settings('BACKEND_PORT_BASE=\nBACKEND_DIR=app\n', { BACKEND_DIR = '', REDIS_PORT = '  ' })
  lu.assertEquals({ s:get 'BACKEND_PORT_BASE', s:get 'BACKEND_DIR', s:get 'REDIS_PORT' }, { 8000, 'app', 6379 })
  lu.assertEquals(#s.errors, 0)
  -- Of a command it means none, so that a configured one can be taken away for once.
  s = settings('ENVCTL_BACKEND_START_CMD=run\n', { ENVCTL_BACKEND_START_CMD = '' })
  lu.assertNil(s:get 'ENVCTL_BACKEND_START_CMD')
end

-- line -> what the error says.
local BAD = {
  { 'BACKEND_PORT_BASE=80a', 'a port from 1 to 65535, got "80a"' },
  { 'BACKEND_PORT_BASE=0', 'a port' },
  { 'BACKEND_PORT_BASE=99999', 'a port' },
  { 'BACKEND_PORT_BASE=8000.5', 'a port' },
  { 'PORT_SPACING=0', 'from 1 to 10000' },
  { 'MAIN_BACKEND_ENABLE=perhaps', 'true or false' },
  { 'ENVCTL_DEFAULT_MODE=forest', 'main or trees' },
  { 'ENVCTL_RUNTIME_TRUTH_MODE=x', 'one of auto, strict, best_effort' },
  { 'ENVCTL_BACKEND_PORT=x', 'a port' },
  { 'ENVCTL_API_RESTART=sometimes', 'one of no, on-failure, always' },
  { 'ENVCTL_POSTGRES_PROBE_ATTEMPTS=0', 'of at least 1' },
  { 'this is no assignment', 'expected KEY=VALUE' },
  { '# >>> envctl backend launch env >>>\nA=${HOME}\n# <<< envctl backend launch env <<<', 'is not set above', 3 },
}

function M.test_bad_values_are_errors_with_their_line()
  for _, case in ipairs(BAD) do
    local s = settings('BACKEND_DIR=app\n' .. case[1] .. '\n')
    lu.assertEquals(#s.errors, 1, case[1])
    lu.assertEquals({ s.errors[1].code, s.errors[1].where }, { 'config_invalid', '.envctl:' .. (case[3] or 2) }, case[1])
    lu.assertStrContains(s.errors[1].message, case[2])
  end
  local s = settings('', { BACKEND_PORT_BASE = 'x' })
  lu.assertStrContains(s.errors[1].message, 'from the environment')
  lu.assertNil(s.errors[1].where)
  s = settings('DB_PASSWORD=\xff\n')
  lu.assertEquals(#s.errors, 1)
end

function M.test_a_bad_value_that_is_overruled_is_a_warning()
  local s = settings('BACKEND_PORT_BASE=80a\n', { BACKEND_PORT_BASE = '8001' })
  lu.assertEquals({ #s.errors, #s.warnings, s:get 'BACKEND_PORT_BASE' }, { 0, 1, 8001 })
  s = settings('MAIN_REDIS_ENABLE=true\nREDIS_MAIN_ENABLE=perhaps\n')
  lu.assertEquals({ #s.errors, #s.warnings, s:get 'MAIN_REDIS_ENABLE' }, { 0, 1, true })
end

function M.test_unknown_keys()
  local s = settings('ENVCTL_DEFAULT_MODES=main\nMY_OWN=1\nMAIN_BAKEND_ENABLE=false\nRUN_REPO_ROOT=/x\nMAIN_WORKER_ENABLE=true\n')
  lu.assertEquals(#s.errors, 0)
  local text = table.concat(where_list(s.warnings), '\n')
  lu.assertStrContains(text, '.envctl:1 unknown key ENVCTL_DEFAULT_MODES')
  lu.assertStrContains(text, '.envctl:2 unknown key MY_OWN')
  lu.assertStrContains(text, '.envctl:3 MAIN_BAKEND_ENABLE names no bundled service')
  lu.assertStrContains(text, '.envctl:4 RUN_REPO_ROOT only counts in the environment')
  lu.assertEquals(#s.warnings, 4)
  lu.assertStrContains(s.warnings[1].hint, 'ENVCTL_DEFAULT_MODE?')
  lu.assertEquals(s:get 'MAIN_WORKER_ENABLE', true)
end

function M.test_where_the_file_is()
  local s, repo = settings(nil, nil, nil, { ['.envctl.sh'] = 'BACKEND_DIR=app\nfoo() {\n  echo hi\n}\nX="$(date)"\n' })
  lu.assertEquals({ s.config_exists, s.config_source, s.configured, s:get 'BACKEND_DIR' }, { false, 'legacy_prefill', false, 'app' })
  lu.assertEquals({ s.legacy_source_path, s.config_file }, { repo.root .. '/.envctl.sh', repo.root .. '/.envctl' })
  lu.assertEquals({ #s.errors, #s.warnings }, { 0, 0 })

  s = settings(nil, { ENVCTL_CONFIG_FILE = 'conf/dev.env' }, nil, { ['conf/dev.env'] = 'BACKEND_DIR=a\n' })
  lu.assertEquals({ s.config_exists, s.config_source, s:get 'BACKEND_DIR', s:origin('BACKEND_DIR').file }, {
    false, 'legacy_prefill', 'a', 'conf/dev.env',
  })
  s = settings('BACKEND_DIR=b\n', { ENVCTL_CONFIG_FILE = 'conf/dev.env' }, nil, { ['conf/dev.env'] = 'BACKEND_DIR=a\n' })
  lu.assertEquals({ s.config_exists, s.config_source, s:get 'BACKEND_DIR' }, { true, 'envctl', 'a' })
  s, repo = settings('BACKEND_DIR=b\n', { ENVCTL_CONFIG_FILE = 'conf/.envctl' }, nil, { ['conf/.envctl'] = 'BACKEND_DIR=a\n' })
  lu.assertEquals({ s.config_file, s:get 'BACKEND_DIR' }, { repo.root .. '/conf/.envctl', 'a' })
  s = settings('BACKEND_DIR=b\n', { ENVCTL_CONFIG_FILE = 'nowhere' })
  lu.assertStrContains(s.errors[1].message, 'nowhere is not there')
  s = settings(nil, nil, nil, { ['.envctl.lua'] = 'return { envctl = 1 }\n' })
  lu.assertEquals({ s.config_exists, s.configured }, { false, true })
  s = settings(nil, nil, { bundled = true }, { ['.envctl.lua'] = 'return { envctl = 1 }\n' })
  lu.assertFalse(s.configured)
end

function M.test_a_directory_in_its_place()
  local repo = fixture.repo { ['.envctl/x'] = '' }
  local s = fixture.settings(repo.roots)
  lu.assertStrContains(s.errors[1].message, 'is not a file')
  lu.assertFalse(s.config_exists)
  fixture.clean()
end

function M.test_main_services_flags_and_batch()
  local s = settings('', { BATCH = 'true' })
  lu.assertEquals(s:get 'BATCH', true)
  s = settings('', {}, { keep_plan = true, debug_auto_pack = 'crash' })
  lu.assertEquals({ s:get 'PLANNING_KEEP_PLAN', s:get 'ENVCTL_DEBUG_AUTO_PACK' }, { true, 'crash' })
end

function M.test_the_schema()
  local seen = {}
  local managed = 0
  for _, def in ipairs(schema.list) do
    lu.assertNil(seen[def.key], def.key)
    seen[def.key] = true
    lu.assertNotNil(def.doc, def.key)
    managed = managed + (def.managed and 1 or 0)
    if def.managed then
      lu.assertTrue(#def.json > 0, def.key)
      lu.assertNotNil(def.default, def.key)
    end
    if def.default ~= nil then
      lu.assertEquals(schema.parse(def, schema.text(def.default)), def.default, def.key)
    end
  end
  lu.assertEquals(managed, 23)
  for _, def in ipairs(require('envctl.config.tuning').list) do
    lu.assertNil(seen[def.key], def.key)
    seen[def.key] = true
  end
  for _, p in ipairs(schema.patterns) do
    lu.assertNotNil(p.shown)
  end
end

function M.test_the_payload()
  local s = settings('MAIN_REDIS_ENABLE=true\nBACKEND_PORT_BASE=8100\n')
  local p = require('envctl.config.payload').effective(s)
  lu.assertEquals({ p.default_mode, p.ports.backend, p.ports.dependencies.supabase.db, p.profiles.main.dependencies.redis }, {
    'main', 8100, 5432, true,
  })
  lu.assertEquals({ p.managed_keys.BACKEND_PORT_BASE, p.managed_keys.MAIN_REDIS_ENABLE }, { '8100', 'true' })
  lu.assertEquals(p.profiles.trees, {
    startup_enabled = true, backend = true, frontend = true,
    dependencies = { postgres = false, redis = false, supabase = false, n8n = false },
  })
end

function M.test_a_secret_for_browsers_stops_a_start()
  local repo = fixture.repo { ['backend/x'] = '', ['.envctl'] = [[
ENVCTL_BACKEND_START_CMD=/bin/true
# >>> envctl frontend launch env >>>
VITE_DB=${ENVCTL_SOURCE_DATABASE_URL}
# <<< envctl frontend launch env <<<
]] }
  local _, ctx = fixture.run({ 'explain-startup', '--json' }, repo.root)
  local blocker = ctx.out.document.blockers[1]
  lu.assertEquals({ ctx.out.document.decision, blocker.code, blocker.where }, { 'blocked', 'config_invalid', '.envctl:3' })
  lu.assertStrContains(blocker.message, 'would put DATABASE_URL into what browsers download')
  fixture.clean()
end

function M.test_script_layers()
  local load = require 'envctl.config.load'
  local s = settings('BACKEND_DIR=file\nFRONTEND_DIR=file\n', { FRONTEND_DIR = 'env' })
  load.add_layer(s, 'script', '.envctl.lua', { BACKEND_DIR = { value = 'script', line = 3 }, FRONTEND_DIR = { value = 'script' } })
  lu.assertEquals({ s:get 'BACKEND_DIR', s:get 'FRONTEND_DIR' }, { 'script', 'env' })
  lu.assertEquals(s:origin 'BACKEND_DIR', { layer = 'script', file = '.envctl.lua', line = 3 })
end

function M.test_nothing_is_written()
  local repo = fixture.repo { ['.envctl'] = 'A=1\n' }
  local before = fs.list(repo.root)
  fixture.settings(repo.roots)
  lu.assertEquals(fs.list(repo.root), before)
  fixture.clean()
end

return M
