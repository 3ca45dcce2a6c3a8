--- Questions on a terminal, one line each. They only ask; what an answer means is decided elsewhere.
local sys = require 'envctl.host.sys'
local clean = require('envctl.ui.clean').text

local M = {}

--- Yes or no; no is the default, and what the end of the input means.
---@param question string
---@return boolean
function M.yes(question)
  sys.write(1, question .. ' [y/N] ')
  local answer = (sys.read_line() or ''):lower()
  return answer == 'y' or answer == 'yes'
end

---@class envctl.ui.Choice
---@field name string
---@field note string? what to know about it
---@field marked boolean? part of what an empty line means

--- Shows a numbered list and asks until an answer is understood.
---@param title string
---@param choices envctl.ui.Choice[]
---@param question string
---@param understand fun(text: string): any?, string? what an answer means; nil and what is wrong with it
---@return any? chosen nil when nothing was: `q`, the end of the input, or an empty line when nothing is marked
function M.from(title, choices, question, understand)
  local width, default = 0, false
  for _, c in ipairs(choices) do
    width = math.max(width, utf8.len(clean(c.name)))
    default = default or c.marked == true
  end
  sys.write(1, title .. '\n')
  for i, c in ipairs(choices) do
    local name = clean(c.name)
    local note = c.note and string.rep(' ', width - utf8.len(name)) .. '  ' .. clean(c.note) or ''
    sys.write(1, string.format('%s %3d  %s%s\n', c.marked and '*' or ' ', i, name, note))
  end
  sys.write(1, question .. (default and ', Enter for those with *' or '') .. ', q for none\n')
  while true do
    sys.write(1, '> ')
    local text = (sys.read_line() or 'q'):match '^%s*(.-)%s*$'
    if text == 'q' or (text == '' and not default) then
      return nil
    end
    local chosen, why = understand(text)
    if chosen then
      return chosen
    end
    sys.write(1, clean(why) .. '\n')
  end
end

return M
