// Files. Every descriptor is close-on-exec. Functions return false and fill `err` ("path: reason", errno name) on
// failure.
#ifndef ENVCTL_FS_H
#define ENVCTL_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "envctl/buf.h"
#include "envctl/err.h"

/// Whole regular file into `out` (appended). More than `max` bytes is EFBIG. FIFOs and devices are EINVAL, never waited
/// for.
bool ec_fs_read(eb_buf *out, const char *path, size_t max, bool nofollow, ec_err *err);

/// Up to `max` bytes from `offset`, and the file's size now.
bool ec_fs_read_at(eb_buf *out, int64_t *size, const char *path, int64_t offset, size_t max, ec_err *err);

/// Replaces the file: a temporary in the same directory (O_EXCL, O_NOFOLLOW), fsync, rename, fsync of the directory.
/// `durable` false leaves the fsyncs out. On failure the old content is untouched and no temporary stays; only when it
/// was the directory's fsync that failed, the new content is there already.
bool ec_fs_write_atomic(const char *path, const void *data, size_t size, mode_t mode, bool durable, ec_err *err);

/// One write with O_APPEND. Starts a fresh line when the file does not end in one; a short write is truncated back.
bool ec_fs_append(const char *path, const void *data, size_t size, ec_err *err);

/// Creates the directory and its parents with `mode`. Existing directories are fine.
bool ec_fs_mkdirs(const char *path, mode_t mode, ec_err *err);

/// Makes sure `path` is a directory only we can use: created 0700 when `create`, opened without following a link, owned
/// by the effective user; bits for group and others are removed. Errors: ELOOP (a link), EPERM (somebody else's),
/// ENOTDIR, ENOENT.
bool ec_fs_secure_dir(const char *path, bool create, ec_err *err);

/// Removes a tree without following links. Not an error when it does not exist.
bool ec_fs_remove_tree(const char *path, ec_err *err);

/// flock(LOCK_EX|LOCK_NB) on a file created 0600. Returns the descriptor, or -1 (EWOULDBLOCK when held). Never unlink
/// the file.
int ec_fs_flock(const char *path, ec_err *err);
/// Replaces the text of a lock file.
bool ec_fs_lock_write(int fd, const void *data, size_t size, ec_err *err);

#endif
