--- Completion. The shells' scripts are thin: they hand the words over to `envctl __complete` and show what it prints, so that
--- every shell knows the same, projects, services and plans included.
local commands = require 'envctl.cli.commands'
local flags = require 'envctl.cli.flags'

local M = {}

M.shells = { 'bash', 'fish', 'zsh' }

-- Flags whose value is a file or directory: the shell completes those itself.
local FILES = {
  repo = true, shell_file = true, output_dir = true, commit_message_file = true, debug_trace_log = true, to = true,
  file = true,
}

local function add(out, word, about)
  out[#out + 1] = { word, about or '' }
end

-- A quiet context: completion never fails, it only knows less.
local function context()
  local ctx = require('envctl.context').new({ flags = {}, projects = {}, services = {}, args = {} }, nil)
  return ctx
end

local function projects(command, out)
  local ctx = context()
  local list = require 'envctl.repo.projects'
  if not (command and command.modes == 'trees') then
    add(out, 'Main', 'the repository itself')
  end
  for _, p in ipairs(list.trees(ctx.roots, ctx.settings)) do
    add(out, p.name, p.branch or p.root)
  end
end

-- Those of the two that envctl finds by itself, of the scripts, and of what is saved. Names that come twice are shown once.
local function services(out)
  local ctx = context()
  add(out, 'backend')
  add(out, 'frontend')
  local doc = require('envctl.state.store').read(ctx.paths)
  for _, record in pairs(doc and doc.services or {}) do
    add(out, record.service)
  end
  for _, name in ipairs(require('envctl.script.host').service_names(ctx)) do
    add(out, name)
  end
end

local function plans(out)
  local ctx = context()
  for _, plan in ipairs(require('envctl.repo.plans').list(ctx.roots, ctx.settings)) do
    add(out, (plan.id:gsub('%.[mM][dD]$', '')), plan.feature)
  end
end

local function command_names(out)
  for _, c in ipairs(commands.list) do
    if not c.hidden then
      add(out, c.name, c.summary)
    end
  end
  for _, c in ipairs((require('envctl.script.host').custom_commands(context()))) do
    add(out, c.name, c.help)
  end
end

local function keys(out)
  for _, def in ipairs(require('envctl.config.schema').list) do
    if not def.env_only then
      add(out, def.key .. '=', def.doc)
    end
  end
end

local function values_of(flag, command, out)
  if flag.key == 'projects' or flag.key == 'include_existing_worktrees' then
    projects(command, out)
  elseif flag.key == 'services' then
    services(out)
  elseif flag.key == 'count' then
    plans(out)
  elseif flag.key == 'preset' then
    for _, name in ipairs(require('envctl.prompts').names) do
      add(out, name)
    end
    add(out, 'all')
  elseif flag.key == 'cli' then
    for _, name in ipairs { 'codex', 'claude', 'opencode', 'all' } do
      add(out, name)
    end
  elseif flag.key == 'set_values' then
    keys(out)
  elseif flag.key == 'run' then
    add(out, 'previous')
  elseif FILES[flag.key] then
    out.files = true
  end
  for _, choice in ipairs(flag.choices or {}) do
    add(out, choice)
  end
end

-- Words behind `script` and `data`: what to do, then with what.
local function behind(command, before, out)
  local handler = require(commands.module(command.name))
  if #before == 0 then
    for _, name in ipairs(handler.actions or {}) do
      add(out, name)
    end
  elseif command.name == 'script' and #before == 1 and (before[1] == 'eject' or before[1] == 'points') then
    local points = require 'envctl.script.points'
    for _, point in ipairs(points.list) do
      if point.available then
        add(out, point.name, point.doc)
      end
    end
  elseif command.name == 'data' then
    for id, definition in pairs(require('envctl.deps.definitions').by_id) do
      if not definition.part_of then
        add(out, id)
      end
    end
  end
end

local function arguments(command, before, out)
  if command.name == 'explain-startup' then
    for _, name in ipairs { 'start', 'plan', 'restart', 'resume' } do
      add(out, name, commands.by_name[name].summary)
    end
    projects(command, out)
  elseif command.args == 'projects' then
    projects(command, out)
  elseif command.args == 'plans' then
    plans(out)
  elseif command.args == 'commands' then
    command_names(out)
  elseif command.args == 'assignments' then
    keys(out)
  elseif command.args == 'preset' then
    values_of(flags.by_name['--preset'], command, out)
  elseif command.args == 'shell' then
    for _, shell in ipairs(M.shells) do
      add(out, shell)
    end
  elseif command.name == 'script' or command.name == 'data' then
    behind(command, before, out)
  end
end

local function dashed(command, out)
  for _, flag in ipairs(flags.list) do
    if not command or flag.groups[1] == 'global' or flags.applies(flag, command) then
      for _, name in ipairs(flag.names) do
        if name:sub(1, 2) == '--' then
          add(out, name, flag.help)
        end
      end
    end
  end
  for name in pairs(flags.mode_flags) do
    add(out, name, 'mode')
  end
  add(out, '--help', 'about this command')
  if not command then
    for dash, c in pairs(commands.dashes) do
      if dash:sub(1, 2) == '--' and dash ~= '--help' then
        add(out, dash, c.summary)
      end
    end
  end
end

local function takes_value(flag)
  return flag and flag.kind ~= 'bool' and flag.kind ~= 'const'
end

-- What the words before the cursor mean: the command, the flag that waits for its value, and the words that are no flags.
local function read(typed)
  local command, waiting
  local plain, i = {}, 1
  while i <= #typed do
    local word = typed[i]
    local flag = flags.by_name[word]
    waiting = nil
    if takes_value(flag) then
      if i == #typed then
        waiting = flag
      end
      i = i + (flag.kind == 'pair' and 2 or 1)
    elseif word == '--command' or word == '--action' then
      i = i + 1
      command = commands.words[typed[i] or ''] or command
    elseif not command and #plain == 0 then
      command = commands.words[word] or commands.dashes[word:match '^[^=]+' or '']
      if not command and not word:find '^%-' and not word:find '=' then
        plain[1] = word -- a command of the repository
      end
    elseif word:sub(1, 1) ~= '-' then
      plain[#plain + 1] = word
    end
    i = i + 1
  end
  return command, waiting, plain
end

--- Candidates for the last word.
---@param words string[] of the command line after `envctl`, the last one as far as it is typed
---@return {[1]: string, [2]: string}[] candidates; field files: the shell completes file names
function M.candidates(words)
  local current = words[#words] or ''
  local command, waiting, before = read(table.move(words, 1, #words - 1, 1, {}))
  local out = {}
  local prefix, rest = current:match '^(%-%-[%w-]+=)(.*)$'
  local ok = pcall(function()
    if waiting then
      values_of(waiting, command, out)
    elseif prefix then
      local flag = flags.by_name[prefix:sub(1, -2)]
      if flag then
        values_of(flag, command, out)
      elseif commands.dashes[prefix:sub(1, -2)] == commands.by_name.plan then
        plans(out)
      end
    elseif current:sub(1, 1) == '-' then
      dashed(command, out)
    elseif command then
      arguments(command, before, out)
    elseif #before > 0 then
      out.files = true
    else
      command_names(out)
    end
  end)
  local _ = ok -- outside of a repository there is less to say
  local typed, kept, seen = rest or current, { files = out.files }, {}
  -- Of a comma list only the last part is completed.
  local list = typed:match '^(.*,)' or ''
  typed = typed:sub(#list + 1)
  for _, c in ipairs(out) do
    if c[1]:sub(1, #typed):lower() == typed:lower() and not seen[c[1]] then
      seen[c[1]] = true
      kept[#kept + 1] = { (prefix or '') .. list .. c[1], c[2] }
    end
  end
  table.sort(kept, function(a, b)
    return a[1] < b[1]
  end)
  return kept
end

--- The hidden command `__complete WORD…`.
---@param argv string[] with the name of the hidden command first
---@return integer exit code
function M.run(argv)
  local words = table.move(argv, 2, #argv, 1, {})
  if words[1] == '--' then
    table.remove(words, 1)
  end
  local found = require('envctl.task').main(M.candidates, words)
  local lines = {}
  if found.files then
    lines[1] = ':files'
  end
  local clean = require('envctl.ui.clean').text
  for _, c in ipairs(found) do
    lines[#lines + 1] = clean(c[1]) .. '\t' .. clean(c[2])
  end
  if #lines > 0 then
    require('envctl.host.sys').write(1, table.concat(lines, '\n') .. '\n')
  end
  return 0
end

local SCRIPTS = {}

SCRIPTS.bash = [==[
# bash completion of envctl. Load it with:  source <(envctl completion bash)
_envctl() {
  local words=() i word current answer line
  # Bash splits at "=" and ":": put the pieces together again.
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ ($word == "=" || $word == ":") && ${#words[@]} -gt 0 ]]; then
      words[-1]+=$word
    elif [[ ${#words[@]} -gt 0 && (${words[-1]} == *= || ${words[-1]} == *:) && $i -gt 1 ]]; then
      words[-1]+=$word
    else
      words+=("$word")
    fi
  done
  current=${words[-1]}
  COMPREPLY=()
  answer=$("${COMP_WORDS[0]}" __complete -- "${words[@]}" 2>/dev/null) || return
  while IFS= read -r line; do
    if [[ $line == ":files" ]]; then
      compopt -o default
      continue
    fi
    line=${line%%$'\t'*}
    [[ -z $line ]] && continue
    # Only what stands behind the last "=" or ":" is replaced.
    if [[ $current == *[=:]* ]]; then
      line=${line#"${current%"${current##*[=:]}"}"}
    fi
    COMPREPLY+=("$line")
  done <<<"$answer"
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
    compopt -o nospace
  fi
}
complete -F _envctl envctl
]==]

SCRIPTS.zsh = [==[
#compdef envctl
# zsh completion of envctl. Save it as _envctl in a directory of $fpath, or:  source <(envctl completion zsh)
_envctl() {
  local -a found
  local line word about
  local answer
  answer=$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null) || return 1
  for line in "${(@f)answer}"; do
    if [[ $line == ":files" ]]; then
      _files
      continue
    fi
    [[ -z $line ]] && continue
    word=${line%%$'\t'*}
    about=${line#*$'\t'}
    found+=("${word//:/\\:}:$about")
  done
  _describe -t envctl 'envctl' found
}
if [[ $funcstack[1] == _envctl ]]; then
  _envctl "$@"
else
  compdef _envctl envctl
fi
]==]

SCRIPTS.fish = [==[
# fish completion of envctl. Load it with:  envctl completion fish | source
function __envctl_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)
    if test "$line" = ":files"
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c envctl -f -a '(__envctl_complete)'
]==]

--- The script for a shell, or nil.
---@param shell string
---@return string?
function M.script(shell)
  return SCRIPTS[shell]
end

return M
