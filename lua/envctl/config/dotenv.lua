--- The grammar of `.envctl`: one pass over the lines. Assignments, the sections with launch environments, the managed block, and
--- what is wrong with the text, each with its line. Pure. Nothing is expanded and nothing is executed.
local M = {}

M.MANAGED_START = '# >>> envctl managed startup config >>>'
M.MANAGED_END = '# <<< envctl managed startup config <<<'

---@class envctl.dotenv.Entry
---@field key string
---@field value string
---@field line integer
---@field managed boolean it stands in the managed block

---@class envctl.dotenv.Section
---@field name string service, or 'shared'
---@field start integer? line of the opening marker
---@field stop integer? line of the closing marker
---@field legacy boolean
---@field lines {line: integer, text: string}[]

---@class envctl.dotenv.Scan
---@field entries envctl.dotenv.Entry[]
---@field sections envctl.dotenv.Section[] in the order of the file
---@field problems {line: integer, message: string, hint: string?, warning: boolean?}[]
---@field managed_start integer?
---@field managed_stop integer?

--- Calls fn(number, text, ending) for each line; `\n`, `\r\n` and a lone `\r` end one.
---@param text string
---@param fn fun(number: integer, line: string, ending: string)
function M.each_line(text, fn)
  local at, number = 1, 0
  while at <= #text do
    local stop = text:find('[\r\n]', at)
    number = number + 1
    if not stop then
      fn(number, text:sub(at), '')
      return
    end
    local ending = text:sub(stop, stop)
    if ending == '\r' and text:sub(stop + 1, stop + 1) == '\n' then
      ending = '\r\n'
    end
    fn(number, text:sub(at, stop - 1), ending)
    at = stop + #ending
  end
end

--- Reads a marker line: which section it opens or closes.
---@param line string trimmed
---@return string? name, 'start'|'stop'|nil which, boolean? legacy
function M.marker(line)
  if line:sub(1, 1) ~= '#' then
    return nil
  end
  local which = 'start'
  local body = line:match '^# >>> envctl (.-) >>>$'
  if not body then
    which, body = 'stop', line:match '^# <<< envctl (.-) <<<$'
  end
  if not body or body == 'managed startup config' then
    return nil
  end
  local name = body:match '^(%S+) launch env$'
  if name then
    return name:lower(), which, false
  elseif body == 'dependency env' then
    return 'shared', which, true
  end
  name = body:match '^(%S+) dependency env$'
  if name then
    return name:lower(), which, true
  end
end

-- Where a quoted value ends: the first matching quote with nothing but a comment after it.
local function unquote(text, quote)
  local at = 2
  while true do
    local stop = text:find(quote, at, true)
    if not stop then
      return nil
    end
    local rest = text:sub(stop + 1)
    if rest:find '^%s*$' or rest:find '^%s+#' then
      return text:sub(2, stop - 1)
    end
    at = stop + 1
  end
end

--- The value of an assignment, from what stands after `=`: comments and one level of quotes are taken off.
---@param raw string
---@return string value, boolean closed false when a quote is never closed
function M.value(raw)
  local text = raw:match '^%s*(.-)%s*$'
  local quote = text:sub(1, 1)
  if quote == '"' or quote == "'" then
    local inner = unquote(text, quote)
    if inner then
      return inner, true
    end
    return text, false
  elseif raw:find '^%s+#' then
    return '', true
  end
  local comment = text:find '%s#'
  if comment then
    text = text:sub(1, comment - 1):match '^(.-)%s*$'
  end
  return text, true
end

local function problem(scan, line, message, hint, warning)
  scan.problems[#scan.problems + 1] = { line = line, message = message, hint = hint, warning = warning }
end

local function shorten(text)
  text = text:gsub('[%c\127]', '?')
  return #text > 60 and text:sub(1, 57) .. '…' or text
end

local function assignment(scan, line, number, managed)
  local text = line:gsub('^export[ \t]+', '')
  local key, raw = text:match '^([^=]-)%s*=(.*)$'
  if not key then
    problem(scan, number, 'expected KEY=VALUE, got "' .. shorten(line) .. '"', 'put a # in front to make it a comment')
    return
  end
  if not key:find '^[%a_][%w_]*$' then
    problem(scan, number, '"' .. shorten(key) .. '" is not a name for a key', 'letters, digits and _ make a name')
    return
  end
  if not utf8.len(raw) then
    problem(scan, number, key .. ': the value is not UTF-8', 'save the file as UTF-8')
    return
  elseif raw:find '%z' then
    problem(scan, number, key .. ': the value has a NUL byte in it', 'take it out')
    return
  end
  local value, closed = M.value(raw)
  if not closed then
    problem(scan, number, key .. ': the quote is never closed; it is taken as part of the value',
      'close it, or leave it out', true)
  end
  scan.entries[#scan.entries + 1] = { key = key, value = value, line = number, managed = managed }
end

local function open_section(scan, name, number, legacy)
  local section = { name = name, start = number, legacy = legacy, lines = {} }
  scan.sections[#scan.sections + 1] = section
  return section
end

--- Reads a file's text.
---@param text string
---@return envctl.dotenv.Scan
function M.scan(text)
  local scan = { entries = {}, sections = {}, problems = {} }
  local section, managed
  text = text:gsub('^\xEF\xBB\xBF', '')
  M.each_line(text, function(number, raw)
    local line = raw:match '^%s*(.-)%s*$'
    local name, which, legacy = M.marker(line)
    if name and which == 'start' then
      section = open_section(scan, name, number, legacy)
    elseif name then
      if section and section.name == name then
        section.stop = number
        section = nil
      else
        local orphan = open_section(scan, name, nil, legacy)
        orphan.stop = number
      end
    elseif line == M.MANAGED_START or line == M.MANAGED_END then
      local opens = line == M.MANAGED_START
      -- A section that is still open cannot reach into the managed block.
      section = nil
      if opens and not scan.managed_start then
        scan.managed_start, managed = number, true
      elseif not opens and managed then
        scan.managed_stop, managed = number, false
      else
        problem(scan, number, 'a marker of the managed block too many', 'leave one pair of markers in the file')
      end
    elseif section then
      section.lines[#section.lines + 1] = { line = number, text = line }
    elseif line ~= '' and line:sub(1, 1) ~= '#' then
      assignment(scan, line, number, managed == true)
    end
  end)
  if managed then
    problem(scan, scan.managed_start, 'the managed block is never closed',
      'add the line `' .. M.MANAGED_END .. '` after it')
  end
  return scan
end

return M
