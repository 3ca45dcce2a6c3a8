local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local dotenv = require 'envctl.config.dotenv'
local schema = require 'envctl.config.schema'
local save = require 'envctl.config.save'
local fixture = require 'fixture'

local M = {}

local function defaults(changes)
  local values = {}
  for _, def in ipairs(schema.list) do
    if def.managed then
      values[def.key] = def.default
    end
  end
  for k, v in pairs(changes or {}) do
    values[k] = v
  end
  return values
end

local function block(values, newline)
  return table.concat(save.block(values or defaults()), newline or '\n') .. (newline or '\n')
end

local function values_of(text)
  local out = {}
  for _, e in ipairs(dotenv.scan(text).entries) do
    out[e.key] = e.value
  end
  return out
end

function M.test_a_new_file()
  local merged = save.merge('', defaults())
  lu.assertStrContains(merged.text, block())
  lu.assertTrue(merged.seeded)
  local scan = dotenv.scan(merged.text)
  lu.assertEquals({ #scan.problems, #scan.entries, #scan.sections }, { 0, 23, 2 })
  lu.assertEquals(#require('envctl.config.launch_env').parse(scan.sections).problems, 0)
  lu.assertEquals(save.merge(merged.text, defaults()).text, merged.text)
end

-- Files with comments, odd spacing, other line ends, unicode and keys around the block: only the block changes.
function M.test_two_hundred_files()
  math.randomseed(3)
  local pieces = {
    '# a comment', '', '   ', 'MY_KEY=1', '  export OTHER = "x # y"  # z', 'UMLAUT=ü ö 日本', '\t# indented',
    'ENVCTL_BACKEND_START_CMD=run {port}',
    '# >>> envctl worker launch env >>>\nA=1\n# <<< envctl worker launch env <<<', 'broken line', '#', 'TRAILING=x   ',
  }
  for i = 1, 200 do
    local newline = ({ '\n', '\r\n' })[i % 2 + 1]
    local function side()
      local lines = {}
      for j = 1, math.random(0, 6) do
        lines[j] = pieces[math.random(#pieces)]:gsub('\n', newline) .. newline
      end
      return table.concat(lines)
    end
    local before, after = side(), side()
    if i % 9 == 0 then
      before = '\xEF\xBB\xBF' .. before
    end
    if i % 5 == 0 then
      after = after:gsub('[\r\n]+$', '') -- no newline at the end of the file
    end
    local with_block = i % 3 ~= 0
    local old = with_block and before .. block(defaults { DB_PORT = 1 }, newline) .. after or before .. after
    local values = defaults { BACKEND_PORT_BASE = 8000 + i, MAIN_REDIS_ENABLE = i % 2 == 0 }
    local merged = save.merge(old, values)
    local mark = before .. after == '' and not with_block
    if with_block then
      lu.assertEquals(merged.text, before .. block(values, newline) .. after, 'file ' .. i)
    elseif not mark then
      lu.assertEquals(merged.text:sub(1, #before + #after), before .. after, 'file ' .. i)
      lu.assertEquals(merged.text:sub(-#block(values)), block(values, save.newline(old)):sub(-#block(values)), 'file ' .. i)
    end
    lu.assertEquals(save.merge(merged.text, values).text, merged.text, 'file ' .. i .. ' again')
    lu.assertEquals(values_of(merged.text).BACKEND_PORT_BASE, tostring(8000 + i))
  end
end

function M.test_stray_keys_move_in()
  local text = '# top\nDB_PORT=1\n' .. block() .. 'X=1\nMAIN_REDIS_ENABLE=true\n# end\n'
  local merged = save.merge(text, defaults { MAIN_REDIS_ENABLE = true })
  lu.assertEquals(merged.text, '# top\n' .. block(defaults { MAIN_REDIS_ENABLE = true }) .. 'X=1\n# end\n')
  lu.assertEquals(merged.moved, { 'DB_PORT', 'MAIN_REDIS_ENABLE' })
end

function M.test_what_somebody_put_into_the_block_stays()
  local inside = block():gsub('BACKEND_DIR=backend\n', 'BACKEND_DIR=backend\n# keep me\nMINE=1\n')
  local merged = save.merge(inside .. 'X=1\n', defaults())
  lu.assertEquals(merged.text, block() .. '# keep me\nMINE=1\nX=1\n')
  lu.assertEquals(save.merge(merged.text, defaults()).text, merged.text)
end

function M.test_a_block_without_an_end_is_mended()
  local open = block():gsub(dotenv.MANAGED_END:gsub('%W', '%%%0') .. '\n', '')
  local merged = save.merge(open .. '\n# mine\nX=1\n', defaults())
  lu.assertEquals(merged.text, block() .. '\n# mine\nX=1\n')
end

function M.test_markers_that_make_no_sense_are_refused()
  for _, text in ipairs { dotenv.MANAGED_END .. '\n', block() .. block(), block() .. dotenv.MANAGED_END .. '\n' } do
    lu.assertEquals(fixture.error_of(save.merge, text, defaults()).code, 'config_invalid')
  end
end

function M.test_other_keys()
  local merged = save.merge(block() .. 'PR_REMOTE=a # old\n', defaults(), { PR_REMOTE = 'b # c', ENVCTL_ACTION_TEST_CMD = 'run it' })
  lu.assertEquals(merged.text, block() .. 'PR_REMOTE="b # c"\n\nENVCTL_ACTION_TEST_CMD=run it\n')
end

function M.test_lines_read_back()
  for _, value in ipairs { 'x', 'a b', 'a # b', '#x', '"x"', "it's", ' lead', 'trail ', '', 'ü', 'a"b', "a'b # c", 8000, true, 1.5 } do
    local line = save.line('K', value)
    lu.assertNotNil(line, tostring(value))
    lu.assertEquals(dotenv.scan(line).entries[1].value, schema.text(value))
  end
  lu.assertNil(save.line('K', '"a" # \'b\' # "c'))
end

function M.test_validation()
  lu.assertEquals(#save.validate(defaults()), 0)
  local off = { MAIN_BACKEND_ENABLE = false, MAIN_FRONTEND_ENABLE = false }
  lu.assertStrContains(save.validate(defaults(off))[1], 'main mode has to enable something')
  off.MAIN_STARTUP_ENABLE = false
  lu.assertEquals(save.validate(defaults(off)), {})
  lu.assertStrContains(save.validate(defaults { TREES_POSTGRES_ENABLE = true, TREES_SUPABASE_ENABLE = true })[1], 'trees')
  local _, warnings = save.validate(defaults { BACKEND_PORT_BASE = 9000 })
  lu.assertEquals(#warnings, 1)
end

-- The whole command, on files.
function M.test_the_command()
  local repo = fixture.repo { ['.envctl'] = '# hi\r\nBACKEND_DIR=app\r\n' }
  fs.chmod(repo.root .. '/.envctl', 416)
  local code, ctx = fixture.run({ 'config', 'MAIN_REDIS_ENABLE=true', '--json' }, repo.root)
  lu.assertEquals({ code, ctx.out.document.saved, ctx.out.document.ignore_updated }, { 0, true, true })
  lu.assertEquals(ctx.out.document.config.profiles.main.dependencies.redis, true)
  lu.assertEquals(ctx.out.document.moved, { 'BACKEND_DIR' })
  local text = fs.read(repo.root .. '/.envctl')
  lu.assertEquals(text, '# hi\r\n\r\n' .. block(defaults { BACKEND_DIR = 'app', MAIN_REDIS_ENABLE = true }, '\r\n'))
  lu.assertEquals(fs.stat(repo.root .. '/.envctl').mode, 416)
  lu.assertEquals(fs.read(repo.root .. '/.git/info/exclude'), '/.envctl\n/trees/\n')
  lu.assertNil(fs.stat(repo.root .. '/.gitignore'))
  -- Off stays off, and a second save changes nothing.
  fixture.run({ 'config', 'MAIN_REDIS_ENABLE=false' }, repo.root)
  ctx = select(2, fixture.run({ 'show-config', '--json' }, repo.root))
  lu.assertEquals(ctx.out.document.values.MAIN_REDIS_ENABLE, {
    value = false, layer = 'dotenv', file = '.envctl', line = 20, alias = require('envctl.util.json').null,
  })
  local before = fs.read(repo.root .. '/.envctl')
  ctx = select(2, fixture.run({ 'config', 'MAIN_REDIS_ENABLE=false', '--json' }, repo.root))
  lu.assertEquals({ ctx.out.document.changes, ctx.out.document.ignore_updated }, { {}, false })
  lu.assertEquals(fs.read(repo.root .. '/.envctl'), before)
  fixture.clean()
end

function M.test_the_environment_is_not_written_down()
  local repo = fixture.repo { ['.envctl'] = '' }
  fixture.run({ 'config', 'MAIN_REDIS_ENABLE=true' }, repo.root, { BACKEND_PORT_BASE = '7777' })
  lu.assertEquals(values_of(fs.read(repo.root .. '/.envctl')).BACKEND_PORT_BASE, '8000')
  fixture.clean()
end

function M.test_dry_run_and_refusals_write_nothing()
  local text = 'BACKEND_PORT_BASE=80a\n'
  local repo = fixture.repo { ['.envctl'] = text }
  local e = fixture.error_of(fixture.run, { 'config', 'MAIN_REDIS_ENABLE=true' }, repo.root)
  lu.assertEquals({ e.code, e.where }, { 'config_invalid', '.envctl:1' })
  for _, words in ipairs {
    { 'config', 'NOPE=1' }, { 'config', 'BACKEND_PORT_BASE=0' }, { 'config', 'hello' }, { 'config', 'BACKEND_DIR=/etc' },
    { 'config', 'BACKEND_DIR=../x' }, { 'config', 'BACKEND_DIR=x\nY=1' }, { 'config', 'REDIS_ENABLE=true' }, { 'config', '--set', 'X' },
    { 'config', 'BACKEND_PORT_BASE=1', 'MAIN_POSTGRES_ENABLE=true', 'MAIN_SUPABASE_ENABLE=true' },
  } do
    lu.assertEquals(fixture.error_of(fixture.run, words, repo.root).code, 'config_invalid', table.concat(words, ' '))
  end
  local code, ctx = fixture.run({ 'config', 'BACKEND_PORT_BASE=8200', '--dry-run', '--json' }, repo.root)
  lu.assertEquals({ code, ctx.out.document.saved, ctx.out.document.diff[1] }, { 0, false, '-BACKEND_PORT_BASE=80a' })
  lu.assertEquals(fs.read(repo.root .. '/.envctl'), text)
  lu.assertNil(fs.stat(repo.root .. '/.git/info/exclude'))
  fixture.clean()
end

function M.test_symbolic_links_are_written_through()
  local repo = fixture.repo { ['shared/env'] = 'X=1\n' }
  fs.symlink('shared/env', repo.root .. '/.envctl')
  fixture.run({ 'config', 'DB_PORT=5433' }, repo.root)
  lu.assertEquals(fs.lstat(repo.root .. '/.envctl').type, 'link')
  lu.assertEquals(values_of(fs.read(repo.root .. '/shared/env')).DB_PORT, '5433')
  fixture.clean()
end

function M.test_ignores_of_a_worktree_go_to_the_common_directory()
  local repo = fixture.repo({ ['.envctl'] = '', ['.gitignore'] = '# x\ntrees/\n' }, { ['trees/a/1'] = 'a-1' })
  fixture.run({ 'config', 'DB_PORT=5433' }, repo.root .. '/trees/a/1')
  lu.assertEquals(fs.read(repo.root .. '/.git/info/exclude'), '/.envctl\n')
  local ignore = require 'envctl.config.ignore'
  for line, covered in pairs {
    ['.envctl'] = true, ['/.envctl'] = true, ['.envctl*'] = true, ['.env'] = false, ['# .envctl'] = false, ['!.envctl'] = false,
  } do
    lu.assertEquals(ignore.covers(line .. '\r\nother\n', '.envctl', false), covered, line)
  end
  lu.assertTrue(ignore.covers('trees/\n', 'trees', true))
  lu.assertFalse(ignore.covers('trees/\n', 'trees', false))
  fixture.clean()
end

return M
