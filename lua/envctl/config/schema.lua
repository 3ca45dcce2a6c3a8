--- The one table of configuration keys: type, default, other names, place in the JSON of `config`, and what it is for. The wizard,
--- `config`, `show-config`, the runtime and the documentation all read it. Keys that only tune container start-up are in
--- envctl.config.tuning and load when one of them is met.
---
--- Fields: key, type, default, aliases (tried in this order within one source), json (path in the payload), managed (written by
--- `config`), group (heading), secret, env_only, choices, min, max, doc.
--- Types: 'mode' | 'bool' | 'port' | 'int' | 'number' | 'string' | 'path' | 'dir' | 'enum' | 'command'. An empty value means
--- "not set"; of a 'command' it means "none", so that the environment can take a configured one away.
local M = {}

---@class envctl.Key
---@field key string
---@field type string
---@field default any
---@field aliases string[]?
---@field json string[][]?
---@field managed boolean?
---@field group string
---@field secret boolean?
---@field env_only boolean?
---@field choices string[]?
---@field min number?
---@field max number?
---@field doc string

---@type envctl.Key[]
M.list = {}

local function add(group, entries)
  for _, e in ipairs(entries) do
    e.group = group
    M.list[#M.list + 1] = e
  end
end

add('Managed', {
  {
    key = 'ENVCTL_DEFAULT_MODE', type = 'mode', default = 'main', json = { { 'default_mode' } },
    doc = 'mode without --main or --trees',
  },
  {
    key = 'BACKEND_DIR', type = 'dir', default = 'backend', json = { { 'directories', 'backend' } },
    doc = 'directory of the backend',
  },
  {
    key = 'FRONTEND_DIR', type = 'dir', default = 'frontend', json = { { 'directories', 'frontend' } },
    doc = 'directory of the frontend',
  },
  {
    key = 'BACKEND_PORT_BASE', type = 'port', default = 8000, json = { { 'ports', 'backend' } },
    doc = 'first port of backends',
  },
  {
    key = 'FRONTEND_PORT_BASE', type = 'port', default = 9000, json = { { 'ports', 'frontend' } },
    doc = 'first port of frontends',
  },
  {
    key = 'DB_PORT', type = 'port', default = 5432, doc = 'first port of Postgres or Supabase',
    json = { { 'ports', 'dependencies', 'postgres', 'primary' }, { 'ports', 'dependencies', 'supabase', 'db' } },
  },
  {
    key = 'REDIS_PORT', type = 'port', default = 6379, json = { { 'ports', 'dependencies', 'redis', 'primary' } },
    doc = 'first port of Redis',
  },
  {
    key = 'N8N_PORT_BASE', type = 'port', default = 5678, json = { { 'ports', 'dependencies', 'n8n', 'primary' } },
    doc = 'first port of n8n',
  },
  {
    key = 'PORT_SPACING', type = 'int', default = 20, min = 1, max = 10000, json = { { 'ports', 'spacing' } },
    doc = 'distance between worktrees with the strategy legacy_spacing',
  },
})

local DEPENDENCIES = { 'postgres', 'redis', 'supabase', 'n8n' }
M.dependencies = DEPENDENCIES

local function enable(mode, name, default, aliases, path, doc)
  return {
    key = mode:upper() .. '_' .. name .. '_ENABLE', type = 'bool', default = default, aliases = aliases,
    json = { { 'profiles', mode, table.unpack(path) } }, doc = doc,
  }
end

for _, mode in ipairs { 'main', 'trees' } do
  local main = mode == 'main'
  add('Managed', {
    enable(mode, 'STARTUP', true, nil, { 'startup_enabled' }, 'start anything at all in ' .. mode .. ' mode'),
    enable(mode, 'BACKEND', true, nil, { 'backend' }, 'start the backend in ' .. mode .. ' mode'),
    enable(mode, 'FRONTEND', true, nil, { 'frontend' }, 'start the frontend in ' .. mode .. ' mode'),
    enable(mode, 'POSTGRES', false, main and { 'POSTGRES_MAIN_ENABLE' } or nil, { 'dependencies', 'postgres' },
      'Postgres in ' .. mode .. ' mode'),
    enable(mode, 'REDIS', false, main and { 'REDIS_MAIN_ENABLE', 'REDIS_ENABLE' } or { 'REDIS_ENABLE' },
      { 'dependencies', 'redis' }, 'Redis in ' .. mode .. ' mode'),
    enable(mode, 'SUPABASE', false, main and { 'SUPABASE_MAIN_ENABLE' } or nil, { 'dependencies', 'supabase' },
      'Supabase in ' .. mode .. ' mode'),
    enable(mode, 'N8N', false, main and { 'N8N_MAIN_ENABLE', 'N8N_ENABLE' } or { 'N8N_ENABLE' },
      { 'dependencies', 'n8n' }, 'n8n in ' .. mode .. ' mode'),
  })
end
for _, e in ipairs(M.list) do
  e.managed = true
end

add('Places', {
  { key = 'RUN_REPO_ROOT', type = 'path', env_only = true, doc = 'repository to use, when there is no --repo' },
  { key = 'ENVCTL_CONFIG_FILE', type = 'path', env_only = true, doc = 'read this file instead of .envctl' },
  {
    key = 'RUN_SH_RUNTIME_DIR', type = 'path', aliases = { 'ENVCTL_RUNTIME_DIR' },
    doc = 'runtime root (default /tmp/envctl-runtime-<uid>; relative to the repository)',
  },
  {
    key = 'XDG_STATE_HOME', type = 'path', env_only = true,
    doc = 'state that survives a reboot goes to envctl/ below it',
  },
  { key = 'XDG_CONFIG_HOME', type = 'path', env_only = true, doc = 'user-wide configuration is in envctl/ below it' },
  { key = 'ENVCTL_DATA_DIR', type = 'path', doc = 'data of dependencies' },
  {
    key = 'ENVCTL_RUNTIME_SCOPE_ID', type = 'string',
    doc = 'name of this repository among others (default from its path)',
  },
  { key = 'ENVCTL_PLANNING_DIR', type = 'path', default = 'todo/plans', doc = 'plan files' },
  { key = 'TREES_DIR_NAME', type = 'path', default = 'trees', doc = 'where worktrees are made' },
})

add('Behaviour', {
  { key = 'BATCH', type = 'bool', default = false, env_only = true, doc = 'the same as --headless' },
  {
    key = 'ENVCTL_FORCE_BATCH', type = 'bool', default = false, env_only = true, doc = 'never open the setup wizard',
  },
  { key = 'PLANNING_KEEP_PLAN', type = 'bool', default = false, doc = 'the same as --keep-plan' },
  {
    key = 'ENVCTL_PORT_AVAILABILITY_MODE', type = 'enum', default = 'auto',
    choices = { 'auto', 'socket_bind', 'listener_query', 'lock_only' },
    doc = 'how a port is found to be free: by binding it (auto, socket_bind), nobody listens (listener_query), or'
      .. ' only reservations are looked at (lock_only)',
  },
  {
    key = 'ENVCTL_PORT_PREFERRED_STRATEGY', type = 'enum', default = 'project_slot',
    choices = { 'project_slot', 'legacy_spacing' },
    doc = 'which ports a worktree would like: by its name (project_slot), or by its place in the sorted list',
  },
  {
    key = 'ENVCTL_PLAN_STRICT_SELECTION', type = 'bool', default = true,
    doc = 'a selector that fits nothing is an error (always so)',
  },
  {
    key = 'ENVCTL_RUNTIME_TRUTH_MODE', type = 'enum', default = 'auto', choices = { 'auto', 'strict', 'best_effort' },
    doc = 'whether a listener has to belong to its service',
  },
  {
    key = 'ENVCTL_STATE_COMPAT_MODE', type = 'enum', default = 'compat_read_write',
    choices = { 'compat_read_write', 'compat_read_only', 'scoped_only' }, doc = 'files of the Python tool',
  },
  {
    key = 'ENVCTL_REQUIREMENTS_STRICT', type = 'bool', default = true,
    doc = 'a dependency that fails stops the start',
  },
  {
    key = 'ENVCTL_STRICT_N8N_BOOTSTRAP', type = 'bool', default = false,
    doc = 'n8n that cannot be prepared stops the start',
  },
  {
    key = 'ENVCTL_BACKEND_BOOTSTRAP_STRICT', type = 'bool', default = false,
    doc = 'a migration that fails stops the start',
  },
  {
    key = 'ENVCTL_BACKEND_MIGRATIONS_ON_STARTUP', type = 'bool', default = false,
    doc = 'run migrations when starting',
  },
  { key = 'RUN_SH_OPT_PARALLEL_TREES', type = 'bool', default = true, doc = 'start worktrees side by side' },
  { key = 'RUN_SH_OPT_PARALLEL_TREES_MAX', type = 'int', default = 4, min = 1, doc = 'how many at once' },
  { key = 'ENVCTL_REQUIREMENTS_PARALLEL', type = 'bool', default = true, doc = 'start dependencies side by side' },
  { key = 'ENVCTL_REQUIREMENTS_PARALLEL_MAX', type = 'int', default = 4, min = 1, doc = 'how many at once' },
  {
    key = 'ENVCTL_SERVICE_ATTACH_PARALLEL', type = 'bool', default = true,
    doc = 'start services of a project side by side',
  },
  { key = 'ENVCTL_SERVICE_PREP_PARALLEL', type = 'bool', default = true, doc = 'prepare services side by side' },
  { key = 'ENVCTL_DOCKER_PREWARM', type = 'bool', default = true, doc = 'wake the docker daemon first' },
  {
    key = 'ENVCTL_DOCKER_PREWARM_TIMEOUT_SECONDS', type = 'number', default = 10, min = 1,
    doc = 'how long that may take',
  },
  {
    key = 'ENVCTL_REQUIREMENT_LISTENER_TIMEOUT_SECONDS', type = 'number', default = 10, min = 0,
    doc = 'wait for a dependency to listen',
  },
  {
    key = 'ENVCTL_REQUIREMENT_BIND_MAX_RETRIES', type = 'int', default = 8, min = 1,
    doc = 'accepted, without effect: as often as a port is taken meanwhile, another one is planned',
  },
  {
    key = 'ENVCTL_SERVICE_LISTENER_TIMEOUT', type = 'number', default = 30, min = 0,
    doc = 'seconds a service may take to be ready',
  },
  {
    key = 'ENVCTL_SERVICE_TRUTH_TIMEOUT', type = 'number', default = 0.5, min = 0,
    doc = 'seconds for one look at a service',
  },
  {
    key = 'ENVCTL_SERVICE_STARTUP_GRACE_SECONDS', type = 'number', default = 15, min = 0,
    doc = 'grace before a service counts as failed',
  },
  {
    key = 'ENVCTL_SERVICE_REBOUND_MAX_DELTA', type = 'int', default = 200, min = 0,
    doc = 'how far a service may choose its own port',
  },
  {
    key = 'ENVCTL_LOG_MAX_MB', type = 'int', default = 32, min = 1, max = 1048576,
    doc = 'megabytes on disk that the log of a service may take; older lines go',
  },
  {
    key = 'ENVCTL_RUNS_KEEP', type = 'int', default = 10, min = 1,
    doc = 'runs whose logs are kept; what still runs is kept in any case',
  },
  { key = 'ENVCTL_RESUME_RESTART_MISSING', type = 'bool', default = true, doc = 'resume starts what is gone' },
  {
    key = 'ENVCTL_RESUME_AGGRESSIVE_TERMINATE', type = 'bool', default = true,
    doc = 'resume ends stale services at once',
  },
  { key = 'ENVCTL_ENABLE_HOOK_BRIDGE', type = 'bool', default = true, doc = 'hooks of scripts' },
  { key = 'ENVCTL_TRUST', type = 'string', env_only = true, doc = 'sha256 of the scripts that may run, for CI' },
  {
    key = 'ENVCTL_BLAST_ALL_ECOSYSTEM', type = 'bool', default = true,
    doc = 'blast-all also ends what only marks still name',
  },
})

add('Services', {
  { key = 'BACKEND_ENV_FILE_OVERRIDE', type = 'path', doc = 'env file whose values the backend gets' },
  { key = 'FRONTEND_ENV_FILE_OVERRIDE', type = 'path', doc = 'env file whose values the frontend gets' },
  { key = 'MAIN_ENV_FILE_PATH', type = 'path', doc = 'the same, of the backend of Main alone' },
  { key = 'MAIN_FRONTEND_ENV_FILE_PATH', type = 'path', doc = 'the same, of the frontend of Main alone' },
  {
    key = 'SKIP_LOCAL_DB_ENV', type = 'bool', default = false,
    doc = 'kept for old files: envctl never writes into env files',
  },
  {
    key = 'PYTHON_BIN', type = 'string', aliases = { 'PYTHON_CMD' },
    doc = 'python to use when a service brings none',
  },
})

add('Actions', {
  { key = 'ENVCTL_ACTION_TEST_CMD', type = 'command', doc = 'command of `test`' },
  { key = 'ENVCTL_ACTION_PR_CMD', type = 'command', doc = 'command of `pr`' },
  { key = 'ENVCTL_ACTION_COMMIT_CMD', type = 'command', doc = 'command of `commit`' },
  { key = 'ENVCTL_ACTION_ANALYZE_CMD', type = 'command', doc = 'command of `review`' },
  { key = 'ENVCTL_ACTION_MIGRATE_CMD', type = 'command', doc = 'command of `migrate`' },
  { key = 'ENVCTL_ACTION_TEST_PARALLEL', type = 'bool', default = true, doc = 'run suites side by side' },
  { key = 'ENVCTL_ACTION_TEST_PARALLEL_MAX', type = 'int', default = 4, min = 1, doc = 'how many at once' },
  { key = 'FRONTEND_TEST_RUNNER', type = 'string', doc = 'what runs the tests of the frontend' },
  { key = 'ENVCTL_PR_BASE', type = 'string', doc = 'branch that pull requests go to' },
  { key = 'ENVCTL_PR_BODY', type = 'string', doc = 'text of pull requests' },
  { key = 'ENVCTL_COMMIT_MESSAGE', type = 'string', doc = 'commit message' },
  { key = 'ENVCTL_COMMIT_MESSAGE_FILE', type = 'path', doc = 'file with the commit message' },
  {
    key = 'ENVCTL_ANALYZE_MODE', type = 'enum', default = 'single', choices = { 'single', 'grouped' },
    doc = 'one review per project, or one',
  },
  {
    key = 'ENVCTL_ANALYZE_SCOPE', type = 'enum', default = 'all', choices = { 'all', 'backend', 'frontend' },
    doc = 'what a review is about',
  },
  { key = 'ENVCTL_ACTION_TREE_DIFFS_ROOT', type = 'path', doc = 'where reviews are written' },
  { key = 'PR_REMOTE', type = 'string', default = 'origin', doc = 'remote to push to' },
})

add('Dependencies', {
  { key = 'DB_HOST', type = 'string', default = 'localhost', doc = 'host in database URLs' },
  { key = 'DB_USER', type = 'string', default = 'postgres', doc = 'database user' },
  { key = 'DB_PASSWORD', type = 'string', default = 'postgres', secret = true, doc = 'database password' },
  { key = 'DB_NAME', type = 'string', default = 'postgres', doc = 'database' },
  {
    key = 'SUPABASE_DB_PASSWORD', type = 'string', default = 'supabase-db-password', secret = true,
    doc = 'database password of Supabase',
  },
  { key = 'SUPABASE_PUBLIC_URL', type = 'string', doc = 'public URL of Supabase' },
  { key = 'SUPABASE_JWT_SECRET', type = 'string', secret = true, doc = 'secret of tokens' },
  { key = 'SUPABASE_ANON_KEY', type = 'string', secret = true, doc = 'key for anonymous use' },
  { key = 'SUPABASE_SERVICE_ROLE_KEY', type = 'string', secret = true, doc = 'key for servers' },
  { key = 'SUPABASE_DB_IMAGE', type = 'string', doc = 'image of the database' },
  { key = 'SUPABASE_AUTH_IMAGE', type = 'string', doc = 'image of the auth server' },
  { key = 'SUPABASE_KONG_IMAGE', type = 'string', doc = 'image of the gateway' },
  { key = 'DOCKER_PROJECT_NAME', type = 'string', doc = 'name of containers of main (default the directory name)' },
  { key = 'DB_CONTAINER_NAME', type = 'string', doc = 'name of the database container of main' },
  { key = 'REDIS_CONTAINER_NAME', type = 'string', doc = 'name of the Redis container of main' },
  { key = 'ENVCTL_PROJECT_PREFIX', type = 'string', doc = 'prefix of old Supabase projects' },
})

add('Terminal', {
  {
    key = 'ENVCTL_UI_BACKEND', type = 'enum', default = 'auto', doc = 'which dashboard',
    choices = { 'auto', 'textual', 'tui', 'legacy', 'lines', 'non_interactive' },
  },
  {
    key = 'ENVCTL_UI_EXPERIMENTAL_DASHBOARD', type = 'bool', default = false,
    doc = 'the full-screen dashboard with `auto`',
  },
  {
    key = 'ENVCTL_UI_SELECTOR_IMPL', type = 'enum', default = 'textual', doc = 'how to choose from lists',
    choices = { 'textual', 'planning_style', 'prompt_toolkit', 'ptk', 'legacy' },
  },
  { key = 'ENVCTL_UI_SIMPLE_MENUS', type = 'bool', doc = 'choose from plain lists' },
  {
    key = 'ENVCTL_UI_COLOR_MODE', type = 'enum', default = 'auto',
    choices = { 'auto', 'on', 'off', 'always', 'never' }, doc = 'colours',
  },
  {
    key = 'ENVCTL_UI_SPINNER_MODE', type = 'enum', default = 'auto', doc = 'progress on a terminal',
    choices = { 'auto', 'on', 'off' },
  },
  { key = 'ENVCTL_UI_SPINNER', type = 'bool', default = true, doc = 'progress on a terminal' },
  { key = 'ENVCTL_UI_RICH', type = 'bool', default = true, doc = 'decoration on a terminal' },
  { key = 'ENVCTL_UI_TEXTUAL_MOUSE', type = 'bool', default = true, doc = 'mouse in full-screen parts' },
  {
    key = 'ENVCTL_DASHBOARD_TRUTH_REFRESH_SECONDS', type = 'number', default = 1, min = 0,
    doc = 'how often the dashboard looks',
  },
  { key = 'ENVCTL_DASHBOARD_PR_LINKS', type = 'bool', default = true, doc = 'pull requests in the dashboard' },
  {
    key = 'ENVCTL_DASHBOARD_PR_CACHE_SECONDS', type = 'number', default = 60, min = 0,
    doc = 'how long those are kept',
  },
})

add('Debugging', {
  {
    key = 'ENVCTL_DEBUG_UI_MODE', type = 'enum', default = 'off', choices = { 'off', 'standard', 'deep' },
    doc = 'record a debug session',
  },
  {
    key = 'ENVCTL_DEBUG_AUTO_PACK', type = 'enum', default = 'off', choices = { 'off', 'crash', 'anomaly', 'always' },
    doc = 'when to pack by itself',
  },
  { key = 'ENVCTL_DEBUG_RETENTION_DAYS', type = 'int', default = 7, min = 0, doc = 'how long sessions are kept' },
  {
    key = 'ENVCTL_DEBUG_UI_BUNDLE_STRICT', type = 'bool', default = true,
    doc = 'refuse to pack what may hold secrets',
  },
})

---@type table<string, envctl.Key>
M.by_key = {}
-- Alias -> keys it stands for.
---@type table<string, envctl.Key[]>
M.by_alias = {}
for _, e in ipairs(M.list) do
  M.by_key[e.key] = e
  for _, alias in ipairs(e.aliases or {}) do
    M.by_alias[alias] = M.by_alias[alias] or {}
    table.insert(M.by_alias[alias], e)
  end
end

-- Keys with a name of a service or dependency in them. The first one that fits counts.
M.patterns = {
  {
    match = '^ENVCTL_REQUIREMENT_[A-Z0-9_]+_CMD$', type = 'command', shown = 'ENVCTL_REQUIREMENT_<DEPENDENCY>_CMD',
    doc = 'start a dependency this way',
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_START_CMD$', type = 'command', shown = 'ENVCTL_<SERVICE>_START_CMD',
    doc = 'start a service this way',
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_TEST_CMD$', type = 'command', shown = 'ENVCTL_<SERVICE>_TEST_CMD',
    doc = 'test a service this way',
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_RESTART$', type = 'enum', choices = { 'no', 'on-failure', 'always' },
    shown = 'ENVCTL_<SERVICE>_RESTART',
    doc = 'start a service again when it ends', default_text = 'no',
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_READY_TIMEOUT$', type = 'number', min = 0, shown = 'ENVCTL_<SERVICE>_READY_TIMEOUT',
    doc = 'seconds a service may take to be ready',
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_READY_HTTP$', type = 'string', shown = 'ENVCTL_<SERVICE>_READY_HTTP',
    doc = 'path that answers when a service is ready',
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_SCOPE$', type = 'enum', choices = { 'isolated', 'shared' },
    shown = 'ENVCTL_<DEPENDENCY>_SCOPE',
    doc = 'a dependency per project, or one for all', default_text = 'isolated',
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_PROVIDER$', type = 'enum', choices = { 'auto', 'native', 'docker', 'external', 'off' },
    shown = 'ENVCTL_<DEPENDENCY>_PROVIDER', doc = 'how a dependency runs', default_text = 'auto',
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_IMAGE$', type = 'string', shown = 'ENVCTL_<DEPENDENCY>_IMAGE',
    doc = 'image of a dependency in a container',
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_URL$', type = 'string', shown = 'ENVCTL_<DEPENDENCY>_URL',
    doc = 'where an external dependency is', secret = true,
  },
  {
    match = '^ENVCTL_[A-Z0-9_]+_PORT$', type = 'port', shown = 'ENVCTL_<SERVICE>_PORT',
    doc = 'a fixed port, taken or not',
  },
  {
    match = '^MAIN_[A-Z0-9_]+_ENABLE$', type = 'bool', shown = 'MAIN_<SERVICE>_ENABLE',
    doc = 'start a service in main mode',
  },
  {
    match = '^TREES_[A-Z0-9_]+_ENABLE$', type = 'bool', shown = 'TREES_<SERVICE>_ENABLE',
    doc = 'start a service in trees mode',
  },
}

--- The definition of a key, or nil for an unknown one. Pattern keys get a definition of their own.
---@param key string
---@return envctl.Key?
function M.find(key)
  local found = M.by_key[key]
  if found then
    return found
  end
  if key:find '^ENVCTL_' or key:find '^SUPABASE_' then
    local tuning = require('envctl.config.tuning').by_key[key]
    if tuning then
      return tuning
    end
  end
  for _, p in ipairs(M.patterns) do
    if key:find(p.match) then
      found = {
        key = key, type = p.type, choices = p.choices, min = p.min, group = 'Services', doc = p.doc,
        secret = p.secret, pattern = true,
      }
      M.by_key[key] = found
      return found
    end
  end
end

local TRUE = { ['1'] = true, ['true'] = true, yes = true, on = true }
local FALSE = { ['0'] = true, ['false'] = true, no = true, off = true }

local function whole(text)
  return text:find '^[+-]?%d[%d_]*$' and math.tointeger(tonumber((text:gsub('_', ''))))
end

local function range_text(def)
  if def.max then
    return (' from %d to %d'):format(def.min or 0, def.max)
  end
  return def.min and (' of at least ' .. def.min) or ''
end

local function between(def, value)
  return value and value >= (def.min or -math.huge) and value <= (def.max or math.huge)
end

local readers = {}

function readers.bool(_, text)
  local t = text:lower()
  if TRUE[t] then
    return true
  elseif FALSE[t] then
    return false
  end
  return nil, 'expected true or false'
end

function readers.port(_, text)
  local n = whole(text)
  if n and n >= 1 and n <= 65535 then
    return n
  end
  return nil, 'expected a port from 1 to 65535'
end

function readers.int(def, text)
  local n = whole(text)
  if between(def, n) then
    return n
  end
  return nil, 'expected a whole number' .. range_text(def)
end

function readers.number(def, text)
  local n = text:find '^[+-]?[%d.]+$' and tonumber(text)
  if between(def, n) then
    return math.tointeger(n) or n
  end
  return nil, 'expected a number' .. range_text(def)
end

function readers.enum(def, text)
  local t = text:lower()
  for _, choice in ipairs(def.choices) do
    if choice == t then
      return choice
    end
  end
  return nil, 'expected one of ' .. table.concat(def.choices, ', ')
end

function readers.mode(_, text)
  local t = text:lower()
  if t == 'main' or t == 'trees' then
    return t
  end
  return nil, 'expected main or trees'
end

local function plain(_, text)
  if text:find '%z' then
    return nil, 'a NUL byte is not allowed'
  end
  return text
end
readers.string, readers.path, readers.dir, readers.command = plain, plain, plain, plain

--- Text -> native value. An empty text is nil without a message: not set.
---@param def envctl.Key
---@param text string
---@return any value, string? message what was expected
function M.parse(def, text)
  local trimmed = text:match '^%s*(.-)%s*$'
  if trimmed == '' then
    return nil
  end
  return readers[def.type](def, trimmed)
end

--- Native value -> text of a file.
---@param value any
---@return string
function M.text(value)
  if type(value) == 'boolean' then
    return value and 'true' or 'false'
  elseif math.type(value) == 'integer' then
    return ('%d'):format(value)
  end
  return tostring(value)
end

--- Names for suggestions: keys, aliases, pattern shapes.
---@return string[]
function M.names()
  local out = {}
  for _, e in ipairs(M.list) do
    out[#out + 1] = e.key
  end
  for alias in pairs(M.by_alias) do
    out[#out + 1] = alias
  end
  for _, service in ipairs { 'BACKEND', 'FRONTEND' } do
    for _, suffix in ipairs { '_START_CMD', '_PORT', '_RESTART', '_READY_TIMEOUT', '_TEST_CMD' } do
      out[#out + 1] = 'ENVCTL_' .. service .. suffix
    end
  end
  return out
end

return M
