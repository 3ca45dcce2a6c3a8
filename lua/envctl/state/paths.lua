--- Where things of a repository are. compute() only computes; check() looks at what is there; prepare() makes the directories.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local path_util = require 'envctl.util.path'

local M = {}

---@class envctl.Paths
---@field runtime_root string
---@field engine_root string
---@field scope_id string
---@field scope_dir string
---@field durable_root string what has to survive a reboot
---@field durable_scope string
---@field state_file string
---@field ports_file string
---@field socket_dir string

local DEFAULT_ROOT = '/tmp/envctl-runtime'

--- Scope id: the configured one, filtered, else from the path of the control root.
---@param root string
---@param wanted string?
---@return string
function M.scope_id(root, wanted)
  if wanted and wanted:find '%S' then
    local id = wanted:lower():gsub('[^%w_-]', ''):sub(1, 64)
    return id == '' and 'repo' or id
  end
  return 'repo-' .. require('envctl.host.hash').sha256(root):sub(1, 12)
end

--- The paths of a scope below the given roots.
---@param roots {runtime_root: string, engine_root: string, durable_root: string}
---@param scope_id string
---@return envctl.Paths
function M.of_scope(roots, scope_id)
  local scope_dir, durable_scope = roots.engine_root .. '/' .. scope_id, roots.durable_root .. '/' .. scope_id
  return {
    runtime_root = roots.runtime_root,
    engine_root = roots.engine_root,
    scope_id = scope_id,
    scope_dir = scope_dir,
    durable_root = roots.durable_root,
    durable_scope = durable_scope,
    state_file = durable_scope .. '/run_state.json',
    ports_file = roots.durable_root .. '/ports.json',
    socket_dir = scope_dir,
  }
end

--- Everything from the configuration; nothing is read or written.
---@param roots {root: string}
---@param settings {get: fun(self, key: string): any}
---@return envctl.Paths
function M.compute(roots, settings)
  local configured = settings:get 'RUN_SH_RUNTIME_DIR'
  local runtime_root = configured and path_util.absolute(configured, roots.root, sys.home()) or DEFAULT_ROOT
  if runtime_root == DEFAULT_ROOT then
    -- /tmp is everybody's: a name of our own, so that two users do not meet.
    runtime_root = DEFAULT_ROOT .. '-' .. sys.geteuid()
  end
  local scope_id = M.scope_id(roots.root, settings:get 'ENVCTL_RUNTIME_SCOPE_ID')
  local engine_root = runtime_root .. '/engine'
  local durable_root = engine_root
  if not configured then
    local state_home = settings:get 'XDG_STATE_HOME'
    if not state_home or state_home:sub(1, 1) ~= '/' then
      state_home = (sys.home() or '/') .. '/.local/state'
    end
    durable_root = path_util.absolute(state_home, '/') .. '/envctl'
  end
  return M.of_scope({ runtime_root = runtime_root, engine_root = engine_root, durable_root = durable_root }, scope_id)
end

-- The directories from the outside in: what is not safe further out cannot be judged further in.
local function directories(p)
  local list = { p.runtime_root, p.engine_root, p.scope_dir }
  if p.durable_root ~= p.engine_root then
    list[4], list[5] = p.durable_root, p.durable_scope
  end
  return list
end

local REASONS = {
  ELOOP = 'is a symbolic link',
  ENOTDIR = 'is not a directory',
  EPERM = 'does not belong to you alone',
}

local function way_out(p, path)
  if path:sub(1, #p.durable_root) == p.durable_root and p.durable_root ~= p.engine_root then
    return 'move it away, or set XDG_STATE_HOME or RUN_SH_RUNTIME_DIR to a directory of your own'
  end
  return 'move it away, or set RUN_SH_RUNTIME_DIR to a directory of your own'
end

local function unsafe(p, path, message, code)
  local named = message and message:find(path, 1, true) and message or path .. ': ' .. tostring(message)
  err.raise('runtime_root_unsafe', path .. ' ' .. (REASONS[code] or 'is not safe to use'), {
    hint = way_out(p, path),
    where = path,
    data = { errno = code, detail = named },
  })
end

local UNWRITABLE = {
  EROFS = 'the file system is read-only',
  EACCES = 'permission denied',
  ENOSPC = 'the disk is full',
  EDQUOT = 'your disk quota is used up',
}

local function unwritable(p, path, message, code)
  err.raise('runtime_root_unwritable', path .. ' cannot be made: ' .. (UNWRITABLE[code] or tostring(message)), {
    hint = way_out(p, path):gsub('^move it away, or ', ''),
    where = path,
    data = { errno = code },
  })
end

local function judge(p, path, message, code)
  if REASONS[code] then
    unsafe(p, path, message, code)
  end
  unwritable(p, path, message, code)
end

--- For readers: what is there has to be ours. Nothing is made.
---@param p envctl.Paths
function M.check(p)
  local missing
  for _, path in ipairs(directories(p)) do
    if path == p.durable_root then
      missing = nil
    end
    if not missing then
      local ok, message, code = fs.secure_dir(path, { create = false })
      if not ok and code == 'ENOENT' then
        missing = path
      elseif not ok then
        unsafe(p, path, message, code)
      end
    end
  end
end

--- As check(), for those who write while time goes by: a directory that was ours at the start can be somebody's link by now.
---@param p envctl.Paths
---@return true? ok, string? message, string? code
function M.intact(p)
  local ok, e = pcall(M.check, p)
  if not ok then
    return nil, e.message, e.data and e.data.errno
  end
  return true
end

-- A link that is ours is put right; anything else in its place is left alone.
local function link(target, path)
  local now = fs.readlink(path)
  if now == target then
    return
  end
  if now then
    fs.unlink(path)
  elseif fs.lstat(path) then
    return
  end
  fs.symlink(target, path)
end

--- For the keeper: makes the directories, safely, and the links for those who look in the old places.
---@param p envctl.Paths
function M.prepare(p)
  for _, path in ipairs(directories(p)) do
    if path == p.runtime_root or path == p.durable_root then
      local ok, message, code = fs.mkdirs(path_util.parent(path), 448)
      if not ok then
        judge(p, path, message, code)
      end
    end
    local ok, message, code = fs.secure_dir(path)
    if not ok then
      judge(p, path, message, code)
    end
  end
  -- The Python tool's directory of that name is not touched.
  if not fs.lstat(p.runtime_root .. '/python-engine') then
    fs.symlink('engine', p.runtime_root .. '/python-engine')
  end
  if p.durable_scope ~= p.scope_dir then
    link(p.state_file, p.scope_dir .. '/run_state.json')
  end
end

return M
