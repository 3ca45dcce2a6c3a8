--- The generated documents: references of commands, configuration keys and scripts, and the manual page. docs/generate.sh writes
--- them.
local commands = require 'envctl.cli.commands'
local flags = require 'envctl.cli.flags'
local help = require 'envctl.cli.help'
local schema = require 'envctl.config.schema'

local M = {}

local NOTE = '<!-- Written by docs/generate.sh from the tables in lua/envctl. Do not edit. -->'

local CLASSES = {
  inspection = 'looks, and changes nothing',
  utility = 'writes only what it says',
  run = 'starts processes',
  state = 'changes what runs or what is saved',
  action = 'runs programs in projects',
  destructive = 'removes things; `--dry-run` shows what',
}

local function code(text)
  return '`' .. text:gsub('|', '\\|') .. '`'
end

local function cell(text)
  return (text:gsub('|', '\\|'))
end

local function flag_rows(out, list)
  out[#out + 1] = '| option | meaning |'
  out[#out + 1] = '|---|---|'
  for _, flag in ipairs(list) do
    local names = {}
    for i, name in ipairs(flag.names) do
      names[i] = code(name)
    end
    local text = table.concat(names, ' ')
    if flag.kind ~= 'bool' and flag.kind ~= 'const' then
      text = text .. ' ' .. code(flag.meta or 'VALUE')
    end
    out[#out + 1] = '| ' .. text .. ' | ' .. cell(help.about(flag)) .. ' |'
  end
end

local function command_section(out, c)
  out[#out + 1] = '### ' .. c.name
  out[#out + 1] = ''
  out[#out + 1] = c.summary:sub(1, 1):upper() .. c.summary:sub(2) .. '.'
  out[#out + 1] = ''
  out[#out + 1] = '    envctl ' .. c.usage
  out[#out + 1] = ''
  local aliases = {}
  for i, alias in ipairs(help.aliases(c)) do
    aliases[i] = code(alias)
  end
  out[#out + 1] = 'Also ' .. table.concat(aliases, ', ') .. '. Kind: ' .. CLASSES[c.class] .. '.'
    .. (c.config and ' Needs a configured repository.' or '')
    .. (c.repo == 'none' and ' Works outside of a repository.' or '')
  if c.detail then
    out[#out + 1] = ''
    out[#out + 1] = c.detail
  end
  out[#out + 1] = ''
  local list = help.flags_of(c)
  if #list > 0 then
    flag_rows(out, list)
    out[#out + 1] = ''
  end
  for _, example in ipairs(c.examples) do
    out[#out + 1] = '    ' .. example
  end
  out[#out + 1] = ''
end

--- docs/reference/commands.md
---@return string
function M.commands()
  local out = {
    NOTE, '', '# Commands', '',
    'Every name works bare and with two dashes (`list-targets`, `--list-targets`). The first bare word is the command,',
    'a value that an option took is never read again, and `--` ends the options. Without a command it is `start`.', '',
    'Exit codes: 0 done, 1 failed (wrong usage included), 2 interrupted. With `--json` standard output has exactly one',
    'document, also on failure; everything else goes to standard error.', '',
    '## Options of every command', '',
  }
  flag_rows(out, help.global_flags())
  out[#out + 1] = '| `--main` `--tree` `--trees` | work on the repository itself, or on its worktrees |'
  out[#out + 1] = '| `--command` `--action` `NAME` | the command, as an option |'
  out[#out + 1] = '| `--help` `-h` | help; after a command, about that command |'
  out[#out + 1] = '| `--version` `-V` | print the version |'
  out[#out + 1] = ''
  out[#out + 1] = 'Switches take a value as well (`--json=false`), and `--no-X` undoes `--X`.'
  out[#out + 1] = ''
  out[#out + 1] = '## Words `key=value`'
  out[#out + 1] = ''
  out[#out + 1] = '| word | stands for |'
  out[#out + 1] = '|---|---|'
  out[#out + 1] = '| `main=true` `MAIN=true` `trees=false` … | the mode |'
  local rows = {}
  for _, list in ipairs { flags.list, flags.assignments } do
    for _, flag in ipairs(list) do
      if flag.words then
        local words = {}
        for i, word in ipairs(flag.words) do
          words[i] = code(word .. '=')
        end
        rows[#rows + 1] = '| ' .. table.concat(words, ' ') .. ' | '
          .. (flag.names[1] and code(flag.names[1]) or code(flag.key)) .. ' |'
      end
    end
  end
  table.move(rows, 1, #rows, #out + 1, out)
  out[#out + 1] = ''
  for _, section in ipairs(commands.sections) do
    out[#out + 1] = '## ' .. section
    out[#out + 1] = ''
    for _, c in ipairs(commands.list) do
      if c.section == section and not c.hidden then
        command_section(out, c)
      end
    end
  end
  return (table.concat(out, '\n'):gsub('\n+$', '')) .. '\n'
end

local TYPES = {
  mode = 'main, trees', bool = 'true, false', port = '1–65535', int = 'whole number', number = 'number',
  string = 'text', path = 'path', dir = 'directory', command = 'command',
}

local function type_text(def)
  if def.choices then
    return table.concat(def.choices, ', ')
  end
  local text = TYPES[def.type]
  if def.type == 'int' or def.type == 'number' then
    if def.min and def.min > 0 then
      text = text .. ' from ' .. schema.text(def.min)
    end
    if def.max then
      text = text .. ' to ' .. schema.text(def.max)
    end
  end
  return text
end

local function key_row(def)
  local default = def.default
  local text = default == nil and (def.default_text or '') or schema.text(default)
  local notes = {}
  for _, alias in ipairs(def.aliases or {}) do
    notes[#notes + 1] = 'also ' .. code(alias)
  end
  for _, way in ipairs(def.json or {}) do
    notes[#notes + 1] = 'JSON ' .. code(table.concat(way, '.'))
  end
  if def.env_only then
    notes[#notes + 1] = 'environment only'
  end
  local about = def.doc .. (#notes > 0 and ' (' .. table.concat(notes, '; ') .. ')' or '')
  text = text ~= '' and code(text) or ''
  return ('| %s | %s | %s | %s |'):format(code(def.shown or def.key), cell(type_text(def)), text, cell(about))
end

local function key_table(out, title, list)
  out[#out + 1] = '## ' .. title
  out[#out + 1] = ''
  out[#out + 1] = '| key | values | default | meaning |'
  out[#out + 1] = '|---|---|---|---|'
  for _, def in ipairs(list) do
    out[#out + 1] = key_row(def)
  end
  out[#out + 1] = ''
end

--- docs/reference/config.md
---@return string
function M.config()
  local out = {
    NOTE, '', '# Configuration keys', '',
    'In `.envctl` in the root of the repository, one `KEY=VALUE` a line; quotes are taken off, `#` after a blank',
    'begins a comment, `export` in front is allowed, nothing is expanded. The environment overrules the file, flags',
    'overrule both; `envctl show-config` says for each value where it came from. An empty value means "not set" (of a',
    'command: "none"). A bad value stops what would start something and is a warning for the rest.', '',
    'The managed keys are written by `envctl config` into the block between `# >>> envctl managed startup config >>>`',
    'and `# <<< envctl managed startup config <<<`; everything outside stays byte for byte.', '',
  }
  local groups, order = {}, {}
  for _, def in ipairs(schema.list) do
    if not groups[def.group] then
      groups[def.group] = {}
      order[#order + 1] = def.group
    end
    table.insert(groups[def.group], def)
  end
  for _, group in ipairs(order) do
    key_table(out, group, groups[group])
  end
  key_table(out, 'Keys with a name in them', schema.patterns)
  key_table(out, 'Tuning', require('envctl.config.tuning').list)
  local launch = {
    '## Launch environments', '',
    'Sections say what a service gets from dependencies. `shared` goes to every service; any service may have one.', '',
    '    # >>> envctl backend launch env >>>',
    '    DATABASE_URL=${ENVCTL_SOURCE_DATABASE_URL}',
    '    DB_COPY=${DATABASE_URL}',
    '    # <<< envctl backend launch env <<<', '',
    'A line whose source is not there is left out, and so is what uses it. Only `${NAME}` is replaced. With no section',
    'at all, every source goes to every service under its own name. Sources, each with `ENVCTL_SOURCE_` in front:',
  }
  table.move(launch, 1, #launch, #out + 1, out)
  local names = {}
  for i, name in ipairs(require('envctl.config.launch_env').SOURCES) do
    names[i] = code(name)
  end
  out[#out + 1] = table.concat(names, ', ') .. '.'
  return table.concat(out, '\n') .. '\n'
end

local function roff(text)
  return (text:gsub('\\', '\\e'):gsub('%-', '\\-'):gsub('\n%.', '\n\\&.'):gsub('^%.', '\\&.'):gsub('`', ''))
end

local function man_flags(out, list)
  for _, flag in ipairs(list) do
    out[#out + 1] = '.TP'
    out[#out + 1] = '.B ' .. roff(help.flag(flag))
    out[#out + 1] = roff(help.about(flag))
  end
end

--- docs/man/envctl.1
---@return string
function M.man()
  local out = {
    '.\\" Written by docs/generate.sh from the tables in lua/envctl. Do not edit.',
    '.TH ENVCTL 1 "" "envctl" "User Commands"',
    '.SH NAME',
    'envctl \\- local development environments, one per repository and worktree',
    '.SH SYNOPSIS',
    '.B envctl',
    '[\\fICOMMAND\\fR] [\\fIPROJECT\\fR...] [\\fIOPTION\\fR...]',
    '.SH DESCRIPTION',
    'Starts, watches, previews, resumes, tests and takes down complete local development environments: for a git',
    'repository (main mode), and for many worktrees of it side by side (trees mode). Without a command it starts what',
    'the repository is configured for. Every command name works bare and with two dashes.',
    '.SH COMMANDS',
  }
  for _, section in ipairs(commands.sections) do
    out[#out + 1] = '.SS ' .. section
    for _, c in ipairs(commands.list) do
      if c.section == section and not c.hidden then
        out[#out + 1] = '.TP'
        out[#out + 1] = '.B ' .. roff(c.usage)
        local about = c.summary:sub(1, 1):upper() .. c.summary:sub(2) .. '.'
        out[#out + 1] = roff(about .. (c.detail and ' ' .. c.detail or ''))
      end
    end
  end
  out[#out + 1] = '.SH OPTIONS'
  out[#out + 1] = 'Of every command:'
  man_flags(out, help.global_flags())
  out[#out + 1] = '.TP'
  out[#out + 1] = '.B \\-\\-main, \\-\\-trees'
  out[#out + 1] = 'Work on the repository itself, or on its worktrees.'
  out[#out + 1] = '.PP'
  out[#out + 1] = 'Of some commands (see envctl help COMMAND):'
  local rest = {}
  for _, flag in ipairs(flags.list) do
    if flag.groups[1] ~= 'global' then
      rest[#rest + 1] = flag
    end
  end
  man_flags(out, rest)
  local tail = {
    '.SH EXIT STATUS', '0 done, 1 failed (wrong usage included), 2 interrupted.', '.SH FILES', '.TP', '.B .envctl',
    'Configuration of a repository, in its root.', '.TP', '.B .envctl.lua', 'Script of a repository.', '.TP',
    '.B /tmp/envctl\\-runtime\\-UID/engine/', 'Runtime files (RUN_SH_RUNTIME_DIR moves them).', '.TP',
    '.B ~/.local/state/envctl/', 'What survives a reboot.', '.SH EXAMPLES',
  }
  table.move(tail, 1, #tail, #out + 1, out)
  for _, example in ipairs {
    'envctl', 'envctl explain-startup --json', 'envctl --headless --plan backend/checkout',
    'envctl logs --service backend --logs-follow', 'envctl stop-all',
  } do
    out[#out + 1] = '.PP'
    out[#out + 1] = roff(example)
  end
  return table.concat(out, '\n') .. '\n'
end

--- docs/reference/scripting.md
---@return string
function M.scripting()
  return require('envctl.script.reference').text(NOTE)
end

--- The hidden command `__docs NAME`.
---@param name string 'commands' | 'config' | 'man' | 'scripting'
---@return integer exit code
function M.run(name)
  local sys = require 'envctl.host.sys'
  local make = ({ commands = M.commands, config = M.config, man = M.man, scripting = M.scripting })[name or '']
  if not make then
    sys.write(2, 'envctl: __docs is internal to docs/generate.sh\n')
    return 1
  end
  sys.write(1, make())
  return 0
end

return M
