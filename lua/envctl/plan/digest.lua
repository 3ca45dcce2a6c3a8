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

--- Digest of one service of a plan: what would have to be started again when it changes.
---@param service table
---@return string
function M.service(service)
  return M.of(without(service, NOT_THE_SERVICE))
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

--- The fields that M.service() looks at.
---@param service table
---@return table
function M.material(service)
  return without(service, NOT_THE_SERVICE)
end

return M
