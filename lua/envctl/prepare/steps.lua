--- Steps before the start of a service (installing packages, migrating a database): which have to run, and why. A step is done
--- when the record that is written after it says so, its inputs are what they were, and its outputs are there. Records are in the
--- scope's own directory, never in a worktree. keeper.prepare runs the steps.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local hash = require 'envctl.host.hash'

local M = {}

local SCHEMA = 'envctl.prepared.v1'
local MAX_INPUT = 256 << 20

---@class envctl.prepare.Step
---@field name string
---@field command string[]
---@field shell boolean?
---@field key string? what it does, when other words for the command do the same
---@field locate string[]? command that prints where it made what it makes, when that is elsewhere
---@field dir string? below the project; default: the directory of the service
---@field inputs string[]? files that it depends on, below its directory
---@field outputs string[]? what it makes, below its directory
---@field always boolean? runs at every start
---@field optional boolean? a failure is a warning
---@field timeout_ms integer?
---@field skip_reason string? why it does not run
---@field reason string? why it runs

---@class envctl.prepare.Record
---@field state 'running'|'done'
---@field command string the fingerprint of what was run
---@field inputs table<string, {stat: string, sha256: string}>
---@field located string? what `locate` printed
---@field marker string? of the processes, while it runs

--- The directory that a step runs in.
---@param root string of the project
---@param service {dir: string?}
---@param step envctl.prepare.Step
---@return string
function M.dir(root, service, step)
  local dir = step.dir or service.dir
  return (not dir or dir == '' or dir == '.') and root or root .. '/' .. dir
end

--- Where the record of a step is.
---@param paths envctl.Paths
---@param project string
---@param dir string
---@param step envctl.prepare.Step
---@return string
function M.record_file(paths, project, dir, step)
  local names = require 'envctl.state.names'
  local id = hash.sha256(dir .. '\0' .. step.name .. '\0' .. (step.key or '')):sub(1, 16)
  return ('%s/prepared/%s-%s.json'):format(paths.durable_scope, names.file(project), id)
end

--- The record of a step, or nil: what cannot be read is no record.
---@param file string
---@return envctl.prepare.Record?
function M.read(file)
  local text = fs.read(file)
  local record = text and json.decode(text)
  if type(record) ~= 'table' or record.schema ~= SCHEMA or type(record.inputs) ~= 'table' then
    return nil
  end
  return record
end

-- What tells a program from another version of it, without running it.
local function program_mark(word, path)
  local found = sys.which(word, { path = path })
  local stat = found and fs.stat(found)
  return stat and ('%s %d %d'):format(found, stat.size, stat.mtime_ms) or word
end

-- Package managers that are programs of another one.
local RUN_BY = { npm = 'node', pnpm = 'node', yarn = 'node' }

--- What stands for the command: its words, the program and what runs that.
---@param step envctl.prepare.Step
---@param path string? of the environment
---@return string
function M.command_mark(step, path)
  local parts = { step.shell and 'sh' or '', step.key or table.concat(step.command, '\0') }
  local first = step.shell and 'sh' or step.command[1]
  parts[#parts + 1] = program_mark(first, path)
  parts[#parts + 1] = RUN_BY[first] and program_mark(RUN_BY[first], path) or nil
  return hash.sha256(table.concat(parts, '\0')):sub(1, 32)
end

local function stat_mark(file)
  local stat = fs.stat(file)
  if not stat then
    return 'missing'
  end
  return ('%s %d %d %d'):format(stat.type, stat.size, stat.mtime_ms, stat.ino)
end

--- What the inputs are now. Those that look untouched are not read again.
---@param dir string
---@param step envctl.prepare.Step
---@param known table<string, {stat: string, sha256: string}>?
---@return table<string, {stat: string, sha256: string}>
function M.inputs(dir, step, known)
  local out = {}
  for _, name in ipairs(step.inputs or {}) do
    local file = dir .. '/' .. name
    local mark, before = stat_mark(file), known and known[name]
    if type(before) == 'table' and before.stat == mark then
      out[name] = before
    else
      local text = mark:find '^file ' and fs.read(file, { max = MAX_INPUT })
      out[name] = { stat = mark, sha256 = text and hash.sha256(text) or mark:match '^%a+' }
    end
  end
  return out
end

--- Whether outputs are missing: the reason, or nil.
---@param dir string
---@param step envctl.prepare.Step
---@param record envctl.prepare.Record?
---@return string?
function M.missing(dir, step, record)
  if record and record.located and not fs.stat(record.located) then
    return '`' .. record.located .. '` is missing'
  end
  for _, name in ipairs(step.outputs or {}) do
    local stat = fs.stat(dir .. '/' .. name)
    if not stat then
      return '`' .. name .. '` is missing'
    elseif stat.type == 'dir' and #(fs.list(dir .. '/' .. name) or {}) == 0 then
      return '`' .. name .. '` is empty'
    end
  end
end

-- Why what was done once has to be done again; nil when it has not.
local function changed(dir, step, record, path)
  if record.command ~= M.command_mark(step, path) then
    return 'the command or its program changed'
  end
  local now = M.inputs(dir, step, record.inputs)
  for _, name in ipairs(step.inputs or {}) do
    local before = record.inputs[name]
    if type(before) ~= 'table' or before.sha256 ~= now[name].sha256 then
      return '`' .. name .. '` changed'
    end
  end
end

---@class envctl.prepare.Options
---@field paths envctl.Paths
---@field path string? PATH
---@field off boolean? --no-prepare
---@field again boolean? --refresh-cache
---@field fast boolean? --fast
---@field resuming boolean?

-- Whether a step is left out, and why it is or is not.
local function decide(project, service, step, o)
  local dir = M.dir(project.root, service, step)
  if o.off then
    return true, '--no-prepare'
  elseif step.always then
    return o.resuming, o.resuming and 'a resume starts what ran already' or 'runs at every start'
  end
  local record = M.read(M.record_file(o.paths, project.name, dir, step))
  local missing = M.missing(dir, step, record)
  if missing then
    return false, missing
  elseif o.again then
    return false, '--refresh-cache'
  elseif not record then
    local made = step.outputs and step.outputs[1]
    return made ~= nil, made and '`' .. made .. '` exists' or 'did not run yet'
  elseif record.state ~= 'done' then
    return false, 'was interrupted'
  elseif o.fast then
    return true, 'done before'
  end
  local why = changed(dir, step, record, o.path)
  return why == nil, why or 'nothing changed'
end

--- Writes down for each step of the services whether it runs.
---@param project {name: string, root: string}
---@param services {dir: string?, prepare: envctl.prepare.Step[]?}[]
---@param o envctl.prepare.Options
function M.decide(project, services, o)
  for _, service in ipairs(services) do
    for _, step in ipairs(service.prepare or {}) do
      step.always = step.always or (not step.inputs and not step.outputs) or nil
      if not step.skip_reason then
        local skip, why = decide(project, service, step, o)
        step.skip_reason, step.reason = skip and why or nil, not skip and why or nil
      end
    end
  end
end

--- Writes the record of a step.
---@param file string
---@param fields table
---@return true? ok, string? message, string? code
function M.write(file, fields)
  fields.schema = SCHEMA
  local ok, message, code = fs.mkdirs(file:match '^(.*)/', 448)
  if not ok then
    return nil, message, code
  end
  return fs.write_atomic(file, json.encode(fields))
end

--- Forgets what was done for a project.
---@param paths envctl.Paths
---@param project string
function M.forget(paths, project)
  local dir = paths.durable_scope .. '/prepared'
  local start = require('envctl.state.names').file(project) .. '-'
  for _, entry in ipairs(fs.list(dir) or {}) do
    if entry.name:sub(1, #start) == start and entry.name:sub(#start + 1):find '^%x+%.json$' then
      fs.unlink(dir .. '/' .. entry.name)
    end
  end
end

return M
