-- Reading logs: where lines begin and end, whatever the size of the file and of its lines.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local regex = require 'envctl.host.regex'
local log_file = require 'envctl.state.log_file'
local support = require 'host_support'

local M = {}

local function lines_of(path, from, to, rest)
  local lines = {}
  local offset, left = log_file.each(path, from, to, function(line)
    lines[#lines + 1] = line
  end, rest)
  return lines, offset, left
end

M.test_lines = support.with_dir(function(dir)
  local log = dir .. '/log'
  fs.write_atomic(log, 'one\r\n\ntwo\nthr')
  local lines, offset, rest = lines_of(log, 0, 13)
  lu.assertEquals(lines, { 'one', '', 'two' })
  lu.assertEquals({ offset, rest }, { 13, 'thr' })
  fs.write_atomic(log, 'one\r\n\ntwo\nthree\n')
  lines, offset, rest = lines_of(log, offset, 16, rest)
  lu.assertEquals({ lines, offset, rest }, { { 'three' }, 16, '' })
  lu.assertEquals({ lines_of(log, 100, 200) }, { {}, 100, '' }) -- emptied meanwhile
  lu.assertEquals({ lines_of(dir .. '/none', 0, 10) }, { {}, 0, '' })
end)

M.test_last = support.with_dir(function(dir)
  local log = dir .. '/log'
  local text = ('x'):rep(99) .. '\n'
  fs.write_atomic(log, text:rep(5000))
  for n, offset in pairs { [0] = 500000, 499900, 499800, [1000] = 400000, [4999] = 100, [5000] = 0, [9999] = 0 } do
    lu.assertEquals(log_file.last(log, n, 0, 500000), offset, n)
  end
  lu.assertEquals(log_file.last(log, 5, 499950, 500000), 499950) -- no further back than that
  lu.assertEquals(log_file.last(log, 1, 0, 499950), 499900) -- an unfinished line counts
  lu.assertEquals(log_file.last(log, 2, 0, 499950), 499800)
end)

M.test_an_endless_line_is_bounded = support.with_dir(function(dir)
  local log = dir .. '/log'
  fs.write_atomic(log, ('x'):rep(4 * 1024 * 1024) .. '\nend\n')
  local lines = lines_of(log, 0, fs.stat(log).size)
  lu.assertEquals(#lines, 2)
  lu.assertTrue(#lines[1] < 2 * 1024 * 1024)
  lu.assertEquals(lines[2], 'end')
end)

M.test_first_after_a_hole = support.with_dir(function(dir)
  local log = dir .. '/log'
  lu.assertEquals(log_file.first(log), 0)
  fs.write_atomic(log, (('x'):rep(99) .. '\n'):rep(1000))
  lu.assertEquals(log_file.first(log), 0)
  if fs.punch(log, 8192) then
    lu.assertEquals(fs.data_start(log), 8192)
    lu.assertEquals(log_file.first(log), 8200)
  end
  lu.assertEquals(fs.data_start(log) <= 8192, true)
end)

function M.test_regex()
  local pattern <close> = assert(regex.compile '^(err|warn)[a-z]*: .+$')
  lu.assertTrue(pattern:matches 'warning: x')
  lu.assertFalse(pattern:matches 'no err: x')
  lu.assertFalse(pattern:matches '')
  local bare <close> = assert(regex.compile 'x')
  lu.assertTrue(bare:matches '\0\0x')
  support.fails('EINVAL', '(', regex.compile '(')
  support.raises('string expected', regex.compile, {})
  pattern:close()
  pattern:close()
  support.raises('closed', pattern.matches, pattern, 'x')
end

return M
