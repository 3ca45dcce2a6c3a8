// Starting children: what they are when their program begins, what the parent hears, and the gate.
#include "support.h"

#include "envctl/buf.h"
#include "envctl/ops.h"
#include "envctl/proc.h"

// ---- what a child tells, in the order it was told ----

typedef struct heard {
    ec_loop *loop;
    eb_buf out[2];
    eb_buf order; // e: exec, 1/2: output, (/): end of output 1/2, x: exit
    bool exec_ok, exited;
    ec_err err;
    int code, signal;
    bool stop_on_exec, stop_on_output;
} heard;

static void on_exec(bool ok, const ec_err *err, void *ud)
{
    heard *h = ud;
    eb_addc(&h->order, 'e');
    h->exec_ok = ok;
    assert_true(ok == (err == NULL));
    if (err)
        h->err = *err;
    if (h->stop_on_exec)
        ec_loop_stop(h->loop);
}

static void on_out(int fd, const char *data, size_t size, void *ud)
{
    heard *h = ud;
    assert_true(fd == 1 || fd == 2);
    eb_addc(&h->order, data ? (char)('0' + fd) : "()"[fd - 1]);
    if (data)
        eb_add(&h->out[fd - 1], data, size);
    if (h->stop_on_output)
        ec_loop_stop(h->loop);
}

static void on_exit_event(int code, int sig, void *ud)
{
    heard *h = ud;
    eb_addc(&h->order, 'x');
    assert_false(h->exited);
    h->exited = true;
    h->code = code;
    h->signal = sig;
}

static void free_heard(heard *h)
{
    eb_free(&h->out[0]);
    eb_free(&h->out[1]);
    eb_free(&h->order);
}

static const char *text_of(const eb_buf *b)
{
    return b->data ? b->data : "";
}

static ec_loop *loop;
static char *dir;
static int fds_before;

static int set_up(void **state)
{
    (void)state;
    dir = make_dir();
    fds_before = open_files();
    loop = ec_loop_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    int left = ec_proc_children();
    ec_proc_shutdown();
    ec_loop_free(loop);
    left += end_children(); // of a test that failed
    assert_int_equal(left, 0);
    // The signal pipe of libuv, made once for the process, stays.
    static bool first = true;
    if (!first)
        assert_int_equal(open_files(), fds_before);
    first = false;
    drop_dir(dir);
    return 0;
}

static char *const no_env[] = {"PATH=/nowhere", NULL};

// Defaults for a child that runs the stub with these words.
static ec_spawn stub(char *const *argv, heard *h)
{
    h->loop = loop;
    return (ec_spawn){.argv = argv,
                      .envp = no_env,
                      .cwd = "/",
                      .in = EC_STDIO_NULL,
                      .out = EC_STDIO_PIPE,
                      .err = EC_STDIO_PIPE,
                      .session = true,
                      .events = {on_exec, on_out, on_exit_event, h}};
}

#define STUB(...)                                                                                                      \
    (char *const[])                                                                                                    \
    {                                                                                                                  \
        FIXTURE("stub"), __VA_ARGS__, NULL                                                                             \
    }

// Starts, runs the loop until the exit was told, closes.
static void run(const ec_spawn *o)
{
    ec_proc *p = NULL;
    ec_err err = {0};
    if (!ec_proc_spawn(&p, loop, o, &err))
        fail_msg("%s", err.message);
    ec_loop_run(loop);
    ec_proc_close(p);
    ec_loop_run(loop);
}

// ---- what is wrong, by stage ----

static void test_failures_in_the_child(void **state)
{
    (void)state;
    put_text(in_dir(dir, "plain"), "#!/bin/sh\n");
    put_text(in_dir(dir, "noise"), "\177ELF and nothing else");
    chmod(in_dir(dir, "noise"), 0755);
    put_text(in_dir(dir, "orphan"), "#!/no/such/shell\n");
    chmod(in_dir(dir, "orphan"), 0755);
    char paths[5][PATH_MAX];
    static const char *const names[] = {"missing", "plain", "noise", "orphan", "missing-dir"};
    for (int i = 0; i < 5; i++)
        snprintf(paths[i], PATH_MAX, "%s/%s", dir, names[i]);
    const struct {
        char *program, *cwd, *cgroup;
        const char *code, *what;
    } table[] = {
        {paths[0], "/", NULL, "ENOENT", "program "},
        {paths[1], "/", NULL, "EACCES", "program "},
        {paths[2], "/", NULL, "ENOEXEC", "program "},
        {paths[3], "/", NULL, "ENOENT", "program "},
        {"/", "/", NULL, "EACCES", "program "},
        {FIXTURE("stub"), paths[4], NULL, "ENOENT", "directory "},
        {FIXTURE("stub"), paths[1], NULL, "ENOTDIR", "directory "},
        {paths[0], paths[4], NULL, "ENOENT", "directory "}, // the first thing that fails is told
        {FIXTURE("stub"), "/", paths[4], "ENOENT", "cgroup "},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        heard h = {0};
        ec_spawn o = stub((char *const[]){table[i].program, NULL}, &h);
        o.cwd = table[i].cwd;
        o.cgroup = table[i].cgroup;
        o.out = o.err = EC_STDIO_NULL;
        run(&o);
        assert_string_equal(text_of(&h.order), "ex");
        assert_false(h.exec_ok);
        assert_string_equal(h.err.code, table[i].code);
        char want[PATH_MAX + 32];
        snprintf(want, sizeof want, "%s%s: ", table[i].what,
                 table[i].what[0] == 'p'   ? table[i].program
                 : table[i].what[0] == 'd' ? table[i].cwd
                                           : table[i].cgroup);
        if (strncmp(h.err.message, want, strlen(want)) != 0)
            fail_msg("row %zu: %s", i, h.err.message);
        assert_int_equal(h.code, 127);
        free_heard(&h);
    }
}

static pid_t failing_fork(void)
{
    errno = EAGAIN;
    return -1;
}

static void test_failures_before_the_fork(void **state)
{
    (void)state;
    heard h = {0};
    ec_proc *p = NULL;
    ec_err err;
    ec_spawn o = stub(STUB("exit", "0"), &h);
    int fds = open_files();
    // The log file: not there, a link, a FIFO's directory.
    o.out = EC_STDIO_LOG;
    o.out_log = in_dir(dir, "none/log");
    o.gated = true;
    o.in = EC_STDIO_PIPE;
    assert_false(ec_proc_spawn(&p, loop, &o, &err));
    assert_string_equal(err.code, "ENOENT");
    assert_non_null(strstr(err.message, o.out_log));
    assert_int_equal(symlink("victim", in_dir(dir, "link")), 0);
    o.out_log = in_dir(dir, "link");
    assert_false(ec_proc_spawn(&p, loop, &o, &err));
    assert_string_equal(err.code, "ELOOP");
    assert_int_equal(access(in_dir(dir, "victim"), F_OK), -1);
    o.out = EC_STDIO_PIPE;
    o.err = EC_STDIO_LOG;
    o.err_log = dir;
    assert_false(ec_proc_spawn(&p, loop, &o, &err));
    assert_string_equal(err.code, "EISDIR");
    o.err = EC_STDIO_PIPE;
    ec_procops real = ec_proc_ops;
    ec_proc_ops.fork = failing_fork;
    assert_false(ec_proc_spawn(&p, loop, &o, &err));
    ec_proc_ops = real;
    assert_string_equal(err.code, "EAGAIN");
    assert_non_null(strstr(err.message, FIXTURE("stub")));
    assert_int_equal(open_files(), fds);
    assert_int_equal(ec_proc_children(), 0);
    assert_int_equal(ec_loop_handles(loop), 0);
    assert_string_equal(text_of(&h.order), "");
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int sig = 1; sig < 32; sig++)
        assert_false(sigismember(&mask, sig) == 1);
    free_heard(&h);
}

// ---- R21: how it ended ----

static void test_codes_and_signals(void **state)
{
    (void)state;
    static const int codes[] = {0, 1, 3, 42, 127, 255};
    static const int signals[] = {SIGTERM, SIGKILL, SIGSEGV, SIGABRT, SIGHUP, SIGINT, SIGUSR1, SIGPIPE};
    long rounds = env_number("ENVCTL_CYCLES", 200), good = 0;
    for (long i = 0; i < rounds; i++) {
        heard h = {0};
        char number[16];
        bool by_signal = i % 2;
        int what = by_signal ? signals[i / 2 % 8] : codes[i / 2 % 6];
        snprintf(number, sizeof number, "%d", what);
        ec_spawn o = stub(STUB(by_signal ? "signal" : "exit", number), &h);
        run(&o);
        good += h.exec_ok && h.exited && h.code == (by_signal ? -1 : what) && h.signal == (by_signal ? what : 0);
        assert_int_equal(ec_proc_children(), 0);
        free_heard(&h);
    }
    // No zombie is left: there is no child at all.
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    bar("R21", good, rounds);
}

static int missing_pidfd_open(pid_t pid, unsigned flags)
{
    (void)pid;
    (void)flags;
    errno = ENOSYS;
    return -1;
}

static void test_without_pidfds(void **state)
{
    (void)state;
    ec_procops real = ec_proc_ops;
    ec_proc_ops.pidfd_open = missing_pidfd_open;
    for (int i = 0; i < 5; i++) {
        heard h = {0};
        ec_spawn o = stub(STUB("out", "hello", "exit", "7"), &h);
        run(&o);
        assert_true(h.exec_ok && h.exited);
        assert_int_equal(h.code, 7);
        assert_string_equal(text_of(&h.out[0]), "hello\n");
        free_heard(&h);
    }
    heard h = {0};
    ec_spawn o = stub(STUB("wait"), &h);
    ec_proc *p = NULL;
    ec_err err;
    assert_true(ec_proc_spawn(&p, loop, &o, &err));
    assert_true(ec_proc_signal(p, SIGKILL, &err));
    ec_loop_run(loop);
    assert_int_equal(h.signal, SIGKILL);
    assert_false(ec_proc_signal(p, SIGKILL, &err));
    assert_string_equal(err.code, "ESRCH");
    ec_proc_close(p);
    ec_loop_run(loop);
    ec_proc_ops = real;
    free_heard(&h);
}

// ---- output and input ----

// However the timing falls: exec first, then all output and its ends, then the exit.
static void test_output_comes_before_the_exit(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        heard h = {0};
        ec_spawn o = stub(STUB("out", "first", "err", "second", "flood", "300000", "out", "\nlast", "exit", "5"), &h);
        run(&o);
        const char *order = text_of(&h.order);
        assert_int_equal(order[0], 'e');
        assert_int_equal(h.order.size ? order[h.order.size - 1] : '?', 'x');
        assert_non_null(strchr(order, '('));
        assert_non_null(strchr(order, ')'));
        assert_int_equal(h.out[0].size, 6 + 300000 + 6);
        assert_memory_equal(h.out[0].data, "first\n", 6);
        assert_string_equal(h.out[0].data + h.out[0].size - 6, "\nlast\n");
        assert_string_equal(text_of(&h.out[1]), "second\n");
        assert_int_equal(h.code, 5);
        free_heard(&h);
    }
}

static void test_stderr_as_stdout(void **state)
{
    (void)state;
    heard h = {0};
    ec_spawn o = stub(STUB("out", "a", "err", "b", "out", "c"), &h);
    o.err = EC_STDIO_STDOUT;
    run(&o);
    assert_string_equal(text_of(&h.out[0]), "a\nb\nc\n");
    assert_null(strchr(text_of(&h.order), '2'));
    assert_null(strchr(text_of(&h.order), ')'));
    free_heard(&h);
}

// A grandchild keeps the pipe open for ever: the exit is told all the same, and what was written is there.
static void test_a_grandchild_that_keeps_the_pipe(void **state)
{
    (void)state;
    heard h = {0};
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/pid", dir);
    ec_spawn o = stub(STUB("out", "mine", "hold", file, "exit", "4"), &h);
    run(&o);
    assert_true(h.exited);
    assert_int_equal(h.code, 4);
    assert_string_equal(text_of(&h.out[0]), "mine\n");
    assert_string_equal(text_of(&h.order) + h.order.size - 3, "()x"); // the ends are told then, and the exit last
    char *text = get_file(file, NULL);
    assert_non_null(text);
    pid_t grandchild = (pid_t)strtol(text, NULL, 10);
    free(text);
    assert_false(ended(grandchild)); // nobody harmed it
    kill_and_reap(grandchild);
    free_heard(&h);
}

static void test_stdin_pipe(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *data = malloc(SIZE);
    assert_non_null(data);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 >> 2);
    heard h = {0};
    ec_spawn o = stub(STUB("cat", "exit", "9"), &h);
    o.in = EC_STDIO_PIPE;
    ec_proc *p = NULL;
    ec_err err;
    assert_true(ec_proc_spawn(&p, loop, &o, &err));
    assert_true(ec_proc_write(p, data, SIZE / 2, &err));
    assert_true(ec_proc_write(p, data + SIZE / 2, SIZE / 2, &err));
    assert_true(ec_proc_write(p, "", 0, &err));
    // What was queued is written before the end of file.
    ec_proc_close_stdin(p);
    ec_proc_close_stdin(p);
    assert_false(ec_proc_write(p, "x", 1, &err));
    assert_string_equal(err.code, "EPIPE");
    ec_loop_run(loop);
    ec_proc_close(p);
    ec_loop_run(loop);
    assert_int_equal(h.code, 9);
    assert_int_equal(h.out[0].size, SIZE);
    assert_memory_equal(h.out[0].data, data, SIZE);
    free(data);
    free_heard(&h);
}

// Whoever does not read is no danger to the parent.
static void test_stdin_that_nobody_reads(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    heard h = {0};
    char *data = calloc(1, 1 << 20);
    assert_non_null(data);
    ec_spawn o = stub(STUB("exit", "0"), &h);
    o.in = EC_STDIO_PIPE;
    ec_proc *p = NULL;
    ec_err err;
    assert_true(ec_proc_spawn(&p, loop, &o, &err));
    assert_true(ec_proc_write(p, data, 1 << 20, &err));
    ec_loop_run(loop);
    assert_true(h.exited);
    assert_int_equal(h.code, 0);
    ec_proc_close(p);
    ec_loop_run(loop);
    free(data);
    free_heard(&h);
    heard none = {0};
    o = stub(STUB("exit", "0"), &none); // standard input is /dev/null: cat ends at once, and writing is refused
    o.argv = STUB("cat", "exit", "3");
    assert_true(ec_proc_spawn(&p, loop, &o, &err));
    assert_false(ec_proc_write(p, "x", 1, &err));
    assert_string_equal(err.code, "EPIPE");
    ec_loop_run(loop);
    assert_int_equal(none.code, 3);
    ec_proc_close(p);
    ec_loop_run(loop);
    free_heard(&none);
    signal(SIGPIPE, SIG_DFL);
}

static void test_log(void **state)
{
    (void)state;
    heard h = {0};
    char log[PATH_MAX];
    snprintf(log, sizeof log, "%s/service.log", dir);
    mode_t old = umask(0);
    ec_spawn o = stub(STUB("out", "one", "err", "two", "exit", "0"), &h);
    o.out = EC_STDIO_LOG;
    o.out_log = log;
    o.err = EC_STDIO_STDOUT;
    run(&o);
    umask(old);
    assert_string_equal(text_of(&h.order), "ex");
    assert_file(log, "one\ntwo\n");
    struct stat st;
    assert_int_equal(stat(log, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    free_heard(&h);
    // O_APPEND: the log of two, and of one whose log was cut meanwhile.
    heard a = {0}, b = {0};
    ec_proc *p = NULL, *q = NULL;
    ec_spawn first = stub(STUB("cat"), &a), second = stub(STUB("cat"), &b);
    first.in = second.in = EC_STDIO_PIPE;
    first.out = first.err = second.out = second.err = EC_STDIO_LOG;
    first.out_log = first.err_log = second.out_log = second.err_log = log;
    assert_true(ec_proc_spawn(&p, loop, &first, NULL));
    assert_true(ec_proc_spawn(&q, loop, &second, NULL));
    for (int i = 0; i < 200; i++) {
        assert_true(ec_proc_write(p, "aaaa\n", 5, NULL));
        assert_true(ec_proc_write(q, "bbbb\n", 5, NULL));
    }
    ec_proc_close_stdin(p);
    ec_proc_close_stdin(q);
    ec_loop_run(loop);
    ec_proc_close(p);
    ec_proc_close(q);
    ec_loop_run(loop);
    assert_int_equal(stat(log, &st), 0);
    assert_int_equal(st.st_size, 8 + 200 * 5 * 2); // nothing was overwritten
    free_heard(&a);
    free_heard(&b);
}

static void test_inherited_output(void **state)
{
    (void)state;
    heard h = {0};
    const char *file = in_dir(dir, "inherited");
    fflush(stdout);
    int saved = dup(1), fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(saved >= 0 && fd >= 0 && dup2(fd, 1) == 1);
    ec_spawn o = stub(STUB("out", "through", "exit", "0"), &h);
    o.out = EC_STDIO_INHERIT;
    o.err = EC_STDIO_NULL;
    run(&o);
    dup2(saved, 1);
    close(saved);
    close(fd);
    assert_file(file, "through\n");
    assert_string_equal(text_of(&h.order), "ex");
    free_heard(&h);
}

// ---- what the program finds ----

static void test_descriptors(void **state)
{
    (void)state;
    // Descriptors without close-on-exec, low and high, as a careless library leaves them.
    int low = open("/dev/null", O_RDONLY), high = fcntl(low, F_DUPFD, 900);
    assert_true(low >= 0 && high >= 900);
    static const ec_stdio kinds[][3] = {
        {EC_STDIO_NULL, EC_STDIO_PIPE, EC_STDIO_PIPE},   {EC_STDIO_PIPE, EC_STDIO_PIPE, EC_STDIO_NULL},
        {EC_STDIO_NULL, EC_STDIO_PIPE, EC_STDIO_STDOUT}, {EC_STDIO_INHERIT, EC_STDIO_PIPE, EC_STDIO_INHERIT},
        {EC_STDIO_PIPE, EC_STDIO_PIPE, EC_STDIO_LOG},
    };
    char log[PATH_MAX];
    snprintf(log, sizeof log, "%s/log", dir);
    for (size_t i = 0; i < 2 * sizeof kinds / sizeof *kinds; i++) {
        heard h = {0};
        ec_spawn o = stub(STUB("fds", "exit", "0"), &h);
        o.in = kinds[i / 2][0];
        o.out = kinds[i / 2][1];
        o.err = kinds[i / 2][2];
        o.err_log = log;
        o.gated = i % 2;
        ec_proc *p = NULL;
        assert_true(ec_proc_spawn(&p, loop, &o, NULL));
        ec_proc_open_gate(p);
        ec_loop_run(loop);
        ec_proc_close(p);
        ec_loop_run(loop);
        assert_string_equal(text_of(&h.out[0]), "fds 0 1 2\n");
        free_heard(&h);
    }
    close(low);
    close(high);
}

// The parent itself lacks 0, 1 and 2, so that pipes get these numbers.
static void test_descriptors_when_the_parent_has_none(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        heard h = {0};
        for (int fd = 0; fd < 3; fd++)
            close(fd);
        ec_loop *own = ec_loop_new();
        ec_spawn o = stub(STUB("fds", "cat", "exit", "0"), &h);
        o.in = EC_STDIO_PIPE;
        o.gated = true;
        ec_proc *p = NULL;
        if (!ec_proc_spawn(&p, own, &o, NULL) || !ec_proc_write(p, "x", 1, NULL))
            _exit(1);
        ec_proc_open_gate(p);
        ec_proc_close_stdin(p);
        ec_loop_run(own);
        _exit(h.exec_ok && h.code == 0 && strcmp(text_of(&h.out[0]), "fds 0 1 2\nx") == 0 ? 0 : 2);
    }
    assert_int_equal(reap(pid), 0);
}

static void ignore(int sig)
{
    (void)sig;
}

static unsigned long long mask_of(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    assert_non_null(line);
    return strtoull(line + strlen(name), NULL, 16);
}

static void test_signals_are_default(void **state)
{
    (void)state;
    // A parent that ignores, catches and blocks.
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGUSR1, ignore);
    sigset_t block, old;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigaddset(&block, SIGCHLD);
    sigaddset(&block, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &block, &old);
    heard h = {0};
    ec_spawn o = stub(STUB("signals", "exit", "0"), &h);
    run(&o);
    sigset_t now;
    sigprocmask(SIG_SETMASK, &old, &now);
    assert_true(sigismember(&now, SIGTERM)); // the parent's own are as they were
    assert_true(sigismember(&now, SIGCHLD));
    const char *text = text_of(&h.out[0]);
    assert_true(mask_of(text, "SigBlk:") == 0);
    assert_true(mask_of(text, "SigIgn:") == 0);
    assert_true(mask_of(text, "SigCgt:") == 0);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    free_heard(&h);
}

static void test_session_directory_environment(void **state)
{
    (void)state;
    for (int session = 0; session < 2; session++) {
        heard h = {0};
        ec_spawn o = stub(STUB("ids", "cwd", "env", "exit", "0"), &h);
        o.session = session;
        o.cwd = dir;
        o.envp = (char *const[]){"ONE=1", "EMPTY=", "WITH SPACE==x", NULL};
        ec_proc *p = NULL;
        ec_identity id;
        assert_true(ec_proc_spawn(&p, loop, &o, NULL));
        ec_proc_identity(p, &id);
        ec_loop_run(loop);
        ec_proc_close(p);
        ec_loop_run(loop);
        char want[2 * PATH_MAX];
        snprintf(want, sizeof want, "ids %d %d %d\ncwd %s\nONE=1\nEMPTY=\nWITH SPACE==x\n", (int)id.pid,
                 (int)(session ? id.pid : getpgrp()), (int)(session ? id.pid : getsid(0)), dir);
        assert_string_equal(text_of(&h.out[0]), want);
        assert_int_equal(id.session, session ? id.pid : getsid(0));
        assert_true(id.start_ticks > 0 && id.pid_ns == ec_pid_ns());
        free_heard(&h);
    }
}

static void test_cgroup(void **state)
{
    (void)state;
    char base[PATH_MAX], leaf[PATH_MAX];
    ec_err err;
    if (!ec_cgroup_base(base, sizeof base, "envctl-c-proc", true, &err)) {
        printf("# no cgroup here: %s\n", err.message);
        skip();
    }
    snprintf(leaf, sizeof leaf, "%.4000s/leaf", base);
    assert_int_equal(mkdir(leaf, 0755), 0);
    heard h = {0};
    ec_spawn o = stub(STUB("cgroup", "exit", "0"), &h);
    o.cgroup = leaf;
    run(&o);
    assert_true(h.exec_ok);
    const char *text = text_of(&h.out[0]);
    const char *found = strstr(text, "/envctl-c-proc/leaf\n");
    assert_true(strncmp(text, "0::/", 4) == 0 && found && found[20] == '\0');
    free_heard(&h);
    wait_for(!ec_cgroup_populated(leaf));
    assert_int_equal(rmdir(leaf), 0);
    assert_int_equal(rmdir(base), 0);
}

// ---- the gate ----

static void stop_loop(void *ud)
{
    (void)ud;
    ec_loop_stop(loop);
}

static void run_for(uint64_t ms)
{
    ec_timer *t = ec_timer_start(loop, ms, stop_loop, NULL);
    ec_loop_run(loop);
    ec_timer_close(t);
}

static void test_nothing_runs_before_the_gate_opens(void **state)
{
    (void)state;
    // Not on the stack: with a gate that does not hold this fails, and the child's end is told after it.
    static heard h;
    char made[PATH_MAX];
    snprintf(made, sizeof made, "%s/made", dir);
    ec_spawn o = stub(STUB("touch", made, "exit", "6"), &h);
    o.gated = true;
    ec_proc *p = NULL;
    ec_identity id;
    assert_true(ec_proc_spawn(&p, loop, &o, NULL));
    ec_proc_identity(p, &id);
    run_for(100);
    assert_int_equal(access(made, F_OK), -1);
    assert_false(process_is(id.pid, "fx_stub")); // not its program yet
    assert_string_equal(text_of(&h.order), "");
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE); // and its identity is final
    ec_proc_open_gate(p);
    ec_proc_open_gate(p);
    ec_loop_run(loop);
    assert_int_equal(access(made, F_OK), 0);
    assert_int_equal(h.code, 6);
    ec_proc_close(p);
    ec_loop_run(loop);
    free_heard(&h);
}

static void test_a_gate_that_is_closed(void **state)
{
    (void)state;
    static heard h;
    char made[PATH_MAX];
    snprintf(made, sizeof made, "%s/made", dir);
    ec_spawn o = stub(STUB("touch", made), &h);
    o.gated = true;
    ec_proc *p = NULL;
    ec_identity id;
    assert_true(ec_proc_spawn(&p, loop, &o, NULL));
    ec_proc_identity(p, &id);
    ec_proc_close(p);
    ec_proc_close(p);
    ec_proc_open_gate(p);
    wait_for(ended(id.pid));
    run_for(20); // reaped, though nobody listens
    assert_int_equal(ec_proc_children(), 0);
    assert_int_equal(ec_procfs_alive(&id), EC_GONE);
    assert_int_equal(access(made, F_OK), -1);
    assert_string_equal(text_of(&h.order), "");
    free_heard(&h);
}

// The parent of several gated children is killed at some moment. None of them becomes its program, all of them end: no
// child keeps another's gate open.
enum { SIBLINGS = 6 };

static _Noreturn void gated_parent(int out, const char *made)
{
    ec_loop *own = ec_loop_new();
    for (int i = 0; i < SIBLINGS; i++) {
        heard *h = calloc(1, sizeof *h);
        if (!h)
            _exit(1);
        ec_spawn o = stub((char *const[]){FIXTURE("stub"), "touch", (char *)made, "wait", NULL}, h);
        o.gated = true;
        o.in = EC_STDIO_PIPE;
        ec_proc *p = NULL;
        ec_identity id;
        if (!ec_proc_spawn(&p, own, &o, NULL))
            _exit(1);
        ec_proc_identity(p, &id);
        if (write(out, &id.pid, sizeof id.pid) != sizeof id.pid)
            _exit(1);
    }
    for (;;)
        pause();
}

static void test_gated_children_end_with_their_parent(void **state)
{
    (void)state;
    long rounds = env_number("ENVCTL_CYCLES", 200) / 10 + 1, good = 0;
    char made[PATH_MAX];
    snprintf(made, sizeof made, "%s/made", dir);
    for (long i = 0; i < rounds; i++) {
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t parent = fork();
        if (parent == 0)
            gated_parent(fds[1], made);
        close(fds[1]);
        pid_t pids[SIBLINGS];
        int n = 0, wanted = i % 2 ? SIBLINGS : 1 + (int)dice(SIBLINGS);
        while (n < wanted && read(fds[0], &pids[n], sizeof *pids) == sizeof *pids)
            n++;
        kill_and_reap(parent);
        while (n < SIBLINGS && read(fds[0], &pids[n], sizeof *pids) == sizeof *pids)
            n++;
        close(fds[0]);
        // They are ours now, those that were never told of too; all of them end by themselves.
        int64_t deadline = now_ms() + DEADLINE_MS;
        pid_t got;
        int status, ok = 1;
        while ((got = waitpid(-1, &status, WNOHANG)) >= 0 && ok && now_ms() < deadline) {
            if (got == 0)
                nap();
            else
                ok &= WIFEXITED(status) && WEXITSTATUS(status) == 127;
            for (int k = 0; k < n; k++)
                ok &= !process_is(pids[k], "fx_stub"); // it became its program, and would stay
        }
        good += end_children() == 0 && ok && access(made, F_OK) != 0;
        unlink(made);
    }
    bar("R03", good, rounds);
}

// ---- letting go ----

static void test_close_while_running(void **state)
{
    (void)state;
    heard h = {0};
    ec_spawn o = stub(STUB("out", "x", "wait"), &h);
    ec_proc *p = NULL;
    ec_identity id;
    assert_true(ec_proc_spawn(&p, loop, &o, NULL));
    ec_proc_identity(p, &id);
    h.stop_on_output = true;
    ec_loop_run(loop);
    assert_string_equal(text_of(&h.out[0]), "x\n");
    ec_proc_close(p);
    ec_loop_run(loop); // nothing keeps the loop
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE);
    assert_int_equal(ec_proc_children(), 1);
    size_t told = h.order.size;
    assert_int_equal(kill(id.pid, SIGKILL), 0);
    wait_for(ended(id.pid));
    run_for(20);
    assert_int_equal(ec_procfs_alive(&id), EC_GONE);
    assert_int_equal(h.order.size, told);
    free_heard(&h);
    ec_proc_close(NULL);
}

// Closed inside of each of its own callbacks.
static ec_proc *to_close;
static int close_at; // 0 exec, 1 output, 2 end of output, 3 exit

static void close_on_exec(bool ok, const ec_err *err, void *ud)
{
    on_exec(ok, err, ud);
    if (close_at == 0)
        ec_proc_close(to_close);
}

static void close_on_out(int fd, const char *data, size_t size, void *ud)
{
    on_out(fd, data, size, ud);
    if (close_at == (data ? 1 : 2))
        ec_proc_close(to_close);
}

static void close_on_exit(int code, int sig, void *ud)
{
    on_exit_event(code, sig, ud);
    if (close_at == 3)
        ec_proc_close(to_close);
}

static void test_close_inside_callbacks(void **state)
{
    (void)state;
    for (close_at = 0; close_at < 4; close_at++) {
        for (int i = 0; i < 20; i++) {
            heard h = {0};
            ec_spawn o = stub(STUB("out", "x", "err", "y", "exit", "1"), &h);
            o.events = (ec_proc_events){close_on_exec, close_on_out, close_on_exit, &h};
            ec_identity id;
            assert_true(ec_proc_spawn(&to_close, loop, &o, NULL));
            ec_proc_identity(to_close, &id);
            ec_loop_run(loop);
            wait_for(ended(id.pid));
            run_for(5);
            wait_for(ec_proc_children() == 0 || (run_for(5), false));
            static const char last[] = "e12x";
            const char *order = text_of(&h.order);
            char end = h.order.size ? order[h.order.size - 1] : '?';
            if (close_at == 0 || close_at == 3)
                assert_int_equal(end, last[close_at]);
            else
                assert_null(strchr(order, 'x'));
            free_heard(&h);
        }
    }
}

static void test_shutdown_lets_them_live(void **state)
{
    (void)state;
    heard a = {0}, b = {0};
    ec_spawn first = stub(STUB("wait"), &a), second = stub(STUB("exit", "0"), &b);
    ec_proc *p = NULL, *q = NULL;
    ec_identity id, other;
    assert_true(ec_proc_spawn(&p, loop, &first, NULL));
    assert_true(ec_proc_spawn(&q, loop, &second, NULL));
    ec_proc_identity(p, &id);
    ec_proc_identity(q, &other);
    a.stop_on_exec = true;
    ec_loop_run(loop);
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE);
    ec_proc_shutdown();
    ec_loop_free(loop);
    loop = ec_loop_new();
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE);
    assert_int_equal(ec_proc_children(), 0);
    kill_and_reap(id.pid);
    waitpid(other.pid, NULL, 0); // reaped before, or now
    free_heard(&a);
    free_heard(&b);
}

// ---- watching others ----

static void mark(void *ud)
{
    ++*(int *)ud;
}

static void test_pidwatch(void **state)
{
    (void)state;
    int fired = 0;
    ec_identity id;
    ec_err err;
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    assert_true(ec_procfs_identity(&id, pid));
    ec_pidwatch *w = ec_pidwatch_start(loop, &id, mark, &fired, &err);
    ec_pidwatch *closed = ec_pidwatch_start(loop, &id, mark, &fired, &err);
    assert_non_null(w);
    ec_pidwatch_close(closed);
    run_for(20);
    assert_int_equal(fired, 0);
    ec_identity changed = id;
    changed.start_ticks++;
    assert_null(ec_pidwatch_start(loop, &changed, mark, &fired, &err));
    assert_string_equal(err.code, "ESRCH");
    kill(pid, SIGKILL);
    ec_loop_run(loop);
    assert_int_equal(fired, 1);
    ec_pidwatch_close(w);
    ec_pidwatch_close(w);
    ec_pidwatch_close(NULL);
    ec_loop_run(loop);
    assert_null(ec_pidwatch_start(loop, &id, mark, &fired, &err)); // a zombie
    assert_string_equal(err.code, "ESRCH");
    reap(pid);
    assert_null(ec_pidwatch_start(loop, &id, mark, &fired, &err));
    assert_string_equal(err.code, "ESRCH");
}

int main(void)
{
    adopt_orphans();
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_failures_in_the_child),
        TEST(test_failures_before_the_fork),
        TEST(test_codes_and_signals),
        TEST(test_without_pidfds),
        TEST(test_output_comes_before_the_exit),
        TEST(test_stderr_as_stdout),
        TEST(test_a_grandchild_that_keeps_the_pipe),
        TEST(test_stdin_pipe),
        TEST(test_stdin_that_nobody_reads),
        TEST(test_log),
        TEST(test_inherited_output),
        TEST(test_descriptors),
        TEST(test_descriptors_when_the_parent_has_none),
        TEST(test_signals_are_default),
        TEST(test_session_directory_environment),
        TEST(test_cgroup),
        TEST(test_nothing_runs_before_the_gate_opens),
        TEST(test_a_gate_that_is_closed),
        TEST(test_gated_children_end_with_their_parent),
        TEST(test_close_while_running),
        TEST(test_close_inside_callbacks),
        TEST(test_shutdown_lets_them_live),
        TEST(test_pidwatch),
    };
    return cmocka_run_group_tests_name("proc", tests, NULL, NULL);
}
