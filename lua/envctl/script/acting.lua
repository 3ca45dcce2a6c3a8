--- What a session does with functions of scripts after loading: override points, hooks, commands, modules.
local task = require 'envctl.task'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local diff = require 'envctl.script.diff'
local equal = require('envctl.util.like').equal
local points = require 'envctl.script.points'
local schema = require 'envctl.script.schema'
local problems = require 'envctl.script.problems'

local M = {}

local HOOK_MS, COMMAND_MS = 60000, 24 * 3600 * 1000
local MAX_ARGS = 20 -- of a call to the host

-- --- override points --------------------------------------------------------------------------------------------------

-- What an override returned, checked and put into shape. Raises a message that names the function.
local function checked(shape, value, at, prefix)
  local found = schema.check(shape, value)[1]
  if found then
    local path = table.move(found.path, 1, #found.path, #prefix + 1, table.move(prefix, 1, #prefix, 1, {}))
    error(problems.new {
      file = at.file, line = at.line, path = path, message = found.message, hint = found.hint,
    }, 0)
  end
  return schema.settle(shape, value, json.array)
end

local function mask_of(point)
  return point.secret and require('envctl.plan.services').is_secret or nil
end

-- Remembers what the bundled function said, and its own error: that one is not the script's.
local function bundled(input, base_fn)
  local self = { input = input }
  function self.run(other)
    local ok, result = task.try(base_fn, other)
    if not ok then
      self.failed = result
      error(result, 0)
    end
    if equal(other, input) then
      self.known, self.before = true, result
    end
    return result
  end
  function self.value()
    if not self.known then -- the override did without it: then there may be nothing to compare with
      task.try(self.run, input)
    end
    return self.before
  end
  function self.original(problem)
    if self.failed and problem.message:find(self.failed.message, 1, true) then
      return self.failed
    end
  end
  return self
end

-- Planning asks more than once; what counts is what was said last about the same thing.
local function record_changes(session, point, list, before, outputs, label)
  local below = before
  for i, o in ipairs(list) do
    local output = outputs[i]
    if output ~= nil then
      local key = table.concat({ point.name, o.layer, o.file, o.line, label or '' }, '\0')
      if not session.used[key] then
        session.used[#session.used + 1] = key
      end
      session.used[key] = {
        point = point.name, layer = o.layer, file = o.file, line = o.line,
        changed = diff.changes(below, output, { label = label, mask = mask_of(point) }),
      }
      below = output
    end
  end
end

--- The points that scripts have a word in: by an override, or by a module that decides in place of the bundled one.
---@return table<string, true>
function M.asked(session)
  local out = {}
  for name in pairs(session.overrides) do
    out[name] = true
  end
  for name in pairs(session.modules) do
    out[name] = out[name] or points.modules[name].base and true
  end
  return out
end

local function base_of(session, name, bundled_fn)
  local module = session.modules[name] and points.modules[name]
  if not module or not module.base then
    return bundled_fn
  end
  local functions = M.module(session, name)
  return function(input)
    return module.base(functions, input)
  end
end

--- See Session:call.
function M.call(session, name, input, base_fn, opts)
  local point = points.by_name[name] or error('no override point ' .. tostring(name), 2)
  session:load()
  base_fn = base_of(session, name, base_fn)
  local list = session.overrides[name]
  if not list then
    return base_fn(input)
  end
  local fns, outputs, base = json.array {}, {}, bundled(input, base_fn)
  for i, o in ipairs(list) do
    fns[i] = o.id
  end
  local top = list[#list]
  local path = { 'override', name }
  local refused -- what was said about a lower override's answer
  local output = session:ask({ op = 'point', fns = fns, input = input, path = path }, {
    entry = top.entry,
    fallback = { file = top.file, line = top.line, path = path },
    original = function(problem)
      return problem.checked and refused or base.original(problem)
    end,
    handlers = {
      base = function(message)
        local other = message.input
        return { value = base.run(equal(other, input) and input or json.strip_nulls(other)) }
      end,
      check = function(message)
        local o = list[message.index] or error('no such override', 0)
        local ok, result = task.try(checked, point.output, json.strip_nulls(message.output), o, path)
        if not ok then
          refused = result
          error(result, 0)
        end
        outputs[message.index] = result
        return {}
      end,
    },
  })
  output = checked(point.output, output, top, path)
  outputs[#list] = output
  record_changes(session, point, list, base.value(), outputs, opts and opts.label)
  return output
end

-- --- hooks and commands -----------------------------------------------------------------------------------------------

local function host_names(functions)
  local names = json.array {}
  for name in pairs(functions) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- Runs a function that may act: its value, and how many it returned. The time is for all of it, with what the host does.
local function act(session, o, path, input, host_impl, ms)
  local function run()
    local value, n = session:ask({ op = 'act', fn = o.id, input = input, host = host_names(host_impl), path = path }, {
      entry = o.entry,
      fallback = { file = o.file, line = o.line, path = path },
      handlers = {
        host = function(message)
          local fn = type(message.name) == 'string' and host_impl[message.name]
          if not fn then
            error(err.new('script_invalid', 'host.' .. tostring(message.name) .. ' is not there'), 0)
          end
          local args = type(message.args) == 'table' and message.args or {}
          local count = math.min(math.tointeger(message.n) or 0, MAX_ARGS) -- it says any number, when it was taken over
          for i = 1, count do
            args[i] = json.strip_nulls(args[i])
          end
          local values = table.pack(fn(table.unpack(args, 1, count)))
          return values.n > 0 and { value = values[1] == nil and json.null or values[1] } or {}
        end,
      },
    })
    return { value = value, n = n }
  end
  local result, why = task.timeout(ms, run)
  if why == 'timeout' then
    session.pipe:kill { message = 'took too long' }
    error(problems.new {
      code = 'hook_failed', file = o.file, line = o.line, path = path,
      message = string.format('took longer than %g s', ms / 1000), hint = 'give it a larger timeout_ms',
    }, 0)
  end
  return result.value, result.n
end

--- See Session:run_hook.
function M.run_hook(session, event, ev, host_impl)
  session:load()
  local results, list = {}, session.hooks[event]
  if not list then
    return results
  end
  session:require_trust()
  for _, o in ipairs(list) do
    local path = { 'on', event }
    local ok, e = task.try(act, session, o, path, ev or {}, host_impl, o.timeout_ms or HOOK_MS)
    local result = { layer = o.layer, file = o.file, line = o.line, ok = ok, optional = o.optional }
    if not ok then
      result.message = e.message
      if not o.optional or e.code == 'cancelled' or e.code == 'interrupted' then
        e.code = e.code == 'script_invalid' and 'hook_failed' or e.code
        error(e, 0)
      end
    end
    results[#results + 1] = result
  end
  return results
end

--- See Session:run_command.
function M.run_command(session, name, ctx, host_impl)
  session:load()
  local list = session.commands[name]
  if not list then
    local known = host_names(session.commands)
    err.raise('unknown_command', 'no script has a command "' .. name .. '"', {
      hint = require('envctl.script.suggest').hint(name, known, 'commands'),
    })
  end
  session:require_trust()
  local o = list[#list]
  local path = { 'commands', name }
  local code, n = act(session, o, path, ctx or {}, host_impl, o.timeout_ms or COMMAND_MS)
  if n == 0 or code == true then
    return 0
  elseif code == false then
    return 1
  elseif math.type(code) ~= 'integer' or code < 0 or code > 255 then
    error(problems.new {
      file = o.file, line = o.line, path = path,
      message = code == nil and 'expected an exit code 0..255, got nil'
        or 'expected an exit code 0..255 or nothing, got ' .. schema.got(code),
      hint = code == nil and 'a program that a signal ended has no code: return result.code or 1' or nil,
    }, 0)
  end
  return code
end

-- --- modules ----------------------------------------------------------------------------------------------------------

-- What a replaced module asks while it decides: the overrides, on top of what the module itself says.
local function decide_for(session)
  return function(message)
    local point = type(message.point) == 'string' and points.by_name[message.point]
    if not point or math.type(message.base) ~= 'integer' then
      error(problems.new { message = 'there is no override point ' .. tostring(message.point) }, 0)
    end
    local function base(input)
      return session:ask({ op = 'call', fn = message.base, args = { input }, n = 1 }, {})
    end
    local label = type(message.label) == 'string' and message.label or nil
    local value = session:call(point.name, json.strip_nulls(message.input), base, { label = label })
    return { value = require('envctl.script.wire').exact(value) }
  end
end

local function call_module(session, m, declared, name, args, decide)
  local fn, path = m.functions[name], { 'modules', m.module, name }
  local exact = json.array {}
  for i, a in ipairs(args) do
    exact[i] = require('envctl.script.wire').exact(a)
  end
  local values = session:ask({
    op = 'module', fn = fn.id, args = exact, n = #args, results = #declared.outputs, path = path,
    decides = decide and host_names(M.asked(session)) or nil,
  }, {
    entry = m.entry, fallback = { file = fn.file, line = fn.line, path = path }, exact = true,
    handlers = { decide = decide_for(session) },
  })
  local results = {}
  for i, shape in ipairs(declared.outputs) do
    local value = type(values) == 'table' and values[i] or nil
    if i == 1 or (value ~= nil and value ~= json.null) then
      results[i] = checked(shape, value, fn, path)
    end
  end
  return table.unpack(results, 1, #declared.outputs)
end

--- See Session:module.
function M.module(session, module)
  session:load()
  local list = session.modules[module] or error('no module ' .. module, 2)
  local m, out = list[#list], {}
  for name, declared in pairs(points.modules[module].functions) do
    if m.functions[name] then
      local count = declared.arguments
      out[name] = function(...)
        local args = table.pack(...)
        return call_module(session, m, declared, name, table.pack(table.unpack(args, 1, count)), args[count + 1])
      end
    elseif not declared.optional then
      error(problems.new {
        file = m.file, line = m.line, path = { 'modules', module, name }, message = 'is missing',
        hint = 'it is called with ' .. declared.args,
      }, 0)
    end
  end
  return out
end

return M
