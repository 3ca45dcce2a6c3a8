--- Paths as text. Nothing here looks at the file system.
local M = {}

--- An absolute path without `.`, `..` and doubled slashes, from one that may begin with a tilde or be relative.
---@param path string
---@param base string absolute directory for relative paths
---@param home string? what a tilde stands for
---@return string
function M.absolute(path, base, home)
  if home and (path == '~' or path:sub(1, 2) == '~/') then
    path = home .. path:sub(2)
  end
  if path:sub(1, 1) ~= '/' then
    path = base .. '/' .. path
  end
  local parts = {}
  for part in path:gmatch '[^/]+' do
    if part == '..' then
      parts[#parts] = nil
    elseif part ~= '.' then
      parts[#parts + 1] = part
    end
  end
  return '/' .. table.concat(parts, '/')
end

--- The directory that a path is in.
---@param path string absolute
---@return string
function M.parent(path)
  return path:match '^(.+)/[^/]+$' or '/'
end

---@param path string
---@return string
function M.base(path)
  return path:match '([^/]+)/*$' or path
end

--- The way from root to path, or nil when path is not below root. The root itself is ''.
---@param path string
---@param root string
---@return string?
function M.below(path, root)
  if path == root then
    return ''
  elseif root == '/' then
    return path:sub(2)
  elseif path:sub(1, #root + 1) == root .. '/' then
    return path:sub(#root + 2)
  end
end

--- The path for people: short when it is below root.
---@param path string
---@param root string
---@return string
function M.shown(path, root)
  local below = M.below(path, root)
  return below and below ~= '' and below or path
end

return M
