--- What envctl keeps inside of a git directory: the lock of those who make and remove worktrees, the journal of what is being made,
--- and which administration directory belongs to which worktree. Git's own locks are never touched.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local err = require 'envctl.err'
local task = require 'envctl.task'
local path = require 'envctl.util.path'

local M = {}

local LOCK_WAIT_MS = 300000

--- Where our own files are.
---@param roots envctl.Roots
---@return string
function M.dir(roots)
  return roots.common_dir .. '/envctl'
end

---@param roots envctl.Roots
---@return string
function M.journal_dir(roots)
  return M.dir(roots) .. '/journal'
end

---@param roots envctl.Roots
---@return string
function M.trash_dir(roots)
  return roots.common_dir .. '/envctl-trash'
end

--- Makes a directory of ours that nobody else can use. Raises.
---@param dir string
function M.secure(dir)
  local ok, message, code = fs.secure_dir(dir)
  if not ok then
    err.raise('io_error', message, { where = dir, data = { errno = code } })
  end
end

--- A JSON object from a file, or nil.
---@param file string
---@return table?
function M.read(file)
  local text = fs.read(file, { nofollow = true })
  local doc = text and json.decode(text)
  return type(doc) == 'table' and json.strip_nulls(doc) or nil
end

---@param file string
---@param doc table
function M.write(file, doc)
  err.check(fs.write_atomic(file, json.encode(doc)))
end

--- Runs fn while nobody else makes or removes worktrees of this repository. Awaits.
---@param roots envctl.Roots
---@param fn fun(): any
function M.locked(roots, fn)
  M.secure(M.dir(roots))
  local file = M.dir(roots) .. '/worktrees.lock'
  local began, said = sys.mono_ms(), false
  local lock, message, code
  repeat
    lock, message, code = fs.flock(file)
    if not lock then
      if code ~= 'EWOULDBLOCK' then
        err.raise('io_error', message)
      end
      local waited = sys.mono_ms() - began
      if waited > LOCK_WAIT_MS then
        err.raise('busy', 'worktrees of this repository have been locked for ' .. waited // 1000 .. ' s', {
          hint = 'another envctl holds ' .. file, where = file,
        })
      elseif waited > 300 and not said then
        said = true
        sys.write(2, 'envctl: waiting for another envctl that makes or removes worktrees\n')
      end
      task.sleep(10)
    end
  until lock
  local held <close> = lock -- luacheck: ignore 211
  lock:write(json.encode_line { pid = sys.getpid() } .. '\n')
  return fn()
end

--- The administration directory of a linked worktree, from its .git file; nil when it is none of this repository.
---@param roots envctl.Roots
---@param root string
---@return string?
function M.admin_of(roots, root)
  local stat = fs.lstat(root .. '/.git')
  if not stat or stat.type ~= 'file' then
    return nil
  end
  local text = fs.read(root .. '/.git', { max = 65536, nofollow = true })
  local dir = text and text:match '^gitdir: ([^\r\n]+)'
  if not dir then
    return nil
  end
  dir = path.absolute(dir, root)
  if path.parent(dir) == roots.common_dir .. '/worktrees' then
    return dir
  end
end

--- The administration directory whose gitdir file names this worktree, for one whose own .git file is gone.
---@param roots envctl.Roots
---@param root string
---@return string?
function M.admin_naming(roots, root)
  local base = roots.common_dir .. '/worktrees'
  for _, entry in ipairs(fs.list(base) or {}) do
    local text = fs.read(base .. '/' .. entry.name .. '/gitdir', { max = 65536 })
    local file = text and text:match '^[^\r\n]+'
    if file and path.absolute(file, base .. '/' .. entry.name) == root .. '/.git' then
      return base .. '/' .. entry.name
    end
  end
end

--- What was recorded when envctl made a worktree, or nil when it did not.
---@param admin string
---@return table?
function M.provenance(admin)
  return M.read(admin .. '/envctl.json')
end

return M
