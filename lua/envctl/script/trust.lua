--- Trust: which scripts of which repository may make things happen. One file per decision below $XDG_STATE_HOME/envctl/trust, named
--- by repository, path and content: a changed byte, another path or another repository is another decision. Worktrees of one
--- repository share it.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local layers = require 'envctl.script.layers'
local wire = require 'envctl.script.wire'

local M = {}

local SCHEMA = 'envctl.trust.v1'
local MAX_RECORD = 8 << 20

local function sha256(text)
  return require('envctl.host.hash').sha256(text)
end

--- Directory of the decisions.
---@return string
function M.directory()
  local state = sys.getenv 'XDG_STATE_HOME'
  if not state or state:sub(1, 1) ~= '/' then
    state = (sys.home() or '') .. '/.local/state'
  end
  return state .. '/envctl/trust'
end

--- What stands for a repository: the resolved directory that all of its worktrees share.
---@param roots envctl.Roots
---@return string
function M.identity(roots)
  return fs.realpath(roots.common_dir) or roots.common_dir
end

local function record_path(repo, entry)
  return M.directory() .. '/' .. sha256(repo .. '\0' .. entry.rel .. '\0' .. layers.digest(entry, {}))
end

local function read_record(path)
  local text = fs.read(path, { max = MAX_RECORD, nofollow = true })
  local record = text and json.decode(text)
  if type(record) ~= 'table' or record.schema ~= SCHEMA or type(record.includes) ~= 'table' then
    return nil
  end
  local stat = fs.lstat(path)
  if not stat or stat.uid ~= sys.geteuid() then
    return nil
  end
  return record
end

--- The decision about a script with its present content, or nil. Its includes are read and compared; what was read is what a
--- session runs afterwards.
---@param repo string
---@param entry envctl.script.Entry
---@return table? record
function M.find(repo, entry)
  local record = read_record(record_path(repo, entry))
  if not record or record.repository ~= repo or record.path ~= entry.rel then
    return nil
  end
  local pinned = {}
  for _, include in ipairs(record.includes) do
    local rel = include.path
    if type(rel) ~= 'string' then
      return nil
    end
    local text = entry.includes[rel]
    if not text then
      local ok, read = pcall(layers.read, entry.root, rel, rel)
      text = ok and read or nil
    end
    if not text or sha256(text) ~= include.sha256 then
      return nil
    end
    pinned[rel] = text
  end
  if layers.digest(entry, pinned) ~= record.sha256 then
    return nil
  end
  entry.pinned = pinned
  return record
end

-- Hashes that the environment vouches for (CI).
local function from_environment()
  local set = {}
  for hex in (sys.getenv 'ENVCTL_TRUST' or ''):gmatch('%x+') do
    if #hex == 64 then
      set[hex:lower()] = true
    end
  end
  return set
end

--- Whether a script that did not run yet is trusted.
---@param repo string
---@param entry envctl.script.Entry
---@return boolean
function M.known(repo, entry)
  return not entry.repository or from_environment()[layers.digest(entry)] == true or M.find(repo, entry) ~= nil
end

--- Marks the entries of a loaded session, whose includes are known by now.
---@param session envctl.script.Session
---@param repo string
function M.judge(session, repo)
  local vouched = from_environment()
  session.trusted = true
  for _, entry in ipairs(session.entries) do
    if entry.repository then
      local digest = layers.digest(entry)
      local record = M.find(repo, entry)
      entry.trusted = vouched[digest] == true or (record ~= nil and record.sha256 == digest)
      session.trusted = session.trusted and entry.trusted
    end
  end
end

-- All decisions about a repository, newest first.
local function records_of(repo)
  local out, dir = {}, M.directory()
  for _, file in ipairs(fs.list(dir) or {}) do
    if file.name:find('^%x+$') and #file.name == 64 then
      local record = read_record(dir .. '/' .. file.name)
      if record and record.repository == repo then
        record.file = dir .. '/' .. file.name
        out[#out + 1] = record
      end
    end
  end
  table.sort(out, function(a, b)
    if a.trusted_at_ms ~= b.trusted_at_ms then
      return (a.trusted_at_ms or 0) > (b.trusted_at_ms or 0)
    end
    return a.file < b.file
  end)
  return out
end

--- The text of a script when it was trusted last, for a comparison.
---@param repo string
---@param entry envctl.script.Entry
---@return string? text, string? when
function M.last(repo, entry)
  for _, record in ipairs(records_of(repo)) do
    if record.path == entry.rel and type(record.text) == 'string' then
      return wire.unpack(record.text), record.trusted_at
    end
  end
end

--- Notes that a script with this content may act. The digest is of what was loaded.
---@param repo string
---@param entry envctl.script.Entry
---@return string path of the decision
function M.store(repo, entry)
  local includes = json.array {}
  local names = {}
  for rel in pairs(entry.includes) do
    names[#names + 1] = rel
  end
  table.sort(names)
  for i, rel in ipairs(names) do
    includes[i] = { path = rel, sha256 = sha256(entry.includes[rel]) }
  end
  local now = sys.wall_ms()
  local path = record_path(repo, entry)
  err.check(fs.mkdirs(M.directory()))
  err.check(fs.secure_dir(M.directory()))
  err.check(fs.write_atomic(path, json.encode {
    schema = SCHEMA,
    repository = repo,
    path = entry.rel,
    layer = entry.layer,
    sha256 = layers.digest(entry),
    script_sha256 = layers.digest(entry, {}),
    includes = includes,
    text = wire.pack(entry.text),
    trusted_at = sys.iso_time(now),
    trusted_at_ms = now,
    envctl = sys.version,
  }, { mode = 384 }))
  return path
end

--- Takes the trust of a repository back, for every content.
---@param repo string
---@return integer count
function M.forget(repo)
  local list = records_of(repo)
  for _, record in ipairs(list) do
    err.check(fs.unlink(record.file))
  end
  return #list
end

--- Trusts what a session has loaded.
---@param session envctl.script.Session
---@return string[] names
function M.trust(session)
  local names = {}
  for _, entry in ipairs(session.entries) do
    if entry.repository then
      M.store(session.repo, entry)
      entry.trusted = true
      names[#names + 1] = entry.name
    end
  end
  session.trusted = true
  return names
end

--- The error for scripts that are not trusted, with what to do.
---@param session envctl.script.Session
---@return envctl.Err
function M.untrusted(session)
  local list, hashes = {}, json.array {}
  for _, entry in ipairs(session.entries) do
    if entry.repository and not entry.trusted then
      list[#list + 1] = entry.name
      hashes[#hashes + 1] = { path = entry.name, sha256 = layers.digest(entry) }
    end
  end
  local verb = #list == 1 and ' is' or ' are'
  return err.new('script_untrusted', table.concat(list, ' and ') .. verb .. ' not trusted', {
    hint = 'read ' .. (#list == 1 and 'it' or 'them') .. ', then run: envctl script trust (or use --bundled to leave '
      .. (#list == 1 and 'it' or 'them') .. ' out)',
    where = list[1],
    data = { scripts = hashes },
  })
end

--- See Session:require_trust.
---@param session envctl.script.Session
function M.require(session)
  session:load()
  if session.trusted then
    return
  end
  if session.may_ask and session.may_ask() and require('envctl.script.ask').trust(session) then
    M.trust(session)
    return
  end
  error(M.untrusted(session), 0)
end

return M
