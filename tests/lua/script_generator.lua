-- Scripts for property tests: made from a seed, the same ones every time.
local M = {}

local Maker = {}
Maker.__index = Maker

function Maker:int(n)
  self.state = (self.state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
  return (self.state >> 33) % n + 1
end

function Maker:one(list)
  return list[self:int(#list)]
end

-- True once in n times.
function Maker:rarely(n)
  return self:int(n) == 1
end

local NAMES = { 'api', 'worker', 'search', 'mailer', 'docs', 'jobs' }

function Maker:port()
  self.next_port = self.next_port + self:int(9)
  return self.next_port
end

function Maker:value(listens)
  local other = self:rarely(12) and self:one(NAMES) or 'backend'
  return self:one {
    '"text"', listens and '"${port}"' or '"none"', '"${project}"',
    '"http://localhost:${services.' .. other .. '.port}"', '8', 'true', '"a b"', '"$HOME $${x}"',
    'order(names)', 'tostring(#names)', '("x"):rep(3)', 'tostring({}):gsub("%d", "")', 'math.random(1000)',
  }
end

function Maker:env(listens)
  local out = {}
  for i = 1, self:int(4) do
    out[i] = string.format('V%d = %s', self:int(9), (self:value(listens):gsub('^tostring.*gsub.*$', '(%0)')))
  end
  return '{ ' .. table.concat(out, ', ') .. ' }'
end

function Maker:command(listens)
  return self:one {
    '"run it --fast"', '{ "run", "two words", "${project}" }', '"./serve ' .. (listens and '${port}' or 'all') .. '"',
    '{ "run", order(names) }',
  }
end

function Maker:ready(listens)
  return self:one { listens and '{ http = "/" }' or '"none"', '{ log = "up" }', '{ command = "true", timeout_ms = 900 }', 'nil' }
end

function Maker:service(name, earlier)
  local listens = not self:rarely(3)
  local f = { 'command = ' .. self:command(listens), 'listens = ' .. tostring(listens), 'env = ' .. self:env(listens) }
  local function sometimes(n, text)
    if self:rarely(n) then
      f[#f + 1] = text
    end
  end
  if listens then
    sometimes(3, 'port = ' .. self:port())
  end
  f[#f + 1] = 'ready = ' .. self:ready(listens)
  sometimes(4, 'critical = false')
  sometimes(4, 'restart = ' .. self:one { '"always"', '"on-failure"', '"no"' })
  sometimes(4, 'groups = { "g' .. self:int(3) .. '" }')
  sometimes(4, 'prepare = { { name = "p", command = "make ' .. name .. '" } }')
  sometimes(5, 'enable_if = function(ctx) return ctx.project.mode == "main" end')
  sometimes(8, 'enable_if = "missing/file"')
  sometimes(5, 'stop = { signal = "INT", timeout_ms = 1000 }')
  sometimes(5, 'health = { tcp = true, every_ms = 2000 }')
  if #earlier > 0 and self:rarely(2) then
    f[#f + 1] = 'needs = { "' .. self:one(earlier) .. '" }'
  end
  return string.format('  ["%s"] = { %s },', name, table.concat(f, ', '))
end

local BACKEND = {
  '  backend = { env = function(base) base.ADDED = order(base) return base end },',
  '  backend = { critical = false, env = { MORE = "${port}" } },',
  '  backend = { needs = envctl.append { "frontend" } },',
  '  backend = envctl.unset,',
  '  frontend = envctl.unset,',
  '  frontend = { restart = function(base) return base == "no" and "always" or base end },',
}

function Maker:services()
  local out, earlier = { 'services = {' }, {}
  for _, name in ipairs(NAMES) do
    if self:rarely(2) then
      out[#out + 1] = self:service(name, earlier)
      earlier[#earlier + 1] = name
    end
  end
  for _ = 1, self:int(3) - 1 do
    local change = self:one(BACKEND)
    if not change:find('unset', 1, true) or self:rarely(4) then
      out[#out + 1] = change
    end
  end
  out[#out + 1] = '},'
  return table.concat(out, '\n')
end

local OVERRIDES = {
  ['plan.ports'] = {
    'local p, step = base(ctx), 0 for k, v in pairs(p) do step = step + 3 p[k] = v + step end return p',
    'local p = base(ctx) for _, w in ipairs(ctx.wants) do if w.id == "api" then p.api = 23000 + ctx.slot end end return p',
    'local p = base() local first = next(p) if first then p[first] = p[first] + math.random(50) end return p',
  },
  ['plan.env'] = {
    'local e = base(ctx) e.ORDER = order(e) return e',
    'local e = base(ctx) e.WHERE = ctx.project.name .. "/" .. ctx.service return e',
    'if ctx.service == "api" then return { ONLY = "this", TOKEN = "geheim" } end return base(ctx)',
  },
  ['detect.services'] = {
    'local s = base(ctx) s.extra = { command = "extra ${port}", env = { N = tostring(s.backend ~= nil) } } return s',
    'local s = base(ctx) s.frontend = nil return s',
  },
  ['plan.startup'] = {
    'local d = base(ctx) for _, p in ipairs(d.plan and d.plan.projects or {}) do p.services[1].critical = false end return d',
    'local d = base(ctx) d.note = order(ctx) return d',
  },
  ['reuse.decide'] = { 'return base(ctx)' },
  ['deps.select'] = { 'local d = base(ctx) for k in pairs(d) do d[k] = false end return d' },
}

function Maker:overrides()
  local points, out = {}, {}
  for point in pairs(OVERRIDES) do
    points[#points + 1] = point
  end
  table.sort(points)
  for _, point in ipairs(points) do
    if self:rarely(3) then
      out[#out + 1] = string.format('  ["%s"] = function(base, ctx) %s end,', point, self:one(OVERRIDES[point]))
    end
  end
  return 'override = {\n' .. table.concat(out, '\n') .. '\n},'
end

local HEAD = [[
local names = { z = 1, a = 2, m = 3, [1] = "one", [2.5] = "x", [true] = 0 }
local function order(t)
  local out = {}
  for k, v in pairs(t) do out[#out + 1] = tostring(k) .. (type(v) == "string" and v or "") end
  for k in next, t do out[#out + 1] = tostring(k):sub(1, 1) end
  return (table.concat(out, "-"):gsub("[^%w-]", "_"))
end
]]

function Maker:script()
  local parts = { HEAD, 'return { envctl = 1,' }
  if self:rarely(3) then
    parts[#parts + 1] = 'config = { ports = { backend = ' .. self:port() .. ' } },'
  end
  parts[#parts + 1] = self:services()
  parts[#parts + 1] = self:overrides()
  parts[#parts + 1] = '}'
  return table.concat(parts, '\n') .. '\n'
end

--- The scripts of one repository: texts by layer.
---@param seed integer
---@return {script: string, local: string?}
function M.make(seed)
  local maker = setmetatable({ state = seed * 2654435761 & 0x7fffffffffffffff, next_port = 21000 }, Maker)
  maker:int(2)
  local out = { script = maker:script() }
  if maker:rarely(4) then
    out['local'] = maker:script()
  end
  return out
end

return M
