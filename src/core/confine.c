// See confine.h.
#include "envctl/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

// --- seccomp ---------------------------------------------------------------------------------------------------------

#ifdef ARCH

#define MAX_INSTRUCTIONS 160

typedef struct program {
    struct sock_filter code[MAX_INSTRUCTIONS];
    unsigned short size;
} program;

static void put(program *p, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
    if (p->size == MAX_INSTRUCTIONS)
        abort();
    p->code[p->size++] = (struct sock_filter){code, jt, jf, k};
}

static void load(program *p, size_t offset)
{
    put(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void finish(program *p, uint32_t action)
{
    put(p, BPF_RET | BPF_K, 0, 0, action);
}

// The low word of an argument: both machines are little-endian, and descriptors and flags fit.
static size_t argument(int n)
{
    return offsetof(struct seccomp_data, args) + 8 * (size_t)n;
}

static void allow(program *p, int number)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)number);
    finish(p, SECCOMP_RET_ALLOW);
}

// Allowed with descriptor `fd` (or the next one) only.
static void allow_fd(program *p, int number, uint32_t fd, uint32_t other)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, (uint32_t)number);
    load(p, argument(0));
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, fd);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, other);
    finish(p, SECCOMP_RET_ALLOW);
    finish(p, SECCOMP_RET_KILL_PROCESS);
}

// Allowed for memory that is not executable and, where `flags` is an argument, not a file's.
static void allow_memory(program *p, int number, int prot, int flags)
{
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, flags >= 0 ? 7 : 4, (uint32_t)number);
    load(p, argument(prot));
    put(p, BPF_JMP | BPF_JSET | BPF_K, 0, 1, PROT_EXEC);
    finish(p, SECCOMP_RET_KILL_PROCESS);
    if (flags >= 0) {
        load(p, argument(flags));
        put(p, BPF_JMP | BPF_JSET | BPF_K, 1, 0, MAP_ANONYMOUS);
        finish(p, SECCOMP_RET_KILL_PROCESS);
    }
    finish(p, SECCOMP_RET_ALLOW);
}

// What memory, time, signals of one's own and the end need. No open, no socket, no process, no prctl.
static const int allowed[] = {
    SYS_exit_group,     SYS_exit,         SYS_brk,          SYS_munmap,          SYS_mremap, SYS_madvise,
    SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn, SYS_sigaltstack,     SYS_futex,  SYS_clock_gettime,
    SYS_gettimeofday,   SYS_setitimer,    SYS_getitimer,    SYS_restart_syscall, SYS_getpid, SYS_gettid,
    SYS_sched_yield,    SYS_getrandom,
#ifdef SYS_time
    SYS_time,
#endif
};

static void build(program *p)
{
    load(p, offsetof(struct seccomp_data, arch));
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCH);
    finish(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    put(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000); // x32
    finish(p, SECCOMP_RET_KILL_PROCESS);
#endif
    allow_fd(p, SYS_read, 0, 0);
    allow_fd(p, SYS_write, 1, 2);
    allow_memory(p, SYS_mmap, 2, 3);
    allow_memory(p, SYS_mprotect, 2, -1);
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        allow(p, allowed[i]);
    finish(p, SECCOMP_RET_KILL_PROCESS);
}

static bool apply_seccomp(ec_confine_report *out)
{
    program p = {.size = 0};
    build(&p);
    const struct sock_fprog filter = {.len = p.size, .filter = p.code};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0)
        return true;
    snprintf(out->seccomp_why, sizeof out->seccomp_why, "refused by the kernel: %s", strerror(errno));
    return false;
}

static bool probe_seccomp(ec_confine_report *out)
{
    const uint32_t action = SECCOMP_RET_KILL_PROCESS;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
        return true;
    snprintf(out->seccomp_why, sizeof out->seccomp_why, "not in this kernel: %s", strerror(errno));
    return false;
}

#else

static bool apply_seccomp(ec_confine_report *out)
{
    snprintf(out->seccomp_why, sizeof out->seccomp_why, "not written for this processor");
    return false;
}

static bool probe_seccomp(ec_confine_report *out)
{
    return apply_seccomp(out);
}

#endif

// --- Landlock --------------------------------------------------------------------------------------------------------

// The attribute as of ABI 6; older kernels are given its beginning.
typedef struct ruleset {
    uint64_t fs, net, scoped;
} ruleset;

static int landlock_abi(ec_confine_report *out)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi > 0)
        return (int)abi;
    snprintf(out->landlock_why, sizeof out->landlock_why, "not in this kernel: %s", strerror(errno));
    return 0;
}

// A ruleset without rules: everything it handles is refused.
static int apply_landlock(ec_confine_report *out)
{
    int abi = landlock_abi(out);
    if (abi == 0)
        return 0;
    static const unsigned char fs_bits[] = {0, 13, 14, 15, 15, 16};
    ruleset r = {.fs = (1ULL << fs_bits[abi < 5 ? abi : 5]) - 1};
    size_t size = sizeof r.fs;
    if (abi >= 4) {
        r.net = 3; // bind and connect
        size = 2 * sizeof r.fs;
    }
    if (abi >= 6) {
        r.scoped = 3; // abstract sockets and signals
        size = sizeof r;
    }
    int fd = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
    if (fd >= 0 && syscall(SYS_landlock_restrict_self, fd, 0) == 0) {
        close(fd);
        return abi;
    }
    snprintf(out->landlock_why, sizeof out->landlock_why, "refused by the kernel: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return 0;
}

// --- all of it -------------------------------------------------------------------------------------------------------

void ec_confine_probe(ec_confine_report *out)
{
    *out = (ec_confine_report){0};
    out->seccomp = probe_seccomp(out);
    out->landlock = landlock_abi(out);
}

static bool limit(int resource, rlim_t value)
{
    struct rlimit old;
    if (getrlimit(resource, &old) != 0)
        return false;
    if (value > old.rlim_max)
        value = old.rlim_max;
    const struct rlimit r = {.rlim_cur = value, .rlim_max = value};
    return setrlimit(resource, &r) == 0;
}

// The first field of statm, in bytes; 0 when it cannot be known.
static rlim_t mapped_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return (rlim_t)strtoull(text, NULL, 10) * (rlim_t)sysconf(_SC_PAGESIZE);
}

static bool limit_all(const ec_confine_opts *opts, rlim_t mapped)
{
    bool ok = limit(RLIMIT_CPU, opts->cpu_seconds) && limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_CORE, 0) &&
              limit(RLIMIT_NPROC, 0) && limit(RLIMIT_NOFILE, 3) && limit(RLIMIT_MSGQUEUE, 0) &&
              limit(RLIMIT_MEMLOCK, 0);
#ifndef WITH_ASAN // a sanitizer's shadow memory is counted too, and it ends the process when it gets none
    if (mapped > 0)
        ok = ok && limit(RLIMIT_AS, mapped + opts->memory);
#else
    (void)opts;
    (void)mapped;
#endif
    return ok;
}

static void close_others(void)
{
    if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0)
        return;
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
}

bool ec_confine_apply(ec_confine_report *out, const ec_confine_opts *opts, ec_err *err)
{
    *out = (ec_confine_report){0};
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return ec_err_errno(err, errno, "PR_SET_PDEATHSIG");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return ec_err_errno(err, errno, "PR_SET_NO_NEW_PRIVS");
    // The pipes are read and written without waiting for anything else: poll is not among what is left.
    for (int fd = 0; fd <= 1; fd++) {
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && (flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
            return ec_err_errno(err, errno, "descriptor %d", fd);
    }
    if (chdir("/") != 0)
        return ec_err_errno(err, errno, "/");
    rlim_t mapped = mapped_bytes(); // while a file can still be opened
    out->landlock = apply_landlock(out);
    close_others();
    if (!limit_all(opts, mapped))
        return ec_err_errno(err, errno, "resource limits");
    out->seccomp = apply_seccomp(out);
    return true;
}

// --- reading below a directory ---------------------------------------------------------------------------------------

// Without openat2 (before Linux 5.6): the resolved path has to lie below the resolved directory, and is opened without
// links.
static int open_resolved(int dir_fd, const char *dir, const char *path)
{
    char joined[PATH_MAX], root[PATH_MAX], real[PATH_MAX];
    (void)dir_fd;
    int n = snprintf(joined, sizeof joined, "%s/%s", dir, path);
    if (n < 0 || (size_t)n >= sizeof joined) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (!realpath(dir, root) || !realpath(joined, real))
        return -1;
    size_t length = strlen(root);
    if (strncmp(real, root, length) != 0 || (real[length] != '/' && length > 1)) {
        errno = EXDEV;
        return -1;
    }
    return open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
}

static int open_beneath(const char *dir, const char *path)
{
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return -1;
    const struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        fd = open_resolved(dir_fd, dir, path);
    int saved = errno;
    close(dir_fd);
    errno = saved;
    return fd;
}

static bool read_all(eb_buf *out, int fd, const char *path, size_t max, ec_err *err)
{
    size_t start = out->size;
    for (;;) {
        if (out->size - start > max)
            return ec_err_set(err, "EFBIG", "%s: larger than %zu bytes", path, max);
        ssize_t n = read(fd, eb_reserve(out, 65536), 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ec_err_errno(err, errno, "%s", path);
        if (n == 0)
            return true;
        out->size += (size_t)n;
    }
}

bool ec_confine_read(eb_buf *out, ec_beneath *st, const char *dir, const char *path, size_t max, ec_err *err)
{
    int fd = open_beneath(dir, path);
    if (fd < 0)
        return ec_err_errno(err, errno, "%s", path);
    struct stat s;
    bool ok = fstat(fd, &s) == 0 || ec_err_errno(err, errno, "%s", path);
    if (ok && !S_ISREG(s.st_mode))
        ok = ec_err_set(err, S_ISDIR(s.st_mode) ? "EISDIR" : "EINVAL", "%s: not a regular file", path);
    if (ok) {
        *st = (ec_beneath){s.st_uid, s.st_mode & 07777, s.st_dev, s.st_ino};
        ok = read_all(out, fd, path, max, err);
    }
    close(fd);
    return ok;
}
