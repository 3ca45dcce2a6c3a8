// The one event loop: a thin owner of a uv_loop_t. Everything here runs on the main thread.
#ifndef ENVCTL_LOOP_H
#define ENVCTL_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "envctl/err.h"

typedef struct ec_loop ec_loop;
typedef struct ec_timer ec_timer;
typedef struct ec_sigwatch ec_sigwatch;
typedef struct ec_fdwatch ec_fdwatch;
typedef struct ec_filewatch ec_filewatch;

ec_loop *ec_loop_new(void);
/// Closes every handle, runs the close callbacks, frees. No user callback runs from here on.
void ec_loop_free(ec_loop *loop);
/// Runs until nothing referenced is active or ec_loop_stop() was called.
void ec_loop_run(ec_loop *loop);
void ec_loop_stop(ec_loop *loop);
/// The uv_loop_t, for the other files of src/core that own uv handles.
struct uv_loop_s *ec_loop_uv(ec_loop *loop);
/// Open handles of all kinds (internal ones of libuv and of ec_loop itself left out).
int ec_loop_handles(const ec_loop *loop);

/// One-shot timer. `fn` runs once unless closed before. Close with ec_timer_close (idempotent on NULL); memory is freed
/// in libuv's close callback, also after it fired.
ec_timer *ec_timer_start(ec_loop *loop, uint64_t ms, void (*fn)(void *ud), void *ud);
void ec_timer_close(ec_timer *t);

/// Unreferenced: does not keep the loop alive.
ec_sigwatch *ec_sigwatch_start(ec_loop *loop, int signum, void (*fn)(int signum, void *ud), void *ud, ec_err *err);
void ec_sigwatch_close(ec_sigwatch *s);

/// Calls `fn` once when fd is readable (or has an error or end of file). The fd stays the caller's.
ec_fdwatch *ec_fdwatch_start(ec_loop *loop, int fd, void (*fn)(void *ud), void *ud, ec_err *err);
void ec_fdwatch_close(ec_fdwatch *w);

/// Calls `fn` once when the file at `path` was written to, renamed or removed. NULL with ENOENT when there is none,
/// with EMFILE or ENOSPC when the kernel gives out no more watches.
ec_filewatch *ec_filewatch_start(ec_loop *loop, const char *path, void (*fn)(void *ud), void *ud, ec_err *err);
void ec_filewatch_close(ec_filewatch *w);

#endif
