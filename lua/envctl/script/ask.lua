--- The question whether a script is trusted, on a terminal: show it, show what changed, yes, no. No is the default.
local sys = require 'envctl.host.sys'
local clean = require('envctl.ui.clean').text

local M = {}

local MAX_LINES = 4000

local function lines_of(text)
  local out = {}
  for line in (text:sub(-1) == '\n' and text or text .. '\n'):gmatch('([^\n]*)\n') do
    out[#out + 1] = line
  end
  return out
end

--- What changed from one text to another, as lines with a mark in front. Pure.
---@param before string
---@param after string
---@return string[]
function M.diff(before, after)
  local a, b = lines_of(before), lines_of(after)
  local head = 0
  while head < #a and head < #b and a[head + 1] == b[head + 1] do
    head = head + 1
  end
  local tail = 0
  while tail < #a - head and tail < #b - head and a[#a - tail] == b[#b - tail] do
    tail = tail + 1
  end
  local n, m = #a - head - tail, #b - head - tail
  local out = {}
  local function put(mark, line, number)
    out[#out + 1] = string.format('%s %4d  %s', mark, number, line)
  end
  if n * m > MAX_LINES * 500 then -- too much to compare line by line
    for i = 1, n do
      put('-', a[head + i], head + i)
    end
    for j = 1, m do
      put('+', b[head + j], head + j)
    end
    return out
  end
  local longest = {}
  for i = n + 1, 1, -1 do
    longest[i] = {}
    for j = m + 1, 1, -1 do
      if i > n or j > m then
        longest[i][j] = 0
      elseif a[head + i] == b[head + j] then
        longest[i][j] = longest[i + 1][j + 1] + 1
      else
        longest[i][j] = math.max(longest[i + 1][j], longest[i][j + 1])
      end
    end
  end
  local i, j = 1, 1
  while i <= n or j <= m do
    if i <= n and j <= m and a[head + i] == b[head + j] then
      i, j = i + 1, j + 1
    elseif j > m or (i <= n and longest[i + 1][j] >= longest[i][j + 1]) then
      put('-', a[head + i], head + i)
      i = i + 1
    else
      put('+', b[head + j], head + j)
      j = j + 1
    end
  end
  return out
end

local function say(text)
  sys.write(2, text .. '\n')
end

-- What a terminal would not show has to be said.
local function shown(line)
  local text = clean(line)
  return text == line and text or text .. '    <- has characters that are not shown'
end

local function show(name, text)
  say('--- ' .. clean(name))
  for i, line in ipairs(lines_of(text)) do
    say(string.format('%4d  %s', i, shown(line)))
  end
end

local function view(session)
  for _, entry in ipairs(session.entries) do
    if entry.repository and not entry.trusted then
      show(entry.name, entry.text)
      local names = {}
      for rel in pairs(entry.includes) do
        names[#names + 1] = rel
      end
      table.sort(names)
      for _, rel in ipairs(names) do
        show(rel, entry.includes[rel])
      end
    end
  end
end

local function changes(session)
  local trust = require 'envctl.script.trust'
  for _, entry in ipairs(session.entries) do
    if entry.repository and not entry.trusted then
      local before, when = trust.last(session.repo, entry)
      if not before then
        say(clean(entry.name) .. ' was never trusted here')
      else
        say('--- ' .. clean(entry.name) .. ', since ' .. tostring(when))
        for _, line in ipairs(M.diff(before, entry.text)) do
          say(shown(line))
        end
      end
    end
  end
end

local function names_of(session)
  local out = {}
  for _, entry in ipairs(session.entries) do
    if entry.repository and not entry.trusted then
      out[#out + 1] = clean(entry.name)
    end
  end
  return table.concat(out, ' and ')
end

--- Asks. True for yes only.
---@param session envctl.script.Session
---@return boolean
function M.trust(session)
  say('envctl: ' .. names_of(session) .. ' of this repository wants to run commands on this machine')
  while true do
    sys.write(2, 'trust it? [v]iew, [d]iff, [y]es, [N]o: ')
    local line = sys.read_line()
    local word = line and line:lower():match('^%s*(%a*)%s*$')
    if word == 'v' or word == 'view' then
      view(session)
    elseif word == 'd' or word == 'diff' then
      changes(session)
    elseif word == 'y' or word == 'yes' then
      return true
    else
      return false
    end
  end
end

return M
