--- Keeps files of envctl out of `git status`: lines in the repository's own info/exclude, never in tracked files.
local fs = require 'envctl.host.fs'
local path = require 'envctl.util.path'

local M = {}

-- A line of an ignore file as a Lua pattern over the name; only plain names with * and ? are understood.
local function matches(line, name, is_dir)
  line = line:match '^%s*(.-)%s*$'
  if line == '' or line:sub(1, 1) == '#' or line:sub(1, 1) == '!' then
    return false
  end
  local body = line:gsub('^/', '')
  if body:sub(-1) == '/' then
    if not is_dir then
      return false
    end
    body = body:sub(1, -2)
  end
  if body:find('/', 1, true) or body:find('[', 1, true) then
    return false
  end
  local pattern = body:gsub('[%^%$%(%)%%%.%+%-]', '%%%0'):gsub('%*', '.*'):gsub('%?', '.')
  return name:find('^' .. pattern .. '$') ~= nil
end

--- Whether the text of an ignore file covers a name in the root of the repository.
---@param text string
---@param name string
---@param is_dir boolean
---@return boolean
function M.covers(text, name, is_dir)
  for line in text:gmatch '[^\r\n]+' do
    if matches(line, name, is_dir) then
      return true
    end
  end
  return false
end

--- Adds what is missing. A failure is a warning, never an error.
---@param roots envctl.Roots
---@param names {name: string, dir: boolean}[] in the root of the repository
---@return boolean updated, string? warning
function M.update(roots, names)
  local file = roots.common_dir .. '/info/exclude'
  local exclude, message, code = fs.read(file)
  if not exclude and code ~= 'ENOENT' and code ~= 'ENOTDIR' then
    return false, 'could not read ' .. message
  end
  local tracked = fs.read(roots.root .. '/.gitignore') or ''
  local add = {}
  for _, n in ipairs(names) do
    if not M.covers(exclude or '', n.name, n.dir) and not M.covers(tracked, n.name, n.dir) then
      add[#add + 1] = '/' .. n.name .. (n.dir and '/' or '')
    end
  end
  if #add == 0 then
    return false
  end
  local text = exclude or ''
  if text ~= '' and text:sub(-1) ~= '\n' then
    text = text .. '\n'
  end
  text = text .. table.concat(add, '\n') .. '\n'
  local ok
  ok, message = fs.mkdirs(path.parent(file), 493)
  if ok then
    local stat = fs.stat(file)
    ok, message = fs.write_atomic(file, text, { mode = stat and stat.mode or 420 })
  end
  if not ok then
    return false, 'could not update ' .. tostring(message)
  end
  return true
end

return M
