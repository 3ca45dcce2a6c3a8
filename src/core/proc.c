// See envctl/proc.h. fork, not uv_spawn: the gate, the cgroup and the pidfd have to be there before the program is.
#include "envctl/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "envctl/fault.h"
#include "envctl/mem.h"
#include "envctl/ops.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

// A grandchild can keep a pipe open for ever; the exit is told no later than this after it happened.
enum { PIPE_GRACE_MS = 250, POLL_MS = 20 };

// What failed in the child, as it comes through the status pipe.
typedef struct report {
    int stage; // see stage_names
    int errnum;
} report;

enum { STAGE_SETUP, STAGE_CWD, STAGE_CGROUP, STAGE_EXEC };

typedef struct stream {
    uv_pipe_t pipe;
    bool initialised, ended;
} stream;

struct ec_proc {
    ec_loop *loop;
    ec_proc_events events;
    ec_identity id;
    int pidfd, gate;
    uv_poll_t poll;   // on pidfd
    uv_timer_t timer; // grace after the exit, or polling where pidfds are missing
    stream status, in, out[2];
    size_t in_pending; // writes to stdin not yet done
    bool in_closing;   // stdin ends when they are
    report heard;
    size_t heard_size;
    bool exec_known, exited, told, closed;
    int code, signal;
    int open_handles; // uv handles not yet closed
    bool finishing;
    bool took_terminal;
    char *program, *cwd, *cgroup; // for messages
    ec_proc *next, **prev_next;   // all of this process, for ec_proc_shutdown
};

static int live_children;
static ec_proc *all_procs;

int ec_proc_children(void)
{
    return live_children;
}

// ---- the child, between fork and exec: only async-signal-safe calls ----

typedef struct child_plan {
    const ec_spawn *opts;
    int fds[3];
    int gate, status;
    bool foreground; // takes the terminal
    struct rlimit nofile;
} child_plan;

static void child_fail(const child_plan *c, int stage)
{
    report r = {stage, errno};
    ssize_t ignored = write(c->status, &r, sizeof r);
    (void)ignored;
    _exit(127);
}

static void child_signals(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            sigaction(sig, &dfl, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

// A process group of its own, so that ^C reaches the child alone. All signals are blocked here, SIGTTOU too.
static void child_terminal(const child_plan *c)
{
    setpgid(0, 0);
    if (c->foreground)
        tcsetpgrp(0, getpid());
}

static void child_cgroup(const child_plan *c)
{
    if (!c->opts->cgroup)
        return;
    char path[4200];
    size_t n = strlen(c->opts->cgroup);
    errno = ENAMETOOLONG;
    if (n > 4096)
        child_fail(c, STAGE_CGROUP);
    memcpy(path, c->opts->cgroup, n);
    memcpy(path + n, "/cgroup.procs", sizeof "/cgroup.procs");
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1)
        child_fail(c, STAGE_CGROUP);
    close(fd);
}

static void child_fds(const child_plan *c)
{
    // First out of the way of 0..2, then into place. Whoever may open only few descriptors has none to spare for this.
    int moved[3];
    for (int i = 0; i < 3; i++) {
        moved[i] = c->fds[i] > 2 ? c->fds[i] : fcntl(c->fds[i], F_DUPFD_CLOEXEC, 3);
        if (moved[i] < 0)
            child_fail(c, STAGE_SETUP);
    }
    for (int i = 0; i < 3; i++)
        if (dup2(moved[i], i) < 0)
            child_fail(c, STAGE_SETUP);
    // Everything else is closed now, not at exec: while this child waits at its gate it must keep neither the keeper's
    // locks nor other children's gates open.
    unsigned a = (unsigned)c->status, b = c->gate >= 0 ? (unsigned)c->gate : a;
    unsigned low = a < b ? a : b, high = a < b ? b : a;
    if (low > 3)
        syscall(SYS_close_range, 3u, low - 1, 0);
    if (high > low + 1)
        syscall(SYS_close_range, low + 1, high - 1, 0);
    syscall(SYS_close_range, high + 1, ~0u, 0);
}

static _Noreturn void child_main(const child_plan *c)
{
    const ec_spawn *o = c->opts;
    if (o->session)
        setsid();
    if (o->in == EC_STDIO_TERMINAL)
        child_terminal(c);
    child_signals();
    child_cgroup(c);
    child_fds(c);
    if (chdir(o->cwd) != 0)
        child_fail(c, STAGE_CWD);
    setrlimit(RLIMIT_NOFILE, &c->nofile);
    if (c->gate >= 0 && !ec_fault("no_gate")) {
        char byte;
        ssize_t n;
        do {
            n = read(c->gate, &byte, 1);
        } while (n < 0 && errno == EINTR);
        if (n != 1)
            _exit(127); // whoever should have recorded us is gone
    }
    execve(o->argv[0], o->argv, o->envp);
    child_fail(c, STAGE_EXEC);
    _exit(127);
}

// ---- the parent ----

static void set_nofile_limit(struct rlimit *out)
{
    static struct rlimit at_start;
    static bool known;
    if (!known) {
        getrlimit(RLIMIT_NOFILE, &at_start);
        known = true;
    }
    *out = at_start;
}

static void on_handle_closed(uv_handle_t *h)
{
    ec_proc *p = h->data;
    if (--p->open_handles == 0 && p->finishing && p->exited) {
        *p->prev_next = p->next;
        if (p->next)
            p->next->prev_next = p->prev_next;
        if (p->pidfd >= 0)
            close(p->pidfd);
        free(p->program);
        free(p->cwd);
        free(p->cgroup);
        free(p);
    }
}

static void close_uv(uv_handle_t *h)
{
    if (h->data && !uv_is_closing(h))
        uv_close(h, on_handle_closed);
}

static void end_stream(stream *s)
{
    if (s->initialised && !s->ended) {
        s->ended = true;
        close_uv((uv_handle_t *)&s->pipe);
    }
}

// Ends what is left of p once nobody listens and the child is reaped.
static void maybe_free(ec_proc *p)
{
    if (!p->closed || !p->exited || p->finishing)
        return;
    p->finishing = true;
    end_stream(&p->status);
    end_stream(&p->in);
    end_stream(&p->out[0]);
    end_stream(&p->out[1]);
    close_uv((uv_handle_t *)&p->timer);
    if (p->pidfd >= 0)
        close_uv((uv_handle_t *)&p->poll);
}

static bool output_pending(const ec_proc *p)
{
    return (p->out[0].initialised && !p->out[0].ended) || (p->out[1].initialised && !p->out[1].ended);
}

static void tell_exit(ec_proc *p)
{
    if (p->told || p->closed)
        return;
    p->told = true;
    uv_timer_stop(&p->timer);
    p->events.exit(p->code, p->signal, p->events.ud);
}

// Whether the program runs, from what came through the status pipe until its end.
static bool exec_worked(const ec_proc *p, ec_err *err)
{
    int why = p->heard.errnum;
    if (p->heard_size !=
        sizeof p->heard) // closed by exec, or by the end of a child that was never let through its gate
        return p->gate < 0 || ec_err_set(err, "ECANCELED", "program %s: ended before it was started", p->program);
    if (p->heard.stage == STAGE_CWD)
        return ec_err_errno(err, why, "directory %s", p->cwd);
    if (p->heard.stage == STAGE_CGROUP)
        return ec_err_errno(err, why, "cgroup %s", p->cgroup);
    if (p->heard.stage == STAGE_EXEC)
        return ec_err_errno(err, why, "program %s", p->program);
    return ec_err_errno(err, why, "setting up a child");
}

static void tell_exec(ec_proc *p)
{
    if (p->exec_known)
        return;
    p->exec_known = true;
    if (p->closed)
        return;
    ec_err err;
    bool ok = exec_worked(p, &err);
    p->events.exec(ok, ok ? NULL : &err, p->events.ud);
}

static void hear(ec_proc *p, const char *data, size_t size)
{
    size_t room = sizeof p->heard - p->heard_size;
    size_t take = size < room ? size : room;
    memcpy((char *)&p->heard + p->heard_size, data, take);
    p->heard_size += take;
}

// Something else was seen that comes after exec: what the status pipe has to say is there already, so read it now.
static void exec_first(ec_proc *p)
{
    uv_os_fd_t fd;
    char data[sizeof(report)];
    ssize_t n;
    if (p->exec_known || p->closed || !p->status.initialised || p->status.ended ||
        uv_fileno((uv_handle_t *)&p->status.pipe, &fd) != 0)
        return;
    while ((n = read(fd, data, sizeof data)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            hear(p, data, (size_t)n);
    end_stream(&p->status);
    tell_exec(p);
}

static void end_output(ec_proc *p, int which)
{
    if (!p->out[which].initialised || p->out[which].ended)
        return;
    end_stream(&p->out[which]);
    if (!p->closed)
        p->events.out(which + 1, NULL, 0, p->events.ud);
}

// Somebody else keeps the pipes open; all that came until now was delivered.
static void on_grace_over(uv_timer_t *t)
{
    ec_proc *p = t->data;
    tell_exec(p);
    end_output(p, 0);
    end_output(p, 1);
    tell_exit(p);
}

static void after_exit(ec_proc *p)
{
    if (p->took_terminal) {
        sigset_t ttou, old;
        sigemptyset(&ttou);
        sigaddset(&ttou, SIGTTOU);
        sigprocmask(SIG_BLOCK, &ttou, &old);
        tcsetpgrp(0, getpgrp());
        sigprocmask(SIG_SETMASK, &old, NULL);
    }
    if (p->closed) {
        maybe_free(p);
        return;
    }
    if (p->exec_known && !output_pending(p))
        tell_exit(p);
    else
        uv_timer_start(&p->timer, on_grace_over, PIPE_GRACE_MS, 0);
}

// Reaps if it has ended. waitid by pidfd, never by a pid that could be somebody else's, and never "any child".
static bool try_reap(ec_proc *p)
{
    siginfo_t info = {0};
    idtype_t type = p->pidfd >= 0 ? (idtype_t)P_PIDFD : P_PID;
    id_t which = (id_t)(p->pidfd >= 0 ? p->pidfd : p->id.pid);
    int rc;
    do {
        rc = waitid(type, which, &info, WEXITED | WNOHANG);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0 && info.si_pid == 0)
        return false;
    p->code = -1;
    if (rc == 0 && info.si_code == CLD_EXITED)
        p->code = info.si_status;
    else if (rc == 0)
        p->signal = info.si_status;
    p->exited = true;
    live_children--;
    return true;
}

static void on_pidfd(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    ec_proc *p = poll->data;
    if (!p->exited && try_reap(p)) {
        uv_poll_stop(poll);
        after_exit(p);
    }
}

static void on_poll_timer(uv_timer_t *t)
{
    ec_proc *p = t->data;
    if (!p->exited && try_reap(p)) {
        uv_timer_stop(t);
        after_exit(p);
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)h;
    *buf = uv_buf_init(ec_xcalloc(1, suggested), (unsigned)suggested);
}

static void maybe_tell_exit(ec_proc *p)
{
    if (p->exited && p->exec_known && !output_pending(p))
        tell_exit(p);
}

static void on_status(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    ec_proc *p = s->data;
    if (n > 0)
        hear(p, buf->base, (size_t)n);
    free(buf->base);
    if (n < 0) {
        end_stream(&p->status);
        tell_exec(p);
        maybe_tell_exit(p);
    }
}

static void on_output(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    ec_proc *p = s->data;
    int which = s == (uv_stream_t *)&p->out[0].pipe ? 0 : 1;
    if (n != 0)
        exec_first(p);
    if (n > 0 && !p->closed)
        p->events.out(which + 1, buf->base, (size_t)n, p->events.ud);
    free(buf->base);
    if (n < 0) {
        end_output(p, which);
        maybe_tell_exit(p);
    }
}

static void open_stream(ec_proc *p, stream *s, int fd)
{
    uv_pipe_init(ec_loop_uv(p->loop), &s->pipe, 0);
    s->pipe.data = p;
    s->initialised = true;
    p->open_handles++;
    uv_pipe_open(&s->pipe, fd);
}

// Parent and child ends of the standard streams.
typedef struct ends {
    int child[3];
    int parent[3];
    bool own[3]; // the child end is ours to close
} ends;

static bool open_output(ends *e, int i, ec_stdio kind, const char *log, ec_err *err)
{
    if (kind == EC_STDIO_INHERIT) {
        e->child[i] = i;
        return true;
    }
    if (kind == EC_STDIO_STDOUT) {
        e->child[i] = e->child[1];
        return true;
    }
    if (kind == EC_STDIO_PIPE) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) != 0)
            return ec_err_errno(err, errno, "pipe");
        e->parent[i] = fds[0];
        e->child[i] = fds[1];
    } else if (kind == EC_STDIO_LOG) {
        e->child[i] = ec_fs_ops.openat(AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (e->child[i] < 0)
            return ec_err_errno(err, errno, "%s", log);
    } else {
        e->child[i] = open("/dev/null", O_WRONLY | O_CLOEXEC);
    }
    e->own[i] = true;
    return e->child[i] >= 0 || ec_err_errno(err, errno, "/dev/null");
}

static bool open_input(ends *e, ec_stdio kind, ec_err *err)
{
    if (kind == EC_STDIO_TERMINAL || kind == EC_STDIO_INHERIT) {
        e->child[0] = 0;
        return true;
    }
    e->own[0] = true;
    if (kind == EC_STDIO_PIPE) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) != 0)
            return ec_err_errno(err, errno, "pipe");
        e->child[0] = fds[0];
        e->parent[0] = fds[1];
        return true;
    }
    e->child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return e->child[0] >= 0 || ec_err_errno(err, errno, "/dev/null");
}

static void close_ends(ends *e, bool parents)
{
    for (int i = 0; i < 3; i++) {
        if (e->own[i] && e->child[i] >= 0)
            close(e->child[i]);
        if (parents && e->parent[i] >= 0)
            close(e->parent[i]);
    }
}

static void close_pair(int fds[2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static ec_proc *new_proc(ec_loop *loop, const ec_spawn *opts, pid_t pid)
{
    ec_proc *p = ec_xcalloc(1, sizeof *p);
    p->loop = loop;
    p->events = opts->events;
    p->program = ec_xstrdup(opts->argv[0]);
    p->cwd = ec_xstrdup(opts->cwd);
    p->cgroup = ec_xstrdup(opts->cgroup);
    // Our child, not reaped: the pid is certainly its, even when it has ended already.
    ec_stat st = {0};
    ec_procfs_stat(&st, pid);
    // setsid may not have run yet.
    p->id = (ec_identity){
        .pid = pid, .start_ticks = st.start_ticks, .pid_ns = ec_pid_ns(), .session = opts->session ? pid : st.session};
    snprintf(p->id.boot_id, sizeof p->id.boot_id, "%s", ec_boot_id());
    p->next = all_procs;
    p->prev_next = &all_procs;
    if (all_procs)
        all_procs->prev_next = &p->next;
    all_procs = p;
    return p;
}

static void watch_child(ec_proc *p)
{
    uv_loop_t *uv = ec_loop_uv(p->loop);
    uv_timer_init(uv, &p->timer);
    p->timer.data = p;
    p->open_handles++;
    p->pidfd = ec_proc_ops.pidfd_open(p->id.pid, 0);
    if (p->pidfd >= 0 && uv_poll_init(uv, &p->poll, p->pidfd) == 0) {
        p->poll.data = p;
        p->open_handles++;
        uv_poll_start(&p->poll, UV_READABLE, on_pidfd);
        return;
    }
    if (p->pidfd >= 0)
        close(p->pidfd);
    p->pidfd = -1; // an old kernel: look every now and then
    uv_timer_start(&p->timer, on_poll_timer, POLL_MS, POLL_MS);
}

static void start_reading(ec_proc *p, const ends *e, int status)
{
    open_stream(p, &p->status, status);
    uv_read_start((uv_stream_t *)&p->status.pipe, on_alloc, on_status);
    for (int i = 0; i < 2; i++) {
        if (e->parent[i + 1] < 0)
            continue;
        open_stream(p, &p->out[i], e->parent[i + 1]);
        uv_read_start((uv_stream_t *)&p->out[i].pipe, on_alloc, on_output);
    }
    if (e->parent[0] >= 0)
        open_stream(p, &p->in, e->parent[0]);
}

// An exit code is there for its parent only while SIGCHLD is not ignored, and that may have been inherited.
static void keep_exit_codes(void)
{
    struct sigaction now;
    if (sigaction(SIGCHLD, NULL, &now) == 0 && (now.sa_handler == SIG_IGN || (now.sa_flags & SA_NOCLDWAIT)))
        signal(SIGCHLD, SIG_DFL);
}

// No handler of ours may run in the child before it has set its own dispositions: all signals are blocked meanwhile.
static pid_t fork_child(const child_plan *plan, int gate_write)
{
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = ec_proc_ops.fork();
    if (pid == 0) {
        if (gate_write >= 0)
            close(gate_write); // or the gate would never see end of file
        child_main(plan);
    }
    int why = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    errno = why;
    return pid;
}

bool ec_proc_spawn(ec_proc **out, ec_loop *loop, const ec_spawn *opts, ec_err *err)
{
    ends e = {{-1, -1, -1}, {-1, -1, -1}, {false, false, false}};
    int gate[2] = {-1, -1}, status[2] = {-1, -1};
    bool ok = open_input(&e, opts->in, err) && open_output(&e, 1, opts->out, opts->out_log, err) &&
              open_output(&e, 2, opts->err, opts->err_log, err);
    if (ok && opts->gated && pipe2(gate, O_CLOEXEC) != 0)
        ok = ec_err_errno(err, errno, "pipe");
    if (ok && pipe2(status, O_CLOEXEC) != 0)
        ok = ec_err_errno(err, errno, "pipe");
    child_plan plan = {.opts = opts, .fds = {e.child[0], e.child[1], e.child[2]}, .gate = gate[0], .status = status[1]};
    // Only who is in the foreground may give the terminal away.
    plan.foreground = opts->in == EC_STDIO_TERMINAL && tcgetpgrp(0) == getpgrp();
    set_nofile_limit(&plan.nofile);
    keep_exit_codes();
    pid_t pid = ok ? fork_child(&plan, gate[1]) : -1;
    if (ok && pid < 0)
        ok = ec_err_errno(err, errno, "starting %s", opts->argv[0]);
    close_ends(&e, !ok);
    if (!ok) {
        close_pair(gate);
        close_pair(status);
        return false;
    }
    live_children++;
    close(status[1]);
    if (gate[0] >= 0)
        close(gate[0]);
    ec_proc *p = new_proc(loop, opts, pid);
    p->gate = gate[1];
    p->took_terminal = plan.foreground;
    watch_child(p);
    start_reading(p, &e, status[0]);
    *out = p;
    return true;
}

void ec_proc_identity(const ec_proc *p, ec_identity *out)
{
    *out = p->id;
}

void ec_proc_open_gate(ec_proc *p)
{
    if (p->gate < 0)
        return;
    ssize_t ignored = write(p->gate, "g", 1);
    (void)ignored;
    close(p->gate);
    p->gate = -1;
}

bool ec_proc_signal(ec_proc *p, int sig, ec_err *err)
{
    if (p->exited)
        return ec_err_errno(err, ESRCH, "pid %d", p->id.pid);
    int rc = p->pidfd >= 0 ? ec_proc_ops.pidfd_send_signal(p->pidfd, sig) : kill(p->id.pid, sig);
    return rc == 0 || ec_err_errno(err, errno, "pid %d", p->id.pid);
}

typedef struct write_request {
    uv_write_t uv;
    ec_proc *proc;
    char data[];
} write_request;

static void on_written(uv_write_t *w, int status)
{
    ec_proc *p = ((write_request *)w)->proc;
    free(w);
    p->in_pending--;
    if (p->in_closing && (p->in_pending == 0 || status < 0))
        end_stream(&p->in);
}

bool ec_proc_write(ec_proc *p, const void *data, size_t size, ec_err *err)
{
    if (!p->in.initialised || p->in.ended || p->in_closing)
        return ec_err_errno(err, EPIPE, "standard input of pid %d", p->id.pid);
    write_request *w = ec_xcalloc(1, sizeof *w + size);
    w->proc = p;
    memcpy(w->data, data, size);
    uv_buf_t buf = uv_buf_init(w->data, (unsigned)size);
    int rc = uv_write(&w->uv, (uv_stream_t *)&p->in.pipe, &buf, 1, on_written);
    if (rc == 0) {
        p->in_pending++;
        return true;
    }
    free(w);
    return ec_err_errno(err, -rc, "standard input of pid %d", p->id.pid);
}

void ec_proc_close_stdin(ec_proc *p)
{
    p->in_closing = true;
    if (p->in_pending == 0)
        end_stream(&p->in);
}

// The loop does not wait for a child nobody listens to; it still reaps it when it runs.
void ec_proc_close(ec_proc *p)
{
    if (!p || p->closed)
        return;
    p->closed = true;
    if (p->gate >= 0)
        close(p->gate);
    p->gate = -1;
    end_stream(&p->status);
    end_stream(&p->in);
    end_stream(&p->out[0]);
    end_stream(&p->out[1]);
    if (!p->exited) {
        if (p->pidfd >= 0)
            uv_unref((uv_handle_t *)&p->poll);
        uv_unref((uv_handle_t *)&p->timer);
    }
    maybe_free(p);
}

void ec_proc_shutdown(void)
{
    for (ec_proc *p = all_procs, *next; p; p = next) {
        next = p->next; // memory is freed by close callbacks, which run later
        ec_proc_close(p);
        if (!p->exited) {
            p->exited = true;
            live_children--;
            maybe_free(p);
        }
    }
}

struct ec_pidwatch {
    uv_poll_t poll;
    int pidfd;
    void (*fn)(void *ud);
    void *ud;
};

static void free_pidwatch(uv_handle_t *h)
{
    ec_pidwatch *w = (ec_pidwatch *)h;
    close(w->pidfd);
    free(w);
}

static void on_watched_exit(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    ec_pidwatch *w = (ec_pidwatch *)poll;
    uv_poll_stop(poll);
    w->fn(w->ud);
}

ec_pidwatch *ec_pidwatch_start(ec_loop *loop, const ec_identity *id, void (*fn)(void *ud), void *ud, ec_err *err)
{
    int fd = ec_proc_ops.pidfd_open(id->pid, 0);
    if (fd < 0) {
        ec_err_errno(err, errno, "pid %d", id->pid);
        return NULL;
    }
    ec_alive alive = ec_procfs_alive(id);
    if (alive != EC_ALIVE) {
        close(fd);
        ec_err_set(err, "ESRCH", "pid %d: %s", id->pid, ec_alive_word(alive));
        return NULL;
    }
    ec_pidwatch *w = ec_xcalloc(1, sizeof *w);
    w->pidfd = fd;
    w->fn = fn;
    w->ud = ud;
    int rc = uv_poll_init(ec_loop_uv(loop), &w->poll, fd);
    if (rc != 0) {
        close(fd);
        free(w);
        ec_err_errno(err, -rc, "pid %d", id->pid);
        return NULL;
    }
    uv_poll_start(&w->poll, UV_READABLE, on_watched_exit);
    return w;
}

void ec_pidwatch_close(ec_pidwatch *w)
{
    if (!w || uv_is_closing((uv_handle_t *)&w->poll))
        return;
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, free_pidwatch);
}
