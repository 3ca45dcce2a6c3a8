--- One conversation with the script host: the layers of a repository loaded, and everything that is asked of them afterwards.
--- Decides what a script's word is worth: every answer is checked here, in the parent.
local task = require 'envctl.task'
local json = require 'envctl.util.json'
local wire = require 'envctl.script.wire'
local marks = require 'envctl.script.marks'
local layers = require 'envctl.script.layers'
local luakeys = require 'envctl.host.luakeys'
local problems = require 'envctl.script.problems'

local M = {}

---@class envctl.script.Session
---@field entries envctl.script.Entry[]
---@field trusted boolean whether what acts may run
---@field cage envctl.ConfineReport?
local Session = {}
Session.__index = Session

--- A session for layers that were read. Starts nothing yet.
---@param entries envctl.script.Entry[]
---@param opts? {exe: string?, cpu_ms: integer?, on_print: (fun(text: string))?, trusted: boolean?}
---@return envctl.script.Session
function M.new(entries, opts)
  opts = opts or {}
  return setmetatable({
    entries = entries,
    exe = opts.exe,
    cpu_ms = opts.cpu_ms,
    on_print = opts.on_print,
    trusted = opts.trusted == true,
    names = {}, -- chunk name -> {entry, rel}
    used = {}, -- keys of overrides that were asked, in order, and by key what they changed
    queue = {},
  }, Session)
end

-- --- names and lines ------------------------------------------------------------------------------------------------

-- Lua cuts chunk names at 59 bytes, and a colon ends the name in its messages: such files get another name on the other side.
function Session:chunk_name(entry, rel)
  local shown = rel and (entry.layer == 'user' and entry.name:gsub('[^/]*$', '') .. rel or rel) or entry.name
  local name = shown
  if #name > 58 or name:find('[%c:]') then
    name = '...' .. shown:gsub('[%c:]', '_'):sub(-48)
    local n = 1
    while self.names[name] and self.names[name].shown ~= shown do
      n = n + 1
      name = '...' .. n .. shown:gsub('[%c:]', '_'):sub(-48)
    end
  end
  self.names[name] = { entry = entry, rel = rel, shown = shown }
  return name
end

local function index_of(entry, rel)
  entry.indexes = entry.indexes or {}
  local key = rel or ''
  if not entry.indexes[key] then
    local text = rel and entry.includes[rel] or entry.text
    entry.indexes[key] = luakeys.index(text or '')
  end
  return entry.indexes[key]
end

-- File and line of a path of a layer; what was included is looked up in its own file.
function Session:place(entry, path)
  local rel, from = nil, 0
  for _ = 1, 5 do
    local rest = table.move(path, from + 1, #path, 1, {})
    local line, depth, include = index_of(entry, rel):find(rest)
    local next_rel = include and require('envctl.detect.files').clean(include)
    if not next_rel or not entry.includes[next_rel] or depth == #rest then
      return rel and self.names[self:chunk_name(entry, rel)].shown or entry.name, line
    end
    rel, from = next_rel, from + depth
  end
  return entry.name, nil
end

-- A child's problem as an error object. `fallback`: where the asked function is, path: what it stands for.
function Session:failure(p, entry, fallback)
  local known = p.file and self.names[p.file]
  local file, line, message = known and known.shown, known and p.line, p.message
  if p.file and not known then -- a chunk of the script's own making
    message = problems.text(p.file, p.line, nil, message)
  end
  if not file and fallback and fallback.file then
    file, line = fallback.file, fallback.line
  elseif not file and p.path and entry then
    file, line = self:place(entry, p.path)
  end
  file = file or entry and entry.name
  local path = fallback and fallback.path or nil
  if p.path and #p.path > 0 then
    path = table.move(p.path, 1, #p.path, 1, {})
  end
  local hint = p.hint
  if p.limit then
    hint = hint or 'a call has 1 s of processor time, 2 s in all and 64 MiB; --bundled leaves scripts out'
  end
  return problems.new { file = file, line = line, path = path, message = message, hint = hint }
end

-- --- requests --------------------------------------------------------------------------------------------------------

-- One request at a time; what is asked from inside of an answer belongs to the same request.
function Session:enter()
  local me = task.current()
  if self.depth and self.depth > 0 and self.owner ~= me then
    task.await(function(resume)
      self.queue[#self.queue + 1] = resume
    end)
  end
  self.owner, self.depth = me, (self.depth or 0) + 1
  return setmetatable({}, {
    __close = function()
      self.depth = self.depth - 1
      if self.depth == 0 then
        self.owner = nil
        local resume = table.remove(self.queue, 1)
        if resume then
          self.depth = 0
          resume()
        end
      end
    end,
  })
end

function Session:pipe_handlers(extra)
  local handlers = {
    include = function(message)
      local known = self.names[message.from]
      if not known or type(message.path) ~= 'string' then
        error(problems.new { message = 'no such script' }, 0)
      end
      local rel, text, why = layers.include(known.entry, message.path)
      if not rel then
        error(problems.new { message = why }, 0)
      end
      return { name = self:chunk_name(known.entry, rel) }, text
    end,
    bundled = function(message)
      local name = type(message.name) == 'string' and message.name or ''
      local text = require('envctl.host.sys').module_text('envctl.' .. name)
      if not text then
        error(problems.new { message = 'envctl has no module "' .. name .. '" for scripts' }, 0)
      end
      return { name = 'envctl/' .. name:gsub('%.', '/') .. '.lua' }, text
    end,
    log = function(message)
      if self.on_print and type(message.log) == 'string' then
        self.on_print(wire.unpack(message.log))
      end
    end,
  }
  for name, fn in pairs(extra or {}) do
    handlers[name] = fn
  end
  return handlers
end

local function layer_request(self, entry)
  return { op = 'layer', layer = entry.layer, name = self:chunk_name(entry) }
end

local function send_layer(self, entry)
  local request = entry == self.entries[1] and self.pipe.posted or layer_request(self, entry)
  local result, problem = self.pipe:request(request, self:pipe_handlers(), entry.text)
  if not result then
    error(self:failure(problem, entry), 0)
  end
  return result
end

--- Starts the script host and gives it the first layer, so that it works while the caller gets ready to read what it says.
function Session:start()
  self.pipe = require('envctl.script.pipe').start { exe = self.exe, cpu_ms = self.cpu_ms }
  self.pipe:post(layer_request(self, self.entries[1]), self.entries[1].text)
  for _, entry in ipairs(self.entries) do
    layers.digest(entry, {})
  end
end

-- The process, with the layers in it. A call that ended it does not end what comes after: it is started again.
function Session:ready()
  if self.pipe and not self.pipe.dead then
    return
  end
  local again = self.pipe ~= nil
  if again then
    self.pipe:close()
  end
  self.pipe = require('envctl.script.pipe').start { exe = self.exe, cpu_ms = self.cpu_ms }
  for _, entry in ipairs(again and self.entries or {}) do
    if entry.data then -- not what has not run yet, nor what ended the process
      send_layer(self, entry)
    end
  end
end

-- Sends a request; raises what the script raised.
function Session:ask(request, opts)
  local guard <close> = self:enter() -- luacheck: ignore 211
  self:ready()
  local result, problem = self.pipe:request(request, self:pipe_handlers(opts.handlers))
  self.cage = self.pipe.cage
  if not result then
    local original = opts.original and opts.original(problem)
    error(original or self:failure(problem, opts.entry, opts.fallback), 0)
  end
  return opts.exact and result.value or json.strip_nulls(result.value), result.n
end

-- --- loading ---------------------------------------------------------------------------------------------------------

-- Names of files in marks, as people see them; a function of no script file stands where its key stands. True when there are
-- marks, and entry.marked has the tables that they are in.
local function settle_marks(self, entry, v, path)
  if v[marks.KIND] ~= nil then
    local fn = marks.as_fn(v)
    local known = fn and self.names[fn.file]
    if known and math.type(fn.line) == 'integer' and fn.line > 0 then
      fn.file = known.shown
    elseif fn then
      fn.file, fn.line = self:place(entry, path)
    end
    return true
  end
  local n, found = #path + 1, false
  for k, x in pairs(v) do
    if type(x) == 'table' then
      path[n] = k
      found = settle_marks(self, entry, x, path) or found
      path[n] = nil
    end
  end
  entry.marked[v] = found or nil
  return found
end

-- Words that mean something already.
local function check_commands(self, entry, errors)
  for name in pairs(type(entry.data.commands) == 'table' and entry.data.commands or {}) do
    local taken = require('envctl.cli.commands').words[name]
    if taken then
      local path = { 'commands', name }
      local file, line = self:place(entry, path)
      errors[#errors + 1] = problems.new {
        file = file, line = line, path = path, message = 'is a command of envctl', hint = 'give it another name',
      }
    end
  end
end

function Session:check_layer(entry, errors)
  check_commands(self, entry, errors)
  local shape = require('envctl.script.points').shape()
  for _, p in ipairs(require('envctl.script.schema').check(shape, entry.data, { marks = true })) do
    local file, line = self:place(entry, p.path)
    errors[#errors + 1] = problems.new { file = file, line = line, path = p.path, message = p.message, hint = p.hint }
  end
end

function Session:load_layer(entry, errors)
  local result = send_layer(self, entry)
  local data = result.data
  if data == json.null then
    data = nil
  end
  if type(data) ~= 'table' or marks.is_mark(data) then
    error(problems.new {
      file = entry.name, message = 'expected a table, got ' .. require('envctl.script.schema').got(data),
      hint = 'a script ends in: return { envctl = 1, … }',
    }, 0)
  end
  entry.marked = {}
  settle_marks(self, entry, data, {})
  entry.data = data
  entry.sha256 = layers.digest(entry)
  self:check_layer(entry, errors)
end

-- The functions of one table of every layer, in order; envctl.unset drops the lower ones, of one name or of all.
local function collect(self, key, make)
  local out = {}
  for _, entry in ipairs(self.entries) do
    local section = entry.data and entry.data[key] or {}
    if marks.is_unset(section) then
      out, section = {}, {}
    end
    for name, v in pairs(section) do
      if marks.is_unset(v) then
        out[name] = nil
      else
        out[name] = out[name] or {}
        table.insert(out[name], make(entry, name, v))
      end
    end
  end
  return out
end

local sorted = require('envctl.util.names').sorted

M.sorted = sorted

local function find_functions(self)
  self.overrides = collect(self, 'override', function(entry, name, v)
    local fn = marks.as_fn(v)
    return { point = name, id = fn.id, layer = entry.layer, file = fn.file, line = fn.line, entry = entry }
  end)
  self.hooks = collect(self, 'on', function(entry, name, v)
    local fn = marks.as_fn(v)
    local run = fn or marks.as_fn(v.run)
    return {
      event = name, id = run.id, layer = entry.layer, file = run.file, line = run.line, entry = entry,
      optional = not fn and v.optional == true, timeout_ms = not fn and v.timeout_ms or nil,
    }
  end)
  self.modules = collect(self, 'modules', function(entry, name, v)
    local functions = {}
    for key, x in pairs(v) do
      functions[key] = marks.as_fn(x)
    end
    local file, line = self:place(entry, { 'modules', name })
    return { module = name, functions = functions, layer = entry.layer, file = file, line = line, entry = entry }
  end)
  self.commands = collect(self, 'commands', function(entry, name, v)
    local run = marks.as_fn(v.run)
    return {
      name = name, id = run.id, help = type(v.help) == 'string' and v.help or nil, usage = v.usage, layer = entry.layer,
      file = run.file, line = run.line, entry = entry, timeout_ms = v.timeout_ms,
    }
  end)
end

local PLAIN = { services = true, dependencies = true, config = true }

-- What needs a function's answer is left out: it is asked for when the lower value is known.
local function without_functions(v)
  if type(v) ~= 'table' then
    return v
  end
  local out = {}
  for k, x in pairs(v) do
    if not marks.is_mark(x) then
      out[k] = without_functions(x)
    end
  end
  return out
end

local function plain_section(self, key)
  local sources = {}
  for i, entry in ipairs(self.entries) do
    sources[i] = { layer = entry.layer, data = entry.data[key], marked = entry.marked }
  end
  local merged = require('envctl.script.merge').merge({}, sources, {
    path = { key },
    keep = function()
      return true
    end,
    call = function() end,
  })
  return without_functions(merged or {})
end

local function source_of(self, entry, section)
  return {
    layer = entry.layer,
    data = entry.data and entry.data[section],
    marked = entry.marked,
    at = function(at)
      return self:place(entry, at)
    end,
  }
end

local function unused(o, path, why)
  return {
    code = 'script_unused', message = problems.text(o.file, o.line, path, why),
    where = o.line and o.file .. ':' .. o.line or o.file,
  }
end

-- What is declared for parts that this version does not have yet.
local function dead_overrides(self)
  local out, points = {}, require 'envctl.script.points'
  for _, name in ipairs(sorted(self.overrides)) do
    for _, o in ipairs(points.by_name[name].available and {} or self.overrides[name]) do
      out[#out + 1] = unused(o, { 'override', name }, 'this envctl does not ask it yet')
    end
  end
  for _, name in ipairs(sorted(self.hooks)) do
    for _, h in ipairs(points.hooks[name].available and {} or self.hooks[name]) do
      out[#out + 1] = unused(h, { 'on', name }, 'this envctl does not call it yet')
    end
  end
  for _, name in ipairs(sorted(self.modules)) do
    for _, m in ipairs(points.modules[name].available and {} or self.modules[name]) do
      out[#out + 1] = unused(m, { 'modules', name }, 'this envctl does not use it yet')
    end
  end
  return out
end

--- The scripts of the session, as the documents list them.
---@return {path: string, layer: string, sha256: string, trusted: boolean, includes: {path: string, sha256: string}[]}[]
function Session:scripts()
  local out = json.array {}
  for i, entry in ipairs(self.entries) do
    local includes = json.array {}
    for _, rel in ipairs(sorted(entry.includes)) do
      includes[#includes + 1] = { path = rel, sha256 = require('envctl.host.hash').sha256(entry.includes[rel]) }
    end
    out[i] = {
      path = entry.name, layer = entry.layer, sha256 = entry.sha256 or layers.digest(entry), includes = includes,
      trusted = not entry.repository or entry.trusted == true,
    }
  end
  return out
end

--- Runs the scripts (in the script host) and checks what they return. Raises script_invalid with the first problem and all of them
--- in data.errors, unless opts.collect is set: then they are in the result.
---@param opts? {collect: boolean?}
---@return table loaded {data, overrides, scripts, errors, warnings}
function Session:load(opts)
  if self.loaded then
    return self.loaded
  end
  local guard <close> = self:enter() -- luacheck: ignore 211
  local errors = {}
  for _, entry in ipairs(self.entries) do
    local ok, e = task.try(function()
      self:ready()
      self:load_layer(entry, errors)
    end)
    if not ok then
      errors[#errors + 1] = e
      if e.code ~= 'script_invalid' then
        error(e, 0)
      end
    end
  end
  self.cage = self.pipe and self.pipe.cage
  if self.judge then
    self.judge(self)
  end
  if #errors > 0 and not (opts and opts.collect) then
    local first = errors[1]
    if #errors > 1 then
      local list = json.array {}
      for i, e in ipairs(errors) do
        list[i] = require('envctl.err').to_table(e, json.null)
      end
      first.data = { errors = list }
    end
    error(first, 0)
  end
  local loaded = { errors = errors, scripts = self:scripts(), overrides = {}, warnings = {}, data = {} }
  if #errors == 0 then
    find_functions(self)
    loaded.overrides = self:override_list()
    loaded.warnings = dead_overrides(self)
    loaded.data = {
      commands = self:command_list(),
      hooks = sorted(self.hooks),
      modules = sorted(self.modules),
    }
    -- What few ask for is put together when they do: services, dependencies, config.
    setmetatable(loaded.data, {
      __index = function(data, key)
        if PLAIN[key] then
          data[key] = plain_section(self, key)
        end
        return rawget(data, key)
      end,
    })
    self.loaded = loaded
  end
  return loaded
end

--- Every override there is, in the order of points and layers.
---@return {point: string, layer: string, file: string, line: integer}[]
function Session:override_list()
  local out = {}
  for _, name in ipairs(sorted(self.overrides)) do
    for _, o in ipairs(self.overrides[name]) do
      out[#out + 1] = { point = name, layer = o.layer, file = o.file, line = o.line }
    end
  end
  return out
end

--- Custom commands, the highest layer's of each name.
---@return {name: string, help: string?, usage: string?, layer: string, file: string, line: integer}[]
function Session:command_list()
  local out = {}
  for i, name in ipairs(sorted(self.commands)) do
    local list = self.commands[name]
    local c = list[#list]
    out[i] = { name = name, help = c.help, usage = c.usage, layer = c.layer, file = c.file, line = c.line }
  end
  return out
end

---@class envctl.script.MergeParts
---@field origins envctl.script.Origins? go on with these
---@field keep (fun(path: (string|integer)[]): boolean)? a function at this path is a value of its own
---@field filter (fun(data: any): any)? takes parts of a layer's data out

-- Layers were checked when they were loaded; what their functions gave was not.
local function check_given(section, value, origins)
  local shape = require('envctl.script.points').shape().fields[section]
  local found = require('envctl.script.schema').check(shape, value, { marks = true, path = { section } })[1]
  if found then
    local at = origins:nearest(found.path) or {}
    error(problems.new {
      file = at.file, line = at.line, path = found.path, message = found.message, hint = found.hint,
    }, 0)
  end
end

--- Puts the scripts' values of one section on top of a lower value. Raises script_invalid for what their functions give and cannot
--- be. Awaits.
---@param section string such as services
---@param lower table<string, any>
---@param opts? envctl.script.MergeParts
---@return table<string, any> value, envctl.script.Origins origins
function Session:merge(section, lower, opts)
  opts = opts or {}
  local sources, by_layer, called = {}, {}, false
  for i, entry in ipairs(self.entries) do
    local source = source_of(self, entry, section)
    if opts.filter then
      source.data = opts.filter(source.data)
      if type(source.data) == 'table' then -- it can be a new table, that nobody looked at
        entry.marked[source.data] = true
      end
    end
    sources[i], by_layer[source.layer] = source, entry
  end
  local value, origins = require('envctl.script.merge').merge(lower, sources, {
    path = { section },
    origins = opts.origins,
    keep = opts.keep,
    call = function(fn, base, at, origin)
      called = true
      local fallback = { file = origin.file, line = origin.line, path = table.move(at, 1, #at, 1, {}) }
      return self:ask({ op = 'call', fn = fn.id, args = { base == nil and json.null or base }, n = 1, path = at }, {
        entry = by_layer[origin.layer], fallback = fallback,
      })
    end,
  })
  value = value == nil and {} or value
  if called then
    check_given(section, value, origins)
  end
  return value, origins
end

--- Services of a project with the scripts' on top. See envctl.script.services.
---@param project {name: string, mode: string, root: string, skipped: table[]?, ready_timeout_ms: integer?}
---@param lower table[] Detection
---@return table[] services Detection with origin, table[] skipped, table[] problems, table[] doubts
function Session:merge_services(project, lower)
  return require('envctl.script.services').merge(self, project, lower)
end

--- Asks an override point. Without an override, base_fn(input).
---@param point string
---@param input table
---@param base_fn fun(input: table): any the bundled decision; pure
---@param opts? {label: string?} label: first part of the paths in `changed`, such as the project
---@return any output
function Session:call(point, input, base_fn, opts)
  return require('envctl.script.acting').call(self, point, input, base_fn, opts)
end

--- What was overridden so far, with what it changed, and which modules were replaced (module = true).
---@return {point: string, module: boolean?, layer: string, file: string, line: integer, changed: table[]}[]
function Session:report()
  local out = json.array {}
  for _, o in ipairs(self:override_list()) do
    local changed = json.array {}
    for _, key in ipairs(self.used) do
      local u = self.used[key]
      if u.point == o.point and u.layer == o.layer and u.file == o.file and u.line == o.line then
        table.move(u.changed, 1, #u.changed, #changed + 1, changed)
      end
    end
    o.changed = changed
    out[#out + 1] = o
  end
  for _, name in ipairs(sorted(self.modules)) do
    local m = self.modules[name][#self.modules[name]]
    if require('envctl.script.points').modules[name].available then
      out[#out + 1] = {
        point = name, module = true, layer = m.layer, file = m.file, line = m.line, changed = json.array {},
      }
    end
  end
  return out
end

--- Runs the hooks of an event, lowest layer first. Needs trust.
---@return {layer: string, file: string, line: integer, ok: boolean, message: string?}[] results
function Session:run_hook(event, ev, host_impl)
  return require('envctl.script.acting').run_hook(self, event, ev, host_impl)
end

--- Runs a custom command. Needs trust.
---@return integer exit code
function Session:run_command(name, ctx, host_impl)
  return require('envctl.script.acting').run_command(self, name, ctx, host_impl)
end

--- The functions of a replaced module; those that it may leave out and does leave out are not there.
---@param name string
---@return table<string, function>
function Session:module(name)
  return require('envctl.script.acting').module(self, name)
end

--- Raises script_untrusted unless everything of the repository is trusted; asks on a terminal.
function Session:require_trust()
  require('envctl.script.trust').require(self)
end

--- Starts the script host again at the next question, with nothing remembered but the texts.
function Session:restart()
  if self.pipe then
    self.pipe:kill()
  end
end

--- Ends the script host. Idempotent.
function Session:close()
  if self.pipe then
    self.pipe:close()
    self.pipe = nil
  end
end

Session.__close = function(self)
  if self.pipe then
    self.pipe:kill()
    self.pipe.process:close()
    self.pipe = nil
  end
end

M.Session = Session

return M
