--- Values -> text of `.envctl`. Only the managed block is rewritten; everything outside stays byte for byte, except that managed
--- keys that stand outside are moved in. merge() is pure; write() keeps mode and follows symbolic links.
local fs = require 'envctl.host.fs'
local err = require 'envctl.err'
local schema = require 'envctl.config.schema'
local dotenv = require 'envctl.config.dotenv'

local M = {}

local BOM = '\xEF\xBB\xBF'

-- One block of lines each, in this order.
local GROUPS = {
  { 'ENVCTL_DEFAULT_MODE' },
  { 'BACKEND_DIR', 'FRONTEND_DIR' },
  { 'BACKEND_PORT_BASE', 'FRONTEND_PORT_BASE', 'DB_PORT', 'REDIS_PORT', 'N8N_PORT_BASE', 'PORT_SPACING' },
}
for _, mode in ipairs { 'MAIN', 'TREES' } do
  local group = {}
  for _, name in ipairs { 'STARTUP', 'BACKEND', 'FRONTEND', 'POSTGRES', 'REDIS', 'SUPABASE', 'N8N' } do
    group[#group + 1] = mode .. '_' .. name .. '_ENABLE'
  end
  GROUPS[#GROUPS + 1] = group
end

--- A line that reads back as this value, or nil when no line does.
---@param key string
---@param value any
---@return string?
function M.line(key, value)
  local text = schema.text(value)
  for _, candidate in ipairs { text, '"' .. text .. '"', "'" .. text .. "'" } do
    local back, closed = dotenv.value(candidate)
    if closed and back == text then
      return key .. '=' .. candidate
    end
  end
end

local function line_or_raise(key, value)
  local line = M.line(key, value)
  if not line then
    err.raise('config_invalid', key .. ': this value cannot be written into a file', { data = { key = key } })
  end
  return line
end

--- Lines of the managed block, markers included.
---@param values table<string, any>
---@return string[]
function M.block(values)
  local out = { dotenv.MANAGED_START }
  for i, group in ipairs(GROUPS) do
    if i > 1 then
      out[#out + 1] = ''
    end
    for _, key in ipairs(group) do
      out[#out + 1] = line_or_raise(key, values[key])
    end
  end
  out[#out + 1] = dotenv.MANAGED_END
  return out
end

-- What a new file begins its launch environments with.
local SEED = {
  '# What services get from dependencies. A line whose source is not running is left out, and so is what uses it.',
  '# >>> envctl backend launch env >>>',
  'DATABASE_URL=${ENVCTL_SOURCE_DATABASE_URL} # postgresql://...',
  'SQLALCHEMY_DATABASE_URL=${ENVCTL_SOURCE_SQLALCHEMY_DATABASE_URL} # postgresql+psycopg://...',
  'ASYNC_DATABASE_URL=${ENVCTL_SOURCE_ASYNC_DATABASE_URL} # postgresql+asyncpg://...',
  'REDIS_URL=${ENVCTL_SOURCE_REDIS_URL}',
  'N8N_URL=${ENVCTL_SOURCE_N8N_URL}',
  'SUPABASE_URL=${ENVCTL_SOURCE_SUPABASE_URL}',
  '# MY_NAME_FOR_IT=${DATABASE_URL}',
  '# <<< envctl backend launch env <<<',
  '',
  '# >>> envctl frontend launch env >>>',
  '# VITE_SUPABASE_URL=${ENVCTL_SOURCE_SUPABASE_URL}',
  '# <<< envctl frontend launch env <<<',
}

--- The line ending that a text mostly has.
---@param text string
---@return string
function M.newline(text)
  local _, crlf = text:gsub('\r\n', '')
  local _, lf = text:gsub('\n', '')
  if crlf * 2 > lf then
    return '\r\n'
  elseif lf == 0 and text:find '\r' then
    return '\r'
  end
  return '\n'
end

local function split(text)
  local lines = {}
  dotenv.each_line(text, function(number, line, ending)
    lines[number] = { text = line, ending = ending, trimmed = line:match '^%s*(.-)%s*$' }
  end)
  return lines
end

-- First and last line of the managed block. A block that is never closed reaches as far as its own keys do.
local function region(scan, lines)
  local start, stop = scan.managed_start, scan.managed_stop
  if not start then
    return nil
  elseif stop then
    return start, stop
  end
  stop = start
  for i = start + 1, #lines do
    local key = lines[i].trimmed:match '^([%w_]+)%s*='
    local def = key and schema.by_key[key]
    if def and def.managed then
      stop = i
    elseif lines[i].trimmed ~= '' then
      break
    end
  end
  return start, stop
end

local function is_managed(key)
  local def = schema.by_key[key]
  return def ~= nil and def.managed == true
end

-- Own lines that somebody put between the markers: kept, below the block.
local function guests(lines, start, stop)
  local out = {}
  for i = start + 1, stop - 1 do
    local trimmed = lines[i].trimmed
    local key = trimmed:gsub('^export[ \t]+', ''):match '^([^=]-)%s*='
    if trimmed ~= '' and not (key and is_managed(key)) and trimmed ~= dotenv.MANAGED_END then
      out[#out + 1] = lines[i].text
    end
  end
  return out
end

local function check_markers(scan, file)
  for _, p in ipairs(scan.problems) do
    if p.message:find('marker of the managed block', 1, true) then
      err.raise('config_invalid', p.message, { where = file .. ':' .. p.line, hint = p.hint })
    end
  end
end

---@class envctl.config.Merge
---@field text string
---@field moved string[] managed keys that stood outside the block
---@field seeded boolean launch environments were added

local function assemble(parts, newline)
  local out = {}
  for _, part in ipairs(parts) do
    out[#out + 1] = part.text .. (part.ending or newline)
  end
  return table.concat(out)
end

--- New text of a file.
---@param text string of now; '' for a new file
---@param values table<string, any> every managed key
---@param others table<string, any>? known keys outside of the block that were set too; '' takes a value away
---@param file string? for messages
---@return envctl.config.Merge
function M.merge(text, values, others, file)
  local bom = text:sub(1, 3) == BOM and BOM or ''
  text = text:sub(#bom + 1)
  local scan = dotenv.scan(text)
  check_markers(scan, file or '.envctl')
  local newline, lines = M.newline(text), split(text)
  local start, stop = region(scan, lines)
  local moved, drop, set = {}, {}, {}
  for _, entry in ipairs(scan.entries) do
    local inside = start and entry.line >= start and entry.line <= stop
    if not inside and is_managed(entry.key) then
      drop[entry.line] = true
      moved[#moved + 1] = entry.key
    elseif not inside and others and others[entry.key] ~= nil then
      set[entry.key] = entry.line -- the last one counts
    end
  end
  local replace, append = {}, {}
  for key, value in pairs(others or {}) do
    if set[key] then
      replace[set[key]] = line_or_raise(key, value)
    else
      append[#append + 1] = line_or_raise(key, value)
    end
  end
  table.sort(append)

  local parts = {}
  local function add_block()
    for _, line in ipairs(M.block(values)) do
      parts[#parts + 1] = { text = line }
    end
    for _, line in ipairs(start and guests(lines, start, stop) or {}) do
      parts[#parts + 1] = { text = line }
    end
  end
  for i, line in ipairs(lines) do
    if i == start then
      add_block()
    elseif not (start and i > start and i <= stop) and not drop[i] then
      local ending = line.ending
      if ending == '' and (#append > 0 or not start) then
        ending = newline
      end
      parts[#parts + 1] = { text = replace[i] or line.text, ending = ending }
    end
  end
  if not start then
    local last = parts[#parts]
    if last and last.text:find '%S' then
      parts[#parts + 1] = { text = '' }
    end
    add_block()
  end
  local seeded = #lines == 0
  if seeded then
    parts[#parts + 1] = { text = '' }
    for _, line in ipairs(SEED) do
      parts[#parts + 1] = { text = line }
    end
  end
  if #append > 0 then
    parts[#parts + 1] = { text = '' }
    for _, line in ipairs(append) do
      parts[#parts + 1] = { text = line }
    end
  end
  return { text = bom .. assemble(parts, newline), moved = moved, seeded = seeded }
end

--- What is wrong with a set of values as a whole.
---@param values table<string, any>
---@return string[] errors, string[] warnings
function M.validate(values)
  local errors, warnings = {}, {}
  for _, mode in ipairs { 'main', 'trees' } do
    local function on(name)
      return values[mode:upper() .. '_' .. name .. '_ENABLE'] == true
    end
    local any = on 'BACKEND' or on 'FRONTEND' or on 'POSTGRES' or on 'REDIS' or on 'SUPABASE' or on 'N8N'
    if on 'STARTUP' and not any then
      errors[#errors + 1] = mode .. ' mode has to enable something, or switch ' .. mode:upper() .. '_STARTUP_ENABLE off'
    end
    if on 'POSTGRES' and on 'SUPABASE' then
      errors[#errors + 1] = mode .. ' mode cannot enable both postgres and supabase'
    end
  end
  local seen = {}
  for _, key in ipairs { 'BACKEND_PORT_BASE', 'FRONTEND_PORT_BASE', 'DB_PORT', 'REDIS_PORT', 'N8N_PORT_BASE' } do
    local port = values[key]
    if seen[port] then
      warnings[#warnings + 1] = ('%s and %s are both %d'):format(seen[port], key, port)
    end
    seen[port] = key
  end
  return errors, warnings
end

--- The file that a path means: what a symbolic link points to.
---@param file string
---@return string
function M.target(file)
  local stat = fs.lstat(file)
  if stat and stat.type == 'link' then
    return fs.realpath(file) or file
  end
  return file
end

--- Writes a text file durably, with the mode that it had.
---@param file string
---@param text string
function M.write(file, text)
  local target = M.target(file)
  local stat = fs.stat(target)
  err.check(fs.write_atomic(target, text, { mode = stat and stat.mode or 420 }))
end

return M
