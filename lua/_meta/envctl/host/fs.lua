---@meta
--- Files. Every descriptor is close-on-exec. Failures return nil, "path: reason", CODE (an errno name).
---@class envctl.host.fs
local fs = {}

---@class envctl.Stat
---@field type 'file'|'dir'|'link'|'fifo'|'socket'|'other'
---@field size integer bytes
---@field mtime_ms integer
---@field mode integer permission bits
---@field uid integer
---@field ino integer
---@field dev integer

--- Whole file, bounded.
---@param path string
---@param opts? {max: integer?, nofollow: boolean?} max bytes (default 8 MiB), more is EFBIG
---@return string? data, string? message, string? code
function fs.read(path, opts) end
--- Bytes [offset, offset+max) of a file, for following logs.
---@param path string
---@param offset integer
---@param max integer
---@return string? data, integer|string|nil size_or_message, string? code size is the file's size now
function fs.read_at(path, offset, max) end
--- Temp file in the same directory (O_EXCL, O_NOFOLLOW), fsync, rename, fsync of the directory.
---@param path string
---@param data string
---@param opts? {mode: integer?, durable: boolean?} mode default 0600; durable=false leaves both fsyncs out
---@return true? ok, string? message, string? code
function fs.write_atomic(path, data, opts) end
--- One write() with O_APPEND; starts a fresh line when the file does not end in one; a short write is truncated back.
---@param path string
---@param data string ends in a newline
---@return true? ok, string? message, string? code
function fs.append(path, data) end
---@param path string
---@return envctl.Stat? stat, string? message, string? code follows symbolic links
function fs.stat(path) end
---@param path string
---@return envctl.Stat? stat, string? message, string? code
function fs.lstat(path) end
--- Directory entries sorted by name, without . and ..
---@param path string
---@return {name: string, type: string}[]? entries, string? message, string? code
function fs.list(path) end
--- Creates the directory and its parents. An existing directory is fine.
---@param path string
---@param mode? integer default 0700
---@return true? ok, string? message, string? code
function fs.mkdirs(path, mode) end
--- Makes sure path is a directory that only we can use: creates it 0700, opens it with O_DIRECTORY|O_NOFOLLOW, and checks
--- owner (effective uid) and mode (no bits for group or others: they are removed when the owner is right).
---@param path string
---@param opts? {create: boolean?} create=false only checks (inspection never writes)
---@return true? ok, string? message, string? code ELOOP symlink, EPERM other owner, ENOTDIR, ENOENT, EROFS …
function fs.secure_dir(path, opts) end
---@param from string
---@param to string
---@return true? ok, string? message, string? code
function fs.rename(from, to) end
---@param path string
---@return true? ok, string? message, string? code
function fs.unlink(path) end
---@param path string
---@return true? ok, string? message, string? code
function fs.rmdir(path) end
---@param target string
---@param path string
---@return true? ok, string? message, string? code
function fs.symlink(target, path) end
---@param path string
---@return string? target, string? message, string? code
function fs.readlink(path) end
---@param path string
---@return string? absolute, string? message, string? code
function fs.realpath(path) end
---@param path string
---@param mode integer
---@return true? ok, string? message, string? code
function fs.chmod(path, mode) end
--- Whether the effective user may use path. kind: 'r', 'w' or 'x'.
---@param path string
---@param kind string
---@return boolean
function fs.access(path, kind) end
--- Removes a directory tree without following links (openat, unlinkat). Only for directories envctl itself made.
---@param path string
---@return true? ok, string? message, string? code
function fs.remove_tree(path) end

---@class envctl.Lock
local Lock = {}
--- Replaces the text of the lock file (who holds it, for messages).
---@param text string
---@return true? ok, string? message, string? code
function Lock:write(text) end
--- Unlocks. Idempotent. The file stays: a lock file is never unlinked.
function Lock:close() end

--- flock(LOCK_EX) on a file that is created 0600 when missing; one that is there is locked on a read-only disk, too. Never
--- blocks: when held, nil, message, EWOULDBLOCK.
---@param path string
---@return envctl.Lock? lock, string? message, string? code
function fs.flock(path) end
--- Free and total bytes of the file system of path.
---@param path string
---@return {free: integer, total: integer}? space, string? message, string? code
function fs.space(path) end
--- Frees the blocks of bytes [0, length) of a file, keeping its size (log trimming).
---@param path string
---@param length integer
---@return true? ok, string? message, string? code
function fs.punch(path, length) end
--- Where the data of a file begins: 0, or the end of the hole that punch left.
---@param path string
---@return integer? offset, string? message, string? code
function fs.data_start(path) end
--- Sets the size of an existing file.
---@param path string
---@param size integer
---@return true? ok, string? message, string? code
function fs.truncate(path, size) end
return fs
