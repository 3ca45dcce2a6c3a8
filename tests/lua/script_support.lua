-- Sessions for tests: scripts given as texts, the script host of the program that was built beside this one.
local sys = require 'envctl.host.sys'
local fs = require 'envctl.host.fs'
local task = require 'envctl.task'

local M = {}

--- The program itself; this binary runs tests only.
M.exe = sys.exe:gsub('envctl_test$', 'envctl')

--- A directory that is gone when the returned value is closed.
function M.directory()
  local base = (sys.getenv 'TMPDIR' or '/tmp') .. '/envctl-script-' .. sys.random_hex(8)
  assert(fs.mkdirs(base))
  return setmetatable({ path = assert(fs.realpath(base)) }, {
    __close = function(self)
      fs.remove_tree(self.path)
    end,
  })
end

function M.write(dir, rel, text, mode)
  local parent = (dir .. '/' .. rel):match '^(.*)/'
  assert(fs.mkdirs(parent, 493))
  assert(fs.write_atomic(dir .. '/' .. rel, text, { mode = mode or 420 }))
end

local NAMES = { user = '~/.config/envctl/init.lua', script = '.envctl.lua', ['local'] = '.envctl.local.lua' }

--- Entries from texts: {script = '…', user = '…', ['local'] = '…'}, or one text for the repository's.
function M.entries(texts, root)
  if type(texts) == 'string' then
    texts = { script = texts }
  end
  local out = {}
  for _, layer in ipairs { 'user', 'script', 'local' } do
    if texts[layer] then
      out[#out + 1] = {
        layer = layer, name = NAMES[layer], root = root or '/nonexistent', rel = NAMES[layer]:match '[^/]*$',
        text = texts[layer], repository = layer ~= 'user', includes = {},
      }
    end
  end
  return out
end

function M.session(texts, opts)
  opts = opts or {}
  opts.exe = M.exe
  local session = require('envctl.script.session').new(M.entries(texts, opts.root), opts)
  if opts.trusted then
    session.trusted = true
    session.judge = function() end
  end
  return session
end

--- Runs fn(session) in a task; the session is closed afterwards.
function M.with(texts, fn, opts)
  local r
  task.main(function()
    local session = M.session(texts, opts)
    r = table.pack(task.try(fn, session))
    session:close()
  end)
  if not r[1] then
    error(r[2], 0)
  end
  return table.unpack(r, 2, r.n)
end

--- The error that fn(session) raises (default: loading).
function M.failure(texts, fn, opts)
  local ok, e = pcall(M.with, texts, fn or function(session)
    session:load()
  end, opts)
  assert(not ok, 'no error was raised')
  return e
end

-- The first pipe of a process makes libuv open a descriptor that stays: not a leak of any test.
M.with('return { envctl = 1 }', function(session)
  session:load()
end)

return M
