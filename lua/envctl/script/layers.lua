--- The script files of a repository and of its user: which there are, and their bytes, read once. What is hashed is what is run.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local confine = require 'envctl.host.confine'
local problems = require 'envctl.script.problems'

local M = {}

M.MAX_BYTES = 1 << 20

---@class envctl.script.Entry
---@field layer 'user'|'script'|'local'
---@field name string shown: .envctl.lua, ~/.config/envctl/init.lua
---@field root string directory that its includes stay in
---@field rel string path below root
---@field text string
---@field repository boolean it is the repository's: what it does needs trust
---@field includes table<string, string> texts of what it included, by path below root
---@field text_sha256 string? of text, once somebody asked
---@field data table? what it returned, with marks

local function refuse(name, message, hint)
  error(problems.new { file = name, message = message, hint = hint }, 0)
end

local READ_PROBLEMS = {
  EXDEV = { 'is a link that leaves its directory', 'put the file itself there, or include a file of the repository' },
  ELOOP = { 'is a link that leads nowhere', 'put the file itself there' },
  EFBIG = { 'is larger than 1 MiB', 'split it with envctl.include' },
  EACCES = { 'cannot be read', 'chmod u+r it' },
  EISDIR = { 'is a directory', nil },
  EINVAL = { 'is not a regular file', nil },
}

-- Whoever can write to a script decides what it does.
local function check_owner(name, facts)
  local me = sys.geteuid()
  if facts.uid ~= me and facts.uid ~= 0 then
    refuse(name, string.format('belongs to somebody else (uid %d)', facts.uid), 'read it, then chown it to yourself')
  elseif facts.mode & 2 ~= 0 then
    refuse(name, string.format('can be changed by everybody (mode %04o)', facts.mode), 'chmod o-w it')
  end
end

--- Reads one file below a directory. Raises script_invalid for what is there but cannot be trusted to be what it seems.
---@param root string
---@param rel string
---@param name string for messages
---@return string? text nil when there is none
function M.read(root, rel, name)
  local text, facts, code = confine.read(root, rel, M.MAX_BYTES)
  if not text then
    if code == 'ENOENT' or code == 'ENOTDIR' then
      local link = fs.lstat(root .. '/' .. rel)
      if link and link.type == 'link' then
        refuse(name, READ_PROBLEMS.ELOOP[1], READ_PROBLEMS.ELOOP[2])
      end
      return nil
    end
    local p = READ_PROBLEMS[code]
    refuse(name, p and p[1] or tostring(facts), p and p[2])
  end
  check_owner(name, facts)
  return text
end

local function entry(layer, name, root, rel, text)
  return {
    layer = layer, name = name, root = root, rel = rel, text = text, repository = layer ~= 'user', includes = {},
  }
end

--- The path of a file with the home directory as ~.
---@param path string
---@return string
function M.short(path)
  local home = sys.home()
  if home and home ~= '/' and path:sub(1, #home + 1) == home .. '/' then
    return '~' .. path:sub(#home + 1)
  end
  return path
end

local function user_entry()
  local base = sys.getenv 'XDG_CONFIG_HOME'
  if not base or base:sub(1, 1) ~= '/' then
    local home = sys.home()
    base = home and home .. '/.config'
  end
  local path = base and base .. '/envctl/init.lua'
  if not path or not fs.lstat(path) then
    return nil
  end
  -- One's own dotfiles are often links to somewhere else.
  local real = fs.realpath(path)
  local name = M.short(path)
  if not real then
    refuse(name, READ_PROBLEMS.ELOOP[1], READ_PROBLEMS.ELOOP[2])
  end
  local dir, rel = real:match('^(.*)/([^/]+)$')
  dir = dir == '' and '/' or dir
  local text = M.read(dir, rel, name)
  return text and entry('user', name, dir, rel, text) or nil
end

local FILES = { { 'script', '.envctl.lua' }, { 'local', '.envctl.local.lua' } }

-- A worktree's own file wins over the main working tree's: branches differ.
local function repository_entry(roots, layer, rel)
  local tried = {}
  for _, root in ipairs { roots.execution_root or roots.root, roots.root } do
    if root and not tried[root] then
      tried[root] = true
      local text = M.read(root, rel, rel)
      if text then
        return entry(layer, rel, root, rel, text)
      end
    end
  end
end

--- The script layers that exist, lowest first.
---@param roots envctl.Roots
---@return envctl.script.Entry[]
function M.find(roots)
  local out = { user_entry() }
  for _, file in ipairs(FILES) do
    out[#out + 1] = repository_entry(roots, file[1], file[2])
  end
  return out
end

--- Whether a script is there at all. Cheap: no file is opened.
---@param roots envctl.Roots
---@return boolean
function M.any(roots)
  for _, root in ipairs { roots.execution_root or roots.root, roots.root } do
    for _, file in ipairs(FILES) do
      if fs.lstat(root .. '/' .. file[2]) then
        return true
      end
    end
  end
  local base = sys.getenv 'XDG_CONFIG_HOME' or (sys.home() or '') .. '/.config'
  return fs.lstat(base .. '/envctl/init.lua') ~= nil
end

--- The text of an include, which is read once and stays the same for the session.
---@param e envctl.script.Entry
---@param path string as the script wrote it
---@return string? rel clean path, string? text, string? problem
function M.include(e, path)
  local rel = require('envctl.detect.files').clean(path)
  if not rel or rel == '' then
    return nil, nil, string.format('"%s" leaves the repository', path)
  elseif path:find('[%c:]') then
    return nil, nil, 'the path has a character that file names of scripts do not have'
  end
  if e.includes[rel] then
    return rel, e.includes[rel]
  end
  local known = e.pinned and e.pinned[rel]
  local text = known
  if not text then
    local ok, result = pcall(M.read, e.root, rel, rel)
    if not ok then
      return nil, nil, result.message
    end
    text = result
  end
  if not text then
    return nil, nil, string.format('there is no file "%s" in %s', rel, e.root)
  end
  e.includes[rel] = text
  return rel, text
end

--- The identity of a script with what it includes: the hash of its bytes, as sha256sum prints it, when it includes nothing.
---@param e envctl.script.Entry
---@param includes table<string, string>? default: what it has included
---@return string hex
function M.digest(e, includes)
  local sha256 = require('envctl.host.hash').sha256
  e.text_sha256 = e.text_sha256 or sha256(e.text)
  includes = includes or e.includes
  local names = {}
  for rel in pairs(includes) do
    names[#names + 1] = rel
  end
  if #names == 0 then
    return e.text_sha256
  end
  table.sort(names)
  local parts = { 'envctl script with includes\n', e.text_sha256, '\n' }
  for _, rel in ipairs(names) do
    parts[#parts + 1] = sha256(includes[rel]) .. ' ' .. rel .. '\n'
  end
  return sha256(table.concat(parts))
end

return M
