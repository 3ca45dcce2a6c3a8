// Which processes belong to a service: each kind of evidence, what must never be taken for ours, processes that try to
// get away (R14), and one that is never the same for long (R15).
#include "spawning.h"

#include <sched.h>
#include <sys/mount.h>

#include "envctl/members.h"

#define MARKER "ENVCTL_TEST_SERVICE"

static char *dir;
static char marker[64];   // this test's own
static char *self;        // the program, for the tests that start it again
static pid_t started[64]; // to be reaped
static int started_count;

static int set_up(void **state)
{
    static int n;
    (void)state;
    dir = make_dir();
    snprintf(marker, sizeof marker, MARKER "=%d/%d", (int)getpid(), n++);
    started_count = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < started_count; i++)
        kill_and_reap(started[i]);
    drop_dir(dir);
    return 0;
}

// A fixture in a session of its own, its output in `log`, with or without the marker. It is known to run when this
// returns.
static pid_t service(char *const *argv, const char *log, bool marked, const char *cgroup)
{
    char *const env[] = {marked ? marker : NULL, NULL};
    const char *name = strrchr(argv[0], '/') + 1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        char procs[PATH_MAX];
        snprintf(procs, sizeof procs, "%s/cgroup.procs", cgroup ? cgroup : "");
        int fd = cgroup ? open(procs, O_WRONLY | O_CLOEXEC) : -1;
        if (cgroup && (fd < 0 || write(fd, "0", 1) != 1))
            _exit(126);
        fd = open(log ? log : "/dev/null", O_WRONLY | O_APPEND | O_CREAT, 0600);
        for (int i = 0; i < 3; i++)
            dup2(fd, i);
        close_range(3, ~0U, 0);
        execve(argv[0], argv, env);
        _exit(127);
    }
    char comm[16];
    snprintf(comm, sizeof comm, "%.15s", name);
    wait_for(process_is(pid, comm));
    return started[started_count++] = pid;
}

static pid_t waiting(const char *log, bool marked)
{
    return service((char *const[]){FIXTURE("stub"), "wait", NULL}, log, marked, NULL);
}

static void end_now(pid_t pid)
{
    for (int i = 0; i < started_count; i++)
        if (started[i] == pid)
            started[i--] = started[--started_count];
    kill_and_reap(pid);
}

static ec_identity identity(pid_t pid)
{
    ec_identity id;
    assert_true(ec_procfs_identity(&id, pid));
    return id;
}

// The evidence for a process in the answer to one query; 0 when it is not a member.
static unsigned via(const ec_query *q, pid_t pid, size_t *count)
{
    ec_members m;
    ec_members_find(&m, q, 1);
    unsigned bits = 0;
    for (size_t i = 0; i < m.count; i++)
        if (m.list[i].pid == pid)
            bits = m.list[i].via;
    if (count)
        *count = m.count;
    ec_members_free(&m, 1);
    return bits;
}

static size_t members(const ec_query *q)
{
    size_t n;
    via(q, 0, &n);
    return n;
}

// ---- evidence ----

static void test_nothing_to_find(void **state)
{
    (void)state;
    ec_query none = {0}, absent = {.marker = marker, .log = "/nonexistent", .cgroup = "/nonexistent"};
    assert_int_equal(members(&none), 0);
    assert_int_equal(members(&absent), 0);
    ec_members_find(NULL, NULL, 0);
    ec_members_free(NULL, 0);
}

static void test_leader(void **state)
{
    (void)state;
    pid_t pid = waiting(NULL, false);
    ec_identity id = identity(pid);
    ec_query q = {.leader = &id};
    size_t n;
    assert_int_equal(via(&q, pid, &n), EC_VIA_LEADER);
    assert_int_equal(n, 1);
    const ec_identity right = id;
    id.start_ticks++; // somebody else has the pid now, and with it the session
    assert_int_equal(members(&q), 0);
    id = right;
    id.pid_ns++;
    assert_int_equal(members(&q), 0);
    id = right;
    id.boot_id[0] = 'x';
    assert_int_equal(members(&q), 0);
    id = right;
    end_now(pid);
    assert_int_equal(members(&q), 0);
}

// A leader with a child in its session, a child that moved out, and that one's child.
static void test_session_and_tree(void **state)
{
    (void)state;
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s", in_dir(dir, "pid"));
    adopt_orphans();
    pid_t leader = service((char *const[]){FIXTURE("stub"), "hold", file, "wait", NULL}, NULL, false, NULL);
    pid_t young = 0;
    wait_for((young = read_pid(file)) > 0);
    ec_identity id = identity(leader);
    ec_query q = {.leader = &id};
    size_t n;
    assert_int_equal(via(&q, young, &n), EC_VIA_SESSION);
    assert_int_equal(n, 2);
    // The leader's zombie still stands for the session …
    kill(leader, SIGKILL);
    wait_for(ended(leader));
    assert_int_equal(via(&q, young, &n), EC_VIA_SESSION);
    assert_int_equal(n, 1); // … and is no member itself.
    end_now(leader);
    // Nobody is left to vouch for it: this session could be anybody's by now.
    assert_int_equal(members(&q), 0);
    kill_and_reap(young);
}

static void test_tree(void **state)
{
    (void)state;
    char file[PATH_MAX], kind[4];
    adopt_orphans();
    snprintf(kind, sizeof kind, "3"); // setsid
    snprintf(file, sizeof file, "%s", in_dir(dir, "pid"));
    pid_t leader = service((char *const[]){FIXTURE("escape"), kind, file, NULL}, NULL, false, NULL);
    pid_t young = 0;
    wait_for((young = read_pid(file)) > 0);
    ec_identity id = identity(leader);
    ec_query q = {.leader = &id};
    assert_int_equal(via(&q, young, NULL), EC_VIA_TREE);
    end_now(leader);
    assert_int_equal(members(&q), 0);
    kill_and_reap(young);
}

static void test_marker(void **state)
{
    (void)state;
    char longer[80], shorter[80];
    pid_t ours = waiting(NULL, true), other = waiting(NULL, false);
    snprintf(longer, sizeof longer, "%s0", marker);
    snprintf(shorter, sizeof shorter, "%.*s", (int)strlen(marker) - 1, marker);
    ec_query q = {.marker = marker};
    size_t n;
    assert_int_equal(via(&q, ours, &n), EC_VIA_MARKER);
    assert_int_equal(n, 1);
    assert_int_equal(via(&q, other, NULL), 0);
    q.marker = longer; // the whole value counts
    assert_int_equal(members(&q), 0);
    q.marker = shorter;
    assert_int_equal(members(&q), 0);
    q.marker = MARKER; // without a value it says nothing
    assert_int_equal(members(&q), 0);
}

static void test_marker_keeps_a_session(void **state)
{
    (void)state;
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s", in_dir(dir, "pid"));
    adopt_orphans();
    // Its child has the environment; both are in the session of a leader that ends.
    pid_t leader = service((char *const[]){FIXTURE("stub"), "hold", file, "wait", NULL}, NULL, true, NULL);
    pid_t young = 0;
    wait_for((young = read_pid(file)) > 0);
    ec_identity id = identity(leader);
    end_now(leader);
    ec_query q = {.leader = &id, .marker = marker};
    assert_int_equal(via(&q, young, NULL), EC_VIA_SESSION | EC_VIA_MARKER);
    q.marker = NULL;
    assert_int_equal(members(&q), 0);
    kill_and_reap(young);
}

static void test_log(void **state)
{
    (void)state;
    char log[PATH_MAX], alias[PATH_MAX];
    snprintf(log, sizeof log, "%s", in_dir(dir, "log"));
    snprintf(alias, sizeof alias, "%s", in_dir(dir, "alias"));
    pid_t ours = waiting(log, false), other = waiting(in_dir(dir, "other"), false);
    assert_int_equal(link(log, alias), 0);
    ec_query q = {.log = log};
    size_t n;
    assert_int_equal(via(&q, ours, &n), EC_VIA_LOG);
    assert_int_equal(n, 1);
    assert_int_equal(via(&q, other, NULL), 0);
    q.log = alias; // the file counts, not its name
    assert_int_equal(via(&q, ours, NULL), EC_VIA_LOG);
    assert_int_equal(unlink(log), 0);
    assert_int_equal(via(&q, ours, NULL), EC_VIA_LOG);
    q.log = log; // gone: nothing can be said
    assert_int_equal(members(&q), 0);
}

// Somebody looks at the log: tail, a pager, an editor. That does not make it a part of the service.
static void test_readers_of_the_log_are_strangers(void **state)
{
    (void)state;
    const char *log = in_dir(dir, "log");
    put_text(log, "line\n");
    int fd = open(log, O_RDONLY); // inherited on purpose
    fflush(stdout);
    pid_t reader = fork();
    if (reader == 0) {
        for (int i = 0; i < 12; i++)
            dup2(fd, i);
        execl(FIXTURE("stub"), FIXTURE("stub"), "wait", NULL);
        _exit(127);
    }
    started[started_count++] = reader;
    close(fd);
    wait_for(process_is(reader, "fx_stub"));
    ec_query q = {.log = log};
    assert_int_equal(members(&q), 0);
    pid_t writer = waiting(log, false);
    size_t n;
    assert_int_equal(via(&q, writer, &n), EC_VIA_LOG);
    assert_int_equal(n, 1);
}

static void test_many_queries_in_one_walk(void **state)
{
    (void)state;
    enum { MANY = 12 };
    ec_query q[MANY * 2] = {0};
    char markers[MANY][64];
    pid_t pids[MANY];
    ec_identity ids[MANY];
    ec_members m[MANY * 2];
    for (int i = 0; i < MANY; i++) {
        snprintf(marker, sizeof marker, MARKER "=%d/many/%d", (int)getpid(), i);
        snprintf(markers[i], sizeof markers[i], "%s", marker);
        pids[i] = waiting(NULL, true);
        ids[i] = identity(pids[i]);
        q[i].marker = markers[i];
        q[MANY + i].leader = &ids[i];
    }
    q[3].marker = "ENVCTL_TEST_NOBODY=1"; // another name in between
    ec_members_find(m, q, MANY * 2);
    for (int i = 0; i < MANY * 2; i++) {
        assert_int_equal(m[i].count, i != 3);
        if (i == 3)
            continue;
        assert_int_equal(m[i].list[0].pid, pids[i % MANY]);
        assert_int_equal(m[i].list[0].start_ticks, ids[i % MANY].start_ticks);
        assert_int_equal(m[i].list[0].ppid, getpid());
        assert_string_equal(m[i].list[0].comm, "fx_stub");
    }
    ec_members_free(m, MANY * 2);
}

static void test_sorted_by_pid(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        waiting(NULL, true);
    ec_query q = {.marker = marker};
    ec_members m;
    ec_members_find(&m, &q, 1);
    assert_int_equal(m.count, 20);
    for (size_t i = 1; i < m.count; i++)
        assert_true(m.list[i - 1].pid < m.list[i].pid);
    ec_members_free(&m, 1);
}

// ---- never ours ----

// The program again, with the marker in its own environment and its parent's: `envctl stop` that was called from a
// service. Exit code 0: it found its sister and child, not itself or who called it.
static int inside(char **argv)
{
    pid_t sister = (pid_t)strtol(argv[2], NULL, 10), young = fork();
    if (young == 0)
        for (;;)
            pause();
    const char *value = getenv(MARKER);
    char text[80];
    snprintf(text, sizeof text, MARKER "=%s", value ? value : "");
    ec_query q = {.marker = text};
    ec_members m;
    ec_members_find(&m, &q, 1);
    bool found[2] = {false, false}, bad = m.count != 2;
    for (size_t i = 0; i < m.count; i++) {
        found[0] = found[0] || m.list[i].pid == sister;
        found[1] = found[1] || m.list[i].pid == young;
        bad = bad || m.list[i].pid == getpid() || m.list[i].pid == getppid();
    }
    size_t count = 0;
    ec_members_signal(&count, &q, 1, SIGKILL);
    int status = 0;
    waitpid(young, &status, 0);
    ec_members_free(&m, 1);
    return found[0] && found[1] && !bad && count == 2 && WIFSIGNALED(status) ? 0 : 1;
}

static void test_not_ourselves_and_not_our_parents(void **state)
{
    (void)state;
    pid_t sister = waiting(NULL, true);
    char number[16];
    snprintf(number, sizeof number, "%d", (int)sister);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        // sh has the marker too, and is the parent of who looks.
        char script[PATH_MAX + 64];
        snprintf(script, sizeof script, "\"%s\" inside %s; exit $?", self, number);
        char *const argv[] = {"sh", "-c", script, NULL}, *const env[] = {marker, NULL};
        execve("/bin/sh", argv, env);
        _exit(127);
    }
    int status = reap(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_zombies_are_left_out(void **state)
{
    (void)state;
    pid_t pid = waiting(in_dir(dir, "log"), true);
    ec_identity id = identity(pid);
    ec_query q = {.leader = &id, .marker = marker, .log = in_dir(dir, "log")};
    assert_int_equal(members(&q), 1);
    kill(pid, SIGKILL);
    wait_for(ended(pid));
    assert_int_equal(members(&q), 0);
}

// Pid 2 is a thread of the kernel outside of containers, and anybody inside.
static int in_a_container(void)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
        return 3;
    pid_t first = fork();
    if (first == 0) {
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0)
            _exit(3);
        waiting(NULL, true);
        ec_query q = {.marker = marker};
        size_t n;
        unsigned bits = via(&q, 2, &n);
        _exit(started[started_count - 1] == 2 && bits == EC_VIA_MARKER && n == 1 ? 0 : 1);
    }
    return WEXITSTATUS(reap(first));
}

static void test_pid_2_of_a_container(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_a_container());
    int status = reap(pid);
    if (WEXITSTATUS(status) == 3)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

// As an ordinary user: a child whose environment and descriptors may not be read is found by its session; others'
// processes with the same marker are not looked at.
static int as_nobody(void)
{
    int told[2];
    char byte;
    if (pipe(told) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return 3;
    prctl(PR_SET_DUMPABLE, 1);
    pid_t leader = fork();
    if (leader == 0) {
        setsid();
        prctl(PR_SET_DUMPABLE, 0);
        if (write(told[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    if (read(told[0], &byte, 1) != 1)
        return 4;
    ec_identity id;
    if (!ec_procfs_identity(&id, leader))
        return 5;
    ec_query q = {.leader = &id, .marker = marker};
    size_t n;
    unsigned bits = via(&q, leader, &n);
    kill_and_reap(leader);
    return bits == EC_VIA_LEADER && n == 1 ? 0 : 6;
}

static void test_as_an_ordinary_user(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    waiting(NULL, true); // root's, with the marker
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(as_nobody());
    assert_int_equal(WEXITSTATUS(reap(pid)), 0);
}

// ---- signals ----

static void test_signal(void **state)
{
    (void)state;
    char *const deaf[] = {FIXTURE("stub"), "ignore-term", "wait", NULL};
    pid_t gentle = waiting(NULL, true), stubborn = service(deaf, in_dir(dir, "log"), false, NULL),
          other = waiting(NULL, false);
    ec_query q[2] = {{.marker = marker}, {.log = in_dir(dir, "log")}};
    size_t found[2] = {9, 9};
    ec_members_signal(found, q, 2, SIGTERM);
    assert_int_equal(found[0], 1);
    assert_int_equal(found[1], 1);
    wait_for(ended(gentle));
    assert_false(ended(stubborn));
    ec_members_signal(found, q, 2, SIGKILL);
    assert_int_equal(found[0], 0);
    assert_int_equal(found[1], 1);
    wait_for(ended(stubborn));
    ec_members_signal(NULL, q, 2, SIGKILL); // the counts are not wanted
    assert_false(ended(other));
}

// ---- cgroups ----

// A leaf for this test, or false with a line that says why there is none.
static bool make_leaf(char *leaf, size_t size)
{
    char base[PATH_MAX], name[64];
    ec_err err;
    snprintf(name, sizeof name, "envctl-test-%d", (int)getpid());
    if (!ec_cgroup_base(base, sizeof base, name, true, &err)) {
        printf("# no cgroup here: %s\n", err.message);
        return false;
    }
    snprintf(leaf, size, "%.4000s/leaf", base);
    assert_int_equal(mkdir(leaf, 0755), 0);
    return true;
}

static void drop_leaf(char *leaf)
{
    wait_for(rmdir(leaf) == 0 || errno == ENOENT);
    *strrchr(leaf, '/') = '\0';
    assert_int_equal(rmdir(leaf), 0);
}

static void test_cgroup(void **state)
{
    (void)state;
    char leaf[PATH_MAX];
    if (!make_leaf(leaf, sizeof leaf)) {
        skip();
        return;
    }
    char *const argv[] = {FIXTURE("stub"), "ignore-term", "wait", NULL};
    pid_t in = service(argv, NULL, false, leaf), out = waiting(NULL, false);
    ec_query q = {.cgroup = leaf};
    size_t n, found;
    assert_int_equal(via(&q, in, &n), EC_VIA_CGROUP);
    assert_int_equal(n, 1);
    ec_members_signal(&found, &q, 1, SIGKILL);
    assert_int_equal(found, 1);
    wait_for(ended(in));
    assert_false(ended(out));
    assert_int_equal(members(&q), 0);
    end_now(in);
    drop_leaf(leaf);
}

// A process in a cgroup below the leaf is not listed in the leaf, but it is killed with it.
static void test_cgroup_below_the_leaf(void **state)
{
    (void)state;
    char leaf[PATH_MAX], below[PATH_MAX];
    if (!make_leaf(leaf, sizeof leaf)) {
        skip();
        return;
    }
    snprintf(below, sizeof below, "%.4000s/below", leaf);
    assert_int_equal(mkdir(below, 0755), 0);
    pid_t pid = service((char *const[]){FIXTURE("stub"), "wait", NULL}, NULL, false, below);
    ec_query q = {.cgroup = leaf};
    ec_members_signal(NULL, &q, 1, SIGKILL);
    wait_for(ended(pid));
    end_now(pid);
    wait_for(rmdir(below) == 0 || errno == ENOENT);
    drop_leaf(leaf);
}

// An envctl that runs in a service's own cgroup stops that service without ending itself.
static void test_from_within_a_cgroup(void **state)
{
    (void)state;
    char leaf[PATH_MAX];
    if (!make_leaf(leaf, sizeof leaf)) {
        skip();
        return;
    }
    pid_t other = service((char *const[]){FIXTURE("stub"), "wait", NULL}, NULL, false, leaf);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char procs[PATH_MAX];
        snprintf(procs, sizeof procs, "%.4000s/cgroup.procs", leaf);
        int fd = open(procs, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
            _exit(1);
        close(fd);
        ec_query q = {.cgroup = leaf};
        size_t found = 0;
        ec_members_signal(&found, &q, 1, SIGKILL);
        _exit(found == 1 ? 0 : 2);
    }
    assert_int_equal(reap(pid), 0);
    wait_for(ended(other));
    end_now(other);
    drop_leaf(leaf);
}

// ---- R14 ----

enum { KINDS = 8 };

// One process that tries to get away. Returns whether it was found, ended and nothing of the service was left.
static bool escapee(int kind, const char *cgroup, bool leader_dead)
{
    char file[PATH_MAX], log[PATH_MAX], number[4];
    snprintf(file, sizeof file, "%s", in_dir(dir, "escapee"));
    snprintf(log, sizeof log, "%s", in_dir(dir, "escape.log"));
    snprintf(number, sizeof number, "%d", kind);
    unlink(file);
    pid_t leader = service((char *const[]){FIXTURE("escape"), number, file, NULL}, log, true, cgroup), pid = 0;
    wait_for((pid = read_pid(file)) > 0);
    ec_identity id = identity(leader);
    if (leader_dead)
        end_now(leader);
    ec_query q = {.leader = &id, .marker = marker, .log = log, .cgroup = cgroup};
    bool found = via(&q, pid, NULL) != 0;
    size_t count;
    ec_members_signal(&count, &q, 1, SIGTERM);
    int64_t end = now_ms() + DEADLINE_MS;
    while (members(&q) > 0 && now_ms() < end)
        ec_members_signal(&count, &q, 1, SIGKILL);
    bool empty = members(&q) == 0;
    while (found && !ended(pid) && now_ms() < end)
        nap();
    bool gone = ended(pid);
    if (!leader_dead)
        end_now(leader);
    if (!gone)
        kill(pid, SIGKILL);
    while (waitpid(-1, NULL, WNOHANG) > 0 || !ended(pid)) // all orphans of this kind come to us
        nap();
    return found && empty && gone;
}

static void test_escape_matrix(void **state)
{
    (void)state;
    char leaf[PATH_MAX];
    adopt_orphans();
    long with = 0, without = 0;
    bool cgroup = make_leaf(leaf, sizeof leaf);
    for (int dead = 0; dead < 2; dead++) {
        for (int kind = 1; kind <= KINDS; kind++) {
            bool without_cgroup = escapee(kind, NULL, dead);
            // Two of them leave no trace but the cgroup; the other six have to be found.
            bool may_hide = kind == 6 || kind == 7;
            without += without_cgroup || may_hide;
            if (!without_cgroup)
                printf("# kind %d, leader %s, without cgroup: not found\n", kind, dead ? "dead" : "alive");
            if (cgroup)
                with += escapee(kind, leaf, dead);
        }
    }
    if (cgroup)
        drop_leaf(leaf);
    bar("R14", without + with, cgroup ? 4 * KINDS : 2 * KINDS);
}

// ---- R15 ----

// Kills a hopper until several looks in a row find nothing. Milliseconds it took, or -1.
static int64_t kill_hopper(const ec_query *q)
{
    int64_t begin = now_ms(), last = begin, end = begin + DEADLINE_MS;
    int empty = 0;
    while (empty < 5 && now_ms() < end) {
        size_t found;
        ec_members_signal(&found, q, 1, SIGKILL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        empty = found ? 0 : empty + 1;
        last = found ? now_ms() : last;
    }
    return empty < 5 ? -1 : last - begin;
}

static void test_hopper(void **state)
{
    (void)state;
    char leaf[PATH_MAX];
    adopt_orphans();
    bool cgroup = make_leaf(leaf, sizeof leaf);
    long rounds = env_number("ENVCTL_ROUNDS", 6), good = 0, all = 0;
    int64_t slowest[2] = {0, 0};
    for (long i = 0; i < rounds; i++) {
        for (int in = 0; in <= (cgroup ? 1 : 0); in++) {
            // In the leaf in any case, so that a failure leaves nothing behind; the query does not always know about
            // it.
            pid_t pid =
                service((char *const[]){FIXTURE("hopper"), "200", "20000", NULL}, NULL, true, cgroup ? leaf : NULL);
            ec_identity id;
            ec_query q = {.marker = marker, .cgroup = in ? leaf : NULL};
            if (ec_procfs_identity(&id, pid))
                q.leader = &id;
            started_count--; // it is somebody else all the time
            sleep_us(dice(30000));
            int64_t ms = kill_hopper(&q);
            slowest[in] = ms > slowest[in] ? ms : slowest[in];
            bool gone = ms >= 0 && !(cgroup && ec_cgroup_populated(leaf));
            for (int look = 0; look < 20 && gone; look++) { // it would come up again within 20 ms
                gone = members(&q) == 0;
                sleep_us(2000);
            }
            good += gone;
            all++;
            if (cgroup && !gone) {
                q.cgroup = leaf;
                kill_hopper(&q);
            }
        }
    }
    printf("# slowest: %d ms without a cgroup, %d ms with\n", (int)slowest[0], (int)slowest[1]);
    if (cgroup)
        drop_leaf(leaf);
    bar("R15", good, all);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    self = path;
    if (argc > 2 && strcmp(argv[1], "inside") == 0)
        return inside(argv);
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_to_find),
        TEST(test_leader),
        TEST(test_session_and_tree),
        TEST(test_tree),
        TEST(test_marker),
        TEST(test_marker_keeps_a_session),
        TEST(test_log),
        TEST(test_readers_of_the_log_are_strangers),
        TEST(test_many_queries_in_one_walk),
        TEST(test_sorted_by_pid),
        TEST(test_not_ourselves_and_not_our_parents),
        TEST(test_zombies_are_left_out),
        TEST(test_pid_2_of_a_container),
        TEST(test_as_an_ordinary_user),
        TEST(test_signal),
        TEST(test_cgroup),
        TEST(test_cgroup_below_the_leaf),
        TEST(test_from_within_a_cgroup),
        TEST(test_escape_matrix),
        TEST(test_hopper),
    };
    return cmocka_run_group_tests_name("members", tests, NULL, NULL);
}
