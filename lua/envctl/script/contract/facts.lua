--- Facts for the contract tests of a planner, and the example that `script check` shows it. Pure.
local M = {}

local function copy_into(out, with)
  for k, v in pairs(with or {}) do
    out[k] = v
  end
  return out
end

--- A service as detection finds it.
---@param name string
---@param base integer
---@param with table?
---@return table
function M.service(name, base, with)
  return copy_into({
    name = name, type = name, dir = name, command = { './' .. name, '--port', '${port}' }, shell = false,
    listens = true, env = { PORT = '${port}' }, ready = { kind = 'tcp', timeout_ms = 30000 }, needs = {},
    critical = true, restart = 'no', prepare = {}, port_base = base, origin = {},
  }, with)
end

---@param name string
---@param services table[]
---@param with table?
---@return table
function M.project(name, services, with)
  return copy_into({
    name = name, mode = 'main', root = '/repo', services = services, skipped = {}, problems = {}, warnings = {},
  }, with)
end

---@param with table?
---@return table
function M.config(with)
  return copy_into({
    startup_enabled = true, services = { backend = true, frontend = true }, dependencies = {},
    bases = {
      backend = { port = 8000 }, frontend = { port = 9000 }, postgres = { port = 5432 }, supabase = { port = 5432 },
      redis = { port = 6379 }, n8n = { port = 5678 },
    },
    spacing = 20, strategy = 'project_slot', parallel = { enabled = true, max = 4 },
  }, with)
end

--- Everything that a planner is given.
---@param with table?
---@return table
function M.facts(with)
  return copy_into({
    command = 'start', mode = 'main', headless = true, interactive_tty = false, implicit = true, scope_id = 'repo-1',
    control_root = '/repo', configured = true, config = M.config(), discovered = { { name = 'Main', root = '/repo' } },
    selection = { required = false, problems = {} }, ledger = {}, busy = {}, notices = {},
    truth = { services = {}, dependencies = {} },
    projects = { M.project('Main', { M.service('backend', 8000), M.service('frontend', 9000) }) },
  }, with)
end

M.sample = M.facts()

return M
