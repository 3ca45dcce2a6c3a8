--- Help texts, from the tables of commands and flags.
local commands = require 'envctl.cli.commands'
local flags = require 'envctl.cli.flags'

local M = {}

local WIDTH = 100

local function wrap(text, indent, out)
  local line = indent
  for word in text:gmatch '%S+' do
    if #line + #word + 1 > WIDTH and line ~= indent then
      out[#out + 1] = line
      line = indent
    end
    line = line == indent and line .. word or line .. ' ' .. word
  end
  if line ~= indent then
    out[#out + 1] = line
  end
end

local function two_columns(rows, out)
  local width = 0
  for _, row in ipairs(rows) do
    width = math.max(width, math.min(#row[1], 38))
  end
  for _, row in ipairs(rows) do
    if #row[1] > width then
      out[#out + 1] = '  ' .. row[1]
      out[#out + 1] = (' '):rep(width + 4) .. row[2]
    else
      out[#out + 1] = ('  %-' .. width .. 's  %s'):format(row[1], row[2])
    end
  end
end

--- Spelling of a flag with its placeholder.
---@param flag envctl.Flag
---@return string
function M.flag(flag)
  local names = table.concat(flag.names, ', ')
  if flag.kind == 'bool' or flag.kind == 'const' then
    return names
  end
  return names .. ' ' .. (flag.meta or 'VALUE')
end

--- One line about a flag, with choices and default.
---@param flag envctl.Flag
---@return string
function M.about(flag)
  local text = flag.help
  if flag.choices then
    text = text .. ' (' .. table.concat(flag.choices, ', ') .. ')'
  end
  if flag.default then
    text = text .. ' [' .. flag.default .. ']'
  end
  return text
end

--- Flags of a command in the order of the table, without the global ones.
---@param command envctl.Command
---@return envctl.Flag[]
function M.flags_of(command)
  local out = {}
  for _, flag in ipairs(flags.list) do
    local global = flag.groups[1] == 'global'
    if not global and flags.applies(flag, command) then
      out[#out + 1] = flag
    end
  end
  return out
end

--- The flags that every command takes.
---@return envctl.Flag[]
function M.global_flags()
  local out = {}
  for _, flag in ipairs(flags.list) do
    if flag.groups[1] == 'global' then
      out[#out + 1] = flag
    end
  end
  return out
end

--- All spellings of a command beside its name.
---@param command envctl.Command
---@return string[]
function M.aliases(command)
  local out = {}
  for _, word in ipairs(command.words) do
    out[#out + 1] = word
  end
  if not command.bare_only then
    out[#out + 1] = '--' .. command.name
  end
  for _, dash in ipairs(command.dashes) do
    out[#out + 1] = dash
  end
  if command.name == 'help' then
    out[#out + 1] = '-h'
  end
  return out
end

--- Commands of scripts as data.
---@param list {name: string, help: string?, usage: string?, layer: string, file: string, line: integer}[]
---@return table[]
function M.custom_document(list)
  local json = require 'envctl.util.json'
  local out = json.array {}
  for i, c in ipairs(list) do
    out[i] = {
      name = c.name, summary = c.help or json.null, usage = 'envctl ' .. (c.usage or c.name),
      origin = { layer = c.layer, file = c.file, line = c.line },
    }
  end
  return out
end

--- Why commands of scripts are missing, as data.
---@param problem envctl.Error?
---@return table[]
function M.warnings(problem)
  local json = require 'envctl.util.json'
  return json.array { problem and require('envctl.err').to_table(problem, json.null) }
end

--- The overview.
---@param custom table[]? commands of the repository's scripts
---@param problem envctl.Error? why they are not there
---@return string[] lines
function M.overview(custom, problem)
  local out = {
    'envctl: local development environments, one per repository and worktree',
    '',
    'Usage: envctl [COMMAND] [PROJECT…] [options]        without a command: start',
  }
  for _, section in ipairs(M.sections or commands.sections) do
    local rows = {}
    for _, c in ipairs(commands.list) do
      if c.section == section and not c.hidden then
        rows[#rows + 1] = { c.name, c.summary }
      end
    end
    out[#out + 1] = ''
    out[#out + 1] = section .. ':'
    two_columns(rows, out)
  end
  custom = custom or {}
  if #custom > 0 or problem then
    local clean = require('envctl.ui.clean').text
    local rows = {}
    for i, c in ipairs(custom) do
      rows[i] = { c.name, clean(c.help or '') }
    end
    out[#out + 1] = ''
    out[#out + 1] = 'Of this repository:'
    two_columns(rows, out)
    if problem then
      wrap(clean(problem.message) .. (problem.hint and '; ' .. clean(problem.hint) or ''), '  ', out)
    end
  end
  out[#out + 1] = ''
  out[#out + 1] = 'For every command:'
  local rows = {
    { '--main | --trees', 'work on the repository, or on its worktrees' },
    { '--project NAME, --service NAME, --all', 'what a command is about' },
  }
  for _, key in ipairs { 'json', 'headless', 'repo' } do
    for _, flag in ipairs(flags.list) do
      if flag.key == key then
        rows[#rows + 1] = { M.flag(flag), flag.help }
      end
    end
  end
  rows[#rows + 1] = { '-h, --help', 'after a command: about that command' }
  rows[#rows + 1] = { '--version', 'print the version' }
  two_columns(rows, out)
  out[#out + 1] = ''
  out[#out + 1] = 'More: `envctl help COMMAND`, `man envctl`'
  return out
end

--- Help of one command.
---@param command envctl.Command
---@return string[] lines
function M.command(command)
  local out = { 'envctl ' .. command.name .. ': ' .. command.summary, '', 'Usage: envctl ' .. command.usage }
  out[#out + 1] = ''
  wrap('Also: ' .. table.concat(M.aliases(command), ', '), '', out)
  if command.detail then
    out[#out + 1] = ''
    wrap(command.detail, '', out)
  end
  local rows = {}
  for _, flag in ipairs(M.flags_of(command)) do
    rows[#rows + 1] = { M.flag(flag), M.about(flag) }
  end
  if #rows > 0 then
    out[#out + 1] = ''
    out[#out + 1] = 'Options:'
    two_columns(rows, out)
  end
  out[#out + 1] = ''
  out[#out + 1] = 'Also --json, --headless, --repo PATH, --main, --trees and the others of `envctl help`.'
  out[#out + 1] = ''
  out[#out + 1] = #command.examples > 1 and 'Examples:' or 'Example:'
  for _, example in ipairs(command.examples) do
    out[#out + 1] = '  ' .. example
  end
  return out
end

--- Help of one command of a script.
---@param c {name: string, help: string?, usage: string?, layer: string, file: string, line: integer}
---@return string[] lines
function M.custom(c)
  local clean = require('envctl.ui.clean').text
  return {
    'envctl ' .. c.name .. (c.help and ': ' .. clean(c.help) or ''), '',
    'Usage: envctl ' .. clean(c.usage or c.name), '',
    'A command of this repository: ' .. clean(c.file) .. ':' .. c.line,
  }
end

return M
