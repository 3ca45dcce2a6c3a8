--- Supabase as three containers of our own making: the database, the auth server (GoTrue) and the gateway in front of it (Kong), on
--- a network of the project. Its keys are made from the project's password, so they last as long as the data. Pure.
local hash = require 'envctl.host.hash'
local json = require 'envctl.util.json'

local M = {}

local BLOCK = 64 -- bytes that SHA-256 takes at a time (RFC 2104)

local function bytes(hex)
  return (hex:gsub('%x%x', function(two)
    return string.char(tonumber(two, 16))
  end))
end

local function xor(text, with)
  return (text:gsub('.', function(c)
    return string.char(c:byte() ~ with)
  end))
end

local function hmac_sha256(key, text)
  key = #key > BLOCK and bytes(hash.sha256(key)) or key
  key = key .. ('\0'):rep(BLOCK - #key)
  return bytes(hash.sha256(xor(key, 0x5c) .. bytes(hash.sha256(xor(key, 0x36) .. text))))
end

local ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

local function base64url(text)
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local n = a << 16 | (b or 0) << 8 | (c or 0)
    for k = 0, c and 3 or b and 2 or 1 do
      local at = n >> (18 - 6 * k) & 63
      out[#out + 1] = ALPHABET:sub(at + 1, at + 1)
    end
  end
  return table.concat(out)
end

-- Fixed times: the same secret gives the same token, and a development environment outlives no calendar.
local ISSUED, EXPIRES = 1700000000, 2524608000 -- 2023-11-14, 2050-01-01

--- A token that the auth server and the clients of Supabase take (RFC 7519, HS256).
---@param secret string
---@param role 'anon'|'service_role'
---@return string
function M.sign(secret, role)
  local head = base64url(json.encode_line { alg = 'HS256', typ = 'JWT' })
  local body = base64url(json.encode_line { role = role, iss = 'supabase', iat = ISSUED, exp = EXPIRES })
  local text = head .. '.' .. body
  return text .. '.' .. base64url(hmac_sha256(secret, text))
end

--- What is made from the password of a project's database.
---@param kind 'jwt'|'anon'|'service'
---@param password string
---@return string
function M.derive(kind, password)
  local secret = hash.sha256('envctl supabase jwt\0' .. password)
  if kind == 'jwt' then
    return secret
  end
  return M.sign(secret, kind == 'anon' and 'anon' or 'service_role')
end

-- Keys that somebody wrote down are used; the others fit to them.
local function keys_of(settings)
  local token = require('envctl.deps.definitions').token
  local secret = settings:get 'SUPABASE_JWT_SECRET'
  return {
    secret = secret or token 'supabase@jwt',
    anon = settings:get 'SUPABASE_ANON_KEY' or secret and M.sign(secret, 'anon') or token 'supabase@anon',
    service = settings:get 'SUPABASE_SERVICE_ROLE_KEY' or secret and M.sign(secret, 'service_role')
      or token 'supabase@service',
  }
end

-- Usable is a query that succeeds; the auth server needs its schema, which not every image brings along.
local QUERY = 'PGPASSWORD="$POSTGRES_PASSWORD" psql -w -h 127.0.0.1 -U postgres -d postgres -v ON_ERROR_STOP=1 -qtA'
  .. ' -c "create schema if not exists auth"'

local KONG = json.encode_line {
  _format_version = '2.1', _transform = true,
  services = json.array { {
    name = 'auth', url = 'http://supabase-auth:9999',
    routes = json.array { { name = 'auth', strip_path = true, paths = json.array { '/auth/v1/' } } },
    plugins = json.array { { name = 'cors' } },
  } },
}

local describe = {}

function describe.supabase(settings, keys)
  return {
    image = settings:get 'SUPABASE_DB_IMAGE' or 'supabase/postgres:15.1.0.147',
    ports = { { name = 'supabase', inner = 5432 } }, primary = 'supabase', args = {},
    env = {
      POSTGRES_USER = 'postgres', POSTGRES_PASSWORD = '${password}', POSTGRES_DB = 'postgres', JWT_SECRET = keys.secret,
    },
    provides = {}, -- those of a Postgres: see definitions.sources
    volumes = { '/var/lib/postgresql/data' }, needs = {},
    ready = { kind = 'command', command = { 'sh', '-c', QUERY }, timeout_ms = 120000 },
  }
end

describe['supabase-auth'] = function(settings, keys)
  local public = settings:get 'SUPABASE_PUBLIC_URL' or 'http://localhost:${ports.supabase-gateway}'
  local password = require('envctl.deps.definitions').token 'supabase'
  return {
    image = settings:get 'SUPABASE_AUTH_IMAGE' or 'supabase/gotrue:v2.150.0',
    ports = {}, peers = { 'supabase-gateway' }, listens = { 9999 }, args = {},
    env = {
      GOTRUE_API_HOST = '0.0.0.0', GOTRUE_API_PORT = '9999', API_EXTERNAL_URL = public, GOTRUE_SITE_URL = public,
      GOTRUE_DB_DRIVER = 'postgres', GOTRUE_DB_NAMESPACE = 'auth', DB_NAMESPACE = 'auth',
      GOTRUE_DB_DATABASE_URL = 'postgres://postgres:' .. password
        .. '@supabase:5432/postgres?search_path=auth,public&sslmode=disable',
      GOTRUE_JWT_SECRET = keys.secret, GOTRUE_JWT_EXP = '3600', GOTRUE_JWT_AUD = 'authenticated',
      GOTRUE_JWT_DEFAULT_GROUP_NAME = 'authenticated', GOTRUE_JWT_ADMIN_ROLES = 'service_role',
      GOTRUE_DISABLE_SIGNUP = 'false', GOTRUE_EXTERNAL_EMAIL_ENABLED = 'true', GOTRUE_MAILER_AUTOCONFIRM = 'true',
    },
    provides = {}, volumes = {}, needs = { 'supabase' }, ready = { kind = 'tcp', timeout_ms = 120000 },
  }
end

describe['supabase-gateway'] = function(settings, keys)
  return {
    image = settings:get 'SUPABASE_KONG_IMAGE' or 'kong:2.8.1',
    ports = { { name = 'supabase-gateway', base = 54321, inner = 8000 } }, primary = 'supabase-gateway', args = {},
    env = {
      KONG_DATABASE = 'off', KONG_DECLARATIVE_CONFIG_STRING = KONG, KONG_PROXY_LISTEN = '0.0.0.0:8000',
      KONG_ADMIN_LISTEN = 'off', KONG_DNS_ORDER = 'LAST,A,CNAME',
    },
    provides = {
      SUPABASE_URL = settings:get 'SUPABASE_PUBLIC_URL' or '${url}', SUPABASE_JWT_SECRET = keys.secret,
      SUPABASE_ANON_KEY = keys.anon, SUPABASE_SERVICE_ROLE_KEY = keys.service,
    },
    volumes = {}, needs = { 'supabase-auth' }, ready = { kind = 'http', path = '/auth/v1/health', timeout_ms = 120000 },
  }
end

--- How one of the three runs.
---@param id string
---@param settings envctl.Settings
---@return envctl.deps.Description
function M.describe(id, settings)
  local out = describe[id](settings, keys_of(settings))
  out.network = true
  return out
end

return M
