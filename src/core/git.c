// See envctl/git.h. The formats are those of gitrepository-layout(5).
#include "envctl/git.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "envctl/buf.h"
#include "envctl/fs.h"

static bool join(char out[PATH_MAX], const char *a, const char *b)
{
    return (size_t)snprintf(out, PATH_MAX, "%s/%s", a, b) < PATH_MAX;
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool exists_in(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return join(path, dir, name) && lstat(path, &st) == 0;
}

bool ec_git_read_line(char *out, size_t size, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    if (n < 0)
        return false;
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    for (size_t i = strlen(out); i > 0 && isspace((unsigned char)out[i - 1]); i--)
        out[i - 1] = '\0';
    return true;
}

// Resolves `path`, which may be relative to `base`.
static bool resolve(char out[PATH_MAX], const char *base, const char *path)
{
    char full[PATH_MAX];
    if (path[0] == '/')
        snprintf(full, sizeof full, "%s", path);
    else if (!join(full, base, path))
        return false;
    return realpath(full, out) != NULL;
}

// A git directory has HEAD and either its own objects and refs or a commondir file.
static bool looks_like_git_dir(const char *dir)
{
    return exists_in(dir, "HEAD") &&
           (exists_in(dir, "commondir") || (exists_in(dir, "objects") && exists_in(dir, "refs")));
}

static bool read_common_dir(ec_git_repo *r)
{
    char path[PATH_MAX], line[PATH_MAX];
    snprintf(r->common_dir, sizeof r->common_dir, "%s", r->git_dir);
    if (!join(path, r->git_dir, "commondir") || !ec_git_read_line(line, sizeof line, path))
        return true;
    r->linked = true;
    return resolve(r->common_dir, r->git_dir, line);
}

// 1: a repository, 0: none here, -1: a broken one.
static int try_dir(ec_git_repo *r, const char *dir, ec_err *err)
{
    char dot[PATH_MAX], line[PATH_MAX];
    struct stat st;
    *r = (ec_git_repo){0};
    if (!join(dot, dir, ".git"))
        return 0;
    if (stat(dot, &st) == 0 && S_ISDIR(st.st_mode)) {
        if (!looks_like_git_dir(dot))
            return 0;
        if (!realpath(dot, r->git_dir))
            return 0;
    } else if (lstat(dot, &st) == 0 && S_ISREG(st.st_mode)) {
        if (!ec_git_read_line(line, sizeof line, dot) || strncmp(line, "gitdir: ", 8) != 0)
            return 0;
        if (!resolve(r->git_dir, dir, line + 8)) {
            ec_err_set(err, "ENOENT", "%s: names %s, which is not there (try `git worktree repair`)", dot, line + 8);
            return -1;
        }
    } else if (looks_like_git_dir(dir) && exists_in(dir, "config")) {
        r->bare = true;
        snprintf(r->git_dir, sizeof r->git_dir, "%s", dir);
    } else {
        return 0;
    }
    snprintf(r->root, sizeof r->root, "%s", dir);
    if (!read_common_dir(r)) {
        ec_err_set(err, "ENOENT", "%s: its commondir is not there", r->git_dir);
        return -1;
    }
    return 1;
}

bool ec_git_discover(ec_git_repo *out, const char *start, ec_err *err)
{
    char dir[PATH_MAX];
    if (!realpath(start, dir))
        return ec_err_errno(err, errno, "%s", start);
    if (!is_dir(dir)) {
        char *slash = strrchr(dir, '/');
        slash[slash == dir] = '\0';
    }
    for (;;) {
        int found = try_dir(out, dir, err);
        if (found != 0)
            return found > 0;
        char *slash = strrchr(dir, '/');
        if (!slash || strcmp(dir, "/") == 0)
            break;
        slash[slash == dir] = '\0';
    }
    return ec_err_set(err, "ENOENT", "%s: not inside a git repository", start);
}

static bool find_packed(char *out, size_t size, const char *common_dir, const char *ref)
{
    char path[PATH_MAX];
    eb_buf b = {0};
    bool found = false;
    if (join(path, common_dir, "packed-refs") && ec_fs_read(&b, path, 64 << 20, false, NULL)) {
        eb_addc(&b, '\n');
        size_t n = strlen(ref);
        for (char *line = b.data, *end; !found && (end = strchr(line, '\n')); line = end + 1) {
            *end = '\0';
            char *space = strchr(line, ' ');
            if (line[0] != '#' && line[0] != '^' && space && strncmp(space + 1, ref, n) == 0 &&
                (space[1 + n] == '\0' || space[1 + n] == '\r')) {
                snprintf(out, size, "%.*s", (int)(space - line), line);
                found = true;
            }
        }
    }
    eb_free(&b);
    return found;
}

bool ec_git_head_read(ec_git_head *out, const char *git_dir, ec_err *err)
{
    *out = (ec_git_head){0};
    char path[PATH_MAX], line[1024];
    if (!join(path, git_dir, "HEAD") || !ec_git_read_line(line, sizeof line, path))
        return ec_err_errno(err, errno, "%s/HEAD", git_dir);
    if (strncmp(line, "ref: ", 5) != 0) {
        out->detached = true;
        snprintf(out->oid, sizeof out->oid, "%.71s", line);
        return true;
    }
    const char *ref = line + 5;
    snprintf(out->branch, sizeof out->branch, "%.511s", strncmp(ref, "refs/heads/", 11) == 0 ? ref + 11 : ref);
    ec_git_repo r = {0};
    snprintf(r.git_dir, sizeof r.git_dir, "%s", git_dir);
    if (!read_common_dir(&r))
        return ec_err_set(err, "ENOENT", "%s: its commondir is not there", git_dir);
    if (!join(path, r.common_dir, ref) || !ec_git_read_line(out->oid, sizeof out->oid, path))
        find_packed(out->oid, sizeof out->oid, r.common_dir, ref);
    return true;
}
