---@meta
--- TCP ports of this machine.
---@class envctl.host.port
local port = {}

--- All listening sockets, IPv4 and IPv6, from one sock_diag dump (falls back to /proc/net/tcp{,6}).
---@return table<integer, {addr: string, family: 'inet'|'inet6', inode: integer, uid: integer}[]>
function port.listeners() end
--- All sockets whose local port this is, whatever their state ("connection" is one that is neither of the others). Empty where the
--- kernel does not tell.
---@param n integer 1..65535
---@return {addr: string, family: 'inet'|'inet6', inode: integer, uid: integer, state: 'listen'|'bound'|'time-wait'|'connection'}[]
function port.sockets(n) end
--- Whether a server could listen on the port now: bind with SO_REUSEADDR on 0.0.0.0 and :: in turn. Nobody who does
--- the same, or listens a moment later, is disturbed.
---@param n integer 1..65535
---@return true? free, string? message, string? code EADDRINUSE, EACCES; any other says that the look itself failed
function port.check(n) end
--- Holds a port with bound sockets that do not listen (SO_REUSEADDR, 127.0.0.1 and ::1): the kernel will not hand it out, and a
--- server that sets SO_REUSEADDR can still listen on it.
---@param n integer
---@return envctl.Handle? handle, string? message, string? code
function port.hold(n) end
--- net.ipv4.ip_local_port_range
---@return integer low, integer high
function port.ephemeral_range() end
return port
