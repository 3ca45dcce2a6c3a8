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

add('ENVCTL_REQUIREMENTS_PORT_MISMATCH_POLICY', 'enum', 'adopt_existing', nil, 'a container on another port',
  { choices = { 'adopt_existing', 'recreate' } })
add('ENVCTL_REQUIREMENT_BIND_SAFE_CLEANUP', 'bool', false, nil, 'remove a container of ours that holds the port')
add('ENVCTL_REQUIREMENT_POSTGRES_BIND_SAFE_CLEANUP', 'bool', nil, nil, 'the same for Postgres alone')
add('ENVCTL_REQUIREMENT_REDIS_BIND_SAFE_CLEANUP', 'bool', nil, nil, 'the same for Redis alone')
add('ENVCTL_SUPABASE_TWO_PHASE_STARTUP', 'bool', true, nil, 'start the database of Supabase before the rest')
add('ENVCTL_SUPABASE_AUTO_REINIT', 'bool', false, nil, 'make volumes anew when the definition changed')
add('ENVCTL_SUPABASE_DB_START_NATIVE', 'bool', nil, nil, 'start the database of Supabase by itself')
add('ENVCTL_SUPABASE_COMPOSE_UP_TIMEOUT_SECONDS', 'number', 45, 5, 'seconds for the whole of Supabase')

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
    add(prefix .. '_PROBE_ATTEMPTS', 'int', k.probes, 1, 'looks before it counts as failed')
    add(prefix .. '_RESTART_PROBE_ATTEMPTS', 'int', nil, 1, 'the same after a restart')
    add(prefix .. '_RECREATE_PROBE_ATTEMPTS', 'int', nil, 1, 'the same after a new container')
  end
  if k.listener then
    add(prefix .. '_LISTENER_WAIT_TIMEOUT_SECONDS', 'number', k.listener, 1, 'seconds until it has to listen')
    add(prefix .. '_RESTART_ON_LISTENER_TIMEOUT', 'bool', nil, nil, 'restart it when it does not listen')
    add(prefix .. '_RECREATE_ON_RESTART_LISTENER_TIMEOUT', 'bool', nil, nil, 'make it anew when that did not help')
  end
  if k.probe_timeout then
    add(prefix .. '_PROBE_TIMEOUT_SECONDS', 'number', k.probe_timeout, 0, 'seconds for one look')
  end
  add(prefix .. '_CREATE_TIMEOUT_SECONDS', 'number', k.create, 5, 'seconds to make a container')
  if k.start then
    add(prefix .. '_START_TIMEOUT_SECONDS', 'number', k.start, 1, 'seconds to start a container')
    add(prefix .. '_START_RECOVERY_TIMEOUT_SECONDS', 'number', k.recovery, 1, 'seconds for a second attempt')
  end
  add(prefix .. '_RESTART_ON_PROBE_FAILURE', 'bool', true, nil, 'restart a container that does not answer')
  add(prefix .. '_RECREATE_ON_PROBE_FAILURE', 'bool', true, nil, 'make a container anew that does not answer')
end

add('ENVCTL_UI_COLOR', 'enum', nil, nil, 'old name of ENVCTL_UI_COLOR_MODE',
  { choices = { 'auto', 'on', 'off', 'always', 'never' } })
add('ENVCTL_UI_SPINNER_STYLE', 'string', nil, nil, 'look of the progress mark')
add('ENVCTL_UI_SPINNER_MIN_MS', 'int', 120, 0, 'milliseconds before it is drawn')
add('ENVCTL_UI_SPINNER_VERBOSE_EVENTS', 'bool', false, nil, 'more events about it')
add('ENVCTL_UI_SELECTOR_BACKEND', 'string', nil, nil, 'accepted, without effect')
add('ENVCTL_UI_PROMPT_TOOLKIT', 'bool', nil, nil, 'accepted, without effect')
add('ENVCTL_UI_TEXTUAL_SELECTOR_SUBPROCESS', 'bool', nil, nil, 'accepted, without effect')
add('ENVCTL_UI_TEXTUAL_HEADLESS_ALLOWED', 'bool', nil, nil, 'accepted, without effect')
add('ENVCTL_UI_BASIC_INPUT', 'bool', true, nil, 'accepted, without effect')
add('ENVCTL_UI_BASIC_INPUT_FD', 'bool', true, nil, 'accepted, without effect')
add('ENVCTL_UI_SELECTOR_ESCDELAY', 'int', 300, 0, 'milliseconds to tell Escape from a key sequence')
add('ENVCTL_UI_RESET_ESCAPE_MODES', 'bool', nil, nil, 'accepted, without effect')

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
