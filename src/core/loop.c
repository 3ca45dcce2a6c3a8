// See envctl/loop.h. Every handle struct starts with its uv handle, so that the close callback can free the whole.
#include "envctl/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "envctl/mem.h"

struct ec_loop {
    uv_loop_t uv;
};

struct ec_timer {
    uv_timer_t uv;
    void (*fn)(void *ud);
    void *ud;
};

struct ec_sigwatch {
    uv_signal_t uv;
    void (*fn)(int signum, void *ud);
    void *ud;
};

struct ec_fdwatch {
    uv_poll_t uv;
    void (*fn)(void *ud);
    void *ud;
    int fd; // our duplicate: epoll and the owner may close in any order
};

struct ec_filewatch {
    uv_fs_event_t uv;
    void (*fn)(void *ud);
    void *ud;
};

ec_loop *ec_loop_new(void)
{
    ec_loop *loop = ec_xcalloc(1, sizeof *loop);
    if (uv_loop_init(&loop->uv) != 0) {
        free(loop);
        return NULL;
    }
    return loop;
}

// Marks, in uv_handle_t.data, the handles whose memory is managed here.
static char ours;

static void free_handle(uv_handle_t *h)
{
    free(h);
}

static void close_fdwatch(uv_handle_t *h)
{
    ec_fdwatch *w = (ec_fdwatch *)h;
    close(w->fd);
    free(w);
}

static void close_leftover(uv_handle_t *h, void *ud)
{
    (void)ud;
    if (uv_is_closing(h))
        return;
    // The memory of a handle of another file belongs to whoever still holds it; only the loop must be empty.
    uv_close(h, h->data != &ours ? NULL : h->type == UV_POLL ? close_fdwatch : free_handle);
}

void ec_loop_free(ec_loop *loop)
{
    if (!loop)
        return;
    while (uv_loop_close(&loop->uv) == UV_EBUSY) {
        uv_walk(&loop->uv, close_leftover, NULL);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
    }
    free(loop);
}

void ec_loop_run(ec_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void ec_loop_stop(ec_loop *loop)
{
    uv_stop(&loop->uv);
}

struct uv_loop_s *ec_loop_uv(ec_loop *loop)
{
    return &loop->uv;
}

static void count_handle(uv_handle_t *h, void *ud)
{
    if (!uv_is_closing(h))
        ++*(int *)ud;
}

int ec_loop_handles(const ec_loop *loop)
{
    int count = 0;
    uv_walk((uv_loop_t *)&loop->uv, count_handle, &count);
    return count;
}

static void on_timer(uv_timer_t *uv)
{
    ec_timer *t = (ec_timer *)uv;
    t->fn(t->ud);
}

ec_timer *ec_timer_start(ec_loop *loop, uint64_t ms, void (*fn)(void *ud), void *ud)
{
    ec_timer *t = ec_xcalloc(1, sizeof *t);
    t->fn = fn;
    t->ud = ud;
    uv_timer_init(&loop->uv, &t->uv);
    t->uv.data = &ours;
    uv_update_time(&loop->uv); // a long computation before must not shorten the wait
    uv_timer_start(&t->uv, on_timer, ms, 0);
    return t;
}

void ec_timer_close(ec_timer *t)
{
    if (t && !uv_is_closing((uv_handle_t *)&t->uv))
        uv_close((uv_handle_t *)&t->uv, free_handle);
}

static void on_signal(uv_signal_t *uv, int signum)
{
    ec_sigwatch *s = (ec_sigwatch *)uv;
    s->fn(signum, s->ud);
}

ec_sigwatch *ec_sigwatch_start(ec_loop *loop, int signum, void (*fn)(int signum, void *ud), void *ud, ec_err *err)
{
    ec_sigwatch *s = ec_xcalloc(1, sizeof *s);
    s->fn = fn;
    s->ud = ud;
    uv_signal_init(&loop->uv, &s->uv);
    s->uv.data = &ours;
    int rc = uv_signal_start(&s->uv, on_signal, signum);
    if (rc != 0) {
        uv_close((uv_handle_t *)&s->uv, free_handle);
        ec_err_errno(err, -rc, "signal %d", signum);
        return NULL;
    }
    uv_unref((uv_handle_t *)&s->uv);
    return s;
}

void ec_sigwatch_close(ec_sigwatch *s)
{
    if (s && !uv_is_closing((uv_handle_t *)&s->uv))
        uv_close((uv_handle_t *)&s->uv, free_handle);
}

static void on_readable(uv_poll_t *uv, int status, int events)
{
    (void)status;
    (void)events;
    ec_fdwatch *w = (ec_fdwatch *)uv;
    uv_poll_stop(uv);
    w->fn(w->ud);
}

ec_fdwatch *ec_fdwatch_start(ec_loop *loop, int fd, void (*fn)(void *ud), void *ud, ec_err *err)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        ec_err_errno(err, errno, "descriptor %d", fd);
        return NULL;
    }
    ec_fdwatch *w = ec_xcalloc(1, sizeof *w);
    w->fn = fn;
    w->ud = ud;
    w->fd = copy;
    int flags = fcntl(copy, F_GETFL);
    int rc = uv_poll_init(&loop->uv, &w->uv, copy);
    // libuv makes it non-blocking, and with it every other descriptor of the same terminal: the shell's, our standard
    // output.
    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(copy, F_SETFL, flags);
    if (rc != 0) {
        close(copy);
        free(w); // an uninitialised poll handle is not in the loop
        ec_err_errno(err, -rc, "descriptor %d", fd);
        return NULL;
    }
    w->uv.data = &ours;
    uv_poll_start(&w->uv, UV_READABLE | UV_DISCONNECT, on_readable);
    return w;
}

void ec_fdwatch_close(ec_fdwatch *w)
{
    if (w && !uv_is_closing((uv_handle_t *)&w->uv)) {
        uv_poll_stop(&w->uv);
        uv_close((uv_handle_t *)&w->uv, close_fdwatch);
    }
}

static void on_file_event(uv_fs_event_t *uv, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    (void)status;
    ec_filewatch *w = (ec_filewatch *)uv;
    uv_fs_event_stop(uv);
    w->fn(w->ud);
}

ec_filewatch *ec_filewatch_start(ec_loop *loop, const char *path, void (*fn)(void *ud), void *ud, ec_err *err)
{
    ec_filewatch *w = ec_xcalloc(1, sizeof *w);
    w->fn = fn;
    w->ud = ud;
    uv_fs_event_init(&loop->uv, &w->uv);
    w->uv.data = &ours;
    int rc = uv_fs_event_start(&w->uv, on_file_event, path, 0);
    if (rc != 0) {
        uv_close((uv_handle_t *)&w->uv, free_handle);
        ec_err_errno(err, -rc, "%s", path);
        return NULL;
    }
    return w;
}

void ec_filewatch_close(ec_filewatch *w)
{
    if (w && !uv_is_closing((uv_handle_t *)&w->uv))
        uv_close((uv_handle_t *)&w->uv, free_handle);
}
