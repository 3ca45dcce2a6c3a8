// Starting children: what they get and do not get, what is told about them and when.
#include "spawning.h"

#include <sys/resource.h>

#include "envctl/ops.h"

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

static void assert_out(const child *c, int which, const char *text)
{
    assert_string_equal(c->out[which].data ? c->out[which].data : "", text);
}

// ---- how they end ----

static void test_exit_codes(void **state)
{
    (void)state;
    static const int codes[] = {0, 1, 2, 77, 126, 127, 128, 255};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        char number[8];
        child c;
        snprintf(number, sizeof number, "%d", codes[i]);
        ec_spawn o = quiet(ARGV("exit", number), &c);
        run_child(&c, &o);
        assert_string_equal(c.order, "xq");
        assert_true(c.exec_ok);
        assert_int_equal(c.code, codes[i]);
        assert_int_equal(c.signal, 0);
        finish(&c);
    }
}

static void test_signals(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGKILL, SIGINT, SIGHUP, SIGSEGV, SIGUSR1, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        char number[8];
        child c;
        ec_err err;
        snprintf(number, sizeof number, "%d", signals[i]);
        ec_spawn o = quiet(ARGV("signal", number), &c); // by itself
        run_child(&c, &o);
        assert_int_equal(c.code, -1);
        assert_int_equal(c.signal, signals[i]);
        assert_false(ec_proc_signal(c.proc, SIGTERM, &err));
        assert_string_equal(err.code, "ESRCH");
        finish(&c);
        o = quiet(ARGV("wait"), &c); // by us
        start(&c, &o);
        loop_until(c.execs);
        assert_true(ec_proc_signal(c.proc, signals[i], &err));
        loop_until(c.exits);
        assert_int_equal(c.signal, signals[i]);
        finish(&c);
    }
}

static int zombies(void)
{
    siginfo_t info = {0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

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

static int no_pidfd(pid_t pid, unsigned flags)
{
    (void)pid;
    (void)flags;
    errno = ENOSYS;
    return -1;
}

static void test_without_pidfd(void **state)
{
    (void)state;
    const ec_procops real = ec_proc_ops;
    child c;
    ec_err err;
    ec_proc_ops.pidfd_open = no_pidfd;
    ec_spawn o = quiet(ARGV("wait"), &c);
    start(&c, &o);
    loop_until(c.execs);
    assert_true(ec_proc_signal(c.proc, SIGTERM, &err));
    loop_until(c.exits);
    assert_int_equal(c.signal, SIGTERM);
    finish(&c);
    o = quiet(ARGV("exit", "3"), &c);
    run_child(&c, &o);
    assert_int_equal(c.code, 3);
    finish(&c);
    ec_proc_ops = real;
}

// ---- what cannot be started ----

static void cannot_exec(const ec_spawn *o, child *c, const char *code, const char *message)
{
    run_child(c, o);
    assert_false(c->exec_ok);
    assert_string_equal(c->exec_code, code);
    assert_string_equal(c->exec_message, message);
    assert_int_equal(c->code, 127);
    assert_string_equal(c->order, "xq");
    finish(c);
}

static void test_exec_failures(void **state)
{
    (void)state;
    child c;
    char message[PATH_MAX + 64];
    ec_spawn o = quiet((char *const[]){"/nonexistent/program", NULL}, &c);
    cannot_exec(&o, &c, "ENOENT", "program /nonexistent/program: no such file or directory");
    o = quiet((char *const[]){dir, NULL}, &c);
    snprintf(message, sizeof message, "program %s: permission denied", dir);
    cannot_exec(&o, &c, "EACCES", message);
    const char *text = in_dir(dir, "text");
    put_text(text, "this is not a program\n");
    assert_int_equal(chmod(text, 0700), 0);
    o = quiet((char *const[]){(char *)text, NULL}, &c);
    snprintf(message, sizeof message, "program %s: exec format error", text);
    cannot_exec(&o, &c, "ENOEXEC", message);
    o = quiet(ARGV("exit", "0"), &c);
    o.cwd = "/nonexistent";
    cannot_exec(&o, &c, "ENOENT", "directory /nonexistent: no such file or directory");
    o = quiet(ARGV("exit", "0"), &c);
    o.cwd = text;
    snprintf(message, sizeof message, "directory %s: not a directory", text);
    cannot_exec(&o, &c, "ENOTDIR", message);
    o = quiet(ARGV("exit", "0"), &c);
    o.cgroup = "/nonexistent";
    cannot_exec(&o, &c, "ENOENT", "cgroup /nonexistent: no such file or directory");
    char *endless = malloc(5001);
    assert_non_null(endless);
    memset(endless, 'x', 5000);
    endless[5000] = '\0';
    o = quiet(ARGV("exit", "0"), &c);
    o.cgroup = endless;
    run_child(&c, &o);
    assert_string_equal(c.exec_code, "ENAMETOOLONG");
    finish(&c);
    free(endless);
}

static pid_t no_fork(void)
{
    errno = EAGAIN;
    return -1;
}

static int open_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

// Before the fork: told at once, and no descriptor stays open.
static void test_spawn_failures(void **state)
{
    (void)state;
    child c;
    ec_err err;
    int before = open_fds();
    const ec_procops real = ec_proc_ops;
    ec_proc_ops.fork = no_fork;
    ec_spawn o = quiet(ARGV("exit", "0"), &c);
    o.in = o.out = o.err = EC_STDIO_PIPE;
    o.gated = true;
    assert_false(ec_proc_spawn(&c.proc, loop, &o, &err));
    assert_string_equal(err.code, "EAGAIN");
    assert_string_equal(err.message, "starting " FIXTURE("stub") ": resource temporarily unavailable");
    ec_proc_ops = real;
    o = quiet(ARGV("exit", "0"), &c);
    o.in = o.out = EC_STDIO_PIPE;
    o.err = EC_STDIO_LOG;
    o.err_log = "/nonexistent/log";
    assert_false(ec_proc_spawn(&c.proc, loop, &o, &err));
    assert_string_equal(err.code, "ENOENT");
    assert_string_equal(err.message, "/nonexistent/log: no such file or directory");
    const char *link = in_dir(dir, "link"); // a planted link does not redirect a log
    assert_int_equal(symlink("/dev/null", link), 0);
    o.err_log = link;
    assert_false(ec_proc_spawn(&c.proc, loop, &o, &err));
    assert_string_equal(err.code, "ELOOP");
    assert_int_equal(open_fds(), before);
    assert_int_equal(ec_proc_children(), 0);
    assert_int_equal(ec_loop_handles(loop), 0);
    assert_int_equal(zombies(), 0);
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

// ---- streams ----

static void test_pipes(void **state)
{
    (void)state;
    child c;
    ec_spawn o = quiet(ARGV("out", "hello", "err", "oops", "exit", "3"), &c);
    o.out = o.err = EC_STDIO_PIPE;
    run_child(&c, &o);
    assert_out(&c, 0, "hello\n");
    assert_out(&c, 1, "oops\n");
    assert_int_equal(c.ends[0], 1);
    assert_int_equal(c.ends[1], 1);
    assert_int_equal(c.order[0], 'x');
    assert_int_equal(c.order[strlen(c.order) - 1], 'q');
    finish(&c);
    o = quiet(ARGV("out", "one", "err", "two", "out", "three"), &c);
    o.out = EC_STDIO_PIPE;
    o.err = EC_STDIO_STDOUT;
    run_child(&c, &o);
    assert_out(&c, 0, "one\ntwo\nthree\n");
    assert_string_equal(c.order, "x1Eq");
    finish(&c);
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

static void test_flood(void **state)
{
    (void)state;
    child c;
    ec_spawn o = quiet(ARGV("flood", "5000000", "exit", "4"), &c);
    o.out = EC_STDIO_PIPE;
    run_child(&c, &o);
    assert_int_equal(c.out[0].size, 5000000); // all of it before the exit
    assert_int_equal(c.code, 4);
    finish(&c);
}

// More than a pipe holds, and its end right behind it: nothing is lost.
static void test_stdin(void **state)
{
    (void)state;
    child c;
    ec_err err;
    enum { SIZE = 3000000 };
    char *data = malloc(SIZE);
    assert_non_null(data);
    for (int i = 0; i < SIZE; i++)
        data[i] = (char)('a' + i % 23);
    ec_spawn o = quiet(ARGV("cat"), &c);
    o.in = o.out = EC_STDIO_PIPE;
    start(&c, &o);
    assert_true(ec_proc_write(c.proc, data, SIZE / 2, &err));
    assert_true(ec_proc_write(c.proc, data + SIZE / 2, SIZE - SIZE / 2, &err));
    ec_proc_close_stdin(c.proc);
    ec_proc_close_stdin(c.proc);
    assert_false(ec_proc_write(c.proc, "x", 1, &err));
    assert_string_equal(err.code, "EPIPE");
    loop_until(c.exits);
    assert_int_equal(c.out[0].size, SIZE);
    assert_memory_equal(c.out[0].data, data, SIZE);
    assert_int_equal(c.code, 0);
    finish(&c);
    free(data);
}

static void test_stdin_that_nobody_reads(void **state)
{
    (void)state;
    child c;
    ec_err err;
    char *data = calloc(1, 1000000);
    assert_non_null(data);
    ec_spawn o = quiet(ARGV("sleep", "30", "exit", "0"), &c);
    o.in = EC_STDIO_PIPE;
    start(&c, &o);
    assert_true(ec_proc_write(c.proc, data, 1000000, &err));
    ec_proc_close_stdin(c.proc);
    loop_until(c.execs);
    assert_true(ec_proc_signal(c.proc, SIGKILL, &err));
    loop_until(c.exits);
    finish(&c);
    o = quiet(ARGV("wait"), &c); // and one that is let go with all of it still queued
    o.in = EC_STDIO_PIPE;
    start(&c, &o);
    pid_t pid = pid_of(&c);
    assert_true(ec_proc_write(c.proc, data, 1000000, &err));
    finish(&c);
    kill(pid, SIGKILL);
    loop_until(ec_proc_children() == 0);
    free(data);
}

static void test_without_a_stdin_pipe(void **state)
{
    (void)state;
    child c;
    ec_err err;
    ec_spawn o = quiet(ARGV("cat", "exit", "5"), &c); // reads end of file at once
    start(&c, &o);
    assert_false(ec_proc_write(c.proc, "x", 1, &err));
    ec_proc_close_stdin(c.proc);
    loop_until(c.exits);
    assert_int_equal(c.code, 5);
    finish(&c);
}

static void test_logs(void **state)
{
    (void)state;
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s", in_dir(dir, "log"));
    mode_t old = umask(0);
    for (int i = 0; i < 2; i++) {
        child c;
        ec_spawn o = quiet(ARGV("out", "a", "err", "b"), &c);
        o.out = EC_STDIO_LOG;
        o.out_log = file;
        o.err = i == 0 ? EC_STDIO_STDOUT : EC_STDIO_LOG;
        o.err_log = file;
        run_child(&c, &o);
        finish(&c);
    }
    umask(old);
    assert_file(file, "a\nb\na\nb\n"); // appended, in the order of the writes
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_inherited_output(void **state)
{
    (void)state;
    const char *file = in_dir(dir, "inherited");
    fflush(stdout);
    int saved = dup(1), fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    dup2(fd, 1);
    child c;
    ec_spawn o = quiet(ARGV("out", "through"), &c);
    o.out = EC_STDIO_INHERIT;
    start(&c, &o);
    dup2(saved, 1);
    close(saved);
    close(fd);
    loop_until(c.exits);
    finish(&c);
    assert_file(file, "through\n");
}

// A daemon that its starter leaves behind keeps the pipe open: the exit is told all the same, and last.
static void test_grandchild_that_keeps_the_pipe(void **state)
{
    (void)state;
    child c;
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s", in_dir(dir, "pid"));
    adopt_orphans();
    ec_spawn o = quiet(ARGV("out", "before", "hold", file, "exit", "6"), &c);
    o.out = o.err = EC_STDIO_PIPE;
    run_child(&c, &o);
    assert_int_equal(c.code, 6);
    assert_out(&c, 0, "before\n");
    assert_int_equal(c.ends[0], 1);
    assert_int_equal(c.ends[1], 1);
    assert_int_equal(c.order[strlen(c.order) - 1], 'q');
    pid_t holder = read_pid(file);
    assert_true(holder > 0);
    assert_false(ended(holder)); // it lives on
    finish(&c);
    kill_and_reap(holder);
}

// ---- what a child is ----

static void lines(child *c, char *const *argv, bool session)
{
    ec_spawn o = quiet(argv, c);
    o.out = EC_STDIO_PIPE;
    o.session = session;
    run_child(c, &o);
}

// R28: no descriptor of ours, of whatever kind, is open in a child.
static void test_descriptors(void **state)
{
    (void)state;
    long good = 0, all = 4;
    int leaky[20];
    for (int i = 0; i < 20; i++)
        leaky[i] = i == 19 ? fcntl(leaky[0], F_DUPFD, 700) : open("/dev/null", O_RDWR); // not close-on-exec
    child c;
    lines(&c, ARGV("fds"), true);
    good += strcmp(c.out[0].data, "fds 0 1 2\n") == 0;
    finish(&c);
    lines(&c, ARGV("fds"), false);
    good += strcmp(c.out[0].data, "fds 0 1 2\n") == 0;
    finish(&c);
    ec_spawn o = quiet(ARGV("fds"), &c);
    o.in = o.out = o.err = EC_STDIO_PIPE;
    o.gated = true;
    start(&c, &o);
    // While it waits: its streams, its gate and the pipe that reports.
    char path[64];
    int open_ones = 0, expected = 5;
    int64_t end = now_ms() + DEADLINE_MS;
    do {
        open_ones = 0;
        for (int fd = 0; fd < 1024; fd++) {
            snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid_of(&c), fd);
            struct stat st;
            open_ones += lstat(path, &st) == 0;
        }
    } while (open_ones != expected && now_ms() < end);
    good += open_ones == expected;
    ec_proc_open_gate(c.proc);
    loop_until(c.exits);
    good += strcmp(c.out[0].data, "fds 0 1 2\n") == 0;
    finish(&c);
    for (int i = 0; i < 20; i++)
        close(leaky[i]);
    bar("R28", good, all);
}

static void test_signals_are_fresh(void **state)
{
    (void)state;
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, &old);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    child c;
    lines(&c, ARGV("signals"), true);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    assert_non_null(strstr(c.out[0].data, "SigBlk:\t0000000000000000\n"));
    assert_non_null(strstr(c.out[0].data, "SigIgn:\t0000000000000000\n"));
    finish(&c);
    sigprocmask(SIG_SETMASK, NULL, &set);
    assert_int_equal(sigismember(&set, SIGTERM), sigismember(&old, SIGTERM));
}

static void test_session_directory_environment(void **state)
{
    (void)state;
    child c;
    char expected[PATH_MAX + 256];
    ec_spawn o = quiet(ARGV("ids", "cwd", "env"), &c);
    o.envp = (char *const[]){"A=1", "B=two words", "EMPTY=", "A=again", NULL};
    o.cwd = dir;
    o.out = EC_STDIO_PIPE;
    start(&c, &o);
    ec_identity id;
    ec_proc_identity(c.proc, &id);
    assert_int_equal(id.session, id.pid);
    loop_until(c.exits);
    snprintf(expected, sizeof expected, "ids %d %d %d\ncwd %s\nA=1\nB=two words\nEMPTY=\nA=again\n", id.pid, id.pid,
             id.pid, dir);
    assert_out(&c, 0, expected);
    finish(&c);
    lines(&c, ARGV("ids"), false);
    int pid, group, session;
    assert_int_equal(sscanf(c.out[0].data, "ids %d %d %d", &pid, &group, &session), 3);
    assert_int_equal(session, getsid(0));
    finish(&c);
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

static void test_cgroup(void **state)
{
    (void)state;
    char base[PATH_MAX], leaf[PATH_MAX + 16], name[64];
    ec_err err;
    snprintf(name, sizeof name, "envctl-test-%d", (int)getpid());
    if (!ec_cgroup_base(base, sizeof base, name, true, &err)) {
        printf("# skipped: %s\n", err.message);
        skip();
    }
    snprintf(leaf, sizeof leaf, "%s/leaf", base);
    assert_int_equal(mkdir(leaf, 0755), 0);
    child c;
    ec_spawn o = quiet(ARGV("cgroup"), &c);
    o.out = EC_STDIO_PIPE;
    o.cgroup = leaf;
    o.gated = true;
    start(&c, &o);
    wait_for(ec_cgroup_populated(leaf)); // before it is the program
    assert_true(ec_cgroup_populated(base));
    assert_true(ec_cgroup_holds(leaf, pid_of(&c)));
    assert_true(ec_cgroup_holds(base, pid_of(&c)));
    assert_false(ec_cgroup_holds(leaf, getpid()));
    ec_proc_open_gate(c.proc);
    loop_until(c.exits);
    assert_non_null(strstr(c.out[0].data, name));
    finish(&c);
    wait_for(!ec_cgroup_populated(leaf));
    assert_int_equal(rmdir(leaf), 0);
    assert_int_equal(rmdir(base), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exit_codes),
        TEST(test_signals),
        TEST(test_every_end_is_told),
        TEST(test_inherited_ignoring_of_sigchld),
        TEST(test_without_pidfd),
        TEST(test_exec_failures),
        TEST(test_spawn_failures),
        TEST(test_out_of_descriptors),
        TEST(test_pipes),
        TEST(test_order_of_a_failure),
        TEST(test_flood),
        TEST(test_stdin),
        TEST(test_stdin_that_nobody_reads),
        TEST(test_without_a_stdin_pipe),
        TEST(test_logs),
        TEST(test_inherited_output),
        TEST(test_grandchild_that_keeps_the_pipe),
        TEST(test_descriptors),
        TEST(test_signals_are_fresh),
        TEST(test_session_directory_environment),
        TEST(test_identity_of_a_short_life),
        TEST(test_cgroup),
    };
    return cmocka_run_group_tests_name("proc", tests, NULL, NULL);
}
