--- migrate-hooks: the two hooks of an old `.envctl.sh` become a `.envctl.lua`. The old file is never touched, and what is there
--- already is kept.
local fs = require 'envctl.host.fs'
local err = require 'envctl.err'
local json = require 'envctl.util.json'

local M = {}

local FROM, TO, PYTHON = '.envctl.sh', '.envctl.lua', '.envctl_hooks.py'
local MAX_BYTES = 1 << 20

local function report(ctx, fields, lines)
  if ctx.out.is_json then
    fields.schema, fields.ok, fields.command = 'envctl.migrate_hooks.v1', true, 'migrate-hooks'
    ctx.out.json(fields)
  else
    ctx.out.text(table.concat(lines, '\n'))
  end
  return 0
end

-- Moves a file that is in the way aside. The new name.
local function set_aside(file)
  local n, aside = 1, file .. '.old'
  while fs.lstat(aside) do
    n = n + 1
    aside = file .. '.old' .. n
  end
  err.check(fs.rename(file, aside))
  return aside
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local migrate = require 'envctl.script.migrate'
  local root, flags = ctx.roots.root, ctx.route.flags
  local target = root .. '/' .. TO
  local text, message, code = fs.read(root .. '/' .. FROM, { max = MAX_BYTES })
  if not text and code ~= 'ENOENT' then
    err.raise('unreadable', 'cannot read ' .. FROM .. ': ' .. message, { where = root .. '/' .. FROM })
  end
  local hooks = migrate.find(text or '')
  local found, todo, notes = json.array {}, json.array {}, json.array {}
  for i, hook in ipairs(hooks) do
    found[i] = hook.name
    if not hook.data then
      todo[#todo + 1] = hook.name
    end
  end
  if fs.lstat(root .. '/' .. PYTHON) then
    notes[1] = PYTHON .. ' is there as well: Python code cannot be carried over, so say the same in ' .. TO .. '.'
  end
  local fields = { found = found, todo = todo, notes = notes, written = json.null, set_aside = json.null }
  if #hooks == 0 then
    fields.text = migrate.starter()
    return report(ctx, fields, {
      'No legacy shell hook functions were found.', table.concat(notes, '\n') .. (notes[1] and '\n' or ''),
      'A starting point for ' .. TO .. ':', (fields.text:gsub('\n$', '')),
    })
  end
  fields.text = migrate.text(hooks, FROM)
  if flags.dry_run then
    return report(ctx, fields, { (fields.text:gsub('\n$', '')) })
  end
  local lines = {}
  if fs.lstat(target) then
    if not flags.force then
      err.raise('path_occupied', TO .. ' already exists', {
        hint = '--dry-run prints what would be written; --force sets yours aside and writes it', where = target,
      })
    end
    fields.set_aside = set_aside(target)
    lines[1] = 'What was there is ' .. fields.set_aside .. ' now.'
  end
  err.check(fs.write_atomic(target, fields.text, { mode = 420 }))
  fields.written = target
  lines[#lines + 1] = 'Wrote ' .. target
  lines[#lines + 1] = 'Migrated hooks: ' .. table.concat(found, ', ')
  if #todo > 0 then
    lines[#lines + 1] = 'There is shell code in comments, for you to say in other words: ' .. table.concat(todo, ', ')
  end
  table.move(notes, 1, #notes, #lines + 1, lines)
  lines[#lines + 1] = 'Next: read it, `envctl script check`, `envctl script trust`. ' .. FROM .. ' is left as it is.'
  return report(ctx, fields, lines)
end

return M
