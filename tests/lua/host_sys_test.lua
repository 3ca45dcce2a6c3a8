-- The bindings of envctl.host.sys and envctl.host.log, and the VM itself: what a policy module has, and how the program ends.
-- The VM is looked at from inside of the real binary, with a main module of the test's own.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local log = require 'envctl.host.log'
local json = require 'envctl.host.json'
local sys = require 'envctl.host.sys'

local M = {}

local function with_dir(fn)
  return function()
    local dir = (sys.getenv 'TMPDIR' or '/tmp') .. '/envctl-lua.' .. sys.random_hex(6)
    assert(fs.mkdirs(dir .. '/envctl'))
    local ok, e = pcall(fn, dir)
    assert(fs.remove_tree(dir))
    if not ok then
      error(e, 0)
    end
  end
end

-- Runs `envctl` with this text as envctl/main.lua; more: what follows on the shell's line, before: what comes before.
-- Returns what it wrote and its exit code.
local function run(dir, text, more, before)
  assert(fs.write_atomic(dir .. '/envctl/main.lua', text))
  local binary = sys.exe:gsub('[^/]*$', 'envctl')
  local line = ("%s ENVCTL_LUA_DIR='%s' HERE='%s' '%s' %s"):format(before or '', dir, dir, binary, more or '2>&1')
  local pipe = assert(io.popen(line))
  local output = pipe:read 'a'
  local _, how, code = pipe:close()
  lu.assertEquals(how, 'exit', output)
  return output, code
end

local PRELUDE = [[
local sys = require 'envctl.host.sys'
local fs = require 'envctl.host.fs'
local function say(...)
  local words = table.pack(...)
  for i = 1, words.n do words[i] = tostring(words[i]) end
  sys.write(1, table.concat(words, ' ') .. '\n')
end
local function keys(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = tostring(k) end
  table.sort(list)
  return table.concat(list, ' ')
end
return function()
]]

local function main(body)
  return PRELUDE .. body .. '\nend\n'
end

-- ---- the VM ----

M.test_globals = with_dir(function(dir)
  local output, code = run(dir, main [[
    say(keys(_G))
    say(keys(debug), keys(require 'debug'))
    say(keys(package.loaded))
    say(#package.searchers, package.path == '', package.cpath == '', package.loadlib)
    say((pcall(require, 'io')), (pcall(require, 'os')))
    return 0]])
  local lines = {}
  for line in output:gmatch '[^\n]+' do
    lines[#lines + 1] = line
  end
  lu.assertEquals(lines[1], '_G _VERSION assert collectgarbage coroutine debug error getmetatable ipairs load math next package '
    .. 'pairs pcall rawequal rawget rawlen rawset require select setmetatable string table tonumber tostring type utf8 warn xpcall')
  lu.assertEquals(lines[2], 'getinfo traceback getinfo traceback')
  lu.assertEquals(lines[3], '_G coroutine debug envctl.host.fs envctl.host.sys envctl.main math package string table utf8')
  lu.assertEquals(lines[4], '2 true true nil')
  lu.assertEquals(lines[5], 'false false')
  lu.assertEquals(code, 0)
end)

M.test_modules_and_names = with_dir(function(dir)
  assert(fs.mkdirs(dir .. '/envctl/part'))
  assert(fs.write_atomic(dir .. '/envctl/part/init.lua', 'return function() error "inside" end'))
  assert(fs.write_atomic(dir .. '/envctl/broken.lua', 'local x =\n= 1'))
  assert(fs.write_atomic(dir .. '/other.lua', 'return 1'))
  assert(fs.write_atomic(dir .. '/envctl/binary.lua', string.dump(function() end)))
  local output = run(dir, main [[
    say(pcall(require, 'envctl.none'))
    say(pcall(require 'envctl.part'))
    say(pcall(require, 'envctl.broken'))
    say(pcall(require, 'other'))
    say(pcall(require, 'envctl.binary'))
    say(require 'envctl.part' == require 'envctl.part', debug.getinfo(1, 'S').source)
    return 0]], nil, ("cd '%s' &&"):format(dir))
  lu.assertStrContains(output, "module 'envctl.none' not found:\n\tno field package.preload['envctl.none']\n\tno module")
  lu.assertStrContains(output, 'false envctl/part/init.lua:1: inside')
  lu.assertStrContains(output, "false envctl/broken.lua:2: unexpected symbol near '='")
  lu.assertStrContains(output, "false module 'other' not found") -- a file in the current directory is not code
  lu.assertStrContains(output, 'attempt to load a binary chunk')
  lu.assertStrContains(output, 'true @envctl/main.lua')
end)

M.test_exit_codes = with_dir(function(dir)
  for _, code in ipairs { 0, 1, 7, 255 } do
    local output, got = run(dir, main('return ' .. code))
    lu.assertEquals({ output, got }, { '', code })
  end
end)

M.test_an_internal_error_is_said_once = with_dir(function(dir)
  local output, code = run(dir, main [[
    local function inner() local x; return x.field end
    return (inner())]], '2>&1 >/dev/null')
  lu.assertEquals(code, 1)
  lu.assertStrMatches(output, 'envctl: internal error: envctl/main%.lua:%d+: attempt to index a nil value.*')
  lu.assertStrContains(output, 'stack traceback:')
  local _, times = output:gsub('internal error', '')
  lu.assertEquals(times, 1)
  -- Errors that are not text, and a main that does not even load.
  output, code = run(dir, main [[error(setmetatable({}, {__tostring = function() return 'as a table' end}))]])
  lu.assertEquals({ output, code }, { 'envctl: internal error: as a table\n', 1 })
  output, code = run(dir, 'return function( end')
  lu.assertEquals(code, 1)
  lu.assertStrContains(output, 'envctl: internal error: envctl/main.lua:1:')
end)

-- A closed standard descriptor would be taken by the first file that is opened.
M.test_closed_descriptors = with_dir(function(dir)
  local text = main [[
    local lock = assert(fs.flock(sys.getenv 'HERE' .. '/lock'))
    local list = {}
    for i = 0, 3 do list[i + 1] = tostring(fs.readlink('/proc/self/fd/' .. i)) end
    assert(fs.write_atomic(sys.getenv 'HERE' .. '/result', table.concat(list, '\n')))
    lock:close()
    return 0]]
  for _, closed in ipairs { '<&-', '>&-', '2>&-', '<&- >&- 2>&-' } do
    local _, code = run(dir, text, closed)
    lu.assertEquals(code, 0, closed)
    local lines, i = {}, 0
    for line in fs.read(dir .. '/result'):gmatch '[^\n]+' do
      lines[i], i = line, i + 1
    end
    for fd = 0, 2 do
      lu.assertNotStrContains(lines[fd], '/lock', closed)
    end
    for fd, how in pairs { [0] = '<&-', [1] = ' >&-', [2] = '2>&-' } do
      if (' ' .. closed):find(how, 1, true) then
        lu.assertEquals(lines[fd], '/dev/null', closed)
      end
    end
  end
end)

-- Whatever is open when the program ends: nothing is called any more, nothing leaks (the sanitizers look), nothing hangs.
M.test_ends_with_open_handles = with_dir(function(dir)
  local output, code = run(dir, main [[
    local loop, proc = require 'envctl.host.loop', require 'envctl.host.proc'
    local log = require 'envctl.host.log'
    local function never() say 'called' end
    keep = { loop.timer(3600000, never), loop.timer(0, never), loop.signal('WINCH', never) }
    keep[4] = assert(fs.flock(sys.getenv 'HERE' .. '/lock'))
    keep[5] = assert(log.open(sys.getenv 'HERE' .. '/log'))
    keep[6] = coroutine.create(function() local c <close> = keep[1]; coroutine.yield() end)
    coroutine.resume(keep[6])
    say(loop.handles() >= 3, proc.children())
    return 3]])
  lu.assertEquals({ output, code }, { 'true 0\n', 3 })
end)

M.test_an_error_in_a_callback = with_dir(function(dir)
  local output, code = run(dir, main [[
    local loop = require 'envctl.host.loop'
    loop.timer(0, function() local x; x() end)
    say(pcall(loop.run))
    local id = {}
    loop.timer(0, function() error(id) end)
    local ok, e = pcall(loop.run)
    say(ok, e == id)
    loop.timer(0, function() say 'later' end)
    loop.run()
    return 0]])
  lu.assertEquals(code, 0)
  lu.assertStrMatches(output, "false envctl/main%.lua:%d+: attempt to call a nil value.*stack traceback:.*")
  lu.assertStrContains(output, '\nfalse true\nlater\n')
end)

-- ---- sys ----

M.test_arguments = with_dir(function(dir)
  local output = run(dir, main [[
    say(#sys.argv, sys.argv[0])
    for _, word in ipairs(sys.argv) do say('<' .. word .. '>') end
    say(sys.exe:match '[^/]*$', sys.version)
    return 0]], [['' 'a b' -- --x $'\xff' 2>&1]], 'exec bash -c \'exec env "$0" "$@"\'')
  lu.assertStrContains(output, '5 nil\n<>\n<a b>\n<-->\n<--x>\n<')
  lu.assertStrMatches(output, '.*\nenvctl %d+%.%d+%.%d+\n')
end)

function M.test_environment()
  lu.assertNil(sys.getenv 'ENVCTL_SURELY_NOT_SET')
  local all = sys.environ()
  lu.assertEquals(all.PATH, sys.getenv 'PATH')
  for name, value in pairs(all) do
    lu.assertEquals({ type(name), type(value) }, { 'string', 'string' })
    lu.assertNil(name:find('=', 1, true))
  end
  lu.assertErrorMsgContains('NUL byte', sys.getenv, 'a\0b')
end

M.test_odd_environment = with_dir(function(dir)
  local output = run(dir, main [[
    local all = sys.environ()
    say('<' .. all.EMPTY .. '>', '<' .. all.EQ .. '>', sys.home(), sys.getenv 'EMPTY' == '')
    return 0]], nil, 'unset HOME; EMPTY= EQ=a=b=')
  lu.assertStrMatches(output, '<> <a=b=> /%S* true\n')
end)

function M.test_process()
  lu.assertEquals(sys.getpid(), tonumber(fs.readlink '/proc/self'))
  lu.assertEquals(sys.geteuid(), fs.stat('/proc/self').uid)
  lu.assertEquals(sys.cwd(), fs.readlink '/proc/self/cwd')
  lu.assertEquals(sys.exe, fs.readlink '/proc/self/exe')
  lu.assertEquals(sys.exe:sub(1, 1), '/')
end

function M.test_clocks()
  local wall, mono = sys.wall_ms(), sys.mono_ms()
  lu.assertEquals({ math.type(wall), math.type(mono) }, { 'integer', 'integer' })
  lu.assertTrue(math.abs(wall // 1000 - os.time()) <= 2)
  lu.assertTrue(sys.mono_ms() >= mono)
  lu.assertEquals(sys.iso_time(1764036962123), '2025-11-25T02:16:02.123Z')
  lu.assertEquals(sys.iso_time(0), '1970-01-01T00:00:00.000Z')
  lu.assertEquals(sys.iso_time(-1), '1969-12-31T23:59:59.999Z')
  lu.assertEquals(#sys.iso_time(math.maxinteger), 24)
  lu.assertEquals(#sys.iso_time(math.mininteger), 24)
end

function M.test_random_hex()
  local seen = {}
  for n = 1, 64 do
    local text = sys.random_hex(n)
    lu.assertStrMatches(text, ('%x'):rep(2 * n))
    lu.assertEquals(text, text:lower())
    lu.assertNil(seen[text:sub(1, 16)])
    seen[text:sub(1, 16)] = n >= 8 or nil
  end
  lu.assertErrorMsgContains('1..64', sys.random_hex, 0)
  lu.assertErrorMsgContains('1..64', sys.random_hex, 65)
end

M.test_which = with_dir(function(dir)
  for _, name in ipairs { 'a', 'b', 'repo/bin' } do
    assert(fs.mkdirs(dir .. '/' .. name))
  end
  for name, mode in pairs { ['a/plain'] = '600', ['b/plain'] = '700', ['a/tool'] = '700', ['repo/bin/tool'] = '700' } do
    assert(fs.write_atomic(dir .. '/' .. name, '#!/bin/sh\n', { mode = tonumber(mode, 8) }))
  end
  assert(fs.mkdirs(dir .. '/a/folder'))
  local path = dir .. '/repo/bin:' .. dir .. '/a:' .. dir .. '/b'
  lu.assertEquals(sys.which('tool', { path = path }), dir .. '/repo/bin/tool')
  lu.assertEquals(sys.which('tool', { path = path, avoid = dir .. '/repo' }), dir .. '/a/tool')
  lu.assertEquals(sys.which('plain', { path = path }), dir .. '/b/plain')
  lu.assertEquals(sys.which(dir .. '/b/plain', { path = '' }), dir .. '/b/plain')
  lu.assertStrMatches(sys.which 'sh', '/.*/sh')
  local cases = {
    { 'ENOENT', 'none', path }, { 'EACCES', 'plain', dir .. '/a' }, { 'ENOENT', 'folder', path }, { 'ENOENT', 'tool', '' },
    { 'EISDIR', dir .. '/a/folder', path }, { 'EACCES', dir .. '/a/plain', path }, { 'ENOENT', './none', path },
    { 'ENOENT', 'tool', 'a:.:' },
  }
  for _, case in ipairs(cases) do
    local value, message, code = sys.which(case[2], { path = case[3] })
    lu.assertNil(value)
    lu.assertEquals(code, case[1], case[2])
    lu.assertStrContains(message, case[2])
  end
  lu.assertErrorMsgContains("unknown option 'paths'", sys.which, 'sh', { paths = '' })
  lu.assertErrorMsgContains('path: string expected', sys.which, 'sh', { path = 1 })
end)

M.test_write = with_dir(function(dir)
  local output, code = run(dir, main [[
    assert(sys.write(1, ('x'):rep(300000)) == true)
    assert(sys.write(2, '\0err\n') == true)
    for _, fd in ipairs { 0, 3, -1 } do assert(not pcall(sys.write, fd, 'x')) end
    return 0]])
  lu.assertEquals({ #output, output:sub(-5), code }, { 300005, '\0err\n', 0 })
  -- The reader is gone: an answer, not a signal.
  run(dir, main [[
    local ok, message, name
    repeat ok, message, name = sys.write(1, ('x'):rep(1000)) until not ok
    assert(fs.write_atomic(sys.getenv 'HERE' .. '/result', tostring(ok) .. message .. name))
    return 0]], '2>&1 | true')
  lu.assertEquals(fs.read(dir .. '/result'), 'nildescriptor 1: broken pipeEPIPE')
end)

M.test_standard_input = with_dir(function(dir)
  local function read(body, input)
    return (run(dir, main(body .. ' return 0'), '2>&1', ("printf '%s' |"):format(input)))
  end
  local lines = "local l; repeat l = sys.read_line(); say(l and #l, l) until not l"
  lu.assertEquals(read(lines, 'one\\n\\nlast'), '3 one\n0 \n4 last\nnil nil\n')
  lu.assertEquals(read(lines, ''), 'nil nil\n')
  lu.assertEquals(read('say(sys.read_line()); say(sys.read_stdin(100))', 'a\\nrest\\nof it'), 'a\nrest\nof it\n')
  lu.assertEquals(read('say(sys.read_stdin(4))', '1234'), '1234\n')
  lu.assertEquals(read('say(sys.read_stdin(3))', '1234'), 'nil standard input: more than 3 bytes EFBIG\n')
  lu.assertEquals(read('say(#sys.read_stdin(1 << 20))', ('x'):rep(100000)), '100000\n')
  lu.assertEquals(read('say(sys.isatty(0), sys.isatty(99), sys.term_size(0))', ''), 'false false\n')
end)

-- ---- log ----

M.test_log = with_dir(function(dir)
  local output, code = run(dir, main [[
    local log = require 'envctl.host.log'
    log.write('info', 'nobody listens yet')
    say(log.open(sys.getenv 'HERE' .. '/log'))
    log.write('info', 'plain')
    log.write('error', 'odd "text"\n\0\255', '{"pid":1,"a":[]}')
    say(pcall(log.write, 'loud', 'x'))
    say(pcall(log.write, 'info'))
    say(log.open(sys.getenv 'HERE' .. '/none/log'))
    return 0]])
  lu.assertEquals(code, 0)
  lu.assertStrMatches(output, "true\nfalse .*invalid option 'loud'.*\nfalse .*string expected.*\nnil " .. dir:gsub('%p', '%%%0')
    .. '/none/log: no such file or directory ENOENT\n')
  local text = fs.read(dir .. '/log')
  lu.assertNil(text:find '[^ -~\n]')
  local lines = {}
  for line in text:gmatch '([^\n]*)\n' do
    lines[#lines + 1] = json.decode(line)
  end
  lu.assertEquals(#lines, 2)
  lu.assertEquals({ lines[1].level, lines[1].message, lines[1].fields }, { 'info', 'plain', nil })
  lu.assertStrMatches(lines[1].time, '%d+%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ')
  lu.assertEquals(lines[2].message, 'odd "text"\n\0\u{fffd}')
  lu.assertEquals(lines[2].fields, { pid = 1, a = {} })
end)

function M.test_log_needs_a_path()
  lu.assertErrorMsgContains('NUL byte', log.open, 'a\0b')
end

return M
