--- Command texts of the configuration: split into words first, placeholders afterwards, checked before anything is spawned.
local M = {}

--- Splits like a POSIX shell does, with its quoting and without anything else of it (no variables, no globs, no operators).
---@param text string
---@return string[]? words, string? problem
function M.split(text)
  local words, word, pos = {}, nil, 1
  while pos <= #text do
    local c = text:sub(pos, pos)
    if c:find('%s') then
      words[#words + 1] = word
      word = nil
      pos = pos + 1
    elseif c == "'" then
      local stop = text:find("'", pos + 1, true)
      if not stop then
        return nil, "a ' is never closed"
      end
      word = (word or '') .. text:sub(pos + 1, stop - 1)
      pos = stop + 1
    elseif c == '"' then
      word = word or ''
      pos = pos + 1
      while true do
        local q = text:sub(pos, pos)
        if q == '' then
          return nil, 'a " is never closed'
        elseif q == '"' then
          break
        elseif q == '\\' and text:sub(pos + 1, pos + 1):find('["\\$`]') then
          pos = pos + 1
          q = text:sub(pos, pos)
        end
        word = word .. q
        pos = pos + 1
      end
      pos = pos + 1
    elseif c == '\\' then
      if pos == #text then
        return nil, 'it ends in a \\'
      end
      word = (word or '') .. text:sub(pos + 1, pos + 1)
      pos = pos + 2
    else
      word = (word or '') .. c
      pos = pos + 1
    end
  end
  words[#words + 1] = word
  return words
end

--- `{port}` and `${port}` become the placeholder of the planner; every other `${…}` is text of the user's and stays so.
---@param word string
---@return string
function M.to_template(word)
  return (
    word:gsub('(%$?){([^{}]*)}', function(dollar, name)
      if name == 'port' then
        return '${port}'
      elseif dollar == '$' then
        return '$${' .. name .. '}'
      end
    end)
  )
end

local OPERATORS = { ['&&'] = true, ['||'] = true, ['|'] = true, [';'] = true, ['&'] = true, ['>'] = true, ['<'] = true }

local function shell_hint(text)
  return "there is no shell around the command; write: sh -c '" .. text:gsub("'", "'\\''") .. "'"
end

--- What is wrong with the first word of a command, in the words of somebody who would fix it.
---@param words string[]
---@param dir string service directory, relative to the files' root
---@param files envctl.detect.Files
---@param text string the whole command, for the hints
---@param has_venv boolean? a virtual environment comes first on its PATH, which may not be there yet
---@return string? problem, string? hint
function M.check(words, dir, files, text, has_venv)
  local first = words[1]
  if not first then
    return 'the command is empty', 'leave the key out to have the command detected'
  end
  local assignment = first:match('^([%a_][%w_]*)=')
  if assignment then
    return 'the command starts with the assignment ' .. first,
      'write: env ' .. text .. ' (or put ' .. assignment .. ' into the launch env section of .envctl)'
  end
  for _, word in ipairs(words) do
    if OPERATORS[word] then
      return 'the command contains the shell operator ' .. word, shell_hint(text)
    end
  end
  if not first:find('/', 1, true) then
    if has_venv or files:which(first) then
      return nil
    end
    local here = require('envctl.detect.files').join(dir, first)
    if files:is_file(here) then
      return first .. ' is not on PATH', 'write ./' .. first .. ' to run the file in the service directory'
    end
    return first .. ' is not on PATH', 'install it, or give its path'
  end
  local Files = require 'envctl.detect.files'
  local is_absolute = first:sub(1, 1) == '/'
  local look = is_absolute and Files.open('', { fs = files.fs, sys = files.sys }) or files
  local rel = is_absolute and first:sub(2) or Files.join(dir, first)
  rel = Files.clean(rel) or rel
  if look:is_dir(rel) then
    return first .. ' is a directory', 'give the program inside it'
  elseif not look:is_file(rel) then
    return first .. ' does not exist' .. (is_absolute and '' or ' (looked in ' .. files:path(dir) .. ')'),
      'paths are relative to the directory of the service'
  elseif not look:executable(rel) then
    return first .. ' is not executable', 'run chmod +x ' .. first .. ', or put its interpreter in front'
  end
end

return M
