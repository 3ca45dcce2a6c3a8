---@meta
--- What /proc says. A zombie is dead; a pid alone is never an identity.
---@class envctl.host.procfs
local procfs = {}

---@return envctl.Identity
function procfs.self() end
---@param pid integer
---@return envctl.Identity? id nil when there is no such process or it is a zombie
function procfs.identity(pid) end
--- Whether exactly that process lives. nil = cannot be known, with a reason.
---@param id envctl.Identity
---@return boolean? alive, string? reason 'gone' | 'zombie' | 'reused' | 'reboot' | 'other_pid_namespace' | 'no_procfs'
function procfs.alive(id) end
---@param pid integer
---@return {pid: integer, ppid: integer, pgrp: integer, session: integer, state: string, start_time_ticks: integer, comm: string}?
function procfs.stat(pid) end
---@param pid integer
---@return string[]? argv
function procfs.cmdline(pid) end
---@param pid integer
---@return string? path
function procfs.cwd(pid) end
--- One variable of another process's environment.
---@param pid integer
---@param name string
---@return string?
function procfs.environ_get(pid, name) end
---@return string
function procfs.boot_id() end

--- How to recognise the processes of one service. Every field is optional; members are the union.
---@class envctl.MemberQuery
---@field leader? envctl.Identity the session leader we started
---@field marker? string "NAME=value" in the environment
---@field log? string path of the log file its output goes to (matched by device and inode)
---@field cgroup? string absolute path of its cgroup v2 leaf

---@class envctl.Member
---@field pid integer
---@field ppid integer
---@field start_time_ticks integer
---@field comm string
---@field via string[] 'cgroup' | 'leader' | 'session' | 'marker' | 'log' | 'tree'

--- Finds the processes of many services in one walk over /proc. Session membership counts only while the recorded leader
--- lives or when a member of that session carries marker or log (a recycled session id is never ours). 'tree': descendants of
--- members. Never contains this process or its ancestors. Zombies are left out.
---@param queries envctl.MemberQuery[]
---@return envctl.Member[][] members one list per query, sorted by pid
function procfs.members(queries) end
--- Finds as above and signals each member through a pidfd, identity checked; KILL uses cgroup.kill where there is one.
---@param queries envctl.MemberQuery[]
---@param signal string
---@return integer[] count how many were found per query (0 = none alive)
function procfs.signal_members(queries, signal) end
--- Listening TCP ports of the given pids (sock_diag and fd links).
---@param pids integer[]
---@return {port: integer, addr: string, family: 'inet'|'inet6', pid: integer}[] sorted by port, then pid
function procfs.listening(pids) end
--- Who listens on ports; where nobody does, who has another socket there. Walks all of /proc, once for those that listen and once
--- more for each of the others: only for messages.
---@param ports integer[]
---@return table<integer, {pid: integer, command: string, uid: integer}> holders by port; without those that nobody has, or nobody
--- who is visible
function procfs.holders(ports) end

--- A writable cgroup v2 directory of our own to put leaves into, or nil. With create=true the directory is made.
---@param name string directory name, such as envctl-repo-0123
---@param create boolean
---@return string? path, string? why_not
function procfs.cgroup_base(name, create) end
--- Whether a cgroup has processes, as the kernel counts them: what forks faster than a walk over /proc is still counted.
---@param path string
---@return boolean
function procfs.cgroup_populated(path) end
--- Makes (or removes) a leaf; removal of a populated leaf fails with EBUSY.
---@param path string
---@return true? ok, string? message, string? code
function procfs.cgroup_make(path) end
---@param path string
---@return true? ok, string? message, string? code
function procfs.cgroup_remove(path) end
return procfs
