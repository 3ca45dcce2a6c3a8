-- Runs tests/lua/*_test.lua with luaunit inside our own binary. After each test: nothing may be left open.
--   envctl_test [FILTER …]     FILTER: part of a file name
package.path = '/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua;' .. ENVCTL_SOURCE_DIR .. '/tests/lua/?.lua'
package.cpath = ''
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local loop = require 'envctl.host.loop'
local proc = require 'envctl.host.proc'

local function open_fds()
  local n = 0
  for _ in ipairs(fs.list '/proc/self/fd' or {}) do
    n = n + 1
  end
  return n
end

local function snapshot()
  collectgarbage()
  collectgarbage()
  return { handles = loop.handles(), children = proc.children(), fds = open_fds(), cwd = sys.cwd() }
end

-- The first test of a process may open what stays open (epoll, signal pipe, inotify): that is not a leak.
local function warm_up()
  loop.timer(0, function() end)
  loop.run()
  local handle = loop.signal('WINCH', function() end)
  handle:close()
  local watch = loop.changed('/', function() end)
  if watch then
    watch:close()
  end
  loop.run()
end

local function with_leak_check(fn)
  return function(...)
    local before = snapshot()
    local results = table.pack(pcall(fn, ...))
    if loop.handles() == 0 then
      loop.run()
    end
    local after = snapshot()
    if not results[1] then
      error(results[2], 0)
    end
    for _, what in ipairs { 'handles', 'children', 'fds', 'cwd' } do
      if before[what] ~= after[what] then
        lu.fail(string.format('leak: %s was %s, is %s', what, before[what], after[what]))
      end
    end
  end
end

local function selected(name)
  if #sys.argv == 0 then
    return true
  end
  for _, filter in ipairs(sys.argv) do
    if name:find(filter, 1, true) then
      return true
    end
  end
  return false
end

local function add(suite, file, tests)
  for name, value in pairs(tests) do
    if type(value) == 'function' and name:lower():find '^test' then
      suite[name] = with_leak_check(value)
    elseif type(value) == 'table' and name:lower():find '^test' then
      local class = {}
      for method, fn in pairs(value) do
        class[method] = (type(fn) == 'function' and method:lower():find '^test') and with_leak_check(fn) or fn
      end
      _G['Test_' .. file .. '_' .. name] = class
    end
  end
end

warm_up()
local files = 0
for _, entry in ipairs(fs.list(ENVCTL_SOURCE_DIR .. '/tests/lua')) do
  local name = entry.name:match '^(.*)_test%.lua$'
  if name and selected(name) then
    files = files + 1
    local tests = dofile(ENVCTL_SOURCE_DIR .. '/tests/lua/' .. entry.name)
    local suite = {}
    add(suite, name, tests or {})
    _G['Test_' .. name] = suite
  end
end
local runner = lu.LuaUnit.new()
runner:setOutputType 'nil'
local failed = runner:runSuite('--pattern', '.')
for _, node in ipairs(runner.result.allTests) do
  if node:isSuccess() then
    print('ok ' .. node.testName)
  elseif not node:isSkipped() then
    print('FAIL ' .. node.testName .. ': ' .. tostring(node.msg):gsub('\n', '\n    '))
    print('    ' .. tostring(node.stackTrace):gsub('\n', '\n    '))
  end
end
print(string.format('%d passed, %d failed', runner.result.successCount, failed))
return (failed > 0 or files == 0) and 1 or 0
