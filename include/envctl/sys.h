// Process-wide facts that more than one binding needs.
#ifndef ENVCTL_SYS_H
#define ENVCTL_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envctl/err.h"

/// Writes all of `data`. Errors: errno names; EPIPE when the reader is gone (SIGPIPE is ignored).
bool ec_write_all(int fd, const void *data, size_t size, ec_err *err);

/// Finds a program. A `name` with '/' is only checked. Otherwise each absolute entry of `path` that is not `avoid` or
/// below it is tried; relative entries are skipped. `out` gets the absolute path (at most `size` bytes with the NUL).
/// Errors: ENOENT, EACCES (found, not executable), EISDIR, ENAMETOOLONG.
bool ec_which(char *out, size_t size, const char *name, const char *path, const char *avoid, ec_err *err);

/// Random bytes from the kernel.
void ec_random(void *data, size_t size);

/// "2026-11-25T02:16:02.123Z". `out` needs 32 bytes.
void ec_iso_time(char *out, int64_t wall_ms);

#endif
