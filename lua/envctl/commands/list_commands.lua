--- list-commands: the commands of the Python engine and those of the repository's scripts, one a line; with --all ours as well.
local commands = require 'envctl.cli.commands'

local M = {}

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local names, more = commands.reference_names(), commands.additional_names()
  local custom, problem = require('envctl.script.host').custom_commands(ctx)
  if ctx.out.is_json then
    local json = require 'envctl.util.json'
    local details = json.array {}
    for i, c in ipairs(commands.list) do
      details[i] = {
        name = c.name, summary = c.summary, class = c.class, section = c.section, reference = c.reference == true,
        aliases = json.array(table.move(c.words, 1, #c.words, 1, {})),
      }
    end
    table.sort(details, function(a, b)
      return a.name < b.name
    end)
    ctx.out.json {
      schema = 'envctl.list_commands.v1', ok = true, commands = json.array(names), additional = json.array(more),
      details = details, custom = require('envctl.cli.help').custom_document(custom),
      warnings = require('envctl.cli.help').warnings(problem),
    }
    return 0
  end
  if ctx.route.flags.all then
    table.move(more, 1, #more, #names + 1, names)
    table.sort(names)
  end
  for _, c in ipairs(custom) do
    names[#names + 1] = c.name
  end
  for _, name in ipairs(names) do
    ctx.out.text(name)
  end
  if problem then
    ctx.out.note('envctl: ' .. problem.message)
  end
  return 0
end

return M
