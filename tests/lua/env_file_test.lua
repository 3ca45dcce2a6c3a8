-- Env files of applications: which one, what it beats, and what is said.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local fixture = require 'fixture'

local M = {}

local CONFIG = [[
ENVCTL_BACKEND_START_CMD=/bin/true
MAIN_FRONTEND_ENABLE=false
TREES_FRONTEND_ENABLE=false
MAIN_REDIS_ENABLE=true
ENVCTL_REDIS_URL=redis://db.example:6379/0
]]

-- The backend of the plan and the document, with a file in place.
local function explain(setting, files, worktrees, args)
  files['.envctl'], files['backend/x'] = CONFIG .. setting, ''
  local repo = fixture.repo(files, worktrees)
  for path in pairs(worktrees or {}) do
    fixture.write(repo.root .. '/' .. path .. '/backend/x', '')
  end
  local _, ctx = fixture.run(args or { 'explain-startup', '--json' }, repo.root)
  local project = ctx.out.document.plan.projects and ctx.out.document.plan.projects[1]
  return project and project.services[1], ctx.out.document, repo.root
end

function M.test_its_values_beat_what_is_handed_over_and_nothing_else()
  local text = '\xEF\xBB\xBF# mine\r\nREDIS_URL=redis://mine:1/0\r\nPORT=1\r\nSHOWN=${port} $HOME $(id)\r\nSECRET_TOKEN=hush\r\n'
  local service, document, root = explain('BACKEND_ENV_FILE_OVERRIDE=conf/dev.env\n', { ['conf/dev.env'] = text })
  lu.assertEquals({ service.env.REDIS_URL, service.env.SHOWN, service.env.SECRET_TOKEN, service.env.APP_ENV_FILE },
    { 'redis://mine:1/0', '${port} $HOME $(id)', '***', root .. '/conf/dev.env' })
  lu.assertNotEquals(service.env.PORT, '1')
  lu.assertEquals({ service.origin['env.REDIS_URL'].layer, service.origin['env.REDIS_URL'].line }, { 'env_file', 2 })
  lu.assertEquals(document.notices[1].message, 'REDIS_URL is what conf/dev.env says, not what the dependency provides')
  lu.assertEquals(fs.read(root .. '/conf/dev.env'), text)
  fixture.clean()
end

function M.test_lines_of_the_launch_env_beat_it()
  local section = '# >>> envctl backend launch env >>>\nREDIS_URL=${ENVCTL_SOURCE_REDIS_URL}\n# <<< envctl backend launch env <<<\n'
  local service = explain('BACKEND_ENV_FILE_OVERRIDE=dev.env\n' .. section, { ['dev.env'] = 'REDIS_URL=mine\nX=1\n' })
  lu.assertEquals({ service.env.REDIS_URL, service.env.X }, { 'redis://db.example:6379/0', '1' })
  fixture.clean()
end

function M.test_without_a_setting_nothing_is_read()
  local service = explain('', { ['backend/.env'] = 'X=1\n', ['.env'] = 'X=1\n' })
  lu.assertEquals({ service.env.X, service.env.APP_ENV_FILE }, {})
  fixture.clean()
end

function M.test_a_missing_one_is_said()
  local service, document = explain('BACKEND_ENV_FILE_OVERRIDE=gone.env\n', { ['backend/.env'] = 'X=1\n' })
  lu.assertNil(service.env.APP_ENV_FILE)
  lu.assertEquals({ document.decision, document.warnings[1].code, document.warnings[1].where },
    { 'start_fresh', 'env_file_missing', '.envctl:6' })
  fixture.clean()
end

function M.test_two_files_are_nobodys_to_choose()
  local trees = { ['trees/a/1'] = 'a-1' }
  local args = { 'explain-startup', '--trees', '--project', 'a-1', '--json' }
  local setting = 'BACKEND_ENV_FILE_OVERRIDE=dev.env\n'
  local service, document = explain(setting, { ['dev.env'] = 'X=1\n', ['trees/a/1/dev.env'] = 'X=2\n' }, trees, args)
  lu.assertEquals({ document.decision, document.blockers[1].code }, { 'blocked', 'env_file_ambiguous' })
  lu.assertStrContains(document.blockers[1].hint, 'absolute')
  lu.assertNil(service.env.X)
  for _, files in ipairs {
    { ['dev.env'] = 'X=1\n', ['trees/a/1/dev.env'] = 'X=1\n' }, { ['dev.env'] = 'X=1\n' }, { ['trees/a/1/dev.env'] = 'X=1\n' },
  } do
    lu.assertEquals(explain(setting, files, trees, args).env.X, '1')
  end
  fixture.clean()
end

function M.test_main_has_one_of_its_own()
  local files = { ['main.env'] = 'X=main\n' }
  lu.assertEquals(explain('MAIN_ENV_FILE_PATH=main.env\n', files).env.X, 'main')
  local trees = explain('MAIN_ENV_FILE_PATH=main.env\n', files, { ['trees/a/1'] = 'a-1' },
    { 'explain-startup', '--trees', '--project', 'a-1', '--json' })
  lu.assertNil(trees.env.X)
  fixture.clean()
end

return M
