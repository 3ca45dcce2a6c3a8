local lu = require 'luaunit'
local err = require 'envctl.err'
local router = require 'envctl.cli.router'
local commands = require 'envctl.cli.commands'
local flags = require 'envctl.cli.flags'
local fixture = require 'fixture'

local M = {}

local function words(text)
  local out = {}
  for word in text:gmatch '%S+' do
    out[#out + 1] = word
  end
  return out
end

local function parse(line)
  return router.parse(type(line) == 'table' and line or words(line))
end

local function fails(line, code)
  local e = fixture.error_of(parse, line)
  lu.assertEquals(e.code, code, type(line) == 'table' and table.concat(line, ' ') or line)
  return e
end

-- Every alias of the reference: spelling -> command.
local ALIASES = {
  start = { 'start' },
  plan = {
    '--plan', '--parallel-plan', '--sequential-plan', '--plan-selection', '--planning-envs', '--planning-prs', '--plan-parallel',
    '--plan-sequential', 'plan', 'parallel-plan', 'sequential-plan',
  },
  restart = { '--restart', 'restart', 'r' },
  resume = { '--resume', 'resume' },
  stop = { '--stop', 'stop', 's' },
  ['stop-all'] = { '--stop-all', 'stop-all', 'stopall' },
  ['blast-all'] = { '--blast-all', 'blast-all', 'blastall' },
  dashboard = { '--dashboard', 'dashboard', 'dash' },
  config = { '--config', '--init', 'config' },
  doctor = { '--doctor', 'doctor', 'd' },
  ['debug-pack'] = { '--debug-pack', '--debug-ui-pack', 'debug-pack' },
  ['debug-report'] = { '--debug-report', 'debug-report' },
  ['debug-last'] = { '--debug-last', 'debug-last' },
  test = { '--test', '--tests', 'test', 'tests', 't' },
  pr = { '--pr', '--prs', 'pr', 'prs', 'p' },
  commit = { '--commit', 'commit', 'c' },
  review = { '--review', '--analyze', 'review', 'reviews', 'v', 'analyze', 'a' },
  migrate = { '--migrate', 'migrate', 'migration', 'migrations', 'm' },
  ['delete-worktree'] = {
    '--delete-worktree', '--delete-worktrees', '--remove-worktrees', 'delete-worktree', 'delete-worktrees', 'remove-worktrees',
  },
  ['blast-worktree'] = { '--blast-worktree', '--blast-worktrees', 'blast-worktree', 'blast-worktrees', 'blastworktree' },
  logs = { '--logs', 'logs', 'l' },
  ['clear-logs'] = { '--clear-logs', 'clear-logs', 'logs-clear' },
  health = { '--health', 'health', 'h' },
  errors = { '--errors', 'errors', 'e' },
  ['migrate-hooks'] = { '--migrate-hooks', 'migrate-hooks' },
  ['install-prompts'] = { '--install-prompts', 'install-prompts' },
  ['list-commands'] = { '--list-commands', 'list-commands' },
  ['list-targets'] = { '--list-targets', 'list-targets' },
  ['list-trees'] = { '--list-trees', 'list-trees' },
  ['show-config'] = { '--show-config', 'show-config' },
  ['show-state'] = { '--show-state', 'show-state' },
  ['explain-startup'] = { '--explain-startup', 'explain-startup' },
  help = { '--help', '-h', 'help' },
}

function M.test_every_alias()
  local count = 0
  for command, spellings in pairs(ALIASES) do
    for _, spelling in ipairs(spellings) do
      lu.assertEquals(parse(spelling).command, command, spelling)
      lu.assertEquals(parse('--json ' .. spelling).command, command, spelling)
      lu.assertEquals(parse('--command=' .. spelling).command, command, spelling)
      count = count + 1
    end
  end
  lu.assertTrue(count >= 107, count)
  lu.assertEquals(#commands.reference_names(), 33)
  for _, name in ipairs(commands.reference_names()) do
    lu.assertNotNil(ALIASES[name], name)
  end
end

-- Every flag of the reference: command line -> keys of route.flags with their values.
local FLAGS = {
  { 'test --all', { all = true } },
  { 'test --untested', { untested = true } },
  { 'test --failed', { failed = true } },
  { 'test --load-state', { load_state = true } },
  { 'test --command-resume', { load_state = true } },
  { 'resume --skip-startup', { skip_startup = true } },
  { 'resume --command-only', { skip_startup = true } },
  { 'logs --logs-follow', { logs_follow = true } },
  { 'logs --logs-no-color', { logs_no_color = true } },
  { 'dashboard --dashboard-interactive', { dashboard_interactive = true } },
  { 'dashboard --interactive', { interactive = true } },
  { '--headless', { headless = true } },
  { '--batch', { headless = true } },
  { '--non-interactive', { headless = true } },
  { '--no-interactive', { headless = true } },
  { '-b', { headless = true } },
  { 'show-config --json', { json = true } },
  { 'config --stdin-json', { stdin_json = true } },
  { 'migrate-hooks -f', { force = true } },
  { 'migrate-hooks --force', { force = true } },
  { 'start --force', { force = true } },
  { 'delete-worktree x --dry-run', { dry_run = true } },
  { 'blast-worktree x --yes', { yes = true } },
  { '--parallel-trees', { parallel_trees = true } },
  { '--no-parallel-trees', { parallel_trees = false } },
  { '--parallel-trees --no-parallel-trees', { parallel_trees = false } },
  { 'test --test-parallel', { test_parallel = true } },
  { 'test --test-sequential', { test_parallel = false } },
  { 'test --no-test-parallel', { test_parallel = false } },
  { '--service-parallel', { service_parallel = true } },
  { '--service-sequential', { service_parallel = false } },
  { '--no-service-parallel', { service_parallel = false } },
  { '--service-prep-parallel', { service_prep_parallel = true } },
  { '--service-prep-sequential', { service_prep_parallel = false } },
  { '--no-service-prep-parallel', { service_prep_parallel = false } },
  { '--refresh-cache', { refresh_cache = true } },
  { '--fast', { fast = true } },
  { '--fast-startup', { fast = true } },
  { '--docker', { docker = true } },
  { '--docker-temp', { docker_temp = true } },
  { '--temp-docker', { docker_temp = true } },
  { '--stop-docker-on-exit', { docker_temp = true } },
  { '--plan --keep-plan', { keep_plan = true } },
  { '--clear-port-state', { clear_port_state = true } },
  { '--clear-ports', { clear_port_state = true } },
  { '--clear-port-cache', { clear_port_state = true } },
  { '--debug-trace', { debug_trace = true } },
  { '--debug-trace-no-xtrace', { debug_trace_no_xtrace = true } },
  { '--debug-trace-no-stdio', { debug_trace_no_stdio = true } },
  { '--debug-trace-no-interactive', { debug_trace_no_interactive = true } },
  { '--main-services-local', { main_services_local = true } },
  { '--main-local', { main_services_local = true } },
  { '--main-services-remote', { main_services_remote = true } },
  { '--main-remote', { main_services_remote = true } },
  { '--key-debug', { key_debug = true } },
  { '--debug-ui', { debug_ui = true } },
  { '--debug-ui-deep', { debug_ui_deep = true } },
  { 'debug-pack --debug-ui-include-doctor', { debug_ui_include_doctor = true } },
  { '--setup-worktree f 1 --reuse-existing-worktree', { setup_worktree_existing = true } },
  { '--setup-worktree f 1 --setup-worktree-existing', { setup_worktree_existing = true } },
  { '--setup-worktree f 1 --recreate-existing-worktree', { setup_worktree_recreate = true } },
  { '--setup-worktree f 1 --setup-worktree-recreate', { setup_worktree_recreate = true } },
  { '--seed-requirements-from-base', { seed_requirements_from_base = true } },
  { '--copy-db-storage', { seed_requirements_from_base = true } },
  { '--no-seed-requirements-from-base', { seed_requirements_from_base = false } },
  { '--no-copy-db-storage', { seed_requirements_from_base = false } },
  { '--no-resume', { no_resume = true } },
  { '--no-auto-resume', { no_resume = true } },
  { 'config --set A=1 --set B=2', { set_values = { 'A=1', 'B=2' } } },
  { 'config --set=A=1', { set_values = { 'A=1' } } },
  { '--include-existing-worktrees a,b --setup-include-worktrees c', { include_existing_worktrees = { 'a', 'b', 'c' } } },
  { 'pr --pr-base dev', { pr_base = 'dev' } },
  { 'commit --commit-message hello', { commit_message = 'hello' } },
  { 'commit --commit-message-file f.txt', { commit_message_file = 'f.txt' } },
  { 'review --analyze-mode grouped', { analyze_mode = 'grouped' } },
  { 'review --review-mode=single', { analyze_mode = 'single' } },
  { 'logs --logs-tail 5', { logs_tail = 5 } },
  { 'logs --logs-tail=0', { logs_tail = 0 } },
  { 'logs --logs-duration 2.5', { logs_duration = 2.5 } },
  { '--parallel-trees-max 3', { parallel_trees_max = 3 } },
  { '--debug-trace-log x.log', { debug_trace_log = 'x.log' } },
  { '--log-profile p --log-level debug', { log_profile = 'p', log_level = 'debug' } },
  { '--backend-log-profile p --backend-log-level l', { backend_log_profile = 'p', backend_log_level = 'l' } },
  { '--frontend-log-profile p --frontend-log-level l', { frontend_log_profile = 'p', frontend_log_level = 'l' } },
  { 'test --frontend-test-runner bun', { frontend_test_runner = 'bun' } },
  { 'test --test-parallel-max 2', { test_parallel_max = 2 } },
  { 'install-prompts --cli codex,claude --preset all', { cli = 'codex,claude', preset = 'all' } },
  { 'debug-pack --session-id s --run-id r --scope-id c', { session_id = 's', run_id = 'r', scope_id = 'c' } },
  { 'debug-pack --output-dir d --timeout 2', { output_dir = 'd', timeout = 2 } },
  { '--debug-capture deep', { debug_capture = 'deep' } },
  { '--debug-auto-pack crash', { debug_auto_pack = 'crash' } },
  { '--setup-worktrees f 2', { setup_worktrees = { { feature = 'f', count = 2 } } } },
  { '--setup-worktrees=f,2', { setup_worktrees = { { feature = 'f', count = 2 } } } },
  { '--setup-worktree f 2', { setup_worktree = { { feature = 'f', iteration = 2 } } } },
  { 'blast-all --blast-keep-worktree-volumes', { blast_keep_worktree_volumes = true } },
  { 'blast-all --blast-remove-worktree-volumes', { blast_keep_worktree_volumes = false } },
  { 'blast-all --blast-remove-main-volumes', { blast_remove_main_volumes = true } },
  { 'blast-all --blast-keep-main-volumes', { blast_remove_main_volumes = false } },
  { 'stop-all --stop-all-remove-volumes', { stop_all_remove_volumes = true } },
  { 'stop-all --remove-volumes', { stop_all_remove_volumes = true } },
  { 'test FRONTEND_TEST_RUNNER=bun', { frontend_test_runner = 'bun' } },
  { 'test frontend-test-runner=bun', { frontend_test_runner = 'bun' } },
  { 'test test-parallel-max=3', { test_parallel_max = 3 } },
  { 'test TEST_PARALLEL_MAX=3', { test_parallel_max = 3 } },
  { 'test ENVCTL_ACTION_TEST_PARALLEL_MAX=3', { test_parallel_max = 3 } },
  { 'PARALLEL_TREES_MAX=3 start', { parallel_trees_max = 3 } },
  { 'parallel-trees-max=3', { parallel_trees_max = 3 } },
  { 'RUN_SH_OPT_PARALLEL_TREES_MAX=3', { parallel_trees_max = 3 } },
  { 'fresh=true', { fresh = true, no_resume = true } },
  { 'FRESH=true', { fresh = true } },
  { 'docker=true', { docker = true } },
  { 'DOCKER=yes', { docker = true } },
  { 'docker-temp=true', { docker_temp = true } },
  { 'DOCKER_TEMP=1', { docker_temp = true } },
  { 'force=true', { force = true } },
  { 'FORCE=true', { force = true } },
  { 'test backend=false frontend=true', { backend = false, frontend = true } },
  { 'test BACKEND=off FRONTEND=on', { backend = false, frontend = true } },
  { 'test test-parallel=false', { test_parallel = false } },
  { 'test TEST_PARALLEL=true', { test_parallel = true } },
  { 'test ENVCTL_ACTION_TEST_PARALLEL=no', { test_parallel = false } },
  { 'service-parallel=true', { service_parallel = true } },
  { 'SERVICE_PARALLEL=false', { service_parallel = false } },
  { 'ENVCTL_SERVICE_ATTACH_PARALLEL=false', { service_parallel = false } },
  { 'service-prep-parallel=true', { service_prep_parallel = true } },
  { 'SERVICE_PREP_PARALLEL=true', { service_prep_parallel = true } },
  { 'ENVCTL_SERVICE_PREP_PARALLEL=false', { service_prep_parallel = false } },
  { 'copy-db-storage=true', { seed_requirements_from_base = true } },
  { 'COPY_DB_STORAGE=false', { seed_requirements_from_base = false } },
  { 'seed-requirements-from-base=true', { seed_requirements_from_base = true } },
  { 'SEED_REQUIREMENTS_FROM_BASE=true', { seed_requirements_from_base = true } },
  { 'parallel-trees=false', { parallel_trees = false } },
  { 'PARALLEL_TREES=true', { parallel_trees = true } },
  { 'RUN_SH_OPT_PARALLEL_TREES=true', { parallel_trees = true } },
  { 'plan a --sequential-plan', { sequential = true, parallel_trees = false } },
  { '--parallel-plan a', { parallel_trees = true } },
  { '--planning-prs a', { planning_prs = true } },
}

function M.test_every_flag()
  for _, case in ipairs(FLAGS) do
    local route = parse(case[1])
    for key, value in pairs(case[2]) do
      lu.assertEquals(route.flags[key], value, case[1] .. ': ' .. key)
    end
  end
end

function M.test_no_flag_is_left_out_of_the_table()
  local seen = {}
  for _, case in ipairs(FLAGS) do
    for word in case[1]:gmatch '%S+' do
      seen[word:match '^[^=]+'] = true
    end
  end
  -- Ours alone: not in the reference.
  local own = {
    ['--repo'] = 1, ['--bundled'] = 1, ['--wait'] = 1, ['--since'] = 1, ['--grep'] = 1, ['--run'] = 1, ['--ready'] = 1,
    ['--no-prepare'] = 1,
    ['--count'] = 1, ['--base'] = 1, ['--to'] = 1, ['--no-push'] = 1, ['--keep-dependencies'] = 1, ['--list'] = 1, ['--shell-file'] = 1,
    ['--show-secrets'] = 1, ['--module'] = 1, ['--file'] = 1, ['--status'] = 1, ['--tail'] = 1, ['--follow'] = 1, ['--services'] = 1,
    ['--project'] = 1, ['--projects'] = 1, ['--service'] = 1,
  }
  for name in pairs(flags.by_name) do
    lu.assertTrue(seen[name] or own[name] ~= nil, name .. ' has no case')
  end
  for word in pairs(flags.by_word) do
    lu.assertTrue(seen[word] or word == 'resume' or word == 'RESUME', word .. ' has no case')
  end
end

function M.test_modes()
  for line, mode in pairs {
    ['--main'] = 'main', ['--main=true'] = 'main', ['main=true'] = 'main', ['MAIN=true'] = 'main', ['--tree'] = 'trees',
    ['--tree=true'] = 'trees', ['--trees'] = 'trees', ['--trees=true'] = 'trees', ['tree=true'] = 'trees', ['trees=true'] = 'trees',
    ['TREE=true'] = 'trees', ['TREES=true'] = 'trees', ['main=false'] = 'trees', ['MAIN=false'] = 'trees', ['--tree=false'] = 'main',
    ['--trees=false'] = 'main', ['tree=false'] = 'main', ['trees=false'] = 'main', ['TREE=false'] = 'main', ['TREES=false'] = 'main',
    ['--main --trees'] = 'trees', ['--trees --main'] = 'main', ['--plan a'] = 'trees', ['list-trees'] = 'trees',
    ['--setup-worktrees f 2'] = 'trees',
  } do
    lu.assertEquals(parse(line).mode, mode, line)
  end
  lu.assertNil(parse('show-config').mode)
  -- Choosing a mode does not switch resuming off.
  lu.assertNil(parse('--main').flags.no_resume)
  fails('--plan --main', 'conflicting_options')
  fails('--main --plan a', 'conflicting_options')
  fails('tees=true', 'unknown_option')
  fails('main=maybe', 'invalid_value')
end

function M.test_a_value_is_never_read_again()
  local route = parse 'commit --commit-message stop-all'
  lu.assertEquals({ route.command, route.flags.commit_message }, { 'commit', 'stop-all' })
  route = parse '--project test'
  lu.assertEquals({ route.command, route.projects[1] }, { 'start', 'test' })
  route = parse 'logs --service a'
  lu.assertEquals({ route.command, route.services[1] }, { 'logs', 'a' })
  route = parse '--plan a'
  lu.assertEquals({ route.command, route.args[1] }, { 'plan', 'a' })
  route = parse 'install-prompts --cli codex plan'
  lu.assertEquals({ route.command, route.args[1] }, { 'install-prompts', 'plan' })
  route = parse '--project main=true stop'
  lu.assertEquals({ route.command, route.projects[1], route.mode }, { 'stop', 'main=true', nil })
  route = parse 'stop test'
  lu.assertEquals({ route.command, route.args[1] }, { 'stop', 'test' })
  route = parse 'commit -- --all stop-all key=value'
  lu.assertEquals({ route.command, route.args }, { 'commit', { '--all', 'stop-all', 'key=value' } })
  -- The name of a plan flag decides, never its value.
  route = parse '--plan=my-parallel-thing'
  lu.assertNil(route.flags.parallel_trees)
  route = parse '--sequential-plan=a-parallel'
  lu.assertEquals(route.flags.parallel_trees, false)
end

function M.test_documented_combinations()
  local route = parse '--headless --resume'
  lu.assertEquals({ route.command, route.flags.headless }, { 'resume', true })
  route = parse 'test --failed --skip-startup --load-state'
  lu.assertEquals({ route.command, route.flags.failed, route.flags.skip_startup }, { 'test', true, true })
  route = parse 'explain-startup --plan X'
  lu.assertEquals({ route.command, route.explain.command, route.explain.args[1], route.explain.mode }, {
    'explain-startup', 'plan', 'X', 'trees',
  })
  for _, line in ipairs { 'explain-startup resume', '--resume explain-startup', 'explain-startup --resume', 'resume --explain-startup' } do
    route = parse(line)
    lu.assertEquals({ route.command, route.explain.command }, { 'explain-startup', 'resume' }, line)
  end
  route = parse 'explain-startup start feature-a --main --no-resume'
  lu.assertEquals({ route.explain.command, route.explain.args[1], route.explain.flags.no_resume }, { 'start', 'feature-a', true })
  lu.assertFalse(route.explain.implicit)
  lu.assertTrue(parse('explain-startup').explain.implicit)
  route = parse '--plan=a,b --plan c'
  lu.assertEquals(route.args, { 'a', 'b', 'c' })
  route = parse 'plan a,b c'
  lu.assertEquals(route.args, { 'a', 'b', 'c' })
  route = parse 'config BACKEND_PORT_BASE=8100 backend=x'
  lu.assertEquals({ route.command, route.flags.set_values }, { 'config', { 'BACKEND_PORT_BASE=8100', 'backend=x' } })
  route = parse 'BACKEND_PORT_BASE=8100 config'
  lu.assertEquals(route.flags.set_values, { 'BACKEND_PORT_BASE=8100' })
  route = parse 'resume=true'
  lu.assertEquals(route.command, 'resume')
end

function M.test_starting_is_implicit()
  lu.assertEquals({ parse('').command, parse('').implicit }, { 'start', true })
  lu.assertEquals({ parse('start').command, parse('start').implicit }, { 'start', false })
  lu.assertEquals(parse('--command start').implicit, false)
  lu.assertEquals(parse('--main --headless').command, 'start')
end

function M.test_targets()
  local route = parse 'stop --project a,b --projects c --service=Main\0x d'
  lu.assertEquals(route.projects, { 'a', 'b', 'c' })
  lu.assertEquals(route.args, { 'd' })
  route = parse { 'stop', '--service', 'Main Backend, Main Frontend' }
  lu.assertEquals(route.services, { 'Main Backend', 'Main Frontend' })
  fails({ 'stop', '--project', ' , ' }, 'missing_value')
  fails({ 'stop', '--project=' }, 'missing_value')
end

function M.test_doctors()
  lu.assertTrue(parse('doctor --repo x').verify)
  lu.assertTrue(parse('--json doctor').verify)
  lu.assertNil(parse('--doctor').verify)
  lu.assertNil(parse('d').verify)
  lu.assertNil(parse('--command doctor').verify)
end

function M.test_help_of_a_command()
  for _, line in ipairs { 'stop --help', 'stop -h', '--help stop', 'help stop', '-h stop' } do
    local route = parse(line)
    lu.assertEquals({ route.command, route.args[1] }, { 'help', 'stop' }, line)
  end
  lu.assertEquals(parse('--version').command, 'version')
  lu.assertEquals(parse('version --json').flags.json, true)
end

function M.test_errors()
  local e = fails('strat', 'unknown_command')
  lu.assertStrContains(e.hint, 'start')
  lu.assertEquals(e.data.word, 'strat')
  lu.assertStrContains(fails('stop --projcet a', 'unknown_option').hint, '--project')
  lu.assertStrContains(fails('--tets', 'unknown_option').hint, '--test')
  for line, code in pairs {
    ['-z'] = 'unknown_option', ['-x --list-commands'] = 'unknown_option', ['-'] = 'unknown_option', ['--frobnicate'] = 'unknown_option',
    ['FOO=bar'] = 'unknown_option', ['LIST-TREES'] = 'unknown_command', ['--command=zap'] = 'unknown_command',
    ['--command'] = 'missing_value', ['--command --test'] = 'missing_value', ['--project'] = 'missing_value',
    ['--project --json'] = 'missing_value', ['--repo'] = 'missing_value', ['--repo= list-trees'] = 'missing_value',
    ['--setup-worktrees f'] = 'missing_value', ['--setup-worktrees=f'] = 'missing_value', ['--setup-worktrees f x'] = 'invalid_value',
    ['logs --logs-tail abc'] = 'invalid_value', ['logs --logs-tail=-1'] = 'invalid_value', ['logs --logs-tail 1.5'] = 'invalid_value',
    ['--parallel-trees-max 0'] = 'invalid_value', ['review --review-mode x'] = 'invalid_value', ['--json=perhaps'] = 'invalid_value',
    ['docker=perhaps'] = 'invalid_value', ['stop --stop-all'] = 'conflicting_options', ['--stop --test'] = 'conflicting_options',
    ['stop-all feature'] = 'unexpected_argument', ['show-config x'] = 'unexpected_argument', ['stop --failed'] = 'option_not_applicable',
    ['--main-local --main-remote'] = 'conflicting_options', ['show-state --project a'] = 'option_not_applicable',
    ['commit --commit-message a --commit-message-file b'] = 'conflicting_options',
    ['--docker --setup-worktrees f 2'] = 'conflicting_options',
    ['--setup-worktree f 1 --setup-worktree-existing --setup-worktree-recreate'] = 'conflicting_options',
    ['help --nonsense'] = 'unknown_option', ['explain-startup plan resume x --resume'] = 'conflicting_options',
  } do
    fails(line, code)
  end
  fails({ '' }, 'unknown_command')
  lu.assertStrContains(fails('stop --failed', 'option_not_applicable').message, '`stop`')
end

function M.test_switches()
  lu.assertEquals(parse('show-config --json=true').flags.json, true)
  lu.assertEquals(parse('show-config --json=false').flags.json, false)
  lu.assertEquals(parse('--json --no-json').flags.json, false)
  lu.assertTrue(router.wants_json { 'x', '--json' })
  lu.assertFalse(router.wants_json { 'commit', '--', '--json' })
end

function M.test_names_are_unique()
  local seen = {}
  for _, c in ipairs(commands.list) do
    for _, word in ipairs { c.name, table.unpack(c.words) } do
      lu.assertNil(seen[word], word)
      seen[word] = c.name
    end
    for _, dash in ipairs { not c.bare_only and '--' .. c.name or c.name .. '(bare)', table.unpack(c.dashes) } do
      lu.assertNil(seen[dash], dash)
      seen[dash] = c.name
    end
    lu.assertNotNil(c.summary)
    lu.assertNotNil(c.usage)
    lu.assertTrue(#c.examples > 0, c.name)
  end
  for _, f in ipairs(flags.list) do
    for _, name in ipairs(f.names) do
      lu.assertNil(seen[name], name)
      seen[name] = f.key
    end
  end
end

function M.test_examples_parse()
  for _, c in ipairs(commands.list) do
    for _, example in ipairs(c.examples) do
      local line = example:gsub('^printf .-| ', ''):gsub(' >.*$', ''):gsub('^envctl ?', '')
      local argv = {}
      for quoted, bare in line:gmatch '"([^"]*)"|?(%S*)' do
        argv[#argv + 1] = quoted .. bare
      end
      if #argv == 0 then
        lu.assertEquals(parse(line).command, parse(line).command, example)
      end
    end
  end
end

-- Random command lines end in a route or in a structured error, never in anything else.
function M.test_ten_thousand_random_command_lines()
  local pool = { '', '-', '--', '---', '=', 'a=b', '--=', '--a=', 'x', 'ü', '-5', '--repo', '--json', '\0', ('x'):rep(300) }
  for word in pairs(commands.words) do
    pool[#pool + 1] = word
  end
  for dash in pairs(commands.dashes) do
    pool[#pool + 1] = dash
  end
  for name in pairs(flags.by_name) do
    pool[#pool + 1] = name
    pool[#pool + 1] = name .. '=1,2'
  end
  for word in pairs(flags.by_word) do
    pool[#pool + 1] = word .. '=true'
  end
  table.sort(pool)
  math.randomseed(20251125)
  local routes = 0
  for _ = 1, 10000 do
    local argv = {}
    for i = 1, math.random(0, 6) do
      argv[i] = pool[math.random(#pool)]
    end
    local ok, result = pcall(router.parse, argv)
    if ok then
      routes = routes + 1
      lu.assertNotNil(commands.by_name[result.command])
    else
      lu.assertTrue(err.is(result), table.concat(argv, ' ') .. ': ' .. tostring(result))
    end
  end
  lu.assertTrue(routes > 500, routes)
end

return M
