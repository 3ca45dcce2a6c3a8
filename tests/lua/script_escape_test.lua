-- The attempts of script_escapes.txt: none gets what scripts must not have, reaches another layer, or stays for ever.
local lu = require 'luaunit'
local sys = require 'envctl.host.sys'
local support = require 'script_support'

local M = {}

local function escapes()
  local text = assert(require('envctl.host.fs').read(rawget(_G, 'ENVCTL_SOURCE_DIR') .. '/tests/lua/script_escapes.txt'))
  local out = {}
  for name, body in (text:gsub('\n=== ', '\0') .. '\0'):gmatch '([^\n%z]+)\n([^%z]+)%f[%z]' do
    out[#out + 1] = { name, body }
  end
  table.remove(out, 1) -- what the file is
  return out
end

-- The layer above: what it sees has to be what it always sees, whatever the one below did to its own.
local CANARY = [[
local order = {}
for k in pairs { b = 1, a = 2, [3] = 3 } do order[#order + 1] = tostring(k) end
local words = {}
for w in ('x y z'):gmatch('%S') do words[#words + 1] = w:upper() end
table.sort(words, function(a, b) return a > b end)
return { envctl = 1, config = { canary = table.concat({
  table.concat(order, ','), table.concat(words, ','), ('ab'):rep(2), tostring(nil), tostring(select('#', 1, 2)), type(envctl.unset),
  tostring(getmetatable('')), tostring(rawget(_G, 'LEAKED') or rawget(_G, 'HERE') or rawget(_G, 'CONFIG')), math.type(1),
  tostring(string.LEAKED), tostring(pcall(error)), envctl.bundled('util.json').encode_line({ b = 1, a = {} }), utf8.char(228),
}, ' ') } }
]]
local SEEN = '3,a,b Z,Y,X abab nil 2 table nil nil integer nil false {"a":{},"b":1} ä'

local function escape_directory()
  local dir = support.directory()
  support.write(dir.path, 'secret.lua', 'return 1')
  local root = dir.path .. '/repo'
  support.write(root, 'ok.lua', 'return 1')
  support.write(root, 'data.txt', 'not a script at all: {')
  support.write(root, 'sets.lua', 'LEAKED = 1\nstring.LEAKED = 1')
  support.write(root, 'reads.lua', 'return HERE ~= nil')
  support.write(root, 'concat.lua', "return table.concat({ 'own' })")
  support.write(root, 'loop.lua', "return envctl.include('loop.lua')")
  support.write(root, 'bytecode.lua', string.dump(function() end))
  support.write(root, 'sub/x.lua', 'return 1')
  assert(require('envctl.host.fs').symlink('../secret.lua', root .. '/link.lua'))
  os.execute("mkfifo '" .. root .. "/fifo'")
  return dir, root
end

function M.test_escapes()
  local made, root = escape_directory()
  local dir <close> = made -- luacheck: ignore 211
  local list = escapes()
  lu.assertTrue(#list >= 130, #list)
  for _, probe in ipairs(list) do
    local text = 'local function probe()\n' .. probe[2] .. '\nend\nlocal ok, got = pcall(probe)\n'
      .. 'return { envctl = 1, config = { escaped = ok and got == true, more = CONFIG } }'
    support.with({ user = text, script = CANARY }, function(session)
      local began = sys.mono_ms()
      local loaded = session:load { collect = true }
      local took = sys.mono_ms() - began
      if sys.getenv 'V' then
        print(probe[1], took, loaded.errors[1] and loaded.errors[1].message)
      end
      local data = session.entries[1].data
      lu.assertFalse(data ~= nil and data.config.escaped, probe[1])
      for _, e in ipairs(loaded.errors) do
        lu.assertEquals(e.code, 'script_invalid', probe[1])
        lu.assertStrMatches(e.where, '~/%.config/envctl/init%.lua.*', nil, nil, probe[1])
      end
      -- A script that ended the script host does not take the others with it.
      lu.assertEquals(session.entries[2].data.config.canary, SEEN, probe[1])
      lu.assertTrue(took < 10000, probe[1] .. ' took ' .. took)
    end, { root = root, cpu_ms = 300 })
  end
end

return M
