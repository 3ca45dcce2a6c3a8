--- JavaScript services: package.json scripts, the package manager, and how a dev server takes its port.
local Files = require 'envctl.detect.files'

local M = {}

local join = Files.join

local SCRIPTS = { 'dev', 'start', 'serve', 'preview' }

local LOCKS = {
  { file = 'bun.lockb', manager = 'bun' },
  { file = 'bun.lock', manager = 'bun' },
  { file = 'pnpm-lock.yaml', manager = 'pnpm' },
  { file = 'yarn.lock', manager = 'yarn' },
  { file = 'package-lock.json', manager = 'npm' },
  { file = 'npm-shrinkwrap.json', manager = 'npm' },
}

-- Programs that take the port on their command line: the words to find and what to append; `next` and `not_next` are about the
-- word after it, so that `vite build` and `next lint` are no servers.
local SERVERS = {
  { name = 'vite', words = { 'vite' }, not_next = { build = true, optimize = true },
    args = { '--port', '${port}', '--strictPort', '--host', '127.0.0.1' } },
  { name = 'next', words = { 'next' }, next = { dev = true, start = true },
    args = { '-p', '${port}', '-H', '127.0.0.1' } },
  { name = 'nuxt', words = { 'nuxt', 'nuxi' }, next = { dev = true, preview = true },
    args = { '--port', '${port}', '--host', '127.0.0.1' } },
  { name = 'astro', words = { 'astro' }, next = { dev = true, preview = true },
    args = { '--port', '${port}', '--host', '127.0.0.1' } },
  { name = 'angular', words = { 'ng' }, next = { serve = true },
    args = { '--port', '${port}', '--host', '127.0.0.1' } },
  { name = 'vue-cli', words = { 'vue-cli-service' }, next = { serve = true },
    args = { '--port', '${port}', '--host', '127.0.0.1' } },
  { name = 'webpack', words = { 'webpack-dev-server' }, args = { '--port', '${port}', '--host', '127.0.0.1' } },
  { name = 'webpack', words = { 'webpack' }, next = { serve = true, server = true },
    args = { '--port', '${port}', '--host', '127.0.0.1' } },
  { name = 'react-router', words = { 'react-router' }, next = { dev = true },
    args = { '--port', '${port}', '--host', '127.0.0.1' } },
  { name = 'remix', words = { 'remix' }, next = { ['vite:dev'] = true },
    args = { '--port', '${port}', '--host', '127.0.0.1' } },
  { name = 'parcel', words = { 'parcel' }, not_next = { build = true, watch = true },
    args = { '--port', '${port}', '--host', '127.0.0.1' } },
  { name = 'gatsby', words = { 'gatsby' }, next = { develop = true, serve = true },
    args = { '-p', '${port}', '-H', '127.0.0.1' } },
}

local BROWSER_PACKAGES = {
  'vite', 'next', 'nuxt', 'astro', 'react', 'react-dom', 'react-scripts', 'vue', 'svelte', '@sveltejs/kit', 'solid-js',
  'preact', '@angular/core', 'gatsby', '@remix-run/react', 'parcel', 'webpack-dev-server', '@vue/cli-service', 'lit',
}

-- Words of a script that hands over to other packages, so that it is nobody's single service.
local DELEGATES = {
  'concurrently', 'npm%-run%-all', 'run%-p', '%f[%w-]turbo%f[^%w]', 'lerna', '%f[%w]nx%f[%W]', '%-%-workspaces?%f[%W]',
  '%-%-prefix', '%-%-filter', '%f[%w]cd%f[%W]',
}

-- Programs that watch and build, and answer nobody.
local WATCHERS = {
  tsc = true, tailwindcss = true, sass = true, rollup = true, postcss = true, babel = true, swc = true,
}
local RUNNERS = { npx = true, bunx = true, pnpx = true }

local function depends_on(package, names)
  for _, field in ipairs { 'dependencies', 'devDependencies' } do
    local map = package[field]
    for _, name in ipairs(type(map) == 'table' and names or {}) do
      if map[name] ~= nil then
        return name
      end
    end
  end
end

--- Whether a package is one for the browser (as against a server in JavaScript).
---@param package table package.json
---@return string? dependency that says so
function M.browser(package)
  return depends_on(package, BROWSER_PACKAGES)
end

--- Whether a script is about other packages than the one it stands in.
---@param package table
---@param script string? text
---@return string? word that says so
function M.delegates(package, script)
  for _, pattern in ipairs(DELEGATES) do
    local word = script and script:match(pattern)
    if word then
      return word
    end
  end
  return type(package.workspaces) == 'table' and 'workspaces' or nil
end

-- The last simple command of a script: extra arguments are appended to that one.
local function last_command(script)
  local rest = script:gsub('&&', '\n'):gsub('||', '\n'):gsub('[;|&]', '\n')
  local last = ''
  for part in rest:gmatch('[^\n]+') do
    if part:find('%S') then
      last = part
    end
  end
  return last
end

local function is_watcher(script)
  local first, second = last_command(script):match('^%s*(%S+)%s*(%S*)')
  return first ~= nil and (WATCHERS[first] or RUNNERS[first] and WATCHERS[second]) == true
end

--- The script that starts the service.
---@param package table
---@return string? name, string? text
function M.script(package)
  local scripts = type(package.scripts) == 'table' and package.scripts or {}
  for _, name in ipairs(SCRIPTS) do
    local text = scripts[name]
    if type(text) == 'string' and text:find('%S') and not is_watcher(text) then
      return name, text
    end
  end
end

local function wanted_manager(files, dir, package)
  local field = type(package.packageManager) == 'string' and package.packageManager:match('^(%a+)@')
  if field == 'npm' or field == 'pnpm' or field == 'yarn' or field == 'bun' then
    return field, '`' .. join(dir, 'package.json') .. '` asks for ' .. field
  end
  for _, where in ipairs(dir == '' and { '' } or { dir, '' }) do
    for _, lock in ipairs(LOCKS) do
      if files:is_file(join(where, lock.file)) then
        return lock.manager, '`' .. join(where, lock.file) .. '`'
      end
    end
  end
  return 'npm', nil
end

--- The package manager: what the project asks for if it is there, else npm.
---@return string manager, string? evidence, boolean available
function M.manager(files, dir, package)
  local manager, evidence = wanted_manager(files, dir, package)
  if files:which(manager) then
    return manager, evidence, true
  elseif manager ~= 'npm' and files:which('npm') then
    return 'npm', evidence .. ', but ' .. manager .. ' is not on PATH', true
  end
  return manager, evidence, false
end

-- The server a script starts with its last command, by word: `tsc && vite --open` is vite, `vitest` is not.
local function server_of(script)
  local words = {}
  for word in last_command(script):gmatch('%S+') do
    words[#words + 1] = word:match('[^/]*$')
  end
  for i, word in ipairs(words) do
    for _, server in ipairs(SERVERS) do
      for _, name in ipairs(server.words) do
        local after = words[i + 1]
        local wanted = not server.next or server.next[after or '']
        if word == name and wanted and not (server.not_next and server.not_next[after or '']) then
          return server, words
        end
      end
    end
  end
  return nil, words
end

local PORT_FLAGS = { ['--port'] = true, ['-p'] = true }

-- Arguments to append, without those that the script gives itself.
local function arguments(server, words)
  local given = {}
  for _, word in ipairs(words) do
    given[word:match('^[^=]*')] = true
  end
  local own_port = given['--port'] or (server.args[1] == '-p' and given['-p']) or false
  local out, i = {}, 1
  while i <= #server.args do
    local flag = server.args[i]
    local has_value = flag ~= '--strictPort'
    local skip = given[flag] or (PORT_FLAGS[flag] and own_port)
      or ((flag == '--host' or flag == '-H') and (given['--host'] or given['-H'] or given['--hostname']))
    if not skip then
      out[#out + 1] = flag
      if has_value then
        out[#out + 1] = server.args[i + 1]
      end
    end
    i = i + (has_value and 2 or 1)
  end
  return out, own_port
end

-- npm takes what comes after `--`; pnpm, yarn and bun pass everything after the name, and would hand a `--` on.
local function run_command(manager, name, args)
  local command = { manager, 'run', name }
  if manager == 'npm' and #args > 0 then
    command[#command + 1] = '--'
  end
  for _, a in ipairs(args) do
    command[#command + 1] = a
  end
  return command
end

local INSTALL = {
  npm = { locked = { 'npm', 'ci' }, free = { 'npm', 'install' } },
  pnpm = { locked = { 'pnpm', 'install', '--frozen-lockfile' }, free = { 'pnpm', 'install' } },
  yarn = { locked = { 'yarn', 'install', '--frozen-lockfile' }, free = { 'yarn', 'install' } },
  bun = { locked = { 'bun', 'install' }, free = { 'bun', 'install' } },
}

local function needs_packages(package)
  for _, field in ipairs { 'dependencies', 'devDependencies' } do
    if type(package[field]) == 'table' and next(package[field]) ~= nil then
      return true
    end
  end
  return false
end

-- Lock files of a package manager that are in a directory.
local function locked_in(files, dir, manager)
  for _, lock in ipairs(LOCKS) do
    if lock.manager == manager and files:is_file(join(dir, lock.file)) then
      return true
    end
  end
  return false
end

-- Whether the project root is a workspace, whose packages are installed together and have no lock file of their own.
local function is_workspace(files)
  local root = files:json('package.json')
  return files:is_file('pnpm-workspace.yaml') or root ~= nil and type(root.workspaces) == 'table'
end

-- Yarn from version 2 on makes no node_modules unless it is told to.
local function output_of(files, home, manager)
  local settings = manager == 'yarn' and files:text(join(home, '.yarnrc.yml'))
  local linker = settings and (settings:match('%f[%w]nodeLinker:%s*["\']?([%w-]+)') or 'pnp')
  return linker == 'pnp' and '.pnp.cjs' or 'node_modules'
end

-- The prepare list.
local function install_step(files, dir, package, manager)
  if not needs_packages(package) then
    return {}
  end
  local in_workspace = dir ~= '' and not locked_in(files, dir, manager) and is_workspace(files)
  local home = in_workspace and '' or dir
  local locked = locked_in(files, home, manager)
  -- Installing may write the lock file, and is another command from then on, but not another installation.
  local inputs = { 'package.json' }
  for _, lock in ipairs(LOCKS) do
    inputs[#inputs + 1] = lock.manager == manager and lock.file or nil
  end
  inputs[#inputs + 1] = in_workspace and join(dir, 'package.json') or nil
  local step = {
    name = 'install', command = INSTALL[manager][locked and 'locked' or 'free'], inputs = inputs,
    outputs = { output_of(files, home, manager) }, key = manager .. ' install', dir = in_workspace and '.' or nil,
  }
  if dir ~= '' and not in_workspace and not locked and files:is_dir('node_modules') then
    step.skip_reason = '`node_modules` exists'
  end
  return { step }
end

local function missing_program(name, file)
  return {
    message = '`' .. file .. '` needs ' .. name .. ', which is not on PATH',
    hint = 'install ' .. name .. ', or give the command yourself in .envctl',
  }
end

local ENTRY = { 'server.js', 'server.mjs', 'server.cjs', 'index.js', 'index.mjs', 'app.js', 'main.js', 'src/server.js' }

-- A program without scripts. Other names than server.* are servers only when they listen.
local function plain(files, dir, package)
  local names = {}
  if type(package) == 'table' and type(package.main) == 'string' then
    names[1] = Files.clean(package.main)
  end
  for _, name in ipairs(ENTRY) do
    names[#names + 1] = name
  end
  for _, name in ipairs(names) do
    local rel = join(dir, name)
    local text = files:text(rel)
    local pos = text and text:find('%.listen%s*%(')
    if text and (pos or name:find('server%.[mc]?js$')) then
      return {
        command = { 'node', name },
        framework = 'node',
        env = {},
        prepare = {},
        evidence = '`' .. rel .. '` and no script for it; the port comes in PORT',
        file = rel,
        line = pos and Files.line_of(text, pos) or 1,
        problem = not files:which('node') and missing_program('node', rel) or nil,
      }
    end
  end
end

local function line_of_script(files, rel, name)
  local text = files:text(rel) or ''
  local scripts = text:find('"scripts"%s*:') or 1
  local pos = text:find('"' .. name .. '"%s*:', scripts)
  return pos and Files.line_of(text, pos) or nil
end

local function with_script(files, dir, package, name, text)
  local rel = join(dir, 'package.json')
  local manager, why, available = M.manager(files, dir, package)
  local server, words = server_of(text)
  local args, own_port, port_text, warning = {}, false, 'the port comes in PORT', nil
  if server then
    args, own_port = arguments(server, words)
    port_text = own_port and 'its script gives the port itself' or 'the port is given as an argument'
  end
  if own_port and not text:find('PORT', 1, true) then
    warning = 'script `' .. name .. '` in `' .. rel .. '` sets its own port, which envctl cannot change'
  end
  local env = {}
  local cra = text:find('react%-scripts%s+start') ~= nil
  if cra then
    env = { HOST = '127.0.0.1', BROWSER = 'none' }
  end
  local prepare = install_step(files, dir, package, manager)
  local warnings = { warning }
  local line = line_of_script(files, rel, name)
  local what = '`' .. rel .. (line and ':' .. line or '') .. '` has the script `' .. name .. '`'
  local framework = server and server.name or cra and 'react-scripts' or 'node'
  local parts = { what .. (framework ~= 'node' and ' (' .. framework .. ')' or ''), port_text }
  parts[#parts + 1] = why
  return {
    command = run_command(manager, name, args),
    framework = framework,
    manager = manager,
    env = env,
    prepare = prepare,
    evidence = table.concat(parts, '; '),
    file = rel,
    line = line,
    warnings = warnings,
    problem = not available and missing_program(manager, rel) or nil,
  }
end

--- A JavaScript service in a directory, or nil and why not.
---@param files envctl.detect.Files
---@param dir string relative
---@return envctl.detect.Found? found, string? why_not, table? package
function M.detect(files, dir)
  local rel = join(dir, 'package.json')
  local package, problem = files:json(rel)
  if problem then
    return nil, '`' .. rel .. '` cannot be read: ' .. problem
  end
  if not package then
    return plain(files, dir), nil, nil
  end
  local name, text = M.script(package)
  if name then
    return with_script(files, dir, package, name, text), nil, package
  end
  local found = plain(files, dir, package)
  return found, not found and '`' .. rel .. '` has no script dev, start, serve or preview' or nil, package
end

return M
