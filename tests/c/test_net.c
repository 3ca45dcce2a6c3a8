// Probes and GETs against servers of every temper, and the keeper's unix socket: lines, peers, names, and what is
// queued.
#include "spawning.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "envctl/net.h"

static char *dir;

static int set_up(void **state)
{
    dir = make_dir();
    return make_loop(state);
}

static int tear_down(void **state)
{
    ec_loop_run(loop); // close callbacks
    assert_int_equal(ec_loop_handles(loop), 0);
    drop_loop(state);
    drop_dir(dir);
    return 0;
}

// ---- the parser ----

static void test_http_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
        size_t body;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\n\r\nbody", 200, 19},
        {"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n", 404, 32},
        {"HTTP/1.1 503\r\n\r\nx", 503, 16},
        {"HTTP/1.1 200 OK\r\nnever ends", 200, 27},
        {"HTTP/1.1 200", 200, 12},
        {"HTTP/1.1 20", -1, 0},
        {"HTTP/1.1 2x0 OK\r\n\r\n", -1, 0},
        {"HTTP/2 200 OK\r\n\r\n", -1, 0},
        {"HTTP/1.12200 OK\r\n\r\n", -1, 0},
        {"220 smtp ready\r\n", -1, 0},
        {"", -1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].text), body = 0;
        char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, rows[i].text, n);
        assert_int_equal(ec_http_parse(copy, n, &body), rows[i].status);
        assert_int_equal(body, rows[i].body);
        free(copy);
    }
}

// ---- servers ----

static int listen_on(bool v6, uint16_t *port)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {.sa.sa_family = v6 ? AF_INET6 : AF_INET};
    socklen_t size = v6 ? sizeof a.v6 : sizeof a.v4;
    if (v6)
        a.v6.sin6_addr = in6addr_loopback;
    else
        a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, &a.sa, size) != 0 || listen(fd, 8) != 0 || getsockname(fd, &a.sa, &size) != 0)
        return -1;
    *port = ntohs(v6 ? a.v6.sin6_port : a.v4.sin_port);
    return fd;
}

typedef enum temper {
    CLOSES,      // sends and closes
    DRIPS,       // byte by byte
    STAYS,       // sends and keeps the connection open
    RESETS,      // sends and resets
    SAYS_NOTHING // takes the request and closes
} temper;

static void send_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, text, size, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        text += n;
        size -= (size_t)n;
    }
}

// Serves one connection in a process of its own; the request goes to dir/request.
static pid_t server(int fd, temper how, const char *answer, size_t size)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char request[4096];
    size_t got = 0;
    int c = accept(fd, NULL, NULL);
    while (got < sizeof request - 1 && !memmem(request, got, "\r\n\r\n", 4)) {
        ssize_t n = read(c, request + got, sizeof request - 1 - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/request", dir);
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (write(out, request, got) != (ssize_t)got)
        _exit(1);
    close(out);
    for (size_t i = 0; how == DRIPS && i < size; i++) {
        send_all(c, answer + i, 1);
        sleep_us(200);
    }
    if (how == CLOSES || how == STAYS || how == RESETS)
        send_all(c, answer, size);
    if (how == RESETS) {
        sleep_us(20000);
        struct linger now = {1, 0};
        setsockopt(c, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    if (how == STAYS)
        for (;;)
            pause();
    _exit(0);
}

typedef struct answer {
    int calls, status;
    eb_buf body;
    ec_err err;
} answer;

static void on_answer(int status, const char *body, size_t size, const ec_err *err, void *ud)
{
    answer *a = ud;
    a->calls++;
    a->status = status;
    assert_true((status < 0) == (err != NULL));
    if (err)
        a->err = *err;
    eb_add(&a->body, body, size);
}

// One GET against a server of that temper.
static answer get(temper how, const char *text, size_t size, size_t max)
{
    uint16_t port = 0;
    answer a = {0};
    int fd = listen_on(false, &port);
    assert_true(fd >= 0);
    pid_t pid = server(fd, how, text, size);
    close(fd);
    ec_http_get(loop, "127.0.0.1", port, "/healthz?x=1", DEADLINE_MS, max, on_answer, &a);
    loop_until(a.calls);
    kill_and_reap(pid);
    loop_a_while(1);
    assert_int_equal(a.calls, 1);
    return a;
}

static void assert_answer(answer a, int status, const char *body)
{
    assert_int_equal(a.status, status);
    assert_string_equal(a.body.data, body);
    eb_free(&a.body);
}

#define GET(how, text, max) get(how, text, sizeof(text) - 1, max)

static void test_answers(void **state)
{
    (void)state;
    assert_answer(GET(CLOSES, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 100), 200, "ok");
    char *request = get_file(in_dir(dir, "request"), NULL);
    assert_non_null(request);
    static const char head[] = "GET /healthz?x=1 HTTP/1.1\r\nHost: localhost:";
    assert_memory_equal(request, head, sizeof head - 1);
    assert_non_null(strstr(request, "\r\nConnection: close\r\n"));
    assert_string_equal(request + strlen(request) - 4, "\r\n\r\n");
    free(request);
    assert_answer(GET(CLOSES, "HTTP/1.1 503 No\r\n\r\n", 100), 503, "");
    assert_answer(GET(CLOSES, "HTTP/1.0 200 OK\r\n\r\nuntil the end", 100), 200, "until the end");
    assert_answer(GET(DRIPS, "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\nelsewhere", 100), 302, "elsewhere");
    assert_answer(GET(CLOSES, "HTTP/1.1 200 OK\r\n\r\n0123456789", 4), 200, "0123"); // no more than wanted
}

// Servers that keep the connection open although they were asked not to.
static void test_answers_of_servers_that_do_not_close(void **state)
{
    (void)state;
    assert_answer(GET(STAYS, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 100), 200, "ok");
    assert_answer(GET(STAYS, "HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok", 100), 200, "ok");
    assert_answer(GET(STAYS, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 100), 200, "");
    assert_answer(GET(STAYS, "HTTP/1.1 204 No Content\r\n\r\n", 100), 204, "");
    assert_answer(GET(STAYS, "HTTP/1.1 200 OK\r\n\r\nan endless stream", 5), 200, "an en");
    assert_answer(GET(RESETS, "HTTP/1.1 200 OK\r\n\r\nok", 100), 200, "ok");
}

static void test_a_head_longer_than_the_body_may_be(void **state)
{
    (void)state;
    enum { PAD = 30000 };
    char *text = malloc(PAD + 100);
    assert_non_null(text);
    int n = snprintf(text, 100, "HTTP/1.1 200 OK\r\nX-Pad: ");
    memset(text + n, 'x', PAD);
    n += PAD;
    n += snprintf(text + n, 50, "\r\n\r\nbody");
    assert_answer(get(CLOSES, text, (size_t)n, 10), 200, "body");
    assert_answer(get(STAYS, text, (size_t)n, 4), 200, "body");
    free(text);
}

static void assert_failure(answer a, const char *code)
{
    assert_int_equal(a.status, -1);
    assert_string_equal(a.err.code, code);
    assert_int_equal(a.body.size, 0);
    eb_free(&a.body);
}

static void test_no_answers(void **state)
{
    (void)state;
    assert_failure(GET(CLOSES, "220 mail ready\r\n", 100), "EPROTO");
    assert_failure(GET(SAYS_NOTHING, "", 100), "EPROTO");
    assert_failure(GET(RESETS, "HTT", 100), "ECONNRESET");
    // Noise without an end is cut.
    enum { NOISE = 200000 };
    char *noise = calloc(1, NOISE);
    assert_non_null(noise);
    assert_failure(get(STAYS, noise, NOISE, 100), "EPROTO");
    free(noise);
}

static void test_timeout(void **state)
{
    (void)state;
    uint16_t port = 0;
    answer a = {0};
    char want[64];
    int fd = listen_on(false, &port); // connects by the kernel, and that is all
    ec_http_get(loop, "127.0.0.1", port, "/", 30, 100, on_answer, &a);
    loop_until(a.calls);
    assert_string_equal(a.err.code, "ETIMEDOUT");
    snprintf(want, sizeof want, "127.0.0.1:%u: connection timed out", port);
    assert_string_equal(a.err.message, want);
    eb_free(&a.body);
    close(fd);
}

static void test_probe(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        uint16_t port;
        answer a = {0}, b = {0};
        char want[64];
        const char *host = v6 ? "::1" : "127.0.0.1";
        int fd = listen_on(v6, &port);
        if (fd < 0)
            continue; // no IPv6 here
        ec_http_get(loop, host, port, NULL, DEADLINE_MS, 0, on_answer, &a);
        loop_until(a.calls);
        assert_int_equal(a.status, 0);
        close(fd);
        ec_http_get(loop, host, port, NULL, DEADLINE_MS, 0, on_answer, &b);
        assert_int_equal(b.calls, 0); // never before the call returns
        loop_until(b.calls);
        assert_string_equal(b.err.code, "ECONNREFUSED");
        snprintf(want, sizeof want, v6 ? "[%s]:%u: connection refused" : "%s:%u: connection refused", host, port);
        assert_string_equal(b.err.message, want);
        eb_free(&a.body);
        eb_free(&b.body);
    }
}

// What cannot even begin is told in the same way as everything else.
static void test_impossible_targets(void **state)
{
    (void)state;
    static const struct {
        const char *host, *path, *code;
    } rows[] = {
        {"localhost", "/", "EINVAL"},         {"", NULL, "EINVAL"},
        {"127.0.0.1 ", "/", "EINVAL"},        {"127.0.0.1", "/a b", "EINVAL"},
        {"127.0.0.1", "/\r\nX: y", "EINVAL"}, {"255.255.255.255", NULL, ""}, // whatever the kernel says
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        answer a = {0};
        ec_http_get(loop, rows[i].host, 9, rows[i].path, DEADLINE_MS, 10, on_answer, &a);
        assert_int_equal(a.calls, 0);
        loop_until(a.calls);
        assert_int_equal(a.status, -1);
        if (*rows[i].code)
            assert_string_equal(a.err.code, rows[i].code);
        assert_true(a.err.message[0] != '\0');
        eb_free(&a.body);
    }
}

static ec_http *to_cancel;

static void cancel_now(int status, const char *body, size_t size, const ec_err *err, void *ud)
{
    on_answer(status, body, size, err, ud);
    ec_http_close(to_cancel); // superfluous, and allowed
}

static void test_cancel(void **state)
{
    (void)state;
    uint16_t port = 0;
    answer a = {0}, b = {0};
    int fd = listen_on(false, &port);
    ec_http_close(ec_http_get(loop, "127.0.0.1", port, "/", 10, 100, on_answer, &a));
    ec_http_close(ec_http_get(loop, "nonsense", port, "/", 10, 100, on_answer, &a));
    ec_http *h = ec_http_get(loop, "127.0.0.1", port, "/", 10, 100, on_answer, &a);
    loop_a_while(2);
    ec_http_close(h); // connected meanwhile
    ec_http_close(NULL);
    loop_a_while(30);
    assert_int_equal(a.calls, 0);
    close(fd);
    to_cancel = ec_http_get(loop, "127.0.0.1", port, NULL, 1000, 0, cancel_now, &b);
    loop_until(b.calls);
    eb_free(&b.body);
}

// ---- unix sockets ----

typedef struct side {
    ec_conn *conn;
    eb_buf lines; // each ends in '|'
    int ends;
    ec_err err;
    int accepted;
    int close_after; // close in the callback of so many lines; 0: never
    int count;
} side;

static void on_line(const char *line, size_t size, const ec_err *err, void *ud)
{
    side *s = ud;
    if (!line) {
        s->ends++;
        if (err)
            s->err = *err;
        return;
    }
    eb_add(&s->lines, line, size);
    eb_addc(&s->lines, '|');
    if (++s->count == s->close_after) {
        ec_conn_close(s->conn);
        s->conn = NULL;
    }
}

static void on_conn(ec_conn *c, void *ud)
{
    side *s = ud;
    s->accepted++;
    s->conn = c;
    ec_conn_start(c, on_line, s);
}

static void no_conn(ec_conn *c, void *ud)
{
    (void)ud;
    (void)c;
    fail_msg("a connection that should have been dropped");
}

// A server and a client of it.
static ec_server *pair(side *at_server, ec_conn **client)
{
    ec_err err = {0};
    ec_server *s = ec_unix_listen(loop, dir, "sock", on_conn, at_server, &err);
    if (!s)
        fail_msg("%s", err.message);
    *client = ec_unix_connect(loop, dir, "sock", &err);
    assert_non_null(*client);
    loop_until(at_server->accepted);
    return s;
}

static void put(ec_conn *c, const char *text)
{
    ec_err err = {0};
    if (!ec_conn_write(c, text, strlen(text), &err))
        fail_msg("%s", err.message);
}

static void test_lines(void **state)
{
    (void)state;
    side s = {0}, c = {0};
    ec_server *server_side = pair(&s, &c.conn);
    ec_conn_start(c.conn, on_line, &c);
    assert_int_equal(ec_conn_uid(s.conn), geteuid());
    assert_int_equal(ec_conn_pid(s.conn), getpid());
    assert_int_equal(ec_conn_uid(c.conn), geteuid());
    assert_int_equal(ec_conn_pid(c.conn), getpid());
    put(c.conn, "one\ntwo\n\nthr");
    loop_until(s.count == 3);
    put(c.conn, "ee\n");
    ec_err err;
    assert_true(ec_conn_write(c.conn, "a\0b\n", 4, &err));
    loop_until(s.count == 5);
    assert_int_equal(s.lines.size, 4 + 4 + 1 + 6 + 4);
    assert_memory_equal(s.lines.data, "one|two||three|a\0b|", s.lines.size);
    put(s.conn, "back\n");
    loop_until(c.count == 1);
    assert_string_equal(c.lines.data, "back|");
    put(c.conn, "torn"); // nobody can know whether that is all of it
    ec_conn_close(c.conn);
    loop_until(s.ends);
    assert_int_equal(s.count, 5);
    assert_string_equal(s.err.code, "");
    ec_conn_close(s.conn);
    ec_server_close(server_side);
    ec_server_close(NULL);
    ec_conn_close(NULL);
    eb_free(&s.lines);
    eb_free(&c.lines);
}

static void test_many_lines_at_once(void **state)
{
    (void)state;
    side s = {0};
    ec_conn *c;
    ec_server *server_side = pair(&s, &c);
    enum { MANY = 50000 };
    eb_buf all = {0}, want = {0};
    for (int i = 0; i < MANY; i++) {
        char line[32];
        snprintf(line, sizeof line, "line %d", i);
        eb_adds(&all, line);
        eb_addc(&all, '\n');
        eb_adds(&want, line);
        eb_addc(&want, '|');
    }
    ec_err err;
    assert_true(ec_conn_write(c, all.data, all.size, &err));
    ec_conn_close(c); // what is queued is written first
    loop_until(s.ends);
    assert_int_equal(s.count, MANY);
    assert_int_equal(s.lines.size, want.size);
    assert_memory_equal(s.lines.data, want.data, want.size);
    ec_conn_close(s.conn);
    ec_server_close(server_side);
    eb_free(&all);
    eb_free(&want);
    eb_free(&s.lines);
}

static void test_closed_in_its_own_callback(void **state)
{
    (void)state;
    side s = {.close_after = 2};
    ec_conn *c;
    ec_server *server_side = pair(&s, &c);
    put(c, "1\n2\n3\n4\n");
    loop_until(s.count == 2);
    loop_a_while(20);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.ends, 0); // and nothing after it
    ec_conn_close(c);
    ec_server_close(server_side);
    eb_free(&s.lines);
}

enum { LIMIT = 16 << 20 };

static void test_the_longest_line(void **state)
{
    (void)state;
    for (int over = 0; over < 3; over++) { // exactly the limit; one more; more, and no end of line
        side s = {0};
        ec_conn *c;
        ec_server *server_side = pair(&s, &c);
        size_t size = LIMIT + (over == 0 ? 0 : over == 1 ? 1 : 100000);
        char *line = malloc(size + 1);
        assert_non_null(line);
        memset(line, 'x', size);
        line[size] = '\n';
        ec_err err;
        assert_true(ec_conn_write(c, line, size + (over < 2), &err));
        loop_until(over ? s.ends : s.count);
        assert_int_equal(s.count, over == 0);
        if (over)
            assert_string_equal(s.err.code, "ENOBUFS");
        else
            assert_int_equal(s.lines.size, LIMIT + 1);
        ec_conn_close(s.conn);
        loop_a_while(5);
        ec_conn_close(c);
        ec_server_close(server_side);
        eb_free(&s.lines);
        free(line);
    }
}

static void test_writing_to_who_is_gone(void **state)
{
    (void)state;
    side s = {0};
    ec_conn *c;
    ec_err err;
    ec_server *server_side = pair(&s, &c);
    char *data = calloc(1, 1 << 20);
    assert_non_null(data);
    ec_conn_close(s.conn);
    loop_a_while(10);
    for (int i = 0; i < 3; i++) {
        if (!ec_conn_write(c, data, 1 << 20, &err))
            assert_string_equal(err.code, "EPIPE");
        loop_a_while(5);
    }
    ec_conn_close(c);
    ec_server_close(server_side);
    eb_free(&s.lines);
    free(data);
}

// ---- names ----

static void test_connect_errors(void **state)
{
    (void)state;
    ec_err err;
    char want[PATH_MAX];
    assert_null(ec_unix_connect(loop, dir, "sock", &err));
    assert_string_equal(err.code, "ENOENT");
    snprintf(want, sizeof want, "%s/sock: no such file or directory", dir);
    assert_string_equal(err.message, want);
    assert_null(ec_unix_connect(loop, in_dir(dir, "no"), "sock", &err));
    assert_string_equal(err.code, "ENOENT");
    put_text(in_dir(dir, "file"), "");
    assert_null(ec_unix_connect(loop, dir, "file", &err));
    assert_string_equal(err.code, "ECONNREFUSED");
    side s = {0};
    ec_server_close(ec_unix_listen(loop, dir, "sock", on_conn, &s, &err));
    ec_loop_run(loop);
    assert_null(ec_unix_connect(loop, dir, "sock", &err)); // the file is there, its server is not
    assert_string_equal(err.code, "ECONNREFUSED");
    assert_int_equal(symlink(dir, in_dir(dir, "link")), 0);
    assert_null(ec_unix_connect(loop, in_dir(dir, "link"), "sock", &err));
    assert_string_equal(err.code, "ENOTDIR"); // a planted link is not followed
    char endless[200];
    memset(endless, 'n', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_null(ec_unix_connect(loop, dir, endless, &err));
    assert_string_equal(err.code, "ENAMETOOLONG");
    assert_int_equal(ec_loop_handles(loop), 0);
}

static void test_names(void **state)
{
    (void)state;
    ec_err err;
    struct stat st;
    char deep[PATH_MAX];
    snprintf(deep, sizeof deep, "%s", dir);
    for (int i = 0; i < 8; i++) { // far over the 108 bytes of a socket's address
        snprintf(deep + strlen(deep), sizeof deep - strlen(deep), "/a-directory-with-a-rather-long-name");
        assert_int_equal(mkdir(deep, 0700), 0);
    }
    side s = {0};
    mode_t old = umask(0);
    for (int i = 0; i < 2; i++) { // the second time the first one's file is in the way
        ec_server *server_side = ec_unix_listen(loop, deep, "sock", on_conn, &s, &err);
        assert_non_null(server_side);
        assert_int_equal(stat(in_dir(deep, "sock"), &st), 0);
        assert_true(S_ISSOCK(st.st_mode));
        assert_int_equal(st.st_mode & 07777, 0600);
        ec_conn *c = ec_unix_connect(loop, deep, "sock", &err);
        assert_non_null(c);
        loop_until(s.accepted == i + 1);
        ec_conn_close(c);
        ec_conn_close(s.conn);
        ec_server_close(server_side);
        ec_loop_run(loop);
    }
    assert_int_equal(umask(old), 0); // was put back
    put_text(in_dir(dir, "precious"), "data");
    assert_null(ec_unix_listen(loop, dir, "precious", on_conn, &s, &err)); // only a socket is replaced
    assert_string_equal(err.code, "EADDRINUSE");
    assert_file(in_dir(dir, "precious"), "data");
    assert_null(ec_unix_listen(loop, in_dir(dir, "no"), "sock", on_conn, &s, &err));
    assert_string_equal(err.code, "ENOENT");
    eb_free(&s.lines);
}

// ---- others ----

static void test_other_users(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    ec_err err;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", in_dir(dir, "sock"));
    ec_server *server_side = ec_unix_listen(loop, dir, "sock", no_conn, NULL, &err);
    assert_non_null(server_side);
    assert_int_equal(chmod(dir, 0777), 0); // as if the directory did not protect it
    assert_int_equal(chmod(path, 0777), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        char byte;
        snprintf(a.sun_path, sizeof a.sun_path, "%.100s", path);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (setgid(65534) != 0 || setuid(65534) != 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
            _exit(1);
        ssize_t n = read(fd, &byte, 1); // is hung up on
        _exit(n > 0);
    }
    int status = -1;
    loop_until(waitpid(pid, &status, WNOHANG) == pid || status >= 0);
    assert_int_equal(status, 0);
    ec_server_close(server_side);
    // The other way round: somebody else sits on the name.
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        snprintf(a.sun_path, sizeof a.sun_path, "%.90s/theirs", dir);
        if (setgid(65534) != 0 || setuid(65534) != 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
            listen(fd, 4) != 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_null(ec_unix_connect(loop, dir, "theirs", &err));
    assert_string_equal(err.code, "EPERM");
    kill_and_reap(pid);
    close(ready[0]);
    close(ready[1]);
}

// A keeper that was stopped (SIGSTOP, a debugger) does not make its clients hang.
static void test_a_server_that_does_not_accept(void **state)
{
    (void)state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    ec_err err;
    ec_conn *waiting[8];
    int n = 0;
    snprintf(a.sun_path, sizeof a.sun_path, "%.90s/slow", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1), 0);
    while (n < 8 && (waiting[n] = ec_unix_connect(loop, dir, "slow", &err)))
        n++;
    assert_true(n < 8);
    assert_string_equal(err.code, "ETIMEDOUT");
    while (n > 0)
        ec_conn_close(waiting[--n]);
    close(fd);
}

// Of many clients at once none is lost, whatever order they come and go in.
enum { CLIENTS = 100 };

typedef struct crowd {
    ec_conn *conns[CLIENTS];
    int accepted;
    side heard;
} crowd;

static void on_one_of_many(ec_conn *c, void *ud)
{
    crowd *all = ud;
    if (all->accepted % 4 == 0) {
        ec_conn_close(c); // at once
        c = NULL;
    } else {
        ec_conn_start(c, on_line, &all->heard);
    }
    all->conns[all->accepted++] = c;
}

static void test_many_clients(void **state)
{
    (void)state;
    crowd all = {0};
    ec_err err;
    ec_conn *c[CLIENTS];
    ec_server *server_side = ec_unix_listen(loop, dir, "sock", on_one_of_many, &all, &err);
    assert_non_null(server_side);
    for (int i = 0; i < CLIENTS; i++) {
        c[i] = ec_unix_connect(loop, dir, "sock", &err);
        assert_non_null(c[i]);
        put(c[i], "hello\n");
        if (dice(3) == 0) {
            ec_conn_close(c[i]);
            c[i] = NULL;
        }
        if (dice(10) == 0)
            loop_a_while(1);
    }
    loop_until(all.accepted == CLIENTS);
    loop_until(all.heard.count >= CLIENTS - CLIENTS / 4);
    for (int i = 0; i < CLIENTS; i++) {
        ec_conn_close(all.conns[i]);
        ec_conn_close(c[i]);
    }
    ec_server_close(server_side);
    eb_free(&all.heard.lines);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_parse),
        TEST(test_answers),
        TEST(test_answers_of_servers_that_do_not_close),
        TEST(test_a_head_longer_than_the_body_may_be),
        TEST(test_no_answers),
        TEST(test_timeout),
        TEST(test_probe),
        TEST(test_impossible_targets),
        TEST(test_cancel),
        TEST(test_lines),
        TEST(test_many_lines_at_once),
        TEST(test_closed_in_its_own_callback),
        TEST(test_the_longest_line),
        TEST(test_writing_to_who_is_gone),
        TEST(test_connect_errors),
        TEST(test_names),
        TEST(test_other_users),
        TEST(test_a_server_that_does_not_accept),
        TEST(test_many_clients),
    };
    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
