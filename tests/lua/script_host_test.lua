-- The script host as a process: what scripts can see, that nothing runs away, that nothing gets out.
local lu = require 'luaunit'
local sys = require 'envctl.host.sys'
local support = require 'script_support'

local M = {}

local function load_error(text, cpu_ms)
  return support.failure(text, nil, { cpu_ms = cpu_ms })
end

function M.test_loads_data_and_names_functions()
  support.with([[
return {
  envctl = 1,
  services = { api = { command = 'x', port = 8100, listens = true } },
  override = {
    ['plan.ports'] = function(base, ctx)
      return base(ctx)
    end,
  },
  commands = { seed = { help = 'load data', run = function() end } },
  on = { started = function() end },
}]], function(session)
    local loaded = session:load()
    lu.assertEquals(loaded.data.services.api.port, 8100)
    lu.assertEquals(loaded.overrides, { { point = 'plan.ports', layer = 'script', file = '.envctl.lua', line = 5 } })
    lu.assertEquals(loaded.data.commands, {
      { name = 'seed', help = 'load data', layer = 'script', file = '.envctl.lua', line = 9 },
    })
    lu.assertEquals(loaded.data.hooks, { 'started' })
    lu.assertTrue(session.cage.seccomp)
  end)
end

-- Each ends by itself in envctl's hands, with the line where that can be known.
local RUNAWAYS = {
  { 'plain loop', 'while true do end', 1 },
  { 'loop that does something', 'local x = 0\nwhile true do x = x + 1 end', 2 },
  { 'repeat', 'repeat local x = 1 until x == 2', 1 },
  { 'goto', '::a:: goto a', 1 },
  { 'pcall loop', 'while true do pcall(function() while true do end end) end', 1 },
  { 'nested pcall', 'local function f() pcall(f) f() end\nwhile true do pcall(f) end', 0 },
  { 'pcall in pcall', 'local function p(n) if n == 0 then while true do end end pcall(p, n - 1) end\nwhile true do p(50) end', 1 },
  { 'xpcall handler', 'local function h() while true do end end\nxpcall(error, h)', 1 },
  { 'handler of a limit', 'local function h() while true do end end\nwhile true do xpcall(function() while true do end end, h) end', 2 },
  { 'recursion', 'local function f() return 1 + f() end\nf()', 1 },
  { 'tail recursion', 'local function f() return f() end\nf()', 1 },
  { 'memory in a table', 'local t = {}\nwhile true do t[#t + 1] = {} end', 2 },
  { 'memory and pcall', 'local t = {}\nwhile true do pcall(function() while true do t[#t + 1] = {} end end) end', 2 },
  { 'string doubling', "local s = 'x'\nwhile true do s = s .. s end", 2 },
  { 'string.rep', "local s = ('x'):rep(1 << 40)\nreturn s", 1 },
  { 'string.rep of nothing', "local s = ''\nfor i = 1, 1e9 do s = (''):rep(1 << 62) end", 2 },
  { 'string.rep in steps', "local t = {}\nfor i = 1, 1000 do t[i] = ('x'):rep(8 << 20) .. i end", 2 },
  { 'pattern', "local s = ('a'):rep(40)\nreturn s:find(('a*'):rep(40) .. 'b')", 2 },
  { 'pattern with gsub', "return (('a'):rep(1 << 20)):gsub('.-b', '')", 1 },
  { 'table.concat', "local t = setmetatable({}, { __index = function() return 'x' end })\nreturn table.concat(t, '', 1, 1 << 40)", 0 },
  { 'table.move', 'local t = table.move({}, 1, 1 << 40, 2)', 1 },
  { 'table.move in C', 'local t = {}\nfor i = 1, 1000 do t = table.move({}, 1, 1e7 // 1 | 0, 2) end', 2 },
  {
    'table.insert with a lying length',
    'local t = setmetatable({}, { __len = function() return 1 << 60 end })\ntable.insert(t, 1, 1)', 2,
  },
  {
    'table.sort that never settles',
    'local t = {}\nfor i = 1, 300000 do t[i] = i end\nwhile true do pcall(table.sort, t, function() return true end) end', 0,
  },
  { 'coroutine', 'coroutine.wrap(function() while true do end end)()', 1 },
  {
    'coroutine that catches',
    'local co = coroutine.wrap(function()\n while true do pcall(function() while true do end end) end\nend)\nco()', 2,
  },
  { 'ping-pong of coroutines', 'local co = coroutine.wrap(function() while true do coroutine.yield() end end)\nwhile true do co() end', 0 },
  { 'many coroutines', 'local t = {}\nwhile true do t[#t + 1] = coroutine.create(function() end) end', 2 },
  { 'coroutines in coroutines', 'local function f() coroutine.wrap(f)() end\nf()', 0 },
  {
    '__close',
    'do\n local x <close> = setmetatable({}, { __close = function() while true do end end })\n while true do end\nend', 0,
  },
  { '__index that recurses', 'local t = {}\nsetmetatable(t, { __index = function(_, k) return t[k + 1] end })\nreturn t[1]', 2 },
  { '__concat loop', "local t = setmetatable({}, { __concat = function() while true do end end })\nreturn t .. 'x'", 1 },
  { 'load in a loop', "while true do load('return 1')() end", 0 },
  { 'a chunk that loads itself', "local s = 'local s = ... return load(s)(s)'\nreturn load(s)(s)", 0 },
  { 'string.format', "local t = {}\nwhile true do t[#t + 1] = ('%99.99f'):format(1.5) end", 2 },
  { 'utf8', "local t = {}\nfor i = 1, 1 << 40 do t[i] = utf8.char(0x10FFFF) .. i end", 2 },
  { 'pairs that never ends', 'for _ in function() return 1 end do end', 1 },
}

function M.test_runaways_end()
  for _, case in ipairs(RUNAWAYS) do
    local name, text, line = case[1], case[2], case[3]
    local began = sys.mono_ms()
    local e = load_error(text, 150)
    local took = sys.mono_ms() - began
    if sys.getenv 'V' then
      print(name, took, e.message)
    end
    lu.assertTrue(took < 20000, name .. ': took ' .. took .. ' ms')
    lu.assertEquals(e.code, 'script_invalid', name)
    if line > 0 then
      lu.assertEquals(e.where, '.envctl.lua:' .. line, name .. ': ' .. e.message)
    else
      lu.assertStrContains(e.message, '.envctl.lua:', false, name)
    end
  end
end

-- Each probe tries to get something that a script must not have, and returns true when it has it.
local PROBES = {
  { 'io', 'return io ~= nil' },
  { 'os', 'return os ~= nil' },
  { 'require', 'return require ~= nil' },
  { 'package', 'return package ~= nil' },
  { 'debug', 'return debug ~= nil' },
  { 'dofile', 'return dofile ~= nil' },
  { 'loadfile', 'return loadfile ~= nil' },
  { 'collectgarbage', 'return collectgarbage ~= nil' },
  { 'io through _G', "return rawget(_G, 'io') ~= nil" },
  { 'globals of the process through _ENV', 'return _ENV ~= _G' },
  { 'every global is a known one', [[
    local known = {}
    for name in ('_VERSION _G assert error ipairs rawequal rawget rawlen rawset select tonumber type tostring print pairs next '
      .. 'pcall xpcall setmetatable getmetatable load string table math coroutine utf8 envctl'):gmatch('%S+') do
      known[name] = true
    end
    for k in pairs(_G) do
      if not known[k] then return true end
    end]] },
  { 'string.dump', 'return string.dump ~= nil' },
  { 'dump as a method', "return ('').dump ~= nil" },
  { 'bytecode through load', "return load('\\27Lua\\84\\0\\25\\147\\r\\n\\26\\n', 'x', 'b') ~= nil" },
  { 'bytecode with mode bt', "return load('\\27Lua\\84\\0', 'x', 'bt') ~= nil" },
  {
    'bytecode from a reader',
    "local n = 0 return load(function() n = n + 1 return n == 1 and '\\27Lua\\84\\0' or nil end, 'x', 'b') ~= nil",
  },
  { 'load gives the real globals', "return load('return io or os or require or debug')() ~= nil" },
  { 'load with a nil environment', "return load('return _ENV', 'x', 't', nil)() ~= nil" },
  { 'environment of a function', 'return getfenv(1) ~= nil' },
  { 'metatable of strings', "return getmetatable('') ~= nil" },
  { 'changing the metatable of strings', "getmetatable('').__index = function() end return true" },
  { 'string methods are hidden', "local s = ('').rep string.rep = nil return ('').rep ~= s" },
  { 'changing a method of strings', "string.upper = function() return 'mine' end return ('x'):upper() == 'mine'" },
  { 'metatable of the globals', 'return getmetatable(_G) ~= false' },
  { 'new metatable for the globals', 'setmetatable(_G, {}) return true' },
  { '__gc', 'setmetatable({}, { __gc = function() end }) return true' },
  { '__gc through rawset', "local mt = {} rawset(mt, '__gc', function() end) setmetatable({}, mt) return true" },
  {
    '__gc of an object that has one already',
    'local mt = {} local t = setmetatable({}, mt) mt.__gc = print setmetatable(t, mt) return true',
  },
  { '__metatable hides the check', "local mt = { __metatable = {}, __gc = print } setmetatable({}, mt) return true" },
  { 'metatable of a function', 'return getmetatable(print) ~= nil' },
  { 'metatable of nil', 'return getmetatable(nil) ~= nil' },
  { 'metatable of a coroutine', 'return getmetatable(coroutine.create(print)) ~= nil' },
  { 'setmetatable on a string', "setmetatable('', {}) return true" },
  { 'yield out of the script', 'coroutine.yield() return true' },
  { 'resume of the running coroutine', 'return (coroutine.resume(coroutine.running()))' },
  { 'close of the running coroutine', 'return coroutine.close(coroutine.running())' },
  { 'yield across load', "return load(function() coroutine.yield() end) ~= nil and true" },
  { 'a handler sees the frames', [[
    local seen
    xpcall(error, function() seen = debug end)
    return seen ~= nil]] },
  { 'error objects keep our tables', "local ok, e = pcall(envctl.include, {}) return type(e) == 'table'" },
  { 'addresses in tostring', "return tostring({}):find('0x') ~= nil" },
  { 'addresses of functions', "return tostring(print):find('0x') ~= nil" },
  { 'addresses in format', "return ('%s'):format({}):find('0x') ~= nil" },
  { 'addresses with %p', "return ('%p'):format({}) ~= nil" },
  { 'addresses with %-20p', "return string.format('%-20p', {}) ~= nil" },
  { 'addresses through concat errors', "local ok, e = pcall(table.concat, { {} }) return tostring(e):find('0x') ~= nil" },
  { 'addresses through print', 'print({}) return false' },
  { 'sort order of objects', 'local t = { [{}] = 1, [{}] = 2 } for k in pairs(t) do end return true' },
  { 'next over objects', 'local t = { [{}] = 1, [print] = 2 } next(t) return true' },
  { 'seed of random', 'math.randomseed(os.time()) return true' },
  { 'include leaves the repository', "envctl.include('../secret.lua') return true" },
  { 'include of an absolute path', "envctl.include('/etc/passwd') return true" },
  { 'include of a home path', "envctl.include('~/.ssh/id_rsa') return true" },
  { 'include through a link', "envctl.include('link.lua') return true" },
  { 'include of a directory', "envctl.include('sub') return true" },
  { 'include with a NUL', "envctl.include('ok.lua\\0.txt') return true" },
  { 'include of what is no script', "envctl.include('data.txt') return true" },
  { 'include of a device', "envctl.include('fifo') return true" },
  { 'unset is changed', 'envctl.unset.x = 1 return true' },
  { 'another chunk through include', "envctl.include('sets.lua') return LEAKED ~= nil or string.LEAKED ~= nil" },
  { 'globals of the including chunk', "HERE = 1 return envctl.include('reads.lua') == true" },
  { 'libraries of the including chunk', "table.concat = function() return 'mine' end return envctl.include('concat.lua') == 'mine'" },
  { 'huge pattern', "return ('x'):find(('('):rep(1000)) ~= nil" },
  { 'deep pattern', "return ('a'):rep(300000):find(('a?'):rep(10) .. ('b'):rep(10)) ~= nil" },
  { 'deep expression', "return load('return ' .. ('('):rep(100000) .. '1' .. (')'):rep(100000)) ~= nil" },
  { 'deep table', "local t = {} for i = 1, 1e5 do t = { t } end return { t }" },
  { 'goto into a block', "return load('goto x do ::x:: end') ~= nil" },
  { 'upvalues of our functions', 'return debug.getupvalue(pairs, 1) ~= nil' },
  { 'warn', 'return warn ~= nil' },
  { 'select with a huge index', 'return select(1 << 62) ~= nil' },
  { 'unpack of everything', 'return table.unpack({}, 1, 1 << 24) ~= nil' },
  { 'string.pack of a huge size', "return string.pack('!16i16', 1):len() > 16" },
  { 'utf8 of surrogates leaves', "return utf8.char(0x7FFFFFFF):len() == 0" },
}

function M.test_escape_probes()
  local dir <close> = support.directory()
  support.write(dir.path, 'secret.lua', 'return 1')
  local root = dir.path .. '/repo'
  support.write(root, 'ok.lua', 'return 1')
  support.write(root, 'data.txt', 'not a script at all: {')
  support.write(root, 'sets.lua', 'LEAKED = 1\nstring.LEAKED = 1')
  support.write(root, 'reads.lua', 'return HERE ~= nil')
  support.write(root, 'concat.lua', "return table.concat({ 'own' })")
  support.write(root, 'sub/x.lua', 'return 1')
  assert(require('envctl.host.fs').symlink('../secret.lua', root .. '/link.lua'))
  os.execute("mkfifo '" .. root .. "/fifo'")
  for _, probe in ipairs(PROBES) do
    local text = 'local function probe()\n' .. probe[2] .. '\nend\nlocal ok, got = pcall(probe)\n'
      .. 'return { envctl = 1, config = { escaped = ok and got == true } }'
    support.with(text, function(session)
      local began = sys.mono_ms()
      local ok, loaded = pcall(session.load, session)
      local took = sys.mono_ms() - began
      if ok then
        lu.assertFalse(loaded.data.config.escaped, probe[1])
      else
        lu.assertEquals(loaded.code, 'script_invalid', probe[1])
      end
      lu.assertTrue(took < 10000, probe[1] .. ' took ' .. took)
    end, { root = root, cpu_ms = 300 })
  end
  lu.assertTrue(#PROBES >= 60, #PROBES)
end

-- The same file and the same answers, whatever the addresses and the seed of a process are.
function M.test_the_same_every_time()
  local text = [[
local order, random = {}, {}
local t = { z = 1, a = 2, [3] = 3, [1] = 1, [true] = 4, m = {}, [2.5] = 1, [false] = 0 }
for k in pairs(t) do order[#order + 1] = tostring(k) end
for k in next, t do order[#order + 1] = tostring(k) end
local u = {}
for i = 1, 200 do u['k' .. (i * 7919 % 1009)] = i end
for k in pairs(u) do order[#order + 1] = k end
for i = 1, 20 do random[i] = math.random(1000) end
math.randomseed(7)
random[21] = math.random(1000)
return { envctl = 1, config = {
  order = order, random = random, text = tostring({}) .. tostring(print) .. ('%s'):format({}), float = math.random(),
} }]]
  local first
  for _ = 1, 5 do
    support.with(text, function(session)
      local config = session:load().data.config
      lu.assertEquals({ table.unpack(config.order, 1, 8) }, { '1', '2.5', '3', 'a', 'm', 'z', 'false', 'true' })
      first = first or config
      lu.assertEquals(config, first)
    end)
  end
end

-- Out of patience before out of processor time: the line is known all the same, also below a C function.
function M.test_the_wall_clock()
  local e = load_error('local x\nwhile true do\n  x = 1\nend', 60000)
  lu.assertStrContains(e.message, ': ran for 2 s')
  lu.assertStrMatches(e.where, '%.envctl%.lua:[23]')
  e = load_error("local s = ('a'):rep(40)\nlocal x = s:find(('a*'):rep(40) .. 'b')", 60000)
  lu.assertEquals(e.message, '.envctl.lua:2: ran for 2 s')
end

function M.test_mutated_bytecode_is_refused()
  local task = require 'envctl.task'
  local good = string.dump(function(...)
    local t = { ... }
    for i, v in ipairs(t) do
      t[i] = v .. 'x'
    end
    return function()
      return t, 1.5, 'text'
    end
  end)
  local seed = 20251125
  local function random(n)
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed // 65536 % n + 1
  end
  task.main(function()
    local pipe = require('envctl.script.pipe').start { exe = support.exe }
    local refused = 0
    for i = 1, 10000 do
      local bytes = good
      for _ = 1, i == 1 and 0 or random(8) do
        local at = random(#bytes)
        bytes = bytes:sub(1, at - 1) .. string.char(random(256) - 1) .. bytes:sub(at + 1)
      end
      local request = { op = 'layer', name = '.envctl.lua' }
      local result, problem = pipe:request(request, {}, bytes)
      lu.assertNil(result)
      lu.assertTrue(problem.message:find('compiled code', 1, true) ~= nil or problem.file ~= nil, problem.message)
      refused = refused + 1
    end
    lu.assertEquals(refused, 10000)
    lu.assertNil(pipe.dead)
    pipe:close()
  end)
end

function M.test_answer_that_is_too_large()
  local e = load_error("local t = {}\nfor i = 1, 100 do t['k' .. i] = ('x'):rep(60000) .. i end\nreturn { envctl = 1, config = t }")
  lu.assertEquals(e.message, '.envctl.lua: the answer is larger than 4 MiB')
end

function M.test_a_host_that_dies_is_an_error()
  support.with('return { envctl = 1, override = { ["plan.ports"] = function(base, ctx) return base(ctx) end } }', function(session)
    session:load()
    session.pipe.process:signal 'KILL'
    local function ask()
      return session:call('plan.ports', { project = { name = 'Main' } }, function()
        return { backend = 1 }
      end)
    end
    local ok, e = require('envctl.task').try(ask)
    lu.assertFalse(ok)
    lu.assertEquals(e.message, '.envctl.lua:1: override["plan.ports"]: the script host was ended by SIGKILL')
    lu.assertEquals(ask().backend, 1)
  end)
end

function M.test_print_is_a_note()
  local lines = {}
  support.with("print('a', 1, nil, true)\nprint('\\255')\nreturn { envctl = 1 }", function(session)
    session:load()
  end, { on_print = function(line)
    lines[#lines + 1] = line
  end })
  lu.assertEquals(lines, { 'a\t1\tnil\ttrue', '\255' })
end

return M
