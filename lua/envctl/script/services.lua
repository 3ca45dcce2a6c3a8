--- Services of scripts and services of detection: one shape becomes the other, and the scripts' changes are put on top of what was
--- found on disk.
local fs = require 'envctl.host.fs'
local json = require 'envctl.util.json'
local marks = require 'envctl.script.marks'
local merge = require 'envctl.script.merge'
local schema = require 'envctl.script.schema'
local problems = require 'envctl.script.problems'

local M = {}

local READY_MS = 30000
-- Entries that detection may or may not find: a change of one that was not found is no service of its own.
local BUNDLED = { backend = true, frontend = true }

local function list_of(t)
  return table.move(t or {}, 1, #(t or {}), 1, {})
end

local function ready_to_script(ready, listens)
  if not ready then
    return nil
  end
  local out = { timeout_ms = ready.timeout_ms, start_ms = ready.start_ms }
  if ready.kind == 'http' then
    out.http = ready.path or ready.http or '/'
  elseif ready.kind == 'log' then
    out.log = ready.pattern or ready.log
  elseif ready.kind == 'command' then
    out.command = list_of(ready.command)
  elseif ready.kind == 'tcp' then
    out.tcp = true
  elseif listens and next(out) == nil then
    return 'none'
  end
  return out
end

local function prepare_to_script(steps)
  local out = {}
  for i, step in ipairs(steps or {}) do
    out[i] = {
      name = step.name, command = list_of(step.command), dir = step.dir, shell = step.shell,
      timeout_ms = step.timeout_ms, inputs = step.inputs and list_of(step.inputs) or nil,
      outputs = step.outputs and list_of(step.outputs) or nil,
    }
  end
  return out
end

--- A service as scripts write it.
---@param d table Detection
---@return table
function M.to_script(d)
  return {
    type = d.type,
    dir = (d.dir == nil or d.dir == '') and '.' or d.dir,
    command = type(d.command) == 'table' and list_of(d.command) or d.command,
    shell = d.shell == true,
    port = d.port_fixed,
    listens = d.listens ~= false,
    env = merge.copy(d.env or {}),
    needs = list_of(d.needs),
    critical = d.critical ~= false,
    groups = d.groups and list_of(d.groups) or nil,
    prepare = prepare_to_script(d.prepare),
    ready = ready_to_script(d.ready, d.listens ~= false),
    health = merge.copy(d.health),
    restart = d.restart,
    test = merge.copy(d.test),
    stop = merge.copy(d.stop),
  }
end

--- A command of a script as an argument list.
---@param command string|string[]
---@param shell boolean? it is one text for a shell
---@return string[]
function M.words(command, shell)
  if type(command) == 'table' then
    return json.array(list_of(command))
  elseif shell then
    return json.array { command }
  end
  if not command:find('[\'"\\]') then -- the usual case, without a look at every character
    local out = json.array {}
    for word in command:gmatch '%S+' do
      out[#out + 1] = word
    end
    return out
  end
  return json.array(require('envctl.detect.command').split(command) or { command })
end

--- The settled form of a readiness that a script wrote.
---@param svc {ready: any, listens: boolean}
---@param default_ms integer?
---@return {kind: string, timeout_ms: integer?, start_ms: integer?, path: string?, pattern: string?, command: string[]?}
function M.ready(svc, default_ms)
  local r = svc.ready
  if type(r) ~= 'table' then
    r = { [r or 'tcp'] = true }
    if svc.ready == nil and not svc.listens then
      r = {}
    end
  end
  local out = { timeout_ms = r.timeout_ms or default_ms, start_ms = r.start_ms }
  if r.http then
    out.kind, out.path = 'http', r.http
  elseif r.log then
    out.kind, out.pattern = 'log', r.log
  elseif r.command then
    out.kind, out.command = 'command', M.words(r.command)
  elseif not svc.listens or r.none then
    out.kind = 'none'
  else
    out.kind = 'tcp'
  end
  return out
end

--- Variables of a script as texts.
---@param env table<string, string|integer|boolean>?
---@return table<string, string>
function M.env(env)
  local out = {}
  for name, value in pairs(env or {}) do
    out[name] = type(value) == 'string' and value or math.type(value) == 'integer' and string.format('%d', value)
      or tostring(value)
  end
  return out
end

local function prepare_of(steps)
  local out = json.array {}
  for i, step in ipairs(steps or {}) do
    out[i] = {
      name = step.name or 'step ' .. i, command = M.words(step.command, step.shell), shell = step.shell == true or nil,
      dir = step.dir, inputs = step.inputs and json.array(list_of(step.inputs)) or nil, timeout_ms = step.timeout_ms,
      outputs = step.outputs and json.array(list_of(step.outputs)) or nil,
    }
  end
  return out
end

local function with_words(t)
  local out = merge.copy(t)
  if out and out.command then
    out.command = M.words(out.command)
  end
  return out
end

-- Field of a script -> what it sets in a Detection.
local FIELDS = {
  type = function(d, s)
    d.type = s.type or d.name
  end,
  dir = function(d, s)
    d.dir = require('envctl.detect.files').clean(s.dir or '') or ''
  end,
  command = function(d, s)
    d.command, d.shell = M.words(s.command, s.shell), s.shell == true
    d.framework, d.manager = 'script', nil
  end,
  port = function(d, s)
    d.port_fixed = s.port
  end,
  listens = function(d, s)
    d.listens = s.listens ~= false
  end,
  env = function(d, s)
    d.env = M.env(s.env)
  end,
  needs = function(d, s)
    d.needs = json.array(list_of(s.needs))
  end,
  critical = function(d, s)
    d.critical = s.critical ~= false
  end,
  groups = function(d, s)
    d.groups = s.groups and json.array(list_of(s.groups)) or nil
  end,
  prepare = function(d, s)
    d.prepare = prepare_of(s.prepare)
  end,
  health = function(d, s)
    d.health = with_words(s.health)
  end,
  restart = function(d, s)
    d.restart = s.restart or 'no'
  end,
  test = function(d, s)
    d.test = with_words(s.test)
  end,
  stop = function(d, s)
    d.stop = merge.copy(s.stop)
  end,
}
FIELDS.shell = FIELDS.command

-- What has an entry in `origin`; the rest goes along with another field.
local ORIGINS = {
  'type', 'dir', 'command', 'port', 'listens', 'env', 'needs', 'critical', 'groups', 'prepare', 'ready', 'health',
  'restart', 'test', 'stop',
}

-- A service that only scripts know.
local function new_detection(name)
  return {
    name = name, type = name, dir = '', shell = false, listens = true, critical = true, restart = 'no',
    framework = 'script', env = {}, needs = json.array {}, prepare = json.array {}, origin = {},
  }
end

local OWN_ENV = { PORT = '${port}', ENVCTL_PROJECT_NAME = '${project}' }

local function apply_fields(d, svc, changed, project)
  for field, set in pairs(FIELDS) do
    if changed(field) then
      set(d, svc)
    end
  end
  if changed 'ready' or changed 'listens' or not d.ready then
    local default = d.ready and d.ready.timeout_ms or project.ready_timeout_ms or READY_MS
    d.ready = M.ready({ ready = svc.ready, listens = d.listens ~= false }, default)
  end
end

-- A field that a function changed is the function's; one that was written is of its line.
local function build(name, svc, lower, origins, project)
  local d, origin = lower and merge.copy(lower) or new_detection(name), {}
  local origin_of = origins:of_keys { 'services', name }
  apply_fields(d, svc, origin_of, project)
  for field, o in pairs(lower and lower.origin or {}) do
    origin[field] = o
  end
  for _, field in ipairs(ORIGINS) do
    local o = origin_of(field)
    if field == 'command' and not o then
      o = origin_of 'shell'
    end
    if o then
      origin[field] = { layer = o.layer, file = o.file, line = o.line }
    end
  end
  d.origin = origin
  if not lower then
    for key, value in pairs(OWN_ENV) do
      if d.listens or key ~= 'PORT' then
        d.env[key] = d.env[key] or value
      end
    end
  end
  return d
end

-- --- which services there are -----------------------------------------------------------------------------------------

local function contains(list, value)
  for _, v in ipairs(list) do
    if v == value then
      return true
    end
  end
  return false
end

local function text_of(origin)
  if origin and origin.file then
    return origin.line and origin.file .. ':' .. origin.line or origin.file
  end
  return 'a script'
end

--- What an enable_if has against a project; nil when it holds. It can be a function of the script. Awaits; raises script errors.
---@param session envctl.script.Session
---@param path (string|integer)[] where it stands
---@param condition string|table|nil
---@param origins table
---@param project {name: string, mode: string, root: string, files: string?}
---@return string? why
function M.unmet(session, path, condition, origins, project)
  if condition == nil then
    return nil
  end
  if type(condition) == 'string' then
    if not fs.stat((project.files or project.root) .. '/' .. condition) then
      return 'there is no `' .. condition .. '`'
    end
    return nil
  end
  local fn = marks.as_fn(condition)
  local input = { project = { name = project.name, mode = project.mode, root = project.root } }
  local answer = session:ask({ op = 'call', fn = fn.id, args = { input }, n = 1, path = path }, {
    entry = session.entries[#session.entries], fallback = { file = fn.file, line = fn.line, path = path },
  })
  if answer ~= nil and type(answer) ~= 'boolean' then
    error(problems.new {
      file = fn.file, line = fn.line, path = path, message = 'expected true or false, got ' .. schema.got(answer),
    }, 0)
  end
  if not answer then
    return 'switched off by ' .. text_of(origins:of(path))
  end
end

-- Why a service is left out of this project, or nil.
local function excluded(session, name, svc, origins, project)
  if svc.modes and #svc.modes > 0 and not contains(svc.modes, project.mode) then
    return 'is only for ' .. table.concat(svc.modes, ' and ') .. ' mode'
  end
  return M.unmet(session, { 'services', name, 'enable_if' }, svc.enable_if, origins, project)
end

-- Scripts that change an entry that was not found are left out for that entry.
local function only_real(lower, known)
  return function(data)
    if type(data) ~= 'table' or marks.is_mark(data) then
      return data
    end
    local out = {}
    for name, v in pairs(data) do
      local complete = lower[name] ~= nil or (type(v) == 'table' and not marks.is_mark(v) and v.command ~= nil)
        or (not known[name] and not BUNDLED[name])
      if complete or marks.is_unset(v) then
        out[name] = v
      end
    end
    return out
  end
end

-- Entries of scripts that are left out so, as something to say.
local function changed_only(session, out, lower, merged, skipped)
  local said = {}
  for _, s in ipairs(skipped) do
    said[s.name] = true
  end
  for _, entry in ipairs(session.entries) do
    local own = entry.data and entry.data.services or {}
    for name, v in pairs(marks.is_mark(own) and {} or own) do
      if not lower[name] and not (merged and merged[name]) and not marks.is_unset(v) and not said[name] then
        local file, line = session:place(entry, { 'services', name })
        local where = text_of { file = file, line = line }
        out[#out + 1] = {
          name = name, reason = 'was not found on disk, and ' .. where .. ' only changes it', enabled = true,
        }
        said[name] = true
      end
    end
  end
end

local function check_command(name, svc, origins)
  if svc.command == nil then
    local at = origins:of { 'services', name }
    error(problems.new {
      file = at and at.file, line = at and at.line, path = { 'services', name }, message = '"command" is missing',
      hint = 'such as command = "python3 main.py --port ${port}"',
    }, 0)
  end
end

-- What only a shell understands, as words of a command that none runs; and words in the manner of others.
local SHELL_WORDS = {
  ['&&'] = true, ['||'] = true, ['|'] = true, [';'] = true, ['&'] = true, ['>'] = true, ['>>'] = true, ['<'] = true,
  ['2>&1'] = true,
}

local function not_meant(word)
  if SHELL_WORDS[word] then
    return ('no shell runs the command: `%s` is an argument of it'):format(word), 'set shell = true for one'
  end
  local variable = word:match '^%$([%a_][%w_]*)$' or word:match '^%S+=%$([%a_][%w_]*)$'
  if variable then
    return ('no shell runs the command: `$%s` stays as it is'):format(variable),
      variable == 'PORT' and 'write ${port}' or 'write ${env.' .. variable .. '}, or set shell = true'
  elseif word:find '^{port}$' or word:find '[^$]{port}' then
    return '`{port}` stays as it is', 'scripts write ${port}'
  end
end

-- What is hardly meant as it is written.
local function doubts(name, d, origins)
  local at = origins:of { 'services', name, 'command' }
  if not at or d.shell then
    return nil
  end
  for _, word in ipairs(d.command) do
    local message, hint = not_meant(word)
    if message then
      local e = problems.new {
        code = 'script_command', file = at.file, line = at.line, path = { 'services', name, 'command' },
        message = message, hint = hint,
      }
      return { code = e.code, message = e.message, hint = e.hint, where = e.where, service = name }
    end
  end
end

-- Who has no port cannot be asked on it.
local function check_listens(name, svc, origins)
  for _, field in ipairs(svc.listens == false and { 'ready', 'health' } or {}) do
    local how = svc[field]
    local asks = how == 'tcp' and 'tcp' or type(how) == 'table' and (how.http and 'http' or how.tcp and 'tcp')
    if asks then
      local at = origins:of { 'services', name, field } or origins:of { 'services', name }
      error(problems.new {
        file = at and at.file, line = at and at.line, path = { 'services', name, field },
        message = asks .. ' asks on the port, but listens = false',
        hint = 'take one of them out; log or command can tell as well',
      }, 0)
    end
  end
end

local function missing_dir(name, d, origins, project)
  local at = origins:of { 'services', name, 'dir' }
  if at and d.dir ~= '' and (fs.stat((project.files or project.root) .. '/' .. d.dir) or {}).type ~= 'dir' then
    local e = problems.new {
      code = 'service_dir_missing', file = at.file, line = at.line, path = { 'services', name, 'dir' },
      message = '"' .. d.dir .. '" is not a directory in ' .. project.root, hint = 'correct it, or use enable_if',
    }
    return { code = e.code, message = e.message, hint = e.hint, where = e.where, service = name }
  end
end

-- The names, lower ones first in their order, then the scripts' own, sorted.
local function order_of(lower_list, merged)
  local out, seen = {}, {}
  for _, d in ipairs(lower_list) do
    if merged[d.name] then
      out[#out + 1] = d.name
      seen[d.name] = true
    end
  end
  local own = {}
  for name in pairs(merged) do
    if not seen[name] then
      own[#own + 1] = name
    end
  end
  table.sort(own)
  table.move(own, 1, #own, #out + 1, out)
  return out
end

local function override_detection(session, project, lower_map, origins)
  local input = { project = { name = project.name, mode = project.mode, root = project.root } }
  local list = session.overrides['detect.services']
  if not list then
    return lower_map
  end
  local result = session:call('detect.services', input, function()
    return merge.copy(lower_map)
  end, { label = project.name })
  local top = list[#list]
  local origin = { layer = top.layer, file = top.file, line = top.line }
  for name, svc in pairs(result) do
    for field, value in pairs(svc) do
      if not (lower_map[name] and merge.same(lower_map[name][field], value)) then
        origins:touch({ 'services', name, field }, origin)
      end
    end
    for field in pairs(lower_map[name] or {}) do
      if svc[field] == nil then
        origins:touch({ 'services', name, field }, origin)
      end
    end
  end
  for name in pairs(lower_map) do
    if result[name] == nil then
      origins:touch({ 'services', name }, origin)
    end
  end
  return result
end

--- Services of a project with the scripts' on top.
---@param session envctl.script.Session
---@param project {name: string, mode: string, root: string, files: string?, skipped: table[]?, ready_timeout_ms: integer?}
--- files: where they are now, when the project is not there yet
---@param lower_list table[] Detection
---@return table[] services Detection, table[] skipped {name, reason, enabled}, table[] problems error objects as data
---@return table[] doubts what is hardly meant as it is written, in the same form
function M.merge(session, project, lower_list)
  session:load()
  local lower, lower_map, known = {}, {}, {}
  for _, d in ipairs(lower_list) do
    lower[d.name], lower_map[d.name] = d, M.to_script(d)
  end
  for _, s in ipairs(project.skipped or {}) do
    known[s.name] = true
  end
  local origins = merge.origins()
  local below = override_detection(session, project, lower_map, origins)
  local merged = session:merge('services', below, {
    origins = origins,
    filter = only_real(below, known),
    keep = function(path)
      return path[3] == 'enable_if'
    end,
  })
  local services, skipped, found, doubtful = {}, {}, {}, {}
  for _, name in ipairs(order_of(lower_list, merged)) do
    local svc = merged[name]
    check_command(name, svc, origins)
    check_listens(name, svc, origins)
    local why = excluded(session, name, svc, origins, project)
    if why then
      skipped[#skipped + 1] = { name = name, reason = why, enabled = false }
    else
      local d = build(name, svc, lower[name], origins, project)
      services[#services + 1] = d
      found[#found + 1] = missing_dir(name, d, origins, project)
      doubtful[#doubtful + 1] = doubts(name, d, origins)
    end
  end
  for _, d in ipairs(lower_list) do
    if not merged[d.name] then
      skipped[#skipped + 1] = {
        name = d.name, reason = 'taken out by ' .. text_of(origins:of { 'services', d.name }), enabled = false,
      }
    end
  end
  changed_only(session, skipped, below, merged, project.skipped or {})
  table.sort(skipped, function(a, b)
    return a.name < b.name
  end)
  return services, skipped, found, doubtful
end

return M
