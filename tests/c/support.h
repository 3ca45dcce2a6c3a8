// What the tests of src/core share. Nothing here asserts on time: deadlines only bound how long a test waits.
#ifndef ENVCTL_TESTS_SUPPORT_H
#define ENVCTL_TESTS_SUPPORT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "envctl/err.h"

enum { DEADLINE_MS = 10000 };

/// A new empty directory; ends with a '/'-less path. Free with drop_dir.
static inline char *make_dir(void)
{
    const char *base = getenv("TMPDIR");
    char *path = malloc(PATH_MAX);
    assert_non_null(path);
    snprintf(path, PATH_MAX, "%s/envctl-c.XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

/// Removes the directory by rm(1), not by the code under test, and frees its name.
static inline void drop_dir(char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/rm", "rm", "-rf", "--", path, NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    free(path);
}

/// "dir/name" in one of eight rotating buffers.
static inline const char *in_dir(const char *dir, const char *name)
{
    static char ring[8][PATH_MAX];
    static unsigned next;
    char *out = ring[next++ % 8];
    snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return out;
}

static inline void put_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    close(fd);
}

static inline void put_text(const char *path, const char *text)
{
    put_file(path, text, strlen(text));
}

/// The file's content, NUL-terminated; NULL when it cannot be opened. Free with free().
static inline char *get_file(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t used = 0, room = 4096;
    char *data = malloc(room + 1);
    assert_non_null(data);
    ssize_t n;
    while ((n = read(fd, data + used, room - used)) > 0) {
        used += (size_t)n;
        if (used == room) {
            room *= 2;
            char *more = realloc(data, room + 1);
            assert_non_null(more);
            data = more;
        }
    }
    close(fd);
    data[used] = '\0';
    if (size)
        *size = used;
    return data;
}

static inline int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    int n = -2;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/// Descriptors of this process, and one for the look itself.
static inline int open_files(void)
{
    return count_entries("/proc/self/fd");
}

static inline void assert_file(const char *path, const char *text)
{
    char *data = get_file(path, NULL);
    assert_non_null(data);
    assert_string_equal(data, text);
    free(data);
}

static inline int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void nap(void)
{
    struct timespec t = {0, 1000000};
    nanosleep(&t, NULL);
}

/// Waits until the expression is true, DEADLINE_MS at most; the test fails after that.
#define wait_for(expression)                                                                                           \
    do {                                                                                                               \
        int64_t wait_end_ = now_ms() + DEADLINE_MS;                                                                    \
        while (!(expression) && now_ms() < wait_end_)                                                                  \
            nap();                                                                                                     \
        assert_true(expression);                                                                                       \
    } while (0)

/// Reaps a child and returns its wait status.
static inline int reap(pid_t pid)
{
    int status = 0;
    pid_t got;
    do {
        got = waitpid(pid, &status, 0);
    } while (got < 0 && errno == EINTR);
    assert_int_equal(got, pid);
    return status;
}

/// From here on, descendants whose parents died become children of this process, so that a test can reap them.
static inline void adopt_orphans(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static inline void kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    reap(pid);
}

/// Whether there is no such process any more; a zombie has ended.
static inline bool ended(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    char *text = get_file(path, NULL);
    const char *paren = text ? strrchr(text, ')') : NULL;
    bool dead = !paren || paren[2] == 'Z' || paren[2] == 'X';
    free(text);
    return dead;
}

/// Whether the process runs a program of that name (it has been through its exec).
static inline bool process_is(pid_t pid, const char *comm)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    char *text = get_file(path, NULL);
    bool is = text && strlen(text) == strlen(comm) + 1 && strncmp(text, comm, strlen(comm)) == 0;
    free(text);
    return is;
}

/// Kills and reaps every child of this process, known or adopted. Returns how many there were.
static inline int end_children(void)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (;;) {
        char *text = get_file(path, NULL), *end = NULL;
        long pid = text ? strtol(text, &end, 10) : 0;
        free(text);
        if (pid <= 0)
            return count;
        kill_and_reap((pid_t)pid);
        count++;
    }
}

/// Path of a helper program of tests/fixtures.
#define FIXTURE(name) (ENVCTL_FIXTURES "/fx_" name)

static inline long env_number(const char *name, long fallback)
{
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : fallback;
}

/// A reproducible stream of numbers; the seed is printed once and taken from ENVCTL_SEED when that is set.
static inline uint32_t dice(uint32_t sides)
{
    static uint64_t x;
    if (x == 0) {
        x = (uint64_t)env_number("ENVCTL_SEED", 20251125);
        printf("# seed %llu\n", (unsigned long long)x);
        x = x * 2862933555777941757u + 3037000493u;
    }
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)(x >> 33) % sides;
}

static inline void sleep_us(uint32_t us)
{
    struct timespec t = {us / 1000000, (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

/// One line per bar of reliability.md; the test fails with it.
#define bar(id, good, all)                                                                                             \
    do {                                                                                                               \
        long bar_good_ = (long)(good), bar_all_ = (long)(all);                                                         \
        printf("bar %s %s %ld/%ld\n", id, bar_good_ == bar_all_ ? "PASS" : "FAIL", bar_good_, bar_all_);               \
        fflush(stdout);                                                                                                \
        assert_int_equal(bar_good_, bar_all_);                                                                         \
    } while (0)

#endif
