-- The runs of a scope: their order, and which of them go.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local runs = require 'envctl.state.runs'
local support = require 'host_support'

local M = {}

function M.test_ids_sort_by_time()
  local ids = {}
  for i, at in ipairs { 1800000000000, 1800000000001, 1800000000999, 1800000001000, 1800000060000, 1900000000000 } do
    ids[i] = runs.new_id(at)
    lu.assertStrMatches(ids[i], '^run%-%d%d%d%d%d%d%d%d%d%d%d%d%d%d%-%x%x%x%x%x%x%x%x$')
    lu.assertTrue(i == 1 or ids[i - 1] < ids[i])
  end
end

M.test_prune = support.with_dir(function(dir)
  local paths, ids = { scope_dir = dir }, {}
  for i = 1, 9 do
    ids[i] = runs.new_id(1800000000000 + i * 1000)
    assert(fs.mkdirs(dir .. '/runs/' .. ids[i]))
    assert(fs.write_atomic(dir .. '/runs/' .. ids[i] .. '/log.txt', 'x\n'))
  end
  -- The first is the current one (the clock was set back), a service of the second and a database of the third still run.
  local doc = {
    run_id = ids[1],
    services = { ['Main Backend'] = { run_id = ids[2] } },
    requirements = { Main = { components = { postgres = { run_id = ids[3] } } } },
  }
  runs.prune(paths, 20, doc)
  lu.assertEquals(runs.list(paths), ids)
  runs.prune(paths, 4, doc)
  lu.assertEquals(runs.list(paths), { ids[1], ids[2], ids[3], ids[6], ids[7], ids[8], ids[9] })
  runs.prune(paths, 1, doc)
  lu.assertEquals(runs.list(paths), { ids[1], ids[2], ids[3], ids[9] })
end)

return M
