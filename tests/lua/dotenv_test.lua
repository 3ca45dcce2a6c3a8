local lu = require 'luaunit'
local dotenv = require 'envctl.config.dotenv'

local M = {}

-- line -> value of its key A, or false when the line is refused.
local VALUES = {
  { 'A=x', 'x' }, { 'A = x', 'x' }, { '  A=x  ', 'x' }, { 'A=', '' }, { 'A=   ', '' }, { 'export A=x', 'x' },
  { 'export   A = 1 ', '1' }, { 'export\tA=1', '1' }, { 'A=x # c', 'x' }, { 'A=x\t# c', 'x' }, { 'A=x #', 'x' },
  { 'A=x#c', 'x#c' }, { 'A=#fff', '#fff' }, { 'A= # nothing', '' }, { 'A=  #x', '' }, { 'A="x"', 'x' }, { "A='x'", 'x' },
  { 'A="x" # c', 'x' }, { "A='x' # c", 'x' }, { 'A="x # y"', 'x # y' }, { 'A="x # y" # z', 'x # y' }, { 'A=""', '' },
  { "A=''", '' }, { 'A=""x""', '"x"' }, { 'A="a" # "b"', 'a' }, { 'A=\'it is "so"\'', 'it is "so"' },
  { 'A="it\'s"', "it's" }, { "A=it's", "it's" }, { 'A=a"b"c', 'a"b"c' }, { 'A=$B', '$B' }, { 'A=`x`', '`x`' },
  { 'A=$(c)', '$(c)' }, { 'A=${B}', '${B}' }, { 'A=a=b=c', 'a=b=c' }, { 'A=a;b=2', 'a;b=2' }, { 'A=x y z', 'x y z' },
  { 'A=\\n', '\\n' }, { 'A="\\n"', '\\n' }, { 'A=ü', 'ü' }, { 'A="ü # é"', 'ü # é' }, { 'A=日本', '日本' },
  { 'A=1_000', '1_000' }, { 'A=-5', '-5' }, { 'A=true', 'true' }, { 'A=http://h:1/p?q=1#f', 'http://h:1/p?q=1#f' },
  { 'A="', '"' }, { "A='", "'" }, { 'A="x', '"x' }, { 'A="x # y', '"x # y' }, { 'A="x"y', '"x"y' }, { 'A="x"#c', '"x"#c' },
  { 'A=x \\', 'x \\' }, { 'A=[1, 2]', '[1, 2]' }, { 'A={"a": 1}', '{"a": 1}' }, { 'A=*', '*' }, { 'A=~/x', '~/x' },
}

function M.test_values()
  for _, case in ipairs(VALUES) do
    local scan = dotenv.scan(case[1] .. '\n')
    lu.assertEquals(#scan.entries, 1, case[1])
    lu.assertEquals({ scan.entries[1].key, scan.entries[1].value }, { 'A', case[2] }, case[1])
  end
end

-- Two hundred lines: values in every dress that reads back the same.
function M.test_two_hundred_lines()
  math.randomseed(1)
  local alphabet = { 'a', 'Z', '0', ' ', '#', '=', '"', "'", '\\', '$', '/', ':', 'ü', '\t' }
  local lines, wanted = {}, {}
  for i = 1, 200 do
    local text = {}
    for j = 1, math.random(0, 12) do
      text[j] = alphabet[math.random(#alphabet)]
    end
    local value = table.concat(text):match '^%s*(.-)%s*$'
    local line
    for _, dress in ipairs { value, '"' .. value .. '"', "'" .. value .. "'" } do
      local back, closed = dotenv.value((i % 4 == 0 and ' ' or '') .. dress)
      if closed and back == value then
        line = dress
        break
      end
    end
    wanted[i] = line and value or 'plain'
    lines[i] = (' '):rep(i % 3) .. (i % 5 == 0 and 'export ' or '') .. 'K' .. i .. (i % 4 == 0 and ' = ' or '=') .. (line or 'plain')
      .. (i % 7 == 0 and '   # note ' .. i or '')
  end
  for _, newline in ipairs { '\n', '\r\n', '\r' } do
    local scan = dotenv.scan('\xEF\xBB\xBF' .. table.concat(lines, newline))
    lu.assertEquals(#scan.problems, 0)
    lu.assertEquals(#scan.entries, 200)
    for i, entry in ipairs(scan.entries) do
      lu.assertEquals({ entry.key, entry.value, entry.line }, { 'K' .. i, wanted[i], i }, lines[i])
    end
  end
end

function M.test_lines_that_are_refused()
  for _, line in ipairs {
    'oops', 'A B=1', '=1', ' = ', '1A=2', 'a-b=1', '"A"=1', 'export', 'if true; then', 'ä=1', 'A=\xff\xfe', 'A=x\0y',
  } do
    local scan = dotenv.scan('OK=1\n' .. line .. '\nALSO=2\n')
    lu.assertEquals(#scan.entries, 2, line)
    lu.assertEquals(#scan.problems, 1, line)
    lu.assertEquals(scan.problems[1].line, 2, line)
  end
  for _, line in ipairs { '', '   ', '# x', '  # x', '#A=1', '#' } do
    lu.assertEquals(#dotenv.scan(line .. '\n').problems, 0, line)
  end
end

function M.test_line_ends()
  local seen = {}
  dotenv.each_line('a\nb\r\nc\rd\n\n\re', function(number, line, ending)
    seen[number] = line .. ending
  end)
  lu.assertEquals(seen, { 'a\n', 'b\r\n', 'c\r', 'd\n', '\n', '\r', 'e' })
  lu.assertEquals(table.concat(seen), 'a\nb\r\nc\rd\n\n\re')
end

function M.test_sections_are_no_configuration()
  local scan = dotenv.scan [[
A=1
# >>> envctl shared launch env >>>
S=1
# <<< envctl shared launch env <<<
  # >>> envctl backend launch env >>>
B=1
# <<< envctl backend launch env <<<
# >>> envctl frontend dependency env >>>
F=1
# <<< envctl frontend dependency env <<<
# >>> envctl worker launch env >>>
W=1
# <<< envctl worker launch env <<<
# >>> envctl dependency env >>>
# <<< envctl dependency env <<<
Z=2
]]
  lu.assertEquals({ scan.entries[1].key, scan.entries[2].key, #scan.entries }, { 'A', 'Z', 2 })
  local names = {}
  for i, s in ipairs(scan.sections) do
    names[i] = s.name .. ':' .. tostring(s.start) .. '-' .. tostring(s.stop) .. (s.legacy and ' old' or '')
  end
  lu.assertEquals(names, { 'shared:2-4', 'backend:5-7', 'frontend:8-10 old', 'worker:11-13', 'shared:14-15 old' })
  lu.assertEquals(scan.sections[2].lines, { { line = 6, text = 'B=1' } })
end

function M.test_sections_without_an_end()
  local scan = dotenv.scan '# >>> envctl backend launch env >>>\nB=1\n# >>> envctl managed startup config >>>\nA=1\n'
  lu.assertEquals(scan.sections[1].stop, nil)
  lu.assertEquals(scan.entries[1].key, 'A')
  lu.assertEquals(#scan.problems, 1) -- the managed block has no end either
  scan = dotenv.scan '# <<< envctl backend launch env <<<\nA=1\n# >>> envctl backend launch env >>>\n'
  lu.assertEquals({ scan.sections[1].start, scan.sections[1].stop, scan.sections[2].stop }, { nil, 1, nil })
  lu.assertEquals(scan.entries[1].key, 'A')
end

function M.test_the_managed_block()
  local scan = dotenv.scan(table.concat({ 'A=1', dotenv.MANAGED_START, 'B=2', dotenv.MANAGED_END, 'C=3' }, '\n'))
  local managed = {}
  for i, e in ipairs(scan.entries) do
    managed[i] = e.managed
  end
  lu.assertEquals(managed, { false, true, false })
  lu.assertEquals({ scan.managed_start, scan.managed_stop }, { 2, 4 })
  for _, text in ipairs { dotenv.MANAGED_END, dotenv.MANAGED_START, dotenv.MANAGED_START .. '\n' .. dotenv.MANAGED_START } do
    lu.assertTrue(#dotenv.scan(text).problems > 0, text)
  end
end

-- Random bytes never make it fail.
function M.test_random_text()
  math.randomseed(2)
  local pieces = {
    'A=1', '=', '#', '"', "'", '\n', '\r', '\r\n', '\0', '\xff', 'ü', ' ', 'export ', dotenv.MANAGED_START, dotenv.MANAGED_END,
    '# >>> envctl x launch env >>>', '# <<< envctl x launch env <<<', '${', '}', 'ENVCTL_SOURCE_A',
  }
  local launch = require 'envctl.config.launch_env'
  for _ = 1, 5000 do
    local text = {}
    for i = 1, math.random(0, 30) do
      text[i] = pieces[math.random(#pieces)]
    end
    local scan = dotenv.scan(table.concat(text))
    local sections = launch.parse(scan.sections)
    launch.resolve(sections, 'x', { A = '1' })
  end
end

return M
