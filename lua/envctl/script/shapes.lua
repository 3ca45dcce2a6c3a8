--- The shape of what .envctl.lua returns: one table, from which the checks, the messages and the reference in
--- docs/reference/scripting.md come. Pure.
local API = require('envctl.script.wire').API

local M = {}

local function string_of(what, opts)
  opts = opts or {}
  opts.type, opts.what = 'string', what
  return opts
end

-- A copy of a shape that says what the field is for.
local function doc(text, shape)
  local out = { doc = text }
  for k, v in pairs(shape) do
    out[k] = v
  end
  return out
end

local PORT = { type = 'integer', min = 1, max = 65535 }
local MS = { type = 'integer', min = 0, max = 86400000 }
local TEXTS = { type = 'list', item = { type = 'string' }, what = 'a list of strings' }
local BOOLEAN = { type = 'boolean' }

local function split_problem(text)
  if not text:find('[\'"\\]') then
    return not text:find('%S') and 'the command is empty' or nil
  end
  local words, why = require('envctl.detect.command').split(text)
  if not words then
    return why, 'commands are split into words like a shell does; give a list to avoid quoting'
  elseif not words[1] then
    return 'the command is empty'
  end
end

local function path_problem(text)
  if text:find('^[/~]') then
    return 'expected a path below the project, got "' .. text .. '"', 'leave the leading ' .. text:sub(1, 1) .. ' out'
  end
  local depth = 0
  for part in text:gmatch('[^/]+') do
    depth = depth + (part == '..' and -1 or part ~= '.' and 1 or 0)
    if depth < 0 then
      return '"' .. text .. '" leaves the project directory', 'services live inside of the project'
    end
  end
end

-- A file of a worktree: below it, and not git's.
local function tree_path_problem(text)
  local why, hint = path_problem(text)
  if why then
    return (why:gsub('project', 'worktree')), hint and 'paths are relative to the worktree'
  elseif text:find('^%.git$') or text:find('^%.git/') or text:find('[%c]') or text:find('/$') or text == '' then
    return '"' .. text .. '" is no file that a worktree can be given'
  end
end

local function pattern_problem(text)
  -- A wrong pattern raises; whether it finds anything is of no interest.
  local ok, why = pcall(string.find, '', text)
  if not ok then
    return 'is no Lua pattern: ' .. tostring(why):gsub('^[^:]*:%d+: ', '')
  end
end

local function url_path_problem(text)
  if text:sub(1, 1) ~= '/' or text:find('[%s%c]') then
    return 'expected a path that starts with /, got "' .. text .. '"', 'such as "/healthz"; host and port are known'
  end
end

local DIR = string_of('a directory inside of the project', { test = path_problem, empty = true })
local COMMAND = {
  type = 'union', what = 'a string or a list of strings',
  of = {
    { type = 'string', what = 'a command', test = split_problem },
    { type = 'list', item = { type = 'string', empty = true }, min = 1, what = 'a list of words' },
  },
}
local ENV = {
  type = 'map', what = 'a table of variables',
  key = { pattern = '^[%a_][%w_]*$', what = 'expected the name of a variable' },
  item = {
    type = 'union', what = 'a string',
    of = {
      { type = 'string', empty = true }, { type = 'integer', hint = 'write other numbers as text: "1.5"' }, BOOLEAN,
    },
  },
}
local NAME = { pattern = '^%a[%w_-]*$', what = 'expected a name of letters, digits, - and _' }

local READY_KINDS = { 'tcp', 'http', 'log', 'command' }
local READY = {
  type = 'union', what = '"tcp", "none" or a table such as { http = "/healthz" }',
  of = {
    { type = 'enum', values = { 'tcp', 'none' } },
    {
      type = 'record', exclusive = READY_KINDS,
      fields = {
        tcp = { type = 'boolean', doc = 'the port is open (the default of a service that listens)' },
        http = string_of('a path', { test = url_path_problem, doc = 'a GET of the path answers 2xx or 3xx' }),
        log = string_of('a Lua pattern', { test = pattern_problem, doc = 'a line of the log matches the Lua pattern' }),
        command = { type = 'union', what = COMMAND.what, of = COMMAND.of, doc = 'the command exits with 0' },
        start_ms = { type = 'integer', min = 0, max = 86400000, doc = 'how long it has to stay alive' },
        timeout_ms = { type = 'integer', min = 1, max = 86400000, doc = 'how long to wait for it at most' },
      },
    },
  },
}

local HEALTH = {
  type = 'record', exclusive = { 'tcp', 'http', 'command' }, one_of = true,
  fields = {
    tcp = { type = 'boolean', doc = 'the port is open' },
    http = string_of('a path', { test = url_path_problem, doc = 'a GET of the path answers 2xx or 3xx' }),
    command = { type = 'union', what = COMMAND.what, of = COMMAND.of, doc = 'the command exits with 0' },
    every_ms = { type = 'integer', min = 500, max = 86400000, doc = 'how often' },
    timeout_ms = { type = 'integer', min = 1, max = 600000, doc = 'how long one check may take' },
    failures = { type = 'integer', min = 1, max = 100, doc = 'how many in a row make it unhealthy' },
  },
}

local PREPARE = {
  type = 'list', what = 'a list of steps such as { { name = "install", command = "make deps" } }',
  item = {
    type = 'record', required = { 'command' },
    fields = {
      name = doc('what it is called in messages', { type = 'string' }),
      command = doc('what runs', COMMAND),
      shell = doc('run the command with sh -c', BOOLEAN),
      dir = doc('where; the default is that of the service', DIR),
      inputs = doc('files that it depends on: it is left out while they are the same', TEXTS),
      outputs = doc('files or directories that it makes: it runs again when one is missing or empty', TEXTS),
      timeout_ms = doc('how long it may take', MS),
    },
  },
}

-- Asked for each project.
local ENABLE_IF = doc('a path that has to exist, or function(ctx) that returns true', {
  type = 'union', what = 'a path or a function',
  of = { { type = 'string', what = 'a path', test = path_problem }, { type = 'function' } },
})

local SERVICE = {
  type = 'record', what = 'a table that describes the service',
  renamed = {
    cmd = 'the key is called "command"', cwd = 'the key is called "dir"', depends_on = 'the key is called "needs"',
    environment = 'the key is called "env"', healthcheck = 'the key is called "health"',
    path = 'the key is called "dir"', requires = 'the key is called "needs"', ports = 'a service has one "port"',
    root = 'the key is called "dir"',
  },
  fields = {
    type = doc('a word for people; the default is the name', { type = 'string' }),
    dir = doc('directory; the default is the project', DIR),
    command = doc('what runs; a string is split into words first', COMMAND),
    shell = doc('run the command with sh -c', BOOLEAN),
    port = doc('a fixed port; taken by somebody else, it is an error', PORT),
    listens = doc('false for workers', BOOLEAN),
    env = doc('variables; placeholders are filled in when it starts', ENV),
    needs = doc('services and dependencies that come first', TEXTS),
    critical = doc('false: the start goes on without it', BOOLEAN),
    groups = doc('names to select services by', TEXTS),
    modes = doc('where it exists; the default is both', {
      type = 'list', what = 'a list of "main" and "trees"', item = { type = 'enum', values = { 'main', 'trees' } },
    }),
    prepare = doc('steps before the start', PREPARE),
    ready = doc('when it counts as started', READY),
    health = doc('checks while it runs', HEALTH),
    restart = doc('what happens when it ends by itself', { type = 'enum', values = { 'no', 'on-failure', 'always' } }),
    enable_if = ENABLE_IF,
    test = doc('how `envctl test` tests it', {
      type = 'record', required = { 'command' }, fields = {
        command = doc('what runs', COMMAND), dir = doc('where; the default is that of the service', DIR),
        timeout_ms = doc('how long it may take', MS),
      },
    }),
    stop = doc('how it is asked to end', {
      type = 'record',
      fields = {
        signal = {
          type = 'enum', values = { 'TERM', 'INT', 'QUIT', 'HUP', 'USR1', 'USR2', 'KILL' }, doc = 'the first signal',
        },
        timeout_ms = { type = 'integer', min = 0, max = 600000, doc = 'how long after it KILL follows' },
      },
    }),
  },
}

local DEPENDENCY = {
  type = 'record', what = 'a table that describes the dependency',
  fields = {
    enabled = doc('false switches it off', BOOLEAN),
    enable_if = ENABLE_IF,
    image = doc('container image, for the provider docker', { type = 'string' }),
    provider = doc('how it runs; the default is auto', {
      type = 'enum', values = { 'auto', 'native', 'docker', 'external', 'command' },
    }),
    command = doc('what runs, for the provider command', COMMAND),
    args = doc('arguments of the image', TEXTS),
    url = doc('where it is, for the provider external', { type = 'string' }),
    env = doc('its own environment', ENV),
    ports = doc('base ports by name', {
      type = 'map', key = NAME, what = 'a table of ports by name',
      item = {
        type = 'union', what = 'an integer 1..65535, or a table with base and container',
        of = {
          PORT,
          {
            type = 'record', required = { 'base', 'container' },
            fields = {
              base = doc('where counting begins on this machine', PORT),
              container = doc('what its image listens on; the default is the same number', PORT),
            },
          },
        },
      },
    }),
    provides = doc('values that services use as ${NAME}', {
      type = 'map', key = ENV.key, item = { type = 'string', empty = true }, what = 'a table of texts by name',
    }),
    scope = doc('one per project, or one for all', { type = 'enum', values = { 'isolated', 'shared' } }),
    needs = doc('dependencies that come first', TEXTS),
    volumes = doc('directories of the image to keep', TEXTS),
    ready = doc('when it counts as started', READY),
  },
}

local HOOK = {
  type = 'union', what = 'a function, or a table with run = function',
  of = {
    { type = 'function' },
    {
      type = 'record', required = { 'run' },
      fields = {
        run = { type = 'function', what = 'a function' },
        optional = BOOLEAN,
        timeout_ms = { type = 'integer', min = 1, max = 3600000 },
      },
    },
  },
}

local COMMAND_ENTRY = {
  type = 'record', required = { 'run' }, what = 'a table with help and run',
  fields = {
    help = string_of('one line of help', { pattern = '^[^\n]*$' }),
    usage = string_of('one line', { pattern = '^[^\n]*$' }),
    run = { type = 'function', what = 'a function' },
    timeout_ms = { type = 'integer', min = 1, max = 86400000 },
  },
}

local ANY_MAP = { type = 'map', item = { type = 'any' } }

local CONFIG = { type = 'map', item = { type = 'any' }, what = 'a table of settings' }

local RENAMED = {
  overrides = 'the key is called "override"', hooks = 'the key is called "on"',
  deps = 'the key is called "dependencies"', service = 'the key is called "services"',
  version = 'the key is called "envctl"',
}

local function map_of(known, item, what, unknown, plural)
  return {
    type = 'map', item = item, what = what, keys = known, unknown = unknown, plural = plural, no_function = true,
  }
end

--- The whole table. What is given are the declared names.
---@param points table<string, any>
---@param hooks table<string, any>
---@param modules table<string, any>
---@return table shape
function M.script(points, hooks, modules)
  local override = { type = 'function', what = 'function(base, ctx)' }
  return {
    type = 'record', what = 'a table', required = { 'envctl' }, renamed = RENAMED,
    fields = {
      envctl = {
        type = 'integer', min = API, max = API, no_function = true, doc = 'the version of the script API; needed',
        hint = 'write envctl = 1: the version of the script API; a newer envctl may know others',
      },
      config = doc('settings, as in `config --stdin-json`', CONFIG),
      services = doc('what runs', { type = 'map', key = NAME, item = SERVICE, what = 'a table of services by name' }),
      dependencies = doc('what services need', {
        type = 'map', key = NAME, item = DEPENDENCY, what = 'a table of dependencies by name',
      }),
      override = doc('decisions',
        map_of(points, override, 'a table of functions by point', 'unknown override point', 'points')),
      on = doc('hooks', map_of(hooks, HOOK, 'a table of functions by event', 'unknown event', 'events')),
      modules = doc('parts of envctl',
        map_of(modules, ANY_MAP, 'a table of modules by name', 'unknown module', 'modules')),
      commands = {
        doc = 'commands of your own: `{ help, usage, run = function(ctx, host), timeout_ms }`', type = 'map',
        item = COMMAND_ENTRY, what = 'a table of commands by name', no_function = true,
        key = { pattern = '^%l[%l%d-]*$', what = 'expected a name of lower-case letters, digits and -' },
      },
    },
  }
end

M.service, M.dependency, M.ready_kinds = SERVICE, DEPENDENCY, READY_KINDS
M.tree_path_problem = tree_path_problem
M.parts = {
  env = ENV, port = PORT, command = COMMAND, texts = TEXTS, ms = MS, name = NAME, prepare = PREPARE, ready = READY,
}

return M
