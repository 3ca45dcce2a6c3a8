--- Whether anything would be lost if a worktree were gone: all the reasons, counted. Looking runs no program of the repository and
--- takes no lock. What cannot be looked at counts as something to lose.
local fs = require 'envctl.host.fs'
local git = require 'envctl.host.git'
local sys = require 'envctl.host.sys'
local hash = require 'envctl.host.hash'
local err = require 'envctl.err'
local gitcmd = require 'envctl.repo.gitcmd'
local meta = require 'envctl.repo.meta'

local M = {}

local SAMPLES = 5
local MAX_COPY = 64 * 1024 * 1024

-- What tools make again by themselves, by name of a directory or file.
local REPRODUCIBLE = {}
for word in ([[
  node_modules bower_components .venv venv .virtualenv __pycache__ .pytest_cache .mypy_cache .ruff_cache .tox .nox
  .cache .next .nuxt .svelte-kit .turbo .parcel-cache .vite .angular .astro .gradle .eslintcache .stylelintcache
  .tsbuildinfo dist build target coverage htmlcov .coverage .nyc_output .DS_Store Thumbs.db .yarn-integrity
  .pnpm-store .terraform .hypothesis .ipynb_checkpoints .eggs
]]):gmatch '%S+' do
  REPRODUCIBLE[word] = true
end
local SUFFIXES = { '%.pyc$', '%.pyo$', '%.egg%-info$', '%.o$', '%.class$', '%.tsbuildinfo$' }

---@param name string of a file or directory
---@return boolean
function M.reproducible(name)
  if REPRODUCIBLE[name] then
    return true
  end
  for _, suffix in ipairs(SUFFIXES) do
    if name:find(suffix) then
      return true
    end
  end
  return false
end

local TEXTS = {
  modified = 'modified', staged = 'staged', conflicted = 'conflicted', untracked = 'untracked',
  ignored = 'ignored, and nothing makes them again', skip_worktree = 'edited behind skip-worktree',
  assume_unchanged = 'edited behind assume-unchanged', nested_repository = 'nested repositories',
  operation = 'operation in progress', locked = 'locked', unreachable = 'commits that no branch or tag holds',
  git_lock = 'lock file of git', unreadable = 'cannot be read',
}
local ORDER = {
  'locked', 'operation', 'git_lock', 'conflicted', 'staged', 'modified', 'untracked', 'ignored', 'skip_worktree',
  'assume_unchanged', 'nested_repository', 'unreachable', 'unreadable',
}

---@class envctl.GuardReason
---@field reason string
---@field count integer
---@field sample string[]

local Findings = {}
Findings.__index = Findings

function Findings:add(reason, sample, count)
  local r = self[reason] or { reason = reason, count = 0, sample = {} }
  self[reason] = r
  r.count = r.count + (count or 1)
  if #r.sample < SAMPLES and sample then
    r.sample[#r.sample + 1] = sample
  end
end

local function is_bare_repository(dir, entries)
  local head, objects, refs
  for _, e in ipairs(entries) do
    head = head or (e.name == 'HEAD' and e.type == 'file')
    objects = objects or (e.name == 'objects' and e.type == 'dir')
    refs = refs or (e.name == 'refs' and e.type == 'dir')
  end
  return head and objects and refs and dir
end

-- Nested repositories, anywhere: also in ignored directories, which git does not look into.
local function look_for_repositories(found, root, rel)
  local dir = rel == '' and root or root .. '/' .. rel
  local entries, message = fs.list(dir)
  if not entries then
    found:add('unreadable', message)
    return
  end
  if rel ~= '' and is_bare_repository(dir, entries) then
    found:add('nested_repository', rel)
    return
  end
  for _, e in ipairs(entries) do
    local below = rel == '' and e.name or rel .. '/' .. e.name
    if e.name == '.git' then
      if rel ~= '' then
        found:add('nested_repository', rel)
      end
    elseif e.type == 'dir' then
      look_for_repositories(found, root, below)
    end
  end
end

-- Files below an ignored path that nothing makes again.
local function look_at_ignored(found, root, rel, seeded)
  local name = rel:match '[^/]*$'
  if M.reproducible(name) then
    return
  end
  local stat = fs.lstat(root .. '/' .. rel)
  if not stat then
    return
  elseif stat.type ~= 'dir' then
    if seeded[rel] and stat.type == 'file' then
      local text = fs.read(root .. '/' .. rel, { max = MAX_COPY, nofollow = true })
      if text and hash.sha256(text) == seeded[rel] then
        return -- exactly what envctl put there
      end
    end
    found:add('ignored', rel)
    return
  end
  for _, e in ipairs(fs.list(root .. '/' .. rel) or {}) do
    if e.name ~= '.git' then
      look_at_ignored(found, root, rel .. '/' .. e.name, seeded)
    end
  end
end

local LOOKING = {
  'core.ignoreStat=false', 'core.trustctime=true', 'core.checkStat=default', 'status.renames=false',
  'core.preloadIndex=true', 'index.threads=1',
}

local function settings(roots, root)
  local list = gitcmd.no_filters(roots, root)
  table.move(LOOKING, 1, #LOOKING, #list + 1, list)
  return list
end

-- The directory of a path that tools make again and that ignores all of itself, as virtual environments do: git names each file of
-- it instead of the directory.
local function self_ignoring(root, rel, known)
  for stop in rel:gmatch '()/' do
    local dir = rel:sub(1, stop - 1)
    if known[dir] == nil then
      local text = M.reproducible(dir:match '[^/]*$')
        and fs.read(root .. '/' .. dir .. '/.gitignore', { max = 4096, nofollow = true })
      known[dir] = text ~= nil and text ~= false and ('\n' .. text):gsub('\n%s*#[^\n]*', ''):match '^%s*(.-)%s*$' == '*'
    end
    if known[dir] then
      return true
    end
  end
  return false
end

local function read_status(found, text, root, seeded)
  local known = {}
  for _, line in ipairs(gitcmd.split(text)) do
    local kind = line:sub(1, 1)
    if kind == '1' or kind == '2' then
      local x, y, rest = line:match '^%d (.)(.) (.*)$'
      local name = rest:match(kind == '1' and '^%S+ %S+ %S+ %S+ %S+ %S+ (.*)$' or '^%S+ %S+ %S+ %S+ %S+ %S+ %S+ (.*)$')
      if x ~= '.' then
        found:add('staged', name)
      end
      if y ~= '.' then
        found:add('modified', name)
      end
    elseif kind == 'u' then
      found:add('conflicted', line:match '^u %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (.*)$')
    elseif kind == '?' then
      local name = line:sub(3)
      if name:sub(-1) ~= '/' then -- a directory here is a repository of its own, which is found elsewhere
        found:add('untracked', name)
      end
    elseif kind == '!' then
      local rel = line:sub(3):gsub('/$', '')
      if not self_ignoring(root, rel, known) then
        look_at_ignored(found, root, rel, seeded)
      end
    end
  end
end

-- Entries that git was told not to look at, and that are not as the index says.
local function look_behind_flags(found, roots, root, config)
  local flagged, names = {}, {}
  local text = gitcmd.output(roots, { dir = root, config = config, args = { 'ls-files', '-v', '-z' } })
  for _, line in ipairs(gitcmd.split(text)) do
    local tag, name = line:sub(1, 1), line:sub(3)
    if (tag == 'S' or tag:find '%l') and fs.lstat(root .. '/' .. name) then
      flagged[name] = (tag == 'S' or tag == 's') and 'skip_worktree' or 'assume_unchanged'
      names[#names + 1] = name
    end
  end
  if #names == 0 then
    return
  end
  local wanted = {}
  for _, line in ipairs(gitcmd.split(gitcmd.output(roots, { dir = root, args = { 'ls-files', '-s', '-z' } }))) do
    local mode, oid, name = line:match '^(%d+) (%x+) %d\t(.*)$'
    wanted[name] = { mode = mode, oid = oid }
  end
  local plain = {}
  for _, name in ipairs(names) do
    local stat, w = fs.lstat(root .. '/' .. name), wanted[name]
    if stat.type == 'file' and w and w.mode:sub(1, 3) == '100' and not name:find '[\n"]' then
      plain[#plain + 1] = name
    elseif not (stat.type == 'dir' and w and w.mode == '160000') then
      found:add(flagged[name], name)
    end
  end
  if #plain == 0 then
    return
  end
  local hashed = gitcmd.output(roots, {
    dir = root, config = config, args = { 'hash-object', '--stdin-paths' }, input = table.concat(plain, '\n') .. '\n',
  })
  local i = 0
  for oid in hashed:gmatch '%x+' do
    i = i + 1
    if plain[i] and wanted[plain[i]].oid ~= oid then
      found:add(flagged[plain[i]], plain[i])
    end
  end
end

local OPERATIONS = {
  MERGE_HEAD = 'merge', CHERRY_PICK_HEAD = 'cherry-pick', REVERT_HEAD = 'revert', BISECT_LOG = 'bisect',
  ['rebase-merge'] = 'rebase', ['rebase-apply'] = 'rebase or am', sequencer = 'sequencer',
}

local function look_at_admin(found, admin)
  for name, what in pairs(OPERATIONS) do
    if fs.lstat(admin .. '/' .. name) then
      found:add('operation', what)
    end
  end
  local why = fs.read(admin .. '/locked')
  if why then
    found:add('locked', (why:gsub('%s+$', '')))
  end
  for _, entry in ipairs(fs.list(admin) or {}) do
    if entry.name:find '%.lock$' then
      local file = admin .. '/' .. entry.name
      local stat = fs.lstat(file)
      local age = stat and math.max(0, (sys.wall_ms() - stat.mtime_ms) // 1000) or 0
      found:add('git_lock', string.format('%s (%d s old)', file, age))
    end
  end
end

-- Commits of a detached head that nothing else holds.
local function look_at_head(found, roots, admin)
  local head = git.head(admin)
  if not head or not head.oid or head.branch then
    return
  end
  local count = gitcmd.output(roots, {
    dir = roots.root,
    args = { 'rev-list', '--count', head.oid, '--not', '--branches', '--tags', '--remotes' },
  }):match '%d+'
  if count ~= '0' then
    found:add('unreachable', head.oid:sub(1, 12), tonumber(count))
  end
end

local function seeded_files(admin)
  local recorded = meta.provenance(admin)
  local seeded = {}
  for name, sum in pairs(recorded and type(recorded.seeded) == 'table' and recorded.seeded or {}) do
    seeded[name] = sum
  end
  return seeded
end

--- Looks at a worktree. Awaits.
---@param roots envctl.Roots
---@param project envctl.Project
---@return envctl.GuardReason[] reasons not to remove it, empty when nothing would be lost
function M.reasons(roots, project)
  local root = project.root
  local found = setmetatable({}, Findings)
  local admin = meta.admin_of(roots, root) or meta.admin_naming(roots, root)
  if admin then
    look_at_admin(found, admin)
    look_at_head(found, roots, admin)
  end
  local stat = fs.lstat(root)
  if stat and not (admin and meta.admin_of(roots, root)) then
    found:add('unreadable', root .. ' is no worktree of this repository any more')
  elseif stat then
    look_for_repositories(found, root, '')
    local config = settings(roots, root)
    local text = gitcmd.output(roots, {
      dir = root, config = config,
      args = {
        'status', '--porcelain=v2', '-z', '--untracked-files=all', '--ignored=matching', '--ignore-submodules=none',
        '--no-renames',
      },
    }, 'cannot look at ' .. project.name)
    read_status(found, text, root, seeded_files(admin))
    look_behind_flags(found, roots, root, config)
  end
  local out = {}
  for _, reason in ipairs(ORDER) do
    out[#out + 1] = found[reason]
  end
  return out
end

--- One line per reason, for people.
---@param reasons envctl.GuardReason[]
---@return string[]
function M.lines(reasons)
  local out = {}
  for i, r in ipairs(reasons) do
    local sample = table.concat(r.sample, ', ')
    local more = r.count > #r.sample and r.reason ~= 'unreachable' and ', …' or ''
    out[i] = string.format('%d %s%s', r.count, TEXTS[r.reason], sample ~= '' and ': ' .. sample .. more or '')
  end
  return out
end

--- The error that refuses a removal.
---@param project envctl.Project
---@param reasons envctl.GuardReason[]
---@return envctl.Err
function M.refusal(project, reasons)
  local json = require 'envctl.util.json'
  local list = json.array {}
  for i, r in ipairs(reasons) do
    list[i] = { reason = r.reason, count = r.count, sample = json.array(r.sample) }
  end
  local only_lock = #reasons == 1 and reasons[1].reason == 'locked'
  local text = only_lock and ' is locked' .. (reasons[1].sample[1] ~= '' and ': ' .. reasons[1].sample[1] or '')
    or ' has work that would be lost: ' .. table.concat(M.lines(reasons), '; ')
  return err.new(only_lock and 'worktree_locked' or 'worktree_dirty', project.name .. text, {
    hint = only_lock and 'unlock it with `git worktree unlock`, or use --force' or
      'commit it, or use --force: the tree then goes to the trash, and `envctl recover` brings it back',
    where = project.root,
    data = { reasons = list, project = project.name },
  })
end

return M
