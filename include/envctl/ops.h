// The three small tables through which src/core reaches time, files and processes. Tests replace entries to make the
// n-th call fail, or be the last one; production code never does.
#ifndef ENVCTL_OPS_H
#define ENVCTL_OPS_H

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ec_clock {
    int64_t (*wall_ms)(void); // milliseconds since the epoch; may jump
    int64_t (*mono_ms)(void); // CLOCK_MONOTONIC milliseconds; never jumps
} ec_clock;

typedef struct ec_fsops {
    int (*openat)(int dirfd, const char *path, int flags, mode_t mode);
    ssize_t (*write)(int fd, const void *data, size_t size);
    int (*fsync)(int fd);
    int (*renameat)(int olddir, const char *from, int newdir, const char *to);
    int (*unlinkat)(int dirfd, const char *path, int flags);
    int (*ftruncate)(int fd, off_t size);
} ec_fsops;

typedef struct ec_procops {
    pid_t (*fork)(void);
    int (*pidfd_open)(pid_t pid, unsigned flags);
    int (*pidfd_send_signal)(int pidfd, int sig);
} ec_procops;

extern ec_clock ec_clock_ops;
extern ec_fsops ec_fs_ops;
extern ec_procops ec_proc_ops;

#endif
