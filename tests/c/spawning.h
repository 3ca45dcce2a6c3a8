// What the tests share that start processes through src/core, or wait for its loop.
#ifndef ENVCTL_TESTS_SPAWNING_H
#define ENVCTL_TESTS_SPAWNING_H

#include "support.h"

#include "envctl/buf.h"
#include "envctl/loop.h"
#include "envctl/proc.h"

static ec_loop *loop;

static inline void stop_loop(void *ud)
{
    (void)ud;
    ec_loop_stop(loop);
}

/// Runs the loop until the expression is true, DEADLINE_MS at most; the test fails after that.
#define loop_until(expression)                                                                                         \
    do {                                                                                                               \
        int64_t loop_end_ = now_ms() + DEADLINE_MS;                                                                    \
        while (!(expression) && now_ms() < loop_end_) {                                                                \
            ec_timer *tick_ = ec_timer_start(loop, 1, stop_loop, NULL);                                                \
            ec_loop_run(loop);                                                                                         \
            ec_timer_close(tick_);                                                                                     \
        }                                                                                                              \
        assert_true(expression);                                                                                       \
    } while (0)

/// Runs the loop for a moment, to see that something does not happen.
static inline void loop_a_while(uint64_t ms)
{
    ec_timer *tick = ec_timer_start(loop, ms, stop_loop, NULL);
    ec_loop_run(loop);
    ec_timer_close(tick);
}

/// A child and everything that was told about it.
typedef struct child {
    ec_proc *proc;
    int execs, exits;
    bool exec_ok;
    char exec_code[24], exec_message[512];
    int code, signal;
    eb_buf out[2];
    int ends[2];
    char order[64]; // 'x' exec, '1' and '2' output, 'E' and 'e' their ends, 'q' exit; repeated letters once
} child;

static inline void note(child *c, char letter)
{
    size_t n = strlen(c->order);
    if (n + 1 < sizeof c->order && (n == 0 || c->order[n - 1] != letter))
        c->order[n] = letter;
}

static inline void child_exec(bool ok, const ec_err *err, void *ud)
{
    child *c = ud;
    c->execs++;
    c->exec_ok = ok;
    snprintf(c->exec_code, sizeof c->exec_code, "%s", ok ? "" : err->code);
    snprintf(c->exec_message, sizeof c->exec_message, "%s", ok ? "" : err->message);
    note(c, 'x');
}

static inline void child_out(int fd, const char *data, size_t size, void *ud)
{
    child *c = ud;
    if (data)
        eb_add(&c->out[fd - 1], data, size);
    else
        c->ends[fd - 1]++;
    note(c, data ? (char)('0' + fd) : fd == 1 ? 'E' : 'e');
}

static inline void child_exit(int code, int sig, void *ud)
{
    child *c = ud;
    c->exits++;
    c->code = code;
    c->signal = sig;
    note(c, 'q');
}

/// Options of a child without any streams, with an empty environment and its own session.
static inline ec_spawn quiet(char *const *argv, child *c)
{
    static char *const no_env[] = {NULL};
    *c = (child){0};
    return (ec_spawn){.argv = argv,
                      .envp = no_env,
                      .cwd = "/",
                      .in = EC_STDIO_NULL,
                      .out = EC_STDIO_NULL,
                      .err = EC_STDIO_NULL,
                      .session = true,
                      .events = {child_exec, child_out, child_exit, c}};
}

static inline void start(child *c, const ec_spawn *o)
{
    ec_err err = {0};
    if (!ec_proc_spawn(&c->proc, loop, o, &err))
        fail_msg("spawn: %s", err.message);
}

static inline void finish(child *c)
{
    ec_proc_close(c->proc);
    c->proc = NULL;
    eb_free(&c->out[0]);
    eb_free(&c->out[1]);
}

/// Runs a program to its end. Call finish afterwards.
static inline void run_child(child *c, const ec_spawn *o)
{
    start(c, o);
    loop_until(c->exits);
}

static inline pid_t pid_of(const child *c)
{
    ec_identity id;
    ec_proc_identity(c->proc, &id);
    return id.pid;
}

static inline int make_loop(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); // as main() does
    loop = ec_loop_new();
    return loop ? 0 : 1;
}

static inline int drop_loop(void **state)
{
    (void)state;
    ec_proc_shutdown();
    ec_loop_free(loop);
    loop = NULL;
    return 0;
}

/// The whole text of a small file of /proc, NUL-terminated, or NULL. Free with free().
static inline char *proc_text(pid_t pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    return get_file(path, NULL);
}

/// Reads a pid that a fixture wrote into a file.
static inline pid_t read_pid(const char *path)
{
    char *text = get_file(path, NULL);
    pid_t pid = text ? (pid_t)strtol(text, NULL, 10) : 0;
    free(text);
    return pid;
}

#endif
