--- Names of a service in its different places. The display name is the key in run_state.json and is never parsed back.
local M = {}

--- "Main Backend": project, then the service with its first letter in upper case.
---@param project string
---@param service string
---@return string
function M.display(project, service)
  return project .. ' ' .. service:sub(1, 1):upper() .. service:sub(2)
end

--- "Main/backend": the way messages and `where` name it.
function M.short(project, service)
  return project .. '/' .. service
end

--- A file or cgroup name: everything but letters, digits, dot, dash and underscore becomes '_'. When that changed or cut
--- anything, a piece of the hash keeps different names different.
---@param text string
---@return string
function M.file(text)
  local safe = text:gsub('[^%w%.%-_]', '_'):gsub('^%.', '_'):sub(1, 80)
  if safe ~= text and safe ~= text:gsub('[ /]', '_') then
    safe = safe .. '-' .. require('envctl.host.hash').sha256(text):sub(1, 8)
  end
  return safe
end

--- The beginning of the file names of a service: "Main_backend". Where the service's own name has a '_', a piece of the hash
--- says where the project ends.
---@param project string
---@param service string
---@return string
function M.service_file(project, service)
  local file = M.file(project .. '_' .. service)
  if service:find('_', 1, true) then
    file = file .. '-' .. require('envctl.host.hash').sha256(M.short(project, service)):sub(1, 8)
  end
  return file
end

return M
