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
