---@meta
--- Child processes. There is one way to start one, and its stdin class is always explicit.
---@class envctl.host.proc
local proc = {}

---@class envctl.Identity
---@field pid integer
---@field start_time_ticks integer field 22 of /proc/<pid>/stat
---@field boot_id string
---@field pid_ns integer inode of the pid namespace
---@field session_id integer

---@class envctl.SpawnOptions
---@field argv string[] argv[1] is the program: absolute, or found by the caller with sys.which
---@field env table<string, string> the child's whole environment
---@field cwd string absolute directory
---@field stdin 'null'|'pipe'|'terminal'
---@field stdout 'null'|'pipe'|'inherit'|{log: string} log: path opened O_APPEND|O_CREAT, 0600
---@field stderr 'null'|'pipe'|'inherit'|'stdout'|{log: string}
---@field session? boolean own session (default true; false only with stdin 'terminal')
---@field gated? boolean the child waits, and becomes the program only after open_gate(); a closed gate ends it
---@field cgroup? string absolute path of an existing cgroup v2 directory to join before exec
---@field on_exec? fun(ok: boolean, message: string?, code: string?) the program runs, or why it could not (message names cwd or program)
---@field on_exit? fun(code: integer?, signal: string?) once; after on_exec, and after all piped output was delivered
---@field on_stdout? fun(chunk: string?) nil at end
---@field on_stderr? fun(chunk: string?)

---@class envctl.Process
local Process = {}
---@return integer
function Process:pid() end
---@return envctl.Identity
function Process:identity() end
--- Lets a gated child become its program. Idempotent.
function Process:open_gate() end
---@param name string 'TERM', 'KILL', …
---@return true? ok, string? message, string? code
function Process:signal(name) end
--- Writes to the child's stdin pipe.
---@param data string
---@return true? ok, string? message, string? code
function Process:write(data) end
function Process:close_stdin() end
--- Stops watching. An unopened gate is closed (the child ends). Does not end a running program. Idempotent. A child that ends
--- later is still reaped.
function Process:close() end

--- Starts a child. Misuse raises; what the world does returns nil, message, code.
---@param opts envctl.SpawnOptions
---@return envctl.Process? process, string? message, string? code
function proc.spawn(opts) end
--- Watches a process that need not be our child (pidfd). fn runs once when it has ended.
---@param id envctl.Identity
---@param fn fun()
---@return envctl.Handle? handle, string? message, string? code ESRCH when it is not that process any more
function proc.watch(id, fn) end
--- Signals exactly that process: pidfd, identity checked after opening. Never pid 0, 1, ourselves or our parent (EPERM).
---@param id envctl.Identity
---@param name string
---@return true? ok, string? message, string? code ESRCH gone or another process now, EPERM
function proc.signal(id, name) end
--- Number of children not reaped yet (for leak checks).
---@return integer
function proc.children() end
return proc
