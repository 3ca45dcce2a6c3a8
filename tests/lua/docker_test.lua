-- Containers, with a daemon that is told what to do wrong. Real ones are in tests/e2e/test_deps_docker.py.
local lu = require 'luaunit'
local fs = require 'envctl.host.fs'
local json = require 'envctl.util.json'
local hash = require 'envctl.host.hash'
local task = require 'envctl.task'
local docker = require 'envctl.deps.docker'
local truth = require 'envctl.deps.truth'
local port = require 'envctl.host.port'
local support = require 'script_support'

local M = {}

-- A daemon made of tables, in the place of the docker command.
local Fake = {}
Fake.__index = Fake

local tool = require 'envctl.deps.tool'
local engines = require 'envctl.deps.engine'
local real_run, real_all = tool.run, engines.all

local function fake()
  local dir = support.directory()
  support.write(dir.path, 'bin/docker', '', 493)
  local self = setmetatable({
    dir = dir, top = dir.path, containers = {}, volumes = {}, networks = {}, count = 0, calls = {}, told = {},
    engine = { name = 'docker', env = { PATH = dir.path .. '/bin' } },
    paths = { scope_id = 'repo-1', scope_dir = dir.path },
  }, Fake)
  tool.run = function(o)
    local result = self:run(table.move(o.argv, 2, #o.argv, 1, {}))
    result.answer = result.out
    return result
  end
  engines.all = function()
    return { self.engine }
  end
  return self
end

function Fake:__close()
  tool.run, engines.all = real_run, real_all
  getmetatable(self.dir).__close(self.dir)
end

--- The next calls of a command do nothing but answer this, one after the other; with `after`, they do it all the same.
function Fake:say(command, code, text, after)
  self.told[command] = self.told[command] or {}
  table.insert(self.told[command], { code = code, out = text, after = after })
end

function Fake:run(args)
  local two = ({ container = true, volume = true, network = true, image = true })[args[1]]
  local name = two and args[1] .. ' ' .. args[2] or args[1]
  self.calls[#self.calls + 1] = table.concat(args, ' ')
  local told = table.remove(self.told[name] or {}, 1)
  if told and not told.after then
    return told
  end
  local code, out = self[name:gsub(' ', '_')](self, args)
  return told or { code = code or 0, out = out or '' }
end

-- What follows after an option, each time.
local function values(args, option)
  local out = {}
  for i = 1, #args - 1 do
    out[#out + 1] = args[i] == option and args[i + 1] or nil
  end
  return out
end

local function find(list, id)
  for i, thing in ipairs(list) do
    if thing.id == id or thing.name == id then
      return thing, i
    end
  end
end

local function none(id)
  return 1, 'Error response from daemon: No such object: ' .. id
end

local function lines(list, args)
  local out = {}
  for _, thing in ipairs(list) do
    local fits = true
    for _, filter in ipairs(values(args, '--filter')) do
      local key, value = filter:match '^(%w+)=(.*)$'
      fits = fits and (key == 'label' and thing.labels[value] or key == 'network' and thing.network == value)
    end
    out[#out + 1] = fits and (thing.id or thing.name) or nil
  end
  return 0, table.concat(out, '\n') .. '\n'
end

local function labels_of(args)
  local out = {}
  for _, label in ipairs(values(args, '--label')) do
    out[label] = true
  end
  return out
end

-- What `inspect --format` prints.
local function inspected(list, args)
  local thing = find(list, args[#args])
  if not thing then
    return none(args[#args])
  end
  local labels = {}
  for label in pairs(thing.labels) do
    labels[label:match '^[^=]*'] = label:match '=(.*)$'
  end
  local format = values(args, '--format')[1]
  if format:find 'index .Labels' then
    return 0, (labels['envctl.scope'] or '') .. '\n'
  elseif not format:find '.State' then
    return 0, json.encode_line(labels)
  end
  return 0, json.encode_line {
    Labels = labels,
    State = { Running = thing.running == true, Pid = thing.running and 4242 or 0, ExitCode = 0 },
  }
end

local function remove(list, id)
  local _, i = find(list, id)
  if not i then
    return none(id)
  end
  table.remove(list, i)
end

function Fake:version()
  return 0, '24.0.0\n'
end

function Fake:image_inspect()
  return 0, 'sha256:0\n'
end

function Fake:ps(args)
  return lines(self.containers, args)
end

function Fake:create(args)
  self.count = self.count + 1
  local file, network = values(args, '--env-file')[1], values(args, '--network')[1]
  self.containers[#self.containers + 1] = {
    id = ('%064x'):format(self.count), labels = labels_of(args), volumes = values(args, '-v'), env = fs.read(file),
    env_mode = fs.stat(file).mode & 511, network = network and find(self.networks, network).id,
  }
  return 0, self.containers[#self.containers].id .. '\n'
end

function Fake:start(args)
  local c = find(self.containers, args[2])
  if c.network and not find(self.networks, c.network) then
    return 1, 'Error response from daemon: network ' .. c.network .. ' not found'
  end
  c.running, c.started = true, true
end

function Fake:stop(args)
  find(self.containers, args[#args]).running = false
end

function Fake:container_inspect(args)
  return inspected(self.containers, args)
end

function Fake:logs()
  return 0, ''
end

function Fake:rm(args)
  return remove(self.containers, args[#args])
end

function Fake:volume_create(args)
  if not find(self.volumes, args[#args]) then
    self.volumes[#self.volumes + 1] = { name = args[#args], labels = labels_of(args) }
  end
end

function Fake:volume_inspect(args)
  return inspected(self.volumes, args)
end

function Fake:volume_ls(args)
  return lines(self.volumes, args)
end

function Fake:volume_rm(args)
  return remove(self.volumes, args[#args])
end

function Fake:network_create(args)
  self.count = self.count + 1
  self.networks[#self.networks + 1] = { id = ('%012x'):format(self.count), name = args[#args], labels = labels_of(args) }
end

function Fake:network_inspect(args)
  return inspected(self.networks, args)
end

function Fake:network_ls(args)
  return lines(self.networks, args)
end

function Fake:network_rm(args)
  return remove(self.networks, args[#args])
end

--- A dependency as the keeper has it.
function Fake:redis(with)
  local d = {
    id = 'redis', short = 'Main/redis', project = { name = 'Main' }, world = { paths = self.paths }, engine = self.engine,
    dir = self.top, run_id = 'run-1', access = { password = 'hunter2' },
    plan = { image = 'redis:7', plan_digest = 'sha256:1', ports = { redis = 1 } }, say = function() end, release_ports = function() end,
  }
  for k, v in pairs(with or {}) do
    d[k] = v
  end
  return d
end

--- What is saved of a container.
function Fake:record(id)
  return { name = 'Main/redis', container_id = id, log_path = self.top .. '/log' }
end

--- A described one, on the network of its project.
function Fake:mail()
  local d = self:redis { id = 'mail', short = 'Main/mail', password_of = function() end }
  d.plan.ports, d.plan.container = {}, { ports = {}, volumes = {}, args = {}, listens = {}, network = true }
  return d
end

-- Runs in a task; what it returns, or the error that it raises.
local function run(fn, ...)
  local out
  local args = table.pack(...)
  task.main(function()
    out = table.pack(task.try(fn, table.unpack(args, 1, args.n)))
  end)
  if out[1] then
    return out[2]
  end
  return nil, out[2]
end

local function up(d)
  local there, e = run(docker.bring_up, d)
  if e then
    error(e, 0)
  end
  return there
end

function M.test_the_daemon_knows_better_than_an_exit_code()
  local f <close> = fake()
  f:say('start', 1, 'the client lost its connection', true)
  lu.assertTrue(up(f:redis()).running)
  run(docker.stop, f.engine, f:record(f.containers[1].id), function() end)
  f:say('start', 0, '')
  local there = up(f:redis()) -- a start that did nothing is no success either
  lu.assertFalse(there.running)
end

function M.test_one_that_was_made_and_never_started_is_started()
  local f <close> = fake()
  f:say('start', 125, 'driver failed programming external connectivity')
  local _, e = run(docker.bring_up, f:redis())
  lu.assertEquals({ e.code, e.message }, {
    'dependency_failed', 'Main/redis: driver failed programming external connectivity',
  })
  local made = f.containers
  lu.assertEquals({ #made, made[1].started }, { 1 })
  local there = up(f:redis())
  lu.assertEquals({ there.id, there.running, #f.containers }, { made[1].id, true, 1 })
end

function M.test_what_a_killed_client_made_is_found_by_its_labels()
  local f <close> = fake()
  f:say('create', 137, '', true) -- killed after the daemon had accepted it: nobody was told the id
  local _, e = run(docker.bring_up, f:redis())
  lu.assertEquals(e.code, 'dependency_failed')
  local made = f.containers
  lu.assertEquals(up(f:redis()).id, made[1].id)
  lu.assertEquals(#f.containers, 1)
end

function M.test_engines_that_have_nothing_of_ours_are_not_asked()
  local f <close> = fake()
  run(docker.sweep, f.engine.env, f.paths)
  lu.assertEquals(f.calls, {})
  up(f:redis())
  run(docker.sweep, f.engine.env, f.paths)
  lu.assertEquals(f.containers[1].running, false)
  f.calls = {}
  run(docker.sweep, f.engine.env, f.paths)
  lu.assertEquals(f.calls, {})
  -- Without a state the notes may be gone as well.
  run(docker.sweep, f.engine.env, f.paths, true)
  lu.assertStrContains(table.concat(f.calls, ', '), 'ps -aq')
end

function M.test_secrets_go_through_a_file_that_is_gone_afterwards()
  local f <close> = fake()
  support.write(f.top, 'container.env', 'REDIS_PASSWORD=left-by-a-killed-keeper\n')
  up(f:redis())
  local made = f.containers[1]
  lu.assertEquals({ made.env, made.env_mode }, { 'REDIS_PASSWORD=hunter2\n', 384 })
  lu.assertNotStrContains(table.concat(f.calls), 'hunter2')
  lu.assertNil(fs.lstat(f.top .. '/container.env'))
  -- Nothing has to be made, and what a killed keeper left goes all the same.
  support.write(f.top, 'container.env', 'REDIS_PASSWORD=hunter2\n')
  up(f:redis())
  lu.assertNil(fs.lstat(f.top .. '/container.env'))
end

function M.test_a_new_plan_is_a_new_container_on_the_old_volume()
  local f <close> = fake()
  local before = up(f:redis())
  local d = f:redis()
  d.plan.plan_digest = 'sha256:2'
  local after = up(d)
  lu.assertNotEquals(after.id, before.id)
  local now = f.containers
  lu.assertEquals({ #now, now[1].id, #f.volumes, #now[1].volumes }, { 1, after.id, 1, 1 })
end

function M.test_a_network_that_was_pruned_is_made_again()
  local f <close> = fake()
  local before = up(f:mail())
  run(docker.stop, f.engine, f:record(before.id), function() end)
  f.networks = {}
  local after = up(f:mail())
  lu.assertTrue(after.running)
  lu.assertEquals({ #f.containers, #f.networks }, { 1, 1 })
  lu.assertNotStrContains(table.concat(f.calls, ', '), 'volume rm')
end

local FULL = 'Error response from daemon: could not find an available, non-overlapping IPv4 address pool among the defaults: '
  .. 'all predefined address pools have been fully subnetted'

function M.test_networks_of_ours_that_nobody_uses_make_room()
  local f <close> = fake()
  local scope = labels_of { '--label', 'envctl.scope=repo-1', '--label', 'envctl.root=' .. hash.sha256(f.top):sub(1, 12) }
  f.networks = {
    { id = 'aaa', name = 'net-aaa', labels = {} }, { id = 'bbb', name = 'net-bbb', labels = scope },
    { id = 'ccc', name = 'net-ccc', labels = scope },
  }
  f.containers = { { id = ('e'):rep(64), labels = {}, network = 'ccc' } }
  f:say('network create', 1, FULL)
  lu.assertTrue(up(f:mail()).running)
  local names = {}
  for i, network in ipairs(f.networks) do
    names[i] = network.name:sub(1, 7)
  end
  table.sort(names)
  lu.assertEquals(names, { 'envctl-', 'net-aaa', 'net-ccc' })
end

function M.test_no_room_for_a_network_is_said()
  local f <close> = fake()
  f:say('network create', 1, FULL)
  f:say('network create', 1, FULL)
  local _, e = run(docker.bring_up, f:mail())
  lu.assertEquals({ e.code, e.where }, { 'dependency_failed', 'Main/mail' })
  lu.assertStrContains(e.message, 'all predefined address pools have been fully subnetted')
  lu.assertStrContains(e.hint, 'docker network rm')
end

function M.test_why_docker_cannot_be_used()
  local f <close> = fake()
  for text, message in pairs {
    ['Cannot connect to the Docker daemon at unix:///nowhere. Is the docker daemon running?'] = 'the docker daemon does not run',
    ['permission denied while trying to connect to the Docker daemon socket'] = 'no permission to talk to the docker daemon',
  } do
    f:say('version', 1, text)
    local _, e = run(docker.bring_up, f:redis())
    lu.assertEquals({ e.code, e.message, e.hint }, { 'docker_unavailable', message, text })
  end
  f.told.version = { { out = '', timed_out = true } }
  local _, e = run(docker.bring_up, f:redis())
  lu.assertEquals({ e.code, e.message }, { 'docker_unavailable', 'the docker daemon does not answer in time' })
  _, e = run(docker.bring_up, f:redis { engine = { name = 'docker', env = { PATH = '/nowhere' } } })
  lu.assertEquals({ e.code, e.message }, { 'docker_unavailable', 'there is no docker command on PATH' })
end

function M.test_a_command_that_hangs_is_ended()
  local result = run(real_run, { argv = { '/bin/sleep', '600' }, env = {}, timeout_ms = 20 })
  lu.assertEquals({ result.timed_out, result.code, result.signal }, { true, nil, 'KILL' })
end

function M.test_nothing_is_said_of_ports_of_another_machine()
  local free = 61001
  while not port.check(free) do
    free = free + 1
  end
  local component = { container_id = ('a'):rep(64), identity = { pid = 1 }, status = 'ready', final = free }
  lu.assertStrContains(truth.unreachable(component), 'nothing listens on port ' .. free)
  component.identity = nil
  lu.assertNil(truth.unreachable(component))
end

-- What nobody can make sense of is neither "there is none" nor "it is gone".
function M.test_nonsense_is_no_answer()
  local f <close> = fake()
  local id = up(f:redis()).id
  local record = f:record(id)
  for _, answer in ipairs {
    '', '{', '[]', 'null', '{"State": {}}', '{"State": {"Running": "yes", "Pid": 1}}', '{"State": {"Running": true}}', ('x'):rep(200000),
  } do
    f:say('container inspect', 0, answer)
    local ended = run(docker.stop, f.engine, record, function() end)
    lu.assertEquals(ended.stopped, false, answer:sub(1, 80))
    lu.assertStrContains(ended.message, 'docker does not say how the container ' .. id:sub(1, 12) .. ' is')
  end
  f:say('container inspect', 1, 'Error response from daemon: something else')
  lu.assertEquals(run(docker.stop, f.engine, record, function() end).stopped, false)
  f:say('ps', 1, 'Error response from daemon: something else')
  local _, e = run(docker.bring_up, f:redis())
  lu.assertEquals({ e.code, #f.containers }, { 'docker_unavailable', 1 })
  -- The daemon that says that there is none is believed.
  f:say('container inspect', 1, 'Error: No such container: ' .. id)
  lu.assertEquals(run(docker.stop, f.engine, record, function() end).stopped, true)
end

function M.test_only_what_is_named_by_its_whole_id_and_our_labels_is_removed()
  local f <close> = fake()
  local own = up(f:redis())
  f.containers[2] = { id = ('e'):rep(64), labels = labels_of {
    '--label', 'envctl.project=Main', '--label', 'envctl.dependency=redis', '--label', 'envctl.scope=repo-2',
  } }
  f:say('ps', 0, own.id:sub(1, 12) .. '\n' .. own.id .. 'ff') -- parts of ids, and more than one
  f:say('volume ls', 0, '')
  lu.assertEquals(run(docker.remove, f.engine.env, f.paths, 'Main', 'redis'), false)
  lu.assertEquals(#f.containers, 2)
  run(docker.discard, f.engine.env, f.paths, 'Main')
  lu.assertEquals({ #f.containers, f.containers[1].id, #f.volumes }, { 1, ('e'):rep(64), 1 })
  -- What cannot be removed is not called removed.
  f:say('volume rm', 1, 'Error response from daemon: volume is in use')
  local _, e = run(docker.remove, f.engine.env, f.paths, 'Main', 'redis')
  lu.assertEquals(e.code, 'docker_failed')
  lu.assertStrContains(e.message, 'volume is in use')
  lu.assertTrue(run(docker.remove, f.engine.env, f.paths, 'Main', 'redis'))
  lu.assertEquals(#f.volumes, 0)
end

return M
