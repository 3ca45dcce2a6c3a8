--- Where removed worktrees go. A removal renames the tree and its administration directory, so that the index, an operation in
--- progress and the reflog come back as they were, and pins every object that only they name. What was interrupted is finished by
--- the next one who looks: a record is written before anything moves.
local fs = require 'envctl.host.fs'
local git = require 'envctl.host.git'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local path = require 'envctl.util.path'
local gitcmd = require 'envctl.repo.gitcmd'
local meta = require 'envctl.repo.meta'

local M = {}

M.KEEP_MS = 7 * 24 * 3600 * 1000
local MAX_FILE = 64 * 1024 * 1024
local PINS = 'refs/envctl/trash/'

---@class envctl.TrashRecord
---@field id string
---@field project string
---@field path string where the tree was
---@field tree string where it is now
---@field admin_name string? of its administration directory
---@field branch string?
---@field head string?
---@field ref string what pins its objects
---@field at string
---@field at_ms integer
---@field reason string
---@field state 'moving'|'trashed'|'restoring'|'dropping'

local function dir_of(roots, id)
  return meta.trash_dir(roots) .. '/' .. id
end

local function save(roots, record)
  record.schema = 'envctl.trash.v1'
  meta.write(dir_of(roots, record.id) .. '/record.json', record)
end

-- Every object name in the files of an administration directory: heads, reflog, what a rebase or merge has written down.
local function named_objects(dir, into, length)
  for _, entry in ipairs(fs.list(dir) or {}) do
    local file = dir .. '/' .. entry.name
    if entry.type == 'dir' and entry.name ~= 'modules' then
      named_objects(file, into, length)
    elseif entry.type == 'file' and entry.name ~= 'index' and not entry.name:find '%.lock$' then
      for word in (fs.read(file, { max = MAX_FILE, nofollow = true }) or ''):gmatch '%f[%x]%x+%f[^%x]' do
        if #word == length and not word:find '^0+$' then
          into[word] = true
        end
      end
    end
  end
end

local sorted = require('envctl.util.names').sorted

-- Objects that only the index names: staged content and the sides of a conflict.
local function staged_objects(call, head, into)
  local text
  if head then
    text = call {
      'diff-index', '--cached', '--raw', '-z', '--no-renames', '--no-abbrev', '--ignore-submodules=none', head,
    }
    for mode, oid in text:gmatch ':%d+ (%d+) %x+ (%x+) ' do
      if mode ~= '160000' and not oid:find '^0+$' then
        into[oid] = true
      end
    end
  end
  text = call { 'ls-files', head and '-u' or '-s', '-z' }
  for mode, oid in text:gmatch '(%d+) (%x+) %d\t[^%z]*%z' do
    if mode ~= '160000' then
      into[oid] = true
    end
  end
end

-- One commit that holds everything: commits as its parents, other objects in its tree.
local function pin(roots, admin, record)
  local function call(args, input)
    return gitcmd.output(roots, {
      dir = roots.root, args = args, input = input, mark = record.id,
      env = { GIT_DIR = admin, GIT_NO_LAZY_FETCH = '1' },
    }, 'cannot pin the commits of ' .. record.project)
  end
  local objects = {}
  if record.head then
    objects[record.head] = true
  end
  named_objects(admin, objects, #(record.head or ('0'):rep(40)))
  staged_objects(call, record.head, objects)
  local parents, entries, seen = {}, {}, {}
  local known = call({ 'cat-file', '--batch-check=%(objectname) %(objecttype)' },
    table.concat(sorted(objects), '\n') .. '\n')
  for oid, kind in known:gmatch '(%x+) (%a+)\n' do
    if not seen[oid] and kind == 'commit' then
      parents[#parents + 1] = 'parent ' .. oid
    elseif not seen[oid] and (kind == 'blob' or kind == 'tree') then
      local mode = kind == 'blob' and '100644' or '040000'
      entries[#entries + 1] = string.format('%s %s %s\t%s', mode, kind, oid, oid)
    end
    seen[oid] = true
  end
  local tree = call({ 'mktree' }, #entries > 0 and table.concat(entries, '\n') .. '\n' or ''):match '%x+'
  local who = string.format('envctl <envctl@localhost> %d +0000', record.at_ms // 1000)
  local text = 'tree ' .. tree .. '\n' .. table.concat(parents, '\n') .. (#parents > 0 and '\n' or '')
    .. 'author ' .. who .. '\ncommitter ' .. who .. '\n\nenvctl: removed worktree ' .. record.project .. '\n'
  local oid = call({ 'hash-object', '-t', 'commit', '-w', '--stdin' }, text):match '%x+'
  call { 'update-ref', '--no-deref', '-m', 'envctl: trash', record.ref, oid }
end

local function unpin(roots, id)
  gitcmd.run(roots, { dir = roots.root, args = { 'update-ref', '--no-deref', '-d', PINS .. id }, mark = id })
end

--- Removes pins that no record knows any more: a lock of git was in the way of it. The caller holds the lock. Awaits.
---@param roots envctl.Roots
function M.sweep_pins(roots)
  local refs = gitcmd.output(roots, { dir = roots.root, args = { 'for-each-ref', '--format=%(refname)', PINS } })
  for ref in refs:gmatch '[^\n]+' do
    local id = ref:sub(#PINS + 1)
    if not fs.lstat(dir_of(roots, id)) then
      unpin(roots, id)
    end
  end
end

-- The tree goes next to the repository's objects, or, from another file system, beside itself.
local function move_tree(roots, record)
  local stat = fs.lstat(record.path)
  if not stat or stat.type ~= 'dir' then
    return
  end
  local ok, message, code = fs.rename(record.path, record.tree)
  if not ok and code == 'EXDEV' then
    record.tree = path.parent(record.path) .. '/.envctl-trash-' .. record.id
    save(roots, record)
    ok, message, code = fs.rename(record.path, record.tree)
  end
  if not ok then
    err.raise('io_error', 'cannot move ' .. record.path .. ' to the trash: ' .. message, {
      hint = 'nothing was deleted', where = record.path, data = { errno = code },
    })
  end
end

local function move_admin(roots, record)
  local from = record.admin_name and roots.common_dir .. '/worktrees/' .. record.admin_name
  if from and fs.lstat(from) then
    err.check(fs.rename(from, dir_of(roots, record.id) .. '/admin'))
  end
end

local function finish(roots, record)
  move_admin(roots, record)
  record.state = 'trashed'
  save(roots, record)
end

-- Other worktrees inside of this one would lose their place.
local function check_inner(roots, root)
  -- A list that cannot be read is not an empty one: unknown never widens what may be moved.
  for _, w in ipairs((err.check(git.worktrees(roots.common_dir)))) do
    if w.path ~= root and path.below(w.path, root) then
      err.raise('worktree_nested', w.path .. ' is a worktree inside of ' .. root, {
        hint = 'move or remove the inner one first', where = w.path,
      })
    end
  end
  if path.below(roots.root, root) then
    err.raise('worktree_nested', 'the repository itself is inside of ' .. root, { where = root })
  end
end

--- Moves a worktree to the trash. The caller holds the lock. Awaits.
---@param roots envctl.Roots
---@param what {project: string, root: string, reason: string}
---@return envctl.TrashRecord
function M.put(roots, what)
  check_inner(roots, what.root)
  local admin = meta.admin_of(roots, what.root) or meta.admin_naming(roots, what.root)
  local now = sys.wall_ms()
  local id = sys.iso_time(now):gsub('[-:]', ''):gsub('%..*', '') .. '-' .. sys.random_hex(3)
  local head = admin and git.head(admin) or {}
  meta.secure(meta.trash_dir(roots))
  meta.secure(dir_of(roots, id))
  local record = {
    id = id, project = what.project, path = what.root, tree = dir_of(roots, id) .. '/tree', reason = what.reason,
    admin_name = admin and path.base(admin), branch = head.branch, head = head.oid, at = sys.iso_time(now), at_ms = now,
    ref = PINS .. id, state = 'moving',
  }
  save(roots, record)
  local ok, e = require('envctl.task').try(function()
    if admin and head.oid then
      pin(roots, admin, record)
    end
    move_tree(roots, record)
  end)
  if not ok then
    if not fs.lstat(record.tree) then
      M.forget(roots, record)
    end
    error(e, 0)
  end
  finish(roots, record)
  return record
end

--- Removes a record that nothing lies under any more, and its pin.
function M.forget(roots, record)
  unpin(roots, record.id)
  local dir = dir_of(roots, record.id)
  fs.unlink(dir .. '/record.json')
  fs.rmdir(dir)
end

--- All records, oldest first.
---@param roots envctl.Roots
---@return envctl.TrashRecord[]
function M.list(roots)
  local out = {}
  for _, entry in ipairs(fs.list(meta.trash_dir(roots)) or {}) do
    local record = entry.type == 'dir' and meta.read(dir_of(roots, entry.name) .. '/record.json')
    if record and record.id == entry.name and type(record.path) == 'string' and record.state then
      out[#out + 1] = record
    end
  end
  return out
end

local function occupied(target, why)
  err.raise('path_occupied', target .. ' ' .. why, {
    hint = 'move it away, or restore to another place with --to PATH', where = target,
  })
end

local function check_target(roots, target)
  if fs.lstat(target) then
    occupied(target, 'exists already')
  end
  for _, w in ipairs(git.worktrees(roots.common_dir) or {}) do
    if w.path == target then
      occupied(target, 'is registered as a worktree')
    end
  end
  local parent = target
  repeat
    parent = path.parent(parent)
  until fs.lstat(parent)
  local real = fs.realpath(parent)
  if real ~= parent then
    err.raise('path_unsafe', parent .. ' is a symbolic link, or below one', {
      hint = 'give the real path: ' .. tostring(real), where = parent,
    })
  end
end

-- Whether HEAD can say the branch again. Otherwise the tree comes back with its commit checked out, without a branch.
local function settle_branch(roots, record)
  if not record.branch or not record.head then
    return true
  end
  for _, w in ipairs(git.worktrees(roots.common_dir) or {}) do
    if w.branch == record.branch then
      return false, 'branch ' .. record.branch .. ' is checked out in ' .. w.path
    end
  end
  local main = git.head(roots.common_dir)
  if main and main.branch == record.branch then
    return false, 'branch ' .. record.branch .. ' is checked out in ' .. roots.root
  end
  local ref = 'refs/heads/' .. record.branch
  local now = gitcmd.run(roots, { dir = roots.root, args = { 'rev-parse', '-q', '--verify', ref } })
  if now.code ~= 0 then
    gitcmd.output(roots, { dir = roots.root, args = { 'update-ref', ref, record.head, '' }, mark = record.id },
      'cannot make branch ' .. record.branch .. ' again')
    return true
  elseif now.out:match '%x+' ~= record.head then
    return false, 'branch ' .. record.branch .. ' has moved meanwhile'
  end
  return true
end

local function free_admin_name(roots, wanted)
  local name, n = wanted, 0
  while fs.lstat(roots.common_dir .. '/worktrees/' .. name) do
    n = n + 1
    name = wanted .. n
  end
  return name
end

-- Carries on from wherever a restoring stopped.
local function bring_back(roots, record)
  local dir = dir_of(roots, record.id)
  local target, admin = record.to, roots.common_dir .. '/worktrees/' .. tostring(record.to_admin)
  if fs.lstat(record.tree) then
    err.check(fs.mkdirs(path.parent(target), 493))
    local ok, message, code = fs.rename(record.tree, target)
    if not ok then
      record.state = 'trashed'
      save(roots, record)
      local hint = code == 'EXDEV' and 'choose a place on the file system of ' .. record.tree or nil
      err.raise('io_error', 'cannot restore to ' .. target .. ': ' .. message, { hint = hint, data = { errno = code } })
    end
  end
  if fs.lstat(dir .. '/admin') then
    if target ~= record.path or record.to_admin ~= record.admin_name then
      err.check(fs.write_atomic(dir .. '/admin/gitdir', target .. '/.git\n', { mode = 420 }))
      err.check(fs.write_atomic(target .. '/.git', 'gitdir: ' .. admin .. '\n', { mode = 420 }))
    end
    if record.detach then
      err.check(fs.write_atomic(dir .. '/admin/HEAD', record.head .. '\n', { mode = 420 }))
    end
    err.check(fs.mkdirs(path.parent(admin), 493))
    err.check(fs.rename(dir .. '/admin', admin))
  end
  M.forget(roots, record)
end

--- Brings a tree back. The caller holds the lock. Awaits.
---@param roots envctl.Roots
---@param record envctl.TrashRecord
---@param to string? absolute; default: where it was
---@return string path, string? note
function M.restore(roots, record, to)
  gitcmd.wait_for(record.id, record.path)
  if not fs.lstat(record.tree) then
    err.raise('nothing_to_restore', 'the directory of ' .. record.project .. ' was gone before it was removed', {
      hint = 'its commits are under ' .. record.ref, where = record.path,
    })
  end
  local target = to or record.path
  check_target(roots, target)
  local same, note = settle_branch(roots, record)
  record.state, record.to, record.detach = 'restoring', target, not same or nil
  record.to_admin = record.admin_name and free_admin_name(roots, record.admin_name)
  save(roots, record)
  bring_back(roots, record)
  return target, note and note .. ': restored without a branch, at ' .. record.head:sub(1, 12) or nil
end

--- Deletes what a record keeps, for good. The caller holds the lock. Awaits.
---@param roots envctl.Roots
---@param record envctl.TrashRecord
function M.drop(roots, record)
  record.state = 'dropping'
  save(roots, record)
  for _, dir in ipairs { record.tree, dir_of(roots, record.id) .. '/admin' } do
    if fs.lstat(dir) then
      err.check(fs.remove_tree(dir))
    end
  end
  M.forget(roots, record)
end

--- Finishes what a killed envctl left half-done. The caller holds the lock. Awaits.
---@param roots envctl.Roots
---@return envctl.TrashRecord[] finished removals
function M.settle(roots)
  local out = {}
  for _, entry in ipairs(fs.list(meta.trash_dir(roots)) or {}) do
    fs.rmdir(dir_of(roots, entry.name)) -- only one that is empty: killed before the record was written
  end
  for _, record in ipairs(M.list(roots)) do
    if record.state ~= 'trashed' then
      gitcmd.wait_for(record.id, record.path)
    end
    local moved = fs.lstat(record.tree) or fs.lstat(dir_of(roots, record.id) .. '/admin')
    if record.state == 'moving' and not moved then
      M.forget(roots, record)
    elseif record.state == 'moving' then
      finish(roots, record)
      out[#out + 1] = record
    elseif record.state == 'restoring' then
      bring_back(roots, record)
    elseif record.state == 'dropping' then
      M.drop(roots, record)
    end
  end
  return out
end

return M
