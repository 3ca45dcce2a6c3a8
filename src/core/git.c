// See envctl/git.h. The formats are those of gitrepository-layout(5).
#include "envctl/git.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
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
    int why = errno;
    close(fd);
    errno = why;
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

// Cuts white space off both ends, in place.
static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    for (size_t n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

typedef struct core_config {
    bool bare;
    char worktree[PATH_MAX];
} core_config;

// The two keys of [core] that say where the working tree is. Plain lines only: git itself writes them that way.
static void read_core_config(core_config *c, const char *git_dir, const char *file)
{
    char path[PATH_MAX], *rest = NULL;
    eb_buf b = {0};
    if (join(path, git_dir, file) && ec_fs_read(&b, path, 1 << 20, false, NULL)) {
        eb_addc(&b, '\n');
        bool core = false;
        for (char *line = strtok_r(b.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
            char *key = trim(line), *value = strchr(key, '=');
            if (key[0] == '[')
                core = strncasecmp(key, "[core]", 6) == 0;
            if (value)
                *value++ = '\0';
            key = trim(key);
            if (core && strcasecmp(key, "bare") == 0)
                c->bare = !value || strcasecmp(trim(value), "true") == 0 || strcmp(trim(value), "1") == 0;
            else if (core && value && strcasecmp(key, "worktree") == 0)
                snprintf(c->worktree, sizeof c->worktree, "%s", trim(value));
        }
    }
    eb_free(&b);
}

// The main working tree stands where core.worktree says (submodules), else around its .git.
static void find_main_root(ec_git_repo *r)
{
    core_config c = {0};
    read_core_config(&c, r->common_dir, "config");
    read_core_config(&c, r->common_dir, "config.worktree"); // git moves core.bare there for sparse worktrees
    size_t n = strlen(r->common_dir);
    r->bare = r->bare || (c.bare && !r->linked);
    if (c.bare || r->bare)
        return;
    if (!r->linked)
        snprintf(r->main_root, sizeof r->main_root, "%s", r->root);
    else if (*c.worktree && resolve(r->main_root, r->common_dir, c.worktree))
        return;
    else if (n > 5 && strcmp(r->common_dir + n - 5, "/.git") == 0)
        snprintf(r->main_root, sizeof r->main_root, "%.*s", (int)(n - 5), r->common_dir);
}

// The directory itself is a repository, without a .git in it. The .git of a working tree looks the same: that is not
// one.
static bool is_bare(const char *dir)
{
    if (!looks_like_git_dir(dir) || !exists_in(dir, "config"))
        return false;
    size_t n = strlen(dir);
    core_config c = {0};
    read_core_config(&c, dir, "config");
    return c.bare || n < 5 || strcmp(dir + n - 5, "/.git") != 0;
}

// 1: a repository, 0: none here, -1: a broken one.
static int try_dir(ec_git_repo *r, const char *dir, ec_err *err)
{
    char dot[PATH_MAX], line[PATH_MAX];
    struct stat st;
    *r = (ec_git_repo){0};
    if (!join(dot, dir, ".git"))
        return 0;
    bool there = stat(dot, &st) == 0;
    if (there && S_ISDIR(st.st_mode)) {
        if (!looks_like_git_dir(dot) || !realpath(dot, r->git_dir))
            return 0;
    } else if (there && S_ISREG(st.st_mode)) {
        if (!ec_git_read_line(line, sizeof line, dot) || strncmp(line, "gitdir: ", 8) != 0)
            return 0;
        if (!resolve(r->git_dir, dir, line + 8)) {
            ec_err_set(err, "ENOENT", "%s: names %s, which is not there (try `git worktree repair`)", dot, line + 8);
            return -1;
        }
    } else if (is_bare(dir)) {
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
    find_main_root(r);
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

static bool is_oid(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");
    return text[n] == '\0' && (n == 40 || n == 64);
}

// A name below refs/ that stays there.
static bool is_ref(const char *ref)
{
    size_t n = strlen(ref);
    return strncmp(ref, "refs/", 5) == 0 && !strstr(ref, "..") && !strstr(ref, "//") && ref[n - 1] != '/';
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
                *space = '\0';
                snprintf(out, size, "%s", line);
                found = true;
            }
        }
    }
    eb_free(&b);
    return found;
}

// What a reference points to; "" when it was not born yet. A reference may name another one: git follows five.
static void read_ref(ec_git_head *out, const char *common_dir, const char *first)
{
    char path[PATH_MAX], line[1024], ref[1024];
    snprintf(ref, sizeof ref, "%s", first);
    for (int hops = 0; hops < 5 && is_ref(ref); hops++) {
        *line = '\0';
        if (!join(path, common_dir, ref) || !ec_git_read_line(line, sizeof line, path))
            find_packed(line, sizeof line, common_dir, ref);
        if (is_oid(line))
            snprintf(out->oid, sizeof out->oid, "%.71s", line);
        if (strncmp(line, "ref: ", 5) != 0)
            break;
        snprintf(ref, sizeof ref, "%s", line + 5);
    }
}

// common_dir is NULL when it has to be looked up: that is another file to read.
static bool read_head(ec_git_head *out, const char *git_dir, const char *common_dir, ec_err *err)
{
    *out = (ec_git_head){0};
    char path[PATH_MAX], line[1024];
    errno = ENAMETOOLONG;
    if (!join(path, git_dir, "HEAD"))
        return ec_err_errno(err, errno, "%s/HEAD", git_dir);
    // Very old repositories have a link instead of a line.
    ssize_t n = readlink(path, line, sizeof line - 1);
    bool link = n > 5 && strncmp(line, "refs/", 5) == 0;
    if (link)
        line[n] = '\0';
    else if (!ec_git_read_line(line, sizeof line, path))
        return ec_err_errno(err, errno, "%s", path);
    if (!link && is_oid(line)) {
        out->detached = true;
        snprintf(out->oid, sizeof out->oid, "%.71s", line);
        return true;
    }
    const char *ref = link ? line : strncmp(line, "ref:", 4) == 0 ? trim(line + 4) : "";
    if (strcmp(ref, "refs/heads/.invalid") == 0)
        return ec_err_set(err, "EGIT_UNSUPPORTED", "%s: its references are not stored in files", git_dir);
    if (!is_ref(ref))
        return ec_err_set(err, "EINVAL", "%s: neither a reference nor an object id", path);
    snprintf(out->branch, sizeof out->branch, "%.511s", strncmp(ref, "refs/heads/", 11) == 0 ? ref + 11 : ref);
    ec_git_repo r = {0};
    if (!common_dir) {
        snprintf(r.git_dir, sizeof r.git_dir, "%s", git_dir);
        if (!read_common_dir(&r))
            return ec_err_set(err, "ENOENT", "%s: its commondir is not there", git_dir);
        common_dir = r.common_dir;
    }
    read_ref(out, common_dir, ref);
    return true;
}

bool ec_git_head_read(ec_git_head *out, const char *git_dir, ec_err *err)
{
    return read_head(out, git_dir, NULL, err);
}

bool ec_git_ref_read(char oid[72], const char *common_dir, const char *ref, ec_err *err)
{
    ec_git_head head = {0};
    read_ref(&head, common_dir, ref);
    if (!*head.oid)
        return ec_err_set(err, "ENOENT", "%s: there is no %s", common_dir, ref);
    snprintf(oid, 72, "%s", head.oid);
    return true;
}

// A copied repository still names the worktrees of the one it was copied from. What they name back decides whose they
// are; a name that leads nowhere is no other repository's, which is what a move leaves behind.
static bool names_another(const char *dot, const char *dir, const char *git_dir)
{
    char line[PATH_MAX], there[PATH_MAX], own[PATH_MAX];
    if (is_dir(dot))
        return looks_like_git_dir(dot);
    return ec_git_read_line(line, sizeof line, dot) && strncmp(line, "gitdir: ", 8) == 0 &&
           resolve(there, dir, line + 8) && realpath(git_dir, own) && strcmp(there, own) != 0;
}

bool ec_git_worktree_read(ec_git_worktree *out, const char *common_dir, const char *name)
{
    char path[PATH_MAX], line[PATH_MAX];
    struct stat st;
    *out = (ec_git_worktree){0};
    if ((size_t)snprintf(out->name, sizeof out->name, "%s", name) >= sizeof out->name ||
        (size_t)snprintf(out->git_dir, sizeof out->git_dir, "%s/worktrees/%s", common_dir, name) >= PATH_MAX)
        return false;
    if (!join(path, out->git_dir, "gitdir") || !ec_git_read_line(line, sizeof line, path))
        return false;
    char *slash = strrchr(line, '/'); // …/.git
    if (!slash || slash == line)
        return false;
    if (line[0] == '/')
        snprintf(path, sizeof path, "%s", line);
    else if (!join(path, out->git_dir, line)) // worktree.useRelativePaths
        return false;
    out->missing = stat(path, &st) != 0;
    snprintf(line, sizeof line, "%s", path);
    *strrchr(path, '/') = '\0';
    out->foreign = !out->missing && names_another(line, path, out->git_dir);
    if (!realpath(path, out->path)) // gone: as it was written
        snprintf(out->path, sizeof out->path, "%s", path);
    read_head(&out->head, out->git_dir, common_dir, NULL);
    out->locked = exists_in(out->git_dir, "locked");
    return true;
}
