--- Errors about scripts: "file:line: path: message", as structured errors. Pure.
local err = require 'envctl.err'
local marks = require 'envctl.script.marks'

local M = {}

M.BUNDLED = 'correct the script, or run with --bundled to leave scripts out'

--- The text of a problem.
---@param file string?
---@param line integer?
---@param path (string|integer)[]?
---@param message string
---@return string
function M.text(file, line, path, message)
  local parts = {}
  if file and file ~= '' then
    parts[1] = line and line > 0 and file .. ':' .. line or file
  end
  if path and #path > 0 then
    parts[#parts + 1] = marks.path(path)
  end
  parts[#parts + 1] = message
  return table.concat(parts, ': ')
end

--- An error object.
---@param p {file: string?, line: integer?, path: (string|integer)[]?, message: string, hint: string?, code: string?, data: table?}
---@return envctl.Err
function M.new(p)
  local where = p.file and p.file ~= '' and (p.line and p.line > 0 and p.file .. ':' .. p.line or p.file) or nil
  return err.new(p.code or 'script_invalid', M.text(p.file, p.line, p.path, p.message), {
    hint = p.hint or M.BUNDLED,
    where = where,
    data = p.data,
  })
end

---@class envctl.script.ChildProblem
---@field message string
---@field file string?
---@field line integer?
---@field path (string|integer)[]?
---@field hint string?
---@field limit string? 'cpu', 'memory', 'wall', 'answer'
---@field checked boolean the parent has said this already

--- What the script host said about a failure, read carefully: nothing in it is believed to have a shape.
---@param raw any
---@return envctl.script.ChildProblem
function M.from_child(raw)
  raw = type(raw) == 'table' and raw or { message = raw }
  local function text(v)
    return type(v) == 'string' and v:gsub('[%c\127]', ' '):sub(1, 4000) or nil
  end
  local path
  if type(raw.path) == 'table' then
    path = {}
    for i = 1, math.min(#raw.path, 100) do
      local part = raw.path[i]
      path[i] = math.type(part) == 'integer' and part or text(part) or '?'
    end
  end
  return {
    message = text(raw.message) or 'failed without a message',
    file = text(raw.file),
    line = math.type(raw.line) == 'integer' and raw.line > 0 and raw.line or nil,
    path = path,
    hint = text(raw.hint),
    limit = text(raw.limit),
    checked = raw.checked == true,
  }
end

return M
