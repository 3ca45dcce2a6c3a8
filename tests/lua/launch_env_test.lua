local lu = require 'luaunit'
local dotenv = require 'envctl.config.dotenv'
local launch = require 'envctl.config.launch_env'

local M = {}

local function sections(text)
  return launch.parse(dotenv.scan(text).sections)
end

local function section(name, lines)
  return '# >>> envctl ' .. name .. ' launch env >>>\n' .. lines .. '\n# <<< envctl ' .. name .. ' launch env <<<\n'
end

local function values(text, service, sources)
  local out = {}
  local result = launch.resolve(sections(text), service, sources)
  for _, v in ipairs(result.variables) do
    out[v.name] = v.value
  end
  return out, result
end

function M.test_what_a_service_gets()
  local text = section('shared', 'A=${ENVCTL_SOURCE_REDIS_URL}') .. section('backend', [[
# a comment
DATABASE_URL=${ENVCTL_SOURCE_DATABASE_URL}   # kept short
export COPY=${DATABASE_URL}?x=1
QUOTED="a # b ${A}"
LITERAL=$HOME $(id) `id`
COLOUR=#fff]])
  local sources = { REDIS_URL = 'redis://r', DATABASE_URL = 'postgresql://d' }
  lu.assertEquals(values(text, 'backend', sources), {
    A = 'redis://r', DATABASE_URL = 'postgresql://d', COPY = 'postgresql://d?x=1', QUOTED = 'a # b redis://r',
    LITERAL = '$HOME $(id) `id`', COLOUR = '#fff',
  })
  lu.assertEquals(values(text, 'frontend', sources), { A = 'redis://r' })
  lu.assertEquals(sections(text).problems, {})
end

function M.test_sections_for_any_service()
  local text = section('worker', 'Q=${ENVCTL_SOURCE_REDIS_URL}')
  lu.assertEquals(values(text, 'worker', { REDIS_URL = 'r' }), { Q = 'r' })
  lu.assertEquals(values(text, 'Worker', { REDIS_URL = 'r' }), { Q = 'r' })
  lu.assertEquals(values(text, 'backend', { REDIS_URL = 'r' }), {})
  -- Without any section everything goes to everybody.
  lu.assertEquals(values('', 'backend', { REDIS_URL = 'r', DB_PORT = '1' }), { REDIS_URL = 'r', DB_PORT = '1' })
end

function M.test_skipping_is_passed_on()
  local text = section('backend', 'A=${ENVCTL_SOURCE_REDIS_URL}\nB=${A}/1\nC=${B}${ENVCTL_SOURCE_N8N_URL}\nD=d')
  local got, result = values(text, 'backend', { N8N_URL = 'n' })
  lu.assertEquals(got, { D = 'd' })
  local names = {}
  for i, s in ipairs(result.skipped) do
    names[i] = s.name .. '<-' .. s.missing
  end
  lu.assertEquals(names, { 'A<-ENVCTL_SOURCE_REDIS_URL', 'B<-A', 'C<-B' })
end

function M.test_values_are_not_expanded_again()
  local got = values(section('backend', 'A=${ENVCTL_SOURCE_REDIS_URL}\nB=${A}'), 'backend', { REDIS_URL = '${B} ${ENVCTL_SOURCE_X}' })
  lu.assertEquals(got.B, '${B} ${ENVCTL_SOURCE_X}')
end

function M.test_secrets_are_marked()
  local _, result = values(section('backend', 'A=${ENVCTL_SOURCE_DATABASE_URL}\nB=${A}x\nC=${ENVCTL_SOURCE_REDIS_URL}'), 'backend', {
    DATABASE_URL = 'd', REDIS_URL = { value = 'r', secret = false },
  })
  local marks = {}
  for _, v in ipairs(result.variables) do
    marks[v.name] = v.secret
  end
  lu.assertEquals(marks, { A = true, B = true, C = false })
end

-- text of a section -> a part of the one problem, with its line.
local PROBLEMS = {
  { 'nonsense', 2, 'expected NAME=VALUE' },
  { '=x', 2, 'not a name' },
  { 'A-B=x', 2, 'not a name' },
  { 'ENVCTL_SOURCE_X=1', 2, 'what envctl provides' },
  { 'A=1\nA=2', 3, 'twice' },
  { 'A=${', 2, 'does not end' },
  { 'A=${}', 2, 'does not end' },
  { 'A=${X:-y}', 2, 'only ${NAME}' },
  { 'A=${ X }', 2, 'only ${NAME}' },
  { 'A=${HOME}', 2, 'is not set above' },
  { 'A=${B}\nB=1', 2, 'is not set above' },
  { 'A="x', 2, 'never closed' },
  { 'VITE_DB=${ENVCTL_SOURCE_DATABASE_URL}', 2, 'browsers' },
  { 'NEXT_PUBLIC_P=${ENVCTL_SOURCE_DB_PASSWORD}', 2, 'browsers' },
}

function M.test_problems_are_found_when_read()
  for _, case in ipairs(PROBLEMS) do
    local problems = sections(section('backend', case[1])).problems
    lu.assertEquals(#problems, 1, case[1])
    lu.assertEquals(problems[1].line, case[2], case[1])
    lu.assertStrContains(problems[1].message, case[3], nil, nil, case[1])
    lu.assertFalse(problems[1].warning == true)
  end
  local warning = sections(section('backend', 'A=${ENVCTL_SOURCE_REDIS_ULR}')).problems[1]
  lu.assertTrue(warning.warning)
  lu.assertStrContains(warning.hint, 'REDIS_URL')
end

function M.test_shared_and_own_names_collide()
  local problems = sections(section('shared', 'A=1') .. section('backend', 'A=2')).problems
  lu.assertEquals(#problems, 1)
  lu.assertStrContains(problems[1].message, 'shared section')
end

function M.test_markers()
  lu.assertStrContains(sections('# >>> envctl backend launch env >>>\nA=1\n').problems[1].message, 'closing marker')
  lu.assertStrContains(sections('# <<< envctl backend launch env <<<\n').problems[1].message, 'opening marker')
  local twice = sections(section('backend', 'A=1') .. section('backend', 'B=1'))
  lu.assertStrContains(twice.problems[1].message, 'second section')
  lu.assertEquals(#twice.by_name.backend.entries, 1)
end

function M.test_database_urls()
  lu.assertEquals(launch.database_urls { host = 'localhost', port = 5432, user = 'me@x', password = 'p:/ü', name = 'shop' }, {
    DATABASE_URL = 'postgresql://me%40x:p%3A%2F%C3%BC@localhost:5432/shop',
    SQLALCHEMY_DATABASE_URL = 'postgresql+psycopg://me%40x:p%3A%2F%C3%BC@localhost:5432/shop',
    ASYNC_DATABASE_URL = 'postgresql+asyncpg://me%40x:p%3A%2F%C3%BC@localhost:5432/shop',
  })
  lu.assertEquals(launch.database_urls({ host = '::1', port = 1, user = 'u', name = 'n' }).DATABASE_URL, 'postgresql://u@[::1]:1/n')
end

return M
