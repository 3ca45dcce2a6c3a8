-- The bindings of envctl.host.fs: what goes in and comes out. What disks and attackers do is tested in tests/c/test_fs.c.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'

local M = {}

-- Calls fn with a new directory, which is gone afterwards.
local function with_dir(fn)
  return function()
    local dir = (sys.getenv 'TMPDIR' or '/tmp') .. '/envctl-lua.' .. sys.random_hex(6)
    assert(fs.mkdirs(dir))
    local ok, e = pcall(fn, dir)
    assert(fs.remove_tree(dir))
    if not ok then
      error(e, 0)
    end
  end
end

-- nil, a message that names the object, the code.
local function assert_fails(code, object, ...)
  local value, message, got = ...
  lu.assertNil(value)
  lu.assertEquals(got, code)
  lu.assertStrContains(message, object)
  lu.assertNil(message:find('\n', 1, true))
end

M.test_read_and_write = with_dir(function(dir)
  local file = dir .. '/f'
  local bytes = 'a\0b\255\n' .. ('x'):rep(100000)
  lu.assertIs(fs.write_atomic(file, bytes), true)
  lu.assertEquals(fs.read(file), bytes)
  lu.assertEquals(fs.stat(file).mode, tonumber('600', 8))
  lu.assertIs(fs.write_atomic(file, '', { mode = tonumber('640', 8), durable = false }), true)
  lu.assertEquals(fs.read(file), '')
  lu.assertEquals(#fs.list(dir), 1)
  assert(fs.write_atomic(file, 'hello'))
  lu.assertEquals(fs.read(file, { max = 5 }), 'hello')
  assert_fails('EFBIG', file, fs.read(file, { max = 4 }))
  assert(fs.symlink('f', dir .. '/link'))
  lu.assertEquals(fs.read(dir .. '/link'), 'hello')
  assert_fails('ELOOP', dir .. '/link', fs.read(dir .. '/link', { nofollow = true }))
  assert_fails('ENOENT', dir .. '/none', fs.read(dir .. '/none'))
  assert_fails('EISDIR', dir, fs.read(dir))
  assert_fails('EINVAL', '/dev/null', fs.read '/dev/null')
  assert_fails('ENOENT', dir .. '/none/f', fs.write_atomic(dir .. '/none/f', 'x'))
end)

M.test_read_at = with_dir(function(dir)
  local file = dir .. '/log'
  assert(fs.write_atomic(file, '0123456789'))
  local data, size = fs.read_at(file, 7, 100)
  lu.assertEquals({ data, size, math.type(size) }, { '789', 10, 'integer' })
  lu.assertEquals({ fs.read_at(file, 10, 5) }, { '', 10 })
  lu.assertEquals({ fs.read_at(file, 99, 5) }, { '', 10 })
  lu.assertEquals({ fs.read_at(file, 0, 0) }, { '', 10 })
  assert_fails('ENOENT', dir .. '/none', fs.read_at(dir .. '/none', 0, 1))
end)

M.test_append = with_dir(function(dir)
  local file = dir .. '/events.jsonl'
  lu.assertIs(fs.append(file, '1\n'), true)
  assert(fs.append(file, 'torn'))
  assert(fs.append(file, '2\n'))
  lu.assertEquals(fs.read(file), '1\ntorn\n2\n')
  assert_fails('EISDIR', dir, fs.append(dir, 'x\n'))
end)

M.test_stat = with_dir(function(dir)
  local file = dir .. '/f'
  local before = sys.wall_ms()
  assert(fs.write_atomic(file, 'abc'))
  assert(fs.symlink('f', dir .. '/link'))
  local st = fs.stat(file)
  lu.assertEquals({ st.type, st.size, st.uid }, { 'file', 3, sys.geteuid() })
  for _, name in ipairs { 'size', 'mtime_ms', 'mode', 'uid', 'ino', 'dev' } do
    lu.assertEquals(math.type(st[name]), 'integer', name)
  end
  lu.assertTrue(st.mtime_ms >= before - 1000 and st.mtime_ms <= sys.wall_ms() + 1000)
  lu.assertEquals(fs.stat(dir).type, 'dir')
  lu.assertEquals(fs.stat(dir .. '/link').type, 'file')
  lu.assertEquals(fs.lstat(dir .. '/link').type, 'link')
  lu.assertEquals(fs.stat('/dev/null').type, 'other')
  assert(fs.symlink('none', dir .. '/dangling'))
  lu.assertEquals(fs.lstat(dir .. '/dangling').type, 'link')
  assert_fails('ENOENT', dir .. '/dangling', fs.stat(dir .. '/dangling'))
  assert_fails('ENOTDIR', file .. '/x', fs.lstat(file .. '/x'))
end)

M.test_list = with_dir(function(dir)
  lu.assertEquals(fs.list(dir), {})
  local names = { '.hidden', 'B', 'a', 'a b', '\255', 'z\n' }
  for _, name in ipairs(names) do
    assert(fs.write_atomic(dir .. '/' .. name, '', { durable = false }))
  end
  assert(fs.mkdirs(dir .. '/sub'))
  assert(fs.symlink('sub', dir .. '/to-sub'))
  local seen = {}
  for i, entry in ipairs(fs.list(dir)) do
    seen[i] = entry.name .. ':' .. entry.type
  end
  lu.assertEquals(seen, { '.hidden:file', 'B:file', 'a:file', 'a b:file', 'sub:dir', 'to-sub:link', 'z\n:file', '\255:file' })
  for i = 1, 1000 do
    assert(fs.write_atomic(('%s/sub/%04d'):format(dir, i), '', { durable = false }))
  end
  local list = fs.list(dir .. '/sub')
  lu.assertEquals(#list, 1000)
  for i, entry in ipairs(list) do
    lu.assertEquals(entry.name, ('%04d'):format(i))
  end
  assert_fails('ENOENT', dir .. '/none', fs.list(dir .. '/none'))
  assert_fails('ENOTDIR', dir .. '/a', fs.list(dir .. '/a'))
end)

M.test_directories = with_dir(function(dir)
  lu.assertIs(fs.mkdirs(dir .. '/a/b/c'), true)
  lu.assertIs(fs.mkdirs(dir .. '/a/b/c', tonumber('755', 8)), true)
  lu.assertEquals(fs.stat(dir .. '/a/b/c').mode, tonumber('700', 8))
  assert(fs.write_atomic(dir .. '/file', ''))
  assert_fails('ENOTDIR', dir .. '/file', fs.mkdirs(dir .. '/file'))
  assert_fails('ENOENT', 'path', fs.mkdirs '')
  assert_fails('ENOTEMPTY', dir .. '/a', fs.rmdir(dir .. '/a'))
  lu.assertIs(fs.rmdir(dir .. '/a/b/c'), true)
  assert(fs.symlink('..', dir .. '/a/b/up'))
  lu.assertIs(fs.remove_tree(dir .. '/a'), true)
  lu.assertIs(fs.remove_tree(dir .. '/a'), true)
  lu.assertNil((fs.lstat(dir .. '/a')))
  lu.assertEquals(fs.read(dir .. '/file'), '')
  assert_fails('ENOTDIR', dir .. '/file', fs.remove_tree(dir .. '/file'))
end)

M.test_secure_dir = with_dir(function(dir)
  local path = dir .. '/private'
  assert_fails('ENOENT', path, fs.secure_dir(path, { create = false }))
  lu.assertIs(fs.secure_dir(path), true)
  lu.assertEquals(fs.stat(path).mode, tonumber('700', 8))
  assert(fs.chmod(path, tonumber('755', 8)))
  assert(fs.secure_dir(path, { create = false })) -- inspection never writes
  lu.assertEquals(fs.stat(path).mode, tonumber('755', 8))
  assert(fs.secure_dir(path))
  lu.assertEquals(fs.stat(path).mode, tonumber('700', 8))
  assert(fs.symlink('private', dir .. '/link'))
  assert_fails('ELOOP', dir .. '/link', fs.secure_dir(dir .. '/link'))
  assert(fs.write_atomic(dir .. '/file', ''))
  assert_fails('ENOTDIR', dir .. '/file', fs.secure_dir(dir .. '/file'))
end)

M.test_names = with_dir(function(dir)
  local a, b = dir .. '/a', dir .. '/b'
  assert(fs.write_atomic(a, 'A'))
  lu.assertIs(fs.rename(a, b), true)
  lu.assertEquals(fs.read(b), 'A')
  assert_fails('ENOENT', a, fs.rename(a, b))
  lu.assertIs(fs.symlink('some where', a), true)
  lu.assertEquals(fs.readlink(a), 'some where')
  assert_fails('EEXIST', a, fs.symlink('x', a))
  assert_fails('EINVAL', b, fs.readlink(b))
  assert_fails('ENOENT', a, fs.realpath(a))
  lu.assertIs(fs.unlink(a), true)
  assert_fails('ENOENT', a, fs.unlink(a))
  assert_fails('EISDIR', dir, fs.unlink(dir))
  assert(fs.symlink('b', a))
  lu.assertEquals(fs.realpath(dir .. '/./a'), fs.realpath(dir) .. '/b')
end)

M.test_permissions = with_dir(function(dir)
  local file = dir .. '/f'
  assert(fs.write_atomic(file, '#!'))
  lu.assertTrue(fs.access(file, 'r'))
  lu.assertTrue(fs.access(file, 'w'))
  lu.assertFalse(fs.access(file, 'x'))
  lu.assertIs(fs.chmod(file, tonumber('700', 8)), true)
  lu.assertTrue(fs.access(file, 'x'))
  lu.assertFalse(fs.access(dir .. '/none', 'r'))
  assert_fails('ENOENT', dir .. '/none', fs.chmod(dir .. '/none', 0))
end)

M.test_lock = with_dir(function(dir)
  local path = dir .. '/keeper.lock'
  do
    local lock <close> = assert(fs.flock(path))
    lu.assertIs(lock:write 'pid 12 `envctl start`\n', true)
    assert_fails('EWOULDBLOCK', 'pid 12 `envctl start`', fs.flock(path))
  end
  local lock = assert(fs.flock(path))
  lu.assertEquals(fs.read(path), 'pid 12 `envctl start`\n')
  lock:close()
  lock:close()
  lu.assertErrorMsgContains('envctl.Lock is closed', lock.write, lock, 'x')
  lu.assertEquals(fs.stat(path).type, 'file')
  -- One that nobody closed goes with the garbage.
  local forgotten = assert(fs.flock(path))
  lu.assertNotNil(forgotten)
  forgotten = nil -- luacheck: ignore
  collectgarbage()
  assert(fs.flock(path)):close()
  assert_fails('ENOENT', dir .. '/none/lock', fs.flock(dir .. '/none/lock'))
end)

M.test_space = with_dir(function(dir)
  local space = fs.space(dir)
  lu.assertEquals({ math.type(space.free), math.type(space.total) }, { 'integer', 'integer' })
  lu.assertTrue(space.total >= space.free and space.total > 0)
  assert_fails('ENOENT', dir .. '/none', fs.space(dir .. '/none'))
end)

M.test_punch_and_truncate = with_dir(function(dir)
  local file = dir .. '/log'
  assert(fs.write_atomic(file, ('x'):rep(8192) .. 'end'))
  lu.assertIs(fs.punch(file, 0), true)
  local ok, message, code = fs.punch(file, 8192)
  if ok then
    lu.assertEquals(fs.read(file), ('\0'):rep(8192) .. 'end')
  else -- a file system that has no holes says so
    assert_fails('ENOTSUP', file, ok, message, code == 'EOPNOTSUPP' and 'ENOTSUP' or code)
  end
  lu.assertIs(fs.truncate(file, 3), true)
  lu.assertEquals(fs.stat(file).size, 3)
  assert(fs.truncate(file, 5))
  lu.assertEquals(fs.read(file):sub(4), '\0\0')
  assert_fails('ENOENT', dir .. '/none', fs.truncate(dir .. '/none', 0))
  assert_fails('ENOENT', dir .. '/none', fs.punch(dir .. '/none', 1))
  assert_fails('ENOENT', dir .. '/none', fs.data_start(dir .. '/none'))
  assert(fs.symlink('log', dir .. '/link'))
  assert_fails('ELOOP', dir .. '/link', fs.truncate(dir .. '/link', 0))
  assert_fails('ELOOP', dir .. '/link', fs.punch(dir .. '/link', 1))
end)

-- Misuse raises, and says what is wrong; nothing is touched.
function M.test_misuse()
  local cases = {
    { 'NUL byte', fs.read, 'a\0b' },
    { 'string expected, got nil', fs.read, nil },
    { "unknown option 'maximum'", fs.read, '/', { maximum = 1 } },
    { 'max: integer expected, got string', fs.read, '/', { max = '1' } },
    { 'max: -1 is not in', fs.read, '/', { max = -1 } },
    { 'nofollow: boolean expected, got number', fs.read, '/', { nofollow = 1 } },
    { 'table expected, got boolean', fs.read, '/', true },
    { 'option names are strings', fs.read, '/', { 1 } },
    { 'cannot be negative', fs.read_at, '/', -1, 1 },
    { '0..64 MiB', fs.read_at, '/', 0, 1 << 40 },
    { 'number has no integer representation', fs.read_at, '/', 1.5, 1 },
    { 'string expected, got nil', fs.write_atomic, '/none/f' },
    { 'mode: 512 is not in 0..511', fs.write_atomic, '/none/f', '', { mode = 512 } },
    { 'durable: boolean', fs.write_atomic, '/none/f', '', { durable = 'no' } },
    { 'NUL byte', fs.rename, '/none', 'a\0' },
    { 'NUL byte', fs.symlink, 'a\0', '/none' },
    { "invalid option 'rw'", fs.access, '/', 'rw' },
    { 'cannot be negative', fs.truncate, '/none', -1 },
    { 'cannot be negative', fs.punch, '/none', -1 },
    { 'number expected', fs.chmod, '/none' },
    { "unknown option 'mode'", fs.secure_dir, '/none', { mode = 1 } },
  }
  for i, case in ipairs(cases) do
    local ok, message = pcall(table.unpack(case, 2, 5))
    lu.assertFalse(ok, 'case ' .. i)
    lu.assertStrContains(message, case[1])
  end
end

return M
