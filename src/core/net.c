// See envctl/net.h.
#include "envctl/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "envctl/buf.h"
#include "envctl/mem.h"

// An answer's head may be this long; what a service sends before its body is not bounded by max_bytes.
enum { HEAD_MAX = 65536 };

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)h;
    *buf = uv_buf_init(ec_xcalloc(1, suggested), (unsigned)suggested);
}

// ---- probe and GET ----

struct ec_http {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    ec_http_fn fn; // NULL once told or cancelled
    void *ud;
    char *request;
    char name[80]; // for messages
    eb_buf in;
    size_t max;
    ec_err early; // why it could not even begin; told from the loop
    int open;
};

static void on_http_closed(uv_handle_t *handle)
{
    ec_http *h = handle->data;
    if (--h->open > 0)
        return;
    free(h->request);
    eb_free(&h->in);
    free(h);
}

static void shut_http(ec_http *h)
{
    if (!uv_is_closing((uv_handle_t *)&h->tcp))
        uv_close((uv_handle_t *)&h->tcp, on_http_closed);
    if (!uv_is_closing((uv_handle_t *)&h->timer))
        uv_close((uv_handle_t *)&h->timer, on_http_closed);
}

void ec_http_close(ec_http *h)
{
    if (!h)
        return;
    h->fn = NULL;
    shut_http(h);
}

static void tell(ec_http *h, int status, size_t body, const ec_err *err)
{
    ec_http_fn fn = h->fn;
    if (!fn)
        return;
    h->fn = NULL;
    const char *text = h->in.data ? h->in.data + body : "";
    size_t size = h->in.size - body;
    fn(status, text, size < h->max ? size : h->max, err, h->ud);
    shut_http(h);
}

static void fail(ec_http *h, int uv_code)
{
    ec_err err;
    ec_err_errno(&err, -uv_code, "%s", h->name);
    h->in.size = 0;
    tell(h, -1, 0, &err);
}

int ec_http_parse(const char *text, size_t size, size_t *body_offset)
{
    // "HTTP/1.1 200 OK"
    if (size < 12 || memcmp(text, "HTTP/1.", 7) != 0 || text[8] != ' ')
        return -1;
    int status = 0;
    for (int i = 9; i < 12; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        status = status * 10 + (text[i] - '0');
    }
    const char *end = memmem(text, size, "\r\n\r\n", 4);
    *body_offset = end ? (size_t)(end - text) + 4 : size;
    return status;
}

static void finish_http(ec_http *h)
{
    size_t body = 0;
    int status = ec_http_parse(h->in.data ? h->in.data : "", h->in.size, &body);
    if (status >= 0) {
        tell(h, status, body, NULL);
        return;
    }
    ec_err err;
    ec_err_set(&err, "EPROTO", "%s: no HTTP answer", h->name);
    h->in.size = 0;
    tell(h, -1, 0, &err);
}

// The body's length by the head, SIZE_MAX where it is not said.
static size_t announced_length(const char *head, size_t size)
{
    static const char name[] = "\r\nContent-Length:";
    for (size_t i = 0; i + sizeof name - 1 < size; i++)
        if (strncasecmp(head + i, name, sizeof name - 1) == 0)
            return strtoul(head + i + sizeof name - 1, NULL, 10);
    return SIZE_MAX;
}

// Whether nothing is left to wait for: some servers keep the connection open however we ask.
static bool complete(const ec_http *h)
{
    size_t body;
    int status = ec_http_parse(h->in.data, h->in.size, &body);
    if (status < 0 || !memmem(h->in.data, h->in.size, "\r\n\r\n", 4))
        return h->in.size >= HEAD_MAX;
    size_t got = h->in.size - body;
    return got >= h->max || status == 204 || status == 304 || got >= announced_length(h->in.data, body);
}

static void on_http_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    ec_http *h = s->data;
    if (n > 0 && h->fn)
        eb_add(&h->in, buf->base, (size_t)n);
    free(buf->base);
    size_t body;
    // A reset after an answer is how servers end that do not read to the end.
    bool answered = h->in.size > 0 && ec_http_parse(h->in.data, h->in.size, &body) >= 0;
    if (n == UV_EOF || (n > 0 && complete(h)) || (n < 0 && answered))
        finish_http(h);
    else if (n < 0)
        fail(h, (int)n);
}

static void on_http_written(uv_write_t *w, int status)
{
    if (status < 0)
        fail(w->data, status);
}

static void on_http_connected(uv_connect_t *c, int status)
{
    ec_http *h = c->data;
    if (status < 0) {
        fail(h, status);
        return;
    }
    if (!h->request) {
        tell(h, 0, 0, NULL);
        return;
    }
    uv_buf_t buf = uv_buf_init(h->request, (unsigned)strlen(h->request));
    h->write.data = h;
    uv_read_start((uv_stream_t *)&h->tcp, on_alloc, on_http_read);
    uv_write(&h->write, (uv_stream_t *)&h->tcp, &buf, 1, on_http_written);
}

static void on_http_timeout(uv_timer_t *t)
{
    fail(t->data, UV_ETIMEDOUT);
}

static void on_http_early(uv_timer_t *t)
{
    ec_http *h = t->data;
    tell(h, -1, 0, &h->early);
}

typedef union address {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address;

// A path goes into the request line as it is, so it must not end it.
static bool check_target(address *addr, const char *host, uint16_t port, const char *path, ec_err *err)
{
    if (uv_ip4_addr(host, port, &addr->v4) != 0 && uv_ip6_addr(host, port, &addr->v6) != 0)
        return ec_err_set(err, "EINVAL", "%s: not a numeric address", host);
    if (!path)
        return true;
    bool clean = true;
    for (const char *p = path; *p; p++)
        clean = clean && *p != ' ' && (unsigned char)*p > 31 && *p != 127;
    return clean || ec_err_set(err, "EINVAL", "%s port %u: blanks or control characters in the path", host, port);
}

static char *make_request(const char *path, uint16_t port)
{
    size_t size = strlen(path) + 160;
    char *request = ec_xcalloc(1, size);
    snprintf(
        request, size,
        "GET %s%s HTTP/1.1\r\nHost: localhost:%u\r\nUser-Agent: envctl\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        path[0] == '/' ? "" : "/", path, port);
    return request;
}

ec_http *ec_http_get(ec_loop *loop, const char *host, uint16_t port, const char *path, uint64_t timeout_ms,
                     size_t max_bytes, ec_http_fn fn, void *ud)
{
    address addr;
    ec_http *h = ec_xcalloc(1, sizeof *h);
    h->fn = fn;
    h->ud = ud;
    h->max = max_bytes;
    snprintf(h->name, sizeof h->name, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
    uv_loop_t *uv = ec_loop_uv(loop);
    uv_tcp_init(uv, &h->tcp);
    uv_timer_init(uv, &h->timer);
    h->tcp.data = h->timer.data = h->connect.data = h;
    h->open = 2;
    uv_update_time(uv);
    bool ok = check_target(&addr, host, port, path, &h->early);
    if (ok) {
        h->request = path ? make_request(path, port) : NULL;
        int rc = uv_tcp_connect(&h->connect, &h->tcp, &addr.sa, on_http_connected);
        ok = rc == 0 || ec_err_errno(&h->early, -rc, "%s", h->name);
    }
    uv_timer_start(&h->timer, ok ? on_http_timeout : on_http_early, ok ? timeout_ms : 0, 0);
    return h;
}

// ---- unix sockets ----

enum { MAX_LINE = 16 << 20, CONNECT_SECONDS = 2 };

struct ec_conn {
    uv_pipe_t pipe;
    ec_line_fn line; // NULL until started, and after closing
    void *ud;
    eb_buf in;
    size_t scanned;
    struct ucred peer;
    size_t pending; // writes not yet done
    bool closing, ended;
    bool too_long; // a line over the limit was seen
};

typedef struct write_request {
    uv_write_t uv;
    char data[];
} write_request;

static void on_conn_closed(uv_handle_t *h)
{
    ec_conn *c = (ec_conn *)h;
    eb_free(&c->in);
    free(c);
}

static void shut_conn(ec_conn *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->pipe))
        uv_close((uv_handle_t *)&c->pipe, on_conn_closed);
}

static void on_conn_written(uv_write_t *w, int status)
{
    ec_conn *c = w->data;
    free(w);
    c->pending--;
    if (c->closing && (c->pending == 0 || status < 0))
        shut_conn(c);
}

bool ec_conn_write(ec_conn *c, const void *data, size_t size, ec_err *err)
{
    if (c->closing)
        return ec_err_errno(err, EPIPE, "connection");
    write_request *w = ec_xcalloc(1, sizeof *w + size);
    memcpy(w->data, data, size);
    w->uv.data = c;
    uv_buf_t buf = uv_buf_init(w->data, (unsigned)size);
    int rc = uv_write(&w->uv, (uv_stream_t *)&c->pipe, &buf, 1, on_conn_written);
    if (rc != 0) {
        free(w);
        return ec_err_errno(err, -rc, "connection");
    }
    c->pending++;
    return true;
}

void ec_conn_close(ec_conn *c)
{
    if (!c || c->closing)
        return;
    c->closing = true;
    c->line = NULL;
    uv_read_stop((uv_stream_t *)&c->pipe);
    if (c->pending == 0)
        shut_conn(c);
}

static void end_conn(ec_conn *c, const ec_err *err)
{
    if (c->ended)
        return;
    c->ended = true;
    uv_read_stop((uv_stream_t *)&c->pipe);
    if (c->line)
        c->line(NULL, 0, err, c->ud);
}

// Hands out whole lines. A callback may close the connection, after which `line` is NULL; its memory lives until the
// loop comes round.
static void split_lines(ec_conn *c)
{
    size_t start = 0;
    while (c->line) {
        char *nl = c->scanned < c->in.size ? memchr(c->in.data + c->scanned, '\n', c->in.size - c->scanned) : NULL;
        if (!nl) {
            c->scanned = c->in.size;
            break;
        }
        size_t end = (size_t)(nl - c->in.data);
        c->too_long = end - start > MAX_LINE;
        if (c->too_long)
            break;
        c->scanned = end + 1;
        c->line(c->in.data + start, end - start, NULL, c->ud);
        start = end + 1;
    }
    eb_drop(&c->in, start);
    c->scanned -= c->scanned >= start ? start : c->scanned;
}

static void on_conn_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    ec_conn *c = (ec_conn *)s;
    if (n > 0) {
        eb_add(&c->in, buf->base, (size_t)n);
        split_lines(c);
    }
    free(buf->base);
    ec_err err;
    if (c->too_long || c->in.size > MAX_LINE) {
        ec_err_set(&err, "ENOBUFS", "connection: a line over 16 MiB");
        end_conn(c, &err);
    } else if (n == UV_EOF) {
        end_conn(c, NULL);
    } else if (n < 0) {
        ec_err_errno(&err, (int)-n, "connection");
        end_conn(c, &err);
    }
}

void ec_conn_start(ec_conn *c, ec_line_fn line, void *ud)
{
    c->line = line;
    c->ud = ud;
    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_conn_read);
}

uid_t ec_conn_uid(const ec_conn *c)
{
    return c->peer.uid;
}

pid_t ec_conn_pid(const ec_conn *c)
{
    return c->peer.pid;
}

static bool read_peer(ec_conn *c)
{
    uv_os_fd_t fd;
    socklen_t size = sizeof c->peer;
    return uv_fileno((uv_handle_t *)&c->pipe, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c->peer, &size) == 0 && c->peer.uid == geteuid();
}

struct ec_server {
    uv_pipe_t pipe;
    void (*fn)(ec_conn *c, void *ud);
    void *ud;
};

static void on_server_closed(uv_handle_t *h)
{
    free(h);
}

static void on_incoming(uv_stream_t *s, int status)
{
    ec_server *server = (ec_server *)s;
    if (status < 0)
        return;
    ec_conn *c = ec_xcalloc(1, sizeof *c);
    uv_pipe_init(s->loop, &c->pipe, 0);
    if (uv_accept(s, (uv_stream_t *)&c->pipe) != 0 || !read_peer(c)) {
        c->closing = true;
        shut_conn(c);
        return;
    }
    server->fn(c, server->ud);
}

// sun_path is short; the directory's descriptor makes every path short. `dirfd` stays open while the address is used.
static bool unix_address(struct sockaddr_un *addr, int *dirfd, const char *dir, const char *name, ec_err *err)
{
    *dirfd = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*dirfd < 0)
        return ec_err_errno(err, errno, "%s", dir);
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(addr->sun_path, sizeof addr->sun_path, "/proc/self/fd/%d/%s", *dirfd, name);
    if (n < 0 || (size_t)n >= sizeof addr->sun_path) {
        close(*dirfd);
        return ec_err_errno(err, ENAMETOOLONG, "%s/%s", dir, name);
    }
    return true;
}

// Only a socket is replaced; anything else of that name stays, and bind says EADDRINUSE.
static int bind_anew(int fd, const struct sockaddr_un *addr, int dirfd, const char *name)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
        unlinkat(dirfd, name, 0);
    mode_t old = umask(0177);
    int rc = bind(fd, (const struct sockaddr *)addr, sizeof *addr);
    int why = errno;
    umask(old);
    errno = why;
    return rc;
}

// A local connect does not wait, unless the server's queue is full because it is stopped.
static int connect_soon(int fd, const struct sockaddr_un *addr)
{
    struct timeval limit = {CONNECT_SECONDS, 0}, none = {0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    int rc;
    do {
        rc = connect(fd, (const struct sockaddr *)addr, sizeof *addr);
    } while (rc != 0 && errno == EINTR);
    int why = errno == EAGAIN ? ETIMEDOUT : errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    errno = why;
    return rc;
}

static int unix_socket(const char *dir, const char *name, bool server, ec_err *err)
{
    struct sockaddr_un addr;
    int dirfd;
    if (!unix_address(&addr, &dirfd, dir, name, err))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd;
    if (fd >= 0 && server)
        rc = bind_anew(fd, &addr, dirfd, name);
    else if (fd >= 0)
        rc = connect_soon(fd, &addr);
    int why = errno;
    close(dirfd);
    if (rc < 0) {
        if (fd >= 0)
            close(fd);
        ec_err_errno(err, why, "%s/%s", dir, name);
        return -1;
    }
    return fd;
}

ec_server *ec_unix_listen(ec_loop *loop, const char *dir, const char *name, void (*fn)(ec_conn *c, void *ud), void *ud,
                          ec_err *err)
{
    int fd = unix_socket(dir, name, true, err);
    if (fd < 0)
        return NULL;
    ec_server *s = ec_xcalloc(1, sizeof *s);
    s->fn = fn;
    s->ud = ud;
    uv_pipe_init(ec_loop_uv(loop), &s->pipe, 0);
    uv_pipe_open(&s->pipe, fd);
    int rc = uv_listen((uv_stream_t *)&s->pipe, 64, on_incoming);
    if (rc != 0) {
        ec_err_errno(err, -rc, "%s/%s", dir, name);
        ec_server_close(s);
        return NULL;
    }
    return s;
}

void ec_server_close(ec_server *s)
{
    if (s && !uv_is_closing((uv_handle_t *)&s->pipe))
        uv_close((uv_handle_t *)&s->pipe, on_server_closed);
}

ec_conn *ec_unix_connect(ec_loop *loop, const char *dir, const char *name, ec_err *err)
{
    int fd = unix_socket(dir, name, false, err);
    if (fd < 0)
        return NULL;
    ec_conn *c = ec_xcalloc(1, sizeof *c);
    uv_pipe_init(ec_loop_uv(loop), &c->pipe, 0);
    uv_pipe_open(&c->pipe, fd);
    if (!read_peer(c)) {
        ec_err_set(err, "EPERM", "%s/%s: answered by another user", dir, name);
        c->closing = true;
        shut_conn(c);
        return NULL;
    }
    return c;
}
