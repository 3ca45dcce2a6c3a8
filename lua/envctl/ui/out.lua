--- Where text goes: results to stdout, everything else to stderr. With --json stdout carries exactly one document. Names and
--- messages in it can come from anywhere, so here is the one place where text is cleaned; colours and moves of the cursor are
--- written by envctl.ui.progress.
local sys = require 'envctl.host.sys'
local clean = require('envctl.ui.clean').text

local M = {}

---@param json boolean
function M.new(json)
  local out = { is_json = json, wrote_json = false }

  --- A line of result text (not shown with --json).
  function out.text(line)
    if not json then
      sys.write(1, clean(line) .. '\n')
    end
  end

  --- A line about progress, a warning, a hint.
  function out.note(line)
    sys.write(2, clean(line) .. '\n')
  end

  --- The one document.
  function out.json(document)
    assert(not out.wrote_json, 'two JSON documents')
    out.wrote_json = true
    sys.write(1, require('envctl.util.json').encode(document))
  end

  return out
end

return M
