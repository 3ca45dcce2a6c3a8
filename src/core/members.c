// See envctl/members.h.
#include "envctl/members.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "envctl/mem.h"

// One process as the walk saw it, and per query what speaks for it.
typedef struct seen {
    ec_stat st;
    unsigned *via;    // one per query
    ptrdiff_t parent; // its place in the list, -1: not there
} seen;

typedef struct walk {
    const ec_query *queries;
    size_t count;
    struct stat *logs; // st_ino 0: no log
    bool any_marker, any_log;
    pid_t *excluded; // this process and its ancestors
    size_t excluded_count;
    uid_t uid;
    seen *list;
    size_t size;
    size_t sorted;         // so many of them, from the start, are sorted by pid
    unsigned char *listed; // one bit per pid: was looked at
    size_t fresh;          // pids of this listing that no earlier one had
    eb_buf scratch;
} walk;

// The kernel lists hundreds of pids at a time, and by the time the last of them is looked at a process that forks and
// ends may have passed by. So /proc is listed again until nothing is new, but not for ever.
enum { PID_LIMIT = 1 << 22, LISTINGS = 6 };

static void exclude_ancestors(walk *w)
{
    pid_t pid = getpid();
    ec_stat st;
    while (pid > 0 && w->excluded_count < 256) {
        w->excluded = ec_xrealloc(w->excluded, (w->excluded_count + 1) * sizeof *w->excluded);
        w->excluded[w->excluded_count++] = pid;
        if (!ec_procfs_stat(&st, pid))
            break;
        pid = st.ppid;
    }
}

static bool is_excluded(const walk *w, pid_t pid)
{
    for (size_t i = 0; i < w->excluded_count; i++)
        if (w->excluded[i] == pid)
            return true;
    return false;
}

static void look_at_environ(walk *w, seen *s)
{
    w->scratch.size = 0;
    if (!ec_procfs_read(&w->scratch, s->st.pid, "environ"))
        return;
    // Most queries ask for the same name: look for it once.
    const char *name = NULL, *value = NULL;
    size_t name_size = 0;
    for (size_t q = 0; q < w->count; q++) {
        const char *marker = w->queries[q].marker;
        const char *eq = marker ? strchr(marker, '=') : NULL;
        if (!eq)
            continue;
        size_t n = (size_t)(eq - marker);
        if (!name || n != name_size || memcmp(name, marker, n) != 0) {
            name = marker;
            name_size = n;
            value = ec_environ_find(w->scratch.data, w->scratch.size, name, name_size);
        }
        if (value && strcmp(value, eq + 1) == 0)
            s->via[q] |= EC_VIA_MARKER;
    }
}

// Only the standard streams of a service are opened on its log, and what inherits them; higher numbers appear when a
// shell or runtime duplicates them, so a few more are looked at.
enum { LOG_FDS = 16 };

static void look_at_logs(walk *w, seen *s)
{
    for (int fd = 0; fd < LOG_FDS; fd++) {
        char path[64];
        struct stat st;
        snprintf(path, sizeof path, "/proc/%d/fd/%d", s->st.pid, fd);
        if (lstat(path, &st) != 0) {
            if (errno == EACCES)
                return;
            continue;
        }
        // The link's own mode says how it was opened: who only reads the log (tail, a pager, an editor) is not of the
        // service.
        if (!(st.st_mode & S_IWUSR) || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        for (size_t q = 0; q < w->count; q++)
            if (w->logs[q].st_ino == st.st_ino && w->logs[q].st_dev == st.st_dev && st.st_ino != 0)
                s->via[q] |= EC_VIA_LOG;
    }
}

static bool visit(pid_t pid, void *ud)
{
    walk *w = ud;
    char path[32];
    struct stat owner;
    if (is_excluded(w, pid))
        return true;
    snprintf(path, sizeof path, "/proc/%d", pid);
    // What may not be dumped shows root as its owner, also when it is ours.
    if (w->uid != 0 && (stat(path, &owner) != 0 || (owner.st_uid != w->uid && owner.st_uid != 0)))
        return true;
    seen s = {.parent = -1};
    if (!ec_procfs_stat(&s.st, pid) || s.st.kernel)
        return true;
    s.via = ec_xcalloc(w->count, sizeof *s.via);
    if (s.st.state != 'Z' && s.st.state != 'X') {
        if (w->any_marker)
            look_at_environ(w, &s);
        if (w->any_log)
            look_at_logs(w, &s);
    }
    if ((w->size & (w->size - 1)) == 0)
        w->list = ec_xrealloc(w->list, (w->size ? w->size * 2 : 1) * sizeof *w->list);
    w->list[w->size++] = s;
    return true;
}

static int by_seen_pid(const void *a, const void *b)
{
    pid_t x = ((const seen *)a)->st.pid, y = ((const seen *)b)->st.pid;
    return (x > y) - (x < y);
}

static void sort_seen(walk *w)
{
    if (w->size)
        qsort(w->list, w->size, sizeof *w->list, by_seen_pid);
    w->sorted = w->size;
}

static bool visit_once(pid_t pid, void *ud)
{
    walk *w = ud;
    if (pid < 0 || pid >= PID_LIMIT || (w->listed[pid / 8] & 1 << pid % 8))
        return true;
    w->listed[pid / 8] |= (unsigned char)(1 << pid % 8);
    w->fresh++;
    return visit(pid, w);
}

static void look_at_all(walk *w)
{
    w->listed = ec_xcalloc(PID_LIMIT / 8, 1);
    for (int i = 0; i < LISTINGS && (i == 0 || w->fresh); i++) {
        w->fresh = 0;
        ec_procfs_each(visit_once, w);
    }
    free(w->listed);
    sort_seen(w);
}

static seen *find_pid(const walk *w, pid_t pid)
{
    const seen key = {.st.pid = pid};
    seen *s = w->sorted ? bsearch(&key, w->list, w->sorted, sizeof *w->list, by_seen_pid) : NULL;
    for (size_t i = w->sorted; !s && i < w->size; i++)
        if (w->list[i].st.pid == pid)
            s = &w->list[i];
    return s;
}

static void add_cgroup(walk *w, size_t q)
{
    const char *leaf = w->queries[q].cgroup;
    if (!leaf)
        return;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/cgroup.procs", leaf);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    char line[32];
    while (fgets(line, sizeof line, f)) {
        pid_t pid = (pid_t)strtol(line, NULL, 10);
        seen *s = find_pid(w, pid);
        if (!s && visit(pid, w)) // born after the walk passed its place
            s = find_pid(w, pid);
        if (s)
            s->via[q] |= EC_VIA_CGROUP;
    }
    fclose(f);
}

static bool same_boot(const ec_identity *id)
{
    return strcmp(id->boot_id, ec_boot_id()) == 0 && id->pid_ns == ec_pid_ns();
}

static void add_session(walk *w, size_t q)
{
    const ec_identity *leader = w->queries[q].leader;
    if (!leader || !same_boot(leader))
        return;
    seen *l = find_pid(w, leader->pid);
    bool ours = l && l->st.start_ticks == leader->start_ticks;
    if (ours)
        l->via[q] |= EC_VIA_LEADER;
    else if (l)
        return; // the pid, and with it the session id, is somebody else's now
    for (size_t i = 0; !ours && i < w->size; i++)
        ours =
            w->list[i].st.session == leader->pid && (w->list[i].via[q] & (EC_VIA_MARKER | EC_VIA_LOG | EC_VIA_CGROUP));
    for (size_t i = 0; ours && i < w->size; i++)
        if (w->list[i].st.session == leader->pid && w->list[i].st.pid != leader->pid)
            w->list[i].via[q] |= EC_VIA_SESSION;
}

// Children of members, until nothing is added.
static void add_tree(walk *w, size_t q)
{
    bool added = true;
    while (added) {
        added = false;
        for (size_t i = 0; i < w->size; i++) {
            seen *s = &w->list[i];
            if (!s->via[q] && s->parent >= 0 && w->list[s->parent].via[q]) {
                s->via[q] |= EC_VIA_TREE;
                added = true;
            }
        }
    }
}

static void link_parents(walk *w)
{
    for (size_t i = 0; i < w->size; i++) {
        const seen *parent = find_pid(w, w->list[i].st.ppid);
        w->list[i].parent = parent ? parent - w->list : -1;
    }
}

static void collect(const walk *w, size_t q, ec_members *out)
{
    for (size_t i = 0; i < w->size; i++) {
        const seen *s = &w->list[i];
        if (!s->via[q] || s->st.state == 'Z' || s->st.state == 'X')
            continue;
        out->list = ec_xrealloc(out->list, (out->count + 1) * sizeof *out->list);
        ec_member *m = &out->list[out->count++];
        *m = (ec_member){.pid = s->st.pid, .ppid = s->st.ppid, .start_ticks = s->st.start_ticks, .via = s->via[q]};
        memcpy(m->comm, s->st.comm, sizeof m->comm);
    }
}

void ec_members_find(ec_members *out, const ec_query *queries, size_t count)
{
    for (size_t q = 0; q < count; q++)
        out[q] = (ec_members){0};
    walk w = {.queries = queries, .count = count, .uid = geteuid()};
    w.logs = ec_xcalloc(count, sizeof *w.logs);
    for (size_t q = 0; q < count; q++) {
        w.any_marker = w.any_marker || queries[q].marker;
        if (queries[q].log && stat(queries[q].log, &w.logs[q]) == 0)
            w.any_log = true;
        else
            w.logs[q].st_ino = 0;
    }
    exclude_ancestors(&w);
    look_at_all(&w);
    for (size_t q = 0; q < count; q++)
        add_cgroup(&w, q);
    sort_seen(&w);
    link_parents(&w);
    for (size_t q = 0; q < count; q++) {
        add_session(&w, q);
        add_tree(&w, q);
        collect(&w, q, &out[q]);
    }
    for (size_t i = 0; i < w.size; i++)
        free(w.list[i].via);
    free(w.list);
    free(w.logs);
    free(w.excluded);
    eb_free(&w.scratch);
}

void ec_members_free(ec_members *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(out[i].list);
        out[i] = (ec_members){0};
    }
}

// Whether cgroup.kill would hit this process or one it descends from: an envctl that was called from within a service.
static bool holds_us(const char *leaf)
{
    walk w = {0};
    exclude_ancestors(&w);
    bool holds = false;
    for (size_t i = 0; i < w.excluded_count && !holds; i++)
        holds = ec_cgroup_holds(leaf, w.excluded[i]);
    free(w.excluded);
    return holds;
}

static void kill_cgroup(const char *leaf)
{
    char path[PATH_MAX];
    if (!ec_cgroup_populated(leaf) || holds_us(leaf))
        return;
    snprintf(path, sizeof path, "%s/cgroup.kill", leaf);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t ignored = write(fd, "1", 1);
    (void)ignored;
    close(fd);
}

static size_t signal_once(size_t *found, const ec_query *queries, size_t count, int sig)
{
    ec_members *members = ec_xcalloc(count, sizeof *members);
    ec_members_find(members, queries, count);
    size_t total = 0;
    ec_identity id = {.pid_ns = ec_pid_ns()};
    snprintf(id.boot_id, sizeof id.boot_id, "%s", ec_boot_id());
    for (size_t q = 0; q < count; q++) {
        total += members[q].count;
        if (found)
            found[q] = members[q].count;
        if (sig == SIGKILL && queries[q].cgroup)
            kill_cgroup(queries[q].cgroup);
        for (size_t i = 0; i < members[q].count; i++) {
            id.pid = members[q].list[i].pid;
            id.start_ticks = members[q].list[i].start_ticks;
            ec_procfs_signal(&id, sig, NULL);
        }
    }
    ec_members_free(members, count);
    free(members);
    return total;
}

void ec_members_signal(size_t *found, const ec_query *queries, size_t count, int sig)
{
    size_t left = signal_once(found, queries, count, sig);
    for (int pass = 1; sig == SIGKILL && left > 0 && pass < 3; pass++)
        left = signal_once(NULL, queries, count, sig);
}
