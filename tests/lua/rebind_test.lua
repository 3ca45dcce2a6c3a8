local lu = require 'luaunit'
local rebind = require 'envctl.keeper.rebind'

local M = {}

local function project()
  return {
    name = 'Main', root = '/r', ports = { backend = 8000, frontend = 9000 },
    services = {
      { name = 'backend', port = 8000, env = { PORT = '8000' }, command = { 'run' } },
      {
        name = 'frontend', port = 9000,
        env = { PORT = '9000', API = 'http://localhost:8000/v1', OTHER = 'x' },
        command = { 'serve', '--api', 'http://localhost:8000' },
        templates = {
          env = { API = '${services.backend.url}/v1' },
          command = { 'serve', '--api', '${services.backend.url}' },
        },
      },
    },
  }
end

function M.test_only_who_speaks_of_it_depends()
  local p = project()
  lu.assertEquals(#rebind.dependents(p, 'backend'), 1)
  lu.assertEquals(rebind.dependents(p, 'backend')[1].name, 'frontend')
  lu.assertEquals(#rebind.dependents(p, 'frontend'), 0)
end

function M.test_refill_says_the_real_port()
  local p = project()
  rebind.refill(p, p.services[2], { backend = 8123 })
  lu.assertEquals(p.services[2].env, { PORT = '9000', API = 'http://localhost:8123/v1', OTHER = 'x' })
  lu.assertEquals(p.services[2].command, { 'serve', '--api', 'http://localhost:8123' })
end

return M
