// Git repositories by direct file reads: discovery, HEAD, linked worktrees. Status is libgit2's, loaded on first use.
#ifndef ENVCTL_GIT_H
#define ENVCTL_GIT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "envctl/err.h"

typedef struct ec_git_repo {
    char root[PATH_MAX];       // working tree, or the directory of a bare repository
    char git_dir[PATH_MAX];    // its own .git
    char common_dir[PATH_MAX]; // shared by all worktrees
    bool linked;               // a linked worktree
    bool bare;
} ec_git_repo;

typedef struct ec_git_head {
    char branch[512]; // "" when detached
    char oid[72];     // "" when unborn
    bool detached;
} ec_git_head;

typedef struct ec_git_counts {
    size_t staged, modified, untracked, conflicted;
} ec_git_counts;

/// Walks up from `start` to a repository. ENOENT when there is none.
bool ec_git_discover(ec_git_repo *out, const char *start, ec_err *err);
/// HEAD of a worktree's git directory.
bool ec_git_head_read(ec_git_head *out, const char *git_dir, ec_err *err);
/// First line of a small file, without white space at its end. False when it cannot be read.
bool ec_git_read_line(char *out, size_t size, const char *path);

/// Counts of a working tree's state. Errors: EGIT_MISSING (no libgit2 on this machine), EGIT_UNSUPPORTED (libgit2
/// cannot read this repository; use the git command).
bool ec_git_status(ec_git_counts *out, const char *root, ec_err *err);
/// Whether libgit2 was loaded into this process.
bool ec_git_loaded(void);

#endif
