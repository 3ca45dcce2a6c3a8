--- Keys that hardly anybody sets: tuning of container start-up, details of the terminal, internals of debugging. They are known,
--- so that they are checked and documented, but they load only when one is met.
local M = {}

---@type envctl.Key[]
M.list = {}
---@type table<string, envctl.Key>
M.by_key = {}

local function add(key, type, default, min, doc, more)
  local e = { key = key, type = type, default = default, min = min, doc = doc, group = 'Tuning' }
  for k, v in pairs(more or {}) do
    e[k] = v
  end
  M.list[#M.list + 1] = e
  M.by_key[key] = e
end

-- What the reference tried again and again in steps, happens once here: the first of usable, ended, and the budget.
local NOTHING = 'accepted, without effect'

add('ENVCTL_REQUIREMENTS_PORT_MISMATCH_POLICY', 'enum', 'recreate', nil,
  'a container on another port than planned: recreate makes it anew, on its volume; adopt_existing plans its port',
  { choices = { 'adopt_existing', 'recreate' } })
add('ENVCTL_REQUIREMENT_BIND_SAFE_CLEANUP', 'bool', false, nil, NOTHING)
add('ENVCTL_REQUIREMENT_POSTGRES_BIND_SAFE_CLEANUP', 'bool', nil, nil, NOTHING)
add('ENVCTL_REQUIREMENT_REDIS_BIND_SAFE_CLEANUP', 'bool', nil, nil, NOTHING)
add('ENVCTL_SUPABASE_TWO_PHASE_STARTUP', 'bool', true, nil, NOTHING)
add('ENVCTL_SUPABASE_AUTO_REINIT', 'bool', false, nil, NOTHING)
add('ENVCTL_SUPABASE_DB_START_NATIVE', 'bool', nil, nil, NOTHING)
add('ENVCTL_SUPABASE_COMPOSE_UP_TIMEOUT_SECONDS', 'number', 45, 5, NOTHING)

-- Per dependency: name, and the defaults of its knobs (nil = it has no such knob).
local KNOBS = {
  { 'POSTGRES', probes = 60, listener = 20, create = 25 },
  { 'REDIS', probes = 20, listener = 5, create = 20, start = 8, recovery = 18 },
  { 'N8N', create = 30, start = 8, recovery = 18, probe_timeout = 6, plain = true },
  { 'SUPABASE_DB', probes = 2, create = 25, start = 8, recovery = 18, probe_timeout = 10, plain = true },
}
for _, k in ipairs(KNOBS) do
  local prefix = 'ENVCTL_' .. k[1]
  if k.probes then
    add(prefix .. '_PROBE_ATTEMPTS', 'int', k.probes, 1, NOTHING)
    add(prefix .. '_RESTART_PROBE_ATTEMPTS', 'int', nil, 1, NOTHING)
    add(prefix .. '_RECREATE_PROBE_ATTEMPTS', 'int', nil, 1, NOTHING)
  end
  if k.listener then
    add(prefix .. '_LISTENER_WAIT_TIMEOUT_SECONDS', 'number', nil, 1, 'seconds until it has to be usable')
    add(prefix .. '_RESTART_ON_LISTENER_TIMEOUT', 'bool', nil, nil, NOTHING)
    add(prefix .. '_RECREATE_ON_RESTART_LISTENER_TIMEOUT', 'bool', nil, nil, NOTHING)
  end
  if k.probe_timeout then
    add(prefix .. '_PROBE_TIMEOUT_SECONDS', 'number', nil, 0, 'seconds until it has to be usable')
  end
  add(prefix .. '_CREATE_TIMEOUT_SECONDS', 'number', k.create, 5, NOTHING)
  if k.start then
    add(prefix .. '_START_TIMEOUT_SECONDS', 'number', k.start, 1, NOTHING)
    add(prefix .. '_START_RECOVERY_TIMEOUT_SECONDS', 'number', k.recovery, 1, NOTHING)
  end
  add(prefix .. '_RESTART_ON_PROBE_FAILURE', 'bool', true, nil, NOTHING)
  add(prefix .. '_RECREATE_ON_PROBE_FAILURE', 'bool', true, nil, NOTHING)
end

add('ENVCTL_UI_COLOR', 'enum', nil, nil, 'old name of ENVCTL_UI_COLOR_MODE',
  { choices = { 'auto', 'on', 'off', 'always', 'never' } })
add('ENVCTL_UI_SPINNER_STYLE', 'string', nil, nil, 'look of the progress mark')
add('ENVCTL_UI_SPINNER_MIN_MS', 'int', 120, 0, 'milliseconds before it is drawn')
add('ENVCTL_UI_SPINNER_VERBOSE_EVENTS', 'bool', false, nil, 'more events about it')
add('ENVCTL_UI_SELECTOR_BACKEND', 'string', nil, nil, NOTHING)
add('ENVCTL_UI_PROMPT_TOOLKIT', 'bool', nil, nil, NOTHING)
add('ENVCTL_UI_TEXTUAL_SELECTOR_SUBPROCESS', 'bool', nil, nil, NOTHING)
add('ENVCTL_UI_TEXTUAL_HEADLESS_ALLOWED', 'bool', nil, nil, NOTHING)
add('ENVCTL_UI_BASIC_INPUT', 'bool', true, nil, NOTHING)
add('ENVCTL_UI_BASIC_INPUT_FD', 'bool', true, nil, NOTHING)
add('ENVCTL_UI_SELECTOR_ESCDELAY', 'int', 300, 0, 'milliseconds to tell Escape from a key sequence')
add('ENVCTL_UI_RESET_ESCAPE_MODES', 'bool', nil, nil, NOTHING)

add('ENVCTL_DEBUG_UI_CAPTURE_PRINTABLE', 'bool', false, nil, 'record printable keys')
add('ENVCTL_DEBUG_UI_RING_BYTES', 'int', nil, 0, 'size of the ring of recent bytes')
add('ENVCTL_DEBUG_UI_MAX_EVENTS', 'int', nil, 0, 'most events of a session')
add('ENVCTL_DEBUG_UI_SAMPLE_RATE', 'int', nil, 1, 'record every n-th event')
add('ENVCTL_DEBUG_UI_PATH', 'path', nil, nil, 'where sessions go')
add('ENVCTL_DEBUG_UI_RUN_ID', 'string', nil, nil, 'set by envctl for its children', { env_only = true })
add('ENVCTL_DEBUG_TRACE_ID_MODE', 'string', nil, nil, 'how events are tied together')
add('ENVCTL_DEBUG_REQUIREMENTS_TRACE', 'bool', nil, nil, 'events of every step of a dependency')
add('ENVCTL_DEBUG_DOCKER_COMMAND_TIMING', 'bool', nil, nil, 'events with the time of docker commands')
add('ENVCTL_DEBUG_STARTUP_BREAKDOWN', 'bool', nil, nil, 'an event that breaks a start down')
add('ENVCTL_DEBUG_RESTORE_TIMING', 'bool', nil, nil, 'print the time of a resume')

return M
