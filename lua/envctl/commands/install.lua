--- install and uninstall: three lines in the start file of the shell that put envctl's directory on the PATH.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local err = require 'envctl.err'
local path = require 'envctl.util.path'

local M = {}

local START, STOP = '# >>> envctl PATH >>>', '# <<< envctl PATH <<<'

--- The start file of the user's shell.
---@param shell string? $SHELL
---@param home string
---@param exists fun(path: string): boolean
---@return string
function M.shell_file(shell, home, exists)
  local name = path.base(shell or '')
  if name == 'zsh' then
    return home .. '/.zshrc'
  elseif name == 'bash' then
    if exists(home .. '/.bash_profile') and not exists(home .. '/.bashrc') then
      return home .. '/.bash_profile'
    end
    return home .. '/.bashrc'
  end
  return home .. '/.profile'
end

local function export_line(dir, home)
  local below = path.below(dir, home)
  local text = below and (below == '' and '$HOME' or '$HOME/' .. below) or dir
  -- Inside of double quotes; the leading $HOME is ours.
  local escaped = text:gsub('^%$HOME', ''):gsub('[\\"`$]', '\\%0')
  return 'export PATH="' .. (below and '$HOME' or '') .. escaped .. ':$PATH"'
end

local function is_marker(line, marker)
  return line:match '^%s*(.-)%s*$' == marker
end

--- New text of a start file. Everything outside of the block stays byte for byte; an outdated block is refreshed.
---@param text string
---@param line string? the export line, nil to take the block out
---@return string
function M.edit(text, line)
  local newline = text:find '\r\n' and '\r\n' or '\n'
  local block = line and table.concat({ START, line, STOP }, newline) .. newline or ''
  local out, at, inside, done = {}, 1, nil, false
  while at <= #text do
    local stop = text:find('\n', at, true) or #text
    local raw = text:sub(at, stop)
    if not inside and is_marker(raw, START) and text:find(STOP, stop, true) then
      inside = #out
      if not done then
        out[#out + 1] = block
      end
      done = true
    elseif inside and is_marker(raw, STOP) then
      inside = nil
    elseif not inside then
      out[#out + 1] = raw
    end
    at = stop + 1
  end
  local result = table.concat(out)
  if line and not done then
    if result ~= '' and result:sub(-1) ~= '\n' then
      result = result .. newline
    end
    result = result .. (result ~= '' and newline or '') .. block
  elseif not line and done then
    -- The blank line that install put in front goes with the block when it is the last one.
    result = result:gsub('\r?\n\r?\n$', newline)
  end
  return result
end

local function read(file)
  local text, message, code = fs.read(file)
  if not text and code ~= 'ENOENT' then
    err.raise('io_error', message, { hint = 'choose another file with --shell-file', data = { errno = code } })
  end
  return text
end

local function target_file(ctx, home)
  local wanted = ctx.route.flags.shell_file
  if wanted then
    return path.absolute(wanted, sys.cwd() or '/', home)
  end
  return M.shell_file(sys.getenv 'SHELL', home, function(name)
    return fs.stat(name) ~= nil
  end)
end

local function report(ctx, verb, file, diff, changed)
  local dry = ctx.route.flags.dry_run == true
  if ctx.out.is_json then
    local json = require 'envctl.util.json'
    ctx.out.json {
      schema = 'envctl.' .. ctx.route.command .. '.v1', ok = true, path = file, changed = changed, dry_run = dry,
      diff = json.array(diff),
    }
    return
  end
  if not changed then
    ctx.out.text('Nothing to do: ' .. file .. (verb == 'install' and ' has the block already' or ' has no block'))
    return
  end
  if dry then
    ctx.out.text('Would change ' .. file)
    for _, line in ipairs(diff) do
      ctx.out.text(line)
    end
  elseif verb == 'install' then
    ctx.out.text('Added envctl to the PATH in ' .. file .. '; open a new shell, or run: . ' .. file)
  else
    ctx.out.text('Took envctl out of ' .. file)
  end
end

--- Runs either of both.
---@param ctx envctl.Context
---@param verb 'install'|'uninstall'
---@return integer exit code
function M.apply(ctx, verb)
  local home = sys.home()
  if not home then
    err.raise('home_missing', 'the home directory is not known', { hint = 'set HOME, or use --shell-file' })
  end
  local file = target_file(ctx, home)
  local before = read(file)
  local line = verb == 'install' and export_line(path.parent(sys.exe), home) or nil
  local after = M.edit(before or '', line)
  local changed = after ~= (before or '')
  if changed and not ctx.route.flags.dry_run then
    err.check(fs.mkdirs(path.parent(file), 493))
    require('envctl.config.save').write(file, after)
  end
  report(ctx, verb, file, require('envctl.util.diff').lines(before or '', after), changed)
  return 0
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  return M.apply(ctx, 'install')
end

return M
