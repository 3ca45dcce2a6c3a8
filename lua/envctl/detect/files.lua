--- Bounded, cached looks at one project's files: what detection is allowed to know. Nothing is written, nothing is run.
local M = {}

-- Detection reads manifests and entry files. What is larger than this is neither.
local MAX_BYTES = 256 * 1024

-- Where programs are on PATH, for all projects of a command.
local on_path = {}

---@class envctl.detect.Files
---@field root string absolute directory
---@field place string? where a worktree will be for which this one stands: with what git has of it, and nothing else
local Files = {}
Files.__index = Files

--- Opens a directory for looking. Host modules can be replaced in tests.
---@param root string absolute directory
---@param host? {fs: table, sys: table}
---@return envctl.detect.Files
function M.open(root, host)
  return setmetatable({
    root = root,
    fs = host and host.fs or require 'envctl.host.fs',
    sys = host and host.sys or require 'envctl.host.sys',
    texts = {},
    stats = {},
    lists = {},
    documents = {},
    programs = host and {} or on_path,
  }, Files)
end

--- Joins relative parts; '' and '.' are the directory itself.
---@param dir string
---@param name string
---@return string
function M.join(dir, name)
  if dir == '' or dir == '.' then
    return name
  elseif name == '' or name == '.' then
    return dir
  end
  return dir .. '/' .. name
end

--- The line (from 1) of a byte position.
---@param text string
---@param pos integer
---@return integer
function M.line_of(text, pos)
  local _, breaks = text:sub(1, pos - 1):gsub('\n', '')
  return breaks + 1
end

--- Removes '.', empty and 'a/..' parts of a relative path.
---@param path string
---@return string? clean '' is the directory itself; nil when it leaves the directory or is absolute
function M.clean(path)
  if path:sub(1, 1) == '/' or path:sub(1, 1) == '~' or path:find('%z') then
    return nil
  end
  local parts = {}
  for part in path:gmatch('[^/]+') do
    if part == '..' then
      if #parts == 0 then
        return nil
      end
      parts[#parts] = nil
    elseif part ~= '.' then
      parts[#parts + 1] = part
    end
  end
  return table.concat(parts, '/')
end

--- Absolute path of a relative one.
---@param rel string
---@return string
function Files:path(rel)
  if rel == '' or rel == '.' then
    return self.root
  end
  return self.root .. '/' .. rel
end

--- Absolute path of a relative one, as it will be when something is started.
---@param rel string
---@return string
function Files:placed(rel)
  return M.join(self.place or self.root, rel)
end

-- What the listing of its directory says about a path: its type, false when it is not there, nil when that takes a look. What is
-- below nothing is not there either.
function Files:listed(rel)
  local dir, name = rel:match '^(.+)/([^/]+)$'
  local list = self.lists[dir or '']
  if list then
    local kind = list.types[name or rel] or false
    if kind ~= 'link' then
      return kind
    end
  elseif dir and self:kind(dir) ~= 'dir' then
    return false
  end
end

--- 'file', 'dir' or another type, symbolic links followed; nil when there is nothing.
---@param rel string
---@return string?
function Files:kind(rel)
  local known = self.stats[rel]
  if known == nil then
    known = self:listed(rel)
    if known == nil then
      local stat = self.fs.stat(self:path(rel))
      known = stat and stat.type or false
    end
    self.stats[rel] = known
  end
  return known or nil
end

---@param rel string
---@return boolean
function Files:is_file(rel)
  return self:kind(rel) == 'file'
end

---@param rel string
---@return boolean
function Files:is_dir(rel)
  return self:kind(rel) == 'dir'
end

--- Text of a file, nil when it is missing, unreadable or too large to be of interest.
---@param rel string
---@return string?
function Files:text(rel)
  local known = self.texts[rel]
  if known == nil then
    known = self:is_file(rel) and self.fs.read(self:path(rel), { max = MAX_BYTES }) or false
    self.texts[rel] = known
  end
  return known or nil
end

--- Names of the entries of a directory, sorted.
---@param rel string
---@return {name: string, type: string}[]
function Files:list(rel)
  local known = self.lists[rel]
  if not known then
    local entries = self.fs.list(self:path(rel))
    if not entries then
      return {}
    end
    known = { entries = entries, types = {} }
    for _, entry in ipairs(entries) do
      known.types[entry.name] = entry.type
    end
    self.lists[rel] = known
  end
  return known.entries
end

--- A JSON object from a file.
---@param rel string
---@return table? document, string? problem
function Files:json(rel)
  local known = self.documents[rel]
  if known then
    return known.document, known.problem
  end
  local document, problem
  local text = self:text(rel)
  if text then
    document, problem = require('envctl.util.json').decode((text:gsub('^\u{FEFF}', '')))
    if document ~= nil and type(document) ~= 'table' then
      document, problem = nil, 'not an object'
    end
  end
  self.documents[rel] = { document = document, problem = problem }
  return document, problem
end

---@param rel string
---@return boolean
function Files:executable(rel)
  return self:is_file(rel) and self.fs.access(self:path(rel), 'x')
end

-- The root with its links resolved.
function Files:real_root()
  self.real = self.real or self.fs.realpath(self.root)
  return self.real
end

local function below(path, root)
  return path == root or path:sub(1, #root + 1) == root .. '/'
end

--- A program on PATH; what the repository itself plants on PATH does not count.
---@param name string bare name
---@return string? absolute
function Files:which(name)
  local known = self.programs[name]
  if known == nil then
    local path = self.sys.which(name)
    known = path and { path = path, dir = self.fs.realpath(path:match '^(.*)/') } or false
    self.programs[name] = known
  end
  if not known then
    return nil
  elseif below(known.path, self.root) or below(known.dir or '', self:real_root() or self.root) then
    return (self.sys.which(name, { avoid = self.root }))
  end
  return known.path
end

--- Whether a relative directory, symbolic links resolved, is inside the root.
---@param rel string clean
---@return boolean
function Files:inside(rel)
  local at, linked = self.root, false
  for part in rel:gmatch '[^/]+' do
    at = at .. '/' .. part
    local stat = self.fs.lstat(at)
    if not stat then
      return false
    end
    linked = linked or stat.type == 'link'
  end
  if not linked then
    return true
  end
  local root, target = self:real_root(), self.fs.realpath(at)
  return root ~= nil and target ~= nil and below(target, root)
end

return M
