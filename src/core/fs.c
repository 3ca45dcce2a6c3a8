// See envctl/fs.h.
#include "envctl/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "envctl/fault.h"
#include "envctl/mem.h"
#include "envctl/ops.h"

static int open_path(const char *path, int flags, mode_t mode)
{
    return ec_fs_ops.openat(AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

// O_NONBLOCK keeps a planted FIFO from stopping us at open.
static int open_regular(const char *path, bool nofollow, struct stat *st, ec_err *err)
{
    int fd = open_path(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | (nofollow ? O_NOFOLLOW : 0), 0);
    if (fd < 0) {
        ec_err_errno(err, errno, "%s", path);
        return -1;
    }
    if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
        int why = S_ISDIR(st->st_mode) ? EISDIR : EINVAL;
        close(fd);
        ec_err_set(err, ec_errno_name(why), "%s: not a regular file", path);
        return -1;
    }
    return fd;
}

bool ec_fs_read(eb_buf *out, const char *path, size_t max, bool nofollow, ec_err *err)
{
    struct stat st = {0};
    int fd = open_regular(path, nofollow, &st, err);
    if (fd < 0)
        return false;
    size_t start = out->size;
    bool ok = true;
    for (;;) {
        if (out->size - start > max) {
            ok = ec_err_set(err, "EFBIG", "%s: larger than %zu bytes", path, max);
            break;
        }
        char *to = eb_reserve(out, 65536);
        ssize_t n = read(fd, to, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            ok = ec_err_errno(err, errno, "%s", path);
        if (n <= 0)
            break;
        out->size += (size_t)n;
    }
    close(fd);
    return ok;
}

bool ec_fs_read_at(eb_buf *out, int64_t *size, const char *path, int64_t offset, size_t max, ec_err *err)
{
    struct stat st = {0};
    int fd = open_regular(path, false, &st, err);
    if (fd < 0)
        return false;
    *size = st.st_size;
    ssize_t n;
    do {
        n = pread(fd, eb_reserve(out, max), max, offset);
    } while (n < 0 && errno == EINTR);
    bool ok = n >= 0 || ec_err_errno(err, errno, "%s", path);
    if (n > 0)
        out->size += (size_t)n;
    close(fd);
    return ok;
}

static bool write_fully(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = ec_fs_ops.write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ENOSPC;
            return false;
        }
        data += n;
        size -= (size_t)n;
    }
    return true;
}

// "no space left" is only useful with how much there is.
static bool fail_write(ec_err *err, int why, const char *path)
{
    struct statvfs vfs;
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    if (why == ENOSPC && statvfs(dir, &vfs) == 0)
        return ec_err_set(err, "ENOSPC", "%s: no space left on device (%llu KiB free)", path,
                          (unsigned long long)vfs.f_bavail * vfs.f_frsize / 1024);
    return ec_err_errno(err, why, "%s", path);
}

// For the teeth test of R01: what a save must not do.
static bool write_in_place(const char *path, const void *data, size_t size, mode_t mode, ec_err *err)
{
    int fd = open_path(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0)
        return ec_err_errno(err, errno, "%s", path);
    bool ok = write_fully(fd, data, size) || fail_write(err, errno, path);
    close(fd);
    return ok;
}

bool ec_fs_write_atomic(const char *path, const void *data, size_t size, mode_t mode, bool durable, ec_err *err)
{
    if (ec_fault("in_place_write"))
        return write_in_place(path, data, size, mode, err);
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX], temp[NAME_MAX + 1];
    const char *name = slash ? slash + 1 : path;
    int dir_size = slash == path ? 1 : slash ? (int)(slash - path) : 0;
    if ((size_t)snprintf(dir, sizeof dir, "%.*s", dir_size, path) >= sizeof dir ||
        (size_t)snprintf(temp, sizeof temp, ".%s.%d.tmp", name, (int)getpid()) >= sizeof temp)
        return ec_err_errno(err, ENAMETOOLONG, "%s", path);
    int dirfd = open_path(dir_size ? dir : ".", O_RDONLY | O_DIRECTORY, 0);
    if (dirfd < 0)
        return fail_write(err, errno, path);
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    int fd = ec_fs_ops.openat(dirfd, temp, flags, mode);
    if (fd < 0 && errno == EEXIST) { // left by a process of the same pid that was killed
        ec_fs_ops.unlinkat(dirfd, temp, 0);
        fd = ec_fs_ops.openat(dirfd, temp, flags, mode);
    }
    bool ok = fd >= 0;
    if (ok) {
        ok = write_fully(fd, data, size) && (!durable || ec_fs_ops.fsync(fd) == 0) &&
             ec_fs_ops.renameat(dirfd, temp, dirfd, name) == 0;
        if (!ok) {
            int why = errno;
            ec_fs_ops.unlinkat(dirfd, temp, 0);
            errno = why;
        }
    }
    // Before this the old or the new file may be there after a power cut; after it, the new one.
    if (ok && durable)
        ok = ec_fs_ops.fsync(dirfd) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    close(dirfd);
    return ok || fail_write(err, why, path);
}

// Whoever appends holds the file's lock, or it could take half of another's line for a torn one, or cut it off. A
// holder that somebody stopped is not waited for for ever.
static void lock_for_append(int fd)
{
    const struct timespec pause = {0, 1000000};
    for (int tries = 0; tries < 2000 && flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            break; // a file system without locks
        nanosleep(&pause, NULL);
    }
}

bool ec_fs_append(const char *path, const void *data, size_t size, ec_err *err)
{
    int fd = open_path(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return ec_err_errno(err, errno, "%s", path);
    lock_for_append(fd);
    struct stat st = {0};
    char last = '\n';
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ec_err_set(err, "EINVAL", "%s: not a regular file", path);
    }
    if (st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) != 1)
        last = '\n';
    // A torn last line (of a writer that was killed) must not swallow ours.
    bool torn = last != '\n' && !ec_fault("no_fresh_line");
    char *line = ec_xcalloc(1, size + 1);
    line[0] = '\n';
    memcpy(line + torn, data, size);
    ssize_t want = (ssize_t)(size + torn);
    ssize_t n;
    do {
        n = ec_fs_ops.write(fd, line, (size_t)want);
    } while (n < 0 && errno == EINTR);
    int why = n < 0 ? errno : ENOSPC;
    bool ok = n == want;
    if (n > 0 && !ok && ec_fs_ops.ftruncate(fd, st.st_size) != 0)
        why = errno;
    free(line);
    close(fd);
    return ok || fail_write(err, why, path);
}

bool ec_fs_mkdirs(const char *path, mode_t mode, ec_err *err)
{
    char part[PATH_MAX];
    if (!*path)
        return ec_err_errno(err, ENOENT, "empty path");
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return ec_err_errno(err, ENAMETOOLONG, "%s", path);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char keep = *p;
        *p = '\0';
        if (mkdir(part, mode) != 0 && errno != EEXIST) {
            struct stat st;
            int why = errno;
            if (stat(part, &st) != 0 || !S_ISDIR(st.st_mode)) // an existing parent on a read-only disk is fine
                return fail_write(err, why, part);
        }
        *p = keep;
        if (keep == '\0')
            break;
    }
    struct stat st;
    if (stat(path, &st) != 0)
        return ec_err_errno(err, errno, "%s", path);
    return S_ISDIR(st.st_mode) || ec_err_errno(err, ENOTDIR, "%s", path);
}

bool ec_fs_secure_dir(const char *path, bool create, ec_err *err)
{
    if (create && mkdir(path, 0700) != 0 && errno != EEXIST) {
        struct stat st;
        int why = errno;
        if (lstat(path, &st) != 0)
            return fail_write(err, why, path);
    }
    int fd = open_path(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0) {
        int why = errno;
        struct stat st;
        if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
            return ec_err_set(err, "ELOOP", "%s: is a symbolic link", path);
        return ec_err_errno(err, why, "%s", path);
    }
    struct stat st = {0};
    bool ok = true;
    if (fstat(fd, &st) != 0)
        ok = ec_err_errno(err, errno, "%s", path);
    else if (st.st_uid != geteuid())
        ok = ec_err_set(err, "EPERM", "%s: belongs to uid %u, not to you (uid %u)", path, st.st_uid, geteuid());
    else if ((st.st_mode & 077) != 0 && create && fchmod(fd, st.st_mode & 0700) != 0)
        ok = ec_err_errno(err, errno, "%s", path);
    close(fd);
    return ok;
}

// A tree may be deeper than there are descriptors, and deeper than PATH_MAX: only the directory at hand is open, and
// the way back is "..", which has to be the directory that we came from.
typedef struct level {
    dev_t dev; // of the directory above
    ino_t ino;
    char name[NAME_MAX + 1]; // in it
} level;

typedef struct removal {
    const char *path; // for messages
    int fd;           // the directory at hand
    level *levels;
    size_t depth, room;
    ec_err *err;
} removal;

static bool removal_failed(const removal *r, int why, const char *name)
{
    eb_buf at = {0};
    eb_adds(&at, r->path);
    for (size_t i = 0; i < r->depth && at.size < PATH_MAX; i++) {
        eb_addc(&at, '/');
        eb_adds(&at, r->levels[i].name);
    }
    ec_err_errno(r->err, why, "%s/%s", at.data, name);
    eb_free(&at);
    return false;
}

static bool descend(removal *r, int sub, const char *name)
{
    struct stat st;
    if (fstat(r->fd, &st) != 0) {
        int why = errno;
        close(sub);
        return removal_failed(r, why, name);
    }
    if (r->depth == r->room) {
        r->room = r->room ? 2 * r->room : 16;
        r->levels = ec_xrealloc(r->levels, r->room * sizeof *r->levels);
    }
    level *l = &r->levels[r->depth++];
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    snprintf(l->name, sizeof l->name, "%s", name);
    close(r->fd);
    r->fd = sub;
    return true;
}

// Leaves the directory at hand, which is empty, and removes it.
static bool ascend(removal *r)
{
    const level *l = &r->levels[--r->depth];
    struct stat st;
    int up = openat(r->fd, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (up < 0)
        return removal_failed(r, errno, l->name);
    close(r->fd);
    r->fd = up;
    if (fstat(up, &st) != 0)
        return removal_failed(r, errno, l->name);
    if (st.st_dev != l->dev || st.st_ino != l->ino) // somebody moved it: what is above is not ours to touch
        return ec_err_set(r->err, "EBUSY", "%s: %s was moved while it was removed", r->path, l->name);
    return ec_fs_ops.unlinkat(up, l->name, AT_REMOVEDIR) == 0 || removal_failed(r, errno, l->name);
}

// Removes what is not a directory. Stops at the first that is and returns it open in *sub, its name in `name`; -1 when
// the directory at hand is empty, -2 when it has to be looked at again.
static bool remove_files(removal *r, int *sub, char name[NAME_MAX + 1])
{
    int again = openat(r->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); // closedir closes it
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (!dir) {
        int why = errno;
        if (again >= 0)
            close(again);
        return removal_failed(r, why, ".");
    }
    bool ok = true;
    struct dirent *e;
    *sub = -1;
    while (ok && *sub < 0 && (e = readdir(dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        *sub = -2;
        if (ec_fs_ops.unlinkat(r->fd, e->d_name, 0) == 0)
            continue;
        int why = errno;
        *sub = openat(r->fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        snprintf(name, NAME_MAX + 1, "%s", e->d_name);
        // A directory that cannot be opened; otherwise what unlink said. Gone by itself is fine.
        if (*sub < 0 && errno != ENOENT)
            ok = removal_failed(r, errno == ENOTDIR || errno == ELOOP ? why : errno, name);
        else if (*sub < 0)
            *sub = -2;
    }
    closedir(dir);
    return ok;
}

bool ec_fs_remove_tree(const char *path, ec_err *err)
{
    enum { PASSES = 1000 }; // over one directory: somebody who keeps adding files is not fought for ever
    int fd = open_path(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0)
        return errno == ENOENT || ec_err_errno(err, errno, "%s", path);
    removal r = {.path = path, .fd = fd, .err = err};
    char name[NAME_MAX + 1];
    bool ok = true, done = false;
    for (int sub = -1, passes = 0; ok && !done;) {
        ok = remove_files(&r, &sub, name);
        if (ok && sub == -2 && ++passes < PASSES)
            continue;
        passes = 0;
        if (ok && sub == -2)
            ok = removal_failed(&r, ENOTEMPTY, ".");
        else if (ok && sub >= 0)
            ok = descend(&r, sub, name);
        else if (ok && r.depth > 0)
            ok = ascend(&r);
        else
            done = true;
    }
    close(r.fd);
    free(r.levels);
    return ok && (rmdir(path) == 0 || ec_err_errno(err, errno, "%s", path));
}

int ec_fs_flock(const char *path, ec_err *err)
{
    int fd = open_path(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) {
        int why = errno;
        // A lock is no write: what is there can be locked on a read-only file system, too.
        fd = why == EROFS ? open_path(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0) : -1;
        if (fd < 0) {
            fail_write(err, why, path);
            return -1;
        }
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        char holder[160] = "";
        ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
        close(fd);
        if (why == EWOULDBLOCK) {
            holder[n > 0 ? strcspn(holder, "\n") : 0] = '\0';
            ec_err_set(err, "EWOULDBLOCK", "%s: locked by another process%s%s", path, *holder ? ": " : "", holder);
        } else {
            ec_err_errno(err, why, "%s", path);
        }
        return -1;
    }
    return fd;
}

bool ec_fs_lock_write(int fd, const void *data, size_t size, ec_err *err)
{
    errno = ENOSPC; // what a short write means
    if (ec_fs_ops.ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        return ec_err_errno(err, errno, "lock file");
    return true;
}
