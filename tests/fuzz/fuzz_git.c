// The small files of a repository, made up: discovery, HEAD and worktrees answer, and repeat nothing but names and
// object ids. The input is cut at its NUL bytes: .git/HEAD, packed-refs, config, a branch, a worktree's gitdir, its
// commondir, its .git.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "envctl/fs.h"
#include "envctl/git.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char base[64];

static void clean_up(void)
{
    ec_fs_remove_tree(base, NULL);
}

static const char *in_base(const char *name)
{
    static char ring[4][512];
    static unsigned next;
    char *out = ring[next++ % 4];
    snprintf(out, sizeof ring[0], "%s/%s", base, name);
    return out;
}

static void set_up(void)
{
    snprintf(base, sizeof base, "/tmp/envctl-fuzz.XXXXXX");
    if (!mkdtemp(base) || !ec_fs_mkdirs(in_base("repo/.git/refs/heads"), 0700, NULL) ||
        !ec_fs_mkdirs(in_base("repo/.git/objects"), 0700, NULL) ||
        !ec_fs_mkdirs(in_base("repo/.git/worktrees/w"), 0700, NULL) || !ec_fs_mkdirs(in_base("tree"), 0700, NULL))
        abort();
    atexit(clean_up);
}

static void check_head(const ec_git_head *h)
{
    size_t n = strlen(h->oid);
    if (strspn(h->oid, "0123456789abcdef") != n || (n != 0 && n != 40 && n != 64))
        abort();
    if (h->detached && *h->branch)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const files[] = {
        "repo/.git/HEAD",
        "repo/.git/packed-refs",
        "repo/.git/config",
        "repo/.git/refs/heads/b",
        "repo/.git/worktrees/w/gitdir",
        "repo/.git/worktrees/w/commondir",
        "tree/.git",
    };
    if (!*base)
        set_up();
    const uint8_t *end = data + size;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const uint8_t *nul = size > 0 && data < end ? memchr(data, 0, (size_t)(end - data)) : NULL;
        size_t n = (size_t)((nul ? nul : end) - data);
        if (!ec_fs_write_atomic(in_base(files[i]), n > 0 ? (const void *)data : "", n, 0600, false, NULL))
            abort();
        data = nul ? nul + 1 : end;
    }
    ec_git_repo r;
    ec_git_head h;
    ec_git_worktree w;
    if (ec_git_discover(&r, in_base("repo"), NULL) && !r.bare && strcmp(r.root, in_base("repo")) != 0 &&
        strncmp(r.root, base, strlen(base)) == 0)
        abort();
    ec_git_discover(&r, in_base("tree"), NULL);
    if (ec_git_head_read(&h, in_base("repo/.git"), NULL))
        check_head(&h);
    if (ec_git_worktree_read(&w, in_base("repo/.git"), "w"))
        check_head(&w.head);
    return 0;
}
