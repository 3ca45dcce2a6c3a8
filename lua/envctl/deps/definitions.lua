--- What the bundled dependencies are, as data: the key of their port, what they hand to services, when they count as usable and
--- how they end. How one is run is a provider's business. Pure.
local launch_env = require 'envctl.config.launch_env'

local M = {}

---@class envctl.deps.Definition
---@field id string
---@field title string
---@field order integer order of start, and of what is handed over
---@field programs string[] programs of the native provider; empty: there is none
---@field user string[] unprivileged users to run as when envctl is root, first that exists
---@field ready {kind: string, timeout_ms: integer}
---@field stop {signal: string, timeout_ms: integer}
---@field scheme string of its URL
---@field image string? of the docker provider
---@field parts string[]? what comes and goes with it, in containers
---@field part_of string?
---@field layer integer? of needs; 1 for what needs nothing
---@field describe (fun(id: string, settings: envctl.Settings): envctl.deps.Description)? what depends on settings
---@field described envctl.deps.Description? how it runs, where nothing is built in for it

local function n8n(_, settings)
  return {
    ports = { { name = 'n8n', inner = 5678 } }, primary = 'n8n', command = { 'n8n', 'start' },
    env = {
      N8N_HOST = 'localhost', N8N_PROTOCOL = 'http', N8N_DIAGNOSTICS_ENABLED = 'false',
      N8N_VERSION_NOTIFICATIONS_ENABLED = 'false',
    },
    native_env = { N8N_PORT = '${port}', N8N_LISTEN_ADDRESS = '127.0.0.1', N8N_USER_FOLDER = '${data}' },
    container_env = { N8N_PORT = '5678' },
    provides = { N8N_PORT = '${port}', N8N_URL = '${url}' },
    volumes = { '/home/node/.n8n' }, needs = {},
    ready = { kind = 'http', path = '/healthz', timeout_ms = 60000 },
    -- What the page for making the first user asks for. It answers later than /healthz, or 404 when something is wrong.
    bootstrap = { path = '/rest/settings', strict = settings:get 'ENVCTL_STRICT_N8N_BOOTSTRAP' == true },
  }
end

local function supabase(id, settings)
  return require('envctl.deps.supabase').describe(id, settings)
end

---@type table<string, envctl.deps.Definition>
M.by_id = {
  postgres = {
    id = 'postgres', title = 'Postgres', order = 10, programs = { 'postgres', 'initdb' },
    user = { 'postgres', 'nobody' }, scheme = 'postgresql',
    image = 'postgres:15-alpine', ready = { kind = 'query', timeout_ms = 60000 },
    stop = { signal = 'INT', timeout_ms = 10000 }, -- SIGTERM would wait for every client to leave
  },
  redis = {
    id = 'redis', title = 'Redis', order = 20, programs = { 'redis-server' }, user = { 'redis', 'nobody' },
    scheme = 'redis', image = 'redis:7-alpine', ready = { kind = 'ping', timeout_ms = 30000 },
    stop = { signal = 'TERM', timeout_ms = 10000 },
  },
  supabase = {
    id = 'supabase', title = 'Supabase', order = 30, programs = {}, user = {}, scheme = 'postgresql',
    describe = supabase, parts = { 'supabase-auth', 'supabase-gateway' },
    ready = { kind = 'tcp', timeout_ms = 120000 }, stop = { signal = 'TERM', timeout_ms = 10000 },
  },
  ['supabase-auth'] = {
    id = 'supabase-auth', title = 'auth server of Supabase', order = 31, programs = {}, user = {}, scheme = 'http',
    describe = supabase, part_of = 'supabase', layer = 2, stop = { signal = 'TERM', timeout_ms = 10000 },
  },
  ['supabase-gateway'] = {
    id = 'supabase-gateway', title = 'gateway of Supabase', order = 32, programs = {}, user = {}, scheme = 'http',
    describe = supabase, part_of = 'supabase', layer = 3, stop = { signal = 'TERM', timeout_ms = 10000 },
  },
  n8n = {
    id = 'n8n', title = 'n8n', order = 40, programs = { 'n8n' }, user = {}, scheme = 'http',
    image = 'n8nio/n8n:latest', ready = { kind = 'http', timeout_ms = 60000 },
    stop = { signal = 'TERM', timeout_ms = 10000 },
    describe = n8n,
  },
}

--- Which layer of needs a built-in one is ready in, parts and all.
---@param id string
---@return integer
function M.layer(id)
  local def, last = M.by_id[id], 1
  for _, part in ipairs(def and def.parts or {}) do
    last = math.max(last, M.layer(part))
  end
  return math.max(def and def.layer or 1, last)
end

local STOP = { signal = 'TERM', timeout_ms = 10000 }

--- How one ends.
---@param id string
---@return {signal: string, timeout_ms: integer}
function M.stop(id)
  return M.by_id[id] and M.by_id[id].stop or STOP
end

--- The setting of a dependency, such as ENVCTL_REDIS_PROVIDER.
---@param id string
---@param suffix string
---@return string
function M.key(id, suffix)
  return 'ENVCTL_' .. id:upper():gsub('-', '_') .. '_' .. suffix
end

--- The setting with a command of the user's that starts a dependency.
---@param id string
---@return string
function M.command_key(id)
  return M.key('requirement-' .. id, 'CMD')
end

--- Stands for a password that only the keeper knows: plans, digests and documents are made without it. Nothing in it needs
--- percent-encoding.
---@param id string
---@return string
function M.token(id)
  return '~envctl~password~of~' .. id .. '~'
end

--- Whether a text holds what only the keeper knows.
---@param text string
---@return boolean
function M.has_token(text)
  return text:find('~envctl~password~of~', 1, true) ~= nil
end

--- Puts passwords where tokens stand. find(id) is only asked for what is needed; nil leaves the token.
---@param text string
---@param find fun(id: string): string?
---@return string
function M.fill(text, find)
  if not M.has_token(text) then
    return text
  end
  return (text:gsub('~envctl~password~of~([%w_-]+)@?(%a*)~', function(id, kind)
    local password = find(id)
    if password and kind ~= '' then
      return require('envctl.deps.supabase').derive(kind, password)
    end
    return password and launch_env.encode(password)
  end))
end

--- A number that is not assigned yet: `open_ports` turns it into a placeholder of the planner, after `${` was escaped.
---@param id string
---@return string
function M.port_mark(id)
  return '\1' .. id .. '\1'
end

M.encode = launch_env.encode

--- Turns the marks of numbers into placeholders.
---@param text string
---@return string
function M.open_ports(text)
  return (text:gsub('\1([%w_@.-]+)\1', '${ports.%1}'))
end

--- Puts numbers where their marks are.
---@param text string
---@param numbers table<string, integer>
---@return string
function M.fill_ports(text, numbers)
  return (text:gsub('\1([%w_@.-]+)\1', function(id)
    return numbers[id] and ('%d'):format(numbers[id])
  end))
end

-- More than there are slots in practice; each costs Redis a few hundred bytes.
M.REDIS_DATABASES = 2048

--- How one project uses a server that others use too: a database and a role of its own, or a logical database.
---@param id string
---@param access envctl.deps.Access of the server
---@param project string
---@return envctl.deps.Access
function M.share(id, access, project)
  local own = {}
  for k, v in pairs(access) do
    own[k] = v
  end
  if id == 'postgres' then
    local slug = project:lower():gsub('[^%w]+', '_'):gsub('^_+', ''):gsub('_+$', '')
    local digest = require('envctl.host.hash').sha256(project):sub(1, 6)
    own.name = (slug == '' and 'project' or slug:sub(1, 40)) .. '_' .. digest
    own.user, own.password = own.name, M.token(id)
  elseif id == 'redis' then
    own.name = M.port_mark 'redis@db'
  end
  return own
end

local function secret(value)
  return { value = value, secret = true }
end

local function plain(value)
  return { value = value, secret = false }
end

local sources = {}

function sources.postgres(spec, port)
  local urls = launch_env.database_urls {
    host = spec.host, port = 0, user = spec.user, password = spec.password, name = spec.name, query = spec.query,
  }
  local out = {
    DB_HOST = plain(spec.host),
    DB_PORT = plain(port),
    DB_USER = spec.user and plain(spec.user),
    DB_PASSWORD = secret(spec.password or ''),
    DB_NAME = spec.name and plain(spec.name),
  }
  for name, url in pairs(urls) do
    -- Everything else in it is percent-encoded, so this is the port.
    out[name] = secret((url:gsub(':0/', function()
      return ':' .. port .. '/'
    end, 1)))
  end
  return out
end

function sources.supabase(spec, port)
  local out = sources.postgres(spec, port)
  out.SUPABASE_DB_PORT, out.SUPABASE_DB_PASSWORD = out.DB_PORT, out.DB_PASSWORD
  return out
end

function sources.redis(spec, port)
  local url = ('%s://%s/%s%s'):format(spec.scheme or 'redis', launch_env.authority(spec, port), spec.name or '0',
    spec.query and '?' .. spec.query or '')
  local hidden = spec.query or spec.password and spec.password ~= ''
  return {
    REDIS_HOST = plain(spec.host), REDIS_PORT = plain(port), REDIS_URL = hidden and secret(url) or plain(url),
  }
end

---@class envctl.deps.Access
---@field host string
---@field port integer? nil: the port that the plan assigns
---@field user string?
---@field password string?
---@field name string? database
---@field query string? of the URL, as it is written: what else there is to know to connect
---@field scheme string?

--- What a dependency hands to services, by name without ENVCTL_SOURCE_.
---@param id string
---@param access envctl.deps.Access
---@return table<string, envctl.launch.Source>
function M.sources(id, access)
  local make = sources[id]
  return make and make(access, access.port and ('%d'):format(access.port) or M.port_mark(id)) or {}
end

local SCHEMES = {
  supabase = { postgres = true, postgresql = true },
  postgres = { postgres = true, postgresql = true },
  redis = { redis = true, rediss = true },
}

local DEFAULT_PORT = { postgres = 5432, supabase = 5432, redis = 6379 }
local DEFAULT_OF_SCHEME = {
  http = 80, https = 443, postgresql = 5432, postgres = 5432, redis = 6379, amqp = 5672, smtp = 25,
}

local function decode(text)
  return (text:gsub('%%(%x%x)', function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

--- Reads the URL of an external dependency.
---@param id string
---@param url string
---@return envctl.deps.Access? access, string? message what is wrong with it, never its text
function M.parse_url(id, url)
  local scheme, rest = url:match '^(%a[%w+.-]*)://(.+)$'
  local base = scheme and scheme:lower():match '^[^+]+'
  if not base or SCHEMES[id] and not SCHEMES[id][base] then
    return nil, 'expected a URL that begins with ' .. (M.by_id[id] and M.by_id[id].scheme or id) .. '://'
  end
  local authority, path, query = rest:match '^([^/?#]*)/?([^?#]*)%??([^#]*)'
  local credentials, address = authority:match '^(.*)@([^@]*)$'
  address = address or authority
  local host, port = address:match '^%[(.-)%]:?(%d*)$'
  if not host then
    host, port = address:match '^([^:]*):?(%d*)$'
  end
  if not host or host == '' then
    return nil, 'the URL names no host'
  end
  local number = port == '' and (DEFAULT_PORT[id] or DEFAULT_OF_SCHEME[base]) or math.tointeger(tonumber(port))
  if not number or number < 1 or number > 65535 then
    return nil, 'the URL has no usable port'
  end
  local user, password = (credentials or ''):match '^([^:]*):?(.*)$'
  return {
    url = not SCHEMES[id] and url or nil, scheme = base, host = host, port = number,
    user = user ~= '' and decode(user) or nil, password = password ~= '' and decode(password) or nil,
    name = path ~= '' and decode(path) or nil, query = query ~= '' and query or nil,
  }
end

return M
