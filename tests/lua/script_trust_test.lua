-- Trust: what is hashed is what is run, one decision per repository, path and content, and files that are not what they seem.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local task = require 'envctl.task'
local layers = require 'envctl.script.layers'
local trust = require 'envctl.script.trust'
local support = require 'script_support'

local M = {}

-- A repository with a home of its own. sys.getenv is asked for the directories, so it answers for the test.
local function world(fn)
  local dir <close> = support.directory()
  local env = { XDG_STATE_HOME = dir.path .. '/state', XDG_CONFIG_HOME = dir.path .. '/config' }
  local getenv = sys.getenv
  local guard <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      sys.getenv = getenv
    end,
  })
  sys.getenv = function(name)
    if name:find '^XDG_' or name:find '^ENVCTL_[TB]' then
      return env[name]
    end
    return getenv(name)
  end
  for _, name in ipairs { 'repo/.git', 'tree', 'other/.git' } do
    assert(fs.mkdirs(dir.path .. '/' .. name))
  end
  local w = { base = dir.path, env = env, repo = dir.path .. '/repo' }
  function w.roots(root)
    root = root or w.repo
    return { root = w.repo, execution_root = root, common_dir = w.repo .. '/.git', git_dir = w.repo .. '/.git' }
  end
  function w.write(rel, text, mode)
    support.write(dir.path, rel, text, mode)
  end
  function w.ctx(flags, roots)
    return { roots = roots or w.roots(), route = { flags = flags or {} }, out = { note = function() end } }
  end
  -- Opens, runs fn(session), closes.
  function w.session(use, opts, ctx)
    opts = opts or {}
    opts.exe = support.exe
    local r
    task.main(function()
      local session = require('envctl.script.host').open(ctx or w.ctx(), opts)
      r = table.pack(task.try(use, session))
      if session then
        session:close()
      end
    end)
    if not r[1] then
      error(r[2], 0)
    end
    return table.unpack(r, 2, r.n)
  end
  function w.trusted(ctx)
    return w.session(function(session)
      session:load()
      return session.trusted
    end, nil, ctx)
  end
  function w.trust(ctx)
    w.session(function(session)
      session:load()
      trust.trust(session)
    end, nil, ctx)
  end
  fn(w)
end

function M.test_no_script_no_session()
  world(function(w)
    w.session(function(session)
      lu.assertNil(session)
    end)
    w.write('repo/.envctl.lua', 'return { envctl = 1 }')
    w.session(function(session)
      lu.assertNil(session)
    end, nil, w.ctx { bundled = true })
    w.env.ENVCTL_BUNDLED = '1'
    w.session(function(session)
      lu.assertNil(session)
    end)
  end)
end

function M.test_layers()
  world(function(w)
    w.write('config/envctl/init.lua', 'return { envctl = 1 }')
    w.write('repo/.envctl.lua', 'return { envctl = 1 }')
    w.write('repo/.envctl.local.lua', 'return { envctl = 1, config = { x = 1 } }')
    local function list(roots)
      local out = {}
      for i, e in ipairs(layers.find(roots)) do
        out[i] = { e.layer, e.name, e.root }
      end
      return out
    end
    local user = { 'user', w.base .. '/config/envctl/init.lua', w.base .. '/config/envctl' }
    lu.assertEquals(list(w.roots()), {
      user, { 'script', '.envctl.lua', w.repo }, { 'local', '.envctl.local.lua', w.repo },
    })
    -- A worktree has the main tree's, until it has its own.
    local roots = w.roots(w.base .. '/tree')
    lu.assertEquals(list(roots)[2], { 'script', '.envctl.lua', w.repo })
    w.write('tree/.envctl.lua', 'return { envctl = 1, config = {} }')
    lu.assertEquals(list(roots)[2], { 'script', '.envctl.lua', w.base .. '/tree' })
    lu.assertEquals(list(roots)[3], { 'local', '.envctl.local.lua', w.repo })
  end)
end

function M.test_trust_is_for_content_path_and_repository()
  world(function(w)
    local text = 'return { envctl = 1, services = { api = { command = "x" } } }'
    w.write('repo/.envctl.lua', text)
    lu.assertFalse(w.trusted())
    w.trust()
    lu.assertTrue(w.trusted())
    -- every single byte counts
    local repo = trust.identity(w.roots())
    for at = 1, #text do
      for bit = 0, 7 do
        w.write('repo/.envctl.lua', text:sub(1, at - 1) .. string.char(text:byte(at) ~ (1 << bit)) .. text:sub(at + 1))
        lu.assertFalse(trust.known(repo, layers.find(w.roots())[1]), at)
      end
    end
    w.write('repo/.envctl.lua', text)
    lu.assertTrue(w.trusted())
    -- the same bytes in a worktree are the same decision, in another repository or at another path they are not
    w.write('tree/.envctl.lua', text)
    lu.assertTrue(w.trusted(w.ctx({}, w.roots(w.base .. '/tree'))))
    w.write('other/.envctl.lua', text)
    local other = w.base .. '/other'
    lu.assertFalse(w.trusted(w.ctx({}, { root = other, execution_root = other, common_dir = other .. '/.git' })))
    w.write('repo/.envctl.local.lua', text)
    lu.assertFalse(w.trusted())
    assert(fs.unlink(w.repo .. '/.envctl.local.lua'))
    lu.assertTrue(w.trusted())
    lu.assertEquals(trust.forget(trust.identity(w.roots())), 1)
    lu.assertFalse(w.trusted())
  end)
end

function M.test_includes_belong_to_the_script()
  world(function(w)
    w.write('repo/.envctl.lua', "return { envctl = 1, dependencies = { db = envctl.include('tools/db.lua') } }")
    w.write('repo/tools/db.lua', "return { image = 'postgres' }")
    w.trust()
    lu.assertTrue(w.trusted())
    w.session(function(session)
      lu.assertNotNil(session)
    end, { trusted_only = true })
    w.write('repo/tools/db.lua', "return { image = 'postgrex' }")
    lu.assertFalse(w.trusted())
    w.session(function(session)
      lu.assertNil(session)
    end, { trusted_only = true })
    w.write('repo/tools/db.lua', "return { image = 'postgres' }")
    lu.assertTrue(w.trusted())
  end)
end

function M.test_the_hash_is_what_sha256sum_prints()
  world(function(w)
    local text = 'return { envctl = 1 } -- \xff\n'
    w.write('repo/.envctl.lua', text)
    w.session(function(session)
      session:load()
      lu.assertEquals(session:scripts()[1].sha256, require('envctl.host.hash').sha256(text))
      lu.assertFalse(session:scripts()[1].trusted)
    end)
    w.env.ENVCTL_TRUST = require('envctl.host.hash').sha256(text)
    lu.assertTrue(w.trusted())
    w.env.ENVCTL_TRUST = w.env.ENVCTL_TRUST:sub(1, 63) .. 'x'
    lu.assertFalse(w.trusted())
    w.env.ENVCTL_TRUST = 'all 1 * ' .. ('0'):rep(64)
    lu.assertFalse(w.trusted())
  end)
end

function M.test_records_are_private_and_complete()
  world(function(w)
    w.write('repo/.envctl.lua', 'return { envctl = 1 } -- \xe9')
    w.trust()
    local dir = w.base .. '/state/envctl/trust'
    local list = fs.list(dir)
    lu.assertEquals(#list, 1)
    lu.assertStrMatches(list[1].name, '%x+')
    lu.assertEquals(fs.stat(dir .. '/' .. list[1].name).mode, 384)
    lu.assertEquals(fs.stat(dir).mode, 448)
    local e = layers.find(w.roots())[1]
    lu.assertEquals((trust.last(trust.identity(w.roots()), e)), 'return { envctl = 1 } -- \xe9')
    -- a damaged record, or one for somebody else, is no decision
    local path = dir .. '/' .. list[1].name
    local good = fs.read(path)
    for _, bad in ipairs {
      '', '{}', good:sub(1, 60), (good:gsub('"path": "%.envctl%.lua"', '"path": "x"')),
      (good:gsub('"sha256": "%x%x', '"sha256": "zz')),
    } do
      assert(fs.write_atomic(path, bad))
      lu.assertFalse(w.trusted())
    end
    assert(fs.write_atomic(path, good))
    lu.assertTrue(w.trusted())
    -- a link in its place is not followed
    assert(fs.rename(path, w.base .. '/elsewhere'))
    assert(fs.symlink(w.base .. '/elsewhere', path))
    lu.assertFalse(w.trusted())
  end)
end

local function refusal(w)
  local ok, e = pcall(layers.find, w.roots())
  return not ok and e.code == 'script_invalid' and e.message or nil
end

function M.test_files_that_are_refused()
  world(function(w)
    local path = w.repo .. '/.envctl.lua'
    w.write('secret.lua', 'return { envctl = 1 }')
    assert(fs.symlink('../secret.lua', path))
    lu.assertEquals(refusal(w), '.envctl.lua: is a link that leaves its directory')
    assert(fs.unlink(path))
    assert(fs.symlink(w.base .. '/secret.lua', path))
    lu.assertEquals(refusal(w), '.envctl.lua: is a link that leaves its directory')
    assert(fs.unlink(path))
    assert(fs.symlink('nowhere', path))
    lu.assertEquals(refusal(w), '.envctl.lua: is a link that leads nowhere')
    assert(fs.unlink(path))
    w.write('repo/real.lua', 'return { envctl = 1 }')
    assert(fs.symlink('real.lua', path))
    lu.assertNil(refusal(w))
    assert(fs.unlink(path))
    w.write('repo/.envctl.lua', 'return { envctl = 1 }')
    assert(fs.chmod(path, 438))
    lu.assertEquals(refusal(w), '.envctl.lua: can be changed by everybody (mode 0666)')
    assert(fs.unlink(path))
    assert(fs.mkdirs(path))
    lu.assertEquals(refusal(w), '.envctl.lua: is a directory')
    assert(fs.rmdir(path))
    os.execute("mkfifo '" .. path .. "'")
    lu.assertEquals(refusal(w), '.envctl.lua: is not a regular file')
    assert(fs.unlink(path))
    w.write('repo/.envctl.lua', ('x'):rep((1 << 20) + 1))
    lu.assertEquals(refusal(w), '.envctl.lua: is larger than 1 MiB')
    if sys.geteuid() == 0 then
      w.write('repo/.envctl.lua', 'return { envctl = 1 }')
      os.execute("chown 65534 '" .. path .. "'")
      lu.assertEquals(refusal(w), '.envctl.lua: belongs to somebody else (uid 65534)')
    end
  end)
end

-- The file is swapped while it is loaded, again and again: what ran is always what was hashed.
function M.test_swapping_during_loads()
  world(function(w)
    local texts = { 'return { envctl = 1, config = { who = "good" } }', 'return { envctl = 1, config = { who = "evil" } }' }
    w.write('repo/.envctl.lua', texts[1])
    w.trust()
    local evil = require('envctl.host.hash').sha256(texts[2])
    local script = w.base .. '/swap.sh'
    w.write('good', texts[1])
    w.write('evil', texts[2])
    w.write('swap.sh', [[
cd "$1" || exit 1
n=0
while [ ! -e stop ] && [ $n -lt 20000 ]; do
  cp good n && mv n repo/.envctl.lua
  cp evil n && mv n repo/.envctl.lua
  n=$((n + 1))
done
touch done
]])
    os.execute("sh '" .. script .. "' '" .. w.base .. "' >/dev/null 2>&1 &")
    local rounds = tonumber(sys.getenv 'ENVCTL_ROUNDS') or 150
    local seen = { good = 0, evil = 0 }
    for _ = 1, rounds do
      w.session(function(session)
        local who = session:load().data.config.who
        local hash = session:scripts()[1].sha256
        seen[who] = seen[who] + 1
        lu.assertEquals(hash == evil, who == 'evil')
        lu.assertEquals(session.trusted, who == 'good')
      end)
    end
    w.write('stop', '')
    lu.assertEquals(seen.good + seen.evil, rounds)
    local deadline = sys.mono_ms() + 10000
    while not fs.stat(w.base .. '/done') and sys.mono_ms() < deadline do
      task.main(task.sleep, 5)
    end
    lu.assertNotNil(fs.stat(w.base .. '/done'))
  end)
end

function M.test_untrusted_error()
  world(function(w)
    w.write('repo/.envctl.lua', 'return { envctl = 1, on = { started = function() end } }')
    w.session(function(session)
      local ok, e = task.try(session.require_trust, session)
      lu.assertFalse(ok)
      lu.assertEquals(e.code, 'script_untrusted')
      lu.assertEquals(e.message, '.envctl.lua is not trusted')
      lu.assertEquals(e.where, '.envctl.lua')
      lu.assertStrContains(e.hint, 'envctl script trust')
      lu.assertEquals(e.data.scripts[1].sha256, session:scripts()[1].sha256)
    end)
  end)
end

-- The question on a terminal, with answers from a list.
local function answering(w, answers, fn)
  local read_line, write = sys.read_line, sys.write
  local shown = {}
  local guard <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      sys.read_line, sys.write = read_line, write
    end,
  })
  sys.read_line = function()
    return table.remove(answers, 1)
  end
  sys.write = function(_, text)
    shown[#shown + 1] = text
    return true
  end
  w.session(function(session)
    session.may_ask = function()
      return true
    end
    fn(session)
  end)
  return table.concat(shown)
end

function M.test_the_question()
  world(function(w)
    w.write('repo/.envctl.lua', 'return {\n  envctl = 1, -- \27[2J\xe2\x80\xae\n  on = { started = function() end },\n}\n')
    local text = answering(w, { 'v', 'd', 'maybe' }, function(session)
      local ok, e = task.try(session.require_trust, session)
      lu.assertFalse(ok)
      lu.assertEquals(e.code, 'script_untrusted')
    end)
    lu.assertStrContains(text, '.envctl.lua of this repository wants to run commands on this machine')
    lu.assertStrContains(text, '   3    on = { started = function() end },')
    lu.assertStrContains(text, '<- has characters that are not shown')
    lu.assertStrContains(text, '.envctl.lua was never trusted here')
    lu.assertFalse(text:find '\27' ~= nil)
    lu.assertFalse(w.trusted())
    for _, no in ipairs { '', 'n', 'N', 'no', 'yess', 'y y' } do
      answering(w, { no }, function(session)
        lu.assertFalse((task.try(session.require_trust, session)))
      end)
    end
    answering(w, {}, function(session)
      lu.assertFalse((task.try(session.require_trust, session)))
    end)
    answering(w, { 'Yes' }, function(session)
      session:require_trust()
      lu.assertTrue(session.trusted)
    end)
    lu.assertTrue(w.trusted())
    w.write('repo/.envctl.lua', 'return {\n  envctl = 1,\n  on = { started = function() end },\n}\n')
    text = answering(w, { 'diff', 'y' }, function(session)
      session:require_trust()
    end)
    lu.assertStrContains(text, '+    2    envctl = 1,')
    lu.assertStrContains(text, '-    2    envctl = 1, -- ')
  end)
end

function M.test_the_users_own_file_needs_no_trust()
  world(function(w)
    w.write('config/envctl/init.lua', 'return { envctl = 1, on = { started = function() end } }')
    lu.assertTrue(w.trusted())
    w.session(function(session)
      lu.assertTrue(session:load().scripts[1].trusted)
    end)
  end)
end

function M.test_diff_for_people()
  local diff = require('envctl.script.ask').diff
  lu.assertEquals(diff('a\nb\nc\n', 'a\nx\nc\n'), { '-    2  b', '+    2  x' })
  lu.assertEquals(diff('a\nb\n', 'a\nb\n'), {})
  lu.assertEquals(diff('', 'a\n'), { '-    1  ', '+    1  a' })
  lu.assertEquals(diff('a\nb\nc\nd\n', 'b\nc\nx\nd\n'), { '-    1  a', '+    3  x' })
  local long = ('line\n'):rep(3000)
  lu.assertEquals(#diff(long .. 'a\n' .. long, long .. 'b\n' .. long), 2)
end

return M
