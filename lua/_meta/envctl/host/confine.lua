---@meta
--- The script host's cage, limits for one call of a script, and reading files that stay inside of a directory.
---@class envctl.host.confine
local confine = {}

---@class envctl.ConfineReport
---@field seccomp boolean
---@field seccomp_why string? why not
---@field landlock integer ABI number of the kernel, 0 when it has none
---@field landlock_why string?

--- What this kernel has. Changes nothing.
---@return envctl.ConfineReport
function confine.probe() end
--- Gives up everything but descriptors 0 to 2, memory and time: dies with its parent, no new privileges, resource limits, no other
--- descriptor; with seccomp any other system call ends the process. There is no way back.
---@param opts {memory: integer?, cpu_seconds: integer?} memory: bytes of address space beyond what is mapped now
---@return envctl.ConfineReport? report, string? message, string? code
function confine.apply(opts) end
--- Ends the process at once: no finalisers, no exit handlers.
---@param code integer
function confine.exit(code) end
--- One line of descriptor 0, without its newline; nil at the end. Blocks.
---@param max integer bytes
---@return string? line, string? message, string? code
function confine.read_line(max) end
--- So many bytes of descriptor 0; nil when it ends before. Blocks.
---@param count integer
---@return string? bytes, string? message, string? code
function confine.read_bytes(count) end
--- All of text to descriptor 1. Blocks.
---@param text string
---@return true? ok, string? message, string? code
function confine.write(text) end
--- Starts counting processor time. After ms the running script gets an error that names its line; a script that goes on all the
--- same ends the process, after a last line {"fatal": {"why", "file", "line"}} on descriptor 1.
---@param ms integer
---@return integer left what was left of the count that this one replaces, 0 without one
function confine.arm(ms) end
--- Ends the count, or goes on with an outer one.
---@param left integer? what arm returned
function confine.disarm(left) end
--- Says which coroutine runs now (nil: the caller's), so that messages name its line.
---@param co thread?
function confine.running(co) end
--- Which limit this call has passed.
---@return 'cpu'|'memory'|nil
function confine.tripped() end
--- From now on the VM gets this many bytes more than it has: a script that needs more gets an error that names its line, or "not
--- enough memory" for what is much too large at once.
---@param bytes integer
function confine.limit_memory(bytes) end
--- Where the script was when it was refused memory last (in this call).
---@return string? file, integer? line
function confine.refused() end
--- Reads a regular file below a directory; links that lead out of it are EXDEV. The facts are those of the file that was read.
---@param dir string
---@param path string relative
---@param max integer bytes
---@return string? data, {uid: integer, mode: integer}|string facts_or_message, string? code
function confine.read(dir, path, max) end
return confine
