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
    char main_root[PATH_MAX];  // the main working tree, "" when there is none (bare)
    bool linked;               // a linked worktree
    bool bare;                 // by its layout or by core.bare
} ec_git_repo;

typedef struct ec_git_head {
    char branch[512]; // "" when detached
    char oid[72];     // "" when unborn
    bool detached;
} ec_git_head;

typedef struct ec_git_worktree {
    char name[256]; // of its directory below worktrees
    char path[PATH_MAX];
    char git_dir[PATH_MAX];
    ec_git_head head; // empty when it cannot be read
    bool locked;
    bool missing; // its directory, or the .git in it, is not there
    bool foreign; // what is there belongs to another repository
} ec_git_worktree;

typedef struct ec_git_counts {
    size_t staged, modified, untracked, conflicted;
} ec_git_counts;

/// Walks up from `start` to a repository. ENOENT when there is none.
bool ec_git_discover(ec_git_repo *out, const char *start, ec_err *err);
/// HEAD of a worktree's git directory. EINVAL when what stands there is neither a reference nor an object id, so that a
/// planted HEAD cannot make us repeat other files; EGIT_UNSUPPORTED for reference storage other than files.
bool ec_git_head_read(ec_git_head *out, const char *git_dir, ec_err *err);
/// The object id that a reference (refs/…) stands for, loose or packed. ENOENT when there is none.
bool ec_git_ref_read(char oid[72], const char *common_dir, const char *ref, ec_err *err);
/// The linked worktree that <common_dir>/worktrees/<name> describes. False when that describes none.
bool ec_git_worktree_read(ec_git_worktree *out, const char *common_dir, const char *name);
/// First line of a small file, without white space at its end. False when it cannot be read.
bool ec_git_read_line(char *out, size_t size, const char *path);

/// Counts of a working tree's state. Errors: EGIT_MISSING (no libgit2 on this machine), EGIT_UNSUPPORTED (libgit2
/// cannot read this repository; use the git command).
bool ec_git_status(ec_git_counts *out, const char *root, ec_err *err);
/// Whether ec_git_status can work on this repository: the same errors, without a walk over its files.
bool ec_git_readable(const char *root, ec_err *err);
/// Whether libgit2 was loaded into this process.
bool ec_git_loaded(void);

#endif
