---@meta
--- What a script (.envctl.lua) can use and has to return. For editors: see docs/scripting.md for .luarc.json.

--- The only global of envctl. Beside it there are base, table, string, math, utf8 and coroutine of Lua 5.4, without what reaches
--- files, processes, the clock or the loaded code.
-- luacheck: globals envctl, ignore 241
---@class envctl
---@field api integer version of this API
---@field unset any in place of a value: takes the lower layers' value away
envctl = {}

--- Runs another file of the repository and returns its value. Only while the script is loaded; its bytes belong to what is trusted.
---@param path string relative to the root of the repository
---@return any
function envctl.include(path) end

--- A module that the planner is made of, in a copy of the script's own: plan.startup, plan.ports, plan.services, plan.digest,
--- plan.reuse, plan.selection, plan.placeholders, deps.plan, resume.reconcile, util.json, … For scripts that replace a module.
---@param name string
---@return table
function envctl.bundled(name) end

--- In place of a list: the lower layers' list with these items behind it.
---@param items any[]
---@return any
function envctl.append(items) end

---@alias envctl.Command string|string[] a string is split into words first and filled in afterwards
---@alias envctl.Change<T> T|fun(base: T): T a function gets the value of the layers below

---@class envctl.Script
---@field envctl 1
---@field config? table<string, any> settings, as in `envctl config --stdin-json`
---@field services? table<string, envctl.Service>
---@field dependencies? table<string, envctl.Dependency>
---@field override? table<envctl.Point, fun(base: (fun(ctx?: table): any), ctx: table): any>
---@field on? table<envctl.Event, envctl.Hook>
---@field modules? table<string, table<string, function>>
---@field commands? table<string, envctl.ScriptCommand>

---@class envctl.Service
---@field type? string a word for people
---@field dir? string directory below the project
---@field command? envctl.Command
---@field shell? boolean run it with sh -c
---@field port? integer a fixed port
---@field listens? boolean false for workers
---@field env? table<string, string|integer|boolean> with ${port}, ${project}, ${root}, ${ports.N}, ${services.N.url}, ${env.N} …
---@field needs? string[] services and dependencies that come first
---@field critical? boolean false: a start goes on without it
---@field groups? string[]
---@field modes? ('main'|'trees')[]
---@field prepare? envctl.PrepareStep[]
---@field ready? 'tcp'|'none'|envctl.Ready
---@field health? envctl.Health
---@field restart? 'no'|'on-failure'|'always'
---@field enable_if? string|fun(ctx: {project: envctl.ProjectInfo}): boolean a path that has to exist, or a function
---@field test? {command: envctl.Command, dir?: string, timeout_ms?: integer}
---@field stop? {signal?: 'TERM'|'INT'|'QUIT'|'HUP'|'USR1'|'USR2'|'KILL', timeout_ms?: integer}

---@class envctl.ProjectInfo
---@field name string
---@field mode 'main'|'trees'
---@field root string

---@class envctl.PrepareStep
---@field name? string
---@field command envctl.Command
---@field shell? boolean
---@field dir? string
---@field inputs? string[] files that decide whether it is needed again
---@field outputs? string[] files or directories that it makes
---@field timeout_ms? integer

---@class envctl.Ready one of tcp, http, log, command
---@field tcp? boolean
---@field http? string path
---@field log? string Lua pattern
---@field command? envctl.Command
---@field start_ms? integer
---@field timeout_ms? integer

---@class envctl.Health one of tcp, http, command
---@field tcp? boolean
---@field http? string path
---@field command? envctl.Command
---@field every_ms? integer
---@field timeout_ms? integer
---@field failures? integer

---@class envctl.Dependency
---@field enabled? boolean
---@field enable_if? string|fun(ctx: {project: envctl.ProjectInfo}): boolean a path that has to exist in a project that gets it, or a function
---@field image? string
---@field provider? 'auto'|'native'|'docker'|'external'|'command'
---@field command? envctl.Command
---@field args? string[]
---@field url? string
---@field env? table<string, string|integer|boolean>
---@field ports? table<string, integer>
---@field provides? table<string, string>
---@field scope? 'isolated'|'shared'
---@field needs? string[]
---@field volumes? string[]
---@field ready? 'tcp'|'none'|envctl.Ready

---@alias envctl.Point
---| 'detect.services'
---| 'plan.ports'
---| 'plan.startup'
---| 'plan.env'
---| 'deps.select'
---| 'reuse.decide'
---| 'resume.reconcile'
---| 'wizard.steps'
---| 'wizard.defaults'
---| 'worktree.name'
---| 'worktree.seed'
---| 'test.suites'
---| 'debug.collect'
---| 'debug.redact'
---| 'doctor.checks'
---| 'dashboard.rows'

---@alias envctl.Event
---| 'project.created'
---| 'prepare'
---| 'before_start'
---| 'service.ready'
---| 'started'
---| 'before_stop'
---| 'stopped'
---| 'worktree.removing'
---| 'test.finished'

---@alias envctl.HookFunction fun(ev: table, host: envctl.ScriptHost)
---@alias envctl.Hook envctl.HookFunction|{run: envctl.HookFunction, optional?: boolean, timeout_ms?: integer}

---@class envctl.CommandContext
---@field args string[] the words behind the command
---@field project string the worktree that it was called in, or Main
---@field mode 'main'|'trees'
---@field root string its directory

---@class envctl.ScriptCommand
---@field help? string
---@field usage? string
---@field run fun(ctx: envctl.CommandContext, host: envctl.ScriptHost): integer?
---@field timeout_ms? integer

--- What hooks and commands can do. Everything is relative to the project and stays inside of it.
---@class envctl.ScriptHost
local ScriptHost = {}

--- Runs a program and waits. The keys cwd, env and timeout_ms (default 60000) stand beside the words. One that a signal ended has
--- no code. Of stdout and stderr the first MiB is kept.
---@param command table such as { "make", "seed", cwd = "backend", timeout_ms = 60000 }
---@return {code: integer?, signal: string?, stdout: string, stderr: string}
function ScriptHost.run(command) end
---@param path string
---@return string? text nil when there is no such file
function ScriptHost.read(path) end
---@param path string
---@param text string
function ScriptHost.write(path, text) end
--- GET from this machine: http://localhost:PORT/…
---@param url string
---@return {status: integer?, body: string?, error: string?}
function ScriptHost.http_get(url) end
--- Result text.
function ScriptHost.print(...) end
--- A note.
function ScriptHost.log(...) end
--- What it is doing now.
function ScriptHost.progress(...) end
---@param question string
---@param default? string the answer where nobody can be asked
---@return string
function ScriptHost.ask(question, default) end
