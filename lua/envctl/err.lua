--- Structured errors. Policy code raises one kind of error object; one place (envctl.main) prints it.
--- What happens in the world comes from host modules as nil, message, code; err.check turns that into a raise.
local M = {}

---@class envctl.Err
---@field code string stable snake_case word (spec: machine interface)
---@field message string one line, names the thing; lower case, no full stop
---@field hint string? what to do next
---@field where string? file:line, project/service, or nil
---@field data table? more fields for --json (merged into the error object)
---@field exit integer? exit code, default 1
---@field traceback string? only for internal errors
local Err = {}
Err.__index = Err
Err.__name = 'envctl.Err'

function Err:__tostring()
  return self.message
end

-- What to do about a disk that refuses writing is the same wherever it is met.
local DISK_HINT = 'free some space, or set RUN_SH_RUNTIME_DIR to a directory that can be written'
--- Codes of the kernel with which a disk refuses writing.
M.DISK = { ENOSPC = true, EDQUOT = true, EROFS = true }

--- Makes an error object without raising it.
---@param code string
---@param message string
---@param opts? {hint: string?, where: string?, data: table?, exit: integer?, cause: any}
---@return envctl.Err
function M.new(code, message, opts)
  opts = opts or {}
  return setmetatable({
    code = code,
    message = message,
    hint = opts.hint or (opts.data and M.DISK[opts.data.errno] and DISK_HINT) or nil,
    where = opts.where,
    data = opts.data,
    exit = opts.exit,
    cause = opts.cause,
  }, Err)
end

--- Raises a structured error.
---@param code string
---@param message string
---@param opts? table as for new
function M.raise(code, message, opts)
  error(M.new(code, message, opts), 0)
end

---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == Err
end

--- Passes a host result through, or raises: err.check(fs.read(path)) or err.check(fs.read(path), 'state_unreadable').
---@param code string? code of ours; default 'io_error'
function M.check(result, message, host_code, code, opts)
  if result == nil then
    local o = opts or {}
    o.data = o.data or { errno = host_code }
    M.raise(code or 'io_error', tostring(message), o)
  end
  return result, message, host_code
end

--- Anything a pcall caught, as a structured error. A Lua error string becomes code 'internal'.
---@param value any
---@param traceback string?
---@return envctl.Err
function M.wrap(value, traceback)
  if M.is(value) then
    return value
  end
  local e = M.new('internal', 'internal error: ' .. tostring(value), {
    hint = 'this is a bug in envctl; please report it with the text above',
  })
  e.traceback = traceback
  return e
end

--- The single failures that an error is about, as plain tables: those that were joined, else itself.
---@param e envctl.Err
---@param null any the JSON null
---@return table[]
function M.parts(e, null)
  return e.data and e.data.failures or { M.to_table(e, null) }
end

--- Several failures as one error: the first of them, with all of them in its data, and where to read about the others in its hint.
---@param failures envctl.Err[] at least one; some may be joined already
---@param null any the JSON null
---@return envctl.Err
function M.join(failures, null)
  local first, list = failures[1], require('envctl.util.json').array {}
  for i, e in ipairs(failures) do
    for _, part in ipairs(M.parts(e, null)) do
      list[#list + 1] = part
      if i > 1 then
        local log = type(part.log_path) == 'string' and '; whole log: ' .. part.log_path or ''
        first.hint = (first.hint and first.hint .. '\n  ' or '') .. part.message .. log
      end
    end
  end
  if #list > 1 then
    first.data = first.data or {}
    first.data.failures = list
    first.message = string.format('%s (and %d more)', list[1].message, #list - 1)
  end
  return first
end

--- The error as the plain table of the JSON documents.
---@param e envctl.Err
---@param null any the JSON null
function M.to_table(e, null)
  local t = {}
  for k, v in pairs(e.data or {}) do
    t[k] = v
  end
  t.code, t.message = e.code, e.message
  t.hint = e.hint or null
  t.where = e.where or null
  return t
end

--- Rebuilds an error object from such a table (the keeper sends them over its socket).
function M.from_table(t)
  local data = {}
  for k, v in pairs(t) do
    if k ~= 'code' and k ~= 'message' and k ~= 'hint' and k ~= 'where' then
      data[k] = v
    end
  end
  local function str(v)
    return type(v) == 'string' and v or nil
  end
  return M.new(str(t.code) or 'internal', str(t.message) or 'unknown error', {
    hint = str(t.hint),
    where = str(t.where),
    data = next(data) and data or nil,
  })
end

return M
