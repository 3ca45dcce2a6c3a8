// Child processes. There is one way to start one, and its stdin class is always explicit.
#ifndef ENVCTL_PROC_H
#define ENVCTL_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "envctl/err.h"
#include "envctl/loop.h"
#include "envctl/procfs.h"

typedef struct ec_proc ec_proc;
typedef struct ec_pidwatch ec_pidwatch;

typedef enum ec_stdio {
    EC_STDIO_NULL,
    EC_STDIO_PIPE,
    EC_STDIO_INHERIT,
    EC_STDIO_LOG,     // outputs only: a file, O_APPEND
    EC_STDIO_STDOUT,  // stderr only: the same as stdout
    EC_STDIO_TERMINAL // stdin only: inherited, and the child's process group owns the terminal until it ends
} ec_stdio;

/// What the parent hears. All on the loop's thread, in this order: exec once; out any number of times and once with
/// NULL at end of file; exit once. Where a descendant keeps an output pipe open, its end is told 250 ms after the exit.
/// Nothing is called after ec_proc_close.
typedef struct ec_proc_events {
    void (*exec)(bool ok, const ec_err *err, void *ud);
    void (*out)(int fd, const char *data, size_t size, void *ud); // fd 1 or 2; data NULL: end
    void (*exit)(int code, int signal, void *ud);                 // code -1 when a signal ended it
    void *ud;
} ec_proc_events;

typedef struct ec_spawn {
    char *const *argv; // argv[0] is the program's path
    char *const *envp; // the whole environment
    const char *cwd;
    ec_stdio in, out, err;
    const char *out_log, *err_log; // for EC_STDIO_LOG
    bool session;                  // own session
    bool gated;                    // wait for ec_proc_open_gate before becoming the program
    const char *cgroup;            // cgroup v2 directory to join, or NULL
    ec_proc_events events;
} ec_spawn;

/// Starts a child. What cannot be set up before the fork (log file, pipes, fork itself) fails here; what fails in the
/// child is told by events.exec. The arrays are only used during the call. Every descriptor but 0, 1, 2 is closed in
/// the child.
bool ec_proc_spawn(ec_proc **out, ec_loop *loop, const ec_spawn *opts, ec_err *err);
void ec_proc_identity(const ec_proc *p, ec_identity *out);
/// Idempotent.
void ec_proc_open_gate(ec_proc *p);
/// Signals the child itself. ESRCH when it has ended.
bool ec_proc_signal(ec_proc *p, int sig, ec_err *err);
bool ec_proc_write(ec_proc *p, const void *data, size_t size, ec_err *err);
/// The child reads end of file after what was written.
void ec_proc_close_stdin(ec_proc *p);
/// No more events. An unopened gate stays shut, so the child ends. The child is reaped whenever it ends.
void ec_proc_close(ec_proc *p);
/// Children of this process that were not reaped yet.
int ec_proc_children(void);
/// Before the loop is freed: lets go of every child, running ones too (they live on).
void ec_proc_shutdown(void);

/// Calls fn once when that process, ours or not, has ended. NULL with ESRCH when it is not that process any more.
ec_pidwatch *ec_pidwatch_start(ec_loop *loop, const ec_identity *id, void (*fn)(void *ud), void *ud, ec_err *err);
void ec_pidwatch_close(ec_pidwatch *w);

#endif
