// See envctl/sys.h.
#include "envctl/sys.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool ec_write_all(int fd, const void *data, size_t size, ec_err *err)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ec_err_errno(err, errno, "descriptor %d", fd);
        p += n;
        size -= (size_t)n;
    }
    return true;
}

// 0, or why this is not a program.
static int program_errno(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return errno;
    if (S_ISDIR(st.st_mode))
        return EISDIR;
    if (!S_ISREG(st.st_mode) || access(path, X_OK) != 0)
        return EACCES;
    return 0;
}

static bool below(const char *path, size_t size, const char *dir)
{
    size_t n = strlen(dir);
    return size >= n && memcmp(path, dir, n) == 0 && (size == n || path[n] == '/');
}

// Whether a PATH entry is `avoid` or below it, also by way of links and "..".
static bool avoided(const char *entry, size_t size, const char *avoid)
{
    char text[PATH_MAX], real_entry[PATH_MAX], real_avoid[PATH_MAX];
    if (!avoid || !*avoid || size >= sizeof text)
        return false;
    if (below(entry, size, avoid))
        return true;
    memcpy(text, entry, size);
    text[size] = '\0';
    return realpath(text, real_entry) && realpath(avoid, real_avoid) &&
           below(real_entry, strlen(real_entry), real_avoid);
}

bool ec_which(char *out, size_t size, const char *name, const char *path, const char *avoid, ec_err *err)
{
    if (strchr(name, '/')) {
        int why = program_errno(name);
        if (why)
            return ec_err_errno(err, why, "%s", name);
        if ((size_t)snprintf(out, size, "%s", name) >= size)
            return ec_err_errno(err, ENAMETOOLONG, "%s", name);
        return true;
    }
    bool found_unusable = false;
    for (const char *entry = path ? path : ""; *entry;) {
        const char *end = strchrnul(entry, ':');
        size_t n = (size_t)(end - entry);
        if (n > 0 && entry[0] == '/') {
            int written = snprintf(out, size, "%.*s/%s", (int)n, entry, name);
            int why = written > 0 && (size_t)written < size ? program_errno(out) : ENOENT;
            // Links are followed last: most entries do not have the program at all.
            if ((why == 0 || why == EACCES) && !avoided(entry, n, avoid)) {
                if (why == 0)
                    return true;
                found_unusable = true;
            }
        }
        entry = *end ? end + 1 : end;
    }
    return ec_err_set(err, found_unusable ? "EACCES" : "ENOENT", "%s: %s", name,
                      found_unusable ? "found on PATH, but not executable" : "not found on PATH");
}

void ec_random(void *data, size_t size)
{
    char *p = data;
    while (size > 0) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            abort();
        }
        p += n;
        size -= (size_t)n;
    }
}

void ec_iso_time(char *out, int64_t wall_ms)
{
    // Years of four digits: what lies outside of them comes from a damaged file.
    const int64_t least = -30610224000000, most = 253402300799999;
    if (wall_ms < least || wall_ms > most)
        wall_ms = wall_ms < least ? least : most;
    int64_t ms = wall_ms % 1000;
    if (ms < 0)
        ms += 1000;
    time_t seconds = (time_t)((wall_ms - ms) / 1000);
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03dZ", (int)ms);
}
