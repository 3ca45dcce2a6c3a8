--- help, --help, COMMAND --help
local commands = require 'envctl.cli.commands'

local M = {}

-- What is asked about: a command of envctl's, or one of the repository's scripts; neither means all.
local function about(words, custom, problem)
  if #words == 0 then
    return nil
  end
  local word = words[1]
  local command = commands.words[word] or commands.dashes[word]
  if not command then
    local names = {}
    for _, c in ipairs(commands.list) do
      names[#names + 1] = c.name
    end
    for _, c in ipairs(custom) do
      if c.name == word then
        return nil, c
      end
      names[#names + 1] = c.name
    end
    local near = require('envctl.util.suggest').nearest(word, names)
    require('envctl.err').raise('unknown_command', 'unknown command `' .. word .. '`', {
      hint = near and 'did you mean `' .. near .. '`?' or problem and problem.message .. '; ' .. (problem.hint or '')
        or 'see `envctl help`',
    })
  end
  return command
end

local function json_flags(list)
  local json = require 'envctl.util.json'
  local out = json.array {}
  for i, flag in ipairs(list) do
    out[i] = {
      names = json.array(table.move(flag.names, 1, #flag.names, 1, {})), help = flag.help, kind = flag.kind,
      value = flag.meta or json.null, default = flag.default or json.null,
    }
  end
  return out
end

local function document(command, custom, problem)
  local json = require 'envctl.util.json'
  local help = require 'envctl.cli.help'
  local list = json.array {}
  for _, c in ipairs(command and { command } or not custom.wanted and commands.list or {}) do
    list[#list + 1] = {
      name = c.name, summary = c.summary, usage = 'envctl ' .. c.usage, aliases = json.array(help.aliases(c)),
      examples = json.array(table.move(c.examples, 1, #c.examples, 1, {})), detail = c.detail or json.null,
      flags = json_flags(help.flags_of(c)), class = c.class,
    }
  end
  local shown = command and {} or custom.wanted and { custom.wanted } or custom.list
  return {
    schema = 'envctl.help.v1', ok = true, commands = list, global_flags = json_flags(help.global_flags()),
    custom = help.custom_document(shown), warnings = help.warnings(problem),
  }
end

---@param ctx envctl.Context
---@return integer exit code
function M.run(ctx)
  local word = ctx.route.args[1]
  local list, problem = {}, nil
  if not word or not (commands.words[word] or commands.dashes[word]) then
    list, problem = require('envctl.script.host').custom_commands(ctx)
  end
  local command, wanted = about(ctx.route.args, list, problem)
  if ctx.out.is_json then
    ctx.out.json(document(command, { list = list, wanted = wanted }, problem))
    return 0
  end
  local help = require 'envctl.cli.help'
  local lines = command and help.command(command) or wanted and help.custom(wanted) or help.overview(list, problem)
  ctx.out.text(table.concat(lines, '\n'))
  return 0
end

return M
