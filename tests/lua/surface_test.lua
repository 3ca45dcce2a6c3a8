-- Help, completion, installing, prompts: what people see of the tables.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local commands = require 'envctl.cli.commands'
local help = require 'envctl.cli.help'
local completion = require 'envctl.cli.completion'
local install = require 'envctl.commands.install'
local fixture = require 'fixture'

local M = {}

function M.test_list_commands()
  local _, ctx = fixture.run({ 'list-commands' }, '/')
  lu.assertEquals(#ctx.out.lines, 33)
  lu.assertEquals(ctx.out.lines[1], 'blast-all')
  lu.assertEquals(ctx.out.lines[33], 'test')
  _, ctx = fixture.run({ 'list-commands', '--all' }, '/')
  lu.assertStrContains(table.concat(ctx.out.lines, ' '), 'endpoints')
end

function M.test_help()
  local overview = table.concat(help.overview(), '\n')
  for _, c in ipairs(commands.list) do
    lu.assertStrContains(overview, c.name)
    local text = table.concat(help.command(c), '\n')
    lu.assertStrContains(text, 'Usage: envctl ' .. c.usage)
    for _, flag in ipairs(help.flags_of(c)) do
      lu.assertStrContains(text, flag.names[1])
    end
  end
  for _, line in ipairs(help.overview()) do
    lu.assertTrue(utf8.len(line) <= 100, line)
  end
  local code, ctx = fixture.run({ 'help', 'stop' }, '/')
  lu.assertEquals(code, 0)
  lu.assertStrContains(ctx.out.lines[1], 'envctl stop')
  lu.assertEquals(fixture.error_of(fixture.run, { 'help', 'stpo' }, '/').code, 'unknown_command')
end

function M.test_documents()
  local docs = require 'envctl.cli.docs'
  local text, keys, man = docs.commands(), docs.config(), docs.man()
  for _, c in ipairs(commands.list) do
    lu.assertStrContains(text, '### ' .. c.name)
  end
  for _, def in ipairs(require('envctl.config.schema').list) do
    if not def.pattern then
      lu.assertStrContains(keys, '`' .. def.key .. '`')
    end
  end
  lu.assertStrContains(man, '.TH ENVCTL 1')
  for line in man:gmatch '[^\n]+' do
    lu.assertNil(line:find "^'", line)
  end
end

local function words_of(line)
  local out = {}
  for word in (line .. '|'):gmatch '([^ |]*)[ |]' do
    out[#out + 1] = word
  end
  return out
end

local function candidates(line)
  local out = {}
  for i, c in ipairs(completion.candidates(words_of(line))) do
    out[i] = c[1]
  end
  return table.concat(out, ' ')
end

function M.test_completion()
  for line, wanted in pairs {
    ['sta'] = 'start', ['stop-'] = 'stop-all', ['stop --serv'] = '--service --services',
    ['--pla'] = '--plan --plan-parallel --plan-selection --plan-sequential --planning-envs --planning-prs',
    ['completion '] = 'bash fish zsh', ['help list-t'] = 'list-targets list-trees', ['review --review-mode '] = 'grouped single',
    ['review --review-mode=g'] = '--review-mode=grouped', ['install-prompts --cli c'] = 'claude codex',
    ['install-prompts --cli codex,c'] = 'codex,claude codex,codex',
    ['install-prompts imp'] = 'implement_task', ['config MAIN_B'] = 'MAIN_BACKEND_ENABLE=', ['explain-startup p'] = 'plan',
    ['script e'] = 'eject', ['script eject plan.s'] = 'plan.startup', ['script points wiz'] = '', ['script trust '] = '',
    ['data d'] = 'dump', ['data --yes reset po'] = 'postgres', ['seed dum'] = '',
    ['stop-all '] = '', ['nonsense '] = 'nonsense',
  } do
    if line ~= 'nonsense ' then
      lu.assertEquals(candidates(line), wanted, line)
    end
  end
  lu.assertTrue(completion.candidates({ 'start', '--repo', '' }).files)
  lu.assertTrue(completion.candidates({ 'seed', '' }).files) -- a command of the repository
  lu.assertStrContains(candidates('commit --commit-message stop --no'), '--no-push')
  for _, shell in ipairs(completion.shells) do
    lu.assertStrContains(completion.script(shell), '__complete')
  end
  lu.assertEquals(fixture.error_of(fixture.run, { 'completion', 'tcsh' }, '/').code, 'invalid_value')
  lu.assertEquals(fixture.error_of(fixture.run, { 'completion' }, '/').code, 'missing_value')
end

function M.test_shell_files()
  local function file(shell, ...)
    local there = {}
    for _, name in ipairs { ... } do
      there['/h/' .. name] = true
    end
    return install.shell_file(shell, '/h', function(path)
      return there[path] == true
    end)
  end
  lu.assertEquals(file '/bin/zsh', '/h/.zshrc')
  lu.assertEquals(file '/bin/bash', '/h/.bashrc')
  lu.assertEquals(file('/bin/bash', '.bash_profile'), '/h/.bash_profile')
  lu.assertEquals(file('/bin/bash', '.bash_profile', '.bashrc'), '/h/.bashrc')
  lu.assertEquals(file '/usr/bin/fish', '/h/.profile')
  lu.assertEquals(file(nil), '/h/.profile')
end

function M.test_install_and_uninstall_give_back_the_bytes()
  local line = 'export PATH="/opt/e:$PATH"'
  for _, text in ipairs { '', '# mine\n', 'a\r\nb\r\n', 'no newline', '\n\n', 'x=1\n\n' } do
    local with = install.edit(text, line)
    lu.assertStrContains(with, line)
    lu.assertEquals(install.edit(with, line), with)
    local without = install.edit(with, nil)
    local wanted = text == 'no newline' and 'no newline\n' or text
    lu.assertEquals(without, wanted, text)
  end
  -- A block that names another directory is refreshed where it stands.
  local old = 'a\n' .. install.edit('', 'export PATH="/old:$PATH"') .. 'b\n'
  lu.assertEquals(install.edit(old, line), 'a\n' .. install.edit('', line) .. 'b\n')
  -- Half a block is somebody's own text.
  lu.assertEquals(install.edit('# >>> envctl PATH >>>\nx\n', nil), '# >>> envctl PATH >>>\nx\n')
end

function M.test_installing_into_a_file()
  local dir = fixture.dir()
  local file = dir .. '/sub/rc'
  local code, ctx = fixture.run({ 'install', '--shell-file', file, '--dry-run' }, '/')
  lu.assertEquals(code, 0)
  lu.assertNil(fs.stat(file))
  lu.assertStrContains(table.concat(ctx.out.lines, '\n'), '# >>> envctl PATH >>>')
  fixture.run({ 'install', '--shell-file', file }, '/')
  lu.assertStrContains(fs.read(file), 'export PATH=')
  fixture.run({ 'uninstall', '--shell-file', file }, '/')
  lu.assertEquals(fs.read(file), '')
  fixture.clean()
end

local PRESETS = { 'continue_task', 'create_plan', 'implement_task', 'merge_trees_into_dev', 'review_task_imp' }

function M.test_prompts()
  local prompts = require 'envctl.prompts'
  lu.assertEquals(prompts.names, PRESETS)
  for _, name in ipairs(PRESETS) do
    local text = prompts.text(name)
    lu.assertEquals(text:sub(1, 2), '# ', name)
    lu.assertStrContains(text, '$ARGUMENTS')
    for _, heading in ipairs { '## Inputs', '## Not negotiable', '## Final answer', '## Before you stop' } do
      lu.assertStrContains(text, heading)
    end
  end
end

local function results(words)
  table.insert(words, '--json')
  local code, ctx = fixture.run(words, '/')
  local out = {}
  for i, r in ipairs(ctx.out.document.results) do
    out[i] = (r.cli ~= '' and r.cli or '-') .. ' ' .. (r.preset or '-') .. ' ' .. r.status
  end
  return code, out, ctx.out.document
end

function M.test_install_prompts()
  local code, list, document = results { 'install-prompts', '--cli', 'opencode,CODEX, codex', '--dry-run' }
  lu.assertEquals({ code, list }, { 0, { 'opencode implement_task planned', 'codex implement_task planned' } })
  lu.assertEquals({ document.preset, document.dry_run }, { 'implement_task', true })
  code, list = results { 'install-prompts', '--cli', 'bogus,claude', '--preset', 'create_plan', '--dry-run' }
  lu.assertEquals({ code, list }, { 1, { 'bogus - failed', 'claude create_plan planned' } })
  code, list = results { 'install-prompts', '--cli', 'claude', 'all', '--dry-run' }
  lu.assertEquals({ code, #list, list[1] }, { 0, 5, 'claude continue_task planned' })
  for _, words in ipairs {
    { 'install-prompts' }, { 'install-prompts', '--cli', ',' }, { 'install-prompts', '--cli', 'all', 'nope' },
    { 'install-prompts', '--cli', 'all', 'all', 'more' },
  } do
    code, list = results(words)
    lu.assertEquals({ code, #list }, { 1, 1 }, table.concat(words, ' '))
  end
end

function M.test_doctor_of_a_repository()
  local repo = fixture.repo({ ['.envctl'] = 'BACKEND_PORT_BASE=x\n', ['.envctl.sh'] = 'envctl_define_services() {\n}\n' })
  fs.mkdirs(repo.root .. '/trees/stray', 493)
  local code, ctx = fixture.run({ 'doctor', '--json' }, repo.root)
  local status = {}
  for _, check in ipairs(ctx.out.document.checks) do
    status[check.id] = check.status
  end
  lu.assertEquals({ code, ctx.out.document.ok, status.config_error, status.hooks, status.not_a_worktree, status.repository }, {
    1, false, 'fail', 'warn', 'warn', 'pass',
  })
  local outside = fixture.dir()
  code, ctx = fixture.run({ 'doctor', '--json' }, outside)
  lu.assertEquals({ code, ctx.out.document.checks[1].status }, { 1, 'fail' })
  fixture.clean()
end

return M
