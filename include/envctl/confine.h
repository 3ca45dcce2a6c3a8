// The script host's cage: what a process gives up before it runs somebody else's code, and reading files that cannot
// lie about where they are.
#ifndef ENVCTL_CONFINE_H
#define ENVCTL_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "envctl/buf.h"
#include "envctl/err.h"

/// What is in force after ec_confine_apply, or would be (ec_confine_probe). `*_why` is empty when it is.
typedef struct ec_confine_report {
    bool seccomp;
    int landlock; // the kernel's ABI number, 0 when there is none
    char seccomp_why[96];
    char landlock_why[96];
} ec_confine_report;

typedef struct ec_confine_opts {
    uint64_t memory;      // bytes of address space beyond what is mapped now
    unsigned cpu_seconds; // processor time of the whole process; the kernel ends it afterwards
} ec_confine_opts;

/// What this kernel has. Changes nothing.
void ec_confine_probe(ec_confine_report *out);

/// Gives everything up but reading descriptor 0, writing descriptors 1 and 2, memory and time: the process dies with
/// its parent, gains no privileges, has resource limits, holds no other descriptor, and (seccomp, Landlock) any other
/// system call ends it. There is no way back. False when what every Linux has could not be applied; seccomp and
/// Landlock are reported instead.
bool ec_confine_apply(ec_confine_report *out, const ec_confine_opts *opts, ec_err *err);

typedef struct ec_beneath {
    uid_t uid;
    mode_t mode; // permission bits
    uint64_t dev, ino;
} ec_beneath;

/// Reads a regular file below `dir` into `out`; `path` is relative. No link on the way, absolute or relative, leads out
/// of `dir`: EXDEV then. More than `max` bytes is EFBIG. What `st` says is about the very file the bytes are from.
bool ec_confine_read(eb_buf *out, ec_beneath *st, const char *dir, const char *path, size_t max, ec_err *err);

#endif
