--- Launch environments: sections of `.envctl` that say which variables of dependencies a service gets, under which names.
---
---   # >>> envctl backend launch env >>>
---   DATABASE_URL=${ENVCTL_SOURCE_DATABASE_URL}
---   # <<< envctl backend launch env <<<
---
--- `shared` goes to every service; any service may have a section of its own. Everything that can be wrong is found when the file
--- is read, not at launch. Pure.
local M = {}

local SOURCE = 'ENVCTL_SOURCE_'

-- What the bundled dependencies provide. Scripts may add to it.
M.SOURCES = {
  'DB_HOST', 'DB_PORT', 'DB_USER', 'DB_PASSWORD', 'DB_NAME', 'DATABASE_URL', 'SQLALCHEMY_DATABASE_URL',
  'ASYNC_DATABASE_URL', 'REDIS_HOST', 'REDIS_PORT', 'REDIS_URL', 'SUPABASE_DB_PASSWORD', 'SUPABASE_DB_PORT',
  'SUPABASE_URL', 'SUPABASE_ANON_KEY', 'SUPABASE_SERVICE_ROLE_KEY', 'SUPABASE_JWT_SECRET', 'N8N_PORT', 'N8N_URL',
}

-- Prefixes of variables that bundlers put into what browsers download.
local PUBLIC = {
  '^VITE_', '^NEXT_PUBLIC_', '^NUXT_PUBLIC_', '^REACT_APP_', '^PUBLIC_', '^EXPO_PUBLIC_', '^VUE_APP_', '^GATSBY_',
}

---@class envctl.launch.Entry
---@field name string
---@field template string
---@field line integer
---@field parts (string|{ref: string})[] text and references in turn

---@class envctl.launch.Section
---@field name string
---@field present boolean
---@field legacy boolean
---@field line integer? of the opening marker
---@field entries envctl.launch.Entry[]
---@field problems {line: integer, message: string}[]

---@class envctl.launch.Sections
---@field list envctl.launch.Section[]
---@field by_name table<string, envctl.launch.Section>
---@field problems {line: integer, message: string, hint: string?, warning: boolean?}[] of all sections, by line

--- Whether a source holds something that must not be shown, and must not reach a browser.
---@param name string without the prefix
---@return boolean
function M.is_secret(name)
  return name:find 'PASSWORD' ~= nil or name:find 'SECRET' ~= nil or name:find 'SERVICE_ROLE' ~= nil
    or name:find 'DATABASE_URL$' ~= nil or name:find 'PRIVATE' ~= nil
end

local function is_public(name)
  for _, pattern in ipairs(PUBLIC) do
    if name:find(pattern) then
      return true
    end
  end
  return false
end

--- Splits a template into text and references.
---@param template string
---@return (string|{ref: string})[]? parts, string? message
function M.split(template)
  local parts, at = {}, 1
  while true do
    local start = template:find('${', at, true)
    if not start then
      break
    end
    local stop = template:find('}', start, true)
    local name = stop and template:sub(start + 2, stop - 1)
    if not stop or name == '' then
      return nil, 'a placeholder that does not end: write ${NAME}'
    elseif not name:find '^[%a_][%w_]*$' then
      return nil, '${' .. name .. '} is no placeholder: only ${NAME} is replaced'
    end
    if start > at then
      parts[#parts + 1] = template:sub(at, start - 1)
    end
    parts[#parts + 1] = { ref = name }
    at = stop + 1
  end
  if at <= #template then
    parts[#parts + 1] = template:sub(at)
  end
  return parts
end

local function note(section, line, message, hint, warning)
  section.problems[#section.problems + 1] = {
    line = line, message = section.name .. ' launch env: ' .. message, hint = hint, warning = warning,
  }
end

local function entry(section, text, line, seen)
  text = text:gsub('^export[ \t]+', '')
  local name, raw = text:match '^([^=]-)%s*=(.*)$'
  if not name then
    note(section, line, 'expected NAME=VALUE, got "' .. text:sub(1, 60) .. '"')
    return
  elseif not name:find '^[%a_][%w_]*$' then
    note(section, line, '"' .. name:sub(1, 60) .. '" is not a name of a variable')
    return
  elseif name:sub(1, #SOURCE) == SOURCE then
    note(section, line, name .. ': names that begin with ENVCTL_SOURCE_ are what envctl provides',
      'choose another name')
    return
  elseif seen[name] then
    note(section, line, name .. ' is there twice, first in line ' .. seen[name], 'leave one of them out')
    return
  end
  local value, closed = require('envctl.config.dotenv').value(raw)
  if not closed then
    note(section, line, name .. ': the quote is never closed', 'close it, or leave it out')
    return
  elseif not utf8.len(value) or value:find '%z' then
    note(section, line, name .. ': the value is not UTF-8 text')
    return
  end
  local parts, why = M.split(value)
  if not parts then
    note(section, line, name .. ': ' .. why)
    return
  end
  seen[name] = line
  section.entries[#section.entries + 1] = { name = name, template = value, line = line, parts = parts }
end

local function fill(section, scanned)
  section.present, section.legacy, section.line = true, scanned.legacy, scanned.start
  if not scanned.start then
    note(section, scanned.stop, 'the opening marker is missing')
    return
  elseif not scanned.stop then
    note(section, scanned.start, 'the closing marker is missing',
      'add `# <<< envctl ' .. section.name .. ' launch env <<<`')
  end
  local seen = {}
  for _, l in ipairs(scanned.lines) do
    if l.text ~= '' and l.text:sub(1, 1) ~= '#' then
      entry(section, l.text, l.line, seen)
    end
  end
end

-- References that can never be satisfied, names that collide with the shared section, secrets on their way to a browser.
local function check(section, shared)
  local known = {}
  for _, e in ipairs(shared and shared ~= section and shared.entries or {}) do
    known[e.name] = e.line
  end
  for _, e in ipairs(section.entries) do
    if known[e.name] and shared ~= section then
      note(section, e.line, e.name .. ' is in the shared section already (line ' .. known[e.name] .. ')',
        'leave one of them out')
    end
    for _, part in ipairs(e.parts) do
      local ref = type(part) == 'table' and part.ref
      local source = ref and ref:sub(1, #SOURCE) == SOURCE and ref:sub(#SOURCE + 1)
      if source and is_public(e.name) and M.is_secret(source) then
        note(section, e.line, e.name .. ' would put ' .. source .. ' into what browsers download',
          'give it to the backend under a name without that prefix')
      elseif ref and not source and not known[ref] then
        note(section, e.line, e.name .. ': ${' .. ref .. '} is not set above this line',
          'only ENVCTL_SOURCE_… and names from above can be used')
      end
    end
    known[e.name] = e.line
  end
end

local function doubtful_sources(section, known)
  for _, e in ipairs(section.entries) do
    for _, part in ipairs(e.parts) do
      local ref = type(part) == 'table' and part.ref
      local source = ref and ref:sub(1, #SOURCE) == SOURCE and ref:sub(#SOURCE + 1)
      if source and not known[source] then
        local near = require('envctl.util.suggest').nearest(source, M.SOURCES)
        note(section, e.line, e.name .. ': no bundled dependency provides ' .. source,
          near and 'did you mean ENVCTL_SOURCE_' .. near .. '?' or 'the line is skipped unless a script does', true)
      end
    end
  end
end

--- Reads the sections that dotenv.scan found.
---@param scanned envctl.dotenv.Section[]
---@return envctl.launch.Sections
function M.parse(scanned)
  local out = { list = {}, by_name = {}, problems = {} }
  for _, s in ipairs(scanned) do
    local section = out.by_name[s.name]
    if section then
      note(section, s.start or s.stop, 'a second section of that name is ignored', 'put its lines into the first one')
    else
      section = { name = s.name, present = true, entries = {}, problems = {} }
      out.by_name[s.name] = section
      out.list[#out.list + 1] = section
      fill(section, s)
    end
  end
  local known = {}
  for _, name in ipairs(M.SOURCES) do
    known[name] = true
  end
  for _, section in ipairs(out.list) do
    check(section, out.by_name.shared)
    doubtful_sources(section, known)
    for _, p in ipairs(section.problems) do
      out.problems[#out.problems + 1] = p
    end
  end
  table.sort(out.problems, function(a, b)
    if a.line ~= b.line then
      return a.line < b.line
    end
    return a.message < b.message
  end)
  return out
end

---@class envctl.launch.Source
---@field value string
---@field secret boolean?

---@class envctl.launch.Variable
---@field name string
---@field value string
---@field secret boolean a secret source is in it
---@field section string?
---@field line integer?

local function source_of(sources, name)
  local s = sources[name]
  if type(s) == 'string' then
    return { value = s, secret = M.is_secret(name) }
  end
  return s
end

local function resolve_section(section, sources, out, known)
  for _, e in ipairs(section.entries) do
    local text, secret, missing = {}, false, nil
    for i, part in ipairs(e.parts) do
      if type(part) == 'string' then
        text[i] = part
      else
        local source = part.ref:sub(1, #SOURCE) == SOURCE and part.ref:sub(#SOURCE + 1)
        local found
        if source then
          found = source_of(sources, source)
        else
          found = known[part.ref]
        end
        if not found then
          missing = missing or part.ref
          text[i] = ''
        else
          text[i] = found.value
          secret = secret or found.secret or false
        end
      end
    end
    if missing then
      out.skipped[#out.skipped + 1] = { name = e.name, line = e.line, section = section.name, missing = missing }
    else
      local variable = {
        name = e.name, value = table.concat(text), secret = secret, section = section.name, line = e.line,
      }
      out.variables[#out.variables + 1] = variable
      known[e.name] = variable
    end
  end
end

--- The variables of one service. A line whose source is not there is skipped, and so is what uses it. With no section at all
--- every source goes to every service under its own name; with sections a service gets what they say and nothing else.
---@param sections envctl.launch.Sections
---@param service string
---@param sources table<string, string|envctl.launch.Source> by name without prefix
---@return {variables: envctl.launch.Variable[], skipped: {name: string, line: integer, section: string, missing: string}[]}
function M.resolve(sections, service, sources)
  local out = { variables = {}, skipped = {} }
  if #sections.list == 0 then
    local names = {}
    for name in pairs(sources) do
      names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local s = source_of(sources, name)
      out.variables[#out.variables + 1] = { name = name, value = s.value, secret = s.secret or false }
    end
    return out
  end
  local known = {}
  for _, name in ipairs { 'shared', service:lower() } do
    local section = sections.by_name[name]
    if section then
      resolve_section(section, sources, out, known)
    end
  end
  return out
end

--- Percent-encodes what stands in the credentials of a URL.
---@param text string
---@return string
function M.encode(text)
  return (text:gsub('[^%w%-%._~]', function(c)
    return ('%%%02X'):format(c:byte())
  end))
end

--- What stands between the scheme and the path of a URL. What is not known is left out.
---@param at {host: string, user: string?, password: string?}
---@param port string|integer
---@return string
function M.authority(at, port)
  local credentials = M.encode(at.user or '')
  if at.password and at.password ~= '' then
    credentials = credentials .. ':' .. M.encode(at.password)
  end
  local host = at.host:find(':', 1, true) and '[' .. at.host .. ']' or at.host
  return ('%s%s:%s'):format(credentials ~= '' and credentials .. '@' or '', host, port)
end

--- The three URLs of a database: plain, for SQLAlchemy with psycopg, and for asyncpg.
---@param db {host: string, port: integer, user: string?, password: string?, name: string?, query: string?}
---@return {DATABASE_URL: string, SQLALCHEMY_DATABASE_URL: string, ASYNC_DATABASE_URL: string}
function M.database_urls(db)
  local rest = ('://%s/%s'):format(M.authority(db, db.port), M.encode(db.name or ''))
  local query = db.query and '?' .. db.query or ''
  return {
    DATABASE_URL = 'postgresql' .. rest .. query,
    SQLALCHEMY_DATABASE_URL = 'postgresql+psycopg' .. rest .. query,
    -- What libpq calls sslmode.
    ASYNC_DATABASE_URL = 'postgresql+asyncpg' .. rest .. query:gsub('([?&])sslmode=', '%1ssl='),
  }
end

return M
