// What /proc says. A pid alone is never an identity; a zombie is dead.
#ifndef ENVCTL_PROCFS_H
#define ENVCTL_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "envctl/buf.h"
#include "envctl/err.h"

/// Exactly one process of one boot of one pid namespace.
typedef struct ec_identity {
    pid_t pid, session;
    uint64_t start_ticks; // field 22 of /proc/<pid>/stat, clock ticks since boot
    char boot_id[40];
    uint64_t pid_ns; // inode of /proc/self/ns/pid
} ec_identity;

typedef struct ec_stat {
    pid_t pid, ppid, pgrp, session;
    char state;
    bool kernel; // a thread of the kernel
    uint64_t start_ticks;
    char comm[32];
} ec_stat;

typedef enum ec_alive {
    EC_ALIVE,
    EC_GONE,
    EC_ZOMBIE,
    EC_REUSED,
    EC_REBOOT,
    EC_OTHER_NAMESPACE, // cannot be known from here
    EC_NO_PROCFS        // cannot be known at all
} ec_alive;

/// Parses the text of /proc/<pid>/stat (after the last ')': a command name may contain anything). Pure.
bool ec_stat_parse(ec_stat *out, const char *text, size_t size);

/// Reads /proc/<pid>/stat. False when there is no such process.
bool ec_procfs_stat(ec_stat *out, pid_t pid);
/// Identity of a living process; false when there is none or it is a zombie.
bool ec_procfs_identity(ec_identity *out, pid_t pid);
/// Whether exactly that process lives.
ec_alive ec_procfs_alive(const ec_identity *id);
/// Word for an ec_alive value, as in the Lua API ("gone", "zombie", …); NULL for EC_ALIVE.
const char *ec_alive_word(ec_alive value);

/// This boot's id; replaced by tests. Never NULL, "" when unknown.
extern const char *(*ec_boot_id)(void);
uint64_t ec_pid_ns(void);

/// A file below /proc/<pid>/ appended to `out` (at most 1 MiB). False when it cannot be read.
bool ec_procfs_read(eb_buf *out, pid_t pid, const char *file);
/// Target of /proc/<pid>/<link>. False when it cannot be read.
bool ec_procfs_link(char *out, size_t size, pid_t pid, const char *link);
/// Value of a variable in NUL-separated `environ` text, or NULL. Pure.
const char *ec_environ_find(const char *text, size_t size, const char *name, size_t name_size);

/// Calls fn for each numeric entry of /proc until it returns false.
void ec_procfs_each(bool (*fn)(pid_t pid, void *ud), void *ud);
/// Calls fn with the inode of each socket that the process has open. False when its descriptors cannot be read.
bool ec_procfs_sockets(pid_t pid, void (*fn)(uint64_t inode, void *ud), void *ud);

/// Signals exactly that process: pidfd, identity checked after opening. Refuses pid <= 1, this process and its parent.
/// Errors: ESRCH (gone, or another process now), EPERM.
bool ec_procfs_signal(const ec_identity *id, int sig, ec_err *err);

/// Whether a cgroup or one below it has processes, as the kernel counts them. False when it is empty or not there.
bool ec_cgroup_populated(const char *path);

/// Whether a process is in this cgroup or in one below it. In doubt true.
bool ec_cgroup_holds(const char *path, pid_t pid);

/// A writable cgroup v2 directory for our leaves, below our own cgroup. When it is made, the memory controller is
/// turned on for the leaves where that can be. False with a reason in `err`.
bool ec_cgroup_base(char *out, size_t size, const char *name, bool create, ec_err *err);

#endif
