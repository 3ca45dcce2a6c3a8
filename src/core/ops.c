// Default entries of the tables in envctl/ops.h, and the fault switches of the teeth build.
#include "envctl/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "envctl/fault.h"

static int64_t read_clock(clockid_t id)
{
    struct timespec t = {0};
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t wall_ms(void)
{
    return read_clock(CLOCK_REALTIME);
}

static int64_t mono_ms(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

static int open_at(int dirfd, const char *path, int flags, mode_t mode)
{
    return openat(dirfd, path, flags | O_CLOEXEC, mode);
}

static int pidfd_open_call(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

static int pidfd_send_signal_call(int pidfd, int sig)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

ec_clock ec_clock_ops = {.wall_ms = wall_ms, .mono_ms = mono_ms};

ec_fsops ec_fs_ops = {
    .openat = open_at,
    .write = write,
    .fsync = fsync,
    .renameat = renameat,
    .unlinkat = unlinkat,
    .ftruncate = ftruncate,
};

ec_procops ec_proc_ops = {
    .fork = fork,
    .pidfd_open = pidfd_open_call,
    .pidfd_send_signal = pidfd_send_signal_call,
};

#ifdef ENVCTL_FAULTS
bool ec_fault(const char *name)
{
    const char *list = getenv("ENVCTL_FAULT");
    size_t n = strlen(name);
    for (const char *p = list; p && *p;) {
        const char *end = strchrnul(p, ',');
        if ((size_t)(end - p) == n && memcmp(p, name, n) == 0)
            return true;
        p = *end ? end + 1 : end;
    }
    return false;
}
#endif
