--- The saved state of a scope. run_state.json is the authoritative document; the other files are derived from it and can be
--- rebuilt at any time. Readers never write; the keeper is the only writer.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local err = require 'envctl.err'

local M = {}

M.SCHEMA_VERSION = 1
local MAX_BYTES = 8 * 1024 * 1024

-- Keys that are there even when nothing is known: readers may rely on them.
local SERVICE_NULLS = {
  'pid',
  'requested_port',
  'actual_port',
  'started_at',
  'exit',
  'url',
  'ready_ms',
  'identity',
  'plan_digest',
}

local function unreadable(path, why)
  err.raise('state_unreadable', path .. ': ' .. why, {
    hint = 'run `envctl stop-all` to end what is provably ours and set the file aside',
    where = path,
  })
end

local function check_map(doc, key, path)
  if doc[key] == nil then
    doc[key] = {}
  elseif type(doc[key]) ~= 'table' or (json.is_array(doc[key]) and #doc[key] > 0) then
    unreadable(path, '"' .. key .. '" is not an object')
  else
    setmetatable(doc[key], nil)
  end
end

--- Checks a decoded document. Raises state_unreadable.
function M.validate(doc, path)
  if type(doc) ~= 'table' or json.is_array(doc) then
    unreadable(path, 'is not a JSON object')
  end
  if doc.schema_version ~= M.SCHEMA_VERSION then
    unreadable(path, 'has schema version ' .. tostring(doc.schema_version) .. ', this envctl reads version '
      .. M.SCHEMA_VERSION)
  end
  if type(doc.run_id) ~= 'string' then
    unreadable(path, '"run_id" is missing')
  end
  if math.type(doc.generation or 0) ~= 'integer' then
    unreadable(path, '"generation" is not a number')
  end
  if doc.mode ~= 'main' and doc.mode ~= 'trees' then
    unreadable(path, '"mode" is neither main nor trees')
  end
  for _, key in ipairs { 'services', 'requirements', 'pointers', 'metadata' } do
    check_map(doc, key, path)
  end
  return doc
end

-- What others are signalled by, and what becomes a path, has to be what it says.
local function check_fields(doc, path)
  if not doc.run_id:find '^run%-[%w%-]+$' then
    unreadable(path, '"run_id" is no name of a run')
  end
  local problem = require('envctl.state.shape').problem(doc)
  if problem then
    unreadable(path, problem)
  end
  return doc
end

local function load(path)
  local text, message, code = fs.read(path, { max = MAX_BYTES })
  if not text then
    if code == 'ENOENT' or code == 'ENOTDIR' then
      return nil
    end
    unreadable(path, message)
  end
  local doc, why = json.decode(text)
  if doc == nil then
    unreadable(path, why)
  end
  return M.validate(json.strip_nulls(doc), path)
end

--- The saved state, or nil when there is none. Raises state_unreadable.
---@param paths table state.paths
---@return table? doc without nulls
function M.read(paths)
  local doc = load(paths.state_file)
  if doc and not doc.schema then
    unreadable(paths.state_file, 'was written by the Python engine')
  end
  return doc and check_fields(doc, paths.state_file)
end

--- As read(); without a state of ours what the Python engine left, imported (`doc.imported` is its file). For those who show and
--- stop: nothing else builds on it.
---@param paths table state.paths
---@return table? doc without nulls
function M.read_any(paths)
  local python = require 'envctl.state.python'
  local path, doc = paths.state_file, load(paths.state_file)
  if not doc then
    path = python.file(paths)
    doc = path and load(path)
  end
  return doc and check_fields(doc.schema and doc or python.import(doc, path), path)
end

-- The bundled dependencies stand beside `components` too, for old readers; `db` is Postgres.
local LEGACY = { db = 'postgres', redis = 'redis', supabase = 'supabase', n8n = 'n8n' }

local function present_requirement(requirement)
  local out, health = {}, 'healthy'
  for k, v in pairs(requirement) do
    out[k] = v
  end
  local components = {}
  for id, c in pairs(requirement.components or {}) do
    local copy = {}
    for k, v in pairs(c) do
      copy[k] = v
    end
    copy.listener_inodes = c.listener_inodes and json.array(c.listener_inodes) or nil
    components[id] = copy
    health = c.success and health or 'degraded'
  end
  for key, id in pairs(LEGACY) do
    out[key] = components[id]
  end
  out.components, out.health = components, health
  out.failures = json.array(requirement.failures)
  return out
end

--- The document with explicit nulls, ready to encode.
function M.present(doc)
  local copy = {}
  for k, v in pairs(doc) do
    copy[k] = v
  end
  copy.schema = 'envctl.run_state.v1'
  copy.keeper = doc.keeper or json.null
  copy.plan_digest = doc.plan_digest or json.null
  copy.requirements = {}
  for project, requirement in pairs(doc.requirements or {}) do
    copy.requirements[project] = present_requirement(requirement)
  end
  copy.services = {}
  for name, s in pairs(doc.services) do
    local r = {}
    for k, v in pairs(s) do
      r[k] = v
    end
    for _, k in ipairs(SERVICE_NULLS) do
      if r[k] == nil then
        r[k] = json.null
      end
    end
    if r.exit ~= json.null then
      r.exit = {
        code = s.exit.code or json.null,
        signal = s.exit.signal or json.null,
        oom = s.exit.oom,
        at = s.exit.at or json.null,
      }
    end
    r.listener_pids = json.array(s.listener_pids)
    copy.services[name] = r
  end
  return copy
end

--- Writes the authoritative document, durably.
---@return true? ok, string? message, string? code
function M.write(paths, doc)
  return fs.write_atomic(paths.state_file, json.encode(M.present(doc)))
end

--- Writes what is derived. Best effort: the first failure is returned, nothing is raised.
function M.write_derived(paths, doc)
  local files = {
    ['runtime_map.json'] = require('envctl.state.runtime_map').build(doc),
    ['ports_manifest.json'] = require('envctl.state.runtime_map').manifest(doc),
  }
  local run_dir = M.run_dir(paths, doc.run_id)
  local failure
  for name, document in pairs(files) do
    local text = json.encode(document)
    for _, dir in ipairs { paths.scope_dir, run_dir } do
      local ok, message = fs.write_atomic(dir .. '/' .. name, text, { durable = false })
      failure = failure or (not ok and message) or nil
    end
  end
  local ok, message = fs.write_atomic(run_dir .. '/run_state.json', json.encode(M.present(doc)), { durable = false })
  return failure or (not ok and message) or nil
end

--- error_report.json of the latest operation.
---@param errors envctl.Err[]
function M.write_errors(paths, run_id, errors, generated_at)
  local lines, objects = json.array {}, json.array {}
  for _, e in ipairs(errors) do
    lines[#lines + 1] = e.message
    objects[#objects + 1] = err.to_table(e, json.null)
  end
  local text = json.encode {
    schema = 'envctl.error_report.v1',
    run_id = run_id or json.null,
    errors = lines,
    failures = objects,
    generated_at = generated_at,
  }
  local ok, message = fs.write_atomic(paths.scope_dir .. '/error_report.json', text, { durable = false })
  if run_id then
    fs.write_atomic(M.run_dir(paths, run_id) .. '/error_report.json', text, { durable = false })
  end
  return ok, message
end

---@return string
function M.run_dir(paths, run_id)
  return paths.scope_dir .. '/runs/' .. run_id
end

--- Removes the latest view after everything was stopped. The runs stay.
---@return string? failure the first
function M.clear(paths)
  local failure
  for _, file in ipairs {
    paths.state_file,
    paths.scope_dir .. '/run_state.json',
    paths.scope_dir .. '/runtime_map.json',
    paths.scope_dir .. '/ports_manifest.json',
  } do
    local ok, message, code = fs.unlink(file)
    failure = failure or not ok and code ~= 'ENOENT' and message or nil
  end
  return failure
end

--- Removes temporary files that a killed writer left. Only the keeper may: it holds the scope's lock, so no other writer lives.
function M.sweep(paths)
  local dirs = { paths.scope_dir, paths.durable_scope }
  for _, entry in ipairs(fs.list(paths.scope_dir .. '/runs') or {}) do
    dirs[#dirs + 1] = paths.scope_dir .. '/runs/' .. entry.name
  end
  for _, dir in ipairs(dirs) do
    for _, entry in ipairs(fs.list(dir) or {}) do
      if entry.type == 'file' and entry.name:find '^%..+%.%d+%.tmp$' then
        fs.unlink(dir .. '/' .. entry.name)
      end
    end
  end
end

--- Moves a document that is not (or not readably) ours out of the way; never deletes it.
---@param path string
---@param why string 'corrupt' | 'python': a part of the new name
---@return string? new path, string? failure
function M.set_aside(path, why)
  local target = ('%s.%s-%s'):format(path, why, sys.iso_time(sys.wall_ms()):gsub('[-:]', ''):gsub('%..*', ''))
  local ok, message = fs.rename(path, target)
  return ok and target, message
end

return M
