local lu = require 'luaunit'
local targets = require 'envctl.cli.targets'
local suggest = require 'envctl.util.suggest'
local fixture = require 'fixture'

local M = {}

local RECORDS = {
  { name = 'Main Backend', project = 'Main', service = 'backend' },
  { name = 'Main Frontend', project = 'Main', service = 'frontend' },
  { name = 'checkout-1 Backend', project = 'checkout-1', service = 'backend' },
  { name = 'checkout-2 Backend', project = 'checkout-2', service = 'backend', plan = { groups = { 'App', 'api' } } },
}

local function route(fields)
  return {
    projects = fields.projects or {}, services = fields.services or {}, args = fields.args or {}, flags = { all = fields.all },
  }
end

-- What is given -> what is selected.
local CASES = {
  { {}, { 'Main Backend', 'Main Frontend', 'checkout-1 Backend', 'checkout-2 Backend' } },
  { { projects = { 'Main' } }, { 'Main Backend', 'Main Frontend' } },
  { { projects = { 'MAIN' } }, { 'Main Backend', 'Main Frontend' } },
  { { projects = { 'mai' } }, { 'Main Backend', 'Main Frontend' } },
  { { args = { 'checkout-1' } }, { 'checkout-1 Backend' } },
  { { args = { 'checkout/1' } }, { 'checkout-1 Backend' } }, -- a branch of that name
  { { args = { 'checkout-1' }, projects = { 'main' } }, { 'Main Backend', 'Main Frontend', 'checkout-1 Backend' } },
  { { services = { 'frontend' } }, { 'Main Frontend' } },
  { { services = { 'backend' } }, { 'Main Backend', 'checkout-1 Backend', 'checkout-2 Backend' } },
  { { services = { 'front' } }, { 'Main Frontend' } },
  { { services = { 'Main Backend' } }, { 'Main Backend' } },
  { { services = { 'main backend' } }, { 'Main Backend' } },
  { { services = { 'backend' }, projects = { 'Main' } }, { 'Main Backend' } },
  { { args = { 'main frontend' } }, { 'Main Frontend' } },
  { { services = { 'app' } }, { 'checkout-2 Backend' } }, -- a group
  { { services = { 'frontend', 'checkout-1 Backend' } }, { 'Main Frontend', 'checkout-1 Backend' } },
}

function M.test_services()
  for i, case in ipairs(CASES) do
    lu.assertEquals(targets.services(route(case[1]), RECORDS), case[2], 'case ' .. i)
  end
end

local ERRORS = {
  { { services = { 'backnd' } }, 'unknown_target', 'backend' },
  { { services = { 'checkout' } }, 'ambiguous_target', 'checkout-1 Backend' },
  { { projects = { 'checkout' } }, 'ambiguous_target', 'checkout-1' },
  { { projects = { 'nope' } }, 'requested_project_not_running', 'Main' },
  { { args = { 'nope' } }, 'requested_project_not_running', 'checkout-2' },
  { { services = { 'frontend' }, projects = { 'checkout-1' } }, 'unknown_target', 'backend' },
  { { services = { 'frontend', 'nope' } }, 'unknown_target', 'nope' },
}

function M.test_nothing_is_selected_when_one_name_is_wrong()
  for i, case in ipairs(ERRORS) do
    local e = fixture.error_of(targets.services, route(case[1]), RECORDS)
    lu.assertEquals(e.code, case[2], 'case ' .. i)
    lu.assertStrContains(e.message .. ' ' .. tostring(e.hint) .. ' ' .. table.concat(e.data.candidates, ' '), case[3])
  end
end

function M.test_projects()
  local list = { { name = 'feature-a' }, { name = 'feature-b' }, { name = 'Feature-C' } }
  local function names(fields)
    local out = {}
    for i, p in ipairs((targets.projects(route(fields), list))) do
      out[i] = p.name
    end
    return out
  end
  lu.assertEquals(names { projects = { 'feature-b', 'FEATURE-A' } }, { 'feature-a', 'feature-b' })
  lu.assertEquals(names { args = { 'feature-c' } }, { 'Feature-C' })
  lu.assertEquals(names { all = true }, { 'feature-a', 'feature-b', 'Feature-C' })
  lu.assertEquals(names {}, {})
  local e = fixture.error_of(targets.projects, route { projects = { 'fature-a' } }, list)
  lu.assertStrContains(e.hint, 'did you mean feature-a?')
  lu.assertEquals(fixture.error_of(targets.projects, route { projects = { 'feat' } }, list).code, 'ambiguous_target')
end

function M.test_suggestions()
  for word, wanted in pairs {
    strat = 'start', ['stpo-all'] = 'stop-all', explainstartup = 'explain-startup', xyz = false, lst = false,
    ['show-confg'] = 'show-config', explain = 'explain-startup', RESTART = 'restart', ['stop_all'] = 'stop-all',
  } do
    local names = { 'start', 'stop', 'stop-all', 'restart', 'explain-startup', 'show-config', 'list-trees' }
    lu.assertEquals(suggest.nearest(word, names) or false, wanted, word)
  end
  lu.assertEquals(suggest.distance('abc', 'acb', 3), 1)
  lu.assertEquals(suggest.distance('kitten', 'sitting', 5), 3)
  lu.assertEquals(suggest.distance('a', 'abcdef', 2), 3)
end

return M
