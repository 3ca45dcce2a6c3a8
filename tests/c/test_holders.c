// R26 from outside: the port is held by another process in each of the ways that matter, and the verdict is compared
// with what three kinds of services then can do. What needs no other process is in test_port.c.
#include "support.h"

#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include "envctl/port.h"

typedef union address {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address;

static address make_address(bool v6, bool any, uint16_t port)
{
    address a = {.sa.sa_family = v6 ? AF_INET6 : AF_INET};
    if (v6) {
        a.v6.sin6_port = htons(port);
        a.v6.sin6_addr = any ? in6addr_any : in6addr_loopback;
    } else {
        a.v4.sin_port = htons(port);
        a.v4.sin_addr.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK);
    }
    return a;
}

static socklen_t address_size(bool v6)
{
    return v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

// A service that starts: a socket with or without SO_REUSEADDR, bound and listening. -1 with errno.
static int serve(bool v6, bool any, bool reuse, bool both, uint16_t port)
{
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = reuse, only = !both;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    address a = make_address(v6, any, port);
    if (bind(fd, &a.sa, address_size(v6)) == 0 && listen(fd, 8) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static uint16_t port_of(int fd)
{
    address a = {0};
    socklen_t size = sizeof a;
    assert_int_equal(getsockname(fd, &a.sa, &size), 0);
    return ntohs(a.sa.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

// A port that nobody has, outside of the range from which the kernel takes ports for others.
static uint16_t some_port(void)
{
    static uint16_t next;
    if (next == 0)
        next = (uint16_t)(20000 + getpid() % 8000);
    for (;;) {
        uint16_t port = next++;
        int a = serve(false, true, true, false, port), b = serve(true, true, true, false, port);
        bool free_port = a >= 0 && (b >= 0 || errno == EAFNOSUPPORT);
        if (a >= 0)
            close(a);
        if (b >= 0)
            close(b);
        if (free_port)
            return port;
    }
}

static bool have_v6(void)
{
    int fd = serve(true, false, true, false, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

typedef struct holder {
    pid_t pid;
    int to, from;
} holder;

// Starts the fixture; false when this machine cannot have such a holder.
static bool hold_as(holder *h, const char *kind, uint16_t port)
{
    int in[2], out[2];
    char number[8], line[128] = "";
    snprintf(number, sizeof number, "%u", port);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    h->pid = fork();
    if (h->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl(FIXTURE("portholder"), "portholder", kind, number, NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    h->to = in[1];
    h->from = out[0];
    ssize_t n = read(h->from, line, sizeof line - 1);
    if (n > 0 && strncmp(line, "ready", 5) == 0)
        return true;
    printf("# %s cannot be had: %s", kind, line);
    return false;
}

static void let_go(holder *h)
{
    close(h->to);
    close(h->from);
    reap(h->pid);
}

// The close of a descriptor that somebody reads in /proc at that moment takes effect a little later.
static bool becomes_free(uint16_t port)
{
    for (int i = 0; i < 5000; i++) {
        if (ec_port_check(port, NULL))
            return true;
        usleep(1000);
    }
    return false;
}

// What check() promises: each of the three kinds of services could listen on the port.
static bool services_can_start(uint16_t port)
{
    static const struct {
        bool v6, any;
    } kinds[] = {{false, false}, {false, true}, {true, true}};
    bool can = true;
    for (size_t i = 0; i < 3; i++) {
        int fd = serve(kinds[i].v6, kinds[i].any, true, true, port);
        can = can && (fd >= 0 || errno == EAFNOSUPPORT);
        if (fd >= 0)
            close(fd);
    }
    return can;
}

static void test_holder_matrix(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        bool is_free;
        bool v6;
    } rows[] = {
        {NULL, true, false},
        {"v4", false, false},
        {"any4", false, false},
        {"v6", false, true},
        {"any6", false, true},
        {"dual", false, true},
        {"other4", false, false},
        {"bound", false, false},
        {"time-wait", true, false},
        {"established", true, false},
        // Whoever only binds, with SO_REUSEADDR, cannot be seen, and does not keep a service from listening either:
        // this is how a port is held (the last row is our own hold).
        {"bound-reuse", true, false},
        {"hold", true, false},
    };
    long good = 0, all = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].v6 && !have_v6())
            continue;
        all++;
        uint16_t port = some_port();
        holder h = {0};
        ec_port_hold own = {-1, -1};
        ec_err err = {0};
        bool fixture = rows[i].kind && strcmp(rows[i].kind, "hold") != 0;
        if (fixture)
            assert_true(hold_as(&h, rows[i].kind, port));
        else if (rows[i].kind)
            assert_true(ec_port_hold_take(&own, port, &err));
        bool verdict = ec_port_check(port, &err), truth = services_can_start(port);
        bool right = verdict == rows[i].is_free && (verdict ? truth : strcmp(err.code, "EADDRINUSE") == 0);
        if (!right)
            printf("# wrong: %s: %s, services %s start: %s\n", rows[i].kind ? rows[i].kind : "nobody",
                   verdict ? "free" : "taken", truth ? "can" : "cannot", err.message);
        good += right;
        if (fixture)
            let_go(&h);
        ec_port_hold_release(&own);
    }
    bar("R26", good, all);
}

static void test_check_names_the_address(void **state)
{
    (void)state;
    ec_err err;
    char text[80];
    uint16_t port = some_port();
    int fd = serve(false, false, true, false, port);
    assert_false(ec_port_check(port, &err));
    snprintf(text, sizeof text, "listen on 127.0.0.1:%u: address already in use", port);
    assert_string_equal(err.message, text);
    close(fd);
    assert_true(becomes_free(port));
    assert_true(ec_port_check(port, NULL)); // leaves nothing behind
    if (!have_v6())
        return;
    fd = serve(true, false, true, false, port);
    assert_false(ec_port_check(port, &err));
    snprintf(text, sizeof text, "listen on [::1]:%u: address already in use", port);
    assert_string_equal(err.message, text);
    close(fd);
}

// Many starts look at the same ports at the same moment, and others read in /proc which sockets they have.
static void test_checks_do_not_disturb_each_other(void **state)
{
    (void)state;
    enum { LOOKERS = 3, READERS = 2, LOOKS = 3000 };
    uint16_t port = some_port();
    assert_true(becomes_free(port));
    pid_t lookers[LOOKERS], readers[READERS], self = getpid();
    fflush(stdout);
    for (int i = 0; i < LOOKERS; i++) {
        lookers[i] = fork();
        if (lookers[i] == 0) {
            int taken = 0;
            for (int n = 0; n < LOOKS; n++)
                taken += !ec_port_check(port, NULL);
            _exit(taken > 0);
        }
    }
    for (int i = 0; i < READERS; i++) {
        readers[i] = fork();
        for (unsigned n = 0; readers[i] == 0 && getppid() == self; n++) {
            char path[64], to[64];
            snprintf(path, sizeof path, "/proc/%d/fd/%u", lookers[n % LOOKERS], n / LOOKERS % 8);
            if (readlink(path, to, sizeof to) < 0)
                errno = 0;
        }
    }
    int taken = 0;
    for (int i = 0; i < LOOKERS; i++)
        taken += reap(lookers[i]) != 0;
    for (int i = 0; i < READERS; i++) {
        kill(readers[i], SIGKILL);
        reap(readers[i]);
    }
    assert_int_equal(taken, 0);
}

// Who has a port that nobody listens on.
static void test_sockets_of_every_state(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        int tcp_state;
    } rows[] = {{"v4", EC_TCP_LISTEN},
                {"bound", EC_TCP_CLOSE},
                {"time-wait", EC_TCP_TIME_WAIT},
                {"established", EC_TCP_ESTABLISHED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint16_t port = some_port();
        holder h = {0};
        ec_listener *list = NULL;
        size_t count = 0, found = 0;
        assert_true(hold_as(&h, rows[i].kind, port));
        if (!ec_port_sockets(&list, &count, port))
            skip();
        for (size_t n = 0; n < count; n++) {
            assert_int_equal(list[n].port, port);
            found += list[n].state == rows[i].tcp_state;
        }
        // Kernels before 6.8 do not list what is only bound.
        if (rows[i].tcp_state != EC_TCP_CLOSE || count > 0)
            assert_int_equal(found, 1);
        free(list);
        let_go(&h);
    }
}

// A machine whose IPv6 is switched off.
static void test_without_v6(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        // A new network namespace has no loopback address of IPv6 until its interface is up.
        if (unshare(CLONE_NEWNET) != 0)
            _exit(3);
        int all = open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_WRONLY | O_CLOEXEC);
        if (all >= 0 && write(all, "1", 1) != 1)
            _exit(4);
        ec_port_hold hold;
        ec_err err = {0};
        bool ok = ec_port_check(4000, &err) && ec_port_hold_take(&hold, 4000, &err);
        if (!ok)
            printf("# %s\n", err.message);
        _exit(ok && hold.fd4 >= 0 ? 0 : 1);
    }
    int status = reap(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        skip();
    assert_int_equal(status, 0);
}

static void test_hold_where_v6_is_taken(void **state)
{
    (void)state;
    if (!have_v6())
        skip();
    ec_port_hold hold;
    ec_err err;
    uint16_t port = some_port();
    int fd = serve(true, false, true, false, port);
    assert_false(ec_port_hold_take(&hold, port, &err));
    assert_string_equal(err.code, "EADDRINUSE");
    assert_int_equal(hold.fd4, -1); // and nothing is kept
    close(fd);
}

static const ec_listener *find(const ec_listener *list, size_t count, uint16_t port, bool v6)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].port == port && list[i].v6 == v6)
            return &list[i];
    return NULL;
}

// More than one netlink message holds.
static void test_many_listeners(void **state)
{
    (void)state;
    enum { MANY = 600 };
    int fds[MANY], found = 0;
    for (int i = 0; i < MANY; i++) {
        fds[i] = serve(false, false, true, false, 0);
        assert_true(fds[i] >= 0);
    }
    ec_listener *list;
    size_t count;
    ec_err err;
    assert_true(ec_port_listeners(&list, &count, &err));
    for (int i = 0; i < MANY; i++)
        found += find(list, count, port_of(fds[i]), false) != NULL;
    assert_int_equal(found, MANY);
    free(list);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holder_matrix),
        cmocka_unit_test(test_check_names_the_address),
        cmocka_unit_test(test_without_v6),
        cmocka_unit_test(test_hold_where_v6_is_taken),
        cmocka_unit_test(test_many_listeners),
        cmocka_unit_test(test_checks_do_not_disturb_each_other),
        cmocka_unit_test(test_sockets_of_every_state),
    };
    return cmocka_run_group_tests_name("holders", tests, NULL, NULL);
}
