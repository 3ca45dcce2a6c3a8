--- install-prompts: writes our prompts into the command directories of coding agents. Needs no repository.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local json = require 'envctl.util.json'
local prompts = require 'envctl.prompts'
local path = require 'envctl.util.path'

local M = {}

local CLIS = { 'codex', 'claude', 'opencode' }

local function absolute(value)
  return value and value:sub(1, 1) == '/' and value or nil
end

local function directory(cli, home)
  if cli == 'codex' then
    return (absolute(sys.getenv 'CODEX_HOME') or home .. '/.codex') .. '/prompts'
  elseif cli == 'claude' then
    return (absolute(sys.getenv 'CLAUDE_CONFIG_DIR') or home .. '/.claude') .. '/commands'
  end
  return (absolute(sys.getenv 'XDG_CONFIG_HOME') or home .. '/.config') .. '/opencode/commands'
end

--- A stamp for names of backups: digits of the time in UTC.
local function stamp()
  return (sys.iso_time(sys.wall_ms()):gsub('%.%d+Z$', ''):gsub('[-:]', ''):gsub('T', '-'))
end

-- Not ending in .md, so that no agent takes the backup for a command; never over an older backup.
local function backup_path(file)
  local base = file .. '.bak-' .. stamp()
  local name, n = base, 1
  while fs.lstat(name) do
    n = n + 1
    name = base .. '-' .. n
  end
  return name
end

local function write(file, text, now, result)
  local ok, message = fs.mkdirs(path.parent(file), 493)
  if ok and now then
    -- The old text is safe under its new name before anything happens to the file.
    ok, message = fs.write_atomic(result.backup_path, now, { mode = 420 })
  end
  if ok then
    ok, message = fs.write_atomic(file, text, { mode = 420 })
  end
  if not ok then
    result.status, result.message, result.backup_path = 'failed', message, json.null
  end
end

local function install(cli, preset, home, dry_run)
  local file = directory(cli, home) .. '/' .. preset .. '.md'
  local text = prompts.text(preset)
  local now, message, code = fs.read(file)
  local result = { cli = cli, preset = preset, path = file, backup_path = json.null }
  if not now and code ~= 'ENOENT' and code ~= 'ENOTDIR' then
    result.status, result.message = 'failed', message
    return result
  elseif now == text then
    result.status, result.message = 'unchanged', preset .. ' for ' .. cli .. ' is there already'
    return result
  end
  if now then
    result.backup_path = backup_path(file)
  end
  if dry_run then
    result.status, result.message = 'planned', 'Would install ' .. preset .. ' for ' .. cli
    return result
  end
  result.status = now and 'overwritten' or 'written'
  result.message = 'Installed ' .. preset .. ' for ' .. cli
  write(file, text, now, result)
  return result
end

local function failed(cli, message)
  return { cli = cli, path = '', status = 'failed', backup_path = json.null, message = message }
end

local function words(text)
  local out, seen = {}, {}
  for word in (text or ''):gmatch '[^,]+' do
    word = word:match '^%s*(.-)%s*$':lower()
    if word ~= '' and not seen[word] then
      seen[word] = true
      out[#out + 1] = word
    end
  end
  return out
end

-- The agents that are meant; what is no agent becomes a failure.
local function agents(text, results)
  if not text then
    results[1] = failed('', 'Missing required --cli (codex, claude, opencode or all)')
    return {}
  end
  local known, out = {}, {}
  for _, cli in ipairs(CLIS) do
    known[cli] = true
  end
  local list = words(text)
  for _, word in ipairs(list) do
    if word == 'all' then
      return CLIS
    end
  end
  for _, word in ipairs(list) do
    if known[word] then
      out[#out + 1] = word
    else
      local near = require('envctl.util.suggest').nearest(word, CLIS)
      results[#results + 1] = failed(word, 'Unsupported CLI target: ' .. word
        .. (near and ' (did you mean ' .. near .. '?)' or ''))
    end
  end
  if #list == 0 then
    results[#results + 1] = failed('', 'No valid CLI targets were provided')
  end
  return out
end

-- The presets that are meant, and the name to report.
local function presets(ctx, results)
  local args = ctx.route.args
  if #args > 1 then
    results[1] = failed('', 'Unexpected extra arguments for install-prompts: ' .. table.concat(args, ', ', 2))
    return {}, ''
  end
  local name = ctx.route.flags.preset or args[1] or 'implement_task'
  if name == 'all' then
    return prompts.names, name
  end
  name = prompts.aliases[name] or name
  for _, known in ipairs(prompts.names) do
    if known == name then
      return { name }, name
    end
  end
  results[#results + 1] = failed('*', 'Unsupported preset: ' .. name .. '. Available presets: all, '
    .. table.concat(prompts.names, ', '))
  return {}, name
end

local function list(ctx)
  if ctx.out.is_json then
    ctx.out.json { schema = 'envctl.install_prompts.v1', ok = true, presets = json.array(prompts.names) }
  else
    for _, name in ipairs(prompts.names) do
      ctx.out.text(name)
    end
  end
  return 0
end

-- What a script that only knows errors looks for.
local function first_failure(results)
  for _, r in ipairs(results) do
    if r.status == 'failed' then
      return { code = 'prompts_failed', message = r.message, hint = json.null, where = json.null }
    end
  end
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  if ctx.route.flags.list then
    return list(ctx)
  end
  local results = json.array {}
  local home, dry_run = sys.home(), ctx.route.flags.dry_run == true
  local chosen, label = presets(ctx, results)
  for _, cli in ipairs(#results == 0 and agents(ctx.route.flags.cli, results) or {}) do
    for _, preset in ipairs(chosen) do
      results[#results + 1] = home and install(cli, preset, home, dry_run)
        or failed(cli, 'the home directory is not known')
    end
  end
  local ok = true
  for _, r in ipairs(results) do
    ok = ok and r.status ~= 'failed'
  end
  if ctx.out.is_json then
    ctx.out.json {
      schema = 'envctl.install_prompts.v1', ok = ok, command = 'install-prompts', preset = label, dry_run = dry_run,
      results = results, error = not ok and first_failure(results) or nil,
    }
    return ok and 0 or 1
  end
  for _, r in ipairs(results) do
    local line = (r.cli ~= '' and r.cli or 'install-prompts') .. ': ' .. r.status
    line = line .. (r.path ~= '' and ' ' .. r.path or '')
    if r.backup_path ~= json.null then
      line = line .. ' (backup: ' .. r.backup_path .. ')'
    end
    local put = r.status == 'failed' and ctx.out.note or ctx.out.text
    put(line .. ' - ' .. r.message)
  end
  return ok and 0 or 1
end

return M
