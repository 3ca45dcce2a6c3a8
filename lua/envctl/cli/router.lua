--- Command line -> Route. One pass from left to right: a value that was consumed is never looked at again, the first bare word
--- is the command, `--` ends the options. Nothing here looks at the world.
local err = require 'envctl.err'
local commands = require 'envctl.cli.commands'
local flags = require 'envctl.cli.flags'

local M = {}

--- Command of the line that is being parsed, as far as it is known: for errors.
---@type string?
M.seen = nil

---@class envctl.Route
---@field command string
---@field mode 'main'|'trees'|nil when it was given
---@field flags table<string, any>
---@field projects string[]
---@field services string[]
---@field args string[] bare words after the command
---@field repo string?
---@field implicit boolean no command was given: start
---@field explain envctl.Route? what explain-startup is about

-- Plan flags that are more than a spelling of `plan`. The name decides, never the value.
local PLAN_EFFECTS = {
  ['--sequential-plan'] = { sequential = true, parallel_trees = false },
  ['--plan-sequential'] = { sequential = true, parallel_trees = false },
  ['sequential-plan'] = { sequential = true, parallel_trees = false },
  ['--parallel-plan'] = { parallel_trees = true },
  ['--plan-parallel'] = { parallel_trees = true },
  ['parallel-plan'] = { parallel_trees = true },
  ['--planning-prs'] = { planning_prs = true },
}

local function usage(code, message, hint, data)
  err.raise(code, message, { hint = hint, data = data })
end

local function suggestion(word, candidates, or_else)
  local near = require('envctl.util.suggest').nearest(word, candidates)
  return near and 'did you mean `' .. near .. '`?' or or_else
end

local function keys_of(...)
  local out = {}
  for _, t in ipairs { ... } do
    for k in pairs(t) do
      out[#out + 1] = k
    end
  end
  return out
end

local function unknown_command(word)
  local names = {}
  for name in pairs(commands.words) do
    if #name > 1 then
      names[#names + 1] = name
    end
  end
  usage('unknown_command', 'unknown command `' .. word .. '`', suggestion(word, names, 'see `envctl help`'), {
    word = word,
  })
end

local function unknown_option(token)
  local name = token:match '^([^=]+)=' or token
  local hint
  if name:sub(1, 2) == '--' then
    hint = suggestion(name, keys_of(flags.by_name, flags.mode_flags, commands.dashes), 'see `envctl help`')
  elseif token:find '=' then
    hint = suggestion(name, keys_of(flags.by_word, flags.mode_words), 'see `envctl help`')
  else
    hint = 'see `envctl help`'
  end
  usage('unknown_option', 'unknown option `' .. token .. '`', hint, { word = token })
end

---@class envctl.Parse
---@field tokens string[]
---@field at integer place of the next token
---@field command envctl.Command?
---@field inner envctl.Command? of explain-startup
---@field used {flag: envctl.Flag, name: string}[]
---@field pending {key: string, value: string, token: string}[] assignments before the command was known
---@field route envctl.Route

local function missing(name)
  usage('missing_value', 'missing value for ' .. name, 'see `envctl help`', { word = name })
end

-- The value of a flag: what stands after `=`, else the next token, which must not look like an option.
local function value_of(p, name, inline)
  if inline then
    return inline
  end
  local value = p.tokens[p.at]
  if not value or value:sub(1, 1) == '-' then
    missing(name)
  end
  p.at = p.at + 1
  return value
end

local function split_list(text, name, into)
  local before = #into
  for item in text:gmatch '[^,]+' do
    item = item:match '^%s*(.-)%s*$'
    if item ~= '' then
      into[#into + 1] = item
    end
  end
  if #into == before then
    missing(name) -- an empty list never means all
  end
end

local function bad_value(name, text, wanted)
  usage('invalid_value', name .. ': expected ' .. wanted .. ', got "' .. text .. '"', nil, { word = name })
end

local function number(flag, name, text)
  local value = tonumber(text:match '^%s*([+-]?[%d.]+)%s*$')
  if flag.kind == 'int' then
    value = value and math.tointeger(value)
  end
  if not value or value ~= value or value < (flag.min or -math.huge) then
    local kind = flag.kind == 'int' and 'a whole number' or 'a number'
    bad_value(name, text, kind .. (flag.min and ' of at least ' .. flag.min or ''))
  end
  return value
end

local readers = {
  string = function(_, name, text)
    if text == '' then
      missing(name)
    end
    return text
  end,
  enum = function(flag, name, text)
    for _, choice in ipairs(flag.choices) do
      if choice == text:lower() then
        return choice
      end
    end
    bad_value(name, text, 'one of ' .. table.concat(flag.choices, ', '))
  end,
  int = number,
  number = number,
  bool = function(_, name, text)
    local value = flags.boolean(text)
    if value == nil then
      bad_value(name, text, 'true or false')
    end
    return value
  end,
}

local function store(p, flag, name, value)
  local route = p.route
  p.used[#p.used + 1] = { flag = flag, name = name }
  if flag.key == 'repo' then
    route.repo = value
  else
    route.flags[flag.key] = value
  end
  if value == true then
    for key, also in pairs(flag.also or {}) do
      route.flags[key] = also
    end
  end
end

local function read_pair(p, flag, name, inline)
  local list = p.route.flags[flag.key] or {}
  local first, second
  if inline then
    first, second = inline:match '^%s*([^,]-)%s*,%s*(.-)%s*$'
    if not first or first == '' or second == '' then
      missing(name)
    end
  else
    first = value_of(p, name)
    second = value_of(p, name)
  end
  local n = math.tointeger(tonumber(second))
  if not n or n < 1 then
    bad_value(name, second, 'a whole number of at least 1')
  end
  local field = flag.key == 'setup_worktrees' and 'count' or 'iteration'
  list[#list + 1] = { feature = first, [field] = n }
  store(p, flag, name, list)
end

local function read_flag(p, flag, name, inline)
  local kind = flag.kind
  if kind == 'bool' then
    store(p, flag, name, inline and readers.bool(flag, name, inline) or not inline)
  elseif kind == 'const' then
    local on = not inline or readers.bool(flag, name, inline)
    store(p, flag, name, on == flag.value)
  elseif kind == 'pair' then
    read_pair(p, flag, name, inline)
  elseif kind == 'list' then
    local text = value_of(p, name, inline)
    local list = p.route[flag.key] or p.route.flags[flag.key] or {}
    split_list(text, name, list)
    if p.route[flag.key] then
      p.used[#p.used + 1] = { flag = flag, name = name }
    else
      store(p, flag, name, list)
    end
  elseif kind == 'multi' then
    local list = p.route.flags[flag.key] or {}
    list[#list + 1] = readers.string(flag, name, value_of(p, name, inline))
    store(p, flag, name, list)
  else
    store(p, flag, name, readers[kind](flag, name, value_of(p, name, inline)))
  end
end

local function plan_effects(p, token)
  for key, value in pairs(PLAN_EFFECTS[token] or {}) do
    p.route.flags[key] = value
  end
end

local function two_commands(p, token)
  usage('conflicting_options', 'two commands: `' .. p.command.name .. '` and `' .. token .. '`', 'give one of them')
end

-- A command that was named, bare or dashed. With explain-startup a second one says what is to be explained.
local function set_command(p, command, token)
  local route = p.route
  if command.name == 'help' and p.command and p.command.name ~= 'help' then
    route.help = true
    return
  end
  if not p.command then
    p.command, M.seen = command, command.name
  elseif p.command.name == 'explain-startup' and commands.starts[command.name] then
    if p.inner and p.inner ~= command then
      usage('conflicting_options', 'two commands: `' .. p.inner.name .. '` and `' .. token .. '`', 'give one of them')
    end
    p.inner = command
  elseif command.name == 'explain-startup' and commands.starts[p.command.name] then
    p.inner, p.command = p.command, command
  elseif p.command ~= command then
    if p.command.name == 'help' then
      p.route.args[#p.route.args + 1] = command.name
      return
    end
    two_commands(p, token)
  end
  if command.name == 'plan' then
    plan_effects(p, token)
  end
end

local function explicit_command(p, name, inline)
  local word = value_of(p, name, inline)
  local command = commands.words[word] or commands.dashes[word]
  if not command then
    unknown_command(word)
  end
  set_command(p, command, word)
  p.explicit = true
end

local function option(p, token)
  local name, inline = token:match '^(%-%-?[^=]+)=(.*)$'
  name = name or token
  local flag = flags.by_name[name]
  local mode = flags.mode_flags[name]
  if flag then
    return read_flag(p, flag, name, inline)
  elseif mode then
    local on = not inline or readers.bool(nil, name, inline)
    p.route.mode = (on == (mode == 'main')) and 'main' or 'trees'
    return
  elseif name == '--command' or name == '--action' then
    return explicit_command(p, name, inline)
  elseif (name == '--version' or name == '-V') and not inline then
    p.command, p.inner = commands.by_name.version, nil
    return
  end
  local command = commands.dashes[name]
  if command and (not inline or command.name == 'plan') then
    set_command(p, command, name)
    p.dashed = p.dashed or name
    for item in (inline or ''):gmatch '[^,]+' do
      item = item:match '^%s*(.-)%s*$'
      if item ~= '' then
        p.route.args[#p.route.args + 1] = item
      end
    end
    return
  end
  -- --no-X of a switch X.
  local positive = name:match '^%-%-no%-(.+)$'
  local opposite = positive and flags.by_name['--' .. positive]
  if opposite and opposite.kind == 'bool' and not inline then
    return store(p, opposite, name, false)
  end
  unknown_option(token)
end

local function set_value(p, token)
  local list = p.route.flags.set_values or {}
  list[#list + 1] = token
  store(p, flags.by_name['--set'], '--set', list)
end

-- A word `key=value` that stands for a flag or a mode. False when it is neither.
local function assign(p, key, value)
  local mode, flag = flags.mode_words[key], flags.by_word[key]
  if mode then
    local on = readers.bool(nil, key, value)
    p.route.mode = (on == (mode == 'main')) and 'main' or 'trees'
    return true
  elseif flag then
    if flag.kind == 'list' or flag.kind == 'multi' or flag.kind == 'pair' then
      return false
    end
    store(p, flag, key, readers[flag.kind](flag, key, value))
    return true
  end
  return false
end

local function assignment(p, token)
  local key, value = token:match '^([%w_][%w_.-]*)=(.*)$'
  if not key then
    return false
  end
  local command = p.command and p.command.name
  if command == 'config' then
    set_value(p, token)
  elseif command == 'help' then
    return false
  elseif not assign(p, key, value) then
    if command then
      unknown_option(token)
    end
    p.pending[#p.pending + 1] = token
  end
  return true
end

local function word(p, token)
  local command = commands.words[token]
  if not p.command then
    if not command then
      unknown_command(token)
    end
    p.first_word = token
    return set_command(p, command, token)
  end
  local name = p.command.name
  -- Only towards looking, never towards doing: what is to be explained may stand on either side.
  if name == 'explain-startup' and not p.inner and #p.route.args == 0 and command and commands.starts[command.name] then
    return set_command(p, command, token)
  elseif token == 'explain-startup' and commands.starts[name] and #p.route.args == 0 then
    return set_command(p, command, token)
  end
  p.route.args[#p.route.args + 1] = token
end

-- Words that were read before the command was known.
local function settle_pending(p)
  for _, token in ipairs(p.pending) do
    if p.command and p.command.name == 'config' then
      set_value(p, token)
    else
      unknown_option(token)
    end
  end
end

local function check_applies(p)
  local command = p.command
  for _, used in ipairs(p.used) do
    local ok = flags.applies(used.flag, command)
    if not ok and command.name ~= 'help' and command.name ~= 'version' then
      usage('option_not_applicable', 'option ' .. used.name .. ' does not apply to `' .. command.name .. '`',
        'see `envctl help ' .. command.name .. '`', { word = used.name })
    end
  end
end

local function check_conflicts(p)
  local f, route = p.route.flags, p.route
  local function exclusive(a, b, name_a, name_b)
    if f[a] and f[b] then
      usage('conflicting_options', name_a .. ' and ' .. name_b .. ' exclude each other', 'give one of them')
    end
  end
  exclusive('main_services_local', 'main_services_remote', '--main-services-local', '--main-services-remote')
  exclusive('setup_worktree_existing', 'setup_worktree_recreate', '--reuse-existing-worktree',
    '--recreate-existing-worktree')
  exclusive('commit_message', 'commit_message_file', '--commit-message', '--commit-message-file')
  if f.docker and (f.setup_worktree or f.setup_worktrees) then
    usage('conflicting_options', 'setting up worktrees does not work with --docker', 'leave --docker out')
  end
  local about = p.inner or p.command
  if about.modes == 'trees' then
    if route.mode == 'main' then
      usage('conflicting_options', '`' .. about.name .. '` is about worktrees, --main does not fit', 'leave --main out')
    end
    route.mode = 'trees'
  end
  if (f.setup_worktree or f.setup_worktrees) and route.mode == 'main' then
    usage('conflicting_options', 'setting up worktrees does not fit --main', 'leave --main out')
  elseif f.setup_worktree or f.setup_worktrees then
    route.mode = 'trees'
  end
end

local function check_args(p)
  local route = p.route
  if #route.args > 0 and not p.command.args then
    usage('unexpected_argument', '`' .. p.command.name .. '` takes no arguments, got "' .. route.args[1] .. '"',
      'see `envctl help ' .. p.command.name .. '`', { word = route.args[1] })
  end
  if p.command.args == 'projects' or p.command.args == 'plans' then
    local list = {}
    for _, arg in ipairs(route.args) do
      split_list(arg, 'a name', list)
    end
    route.args = list
  end
end

-- What explain-startup is about: the same words and flags, with the other command.
local function explained(p)
  local route = p.route
  local inner = p.inner or commands.by_name.start
  local copy = {}
  for k, v in pairs(route.flags) do
    copy[k] = v
  end
  for _, used in ipairs(p.used) do
    if not flags.applies(used.flag, inner) then
      usage('option_not_applicable', 'option ' .. used.name .. ' does not apply to `' .. inner.name .. '`',
        'see `envctl help ' .. inner.name .. '`', { word = used.name })
    end
  end
  route.explain = {
    command = inner.name, mode = route.mode, flags = copy, projects = route.projects, services = route.services,
    args = route.args, repo = route.repo, implicit = p.inner == nil,
  }
end

local function finish(p)
  local route = p.route
  settle_pending(p)
  route.implicit = p.command == nil
  p.command = p.command or commands.by_name[route.flags.resume and 'resume' or 'start']
  if p.inner == nil and p.command.name == 'explain-startup' and route.flags.resume then
    p.inner = commands.by_name.resume
  end
  route.command = p.command.name
  -- The word `doctor` in front verifies the installation; --doctor and `d` look at the runtime.
  route.verify = p.command.name == 'doctor' and p.first_word == 'doctor' and not p.dashed and not p.explicit or nil
  if route.help then
    route.args = { p.command.name }
    route.command, p.command = 'help', commands.by_name.help
    return route
  end
  check_applies(p)
  check_conflicts(p)
  check_args(p)
  if route.command == 'explain-startup' then
    explained(p)
  end
  return route
end

--- Parses a command line.
---@param argv string[]
---@return envctl.Route
function M.parse(argv)
  M.seen = nil
  local p = {
    tokens = argv, at = 1, used = {}, pending = {},
    route = { flags = {}, projects = {}, services = {}, args = {} },
  }
  while p.at <= #argv do
    local token = argv[p.at]
    p.at = p.at + 1
    if token == '--' then
      for i = p.at, #argv do
        p.route.args[#p.route.args + 1] = argv[i]
      end
      break
    elseif token:sub(1, 1) == '-' then
      option(p, token)
    elseif not assignment(p, token) then
      word(p, token)
    end
  end
  return finish(p)
end

--- Whether the command line asks for JSON, for errors that come before there is a route.
---@param argv string[]
---@return boolean
function M.wants_json(argv)
  for _, token in ipairs(argv) do
    if token == '--' then
      return false
    elseif token == '--json' or token:find '^%-%-json=' and flags.boolean(token:sub(8)) then
      return true
    end
  end
  return false
end

return M
