// From the gate to letting go: what a start that is interrupted leaves behind, and children that nobody watches any
// more.
#include "spawning.h"

#include <sys/file.h>
#include <sys/resource.h>
#include <termios.h>

static char *dir;

static int set_up(void **state)
{
    dir = make_dir();
    return make_loop(state);
}

static int tear_down(void **state)
{
    drop_loop(state);
    drop_dir(dir);
    return 0;
}

#define ARGV(...) ((char *const[]){FIXTURE("stub"), __VA_ARGS__, NULL})

static int zombies(void)
{
    siginfo_t info = {0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

// ---- starting and ending ----

// R21: every way of ending is told as it was, and nothing is left to reap.
static void test_every_end_is_told(void **state)
{
    (void)state;
    enum { AT_ONCE = 10 };
    long rounds = env_number("ENVCTL_ROUNDS", 300), good = 0;
    for (long done = 0; done < rounds; done += AT_ONCE) {
        child c[AT_ONCE];
        char numbers[AT_ONCE][8];
        bool by_signal[AT_ONCE];
        for (int i = 0; i < AT_ONCE; i++) {
            by_signal[i] = dice(3) == 0;
            int n = by_signal[i] ? (int[]){SIGKILL, SIGTERM, SIGABRT, SIGHUP}[dice(4)] : (int)dice(256);
            snprintf(numbers[i], sizeof numbers[i], "%d", n);
            ec_spawn o = quiet(ARGV(by_signal[i] ? "signal" : "exit", numbers[i]), &c[i]);
            start(&c[i], &o);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            loop_until(c[i].exits);
            int n = (int)strtol(numbers[i], NULL, 10);
            good += c[i].exits == 1 && c[i].execs == 1 && c[i].exec_ok && c[i].code == (by_signal[i] ? -1 : n) &&
                    c[i].signal == (by_signal[i] ? n : 0);
            finish(&c[i]);
        }
    }
    long all = (rounds + AT_ONCE - 1) / AT_ONCE * AT_ONCE;
    assert_int_equal(zombies(), 0);
    assert_int_equal(ec_proc_children(), 0);
    bar("R21", good, all);
}

static int open_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

// The kernel reaps for a parent that ignores SIGCHLD, and the exit code is lost: that may have been inherited.
static void test_inherited_ignoring_of_sigchld(void **state)
{
    (void)state;
    child c;
    signal(SIGCHLD, SIG_IGN);
    ec_spawn o = quiet(ARGV("exit", "7"), &c);
    run_child(&c, &o);
    assert_int_equal(c.code, 7);
    finish(&c);
    signal(SIGCHLD, SIG_DFL);
}

// In a process of its own without inherited descriptors. Exit code 0: all as it should be.
static _Noreturn void few_descriptors(void)
{
    struct rlimit old;
    child c;
    close_range(3, ~0U, 0);
    loop = ec_loop_new();
    ec_spawn o = quiet(ARGV("exit", "0"), &c);
    run_child(&c, &o); // what the loop opens on first use
    finish(&c);
    ec_loop_run(loop);
    getrlimit(RLIMIT_NOFILE, &old);
    int used = open_fds(), failures = 0;
    for (int extra = 0; extra < 12; extra++) {
        ec_err err = {0};
        o = quiet(ARGV("exit", "0"), &c);
        o.in = o.out = o.err = EC_STDIO_PIPE;
        o.gated = true;
        const struct rlimit low = {(rlim_t)(used + extra), old.rlim_max};
        setrlimit(RLIMIT_NOFILE, &low);
        bool ok = ec_proc_spawn(&c.proc, loop, &o, &err);
        setrlimit(RLIMIT_NOFILE, &old);
        if (ok) {
            ec_proc_open_gate(c.proc);
            loop_until(c.exits);
            finish(&c);
        } else {
            failures += strcmp(err.code, "EMFILE") == 0;
        }
        ec_loop_run(loop);
        if (open_fds() != used || ec_proc_children() != 0)
            _exit(1);
    }
    _exit(failures == 10 ? 0 : 2);
}

// The n-th descriptor cannot be had: the message is there and nothing is left, for every n.
static void test_out_of_descriptors(void **state)
{
    (void)state;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        few_descriptors();
    int status = reap(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

// Also a failed exec is told before the end of the output.
static void test_order_of_a_failure(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        child c;
        ec_spawn o = quiet((char *const[]){"/nonexistent", NULL}, &c);
        o.out = o.err = EC_STDIO_PIPE;
        run_child(&c, &o);
        assert_false(c.exec_ok);
        assert_string_equal(c.exec_code, "ENOENT");
        assert_int_equal(c.order[0], 'x');
        assert_int_equal(c.order[strlen(c.order) - 1], 'q');
        finish(&c);
    }
}

static void test_identity_of_a_short_life(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        child c;
        ec_identity id;
        ec_spawn o = quiet(ARGV("exit", "0"), &c);
        start(&c, &o);
        ec_proc_identity(c.proc, &id); // perhaps it has ended by now; it still was this one
        assert_true(id.start_ticks > 0);
        assert_int_equal(strlen(id.boot_id), 36);
        assert_int_equal(id.pid_ns, ec_pid_ns());
        loop_until(c.exits);
        assert_string_equal(ec_alive_word(ec_procfs_alive(&id)), "gone");
        finish(&c);
    }
}

// ---- the gate ----

static void test_killed_at_its_gate(void **state)
{
    (void)state;
    child c;
    ec_err err;
    ec_spawn o = quiet(ARGV("exit", "0"), &c);
    o.gated = true;
    start(&c, &o);
    assert_true(ec_proc_signal(c.proc, SIGKILL, &err));
    loop_until(c.exits);
    assert_false(c.exec_ok); // it never was the program
    assert_string_equal(c.exec_code, "ECANCELED");
    assert_int_equal(c.signal, SIGKILL);
    ec_proc_open_gate(c.proc); // too late, and harmless
    finish(&c);
}

// What fails in a gated child before its gate is told before the gate is opened.
static void test_failure_before_the_gate(void **state)
{
    (void)state;
    child c;
    ec_spawn o = quiet(ARGV("exit", "0"), &c);
    o.gated = true;
    o.cwd = "/nonexistent";
    run_child(&c, &o);
    assert_string_equal(c.exec_code, "ENOENT");
    finish(&c);
}

// ---- killed parents ----

enum { GATED = 4 };

// Starts children like a keeper that is about to record them: in a process of its own that dies when the test says so.
static _Noreturn void starter(const char *marker, const char *lock)
{
    char *const env[] = {(char *)marker, NULL};
    int fd = open(lock, O_RDWR | O_CLOEXEC);
    flock(fd, LOCK_EX);
    loop = ec_loop_new();
    for (int i = 0; i < GATED; i++) {
        static child c[GATED];
        ec_spawn o = quiet(ARGV("wait"), &c[i]);
        o.envp = env;
        o.gated = true;
        ec_err err;
        if (!ec_proc_spawn(&c[i].proc, loop, &o, &err))
            _exit(1);
        loop_a_while(0);
    }
    for (;;)
        pause();
}

// Processes with that parent: children of the dead starter come to this process.
static int adopted(pid_t *list, int room)
{
    char *text = NULL;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    text = get_file(path, NULL);
    int n = 0;
    char *rest = text, *end;
    while (text && n < room) {
        long pid = strtol(rest, &end, 10);
        if (end == rest)
            break;
        list[n++] = (pid_t)pid;
        rest = end;
    }
    free(text);
    return n;
}

// Kills a starter at a random time. Returns how many of its children go on living.
static int survivors(bool *lock_free)
{
    char lock[PATH_MAX];
    pid_t left[64];
    snprintf(lock, sizeof lock, "%s", in_dir(dir, "lock"));
    put_text(lock, "");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        starter("ENVCTL_TEST=starter", lock);
    sleep_us(dice(6000));
    kill_and_reap(pid);
    // Nothing that the starter held is held by what it started.
    int fd = open(lock, O_RDWR | O_CLOEXEC);
    int64_t end = now_ms() + DEADLINE_MS;
    while (!(*lock_free = flock(fd, LOCK_EX | LOCK_NB) == 0) && now_ms() < end)
        nap();
    close(fd);
    // A child at its gate ends by itself; one that became the program would stay for ever.
    int n;
    end = now_ms() + (*lock_free ? 300 : 0);
    do {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        n = adopted(left, 64);
    } while (n > 0 && (now_ms() < end || !process_is(left[0], "fx_stub")) && now_ms() < end + DEADLINE_MS);
    for (int i = 0; i < n; i++)
        kill_and_reap(left[i]);
    return n;
}

// A parent that was killed with its gates shut leaves nobody behind, and none of its locks.
static void test_killed_parents(void **state)
{
    (void)state;
    long rounds = env_number("ENVCTL_ROUNDS", 100), good = 0, unlocked = 0;
    adopt_orphans();
    for (long i = 0; i < rounds; i++) {
        bool lock_free;
        good += survivors(&lock_free) == 0;
        unlocked += lock_free;
    }
    bar("R03-gate", good, rounds);
    bar("R28-locks", unlocked, rounds);
}

#ifdef ENVCTL_FAULTS
static void test_teeth_of_killed_parents(void **state)
{
    (void)state;
    long leaked = 0;
    adopt_orphans();
    setenv("ENVCTL_FAULT", "no_gate", 1);
    for (int i = 0; i < 20; i++) {
        bool lock_free;
        leaked += survivors(&lock_free);
    }
    unsetenv("ENVCTL_FAULT");
    printf("# leaked without the gate: %ld\n", leaked);
    bar("R03-gate-teeth", leaked > 0, 1);
}
#endif

// ---- handles that are let go ----

static void test_closed_early(void **state)
{
    (void)state;
    child c;
    ec_spawn o = quiet(ARGV("exit", "0"), &c);
    o.out = EC_STDIO_PIPE;
    start(&c, &o);
    finish(&c);
    loop_until(ec_proc_children() == 0); // reaped all the same
    assert_int_equal(c.execs + c.exits + c.ends[0], 0);
    assert_int_equal(zombies(), 0);
    ec_loop_run(loop);
    assert_int_equal(ec_loop_handles(loop), 0);
}

static ec_proc *to_close;

static void close_in_exec(bool ok, const ec_err *err, void *ud)
{
    child_exec(ok, err, ud);
    ec_proc_close(to_close);
}

static void close_in_out(int fd, const char *data, size_t size, void *ud)
{
    child_out(fd, data, size, ud);
    ec_proc_close(to_close);
}

static void close_in_exit(int code, int sig, void *ud)
{
    child_exit(code, sig, ud);
    ec_proc_close(to_close);
}

static void test_closed_in_callbacks(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        child c;
        ec_spawn o = quiet(ARGV("out", "x", "err", "y", "exit", "1"), &c);
        o.in = o.out = o.err = EC_STDIO_PIPE;
        if (which == 0)
            o.events.exec = close_in_exec;
        else if (which == 1)
            o.events.out = close_in_out;
        else
            o.events.exit = close_in_exit;
        start(&c, &o);
        to_close = c.proc;
        loop_until(ec_proc_children() == 0 && (which < 2 || c.exits));
        assert_int_equal(c.exits, which == 2);
        eb_free(&c.out[0]);
        eb_free(&c.out[1]);
        ec_loop_run(loop);
        assert_int_equal(ec_loop_handles(loop), 0);
    }
}

// ---- watching others ----

static void count(void *ud)
{
    ++*(int *)ud;
}

static void test_watch(void **state)
{
    (void)state;
    pid_t pid = fork(); // not started by proc.c
    if (pid == 0)
        for (;;)
            pause();
    ec_identity id, other;
    ec_err err;
    int ended_calls = 0;
    assert_true(ec_procfs_identity(&id, pid));
    other = id;
    other.boot_id[0] = '\0';
    assert_null(ec_pidwatch_start(loop, &other, count, &ended_calls, &err));
    assert_string_equal(err.code, "ESRCH");
    assert_non_null(strstr(err.message, "reboot"));
    ec_pidwatch *w = ec_pidwatch_start(loop, &id, count, &ended_calls, &err);
    ec_pidwatch *closed = ec_pidwatch_start(loop, &id, count, &ended_calls, &err);
    assert_non_null(w);
    assert_non_null(closed);
    ec_pidwatch_close(closed);
    loop_a_while(10);
    assert_int_equal(ended_calls, 0);
    kill(pid, SIGKILL);
    loop_until(ended_calls);
    loop_a_while(10);
    assert_int_equal(ended_calls, 1);
    ec_pidwatch_close(w);
    ec_pidwatch_close(NULL);
    assert_null(ec_pidwatch_start(loop, &id, count, &ended_calls, &err)); // a zombie has ended
    assert_string_equal(err.code, "ESRCH");
    reap(pid);
    assert_null(ec_pidwatch_start(loop, &id, count, &ended_calls, &err));
    assert_string_equal(err.code, "ESRCH");
    ec_loop_run(loop);
    assert_int_equal(ec_loop_handles(loop), 0);
}

// ---- the terminal ----

// In a session of its own whose terminal is the slave side of `master`. Exit code 0: all as it should be.
static _Noreturn void with_terminal(int master)
{
    char name[64];
    if (ptsname_r(master, name, sizeof name) != 0)
        _exit(10);
    setsid();
    int fd = open(name, O_RDWR);
    if (fd < 0 || dup2(fd, 0) != 0)
        _exit(11);
    make_loop(NULL);
    child c;
    ec_spawn o = quiet(ARGV("ids", "wait"), &c);
    o.in = EC_STDIO_TERMINAL;
    o.out = EC_STDIO_PIPE;
    o.session = false;
    ec_err err;
    if (tcgetpgrp(0) != getpgrp() || !ec_proc_spawn(&c.proc, loop, &o, &err))
        _exit(12);
    int64_t end = now_ms() + DEADLINE_MS;
    while (!c.out[0].size && now_ms() < end)
        loop_a_while(1);
    if (tcgetpgrp(0) != pid_of(&c) || getpgid(pid_of(&c)) != pid_of(&c) || getsid(pid_of(&c)) != getsid(0))
        _exit(13);
    // ^C on the keyboard ends the child, not us.
    if (write(master, "\x03", 1) != 1)
        _exit(14);
    while (!c.exits && now_ms() < end)
        loop_a_while(1);
    if (c.signal != SIGINT)
        _exit(15);
    if (tcgetpgrp(0) != getpgrp()) // and the terminal is ours again
        _exit(16);
    _exit(0);
}

static void test_terminal(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        with_terminal(master);
    int status = reap(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(master);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_end_is_told),
        TEST(test_inherited_ignoring_of_sigchld),
        TEST(test_out_of_descriptors),
        TEST(test_order_of_a_failure),
        TEST(test_identity_of_a_short_life),
        TEST(test_killed_at_its_gate),
        TEST(test_failure_before_the_gate),
        TEST(test_killed_parents),
#ifdef ENVCTL_FAULTS
        TEST(test_teeth_of_killed_parents),
#endif
        TEST(test_closed_early),
        TEST(test_closed_in_callbacks),
        TEST(test_watch),
        TEST(test_terminal),
    };
    return cmocka_run_group_tests_name("proc_life", tests, NULL, NULL);
}
