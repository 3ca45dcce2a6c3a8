--- The script host: the process in which scripts run, and nothing else. It puts itself into the cage, then answers one request a
--- line on its pipe. It decides nothing: what a script may say is checked by the parent.
local confine = require 'envctl.host.confine'
local wire = require 'envctl.script.wire'
local export = require 'envctl.script.export'
local sandbox = require 'envctl.script.sandbox'
local show = require 'envctl.script.show'

local M = {}

local MAX_LOG_LINES, MAX_LOG = 200, 2000

---@class envctl.script.Child
local Child = {}
Child.__index = Child

local function send(message)
  local line = wire.encode(message)
  if #line > wire.ANSWER then
    line = wire.encode { error = { message = string.format('the answer is larger than %d MiB', wire.ANSWER >> 20) } }
  end
  if not confine.write(line) then
    confine.exit(0) -- nobody listens any more
  end
end

-- One message, with the text that follows it when it says how many bytes.
local function receive()
  local line, why = confine.read_line(wire.MAX_LINE)
  if not line then
    confine.exit(why and 71 or 0)
  end
  local message = wire.decode(line)
  if not message then
    confine.exit(71)
  end
  if message.bytes then
    message.text = confine.read_bytes(message.bytes) or confine.exit(71)
  end
  return message
end

-- Where a script is on the stack: its chunks are named "=file".
local function script_place()
  for level = 2, 200 do
    local info = debug.getinfo(level, 'Sl')
    if not info then
      return nil
    elseif info.source:sub(1, 1) == '=' and info.what ~= 'C' and info.currentline > 0 then
      return info.source:sub(2), info.currentline
    end
  end
end

-- A caught error as a table: message, and file and line when they are known.
local function describe(e)
  if export.is_problem(e) then
    return e
  end
  local file, line = script_place()
  if type(e) == 'table' and type(rawget(e, 'message')) == 'string' then
    e = rawget(e, 'message')
  elseif type(e) ~= 'string' then
    e = e == nil and 'error without a message' or 'an error that is a ' .. type(e)
  end
  local text = e:gsub('^envctl/[%w_/]+%.lua:%d+: ', '')
  local own_file, own_line, rest = text:match('^([^\n:]+):(%d+): (.*)$')
  if own_file and not own_file:find('^envctl/') then
    file, line, text = own_file, math.tointeger(tonumber(own_line)), rest
  end
  return { message = text:sub(1, 4000), file = file, line = line, limit = confine.tripped() }
end

-- Runs a piece of a script within its limits.
local function limited(fn, self, message)
  local left = confine.arm(math.tointeger(message.cpu_ms) or wire.CPU_MS)
  local r = table.pack(xpcall(fn, describe, self, message))
  if not r[1] and type(r[2]) ~= 'table' then -- out of memory, or an error in an error: no handler ran
    local file, line = confine.refused()
    if r[2] == 'not enough memory' then
      r[2] = {
        message = string.format('needs more than %d MiB of memory', wire.MEMORY >> 20), file = file, line = line,
        limit = 'memory',
      }
    else
      r[2] = { message = tostring(r[2]) }
    end
  end
  confine.disarm(left)
  return table.unpack(r, 1, r.n)
end

-- Asks the parent, and serves what it asks meanwhile. The answer and the text with it, or nil and the problem.
function Child:ask(request)
  send(request)
  while true do
    local message = receive()
    if message.answer ~= nil or message.error ~= nil then
      if message.error ~= nil then
        return nil, message.error
      end
      return message.answer, message.text
    end
    self:serve(message)
  end
end

local function raise_parent(problem, level)
  error(tostring(problem.message), level + 1)
end

function Child:include(from, path)
  if type(path) ~= 'string' then
    error('envctl.include takes a path, got ' .. type(path), 3)
  elseif not self.loading then
    error('envctl.include works only while the script is loaded', 3)
  end
  local answer, text = self:ask { ask = 'include', path = path, from = from }
  if not answer then
    raise_parent(text, 3)
  end
  local known = self.included[answer.name]
  if known == 'loading' then
    error(answer.name .. ' includes itself', 3)
  elseif known then
    return known.value
  end
  self.included[answer.name] = 'loading'
  local chunk, why = self:compile(answer.name, text)
  if not chunk then
    error(why, 0)
  end
  local value = chunk()
  self.included[answer.name] = { value = value }
  return value
end

-- A module of the planner for scripts that use or replace it: its text, run like a script. `loaded`: those of one script, which
-- share them as the program does.
function Child:bundled(loaded, name)
  if type(name) ~= 'string' then
    error('envctl.bundled takes a name, got ' .. type(name), 3)
  end
  name = name:gsub('^envctl%.', '')
  if not loaded[name] then
    local native = sandbox.natives[name]
    if native then
      loaded[name] = native()
    else
      local answer, text = self:ask { ask = 'bundled', name = name }
      if not answer then
        raise_parent(text, 3)
      end
      local box = setmetatable({
        bundled = function(other)
          return self:bundled(loaded, other)
        end,
      }, { __index = self.box })
      loaded[name] = assert(self:compile_in(box, answer.name, text, box.bundled))()
    end
  end
  return loaded[name]
end

-- Text only: bytecode can do anything to the VM.
function Child:compile_in(box, name, text, requires)
  local env = sandbox.environment(box)
  if requires then
    rawset(env, 'require', requires)
  end
  return load(text, '=' .. name, 't', env)
end

-- A chunk with an environment of its own.
function Child:compile(name, text)
  local loaded = {}
  local box = setmetatable({
    include = function(path)
      return self:include(name, path)
    end,
    bundled = function(module)
      return self:bundled(loaded, module)
    end,
  }, { __index = self.box })
  -- A first line for the shell is a comment, as for the lua program.
  if text:sub(1, 1) == '#' then
    text = text:gsub('^#[^\n]*', '')
  end
  self.files[name] = true
  local chunk, why = self:compile_in(box, name, text)
  if not chunk and why:find('attempt to load a binary chunk', 1, true) then
    why = name .. ':1: is compiled code; scripts are text'
  end
  return chunk, why
end

local ops = {}

function ops.layer(self, message)
  self.included, self.loading = {}, true
  local chunk, why = self:compile(message.name, message.text)
  if not chunk then
    error(why, 0)
  end
  local value = chunk()
  self.loading, self.values[message.layer] = false, value
  if value == nil then
    error(export.problem { message = 'returns nothing', hint = 'a script ends in: return { envctl = 1, … }' }, 0)
  end
  return { data = export.value(self.box.exporter, value, { functions = true }) }
end

local function args_of(message)
  local out = {}
  for i = 1, message.n or 0 do
    out[i] = wire.plain(message.args[i])
  end
  return out
end

local function function_of(self, id)
  return self.functions[id] or error('no function ' .. tostring(id), 0)
end

function ops.call(self, message)
  local fn = function_of(self, message.fn)
  local result = fn(table.unpack(args_of(message), 1, message.n or 0))
  return { value = export.value(self.box.exporter, result, { path = message.path }) }
end

-- How a module asks the override points: the parent does it as for the bundled module, and asks back for what `base` says.
function Child:decider(overridden)
  local asked = {}
  for _, point in ipairs(overridden) do
    asked[point] = true
  end
  return function(point, input, base, label)
    if not asked[point] then
      return base(input)
    end
    if type(input) == 'function' then
      input = input()
    end
    local id = self.box.exporter.add_function(function(other)
      return base(other)
    end)
    local answer, problem = self:ask {
      ask = 'decide', point = point, base = id, label = label, input = export.value(self.box.exporter, input),
    }
    self:forget_function(id)
    if not answer then
      raise_parent(problem, 2)
    end
    return wire.from_exact(answer.value, sandbox.array)
  end
end

function ops.module(self, message)
  local fn, args, values = function_of(self, message.fn), {}, {}
  for i = 1, message.n do
    args[i] = wire.from_exact(message.args[i], sandbox.array)
  end
  if message.decides then
    args[message.n + 1] = self:decider(message.decides)
  end
  local results = table.pack(fn(table.unpack(args, 1, message.n + 1)))
  for i = 1, math.min(results.n, message.results) do
    values[i] = export.value(self.box.exporter, results[i], { path = message.path })
  end
  return { value = values, n = results.n }
end

-- The functions of a point, one on top of the other. No two share a table: what passes between them is copied.
local function chain(self, message, i)
  local function data(v)
    return export.value(self.box.exporter, v, { path = message.path })
  end
  if i == 0 then
    return function(ctx)
      local answer, problem = self:ask { ask = 'base', input = ctx }
      if problem then
        raise_parent(problem, 2)
      end
      return wire.plain(answer.value)
    end
  end
  local fn, lower = function_of(self, message.fns[i]), chain(self, message, i - 1)
  return function(ctx)
    local function base(other)
      if other == nil then
        other = ctx
      end
      return lower(wire.plain(data(other)))
    end
    local output = data(fn(base, wire.plain(data(ctx))))
    if i < #message.fns then
      local _, problem = self:ask { ask = 'check', index = i, output = output }
      if problem then
        error(export.problem { message = problem.message, checked = true }, 0)
      end
    end
    return wire.plain(output)
  end
end

function ops.point(self, message)
  local result = chain(self, message, #message.fns)(wire.plain(message.input))
  return { value = export.value(self.box.exporter, result, { path = message.path }) }
end

-- host.run { "make", "seed", cwd = "backend" }: a list and names at once, taken apart.
local function command_argument(spec)
  if type(spec) ~= 'table' then
    return spec
  end
  local out = { argv = {} }
  for i = 1, rawlen(spec) do
    out.argv[i] = rawget(spec, i)
  end
  for k, v in next, spec do
    if math.type(k) ~= 'integer' then
      out[k] = v
    end
  end
  return out
end

-- What hooks and commands can do. Every function goes to the parent, which does it or not.
local function host_of(self, names)
  local host = {}
  for _, name in ipairs(names) do
    host[name] = function(...)
      local args, list = table.pack(...), {}
      if name == 'run' then
        args[1] = command_argument(args[1])
      end
      for i = 1, args.n do
        list[i] = export.value(self.box.exporter, args[i])
      end
      local answer, problem = self:ask { ask = 'host', name = name, args = list, n = args.n }
      if problem then
        raise_parent(problem, 2)
      end
      if answer.value ~= nil then
        return wire.plain(answer.value)
      end
    end
  end
  return setmetatable(host, {
    __metatable = false,
    __index = function(_, name)
      error('host.' .. tostring(name) .. ' is not there; known: ' .. table.concat(names, ', '), 2)
    end,
  })
end

function ops.act(self, message)
  local fn = function_of(self, message.fn)
  local results = table.pack(fn(wire.plain(message.input), host_of(self, message.host)))
  return { value = export.value(self.box.exporter, results[1], { path = message.path }), n = results.n }
end

-- The console's environment: what scripts have, what the parent knows, and what the scripts return.
function ops.bind(self, message)
  local loaded = {}
  self.console = sandbox.environment(setmetatable({
    include = function()
      error('envctl.include works only in a script', 2)
    end,
    bundled = function(module)
      return self:bundled(loaded, module)
    end,
  }, { __index = self.box }))
  for name, value in next, message.values do
    rawset(self.console, name, wire.plain(wire.from_exact(value, sandbox.array)))
  end
  rawset(self.console, 'script', self.values.script)
  rawset(self.console, 'scripts', self.values)
  return { value = {} }
end

local function where_is(fn)
  local info = debug.getinfo(fn, 'S')
  return info.what ~= 'C' and info.source:sub(1, 1) == '=' and info.source:sub(2) .. ':' .. info.linedefined or nil
end

function ops.eval(self, message)
  local chunk, unfinished = load('return ' .. message.text, '=console', 't', self.console)
  if not chunk then
    local why
    chunk, why = load(message.text, '=console', 't', self.console)
    if not chunk and (why:find "<eof>'?$" or unfinished:find "<eof>'?$") then
      return { value = { incomplete = true, values = {} } }
    elseif not chunk then
      error(why, 0)
    end
  end
  local results, values = table.pack(chunk()), {}
  for i = 1, results.n do
    values[i] = wire.pack(show.value(results[i], where_is))
  end
  return { value = { values = values } }
end

--- Serves one request.
function Child:serve(message)
  local op = ops[message.op]
  if not op then
    confine.exit(72)
  end
  self.box.epoch = self.box.epoch + 1
  local ok, result = limited(op, self, message)
  if not ok then
    self.loading = false
    result = { error = result }
  end
  -- What does not fit is itself an error of the script.
  local sent, why = pcall(send, result)
  if not sent then
    send { error = { message = why == 'not enough memory' and 'the answer needs too much memory' or tostring(why) } }
  end
end

function Child:forget_function(id)
  self.ids[self.functions[id]] = nil
  self.functions[id] = nil
end

local function new_child()
  local self = setmetatable({
    functions = {}, ids = {}, files = {}, included = {}, values = {}, loading = false, logged = 0, last_id = 0,
  }, Child)
  local numbers, count = setmetatable({}, { __mode = 'k' }), 0
  self.box = {
    api = wire.API,
    epoch = 0,
    running = confine.running,
    is_fatal = function(e)
      return e == 'not enough memory' or confine.tripped() ~= nil
    end,
    number_of = function(v)
      if not numbers[v] then
        count = count + 1
        numbers[v] = count
      end
      return numbers[v]
    end,
    log = function(text)
      self.logged = self.logged + 1
      if self.logged <= MAX_LOG_LINES then
        local clean = #text > MAX_LOG and text:sub(1, MAX_LOG) or text
        send { log = wire.pack(clean) }
      end
    end,
    exporter = {
      unsets = setmetatable({}, { __mode = 'k' }),
      appends = setmetatable({}, { __mode = 'k' }),
      list = sandbox.LIST,
      add_function = function(fn)
        if not self.ids[fn] then
          self.last_id = self.last_id + 1
          self.functions[self.last_id], self.ids[fn] = fn, self.last_id
        end
        local info = debug.getinfo(fn, 'S')
        local file = info.source:sub(2)
        return self.ids[fn], self.files[file] and file or '', self.files[file] and info.linedefined or 0
      end,
    },
  }
  return self
end

--- Runs until the parent closes the pipe. Never returns.
function M.main()
  local self = new_child()
  local report, message = confine.apply { memory = wire.MEMORY + (48 << 20), cpu_seconds = 120 }
  if not report then
    send { error = { message = tostring(message) } }
    confine.exit(70)
  end
  collectgarbage('incremental', 400)
  sandbox.seal_strings(self.box)
  confine.limit_memory(wire.MEMORY)
  send { hello = wire.VERSION, cage = report }
  while true do
    self:serve(receive())
  end
end

return M
