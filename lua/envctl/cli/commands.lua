--- The one table of commands. Router, help, list-commands, completion, manual and documentation all read it; the flags are in
--- envctl.cli.flags.
---
--- Fields of a command:
---   name      public name; also accepted with two dashes (unless bare_only: --wait is a flag)
---   words     other bare spellings
---   dashes    other dashed spellings (without the name)
---   section   where help shows it
---   class     'inspection' | 'utility' | 'run' | 'state' | 'action' | 'destructive' (what it may do)
---   groups    groups of flags that apply (besides the global ones)
---   args      nil (takes no words) | 'projects' | 'plans' | 'commands' | 'assignments' | 'preset' | 'shell' | 'words'
---   repo      'required' (default) | 'optional' | 'none'
---   config    true when it needs a configured repository
---   modes     'trees' when it is about worktrees only
---   implied   true when a current directory inside of a worktree stands for that project
---   reference true for the 33 commands of the Python engine
---   summary, usage, example(s), detail: for people
local M = {}

---@class envctl.Command
---@field name string
---@field words string[]
---@field dashes string[]
---@field section string
---@field class string
---@field groups string[]
---@field args string?
---@field repo 'required'|'optional'|'none'
---@field config boolean?
---@field modes string?
---@field implied boolean?
---@field reference boolean?
---@field hidden boolean?
---@field bare_only boolean?
---@field summary string
---@field usage string
---@field examples string[]
---@field detail string?

M.sections = { 'Run', 'Look', 'Work', 'Worktrees', 'Set up', 'Diagnose' }

---@type envctl.Command[]
M.list = {
  {
    name = 'start', section = 'Run', class = 'run', reference = true, config = true, implied = true,
    groups = { 'target', 'run', 'start', 'dry', 'wait' }, args = 'projects',
    summary = 'start the environment (the default command)',
    usage = '[start] [PROJECT…] [options]',
    examples = { 'envctl', 'envctl --main --headless', 'envctl start --trees --project checkout-1' },
    detail = 'Plans first, then applies exactly that plan: `envctl explain-startup` shows it without running anything.'
      .. ' What already runs as wanted is kept.',
  },
  {
    name = 'plan', section = 'Run', class = 'run', reference = true, config = true,
    words = { 'parallel-plan', 'sequential-plan' },
    dashes = {
      '--parallel-plan', '--sequential-plan', '--plan-selection', '--planning-envs', '--planning-prs',
      '--plan-parallel', '--plan-sequential',
    },
    groups = { 'target', 'run', 'start', 'plan', 'dry', 'wait' }, args = 'plans', modes = 'trees',
    summary = 'turn plan files into worktrees and start them',
    usage = '--plan [SELECTOR…] [options]',
    examples = {
      'envctl --plan', 'envctl --headless --plan backend/checkout', 'envctl --plan=a,b --sequential-plan',
    },
    detail = 'A selector is a plan file below the planning directory, with or without its group and `.md`. Naming a'
      .. ' plan means at least one worktree for it; worktrees are never deleted by naming too few.',
  },
  {
    name = 'restart', section = 'Run', class = 'run', reference = true, config = true, implied = true,
    words = { 'r' },
    groups = { 'target', 'run', 'saved', 'dry', 'wait' }, args = 'projects',
    summary = 'stop and start again, on the same ports',
    usage = 'restart [PROJECT…] [--service NAME] [options]',
    examples = { 'envctl restart', 'envctl restart --service backend' },
  },
  {
    name = 'resume', section = 'Run', class = 'run', reference = true,
    groups = { 'target', 'run', 'saved', 'dry', 'wait' }, args = 'projects',
    summary = 'bring back what the saved state says should run',
    usage = '--resume [options]',
    examples = { 'envctl --resume', 'envctl --headless --resume' },
    detail = 'Keeps what is alive and healthy, restarts only what is not, keeps ports, and says per service what it'
      .. ' did.',
  },
  {
    name = 'stop', section = 'Run', class = 'state', reference = true, implied = true, words = { 's' },
    groups = { 'target', 'saved', 'stop', 'dry', 'wait' }, args = 'projects',
    summary = 'stop services',
    usage = 'stop [PROJECT…] [--service NAME] [--all]',
    examples = { 'envctl stop', 'envctl stop --service frontend', 'envctl stop checkout-1' },
  },
  {
    name = 'stop-all', section = 'Run', class = 'state', reference = true, words = { 'stopall' },
    groups = { 'saved', 'volumes', 'wait', 'yes', 'dry' },
    summary = 'stop everything of this repository, in both modes',
    usage = 'stop-all [--remove-volumes]',
    examples = { 'envctl stop-all' },
  },
  {
    name = 'blast-all', section = 'Run', class = 'destructive', reference = true, words = { 'blastall' },
    groups = { 'saved', 'volumes', 'blast', 'yes', 'dry', 'wait' },
    summary = 'stop everything of this repository and clear its saved state',
    usage = 'blast-all [--yes] [options]',
    examples = { 'envctl blast-all --dry-run', 'envctl blast-all --yes' },
    detail = 'Touches only what carries the identity of this repository, and says first what. Data of dependencies is '
      .. 'kept unless told otherwise.',
  },
  {
    name = 'dashboard', section = 'Run', class = 'state', reference = true, words = { 'dash' },
    groups = { 'target', 'dashboard' },
    args = 'projects', summary = 'show and steer what runs', usage = 'dashboard', examples = { 'envctl dashboard' },
  },
  {
    name = 'wait', section = 'Run', class = 'inspection', bare_only = true, groups = { 'target', 'ready' },
    args = 'projects',
    implied = true,
    summary = 'wait until services are ready', usage = 'wait --ready [PROJECT…] [--timeout SECONDS]',
    examples = { 'envctl wait --ready --timeout 30' },
  },

  {
    name = 'show-state', section = 'Look', class = 'inspection', reference = true, groups = {},
    summary = 'show the saved state, checked against what is true now',
    usage = 'show-state [--main|--trees] [--json]', examples = { 'envctl show-state --json' },
  },
  {
    name = 'explain-startup', section = 'Look', class = 'inspection', reference = true,
    groups = { 'target', 'run', 'start', 'plan', 'saved', 'dry' }, args = 'plans', implied = true,
    summary = 'show what a start would do, without doing it',
    usage = 'explain-startup [start|plan|restart|resume] [its arguments] [--json]',
    examples = {
      'envctl explain-startup --json', 'envctl explain-startup --plan backend/checkout',
      'envctl explain-startup resume',
    },
    detail = 'Runs the same decisions as the command itself: the plan that it prints, and its digest, are what would be'
      .. ' applied next.',
  },
  {
    name = 'show-config', section = 'Look', class = 'inspection', reference = true, groups = { 'config_show' },
    summary = 'show the configuration and where each value comes from',
    usage = 'show-config [--all] [--json]', examples = { 'envctl show-config', 'envctl show-config --json' },
  },
  {
    name = 'list-targets', section = 'Look', class = 'inspection', reference = true, groups = { 'status' },
    summary = 'list projects', usage = 'list-targets [--main|--trees] [--status] [--json]',
    examples = { 'envctl list-targets --json', 'envctl list-targets --trees' },
  },
  {
    name = 'list-trees', section = 'Look', class = 'inspection', reference = true, groups = { 'status' },
    modes = 'trees',
    summary = 'list worktrees', usage = 'list-trees [--status] [--json]', examples = { 'envctl list-trees --json' },
  },
  {
    name = 'list-commands', section = 'Look', class = 'inspection', reference = true, repo = 'none',
    groups = { 'config_show' },
    summary = 'list commands', usage = 'list-commands [--all] [--json]', examples = { 'envctl list-commands' },
  },
  {
    name = 'endpoints', section = 'Look', class = 'inspection', groups = { 'target', 'secrets' }, args = 'projects',
    implied = true,
    summary = 'URLs and ports of a project, for scripts', usage = 'endpoints [PROJECT] [--json] [--show-secrets]',
    examples = { 'envctl endpoints --project Main --json' },
  },
  {
    name = 'ports', section = 'Look', class = 'inspection', groups = {},
    summary = 'list port reservations and who holds them', usage = 'ports [--json]',
    examples = { 'envctl ports --json' },
  },
  {
    name = 'logs', section = 'Look', class = 'inspection', reference = true, implied = true, words = { 'l' },
    groups = { 'target', 'saved', 'logs' }, args = 'projects',
    summary = 'show and follow logs of services', usage = 'logs [PROJECT…] [--service NAME] [--logs-follow]',
    examples = { 'envctl logs --logs-tail 50', 'envctl logs --service backend --logs-follow' },
  },
  {
    name = 'clear-logs', section = 'Look', class = 'state', reference = true, words = { 'logs-clear' },
    groups = { 'target', 'saved', 'dry' }, args = 'projects',
    summary = 'empty the logs of services', usage = 'clear-logs [PROJECT…] [--service NAME]',
    examples = { 'envctl clear-logs --all' },
  },
  {
    name = 'health', section = 'Look', class = 'inspection', reference = true, words = { 'h' },
    groups = { 'target', 'saved' },
    args = 'projects', summary = 'check what runs (exit 1 when something is wrong)',
    usage = 'health [PROJECT…] [--json]',
    examples = { 'envctl health --json' },
  },
  {
    name = 'errors', section = 'Look', class = 'inspection', reference = true, words = { 'e' },
    groups = { 'target', 'saved' },
    args = 'projects', summary = 'show the last failures, and errors in logs', usage = 'errors [PROJECT…] [--json]',
    examples = { 'envctl errors --json' },
  },

  {
    name = 'test', section = 'Work', class = 'action', reference = true, implied = true, words = { 'tests', 't' },
    dashes = { '--tests' }, groups = { 'target', 'saved', 'test' }, args = 'projects',
    summary = 'run the test suites of projects', usage = 'test [PROJECT…] [--failed] [--all]',
    examples = { 'envctl test', 'envctl test --failed --skip-startup --load-state' },
  },
  {
    name = 'commit', section = 'Work', class = 'action', reference = true, implied = true, words = { 'c' },
    groups = { 'target', 'saved', 'commit', 'dry', 'yes' }, args = 'projects',
    summary = 'commit and push the work of projects', usage = 'commit [PROJECT…] [--commit-message TEXT]',
    examples = { 'envctl commit --project checkout-1 --commit-message "add checkout"' },
  },
  {
    name = 'pr', section = 'Work', class = 'action', reference = true, implied = true, words = { 'prs', 'p' },
    dashes = { '--prs' }, groups = { 'target', 'saved', 'pr', 'commit', 'dry', 'yes' }, args = 'projects',
    summary = 'open a pull request per project', usage = 'pr [PROJECT…] [--pr-base BRANCH]',
    examples = { 'envctl pr --project checkout-1 --pr-base dev' },
  },
  {
    name = 'review', section = 'Work', class = 'action', reference = true, implied = true,
    words = { 'reviews', 'v', 'analyze', 'a' }, dashes = { '--analyze' }, groups = { 'target', 'saved', 'review' },
    args = 'projects', summary = 'collect what a reviewer of a project needs',
    usage = 'review [PROJECT…] [--review-mode MODE]',
    examples = { 'envctl review --project checkout-1' },
  },
  {
    name = 'migrate', section = 'Work', class = 'action', reference = true, implied = true,
    words = { 'migration', 'migrations', 'm' }, groups = { 'target', 'saved', 'dry', 'yes' }, args = 'projects',
    summary = 'run database migrations of projects', usage = 'migrate [PROJECT…]',
    examples = { 'envctl migrate --all' },
  },
  {
    name = 'data', section = 'Work', class = 'destructive', groups = { 'target', 'yes', 'dry', 'data' },
    args = 'words',
    summary = 'reset, seed, dump or restore the data of a project',
    usage = 'data reset|seed|dump|restore [DEPENDENCY…] --project PROJECT [--file FILE] [--yes]',
    examples = { 'envctl data dump --project Main --file main.dump', 'envctl data reset redis --project Main --yes' },
    detail = 'reset deletes the data of dependencies that do not run; seed does the same and lets the next start begin '
      .. 'with a copy of what Main has then. dump and restore are for a running Postgres.',
  },

  {
    name = 'import', section = 'Worktrees', class = 'run', groups = { 'dry' }, args = 'words',
    summary = 'make a worktree for a branch that exists', usage = 'import BRANCH',
    examples = { 'envctl import feature/login' },
  },
  {
    name = 'delete-worktree', section = 'Worktrees', class = 'destructive', reference = true, modes = 'trees',
    words = { 'delete-worktrees', 'remove-worktrees' }, dashes = { '--delete-worktrees', '--remove-worktrees' },
    groups = { 'target', 'yes', 'dry', 'force', 'saved', 'volumes' }, args = 'projects',
    summary = 'remove worktrees whose work is safe elsewhere',
    usage = 'delete-worktree PROJECT… [--dry-run] [--force]',
    examples = { 'envctl delete-worktree checkout-2 --dry-run' },
    detail = 'Refuses when uncommitted or unreachable work would be lost. With --force the tree goes to a trash, from'
      .. ' which `envctl recover` brings it back.',
  },
  {
    name = 'blast-worktree', section = 'Worktrees', class = 'destructive', reference = true, modes = 'trees',
    words = { 'blast-worktrees', 'blastworktree' }, dashes = { '--blast-worktrees' },
    groups = { 'target', 'yes', 'dry', 'force', 'saved', 'volumes', 'blast' }, args = 'projects',
    summary = 'stop worktrees, then remove them with their data',
    usage = 'blast-worktree PROJECT… [--dry-run] [--force]',
    examples = { 'envctl blast-worktree checkout-2 --dry-run' },
  },
  {
    name = 'recover', section = 'Worktrees', class = 'state', groups = { 'recover', 'dry' }, args = 'words',
    summary = 'list and restore removed worktrees', usage = 'recover [ID|PROJECT] [--to PATH]',
    examples = { 'envctl recover', 'envctl recover checkout-2' },
  },
  {
    name = 'gc', section = 'Worktrees', class = 'destructive', groups = { 'yes', 'dry' },
    summary = 'empty the trash of old worktrees', usage = 'gc [--dry-run]', examples = { 'envctl gc --dry-run' },
  },

  {
    name = 'config', section = 'Set up', class = 'state', reference = true, dashes = { '--init' },
    groups = { 'config', 'dry' },
    args = 'assignments', summary = 'edit the configuration of this repository',
    usage = 'config [KEY=VALUE…] [--set KEY=VALUE] [--stdin-json] [--dry-run]',
    examples = {
      'envctl config', 'envctl config MAIN_REDIS_ENABLE=true',
      'printf \'{"default_mode":"trees"}\' | envctl config --stdin-json',
    },
    detail = 'Saving rewrites only the managed block of `.envctl` and keeps everything else byte for byte.',
  },
  {
    name = 'install-prompts', section = 'Set up', class = 'utility', reference = true, repo = 'none',
    groups = { 'prompts', 'dry' },
    args = 'preset', summary = 'install prompts for coding agents',
    usage = 'install-prompts --cli codex|claude|opencode|all [--preset NAME]',
    examples = { 'envctl install-prompts --cli codex --dry-run', 'envctl install-prompts --cli all --preset all' },
  },
  {
    name = 'script', section = 'Set up', class = 'utility', groups = { 'script' }, args = 'words',
    summary = 'check, trust and look into .envctl.lua', usage = 'script check|points|eject|repl|trust|untrust|status',
    examples = { 'envctl script check', 'envctl script trust' },
  },
  {
    name = 'migrate-hooks', section = 'Set up', class = 'utility', reference = true, groups = { 'force', 'dry' },
    summary = 'turn old shell hooks into .envctl.lua', usage = 'migrate-hooks [--force] [--dry-run]',
    examples = { 'envctl migrate-hooks --dry-run', 'envctl migrate-hooks' },
    detail = 'Reads the functions envctl_setup_infrastructure and envctl_define_services of .envctl.sh. What they say '
      .. 'as data is said in the words of .envctl.lua; shell code is put in comments beside the place where its '
      .. 'meaning belongs. .envctl.sh is never changed; with --force a .envctl.lua that is there is set aside.',
  },
  {
    name = 'completion', section = 'Set up', class = 'utility', repo = 'none', groups = {}, args = 'shell',
    summary = 'print the completion script of a shell', usage = 'completion bash|zsh|fish',
    examples = { 'envctl completion bash >~/.local/share/bash-completion/completions/envctl' },
  },
  {
    name = 'install', section = 'Set up', class = 'utility', repo = 'none', groups = { 'install', 'dry' },
    summary = 'put envctl on the PATH of your shell', usage = 'install [--shell-file FILE] [--dry-run]',
    examples = { 'envctl install --dry-run' },
  },
  {
    name = 'uninstall', section = 'Set up', class = 'utility', repo = 'none', groups = { 'install', 'dry' },
    summary = 'take envctl off the PATH of your shell', usage = 'uninstall [--shell-file FILE] [--dry-run]',
    examples = { 'envctl uninstall --dry-run' },
  },

  {
    name = 'doctor', section = 'Diagnose', class = 'inspection', reference = true, words = { 'd' },
    repo = 'optional', groups = {},
    summary = 'check this installation, repository and runtime',
    usage = '--doctor [--json] | doctor [--repo PATH] [--json]',
    examples = { 'envctl --doctor', 'envctl doctor --repo ~/code/shop' },
    detail = 'The word `doctor` verifies the installed command for a repository; `--doctor` (or `d`) looks at the'
      .. ' runtime: state, ports, processes, locks.',
  },
  {
    name = 'debug-pack', section = 'Diagnose', class = 'utility', reference = true, dashes = { '--debug-ui-pack' },
    groups = { 'debug' }, summary = 'pack a debug session for a bug report', usage = 'debug-pack [options]',
    examples = { 'envctl --debug-pack' },
  },
  {
    name = 'debug-report', section = 'Diagnose', class = 'utility', reference = true, groups = { 'debug' },
    summary = 'pack a debug session and summarise it', usage = 'debug-report [options]',
    examples = { 'envctl --debug-report' },
  },
  {
    name = 'debug-last', section = 'Diagnose', class = 'inspection', reference = true, groups = { 'debug' },
    summary = 'where the latest debug bundle is', usage = 'debug-last', examples = { 'envctl --debug-last' },
  },
  {
    name = 'help', section = 'Diagnose', class = 'inspection', reference = true, repo = 'none', groups = {},
    args = 'commands',
    summary = 'explain commands', usage = 'help [COMMAND]',
    examples = { 'envctl help', 'envctl help start', 'envctl stop --help' },
  },
  {
    name = 'version', section = 'Diagnose', class = 'inspection', repo = 'none', groups = {}, dashes = { '-V' },
    summary = 'print the version', usage = '--version', examples = { 'envctl --version' },
  },
}

-- Commands that start something: config errors stop them, and explain-startup can show them first.
M.starts = { start = true, plan = true, restart = true, resume = true }

---@type table<string, envctl.Command>
M.by_name = {}
-- Bare word -> command, dashed word -> command.
M.words, M.dashes = {}, {}

for _, c in ipairs(M.list) do
  c.words, c.dashes = c.words or {}, c.dashes or {}
  c.repo = c.repo or 'required'
  M.by_name[c.name] = c
  M.words[c.name] = c
  if not c.bare_only then
    M.dashes['--' .. c.name] = c
  end
  for _, word in ipairs(c.words) do
    M.words[word] = c
  end
  for _, dash in ipairs(c.dashes) do
    M.dashes[dash] = c
  end
end
M.dashes['-h'] = M.by_name.help

--- Module of a command's handler.
---@param name string
---@return string
function M.module(name)
  return 'envctl.commands.' .. name:gsub('-', '_')
end

--- The 33 names of the Python engine, sorted.
---@return string[]
function M.reference_names()
  local out = {}
  for _, c in ipairs(M.list) do
    if c.reference then
      out[#out + 1] = c.name
    end
  end
  table.sort(out)
  return out
end

--- The names that are ours alone, sorted.
---@return string[]
function M.additional_names()
  local out = {}
  for _, c in ipairs(M.list) do
    if not c.reference and not c.hidden then
      out[#out + 1] = c.name
    end
  end
  table.sort(out)
  return out
end

return M
