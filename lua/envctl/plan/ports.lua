--- Ports of projects: one slot per project shifts all its services and dependencies together. The first wish comes from the
--- name, the table of reservations makes it permanent, and what somebody else holds is stepped over. Pure.
local hash = require 'envctl.host.hash'

local M = {}

M.MAX_PORT = 65535

---@class envctl.plan.Want
---@field id string service or dependency
---@field base integer?
---@field fixed integer?
---@field adopted integer? port that its container has already
---@field kind 'service'|'dependency'
---@field whole string? the dependency whose primary port it is, when they have different names

---@class envctl.plan.Taken
---@field kind 'busy'|'reserved'|'planned'
---@field pid integer?
---@field command string?
---@field denied boolean? the port needs rights that this user does not have
---@field uid integer? user of a socket whose process cannot be seen
---@field lingers boolean? nobody has it: connections of a server that is gone keep it for a minute (TIME_WAIT)
---@field project string?
---@field service string?
---@field repo string?

---@class envctl.plan.PortInput
---@field project string
---@field scope_id string
---@field strategy string
---@field spacing integer
---@field index integer place in the sorted list of projects, from 0
---@field span integer
---@field slot integer? the one that is reserved already
---@field wants envctl.plan.Want[]
---@field taken table<integer, envctl.plan.Taken> ports that are not for this project

--- Lower-case, everything but letters and digits a dash, no dashes at the ends. Non-ASCII bytes count as letters.
---@param name string
---@return string
function M.normalise(name)
  return (name:lower():gsub('[^%w\128-\255]+', '-'):gsub('^%-', ''):gsub('%-$', ''))
end

--- How many slots fit before one base runs into the next.
---@param bases integer[]
---@param spacing integer
---@return integer
function M.span(bases, spacing)
  local sorted, best = {}, nil
  for i, b in ipairs(bases) do
    sorted[i] = b
  end
  table.sort(sorted)
  for i = 2, #sorted do
    local gap = sorted[i] - sorted[i - 1]
    if gap > 0 and (not best or gap < best) then
      best = gap
    end
  end
  return best or math.max(spacing, 1)
end

--- The slot a project would like: 0 for Main, else from a hash of scope and name, so that the order of starts does not matter.
---@param input envctl.plan.PortInput
---@return integer
function M.wish(input)
  if input.strategy == 'legacy_spacing' then
    return input.index
  end
  local name = M.normalise(input.project)
  if name == '' or name == 'main' then
    return 0
  end
  local digest = hash.sha256(input.scope_id .. ':' .. name)
  -- Slot 0 is Main's. Bases that lie close together still get some room: what overlaps is stepped over.
  return 1 + tonumber(digest:sub(1, 8), 16) % math.max(input.span - 1, 15)
end

--- The port of a want in a slot.
---@return integer
function M.at(input, want, slot)
  if input.strategy == 'legacy_spacing' and want.kind == 'service' then
    return want.base + slot * input.spacing
  end
  return want.base + slot
end

-- Whether all ports of a slot are free: true, false, or nil above the last port.
local function free_at(input, slot, own)
  for _, want in ipairs(input.wants) do
    if not want.fixed and want.base then
      local port = M.at(input, want, slot)
      if port > M.MAX_PORT then
        return nil
      elseif input.taken[port] or own[port] then
        return false
      end
    end
  end
  return true
end

local function conflicts_at(input, slot, own)
  local out = {}
  for _, want in ipairs(input.wants) do
    local port = not want.fixed and want.base and M.at(input, want, slot)
    local holder = port and input.taken[port]
    if holder or own[port] then
      out[#out + 1] = {
        id = want.id,
        port = port,
        holder = holder or { kind = 'planned', project = input.project, service = own[port] },
      }
    end
  end
  return out
end

local function fixed_ports(input)
  local ports, own, problems = {}, {}, {}
  for _, want in ipairs(input.wants) do
    if want.fixed then
      local holder = input.taken[want.fixed]
      if not holder and own[want.fixed] then
        holder = { kind = 'planned', project = input.project, service = own[want.fixed] }
      end
      if holder then
        problems[#problems + 1] = { code = 'port_taken', id = want.id, port = want.fixed, holder = holder }
      end
      ports[want.id], own[want.fixed] = want.fixed, want.id
    end
  end
  return ports, own, problems
end

local function same_base(input)
  local seen = {}
  for _, want in ipairs(input.wants) do
    if want.base and not want.fixed then
      if seen[want.base] then
        return { code = 'same_base', id = want.id, other = seen[want.base], port = want.base }
      end
      seen[want.base] = want.id
    end
  end
end

-- What is there already stays on its port, unless somebody else has that by now.
local function adopted(input)
  local wants = {}
  for i, want in ipairs(input.wants) do
    local stays = want.adopted and not want.fixed and not input.taken[want.adopted]
    wants[i] = stays and { id = want.id, fixed = want.adopted, kind = want.kind } or want
  end
  return setmetatable({ wants = wants }, { __index = input })
end

---@class envctl.plan.Ports
---@field slot integer
---@field ports table<string, integer>
---@field moved {from: integer, reserved: boolean, conflicts: table[]}?
---@field problems table[]

local function fill(input, ports, slot)
  for _, want in ipairs(input.wants) do
    if not want.fixed and want.base then
      ports[want.id] = math.min(M.at(input, want, slot), M.MAX_PORT)
    end
  end
end

--- Assigns the ports of one project. With problems the ports are still there, so that the plan can be shown.
---@param input envctl.plan.PortInput
---@return envctl.plan.Ports
function M.assign(input)
  input = adopted(input)
  local ports, own, problems = fixed_ports(input)
  local wish = input.slot or M.wish(input)
  local result = { slot = wish, ports = ports, problems = problems }
  problems[#problems + 1] = same_base(input)
  for slot = wish, M.MAX_PORT do
    local free = free_at(input, slot, own)
    if free == nil then
      break
    elseif free then
      result.slot = slot
      fill(input, ports, slot)
      if slot ~= wish then
        result.moved = { from = wish, reserved = input.slot ~= nil, conflicts = conflicts_at(input, wish, own) }
      end
      return result
    end
  end
  fill(input, ports, wish)
  problems[#problems + 1] = { code = 'no_free_port', conflicts = conflicts_at(input, wish, own) }
  return result
end

-- A command line as a part of one line of text.
local function short(command)
  local text = command:gsub('[%c%s]+', ' ')
  return #text > 80 and text:sub(1, 77) .. '...' or text
end

--- Names a holder for a message.
---@param holder envctl.plan.Taken
---@return string
function M.describe(holder)
  if holder.kind == 'busy' then
    if holder.pid then
      local command = holder.command and ' (' .. short(holder.command) .. ')' or ''
      return string.format('held by pid %d%s', holder.pid, command)
    elseif holder.denied then
      return 'not open to this user'
    elseif holder.lingers then
      return 'kept by closed connections of a server that is gone (TIME_WAIT, about a minute)'
    elseif holder.uid then
      return string.format('held by a program that cannot be seen from here (of user id %d)', holder.uid)
    end
    return 'held by another program'
  elseif holder.kind == 'planned' then
    return string.format('planned for %s/%s', holder.project, holder.service)
  end
  local text = string.format('reserved for %s/%s', holder.project, holder.service)
  return holder.repo and text .. ' of ' .. holder.repo or text
end

-- Ports of what runs, or may run: of what cannot be told nothing is taken away. What a dead service left behind is ended first.
local function own_of(facts)
  local own = {}
  for name, record in pairs(facts.state and facts.state.services or {}) do
    local fact = facts.truth.services[name]
    if fact.alive ~= false or fact.keeps_port then
      for _, key in ipairs { 'requested_port', 'actual_port' } do
        if record[key] then
          own[record[key]] = { project = record.project, service = record.service }
        end
      end
    end
  end
  return own
end

-- Reservations by port, and by project its own ones.
local function reservations(facts)
  local by_port, by_project = {}, {}
  for _, e in ipairs(facts.ledger or {}) do
    by_port[e.port] = by_port[e.port] or {}
    table.insert(by_port[e.port], e)
    if e.scope == facts.scope_id then
      by_project[e.project] = by_project[e.project] or {}
      by_project[e.project][e.service] = e
    end
  end
  return by_port, by_project
end

-- The slot that is reserved. One that the other strategy has led to says nothing about where this one's ports are.
local function reserved_slot(config, wants, own)
  local other = {
    strategy = config.strategy == 'legacy_spacing' and 'project_slot' or 'legacy_spacing', spacing = config.spacing,
  }
  for _, want in ipairs(wants) do
    local e = own[want.id]
    if e and want.base and M.at(config, want, e.slot) ~= e.port and M.at(other, want, e.slot) == e.port then
      return nil
    end
  end
  local _, any = next(own)
  return any and any.slot
end

-- Who has a port, as a project sees it, looked up when asked: the first of these who has it says most about the holder.
local function taken_for(facts, project, own, planned, reserved)
  return setmetatable({}, { __index = function(_, port)
    local owner, busy = own[port], facts.busy and facts.busy[port]
    if owner and owner.project ~= project then
      return { kind = 'reserved', project = owner.project, service = owner.service }
    elseif busy and not owner then
      return {
        kind = 'busy', pid = busy.pid, command = busy.command, denied = busy.denied, uid = busy.uid,
        lingers = busy.lingers,
      }
    elseif planned[port] then
      return planned[port]
    end
    for _, e in ipairs(reserved[port] or {}) do
      if not (e.scope == facts.scope_id and e.project == project) then
        return {
          kind = 'reserved', project = e.project, service = e.service,
          repo = e.scope ~= facts.scope_id and e.repo or nil,
        }
      end
    end
  end })
end

local function all_bases(config, projects)
  local list = {}
  for _, base in pairs(config.bases) do
    list[#list + 1] = base.port
  end
  for _, p in ipairs(projects) do
    for _, want in ipairs(p.wants) do
      list[#list + 1] = want.base
    end
  end
  return list
end

--- Ports of several projects of one plan, each out of the way of the others.
---@param facts table
---@param projects {name: string, wants: envctl.plan.Want[]}[]
---@return table<string, envctl.plan.Ports> by project name
function M.assign_all(facts, projects)
  local config = facts.config
  local span = M.span(all_bases(config, projects), config.spacing)
  local own, planned, out = own_of(facts), {}, {}
  local reserved, reserved_by = reservations(facts)
  local index = {}
  for i, p in ipairs(facts.discovered or {}) do
    index[p.name] = index[p.name] or i - 1
  end
  for _, p in ipairs(projects) do
    local result = M.assign {
      project = p.name,
      scope_id = facts.scope_id,
      strategy = config.strategy,
      spacing = config.spacing,
      index = index[p.name] or 0,
      span = span,
      slot = reserved_slot(config, p.wants, reserved_by[p.name] or {}),
      wants = p.wants,
      taken = taken_for(facts, p.name, own, planned, reserved),
    }
    for id, port in pairs(result.ports) do
      planned[port] = planned[port] or { kind = 'planned', project = p.name, service = id }
    end
    out[p.name] = result
  end
  return out
end

return M
