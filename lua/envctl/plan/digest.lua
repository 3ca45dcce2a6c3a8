--- Digests of a plan and of its parts: what `explain-startup` showed, what `start` did, and what changed since. Pure.
local json = require 'envctl.util.json'

local M = {}

-- What tells about a service without being one: its place in the order, where values came from, and installs that were done.
-- A moved line in a source file must not restart anything.
local NOT_THE_SERVICE = {
  plan_digest = true, layer = true, origin = true, prepare = true, framework = true, manager = true, cwd = true,
}

local function without(value, omit)
  local copy = {}
  for k, v in pairs(value) do
    if not omit[k] then
      copy[k] = v
    end
  end
  return copy
end

--- "sha256:…" over the canonical one-line JSON.
---@param value any
---@return string
function M.of(value)
  return 'sha256:' .. require('envctl.host.hash').sha256(json.encode_line(value))
end

--- Digest of a plan, over everything but the digest itself.
---@param plan table
---@return string
function M.plan(plan)
  return M.of(without(plan, { digest = true }))
end

--- What makes a service of a plan the one it is: when any of it changes, it has to be started again.
---@param service table
---@return table
function M.service_material(service)
  return without(service, NOT_THE_SERVICE)
end

---@param service table
---@return string
function M.service(service)
  return M.of(M.service_material(service))
end

local DEPENDENCY = {
  'id', 'provider', 'engine', 'scope', 'ports', 'program', 'data', 'database', 'user', 'run_as', 'image', 'command',
  'secret_mark', 'env', 'container',
}

--- The same of a dependency.
---@param entry table
---@return table
function M.dependency_material(entry)
  local out = {}
  for _, key in ipairs(DEPENDENCY) do
    out[key] = entry[key] == nil and json.null or entry[key]
  end
  return out
end

---@param entry table
---@return string
function M.dependency(entry)
  return M.of(M.dependency_material(entry))
end

--- Sets all digests of a plan that somebody else than the planner had a hand in.
---@param plan table
function M.seal(plan)
  for _, project in ipairs(plan.projects or {}) do
    for _, service in ipairs(project.services or {}) do
      service.plan_digest = M.service(service)
    end
  end
  plan.digest = M.plan(plan)
end

return M
