---@meta
--- Process-wide facts: arguments, environment, clocks, the standard streams.
---@class envctl.host.sys
local sys = {}

--- Command line without the program name.
---@type string[]
sys.argv = {}
--- Absolute path of the running binary (from /proc/self/exe).
---@type string
sys.exe = ''
--- Program version, such as "0.1.0".
---@type string
sys.version = ''

---@param name string
---@return string? value nil when unset
function sys.getenv(name) end
--- The whole environment as a map. Entries without '=' are left out.
---@return table<string, string>
function sys.environ() end
---@return integer
function sys.getpid() end
--- Effective user id.
---@return integer
function sys.geteuid() end
---@return string? path, string? message, string? code
function sys.cwd() end
---@param fd integer
---@return boolean
function sys.isatty(fd) end
--- Size of the terminal behind fd.
---@param fd integer
---@return integer? columns, integer? rows
function sys.term_size(fd) end
--- Writes all of text to fd 1 or 2. EPIPE is returned, never a signal.
---@param fd integer 1 or 2
---@param text string
---@return true? ok, string? message, string? code
function sys.write(fd, text) end
--- Finds a program in a PATH string. Relative entries, and entries below `avoid`, are skipped (a planted ./git never runs).
---@param name string a bare name, or a path with '/', which is only checked to be an executable regular file
---@param opts? {path: string?, avoid: string?} path: default $PATH; avoid: directory whose entries are skipped
---@return string? absolute, string? message, string? code ENOENT, EACCES, EISDIR
function sys.which(name, opts) end
--- Wall clock, milliseconds since the epoch. Only for printing and for file stamps: deadlines use mono_ms.
---@return integer
function sys.wall_ms() end
--- Monotonic clock, milliseconds (CLOCK_BOOTTIME is not used: suspended time does not count).
---@return integer
function sys.mono_ms() end
--- RFC 3339 UTC with milliseconds, such as 2026-11-25T02:16:02.123Z.
---@param wall_ms integer
---@return string
function sys.iso_time(wall_ms) end
--- n random bytes as lower-case hex (getrandom).
---@param n integer 1..64
---@return string
function sys.random_hex(n) end
--- The source of a bundled module that scripts can use or replace; nil for the others.
---@param name string such as envctl.plan.startup
---@return string?
function sys.module_text(name) end
--- Home directory of the effective user: $HOME, else the passwd entry.
---@return string?
function sys.home() end
--- Reads one line from standard input, blocking (for prompts on a terminal).
---@return string? line nil at end of input
function sys.read_line() end
--- Reads all of standard input, at most max bytes, blocking.
---@param max integer
---@return string? text, string? message, string? code EFBIG
function sys.read_stdin(max) end
return sys
