--- Where in a script's text a key stands: a small lexer that follows the table a chunk returns. It reads any bytes without
--- failing (a broken script has no useful answer, never an error), and knows nothing of what the keys mean. Pure.
local M = {}

local find, byte, sub = string.find, string.byte, string.sub

---@class envctl.script.Node
---@field line integer
---@field text string? the table constructor at `open` holds its children; they are read when somebody asks
---@field open integer?
---@field breaks integer[]?
---@field children table<string|integer, envctl.script.Node>?
---@field include string? path given to envctl.include for this value
---@field name string? local variable this value is taken from

-- The lexer: one token ahead in kind, value, line.
local Lexer = {}
Lexer.__index = Lexer

local ESCAPES = { n = '\n', t = '\t', r = '\r', a = '\a', b = '\b', f = '\f', v = '\v' }

local function unescape(s)
  if not s:find('\\', 1, true) then
    return s
  end
  s = s:gsub('\\z%s*', '')
  s = s:gsub('\\(%d%d?%d?)', function(d)
    local n = tonumber(d)
    return n < 256 and string.format('\\x%02x', n) or nil
  end)
  s = s:gsub('\\(.)(%x?%x?)', function(c, hex)
    if c == 'x' and #hex == 2 then
      return string.char(tonumber(hex, 16))
    end
    return (ESCAPES[c] or c) .. hex
  end)
  return s
end

-- Position after a long bracket that opens at pos, and where its text starts; nil when none opens there.
local function long_bracket(text, pos)
  local _, open, level = text:find('^%[(=*)%[', pos)
  if not open then
    return nil
  end
  local _, close = text:find(']' .. level .. ']', open + 1, true)
  return (close or #text) + 1, open + 1, close and close - #level - 2 or #text
end

local function skip_blanks(text, pos)
  while true do
    pos = find(text, '%S', pos)
    if not pos then
      return #text + 1
    end
    if byte(text, pos) ~= 45 or byte(text, pos + 1) ~= 45 then
      return pos
    end
    pos = long_bracket(text, pos + 2) or find(text, '\n', pos, true) or #text + 1
  end
end

-- The line of a position, from the positions of all line breaks.
local function line_at(self, pos)
  local breaks = self.breaks
  local low, high = 1, #breaks + 1 -- the answer is the first break at or behind pos
  while low < high do
    local middle = (low + high) // 2
    if breaks[middle] < pos then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local function line_breaks(text)
  local out, n = {}, 0
  for pos in text:gmatch '()\n' do
    n = n + 1
    out[n] = pos
  end
  return out
end

local QUOTED = { [34] = '[\\\n"]', [39] = "[\\\n']" }

local function quoted(text, pos)
  local quote = byte(text, pos)
  local pattern, at = QUOTED[quote], pos + 1
  while true do
    local stop = find(text, pattern, at)
    if not stop then
      return #text + 1, #text
    end
    local c = byte(text, stop)
    if c == quote then
      return stop + 1, stop - 1
    elseif c == 10 then
      return stop, stop - 1 -- unfinished: the line ends it
    end
    at = stop + 2
  end
end

-- What a byte can begin: a name, a string, a number, a long string, or one of the few two-character symbols.
local CLASS = {}
for b = 0, 255 do
  local c = string.char(b)
  CLASS[b] = (c:find('[%a_]') or b > 127) and 'name' or c:find('%d') and 'number' or c:find('["\']') and 'string'
    or c == '[' and 'long' or c == '.' and 'dot' or c:find('[=~<>]') and 'pair' or 'symbol'
end

function Lexer:advance()
  local text = self.text
  local pos = skip_blanks(text, self.pos)
  self.at = pos
  local class = CLASS[byte(text, pos)]
  local _, stop
  if class == 'name' then
    _, stop = find(text, '^[%w_\128-\255]*', pos)
    self.kind, self.value, self.pos = class, sub(text, pos, stop), stop + 1
    return
  elseif class == 'symbol' then
    self.kind, self.value, self.pos = class, sub(text, pos, pos), pos + 1
    return
  elseif class == 'string' then
    local after, last = quoted(text, pos)
    self.kind, self.value, self.pos = class, unescape(text:sub(pos + 1, last)), after
    return
  elseif not class then
    self.kind, self.value, self.pos = 'end', nil, pos
    return
  end
  if class == 'long' then
    local after, from, to = long_bracket(text, pos)
    if after then
      self.kind, self.value, self.pos = 'string', text:sub(from, to), after
      return
    end
  elseif class == 'pair' then
    _, stop = text:find('^.=', pos)
  else
    _, stop = text:find('^%.?%d[%w_.]*', pos)
    if stop then
      self.kind, self.value, self.pos = 'number', math.tointeger(tonumber(text:sub(pos, stop))), stop + 1
      return
    end
  end
  stop = stop or pos
  self.kind, self.value, self.pos = 'symbol', text:sub(pos, stop), stop + 1
end

function Lexer:is(value)
  return self.value == value and (self.kind == 'symbol' or self.kind == 'name')
end

function Lexer:line()
  return line_at(self, self.at)
end

local OPENS = { ['function'] = 1, ['if'] = 1, ['do'] = 1, ['repeat'] = 1 }
local CLOSES = { ['end'] = 1, ['until'] = 1 }

-- Skips an expression up to a `,`, `;` or `}` of the constructor it stands in.
local function skip_value(lx)
  local brackets, blocks = 0, 0
  while lx.kind ~= 'end' do
    local v = lx.value
    if lx.kind == 'symbol' then
      if v == '(' or v == '{' or v == '[' then
        brackets = brackets + 1
      elseif v == ')' or v == ']' or v == '}' then
        if brackets == 0 and blocks == 0 and v == '}' then
          return
        end
        brackets = math.max(brackets - 1, 0)
      elseif (v == ',' or v == ';') and brackets == 0 and blocks == 0 then
        return
      end
    elseif lx.kind == 'name' then
      blocks = math.max(blocks + (OPENS[v] or 0) - (CLOSES[v] or 0), 0)
    end
    lx:advance()
  end
end

-- The position behind the brace that closes the one at pos. Only brackets, texts and comments matter on the way.
local function behind_brace(text, pos)
  local depth = 0
  while true do
    pos = find(text, '[{}"\'%[%-]', pos)
    if not pos then
      return #text + 1
    end
    local c = byte(text, pos)
    if c == 123 then
      depth, pos = depth + 1, pos + 1
    elseif c == 125 then
      depth, pos = depth - 1, pos + 1
      if depth == 0 then
        return pos
      end
    elseif c == 91 then
      pos = long_bracket(text, pos) or pos + 1
    elseif c ~= 45 then
      pos = quoted(text, pos)
    elseif byte(text, pos + 1) == 45 then
      pos = long_bracket(text, pos + 2) or find(text, '\n', pos, true) or #text + 1
    else
      pos = pos + 1
    end
  end
end

-- A table constructor: where it is, for later, and on behind it.
local function skip_table(lx, node)
  node.text, node.breaks, node.open = lx.text, lx.breaks, lx.at
  lx.pos = behind_brace(lx.text, lx.at)
  lx:advance()
end

-- Some call: on behind the bracket that closes it. The opening one is the token now, or `open` of them are passed already.
local function skip_call(lx, open)
  while open > 0 and lx.kind ~= 'end' do
    if lx.kind == 'symbol' then
      open = open + (lx.value == '(' and 1 or 0) - (lx.value == ')' and 1 or 0)
    end
    lx:advance()
  end
end

-- A value that starts here: where its table is when it is one, or a call with one table, such as envctl.append { … }.
local function value(lx)
  local node = { line = lx:line() }
  if lx:is('{') then
    skip_table(lx, node)
    return node
  elseif lx.kind ~= 'name' or OPENS[lx.value] then
    return node
  end
  local first, last, count = lx.value, lx.value, 1
  lx:advance()
  while lx:is('.') do
    lx:advance()
    if lx.kind ~= 'name' then
      return node
    end
    last, count = lx.value, count + 1
    lx:advance()
  end
  local parenthesis = lx:is('(')
  if parenthesis then
    lx:advance()
  end
  if lx:is('{') then
    skip_table(lx, node)
  elseif lx.kind == 'string' and first == 'envctl' and last == 'include' then
    node.include = lx.value
    lx:advance()
  elseif not parenthesis and count == 1 then
    node.name = first
  end
  if parenthesis then
    skip_call(lx, 1)
  end
  return node
end

-- The key at the start of a field, as key and line; nil for a positional value.
local function field_key(lx)
  local line = lx:line()
  if lx.kind == 'name' then
    local pos, at, kind, val = lx.pos, lx.at, lx.kind, lx.value
    lx:advance()
    if lx:is('=') then
      lx:advance()
      return val, line
    end
    lx.pos, lx.at, lx.kind, lx.value = pos, at, kind, val
    return nil, line
  end
  if not lx:is('[') then
    return nil, line
  end
  lx:advance()
  local key = (lx.kind == 'string' or lx.kind == 'number') and lx.value or nil
  lx:advance()
  if lx:is(']') then
    lx:advance()
  end
  if lx:is('=') then
    lx:advance()
  end
  return key == nil and '' or key, line
end

-- The usual fields, name = "text" or name = number, true or false, each in one look.
local WORDS = { ['true'] = true, ['false'] = true }

local function simple_fields(lx, node)
  local text, pos, found = lx.text, lx.at, false
  while true do
    local _, stop, key = find(text, '^([%a_][%w_]*) *= *"[^"\\\n]*" *,%s*', pos)
    if not stop then
      local word
      _, stop, key, word = find(text, '^([%a_][%w_]*) *= *(%w+) *,%s*', pos)
      if stop and not (WORDS[word] or word:find('^%d+$')) then
        stop = nil
      end
    end
    if not stop or OPENS[key] or CLOSES[key] then
      break
    end
    node.children[key] = { line = line_at(lx, pos) }
    pos, found = stop + 1, true
  end
  if found then
    lx.pos = pos
    lx:advance()
  end
end

-- The children of a node, read now when they were not yet.
local function children_of(node)
  if node.children or not node.text then
    return node.children
  end
  node.children = {}
  local lx = setmetatable({ text = node.text, breaks = node.breaks, pos = node.open }, Lexer)
  lx:advance() -- {
  lx:advance()
  local index = 0
  while lx.kind ~= 'end' and not lx:is('}') do
    if lx.kind == 'name' then
      simple_fields(lx, node)
      if lx.kind == 'end' or lx:is('}') then
        break
      end
    end
    local key, line = field_key(lx)
    local child = value(lx)
    child.line = line
    if key == nil then
      index = index + 1
      key = index
    end
    node.children[key] = child
    skip_value(lx)
    if lx:is(',') or lx:is(';') then
      lx:advance()
    end
  end
  node.text, node.breaks = nil, nil
  return node.children
end

-- `name.a.b =` or `name["a"] =` at the top level of a chunk: the path behind the name, nil when it is something else.
local function assignment(lx)
  local path = {}
  while true do
    if lx:is('.') then
      lx:advance()
      if lx.kind ~= 'name' then
        return nil
      end
      path[#path + 1] = lx.value
      lx:advance()
    elseif lx:is('[') then
      lx:advance()
      if lx.kind ~= 'string' and lx.kind ~= 'number' then
        return nil
      end
      path[#path + 1] = lx.value
      lx:advance()
      if not lx:is(']') then
        return nil
      end
      lx:advance()
    else
      break
    end
  end
  if lx:is('=') then
    return path
  end
  return nil
end

local function attach(variables, name, path, node)
  if #path == 0 then
    variables[name] = node
    return
  end
  local at = variables[name]
  for i = 1, at and #path or 0 do
    local children = children_of(at) or {}
    at.children = children
    if i == #path then
      children[path[i]] = node
    else
      children[path[i]] = children[path[i]] or { line = node.line }
      at = children[path[i]]
    end
  end
end

local function statement(lx, variables)
  local line = lx:line()
  local name = lx.value
  lx:advance()
  if name == 'local' then
    name = lx.value
    if lx.kind ~= 'name' or name == 'function' then
      return
    end
    lx:advance()
    if lx:is('<') then -- an attribute
      lx:advance()
      lx:advance()
      lx:advance()
    end
  end
  local path = assignment(lx)
  if path then
    lx:advance()
    local node = value(lx)
    node.line = line
    attach(variables, name, path, node)
  end
end

-- The keywords at which no statement of interest starts.
local KEYWORDS = {
  ['and'] = true, ['break'] = true, ['else'] = true, ['elseif'] = true, ['for'] = true, ['goto'] = true, ['in'] = true,
  ['not'] = true, ['or'] = true, ['then'] = true, ['while'] = true, ['true'] = true, ['false'] = true, ['nil'] = true,
}

---@class envctl.script.Index
---@field root envctl.script.Node?
---@field variables table<string, envctl.script.Node>

--- Reads a script's text.
---@param text string
---@return envctl.script.Index
function M.index(text)
  local lx = setmetatable({ text = text, breaks = line_breaks(text), pos = 1 }, Lexer)
  if text:find('^#') then
    lx.pos = text:find('\n', 1, true) or #text + 1
  end
  lx:advance()
  local variables, root, blocks = {}, nil, 0
  while lx.kind ~= 'end' do
    local v = lx.value
    if lx.kind ~= 'name' then
      lx:advance()
    elseif OPENS[v] or CLOSES[v] then
      blocks = math.max(blocks + (OPENS[v] or 0) - (CLOSES[v] or 0), 0)
      lx:advance()
    elseif blocks > 0 or KEYWORDS[v] then
      lx:advance()
    elseif v == 'return' then
      lx:advance()
      root = value(lx)
    else
      statement(lx, variables)
    end
  end
  return { root = root, variables = variables }
end

local function resolve(index, node)
  for _ = 1, 10 do
    if not node or not node.name or node.children or node.text then
      break
    end
    local target = index.variables[node.name]
    if not target or target == node then
      break
    end
    node = target
  end
  return node
end

--- The line of a path, or of the nearest key above it that is known.
---@param index envctl.script.Index
---@param path (string|integer)[]
---@return integer? line, integer depth how many parts of the path were found, string? include the rest is in that file
function M.find(index, path)
  local node = resolve(index, index.root)
  if not node then
    return nil, 0, nil
  end
  local line, depth = node.line, 0
  for i, key in ipairs(path) do
    if node.include then
      return line, depth, node.include
    end
    local children = children_of(node)
    local child = children and children[key]
    if not child then
      return line, depth, nil
    end
    line, depth = child.line, i
    node = resolve(index, child)
  end
  return line, depth, node.include
end

return M
