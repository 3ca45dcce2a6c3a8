-- Ports: the slot of a project, what it steps over, and what it says about it.
local lu = require 'luaunit'
local ports = require 'envctl.plan.ports'

local M = {}

local BASES = {
  backend = { port = 8000 }, frontend = { port = 9000 }, postgres = { port = 5432 }, supabase = { port = 5432 },
  redis = { port = 6379 }, n8n = { port = 5678 },
}

local function wants(extra)
  local list = {
    { id = 'backend', base = 8000, kind = 'service' },
    { id = 'frontend', base = 9000, kind = 'service' },
  }
  for _, w in ipairs(extra or {}) do
    list[#list + 1] = w
  end
  return list
end

local function facts(with)
  local f = {
    scope_id = 'repo-1', ledger = {}, busy = {}, truth = { services = {} }, discovered = {},
    config = { bases = BASES, spacing = 20, strategy = 'project_slot' },
  }
  for k, v in pairs(with or {}) do
    f[k] = v
  end
  return f
end

local function assign(f, names, list)
  local projects = {}
  for i, name in ipairs(names) do
    projects[i] = { name = name, wants = list or wants() }
  end
  return ports.assign_all(f, projects)
end

function M.test_names_are_normalised()
  for name, want in pairs { ['Feature A/1'] = 'feature-a-1', [' MAIN '] = 'main', ['--x__y--'] = 'x-y', ['Büro'] = 'büro', ['!'] = '' } do
    lu.assertEquals(ports.normalise(name), want, name)
  end
end

function M.test_span_is_the_smallest_gap()
  lu.assertEquals(ports.span({ 8000, 9000, 5432, 6379, 5678 }, 20), 246)
  lu.assertEquals(ports.span({ 8000, 8050 }, 20), 50)
  lu.assertEquals(ports.span({ 8000, 8000 }, 20), 20)
  lu.assertEquals(ports.span({ 8000 }, 0), 1)
end

function M.test_a_container_that_is_there_stays_on_its_port()
  local list = wants { { id = 'redis', base = 6379, adopted = 7000, kind = 'dependency' } }
  lu.assertEquals(assign(facts(), { 'Main' }, list).Main.ports, { backend = 8000, frontend = 9000, redis = 7000 })
  local got = assign(facts { busy = { [7000] = { pid = 1 } } }, { 'Main' }, list).Main
  lu.assertEquals({ got.ports.redis, #got.problems }, { 6379, 0 }, 'somebody else has it by now')
  list[1].base = 7000
  got = assign(facts(), { 'Main' }, list).Main
  lu.assertEquals({ got.ports.redis, got.ports.backend, got.slot }, { 7000, 7001, 1 }, 'others get out of its way')
  list[3].fixed = 7100
  lu.assertEquals(assign(facts(), { 'Main' }, list).Main.ports.redis, 7100, 'what is fixed is fixed')
end

function M.test_main_wishes_slot_0()
  local got = assign(facts(), { 'Main' }).Main
  lu.assertEquals(got.ports, { backend = 8000, frontend = 9000 })
  lu.assertEquals({ got.slot, got.moved, got.problems }, { 0, nil, {} })
end

function M.test_trees_have_a_stable_slot_of_their_own()
  local f = facts()
  local one = assign(f, { 'feature-1', 'feature-2' })
  local two = assign(f, { 'feature-2', 'feature-1' })
  lu.assertEquals(one, two)
  for name, got in pairs(one) do
    lu.assertTrue(got.slot >= 1 and got.slot < 246, name)
    lu.assertEquals(got.ports.frontend - got.ports.backend, 1000, name)
  end
  lu.assertNotEquals(one['feature-1'].slot, one['feature-2'].slot)
  -- Another repository has other wishes for the same name, as a rule.
  local differ = 0
  for i = 1, 20 do
    local a = assign(facts(), { 'f' .. i })['f' .. i].slot
    local b = assign(facts { scope_id = 'repo-2' }, { 'f' .. i })['f' .. i].slot
    differ = differ + (a ~= b and 1 or 0)
  end
  lu.assertTrue(differ >= 15)
end

function M.test_a_reserved_slot_wins_over_the_wish()
  local ledger = { { scope = 'repo-1', project = 'Main', slot = 7, service = 'backend', port = 8007, repo = '/r' } }
  lu.assertEquals(assign(facts { ledger = ledger }, { 'Main' }).Main.ports, { backend = 8007, frontend = 9007 })
  -- Of another repository it is only in the way when it has our port.
  ledger[1].scope = 'repo-2'
  lu.assertEquals(assign(facts { ledger = ledger }, { 'Main' }).Main.slot, 0)
  ledger[1].port = 9000
  local got = assign(facts { ledger = ledger }, { 'Main' }).Main
  lu.assertEquals(got.ports, { backend = 8001, frontend = 9001 })
  lu.assertEquals(ports.describe(got.moved.conflicts[1].holder), 'reserved for Main/backend of /r')
end

function M.test_all_ports_move_together()
  local f = facts { busy = { [9000] = { pid = 12, command = 'vite' }, [8001] = {} } }
  local got = assign(f, { 'Main' }, wants { { id = 'postgres', base = 5432, kind = 'dependency' } }).Main
  lu.assertEquals(got.ports, { backend = 8002, frontend = 9002, postgres = 5434 })
  lu.assertEquals({ got.moved.from, got.slot, got.moved.reserved }, { 0, 2, false })
  lu.assertEquals(ports.describe(got.moved.conflicts[1].holder), 'held by pid 12 (vite)')
end

function M.test_a_stranger_on_a_reserved_port_moves_the_slot()
  local f = facts {
    ledger = { { scope = 'repo-1', project = 'Main', slot = 3, service = 'backend', port = 8003 } }, busy = { [8003] = {} },
  }
  local got = assign(f, { 'Main' }).Main
  lu.assertEquals({ got.slot, got.moved.from, got.moved.reserved }, { 4, 3, true })
end

function M.test_our_own_live_ports_are_ours()
  local state = { services = { ['Main Backend'] = { project = 'Main', service = 'backend', requested_port = 8000, actual_port = 8077 } } }
  local f = facts { state = state, truth = { services = { ['Main Backend'] = { alive = true } } }, busy = { [8000] = {}, [8077] = {} } }
  lu.assertEquals(assign(f, { 'Main' }).Main.slot, 0)
  -- Of another project they are not.
  f.discovered = {}
  state.services['Main Backend'].project = 'other'
  lu.assertEquals(assign(f, { 'Main' }).Main.slot, 1)
  -- Of a dead one they are nobody's; what the look found counts.
  state.services['Main Backend'].project = 'Main'
  f.truth.services['Main Backend'].alive = false
  lu.assertEquals(assign(f, { 'Main' }).Main.slot, 1)
end

function M.test_projects_of_one_plan_keep_out_of_each_others_way()
  local names, seen = {}, {}
  for i = 1, 200 do
    names[i] = 'tree-' .. i
  end
  for name, got in pairs(assign(facts(), names)) do
    lu.assertEquals(got.problems, {}, name)
    for _, port in pairs(got.ports) do
      lu.assertNil(seen[port], name)
      seen[port] = name
    end
  end
end

-- Two worktrees whose names lead to one slot: the second takes the next one, with all its services, and keeps it when the first
-- is gone.
function M.test_wishes_that_collide()
  local first_with, one, two = {}, nil, nil
  for i = 1, 300 do
    local name = 'tree-' .. i
    local slot = assign(facts(), { name })[name].slot
    if first_with[slot] and not one then
      one, two = first_with[slot], name
    end
    first_with[slot] = first_with[slot] or name
  end
  local wished = assign(facts(), { one })[one].slot
  lu.assertEquals(assign(facts(), { two })[two].slot, wished)
  local both = assign(facts(), { one, two })
  lu.assertEquals({ both[one].slot, both[two].slot }, { wished, wished + 1 })
  lu.assertEquals(both[two].ports, { backend = 8001 + wished, frontend = 9001 + wished })
  local ledger = {}
  for id, port in pairs(both[two].ports) do
    ledger[#ledger + 1] = { scope = 'repo-1', project = two, slot = both[two].slot, service = id, port = port }
  end
  lu.assertEquals(assign(facts { ledger = ledger }, { two })[two].ports, both[two].ports)
end

function M.test_fixed_ports_do_not_move()
  local list = { { id = 'backend', base = 8000, fixed = 8100, kind = 'service' }, { id = 'frontend', base = 9000, kind = 'service' } }
  lu.assertEquals(assign(facts(), { 'Main' }, list).Main.ports, { backend = 8100, frontend = 9000 })
  local got = assign(facts { busy = { [8100] = { pid = 5, command = 'x' } } }, { 'Main' }, list).Main
  lu.assertEquals({ got.problems[1].code, got.problems[1].port, got.problems[1].holder.pid }, { 'port_taken', 8100, 5 })
  lu.assertEquals(got.slot, 0)
  -- The others step over it.
  list[1].fixed = 9000
  lu.assertEquals(assign(facts(), { 'Main' }, list).Main.ports, { backend = 9000, frontend = 9001 })
  list[2].fixed = 9000
  lu.assertEquals(assign(facts(), { 'Main' }, list).Main.problems[1].holder.service, 'backend')
end

function M.test_the_end_of_the_ports()
  local list = { { id = 'backend', base = 65534, kind = 'service' } }
  lu.assertEquals(assign(facts { busy = { [65534] = {} } }, { 'Main' }, list).Main.ports.backend, 65535)
  local got = assign(facts { busy = { [65534] = {}, [65535] = {} } }, { 'Main' }, list).Main
  lu.assertEquals(got.problems[1].code, 'no_free_port')
  lu.assertEquals(got.ports.backend, 65534)
end

function M.test_equal_bases_are_an_error()
  local got = assign(facts(), { 'Main' }, wants { { id = 'api', base = 8000, kind = 'service' } }).Main
  lu.assertEquals({ got.problems[1].code, got.problems[1].other, got.problems[1].id }, { 'same_base', 'backend', 'api' })
end

function M.test_strategies_and_spacing()
  local redis = wants { { id = 'redis', base = 6379, kind = 'dependency' } }
  local discovered = { { name = 'a' }, { name = 'b' }, { name = 'c' } }
  local hashed = ports.assign_all(facts(), { { name = 'c', wants = redis } }).c.slot
  lu.assertTrue(hashed > 2)
  local function of(slot, step)
    return { backend = 8000 + slot * step, frontend = 9000 + slot * step, redis = 6379 + slot }
  end
  local function ledger(slot, step)
    local list = {}
    for id, port in pairs(of(slot, step)) do
      list[#list + 1] = { scope = 'repo-1', project = 'c', slot = slot, service = id, port = port }
    end
    return list
  end
  local row = function(strategy, spacing, entries, slot, step)
    local f = facts { discovered = discovered, ledger = entries }
    f.config = { bases = BASES, spacing = spacing, strategy = strategy }
    local got = ports.assign_all(f, { { name = 'c', wants = redis } }).c
    lu.assertEquals({ got.ports, got.slot, got.moved }, { of(slot, step), slot, nil }, strategy .. spacing)
  end
  -- strategy, PORT_SPACING, reservations -> slot, and how far slots of services are apart
  row('project_slot', 20, nil, hashed, 1)
  row('project_slot', 7, nil, hashed, 1)
  row('legacy_spacing', 20, nil, 2, 20)
  row('legacy_spacing', 7, nil, 2, 7)
  -- What is reserved stays, whatever the wish would be today.
  row('project_slot', 20, ledger(9, 1), 9, 1)
  row('legacy_spacing', 20, ledger(9, 20), 9, 20)
  row('legacy_spacing', 7, ledger(9, 20), 9, 7)
  -- Another strategy begins anew.
  row('legacy_spacing', 20, ledger(9, 1), 2, 20)
  row('project_slot', 20, ledger(2, 20), hashed, 1)
end

function M.test_close_bases_still_get_disjoint_ports()
  local f = facts()
  f.config = { bases = { backend = { port = 8000 }, frontend = { port = 8001 } }, spacing = 20, strategy = 'project_slot' }
  local list = { { id = 'backend', base = 8000, kind = 'service' }, { id = 'frontend', base = 8001, kind = 'service' } }
  local seen = {}
  for name, got in pairs(assign(f, { 'Main', 'a', 'b', 'c', 'd' }, list)) do
    for _, port in pairs(got.ports) do
      lu.assertNil(seen[port], name)
      seen[port] = true
    end
  end
end

function M.test_the_same_facts_give_the_same_ports()
  math.randomseed(1)
  for _ = 1, 50 do
    local busy = {}
    for _ = 1, 40 do
      busy[8000 + math.random(0, 60)] = {}
      busy[9000 + math.random(0, 60)] = {}
    end
    local a = assign(facts { busy = busy }, { 'Main', 't1', 't2' })
    lu.assertEquals(a, assign(facts { busy = busy }, { 'Main', 't1', 't2' }))
    for name, got in pairs(a) do
      for id, port in pairs(got.ports) do
        lu.assertNil(busy[port], name .. id)
        lu.assertEquals(port - got.slot, BASES[id].port)
      end
    end
  end
end

return M
