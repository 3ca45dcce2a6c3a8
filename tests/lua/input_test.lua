local lu = require 'luaunit'
local json = require 'envctl.util.json'
local input = require 'envctl.config.input'

local M = {}

local function read(text, ...)
  local given = input.new()
  if text then
    local document, why = json.decode(text)
    lu.assertNil(why, text)
    input.document(given, document)
  end
  for _, word in ipairs { ... } do
    input.assignment(given, word)
  end
  return given
end

-- JSON -> values
local GOOD = {
  { '{}', {} },
  { '{"default_mode":"trees"}', { ENVCTL_DEFAULT_MODE = 'trees' } },
  { '{"default_mode":null}', {} },
  { '{"directories":{"backend":"api","frontend":"web app"}}', { BACKEND_DIR = 'api', FRONTEND_DIR = 'web app' } },
  { '{"ports":{"backend":8100,"frontend":"9100","spacing":5}}', { BACKEND_PORT_BASE = 8100, FRONTEND_PORT_BASE = 9100, PORT_SPACING = 5 } },
  { '{"ports":{"dependencies":{"postgres":{"primary":5433},"supabase":{"db":5433}}}}', { DB_PORT = 5433 } },
  { '{"ports":{"dependencies":{"redis":{"primary":1},"n8n":{"primary":2}}}}', { REDIS_PORT = 1, N8N_PORT_BASE = 2 } },
  { '{"profiles":{"main":{"startup_enabled":false,"backend":true,"frontend":"no"}}}', {
    MAIN_STARTUP_ENABLE = false, MAIN_BACKEND_ENABLE = true, MAIN_FRONTEND_ENABLE = false,
  } },
  { '{"profiles":{"trees":{"dependencies":{"redis":true,"n8n":"TRUE"}}}}', { TREES_REDIS_ENABLE = true, TREES_N8N_ENABLE = true } },
  { '{"MAIN_REDIS_ENABLE":"true","BACKEND_PORT_BASE":"8100"}', { MAIN_REDIS_ENABLE = true, BACKEND_PORT_BASE = 8100 } },
  { '{"MAIN_REDIS_ENABLE":true,"default_mode":"trees"}', { MAIN_REDIS_ENABLE = true, ENVCTL_DEFAULT_MODE = 'trees' } },
  { '{"managed_keys":{"DB_PORT":"5433"},"ports":{"dependencies":{"postgres":{"primary":5433}}}}', { DB_PORT = 5433 } },
  { '{"ENVCTL_BACKEND_START_CMD":"run {port}"}', { ENVCTL_BACKEND_START_CMD = 'run {port}' } },
}

function M.test_good_documents()
  for _, case in ipairs(GOOD) do
    local given = read(case[1])
    lu.assertEquals(given.problems, {}, case[1])
    lu.assertEquals(given.values, case[2], case[1])
  end
end

-- JSON -> path of the problem
local BAD = {
  { '[]', '' }, { '"x"', '' }, { 'true', '' }, { '{"x":1}', 'x' }, { '{"default_mode":"sideways"}', 'default_mode' },
  { '{"default_mode":1}', 'default_mode' }, { '{"default_mode":true}', 'default_mode' }, { '{"directories":[]}', 'directories' },
  { '{"directories":"x"}', 'directories' }, { '{"directories":{"backend":""}}', 'directories.backend' },
  { '{"directories":{"backend":"/etc"}}', 'directories.backend' }, { '{"directories":{"backend":"a/../../b"}}', 'directories.backend' },
  { '{"directories":{"backend":"x\\nY=1"}}', 'directories.backend' }, { '{"directories":{"api":"x"}}', 'directories.api' },
  { '{"ports":{"backend":"abc"}}', 'ports.backend' }, { '{"ports":{"backend":8000.5}}', 'ports.backend' },
  { '{"ports":{"backend":0}}', 'ports.backend' }, { '{"ports":{"backend":99999}}', 'ports.backend' },
  { '{"ports":{"backend":-1}}', 'ports.backend' }, { '{"ports":{"backend":true}}', 'ports.backend' },
  { '{"ports":{"spacing":0}}', 'ports.spacing' }, { '{"ports":{"backend":[1]}}', 'ports.backend' },
  { '{"ports":{"dependencies":{"mysql":{"primary":1}}}}', 'ports.dependencies.mysql' },
  { '{"ports":{"dependencies":{"postgres":{"primary":1},"supabase":{"db":2}}}}', 'ports.dependencies.supabase.db' },
  { '{"profiles":{"main":{"backend":"maybe"}}}', 'profiles.main.backend' },
  { '{"profiles":{"main":{"backend":2}}}', 'profiles.main.backend' },
  { '{"profiles":{"dev":{}}}', 'profiles.dev' }, { '{"BACKEND_PORT":1}', 'BACKEND_PORT' }, { '{"REDIS_ENABLE":true}', 'REDIS_ENABLE' },
  { '{"RUN_REPO_ROOT":"/x"}', 'RUN_REPO_ROOT' }, { '{"managed_keys":{"NOPE":1}}', 'managed_keys.NOPE' },
  { '{"managed_keys":{"DB_PORT":"1"},"ports":{"dependencies":{"postgres":{"primary":2}}}}', 'ports.dependencies.postgres.primary' },
}

function M.test_bad_documents_name_the_path()
  for _, case in ipairs(BAD) do
    local given = read(case[1])
    lu.assertEquals(#given.problems, 1, case[1])
    lu.assertEquals(given.problems[1].path, case[2], case[1])
  end
  lu.assertEquals(#read('{"x":1,"y":2,"ports":{"backend":0}}').problems, 3)
end

function M.test_words()
  lu.assertEquals(read(nil, 'BACKEND_PORT_BASE=8100', 'default_mode=trees', 'profiles.main.backend=off').values, {
    BACKEND_PORT_BASE = 8100, ENVCTL_DEFAULT_MODE = 'trees', MAIN_BACKEND_ENABLE = false,
  })
  -- A word overrules what the document said.
  lu.assertEquals(read('{"ports":{"backend":8100}}', 'BACKEND_PORT_BASE=8200').values, { BACKEND_PORT_BASE = 8200 })
  for _, word in ipairs { 'hello', '=1', 'NOPE=1', 'foo=1', 'ports=1', 'BACKEND_PORT_BASE=', 'BACKEND_DIR=', 'MAIN_REDIS_ENABLE=2' } do
    lu.assertEquals(#read(nil, word).problems, 1, word)
  end
  lu.assertStrContains(read(nil, 'BAKEND_PORT_BASE=1').problems[1].hint, 'BACKEND_PORT_BASE')
end

-- Random documents end in values or in problems.
function M.test_random_documents()
  math.randomseed(4)
  local names = {
    'default_mode', 'ports', 'profiles', 'main', 'backend', 'dependencies', 'postgres', 'primary', 'DB_PORT', 'x', 'managed_keys', '',
  }
  local function value(depth)
    local pick = math.random(depth > 4 and 6 or 8)
    if pick == 1 then
      return json.null
    elseif pick == 2 then
      return math.random(0, 1) == 1
    elseif pick == 3 then
      return math.random(-5, 70000)
    elseif pick == 4 then
      return math.random() * 1e6
    elseif pick == 5 then
      return ({ 'true', 'main', '8000', '', 'ü', '\n', ('x'):rep(500) })[math.random(7)]
    elseif pick == 6 then
      return json.array { 1, 'x' }
    end
    local out = {}
    for _ = 1, math.random(0, 4) do
      out[names[math.random(#names)]] = value(depth + 1)
    end
    return out
  end
  for _ = 1, 3000 do
    local given = input.new()
    input.document(given, value(0))
    lu.assertIsTable(given.problems)
  end
end

return M
