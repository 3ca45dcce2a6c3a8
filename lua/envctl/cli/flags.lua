--- The one table of flags, and of the words `key=value` that stand for flags.
---
--- Fields of a flag:
---   names     spellings; the first one is shown
---   key       key in route.flags (several flags may share one)
---   kind      'bool' | 'const' | 'string' | 'list' | 'multi' | 'int' | 'number' | 'pair' | 'enum'
---   value     of a 'const'
---   groups    groups of commands it applies to (see envctl.cli.commands); 'global' applies to all
---   setting   configuration key that it sets for this run (layer `flag`)
---   words     bare spellings of `word=value`
---   min       least value of numbers
---   choices   of an 'enum'
---   meta      placeholder in help
---   help      one line
---   also      other keys that are set with it
---   default   text for help only
local M = {}

---@class envctl.Flag
---@field names string[]
---@field key string
---@field kind string
---@field value any
---@field groups string[]
---@field setting string?
---@field words string[]?
---@field min number?
---@field choices string[]?
---@field meta string?
---@field help string
---@field also table<string, any>?
---@field default string?

---@type envctl.Flag[]
M.list = {
  -- For every command.
  {
    names = { '--json' }, key = 'json', kind = 'bool', groups = { 'global' },
    help = 'print one JSON document on standard output',
  },
  {
    names = { '--headless', '--batch', '--non-interactive', '--no-interactive', '-b' }, key = 'headless',
    kind = 'bool',
    groups = { 'global' }, help = 'never ask anything, open nothing', setting = 'BATCH',
  },
  {
    names = { '--repo' }, key = 'repo', kind = 'string', meta = 'PATH', groups = { 'global' },
    help = 'use this repository (or the one above it)',
  },
  {
    names = { '--bundled' }, key = 'bundled', kind = 'bool', groups = { 'global' },
    help = 'ignore .envctl.lua and other scripts',
  },
  {
    names = { '--debug-ui' }, key = 'debug_ui', kind = 'bool', groups = { 'global' },
    help = 'record a debug session',
  },
  {
    names = { '--debug-ui-deep' }, key = 'debug_ui_deep', kind = 'bool', groups = { 'global' },
    help = 'record a debug session with every detail',
  },
  {
    names = { '--key-debug' }, key = 'key_debug', kind = 'bool', groups = { 'global' }, help = 'record keys as well',
  },
  {
    names = { '--debug-capture' }, key = 'debug_capture', kind = 'enum', choices = { 'off', 'standard', 'deep' },
    meta = 'MODE',
    groups = { 'global' }, help = 'how much a debug session records',
  },
  {
    names = {
      '--debug-auto-pack' }, key = 'debug_auto_pack', kind = 'enum', choices = { 'off', 'crash', 'anomaly', 'always',
    },
    meta = 'WHEN', groups = { 'global' }, help = 'when to pack the session by itself',
    setting = 'ENVCTL_DEBUG_AUTO_PACK',
  },
  {
    names = { '--debug-trace' }, key = 'debug_trace', kind = 'bool', groups = { 'global' },
    help = 'trace what envctl does',
  },
  {
    names = { '--debug-trace-log' }, key = 'debug_trace_log', kind = 'string', meta = 'FILE', groups = { 'global' },
    help = 'where the trace goes',
  },
  {
    names = { '--debug-trace-no-xtrace' }, key = 'debug_trace_no_xtrace', kind = 'bool', groups = { 'global' },
    help = 'trace without commands',
  },
  {
    names = { '--debug-trace-no-stdio' }, key = 'debug_trace_no_stdio', kind = 'bool', groups = { 'global' },
    help = 'trace without output of programs',
  },
  {
    names = {
      '--debug-trace-no-interactive' }, key = 'debug_trace_no_interactive', kind = 'bool', groups = { 'global',
    },
    help = 'trace without what happens on the terminal',
  },

  -- Targets.
  {
    names = { '--project', '--projects' }, key = 'projects', kind = 'list', meta = 'NAME', groups = { 'target' },
    help = 'only these projects (commas, repeatable)',
  },
  {
    names = { '--service', '--services' }, key = 'services', kind = 'list', meta = 'NAME', groups = { 'target' },
    help = 'only these services (commas, repeatable)',
  },
  {
    names = { '--status' }, key = 'status', kind = 'bool', groups = { 'status' },
    help = 'look for uncommitted work in every worktree, however many and large they are',
  },
  {
    names = { '--all' }, key = 'all', kind = 'bool', groups = { 'target', 'config_show' },
    help = 'everything there is',
  },
  {
    names = { '--untested' }, key = 'untested', kind = 'bool', groups = { 'test' },
    help = 'projects without results for their files',
  },
  {
    names = { '--failed' }, key = 'failed', kind = 'bool', groups = { 'test' },
    help = 'run only what failed last time',
  },

  -- Saved state.
  {
    names = { '--load-state', '--command-resume' }, key = 'load_state', kind = 'bool', groups = { 'saved', 'test' },
    help = 'work on the saved state (always so)',
  },
  {
    names = { '--skip-startup', '--command-only' }, key = 'skip_startup', kind = 'bool', groups = { 'saved', 'test' },
    help = 'start nothing: `resume` only reconciles',
  },
  {
    names = { '--wait' }, key = 'wait', kind = 'bool', groups = { 'wait' },
    help = 'wait for another operation to end',
  },

  -- Logs and waiting.
  {
    names = { '--logs-tail', '--tail' }, key = 'logs_tail', kind = 'int', min = 0, meta = 'N', groups = { 'logs' },
    default = '20', help = 'how many lines from the end',
  },
  {
    names = { '--logs-follow', '--follow' }, key = 'logs_follow', kind = 'bool', groups = { 'logs' },
    help = 'go on as lines come',
  },
  {
    names = {
      '--logs-duration' }, key = 'logs_duration', kind = 'number', min = 0, meta = 'SECONDS', groups = { 'logs',
    },
    help = 'follow for this long',
  },
  {
    names = { '--logs-no-color' }, key = 'logs_no_color', kind = 'bool', groups = { 'logs' },
    help = 'take colours out',
  },
  {
    names = { '--since' }, key = 'since', kind = 'string', meta = 'TIME', groups = { 'logs' },
    help = 'what was written since: 90s, 10m, 2h ago, or a date and time with its zone (RFC 3339)',
  },
  {
    names = { '--grep' }, key = 'grep', kind = 'string', meta = 'PATTERN', groups = { 'logs' },
    help = 'only lines that match a POSIX extended regular expression',
  },
  {
    names = { '--run' }, key = 'run', kind = 'string', meta = 'ID', groups = { 'logs' },
    help = 'of an earlier run: its id, or `previous`',
  },
  { names = { '--ready' }, key = 'ready', kind = 'bool', groups = { 'ready' }, help = 'wait for readiness' },
  {
    names = {
      '--timeout' }, key = 'timeout', kind = 'number', min = 0, meta = 'SECONDS', groups = { 'ready', 'debug',
    },
    help = 'give up after this long',
  },

  -- The dashboard.
  {
    names = {
      '--dashboard-interactive' }, key = 'dashboard_interactive', kind = 'bool', groups = { 'dashboard', 'run',
    },
    help = 'open the dashboard afterwards',
  },
  {
    names = { '--interactive' }, key = 'interactive', kind = 'bool', groups = { 'dashboard', 'run' },
    help = 'the same',
  },

  -- Starting.
  {
    names = { '--no-resume', '--no-auto-resume' }, key = 'no_resume', kind = 'bool', groups = { 'run' },
    help = 'start anew instead of keeping what runs',
  },
  {
    names = { '--parallel-trees' }, key = 'parallel_trees', kind = 'bool', groups = { 'run' },
    setting = 'RUN_SH_OPT_PARALLEL_TREES',
    words = { 'parallel-trees', 'PARALLEL_TREES', 'RUN_SH_OPT_PARALLEL_TREES' },
    help = 'start worktrees side by side',
  },
  {
    names = { '--no-parallel-trees' }, key = 'parallel_trees', kind = 'const', value = false, groups = { 'run' },
    setting = 'RUN_SH_OPT_PARALLEL_TREES', help = 'start worktrees one after another',
  },
  {
    names = {
      '--parallel-trees-max' }, key = 'parallel_trees_max', kind = 'int', min = 1, meta = 'N', groups = { 'run',
    },
    setting = 'RUN_SH_OPT_PARALLEL_TREES_MAX', default = '4', help = 'how many worktrees at once',
    words = { 'parallel-trees-max', 'PARALLEL_TREES_MAX', 'RUN_SH_OPT_PARALLEL_TREES_MAX' },
  },
  {
    names = { '--service-parallel' }, key = 'service_parallel', kind = 'bool', groups = { 'run' },
    setting = 'ENVCTL_SERVICE_ATTACH_PARALLEL', help = 'start services of a project side by side',
    words = { 'service-parallel', 'SERVICE_PARALLEL', 'ENVCTL_SERVICE_ATTACH_PARALLEL' },
  },
  {
    names = { '--service-sequential', '--no-service-parallel' }, key = 'service_parallel', kind = 'const',
    value = false,
    groups = { 'run' }, setting = 'ENVCTL_SERVICE_ATTACH_PARALLEL', help = 'start services one after another',
  },
  {
    names = { '--service-prep-parallel' }, key = 'service_prep_parallel', kind = 'bool', groups = { 'run' },
    setting = 'ENVCTL_SERVICE_PREP_PARALLEL', help = 'prepare services side by side',
    words = { 'service-prep-parallel', 'SERVICE_PREP_PARALLEL', 'ENVCTL_SERVICE_PREP_PARALLEL' },
  },
  {
    names = { '--service-prep-sequential', '--no-service-prep-parallel' }, key = 'service_prep_parallel',
    kind = 'const',
    value = false, groups = { 'run' }, setting = 'ENVCTL_SERVICE_PREP_PARALLEL',
    help = 'prepare services one after another',
  },
  {
    names = { '--no-prepare' }, key = 'no_prepare', kind = 'bool', groups = { 'run' },
    help = 'skip install and migrate steps',
  },
  {
    names = { '--refresh-cache' }, key = 'refresh_cache', kind = 'bool', groups = { 'run' },
    help = 'run install steps although nothing changed',
  },
  {
    names = { '--fast', '--fast-startup' }, key = 'fast', kind = 'bool', groups = { 'run' },
    help = 'trust what was prepared before',
  },
  {
    names = { '--docker' }, key = 'docker', kind = 'bool', groups = { 'run' }, words = { 'docker', 'DOCKER' },
    help = 'run dependencies in containers',
  },
  {
    names = {
      '--docker-temp', '--temp-docker',
      '--stop-docker-on-exit' }, key = 'docker_temp', kind = 'bool', groups = { 'run',
    },
    words = { 'docker-temp', 'DOCKER_TEMP' }, help = 'end the containers with their services',
  },
  {
    names = { '--clear-port-state', '--clear-ports', '--clear-port-cache' }, key = 'clear_port_state', kind = 'bool',
    groups = { 'run' }, help = 'forget the port reservations of this repository first, but for what runs',
  },
  {
    names = {
      '--main-services-local', '--main-local' }, key = 'main_services_local', kind = 'bool', groups = { 'run',
    },
    help = 'main mode: Supabase and n8n here instead of Postgres',
  },
  {
    names = {
      '--main-services-remote', '--main-remote' }, key = 'main_services_remote', kind = 'bool', groups = { 'run',
    },
    help = 'main mode: no Supabase and no n8n here',
  },
  {
    names = {
      '--setup-worktrees' }, key = 'setup_worktrees', kind = 'pair', meta = 'FEATURE COUNT', groups = { 'start',
    },
    help = 'make this many worktrees of a feature, and start them',
  },
  {
    names = { '--setup-worktree' }, key = 'setup_worktree', kind = 'pair', meta = 'FEATURE N', groups = { 'start' },
    help = 'make the n-th worktree of a feature, and start it',
  },
  {
    names = { '--include-existing-worktrees', '--setup-include-worktrees' }, key = 'include_existing_worktrees',
    kind = 'list',
    meta = 'NAME', groups = { 'start' }, help = 'start these worktrees as well',
  },
  {
    names = { '--reuse-existing-worktree', '--setup-worktree-existing' }, key = 'setup_worktree_existing',
    kind = 'bool',
    groups = { 'start' }, help = 'use a worktree that is there',
  },
  {
    names = { '--recreate-existing-worktree', '--setup-worktree-recreate' }, key = 'setup_worktree_recreate',
    kind = 'bool',
    groups = { 'start' }, help = 'make a worktree that is there anew',
  },
  {
    names = { '--seed-requirements-from-base', '--copy-db-storage' }, key = 'seed_requirements_from_base',
    kind = 'bool',
    groups = { 'start' }, help = 'give new worktrees a copy of the data of main',
    words = { 'copy-db-storage', 'COPY_DB_STORAGE', 'seed-requirements-from-base', 'SEED_REQUIREMENTS_FROM_BASE' },
  },
  {
    names = { '--no-seed-requirements-from-base', '--no-copy-db-storage' }, key = 'seed_requirements_from_base',
    kind = 'const',
    value = false, groups = { 'start' }, help = 'give new worktrees empty data',
  },
  {
    names = { '--log-profile' }, key = 'log_profile', kind = 'string', meta = 'NAME', groups = { 'run' },
    help = 'log profile for services (LOG_PROFILE_OVERRIDE)',
  },
  {
    names = { '--log-level' }, key = 'log_level', kind = 'string', meta = 'LEVEL', groups = { 'run' },
    help = 'log level for services (LOG_LEVEL_OVERRIDE)',
  },
  {
    names = {
      '--backend-log-profile' }, key = 'backend_log_profile', kind = 'string', meta = 'NAME', groups = { 'run',
    },
    help = 'the same for the backend alone',
  },
  {
    names = { '--backend-log-level' }, key = 'backend_log_level', kind = 'string', meta = 'LEVEL', groups = { 'run' },
    help = 'the same for the backend alone',
  },
  {
    names = {
      '--frontend-log-profile' }, key = 'frontend_log_profile', kind = 'string', meta = 'NAME', groups = { 'run',
    },
    help = 'the same for the frontend alone',
  },
  {
    names = {
      '--frontend-log-level' }, key = 'frontend_log_level', kind = 'string', meta = 'LEVEL', groups = { 'run',
    },
    help = 'the same for the frontend alone',
  },

  -- Plans and worktrees.
  {
    names = { '--keep-plan' }, key = 'keep_plan', kind = 'bool', groups = { 'plan' }, setting = 'PLANNING_KEEP_PLAN',
    help = 'do not archive the plan files',
  },
  {
    names = { '--count' }, key = 'count', kind = 'multi', meta = 'PLAN=N', groups = { 'plan' },
    help = 'exactly this many worktrees for a plan (repeatable)',
  },
  {
    names = { '--base' }, key = 'base', kind = 'string', meta = 'REF', groups = { 'plan', 'start' },
    help = 'start new branches here',
  },
  {
    names = { '--to' }, key = 'to', kind = 'string', meta = 'PATH', groups = { 'recover' },
    help = 'restore to this place',
  },

  -- Testing.
  {
    names = { '--test-parallel' }, key = 'test_parallel', kind = 'bool', groups = { 'test' },
    setting = 'ENVCTL_ACTION_TEST_PARALLEL',
    words = { 'test-parallel', 'TEST_PARALLEL', 'ENVCTL_ACTION_TEST_PARALLEL' }, help = 'run suites side by side',
  },
  {
    names = { '--test-sequential', '--no-test-parallel' }, key = 'test_parallel', kind = 'const', value = false,
    groups = { 'test' }, setting = 'ENVCTL_ACTION_TEST_PARALLEL', help = 'run suites one after another',
  },
  {
    names = {
      '--test-parallel-max' }, key = 'test_parallel_max', kind = 'int', min = 1, meta = 'N', groups = { 'test',
    },
    setting = 'ENVCTL_ACTION_TEST_PARALLEL_MAX', default = '4', help = 'how many suites at once',
    words = { 'test-parallel-max', 'TEST_PARALLEL_MAX', 'ENVCTL_ACTION_TEST_PARALLEL_MAX' },
  },
  {
    names = {
      '--frontend-test-runner' }, key = 'frontend_test_runner', kind = 'string', meta = 'NAME', groups = { 'test',
      'run',
    },
    words = { 'FRONTEND_TEST_RUNNER', 'frontend-test-runner' }, help = 'what runs the tests of the frontend',
  },

  -- Commit, pull request, review.
  {
    names = { '--commit-message' }, key = 'commit_message', kind = 'string', meta = 'TEXT', groups = { 'commit' },
    help = 'message of the commit',
  },
  {
    names = {
      '--commit-message-file' }, key = 'commit_message_file', kind = 'string', meta = 'FILE', groups = { 'commit',
    },
    help = 'file with the message of the commit',
  },
  { names = { '--no-push' }, key = 'no_push', kind = 'bool', groups = { 'commit' }, help = 'commit only' },
  {
    names = { '--pr-base' }, key = 'pr_base', kind = 'string', meta = 'BRANCH', groups = { 'pr' },
    help = 'branch to merge into',
  },
  {
    names = {
      '--analyze-mode', '--review-mode' }, key = 'analyze_mode', kind = 'enum', choices = { 'single', 'grouped',
    },
    meta = 'MODE', groups = { 'review' }, default = 'single', help = 'one review per project, or one for all',
  },

  -- Ending and removing.
  { names = { '--yes' }, key = 'yes', kind = 'bool', groups = { 'yes' }, help = 'do not ask' },
  {
    names = { '--dry-run' }, key = 'dry_run', kind = 'bool', groups = { 'dry' },
    help = 'say what would be done, and do nothing',
  },
  {
    names = {
      '--force', '-f' }, key = 'force', kind = 'bool', groups = { 'force', 'start' }, words = { 'force', 'FORCE',
    },
    help = 'overwrite or remove what would be refused',
  },
  {
    names = { '--keep-dependencies' }, key = 'keep_dependencies', kind = 'bool', groups = { 'stop' },
    help = 'leave dependencies up',
  },
  {
    names = { '--remove-volumes', '--stop-all-remove-volumes' }, key = 'stop_all_remove_volumes', kind = 'bool',
    groups = { 'volumes' }, help = 'remove the data of dependencies too',
  },
  {
    names = {
      '--blast-keep-worktree-volumes' }, key = 'blast_keep_worktree_volumes', kind = 'bool', groups = { 'blast',
    },
    help = 'keep the data of worktrees',
  },
  {
    names = { '--blast-remove-worktree-volumes' }, key = 'blast_keep_worktree_volumes', kind = 'const', value = false,
    groups = { 'blast' }, help = 'remove the data of worktrees',
  },
  {
    names = { '--blast-remove-main-volumes' }, key = 'blast_remove_main_volumes', kind = 'bool', groups = { 'blast' },
    help = 'remove the data of main',
  },
  {
    names = { '--blast-keep-main-volumes' }, key = 'blast_remove_main_volumes', kind = 'const', value = false,
    groups = { 'blast' }, help = 'keep the data of main',
  },

  -- Configuration, prompts, installing.
  {
    names = { '--stdin-json' }, key = 'stdin_json', kind = 'bool', groups = { 'config' },
    help = 'read values as JSON from standard input',
  },
  {
    names = { '--set' }, key = 'set_values', kind = 'multi', meta = 'KEY=VALUE', groups = { 'config' },
    help = 'set a value (repeatable)',
  },
  {
    names = { '--cli' }, key = 'cli', kind = 'string', meta = 'NAMES', groups = { 'prompts' },
    help = 'codex, claude, opencode or all',
  },
  {
    names = { '--preset' }, key = 'preset', kind = 'string', meta = 'NAME', groups = { 'prompts' },
    default = 'implement_task',
    help = 'which prompt, or all',
  },
  { names = { '--list' }, key = 'list', kind = 'bool', groups = { 'prompts' }, help = 'list the prompts' },
  {
    names = { '--shell-file' }, key = 'shell_file', kind = 'string', meta = 'FILE', groups = { 'install' },
    help = 'edit this file',
  },
  {
    names = { '--show-secrets' }, key = 'show_secrets', kind = 'bool', groups = { 'secrets' },
    help = 'print credentials in URLs',
  },
  { names = { '--module' }, key = 'module', kind = 'bool', groups = { 'script' }, help = 'eject the whole module' },
  {
    names = { '--file' }, key = 'file', kind = 'string', meta = 'FILE', groups = { 'data' },
    help = 'file to write or to read',
  },

  -- Debugging.
  {
    names = { '--session-id' }, key = 'session_id', kind = 'string', meta = 'ID', groups = { 'debug' },
    help = 'pack this session',
  },
  {
    names = { '--run-id' }, key = 'run_id', kind = 'string', meta = 'ID', groups = { 'debug' },
    help = 'pack the session of this run',
  },
  {
    names = { '--scope-id' }, key = 'scope_id', kind = 'string', meta = 'ID', groups = { 'debug' },
    help = 'pack from this scope',
  },
  {
    names = { '--output-dir' }, key = 'output_dir', kind = 'string', meta = 'DIR', groups = { 'debug' },
    help = 'write the bundle here',
  },
  {
    names = { '--debug-ui-include-doctor' }, key = 'debug_ui_include_doctor', kind = 'bool', groups = { 'debug' },
    help = 'add the output of doctor',
  },
}

-- Words `key=value` without a flag of their own.
---@type envctl.Flag[]
M.assignments = {
  {
    words = { 'fresh', 'FRESH' }, key = 'fresh', kind = 'bool', groups = { 'run' }, also = { no_resume = true },
    names = {},
  },
  { words = { 'resume', 'RESUME' }, key = 'resume', kind = 'bool', groups = { 'run' }, names = {} },
  {
    words = { 'backend', 'BACKEND' }, key = 'backend', kind = 'bool', groups = { 'run', 'test', 'review' },
    names = {},
  },
  {
    words = { 'frontend', 'FRONTEND' }, key = 'frontend', kind = 'bool', groups = { 'run', 'test', 'review' },
    names = {},
  },
}

-- Words that choose the mode: word -> mode for a true value.
M.mode_words = { main = 'main', MAIN = 'main', tree = 'trees', trees = 'trees', TREE = 'trees', TREES = 'trees' }
M.mode_flags = { ['--main'] = 'main', ['--tree'] = 'trees', ['--trees'] = 'trees' }

---@type table<string, envctl.Flag>
M.by_name, M.by_word = {}, {}
for _, f in ipairs(M.list) do
  for _, name in ipairs(f.names) do
    M.by_name[name] = f
  end
  for _, word in ipairs(f.words or {}) do
    M.by_word[word] = f
  end
end
for _, f in ipairs(M.assignments) do
  for _, word in ipairs(f.words) do
    M.by_word[word] = f
  end
end

--- Whether a flag applies to a command.
---@param flag envctl.Flag
---@param command envctl.Command
---@return boolean
function M.applies(flag, command)
  for _, group in ipairs(flag.groups) do
    if group == 'global' then
      return true
    end
    for _, own in ipairs(command.groups) do
      if own == group then
        return true
      end
    end
  end
  return false
end

--- A true or false word, or nil.
---@param text string
---@return boolean?
function M.boolean(text)
  local t = text:lower():match '^%s*(.-)%s*$'
  if t == 'true' or t == '1' or t == 'yes' or t == 'on' then
    return true
  elseif t == 'false' or t == '0' or t == 'no' or t == 'off' then
    return false
  end
end

return M
