---@meta
--- Loopback networking: probes, and the keeper's unix socket.
---@class envctl.host.net
local net = {}

--- Tries a TCP connection and closes it again.
---@param host string numeric address, '127.0.0.1' or '::1'
---@param port integer
---@param timeout_ms integer
---@param fn fun(ok: true?, message: string?, code: string?)
---@return envctl.Handle closing it cancels (fn is not called)
function net.tcp_probe(host, port, timeout_ms, fn) end
--- One HTTP/1.1 GET with Connection: close. Redirects are not followed.
---@param opts {host: string, port: integer, path: string, timeout_ms: integer, max_bytes: integer?}
---@param fn fun(status: integer?, body_or_message: string?, code: string?) on failure status is nil
---@return envctl.Handle
function net.http_get(opts, fn) end

---@class envctl.Conn
local Conn = {}
--- Starts reading lines (without the newline). on_line(nil) at end; after an error on_line(nil, message, code). A line over
--- 16 MiB is an error.
---@param on_line fun(line: string?, message: string?, code: string?)
function Conn:start(on_line) end
--- Queues text. A peer that does not read makes it wait in memory.
---@param text string
---@return true? ok, string? message, string? code
function Conn:write(text) end
---@return integer uid of the peer process
function Conn:peer_uid() end
---@return integer pid of the peer process
function Conn:peer_pid() end
--- Writes what is queued, then closes. Idempotent.
function Conn:close() end
---@return boolean
function Conn:is_closed() end

--- Listens on the unix socket dir/name (bound through /proc/self/fd, so long paths work; mode 0600; an old socket file is
--- replaced: the caller holds the lock that makes this safe). Connections of other uids are dropped.
---@param dir string
---@param name string
---@param on_conn fun(conn: envctl.Conn)
---@return envctl.Handle? server, string? message, string? code
function net.unix_listen(dir, name, on_conn) end
---@param dir string
---@param name string
---@return envctl.Conn? conn, string? message, string? code ENOENT, ECONNREFUSED, EPERM when the peer is another user
function net.unix_connect(dir, name) end
return net
