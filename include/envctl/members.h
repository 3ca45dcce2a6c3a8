// Which processes belong to a service. One walk over /proc answers for many services.
#ifndef ENVCTL_MEMBERS_H
#define ENVCTL_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>

#include "envctl/procfs.h"

/// How to recognise the processes of one service; members are the union of what the fields find. Strings are borrowed.
typedef struct ec_query {
    const ec_identity *leader; // NULL: none
    const char *marker;        // "NAME=value" in the environment
    const char *log;           // path of the log file its output goes to
    const char *cgroup;        // absolute path of its cgroup v2 leaf
} ec_query;

enum { EC_VIA_CGROUP = 1, EC_VIA_LEADER = 2, EC_VIA_SESSION = 4, EC_VIA_MARKER = 8, EC_VIA_LOG = 16, EC_VIA_TREE = 32 };

typedef struct ec_member {
    pid_t pid, ppid;
    uint64_t start_ticks;
    char comm[32];
    unsigned via; // EC_VIA_* bits
} ec_member;

typedef struct ec_members {
    ec_member *list; // sorted by pid
    size_t count;
} ec_members;

/// Fills `out[i]` for each of `count` queries. Never contains this process or its ancestors, nor zombies. Session
/// membership counts only while the recorded leader is there (alive or zombie, same start time) or when a process of
/// that session carries the marker or the log: nobody can enter a session from outside, but a session id can be used
/// again. Free with ec_members_free.
void ec_members_find(ec_members *out, const ec_query *queries, size_t count);
void ec_members_free(ec_members *out, size_t count);

/// Finds and signals (through pidfds, identity checked). With SIGKILL, cgroup.kill is used as well and up to three
/// passes are made. `found[i]` is how many were there in the first pass.
void ec_members_signal(size_t *found, const ec_query *queries, size_t count, int sig);

#endif
