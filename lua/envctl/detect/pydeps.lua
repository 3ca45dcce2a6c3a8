--- Which packages a Python project names, and where. A tolerant reader: what it does not understand it skips, since a wrong
--- manifest is the package manager's to report.
local Files = require 'envctl.detect.files'

local M = {}

local function normal(name)
  return (name:lower():gsub('[%._]+', '-'))
end

local function add(found, requirement, file)
  local name = requirement:match('^%s*([%w][%w%._%-]*)')
  if name and not found[normal(name)] then
    found[normal(name)] = file
  end
end

-- The strings of the array that starts at or after pos, and where it ends. Brackets and # inside strings do not count.
local function array_strings(text, pos)
  local open = text:find('[', pos, true)
  if not open then
    return {}, #text + 1
  end
  local out, depth = {}, 0
  pos = open
  while true do
    local at, _, c = text:find('(["\'#%[%]])', pos)
    if not at then
      return out, #text + 1
    end
    if c == '[' then
      depth = depth + 1
      pos = at + 1
    elseif c == ']' then
      depth = depth - 1
      pos = at + 1
      if depth == 0 then
        return out, pos
      end
    elseif c == '#' then
      pos = text:find('\n', at, true) or #text + 1
    else
      local stop = text:find(c, at + 1, true)
      if not stop then
        return out, #text + 1
      end
      out[#out + 1] = text:sub(at + 1, stop - 1)
      pos = stop + 1
    end
  end
end

local function is_poetry_group(section)
  return section == 'tool.poetry.dependencies' or section:find('^tool%.poetry%.group%.[^%.]+%.dependencies$') ~= nil
end

local function is_array_of_requirements(section, key)
  return section == 'project' and key == 'dependencies'
    or section == 'project.optional-dependencies'
    or section == 'dependency-groups'
end

--- Reads pyproject.toml: {found: {name = file}, poetry = boolean}.
---@param text string
---@param file string name for the evidence
---@param found table<string, string> filled
---@return boolean poetry the file has a [tool.poetry] section
function M.pyproject(text, file, found)
  local section, poetry, pos = '', false, 1
  while pos <= #text do
    local eol = text:find('\n', pos, true) or #text + 1
    local line = text:sub(pos, eol - 1)
    local header = line:match('^%s*%[+%s*([^%]]-)%s*%]+')
    local key = line:match('^%s*"?([%w%._%-]+)"?%s*=')
    pos = eol + 1
    if header and not key then
      section = header:gsub('"', '')
      poetry = poetry or section:find('^tool%.poetry') ~= nil
    elseif key and is_array_of_requirements(section, key) and line:find('=%s*%[') then
      local strings, stop = array_strings(text, eol - #line + line:find('=', 1, true))
      for _, requirement in ipairs(strings) do
        add(found, requirement, file)
      end
      pos = math.max(pos, stop)
    elseif key and is_poetry_group(section) and key ~= 'python' then
      add(found, key, file)
    end
  end
  return poetry
end

--- Reads a requirements file; files it includes with -r are read one level deep. Returns them all, constraints too.
local function requirements(files, rel, found, depth)
  local text, read = files:text(rel), { rel }
  for line in (text or ''):gmatch('[^\r\n]+') do
    local included = line:match('^%s*%-r%s*([^%s#]+)') or line:match('^%s*%-%-requirement[%s=]+([^%s#]+)')
    local constraint = line:match('^%s*%-c%s*([^%s#]+)') or line:match('^%s*%-%-constraint[%s=]+([^%s#]+)')
    if included or constraint then
      local dir = rel:match('^(.*)/[^/]*$') or ''
      local clean = depth > 0 and Files.clean(Files.join(dir, included or constraint))
      if clean then
        local more = included and requirements(files, clean, found, depth - 1) or { clean }
        table.move(more, 1, #more, #read + 1, read)
      end
    elseif not line:find('^%s*[#%-]') and not line:find('^%s*%w+://') then
      add(found, line, rel)
    end
  end
  return read
end

local function setup_cfg(text, file, found)
  local section, listing = '', false
  for line in text:gmatch('[^\r\n]+') do
    local header = line:match('^%[([^%]]+)%]')
    if header then
      section, listing = header, false
    elseif section == 'options' and line:find('^install_requires%s*=') then
      listing = true
      add(found, line:match('=(.*)'), file)
    elseif listing and line:find('^%s+%S') then
      add(found, line, file)
    else
      listing = false
    end
  end
end

local function pipfile(text, file, found)
  local section = ''
  for line in text:gmatch('[^\r\n]+') do
    local header = line:match('^%s*%[([^%]]+)%]')
    if header then
      section = header
    elseif section == 'packages' then
      local key = line:match('^%s*"?([%w%._%-]+)"?%s*=')
      if key then
        add(found, key, file)
      end
    end
  end
end

-- setup.py is a program: only the names that detection cares about are looked for, as quoted text.
local INTERESTING = { 'fastapi', 'starlette', 'flask', 'django', 'uvicorn', 'hypercorn', 'litestar', 'quart' }

local function setup_py(text, file, found)
  for _, name in ipairs(INTERESTING) do
    if text:lower():find('["\']' .. name .. '[%s"\'<>=~!%[;]') and not found[name] then
      found[name] = file
    end
  end
end

---@class envctl.detect.PyDeps
---@field found table<string, string> normalised package name -> relative file that names it
---@field markers string[] manifests that exist, relative
---@field poetry boolean
---@field requirements string[] the requirements file to install from, and what it includes; empty without one

--- Everything that the manifests of a directory name.
---@param files envctl.detect.Files
---@param dir string relative
---@return envctl.detect.PyDeps
function M.read(files, dir)
  local deps = { found = {}, markers = {}, poetry = false, requirements = {} }
  local function manifest(name, read)
    local rel = Files.join(dir, name)
    local text = files:text(rel)
    if text then
      deps.markers[#deps.markers + 1] = rel
      return read(text, rel, deps.found)
    end
  end
  local entries = files:list(dir) -- first: it answers what comes after
  deps.poetry = manifest('pyproject.toml', M.pyproject) or false
  for _, entry in ipairs(entries) do
    if entry.name:find('^requirements[%w%._%-]*%.txt$') then
      local rel = Files.join(dir, entry.name)
      deps.markers[#deps.markers + 1] = rel
      local read = requirements(files, rel, deps.found, 1)
      if #deps.requirements == 0 or entry.name == 'requirements.txt' then
        deps.requirements = read
      end
    end
  end
  manifest('setup.cfg', setup_cfg)
  manifest('setup.py', setup_py)
  manifest('Pipfile', pipfile)
  return deps
end

return M
