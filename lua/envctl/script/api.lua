--- What `host` does for hooks and commands of trusted scripts. It runs in the parent; wrong use raises, and the script host turns
--- that into an error at the caller's line.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local task = require 'envctl.task'
local err = require 'envctl.err'
local json = require 'envctl.util.json'

local M = {}

local RUN_MS, MAX_OUTPUT, MAX_FILE, HTTP_MS = 60000, 1 << 20, 4 << 20, 5000

local function wrong(fmt, ...)
  err.raise('script_invalid', string.format(fmt, ...))
end

local function text_argument(value, name, what)
  if type(value) ~= 'string' or value:find('\0', 1, true) then
    wrong('host.%s: expected %s, got %s', name, what, require('envctl.script.schema').got(value))
  end
  return value
end

-- A path as scripts write it, below the project.
local function inside(path, name)
  text_argument(path, name, 'a path')
  local rel = require('envctl.detect.files').clean(path)
  if not rel then
    wrong('host.%s: "%s" leaves the project', name, path)
  end
  return rel
end

-- --- run --------------------------------------------------------------------------------------------------------------

local RUN_KEYS = { argv = true, cwd = true, env = true, timeout_ms = true }

local function check_run(spec)
  if type(spec) ~= 'table' or type(spec.argv) ~= 'table' or #spec.argv == 0 then
    wrong('host.run: expected a command such as { "make", "seed" }')
  end
  for key in pairs(spec) do
    if not RUN_KEYS[key] then
      wrong('host.run: unknown key "%s"; known: cwd, env, timeout_ms', tostring(key))
    end
  end
  for i, word in ipairs(spec.argv) do
    if math.type(word) == 'integer' then
      spec.argv[i] = string.format('%d', word)
    else
      text_argument(word, 'run', 'a word')
    end
  end
  if spec.timeout_ms ~= nil and (math.type(spec.timeout_ms) ~= 'integer' or spec.timeout_ms < 1) then
    wrong('host.run: timeout_ms: expected a positive integer')
  end
  for key, value in pairs(spec.env or {}) do
    local name = type(key) == 'string' and key:find('^[%a_][%w_]*$')
    if not name or type(value) ~= 'string' or value:find('\0', 1, true) then
      wrong('host.run: env: expected texts by name')
    end
  end
end

local function program(argv, cwd, env)
  local first = argv[1]
  if first:find('/', 1, true) and first:sub(1, 1) ~= '/' then
    first = cwd .. '/' .. first
  end
  local path, message = sys.which(first, { path = env.PATH or '' })
  if not path then
    wrong('host.run: %s: %s', argv[1], tostring(message):gsub('^.*: ', ''))
  end
  return path
end

-- Ends the command with everything that is in its session.
local function kill_session(process, identity)
  process:signal 'KILL'
  if identity then
    require('envctl.host.procfs').signal_members({ { leader = identity } }, 'KILL')
  end
end

local function collector(out, key)
  local size = 0
  return function(chunk)
    if chunk and size < MAX_OUTPUT then
      out[key][#out[key] + 1] = chunk:sub(1, MAX_OUTPUT - size)
      size = size + #chunk
    end
  end
end

local function spawn(argv, cwd, env, out, done)
  return require('envctl.host.proc').spawn {
    argv = argv, env = env, cwd = cwd, stdin = 'null', stdout = 'pipe', stderr = 'pipe',
    on_stdout = collector(out, 'stdout'), on_stderr = collector(out, 'stderr'),
    on_exec = function(ok, message)
      if not ok then
        out.failed = message
      end
    end,
    on_exit = done,
  }
end

-- A child that is ended together with the task that waits for it. It has a session of its own, where a Ctrl-C or a closed terminal
-- does not reach it: it is ended with us.
local function wait_for(argv, cwd, env, ms)
  local loop = require 'envctl.host.loop'
  local out = { stdout = {}, stderr = {} }
  local code, signal = task.await(function(resume)
    local handles, process, identity = {}, nil, nil
    local function close_handles()
      for _, handle in ipairs(handles) do
        handle:close()
      end
    end
    local function ends(why)
      return function()
        out[why] = true
        kill_session(process, identity)
      end
    end
    -- Before it runs: who sees it do something may interrupt us.
    for i, name in ipairs { 'INT', 'TERM', 'HUP' } do
      handles[i] = loop.signal(name, ends 'interrupted')
    end
    handles[#handles + 1] = loop.timer(ms, ends 'late')
    local message
    process, message = spawn(argv, cwd, env, out, function(...)
      close_handles()
      resume(...)
    end)
    if not process then
      close_handles()
      out.failed = message
      resume()
      return
    end
    identity, out.process = process:identity(), process
    return {
      close = function()
        close_handles()
        kill_session(process, identity)
        process:close()
      end,
    }
  end)
  if out.process then
    out.process:close()
  end
  return out, code, signal
end

-- What is no UTF-8 cannot travel to the script.
local function clean_text(parts)
  local text = table.concat(parts)
  local out, pos = {}, 1
  while true do
    local ok, bad = utf8.len(text, pos)
    if ok then
      out[#out + 1] = text:sub(pos)
      return table.concat(out)
    end
    out[#out + 1] = text:sub(pos, bad - 1) .. '\u{FFFD}'
    pos = bad + 1
    while pos <= #text and text:byte(pos) >= 0x80 and text:byte(pos) < 0xC0 do
      pos = pos + 1
    end
  end
end

local function run(opts)
  return function(spec)
    check_run(spec)
    local rel = spec.cwd and inside(spec.cwd, 'run') or ''
    local cwd = rel == '' and opts.root or opts.root .. '/' .. rel
    local env = require('envctl.keeper.child_env').clean(opts.env or sys.environ())
    for key, value in pairs(spec.env or {}) do
      env[key] = value
    end
    local argv = { program(spec.argv, cwd, env), table.unpack(spec.argv, 2) }
    local ms = spec.timeout_ms or RUN_MS
    local out, code, signal = wait_for(argv, cwd, env, ms)
    if out.interrupted then
      err.raise('interrupted', 'interrupted; ' .. spec.argv[1] .. ' was ended')
    elseif out.failed then
      wrong('host.run: %s: %s', spec.argv[1], out.failed)
    elseif out.late then
      wrong('host.run: %s: took longer than %g s', spec.argv[1], ms / 1000)
    end
    return {
      code = signal and json.null or code, signal = signal or json.null, stdout = clean_text(out.stdout),
      stderr = clean_text(out.stderr),
    }
  end
end

-- --- files ------------------------------------------------------------------------------------------------------------

local function read(opts)
  return function(path)
    local rel = inside(path, 'read')
    local text, why, code = require('envctl.host.confine').read(opts.root, rel, MAX_FILE)
    if text then
      return clean_text { text }
    elseif code == 'ENOENT' then
      return nil
    elseif code == 'EXDEV' or code == 'ELOOP' then
      wrong('host.read: "%s" leaves the project', path)
    end
    wrong('host.read: %s', tostring(why))
  end
end

-- The directory a file is written to, made when it is missing. A link must not lead out of the project.
local function parent_of(root, rel)
  local parent = rel:match('^(.*)/[^/]+$')
  if not parent then
    return root
  end
  local at = ''
  for part in parent:gmatch('[^/]+') do
    at = at == '' and part or at .. '/' .. part
    local stat = fs.stat(root .. '/' .. at)
    if not stat then
      err.check(fs.mkdirs(root .. '/' .. at, 493))
    end
    local real = fs.realpath(root .. '/' .. at)
    if not real or (real ~= root and real:sub(1, #root + 1) ~= root .. '/') then
      wrong('host.write: "%s" leaves the project', rel)
    end
  end
  return fs.realpath(root .. '/' .. parent)
end

local function write(opts)
  return function(path, text)
    local rel = inside(path, 'write')
    if type(text) ~= 'string' then
      wrong('host.write: expected a text, got %s', require('envctl.script.schema').got(text))
    elseif rel == '' then
      wrong('host.write: "%s" is the project itself', path)
    elseif rel == '.git' or rel:find('^%.git/') then
      wrong('host.write: .git is left alone')
    end
    local root = fs.realpath(opts.root) or opts.root
    local target = parent_of(root, rel) .. '/' .. rel:match('[^/]+$')
    local stat = fs.lstat(target)
    if stat and stat.type == 'dir' then
      wrong('host.write: "%s" is a directory', path)
    end
    local mode = stat and stat.type == 'file' and stat.mode & 511 or 420
    local ok, message = fs.write_atomic(target, text, { mode = mode })
    if not ok then
      wrong('host.write: %s', tostring(message))
    end
    return true
  end
end

-- --- the rest ---------------------------------------------------------------------------------------------------------

local LOOPBACK = { ['127.0.0.1'] = '127.0.0.1', localhost = '127.0.0.1', ['[::1]'] = '::1' }

local function http_get(url)
  text_argument(url, 'http_get', 'a URL')
  local host, port, path = url:match('^http://([^/:]+):(%d+)(.*)$')
  if not host then
    host, port, path = url:match('^http://(%[[^%]]+%]):(%d+)(.*)$')
  end
  local address = host and LOOPBACK[host]
  if not address or not tonumber(port) or tonumber(port) > 65535 or path:find('[%s%c]') then
    wrong('host.http_get: expected http://localhost:PORT/…, got %s', require('envctl.script.schema').got(url))
  end
  local status, body = task.await(function(resume)
    return require('envctl.host.net').http_get({
      host = address, port = math.tointeger(tonumber(port)), path = path == '' and '/' or path, timeout_ms = HTTP_MS,
      max_bytes = MAX_OUTPUT,
    }, resume)
  end)
  if not status then
    return { error = tostring(body) }
  end
  return { status = status, body = clean_text { body or '' } }
end

-- A line of text for somebody: what a script prints is cleaned where it meets a terminal.
local function line(name, sink)
  return function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do
      local v = parts[i]
      if type(v) == 'table' then
        wrong('host.%s: expected texts, got a table', name)
      end
      parts[i] = tostring(v)
    end
    if sink then
      sink(table.concat(parts, '\t', 1, parts.n))
    end
  end
end

local function ask(opts)
  return function(question, default)
    text_argument(question, 'ask', 'a question')
    if opts.ask then
      return opts.ask(question, default)
    elseif default ~= nil then
      return default
    end
    wrong('host.ask: nobody can be asked here; give a default')
  end
end

---@class envctl.script.HostOptions
---@field root string directory of the project
---@field env table<string, string>? environment of commands, default: ours
---@field print (fun(text: string))?
---@field log (fun(text: string))?
---@field progress (fun(text: string))?
---@field ask (fun(question: string, default: string?): string)?

--- The functions of `host`.
---@param opts envctl.script.HostOptions
---@return table<string, function>
function M.new(opts)
  return {
    run = run(opts),
    read = read(opts),
    write = write(opts),
    http_get = http_get,
    print = line('print', opts.print),
    log = line('log', opts.log),
    progress = line('progress', opts.progress),
    ask = ask(opts),
  }
end

--- The functions of `host` for a command on a terminal.
---@param ctx table
---@param root string
---@return table<string, function>
function M.for_terminal(ctx, root)
  local clean = require('envctl.ui.clean').text
  local may_ask = require('envctl.script.host').may_ask(ctx)
  local function lines(text, put)
    for one in (text:gsub('\n$', '') .. '\n'):gmatch('([^\n]*)\n') do
      put(sys.isatty(1) and clean(one) or one)
    end
  end
  return M.new {
    root = root,
    print = function(text)
      lines(text, ctx.out.text)
    end,
    log = function(text)
      ctx.out.note(clean(text))
    end,
    progress = function(text)
      ctx.out.note(clean(text))
    end,
    ask = may_ask and function(question, default)
      sys.write(2, clean(question) .. (default and ' [' .. clean(tostring(default)) .. ']' or '') .. ' ')
      local answer = sys.read_line()
      return (answer == nil or answer == '') and default or answer
    end or nil,
  }
end

return M
