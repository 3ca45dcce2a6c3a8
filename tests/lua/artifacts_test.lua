-- The documents that the keeper derives from the run state, against their schemas.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local json = require 'envctl.util.json'
local jsonschema = require 'jsonschema'
local runtime_map = require 'envctl.state.runtime_map'

local M = {}

local DIR = rawget(_G, 'ENVCTL_SOURCE_DIR') .. '/docs/reference/schemas/'

local function fits(document)
  local decoded = assert(json.decode(json.encode(document)))
  local name = decoded.schema:match '^envctl%.([%w_]+)%.v1$'
  local schema = assert(json.decode((assert(fs.read(DIR .. name .. '.schema.json')))))
  lu.assertEquals(jsonschema.check(schema, decoded, name, {}), {})
end

local DOC = {
  schema_version = 1, run_id = 'run-1', mode = 'main', requirements = {}, pointers = {},
  metadata = { project_roots = { Main = '/repo' } },
  services = {
    ['Main Backend'] = {
      type = 'backend', service = 'backend', project = 'Main', requested_port = 8000, actual_port = 8000, status = 'ready',
      url = 'http://localhost:8000',
    },
  },
}

function M.test_runtime_map_fits_its_schema()
  fits(runtime_map.build(DOC))
end

function M.test_ports_manifest_fits_its_schema()
  fits(runtime_map.manifest(DOC))
end

function M.test_an_empty_state_fits_as_well()
  local empty = { schema_version = 1, run_id = 'r', mode = 'trees', services = {}, requirements = {}, pointers = {}, metadata = {} }
  fits(runtime_map.build(empty))
  fits(runtime_map.manifest(empty))
end

return M
