// See envctl/procfs.h.
#include "envctl/procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "envctl/fault.h"
#include "envctl/ops.h"

// Numbers of fields in /proc/<pid>/stat, as in proc(5), and the flag that marks threads of the kernel.
enum { FIELD_PPID = 4, FIELD_PGRP, FIELD_SESSION, FIELD_FLAGS = 9, FIELD_START = 22, FLAG_KERNEL_THREAD = 0x200000 };

static void set_field(ec_stat *out, int field, unsigned long long value)
{
    if (field == FIELD_PPID)
        out->ppid = (pid_t)value;
    else if (field == FIELD_PGRP)
        out->pgrp = (pid_t)value;
    else if (field == FIELD_SESSION)
        out->session = (pid_t)value;
    else if (field == FIELD_FLAGS)
        out->kernel = value & FLAG_KERNEL_THREAD;
    else if (field == FIELD_START)
        out->start_ticks = value;
}

// Fields 3 to 22, from NUL-terminated text behind the command name.
static bool parse_fields(ec_stat *out, const char *p)
{
    while (*p == ' ')
        p++;
    if (!isalpha((unsigned char)*p))
        return false;
    out->state = *p++;
    for (int field = FIELD_PPID; field <= FIELD_START; field++) {
        char *end;
        unsigned long long value = strtoull(p, &end, 10); // takes "-1" as well
        if (end == p)
            return false;
        set_field(out, field, value);
        p = end;
    }
    return true;
}

bool ec_stat_parse(ec_stat *out, const char *text, size_t size)
{
    const char *open = memchr(text, '(', size);
    const char *end = memrchr(text, ')', size);
    if (!open || !end || end < open)
        return false;
    *out = (ec_stat){0};
    int64_t pid = 0;
    for (const char *p = text; p < open && isdigit((unsigned char)*p) && pid <= INT_MAX; p++)
        pid = pid * 10 + (*p - '0');
    size_t n = (size_t)(end - open - 1);
    if (n >= sizeof out->comm)
        n = sizeof out->comm - 1;
    memcpy(out->comm, open + 1, n);
    // The rest as a NUL-terminated copy: 20 numbers of at most 20 digits.
    char rest[640];
    size_t left = size - (size_t)(end + 1 - text);
    if (left >= sizeof rest)
        left = sizeof rest - 1;
    memcpy(rest, end + 1, left);
    rest[left] = '\0';
    out->pid = (pid_t)pid;
    return pid > 0 && pid <= INT_MAX && parse_fields(out, rest);
}

static int open_proc(pid_t pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

bool ec_procfs_stat(ec_stat *out, pid_t pid)
{
    int fd = open_proc(pid, "stat");
    if (fd < 0)
        return false;
    char text[1024];
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    return n > 0 && ec_stat_parse(out, text, (size_t)n);
}

static const char *read_boot_id(void)
{
    static char id[40];
    if (!*id) {
        int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, id, sizeof id - 1) : 0;
        if (fd >= 0)
            close(fd);
        id[n > 0 ? n : 0] = '\0';
        id[strcspn(id, "\n")] = '\0';
    }
    return id;
}

const char *(*ec_boot_id)(void) = read_boot_id;

uint64_t ec_pid_ns(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

bool ec_procfs_identity(ec_identity *out, pid_t pid)
{
    ec_stat st;
    if (!ec_procfs_stat(&st, pid) || st.state == 'Z' || st.state == 'X')
        return false;
    *out = (ec_identity){.pid = pid, .start_ticks = st.start_ticks, .pid_ns = ec_pid_ns(), .session = st.session};
    snprintf(out->boot_id, sizeof out->boot_id, "%s", ec_boot_id());
    return true;
}

ec_alive ec_procfs_alive(const ec_identity *id)
{
    const char *boot = ec_boot_id();
    if (!*boot)
        return EC_NO_PROCFS;
    if (strcmp(boot, id->boot_id) != 0)
        return EC_REBOOT;
    if (id->pid_ns != ec_pid_ns())
        return EC_OTHER_NAMESPACE;
    ec_stat st;
    if (!ec_procfs_stat(&st, id->pid))
        return EC_GONE;
    if (st.start_ticks != id->start_ticks && !ec_fault("no_identity_check"))
        return EC_REUSED;
    return st.state == 'Z' || st.state == 'X' ? EC_ZOMBIE : EC_ALIVE;
}

const char *ec_alive_word(ec_alive value)
{
    static const char *const words[] = {
        [EC_ALIVE] = NULL,
        [EC_GONE] = "gone",
        [EC_ZOMBIE] = "zombie",
        [EC_REUSED] = "reused",
        [EC_REBOOT] = "reboot",
        [EC_OTHER_NAMESPACE] = "other_pid_namespace",
        [EC_NO_PROCFS] = "no_procfs",
    };
    return words[value];
}

bool ec_procfs_read(eb_buf *out, pid_t pid, const char *file)
{
    int fd = open_proc(pid, file);
    if (fd < 0)
        return false;
    ssize_t n;
    size_t start = out->size;
    while ((n = read(fd, eb_reserve(out, 16384), 16384)) > 0 && out->size - start < 1 << 20)
        out->size += (size_t)n;
    out->data[out->size] = '\0';
    close(fd);
    return n >= 0;
}

bool ec_procfs_link(char *out, size_t size, pid_t pid, const char *link)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, link);
    ssize_t n = readlink(path, out, size - 1);
    if (n < 0)
        return false;
    out[n] = '\0';
    return true;
}

const char *ec_environ_find(const char *text, size_t size, const char *name, size_t name_size)
{
    for (size_t i = 0; i < size;) {
        size_t n = strnlen(text + i, size - i);
        if (i + n == size)
            return NULL; // not terminated: cut off
        if (n > name_size && text[i + name_size] == '=' && memcmp(text + i, name, name_size) == 0)
            return text + i + name_size + 1;
        i += n + 1;
    }
    return NULL;
}

void ec_procfs_each(bool (*fn)(pid_t pid, void *ud), void *ud)
{
    DIR *dir = opendir("/proc");
    if (!dir)
        return;
    struct dirent *e;
    while ((e = readdir(dir))) {
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        if (!fn((pid_t)strtol(e->d_name, NULL, 10), ud))
            break;
    }
    closedir(dir);
}

bool ec_procfs_sockets(pid_t pid, void (*fn)(uint64_t inode, void *ud), void *ud)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    if (!dir)
        return false;
    struct dirent *e;
    while ((e = readdir(dir))) {
        char target[64];
        ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof target - 1);
        if (n <= 8 || memcmp(target, "socket:[", 8) != 0)
            continue;
        target[n] = '\0';
        fn(strtoull(target + 8, NULL, 10), ud);
    }
    closedir(dir);
    return true;
}

bool ec_procfs_signal(const ec_identity *id, int sig, ec_err *err)
{
    if (id->pid <= 1 || id->pid == getpid() || id->pid == getppid())
        return ec_err_set(err, "EPERM", "pid %d: envctl does not signal itself, its parent or init", id->pid);
    int fd = ec_proc_ops.pidfd_open(id->pid, 0);
    if (fd < 0 && errno != ENOSYS)
        return ec_err_errno(err, errno, "pid %d", id->pid);
    // The descriptor is bound to whoever has the pid now; only if that is our process does it get the signal.
    ec_alive alive = ec_procfs_alive(id);
    if (alive != EC_ALIVE) {
        if (fd >= 0)
            close(fd);
        return ec_err_set(err, "ESRCH", "pid %d: %s", id->pid, ec_alive_word(alive));
    }
    int rc = fd >= 0 ? ec_proc_ops.pidfd_send_signal(fd, sig) : kill(id->pid, sig);
    int why = errno;
    if (fd >= 0)
        close(fd);
    return rc == 0 || ec_err_errno(err, why, "pid %d", id->pid);
}

bool ec_cgroup_populated(const char *path)
{
    char file[PATH_MAX], text[256];
    snprintf(file, sizeof file, "%s/cgroup.events", path);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, "populated 1") != NULL;
}

// Path of a process in the cgroup v2 tree, "" for its root.
static bool cgroup_of(char *out, size_t size, pid_t pid)
{
    eb_buf b = {0};
    bool found = false;
    char *rest = NULL, *line = ec_procfs_read(&b, pid, "cgroup") ? strtok_r(b.data, "\n", &rest) : NULL;
    for (; line && !found; line = strtok_r(NULL, "\n", &rest))
        if (strncmp(line, "0::/", 4) == 0)
            found = (size_t)snprintf(out, size, "%s", line[4] ? line + 3 : "") < size;
    eb_free(&b);
    return found;
}

bool ec_cgroup_holds(const char *path, pid_t pid)
{
    char own[PATH_MAX];
    size_t n = strlen(path);
    if (!cgroup_of(own, sizeof own, pid))
        return true;
    // `path` is the mount point, of which we know nothing here, and then the process's path or the beginning of it.
    for (;;) {
        size_t k = strlen(own);
        if (k == 0)
            return false;
        if (k <= n && memcmp(path + n - k, own, k) == 0)
            return true;
        *strrchr(own, '/') = '\0';
    }
}

// Octal escapes of mountinfo (a blank is \040), in place.
static void unescape(char *text)
{
    char *to = text;
    for (const char *p = text; *p; to++) {
        if (p[0] == '\\' && p[1] && p[2] && p[3]) {
            *to = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
            p += 4;
        } else {
            *to = *p++;
        }
    }
    *to = '\0';
}

// Mount point of cgroup v2 from /proc/self/mountinfo: "… - cgroup2 …" with the mount point in field 5.
static bool cgroup_mount(char *out, size_t size)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return false;
    char line[4096];
    bool found = false;
    *out = '\0';
    while (!found && fgets(line, sizeof line, f)) {
        char point[PATH_MAX];
        if (strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1)
            found = (size_t)snprintf(out, size, "%s", point) < size;
    }
    fclose(f);
    unescape(out);
    return found;
}

// So that the kernel counts for each leaf what it ends for lack of memory. Where we may not have the controller it is
// not on.
static void count_memory(const char *base)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/cgroup.subtree_control", base);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t ignored = write(fd, "+memory", sizeof "+memory" - 1);
    (void)ignored;
    close(fd);
}

bool ec_cgroup_base(char *out, size_t size, const char *name, bool create, ec_err *err)
{
    char mount[1024], own[1024];
    if (ec_fault("no_cgroup"))
        return ec_err_set(err, "ENOSYS", "cgroup v2: switched off for a test");
    if (!cgroup_mount(mount, sizeof mount) || !cgroup_of(own, sizeof own, getpid()))
        return ec_err_set(err, "ENOSYS", "cgroup v2: not mounted");
    if (strncmp(own, "/..", 3) == 0)
        return ec_err_set(err, "ENOSYS", "cgroup v2: our own cgroup is not visible from here");
    // A service that runs envctl has a leaf of ours as its own cgroup; leaves never nest.
    char *nested = strstr(own, "/envctl-");
    if (nested)
        *nested = '\0';
    if ((size_t)snprintf(out, size, "%s%s/%s", mount, own, name) >= size)
        return ec_err_errno(err, ENAMETOOLONG, "cgroup %s", name);
    if (create && mkdir(out, 0755) != 0 && errno != EEXIST)
        return ec_err_errno(err, errno, "%s", out);
    if (create)
        count_memory(out);
    char procs[PATH_MAX];
    snprintf(procs, sizeof procs, "%s/cgroup.procs", out);
    // Moving a process also needs write access to the common ancestor's cgroup.procs.
    if (access(procs, W_OK) != 0)
        return ec_err_errno(err, errno, "%s", procs);
    snprintf(procs, sizeof procs, "%s%s/cgroup.procs", mount, own);
    return access(procs, W_OK) == 0 || ec_err_errno(err, errno, "%s", procs);
}
