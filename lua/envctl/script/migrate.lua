--- The hooks of an old `.envctl.sh` -> the text of a `.envctl.lua` to go on from. What a hook said as data is said in the words of
--- `.envctl.lua`; shell code is not guessed at: it stands in a comment beside the place where its meaning belongs. Pure.
local json = require 'envctl.util.json'

local M = {}

--- The two hooks that there were, in the order in which they ran.
M.names = { 'envctl_setup_infrastructure', 'envctl_define_services' }

local function lines_of(text)
  local out = {}
  for line in (text:gsub('\r\n', '\n') .. '\n'):gmatch '(.-)\n' do
    out[#out + 1] = line
  end
  return out
end

-- `envctl_x() {`, `function envctl_x {` and `function envctl_x() {`: the indentation, and what stands behind the brace.
local function head_of(line, name)
  local indent, rest = line:match('^(%s*)' .. name .. '%s*%(%s*%)%s*(.*)$')
  if not indent then
    indent, rest = line:match('^(%s*)function%s+' .. name .. '%s*(.*)$')
    rest = rest and rest:gsub('^%(%s*%)%s*', '')
  end
  return indent, rest
end

-- The body that begins behind the brace of line `first`. It ends at a brace that is indented like the head, or else at the first
-- one that begins a line.
local function body_of(lines, first, indent, rest)
  local inside = rest:match '^{(.*)$'
  local start = first
  if not inside and rest == '' and (lines[first + 1] or ''):find '^%s*{' then
    start = first + 1
    inside = lines[start]:match '^%s*{(.*)$'
  end
  if not inside then
    return nil
  end
  local one_line = inside:match '^(.*)}%s*$'
  if one_line and one_line:find '%S' then
    return { (one_line:gsub('^%s+', ''):gsub('[;%s]+$', '')) }
  elseif one_line then
    return {}
  end
  local loose
  for i = start + 1, #lines do
    local brace = lines[i]:match '^(%s*)}'
    if brace == indent then
      loose = i
      break
    end
    loose = loose or (brace and i)
  end
  if not loose then
    return nil
  end
  local body = { inside:find '%S' and inside or nil }
  for i = start + 1, loose - 1 do
    body[#body + 1] = lines[i]
  end
  return body
end

-- What `ENVCTL_HOOK_JSON=…` says when that is all that the body does: a table, or nil.
local function data_of(body)
  local code = {}
  for _, line in ipairs(body) do
    local bare = line:match '^%s*(.-)%s*;?%s*$'
    if bare ~= '' and bare:sub(1, 1) ~= '#' and bare ~= ':' and bare ~= 'true' and bare ~= 'return 0' then
      code[#code + 1] = bare
    end
  end
  if #code == 0 then
    return {}
  end
  local text = table.concat(code, '\n'):gsub('\nexport%s+ENVCTL_HOOK_JSON$', '')
  local quoted = text:gsub('^export%s+', ''):match '^ENVCTL_HOOK_JSON=(.*)$'
  local single = quoted and quoted:match "^'([^']*)'$"
  local double = quoted and quoted:match '^"(.*)"$'
  if double and (double:find '[`$]' or double:gsub('\\.', ''):find '"') then
    return nil -- the shell would have put something in
  end
  local value = json.decode(single or (double and double:gsub('\\([\\"$`])', '%1')) or '')
  return type(value) == 'table' and json.strip_nulls(value) or nil
end

---@class envctl.script.OldHook
---@field name string
---@field line integer where it begins
---@field body string[] its lines
---@field data table? what it says, when it only says something

--- The hooks that a shell file defines. Assignments are none of them.
---@param text string
---@return envctl.script.OldHook[]
function M.find(text)
  local lines, out = lines_of(text), {}
  for _, name in ipairs(M.names) do
    for i, line in ipairs(lines) do
      local indent, rest = head_of(line, name)
      local body = indent and body_of(lines, i, indent, rest)
      if body then
        out[#out + 1] = { name = name, line = i, body = body, data = data_of(body) }
        break
      end
    end
  end
  return out
end

-- --- writing ----------------------------------------------------------------------------------------------------------

local function clean(text)
  return (require('envctl.ui.clean').text(text):gsub('\n', ' '))
end

local function comment(out, indent, text)
  out[#out + 1] = (indent .. '-- ' .. clean(text)):gsub('%s+$', '')
end

-- The shell code of a hook, as a comment.
local function quote(out, indent, hook)
  local common
  for _, line in ipairs(hook.body) do
    local own = line:find '%S' and line:match '^%s*'
    common = own and (not common or #own < #common) and own or common
  end
  for _, line in ipairs(hook.body) do
    comment(out, indent, '    ' .. line:sub(#(common or '') + 1))
  end
end

local function literal(value)
  if type(value) == 'string' then
    return (string.format('%q', value):gsub('\\\n', '\\n'))
  elseif type(value) == 'table' then
    local words = {}
    for i, v in ipairs(value) do
      words[i] = literal(v)
    end
    return '{ ' .. table.concat(words, ', ') .. ' }'
  end
  return tostring(value)
end

local function service_name(text)
  local name = tostring(text or ''):lower():gsub('[^%w_-]+', '-'):gsub('^[^%l]+', ''):gsub('-+$', '')
  return name ~= '' and name or 'service'
end

local function is_words(value)
  if type(value) ~= 'table' or #value == 0 then
    return false
  end
  for _, word in ipairs(value) do
    if type(word) ~= 'string' then
      return false
    end
  end
  return true
end

local function port_of(record)
  local port = math.tointeger(tonumber(record.requested_port or record.port or record.actual_port))
  return port and port > 0 and port < 65536 and port or nil
end

-- One service of the old list. Without a command it stays a comment: the hook had started it by itself.
local function write_service(out, record, taken)
  local name = service_name(record.name)
  while taken[name] do
    name = name .. '-2'
  end
  taken[name] = true
  local is_text = type(record.command) == 'string' and record.command:find '%S'
  local command = (is_text or is_words(record.command)) and record.command
  local before = command and '    ' or '    -- '
  if not command then
    comment(out, '    ', 'TODO: the command that starts it; the hook started it by itself')
  end
  local key = name:find '^[%a_][%w_]*$' and name or '["' .. name .. '"]'
  out[#out + 1] = before .. key .. ' = {'
  if type(record.cwd) == 'string' then
    local inside = record.cwd ~= '' and record.cwd:sub(1, 1) ~= '/' and not record.cwd:find('..', 1, true)
    out[#out + 1] = before .. '  ' .. (inside and '' or '-- ') .. 'dir = ' .. literal(clean(record.cwd)) .. ','
      .. (inside and '' or ' -- relative to the project')
  end
  out[#out + 1] = before .. '  command = ' .. (command and literal(command) or '"…"') .. ','
  if is_text and record.command:find '[|&;<>()$`]' then
    out[#out + 1] = before .. '  shell = true,'
  end
  local port = port_of(record)
  if port then
    out[#out + 1] = before .. '  port = ' .. port .. ', -- without it each worktree gets a port of its own, ${port}'
  else
    out[#out + 1] = before .. '  listens = false, -- take this out when it opens ${port}'
  end
  out[#out + 1] = before .. '},'
end

local WRITERS = {}

function WRITERS.envctl_define_services(out, hook)
  local data = hook.data
  local list = data and type(data.services) == 'table' and data.services or {}
  out[#out + 1] = '  services = {'
  if not data then
    comment(out, '    ', 'The hook started services with this; say each of them here:')
    quote(out, '    ', hook)
    comment(out, '    ', 'api = { dir = "api", command = "npm run dev -- --port ${port}", ready = { http = "/" } },')
  elseif #list == 0 then
    comment(out, '    ', 'The hook defined none.')
  end
  if #list > 0 or (data and data.skip_default_services) then
    comment(out, '    ', 'The hook stood in for what envctl finds by itself.')
    out[#out + 1] = '    backend = envctl.unset,'
    out[#out + 1] = '    frontend = envctl.unset,'
  end
  local taken = { backend = true, frontend = true }
  for _, record in ipairs(list) do
    if type(record) == 'table' then
      write_service(out, record, taken)
    end
  end
  out[#out + 1] = '  },'
end

function WRITERS.envctl_setup_infrastructure(out, hook)
  local data = hook.data
  if not data then
    out[#out + 1] = '  on = {'
    comment(out, '    ', 'The hook ran this before the dependencies of each project:')
    quote(out, '    ', hook)
    comment(out, '    ', 'Postgres, Redis and their like are started by envctl itself. For the rest:')
    comment(out, '    ', 'before_start = function(ev, host)')
    comment(out, '    ', '  local result = host.run { "sh", "-c", "…", timeout_ms = 120000 }')
    comment(out, '    ', '  if result.code ~= 0 then')
    comment(out, '    ', '    error(result.stderr)')
    comment(out, '    ', '  end')
    comment(out, '    ', 'end,')
    out[#out + 1] = '  },'
  elseif data.skip_default_requirements and data.skip_default_requirements ~= 0 then
    comment(out, '  ', 'The hook brought its own dependencies, so envctl starts none.')
    out[#out + 1] = '  override = {'
    out[#out + 1] = '    ["deps.select"] = function()'
    out[#out + 1] = '      return {}'
    out[#out + 1] = '    end,'
    out[#out + 1] = '  },'
    local names = {}
    for name in pairs(type(data.requirements) == 'table' and data.requirements or {}) do
      names[#names + 1] = tostring(name)
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local record = data.requirements[name]
      local port = type(record) == 'table' and math.tointeger(tonumber(record.final))
      comment(out, '  ', ('It gave %s%s. To use what runs there: ENVCTL_%s_URL in .envctl, without the function.')
        :format(name, port and ' on port ' .. port or '', (name:upper():gsub('%W', '_'))))
    end
  else
    comment(out, '  ', 'The hook changed nothing about the dependencies.')
  end
end

--- The text of a `.envctl.lua` that says what the hooks said. It loads as it is.
---@param hooks envctl.script.OldHook[]
---@param from string name of the file they are in
---@return string
function M.text(hooks, from)
  local out = {
    '-- What to start here, and how. Written by `envctl migrate-hooks` from ' .. from .. '; it is yours from now on.',
    '-- Look at what comes of it with `envctl explain-startup`; `envctl script check` looks for mistakes.',
    'return {', '  envctl = 1,',
  }
  for _, hook in ipairs(hooks) do
    out[#out + 1] = ''
    comment(out, '  ', from .. ':' .. hook.line .. ': ' .. hook.name)
    WRITERS[hook.name](out, hook)
  end
  out[#out + 1] = '}'
  return table.concat(out, '\n') .. '\n'
end

--- What somebody starts from who has no hooks.
---@return string
function M.starter()
  return [[
return {
  envctl = 1,
  services = {
    -- api = { dir = "api", command = "npm run dev -- --port ${port}", ready = { http = "/" } },
  },
  on = {
    -- before_start = function(ev, host)
    --   host.run { "make", "deps", timeout_ms = 120000 }
    -- end,
  },
}
]]
end

return M
