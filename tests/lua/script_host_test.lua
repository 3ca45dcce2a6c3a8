-- The script host as a process: what scripts can see, that nothing runs away, that nothing gets out.
local lu = require 'luaunit'
local sys = require 'envctl.host.sys'
local support = require 'script_support'

local M = {}

local function load_error(text)
  return support.failure(text)
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
  { 'string.rep', "return ('x'):rep(1 << 40)", 1 },
  { 'string.rep of nothing', "local s = ''\nfor i = 1, 1e9 do s = (''):rep(1 << 62) end", 2 },
  { 'string.rep in steps', "local t = {}\nfor i = 1, 1000 do t[i] = ('x'):rep(8 << 20) .. i end", 2 },
  { 'pattern', "local s = ('a'):rep(40)\nreturn s:find(('a*'):rep(40) .. 'b')", 2 },
  { 'pattern with gsub', "return (('a'):rep(1 << 20)):gsub('.-b', '')", 1 },
  { 'table.concat', "local t = setmetatable({}, { __index = function() return 'x' end })\nreturn table.concat(t, '', 1, 1 << 40)", 0 },
  { 'table.move', 'return table.move({}, 1, 1 << 40, 2)', 1 },
  { 'table.insert with a lying length', 'local t = setmetatable({}, { __len = function() return 1 << 60 end })\ntable.insert(t, 1, 1)', 2 },
  { 'table.sort that never settles', 'local t = {}\nfor i = 1, 300000 do t[i] = i end\nfor i = 1, 100 do pcall(table.sort, t, function(a, b) return true end) end\nwhile true do end', 0 },
  { 'coroutine', 'coroutine.wrap(function() while true do end end)()', 1 },
  { 'coroutine that catches', 'local co = coroutine.wrap(function()\n while true do pcall(function() while true do end end) end\nend)\nco()', 2 },
  { 'ping-pong of coroutines', 'local co = coroutine.wrap(function() while true do coroutine.yield() end end)\nwhile true do co() end', 0 },
  { 'many coroutines', 'local t = {}\nwhile true do t[#t + 1] = coroutine.create(function() end) end', 2 },
  { 'coroutines in coroutines', 'local function f() coroutine.wrap(f)() end\nf()', 0 },
  { '__close', 'do\n local x <close> = setmetatable({}, { __close = function() while true do end end })\n while true do end\nend', 0 },
  { '__index that recurses', 'local t = {}\nsetmetatable(t, { __index = function(_, k) return t[k + 1] end })\nreturn t[1]', 3 },
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
    local e = load_error(text)
    local took = sys.mono_ms() - began
    lu.assertTrue(took < 20000, name .. ': took ' .. took .. ' ms')
    lu.assertEquals(e.code, 'script_invalid', name)
    if line > 0 then
      lu.assertEquals(e.where, '.envctl.lua:' .. line, name .. ': ' .. e.message)
    else
      lu.assertStrContains(e.message, '.envctl.lua:', false, name)
    end
  end
end

return M
