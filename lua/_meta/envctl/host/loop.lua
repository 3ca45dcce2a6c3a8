---@meta
--- The one event loop. Callbacks run on the main Lua state; an error in one stops the loop and is raised by run().
---@class envctl.host.loop
local loop = {}

---@class envctl.Handle
local Handle = {}
--- Idempotent.
function Handle:close() end
---@return boolean
function Handle:is_closed() end

--- Runs until nothing is active or stop() was called. Raises the first error a callback raised.
function loop.run() end
function loop.stop() end
--- One-shot timer.
---@param ms integer >= 0
---@param fn fun()
---@return envctl.Handle
function loop.timer(ms, fn) end
--- Calls fn each time the signal arrives. Such a handle does not keep the loop alive.
---@param name string 'INT'|'TERM'|'HUP'|'WINCH'|'TSTP'|'CONT'
---@param fn fun(name: string)
---@return envctl.Handle
function loop.signal(name, fn) end
--- Calls fn once when fd becomes readable (a terminal, an inherited pipe).
---@param fd integer
---@param fn fun()
---@return envctl.Handle
function loop.readable(fd, fn) end
--- Calls fn once when the file was written to, renamed or removed.
---@param path string
---@param fn fun()
---@return envctl.Handle? handle, string? message, string? code ENOENT; EMFILE and ENOSPC: the kernel has no watch left
function loop.changed(path, fn) end
--- Number of open handles of all kinds (for leak checks).
---@return integer
function loop.handles() end
return loop
