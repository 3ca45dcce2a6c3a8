-- What `host` does for hooks and commands: commands, files, HTTP, and what it refuses.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local task = require 'envctl.task'
local support = require 'script_support'

local M = {}

-- Runs the body of a command; returns its exit code, or the error.
local function run(body, opts)
  local dir <close> = support.directory()
  local root = dir.path .. '/repo'
  support.write(root, 'sub/file.txt', 'text\n')
  support.write(dir.path, 'outside.txt', 'secret')
  assert(fs.symlink('../outside.txt', root .. '/link'))
  assert(fs.symlink('..', root .. '/up'))
  opts = opts or {}
  if opts.before then
    opts.before(root)
  end
  local printed = {}
  local host = require('envctl.script.api').new {
    root = root,
    env = { PATH = sys.getenv 'PATH', A = 'outer', LD_PRELOAD = '/nowhere.so' },
    print = function(text)
      printed[#printed + 1] = text
    end,
  }
  local text = 'return { envctl = 1, commands = { seed = { run = function(ctx, host)\n' .. body .. '\nend } } }'
  local ok, result = pcall(support.with, text, function(session)
    return session:run_command('seed', { args = {} }, host)
  end, { trusted = true })
  local after = opts.after and opts.after(root)
  return ok and result or result.message, printed, after
end

function M.test_run()
  lu.assertEquals(run 'local r = host.run { "sh", "-c", "exit 7" } return r.code', 7)
  local code, printed = run [[
    local r = host.run { "sh", "-c", "pwd; echo $A $B; echo err >&2; cat", cwd = "sub", env = { B = "inner" } }
    host.print(r.stdout, r.stderr, r.code, r.signal)]]
  lu.assertEquals(code, 0)
  lu.assertStrMatches(printed[1], '/.*/repo/sub\nouter inner\n\terr\n\t0\tnil')
  code = run 'local r = host.run { "sh", "-c", "kill -9 $$" } return r.code == nil and r.signal == "KILL" and 5 or 1'
  lu.assertEquals(code, 5)
  code = run 'local r = host.run { "sh", "-c", "echo ${LD_PRELOAD-none}" } return r.stdout == "none\\n" and 5 or 1'
  lu.assertEquals(code, 5)
  code = run 'local r = host.run { "printf", "a\\\\377b" } return r.stdout == "a\u{FFFD}b" and 5 or 1'
  lu.assertEquals(code, 5)
  code = run 'local r = host.run { "sh", "-c", "yes | head -c 3000000" } return #r.stdout == 1 << 20 and 5 or 1'
  lu.assertEquals(code, 5)
end

function M.test_a_killed_program_is_no_success()
  local killed = 'local r = host.run { "sh", "-c", "kill -9 $$" } '
  lu.assertEquals(run(killed .. 'return r.code'), '.envctl.lua:1: commands.seed: expected an exit code 0..255, got nil')
  lu.assertEquals(run(killed .. 'return r.code or 1'), 1)
  lu.assertEquals(run(killed .. 'return host.print(r.signal)'), 0) -- returns nothing
end

function M.test_wrong_runs()
  local at = '.envctl.lua:2: commands.seed: host.run: '
  lu.assertEquals(run 'host.run "make"', at .. 'expected a command such as { "make", "seed" }')
  lu.assertEquals(run 'host.run {}', at .. 'expected a command such as { "make", "seed" }')
  lu.assertEquals(run 'host.run { "x", dir = "y" }', at .. 'unknown key "dir"; known: cwd, env, timeout_ms')
  lu.assertEquals(run 'host.run { "x", {} }', at .. 'expected a word, got an empty table')
  lu.assertEquals(run 'host.run { "true", cwd = "../.." }', at .. '"../.." leaves the project')
  lu.assertEquals(run 'host.run { "true", cwd = "/tmp" }', at .. '"/tmp" leaves the project')
  lu.assertEquals(run 'host.run { "true", timeout_ms = 0 }', at .. 'timeout_ms: expected a positive integer')
  lu.assertEquals(run 'host.run { "true", env = { ["A B"] = "1" } }', at .. 'env: expected texts by name')
  lu.assertStrContains(run 'host.run { "surely-not-there" }', at .. 'surely-not-there: ')
  lu.assertEquals(run 'host.run { "sleep", "60", timeout_ms = 50 }', at .. 'sleep: took longer than 0.05 s')
end

-- What a command leaves running is ended with it when it is too late.
function M.test_timeout_ends_the_whole_session()
  local before = sys.mono_ms()
  local message, _, left = run('host.run { "sh", "-c", "sleep 61.7 & wait", timeout_ms = 200 }', {
    after = function()
      local deadline = sys.mono_ms() + 5000
      local found
      repeat
        found = false
        for _, e in ipairs(fs.list '/proc') do
          local pid = math.tointeger(tonumber(e.name))
          local argv = pid and require('envctl.host.procfs').cmdline(pid)
          found = found or (argv ~= nil and argv[2] == '61.7')
        end
        if found then
          task.main(task.sleep, 10)
        end
      until not found or sys.mono_ms() > deadline
      return found
    end,
  })
  lu.assertStrContains(message, 'took longer than 0.2 s')
  lu.assertFalse(left)
  lu.assertTrue(sys.mono_ms() - before < 20000)
end

function M.test_read_and_write()
  local code, printed, after = run([[
    host.print(host.read('sub/file.txt'), host.read('none.txt'))
    host.write('new/deep/file.txt', 'written')
    host.write('sub/file.txt', 'changed')]], {
    after = function(root)
      return { fs.read(root .. '/new/deep/file.txt'), fs.read(root .. '/sub/file.txt'), fs.stat(root .. '/sub/file.txt').mode }
    end,
  })
  lu.assertEquals(code, 0)
  lu.assertEquals(printed, { 'text\n\tnil' })
  lu.assertEquals(after, { 'written', 'changed', 420 })
end

function M.test_files_stay_in_the_project()
  local at = '.envctl.lua:2: commands.seed: '
  local cases = {
    { 'host.read "../outside.txt"', 'host.read: "../outside.txt" leaves the project' },
    { 'host.read "/etc/passwd"', 'host.read: "/etc/passwd" leaves the project' },
    { 'host.read "link"', 'host.read: "link" leaves the project' },
    { 'host.read "up/outside.txt"', 'host.read: "up/outside.txt" leaves the project' },
    { 'host.read(1)', 'host.read: expected a path, got 1' },
    { 'host.write("../x", "y")', 'host.write: "../x" leaves the project' },
    { 'host.write("up/x", "y")', 'host.write: "up/x" leaves the project' },
    { 'host.write(".git/hooks/post-checkout", "y")', 'host.write: .git is left alone' },
    { 'host.write("sub", "y")', 'host.write: "sub" is a directory' },
    { 'host.write(".", "y")', 'host.write: "." is the project itself' },
    { 'host.write("x", {})', 'host.write: expected a text, got an empty table' },
    { 'host.http_get "http://example.com:80/"', 'host.http_get: expected http://localhost:PORT/…, got "http://example.com:80/"' },
    { 'host.http_get "http://169.254.169.254:80/"', 'host.http_get: expected http://localhost:PORT/…, got "http://169.254.169.254:80/"' },
    { 'host.http_get "https://localhost:1/"', 'host.http_get: expected http://localhost:PORT/…, got "https://localhost:1/"' },
    { 'host.http_get "http://localhost:1/a b"', 'host.http_get: expected http://localhost:PORT/…, got "http://localhost:1/a b"' },
    { 'host.http_get "http://localhost:99999/"', 'host.http_get: expected http://localhost:PORT/…, got "http://localhost:99999/"' },
    { 'host.print({})', 'host.print: expected texts, got a table' },
    { 'host.ask "really?"', 'host.ask: nobody can be asked here; give a default' },
  }
  for _, case in ipairs(cases) do
    local message, _, outside = run(case[1], {
      after = function(root)
        return fs.read(root .. '/../outside.txt') == 'secret' and not fs.lstat(root .. '/../x')
      end,
    })
    lu.assertEquals(message, at .. case[2])
    lu.assertTrue(outside, case[1])
  end
  lu.assertEquals(run 'return host.ask("really?", "yes") == "yes" and 5 or 1', 5)
end

-- A link in the place of a file that is written is replaced, not followed.
function M.test_write_does_not_follow_a_link()
  local code, _, after = run('host.write("link", "mine")', {
    after = function(root)
      return { fs.read(root .. '/../outside.txt'), fs.lstat(root .. '/link').type }
    end,
  })
  lu.assertEquals(code, 0)
  lu.assertEquals(after, { 'secret', 'file' })
end

function M.test_http_get_of_nobody()
  local code, printed = run 'local r = host.http_get("http://127.0.0.1:1/") host.print(r.status, type(r.error))'
  lu.assertEquals(code, 0)
  lu.assertEquals(printed, { 'nil\tstring' })
end

return M
