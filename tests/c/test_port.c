// Ports: who listens, whether we could, and holding one.
#include "support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "envctl/port.h"

#include <net/if.h>

typedef union address {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address;

static address make_address(int family, const char *host, uint16_t port)
{
    address a = {.sa.sa_family = (sa_family_t)family};
    if (family == AF_INET) {
        a.v4.sin_port = htons(port);
        assert_int_equal(inet_pton(AF_INET, host, &a.v4.sin_addr), 1);
    } else {
        a.v6.sin6_port = htons(port);
        assert_int_equal(inet_pton(AF_INET6, host, &a.v6.sin6_addr), 1);
    }
    return a;
}

enum { REUSE = 1, LISTEN = 2, V6ONLY = 4, DUAL = 8 };

// A socket bound (and listening) as asked; -1 with errno.
static int take(int family, const char *host, uint16_t port, int how)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, zero = 0;
    assert_true(fd >= 0);
    if (how & REUSE)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (how & (V6ONLY | DUAL))
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, how & V6ONLY ? &one : &zero, sizeof one);
    address a = make_address(family, host, port);
    socklen_t size = family == AF_INET ? sizeof a.v4 : sizeof a.v6;
    if (bind(fd, &a.sa, size) != 0 || ((how & LISTEN) && listen(fd, 16) != 0)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    address a = {0};
    socklen_t size = sizeof a;
    assert_int_equal(getsockname(fd, &a.sa, &size), 0);
    return ntohs(a.sa.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
}

// In a network namespace of its own (root) the ports are all ours; elsewhere a port that is free just now.
static bool own_network;

static uint16_t free_port(void)
{
    static uint16_t next = 20000;
    for (;;) {
        uint16_t port = next++;
        if (own_network || ec_port_check(port, NULL))
            return port;
    }
}

static void enter_own_network(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0)
        return;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    own_network = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    int v6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    close(v6);
}

static bool have_v6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    address a = make_address(AF_INET6, "::1", 0);
    bool ok = bind(fd, &a.sa, sizeof a.v6) == 0;
    close(fd);
    return ok;
}

static bool is_listed(const ec_listener *list, size_t count, uint16_t port)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].port == port)
            return true;
    return false;
}

static bool listed(uint16_t port)
{
    ec_listener *list = NULL;
    size_t count = 0;
    assert_true(ec_port_listeners(&list, &count, NULL));
    bool found = is_listed(list, count, port);
    free(list);
    return found;
}

// ---- R26 ----

typedef struct row {
    const char *name;
    int family;
    const char *host;
    int how;
    bool listener, free; // what the dump must list, what the check must say
} row;

static const row rows[] = {
    {"127.0.0.1", AF_INET, "127.0.0.1", REUSE | LISTEN, true, false},
    {"127.0.0.1 without SO_REUSEADDR", AF_INET, "127.0.0.1", LISTEN, true, false},
    {"127.0.0.2", AF_INET, "127.0.0.2", REUSE | LISTEN, true, false},
    {"0.0.0.0", AF_INET, "0.0.0.0", REUSE | LISTEN, true, false},
    {"::1", AF_INET6, "::1", REUSE | LISTEN, true, false},
    {":: for IPv6 only", AF_INET6, "::", REUSE | LISTEN | V6ONLY, true, false},
    {":: for both", AF_INET6, "::", REUSE | LISTEN | DUAL, true, false},
    {"bound, not listening", AF_INET, "127.0.0.1", 0, false, false},
    {"bound with SO_REUSEADDR, not listening", AF_INET, "127.0.0.1", REUSE, false, true}, // for the ledger to know
    {"nobody", 0, NULL, 0, false, true},
};

// A connection that the server's side closed first: TIME_WAIT on the port.
static void leave_time_wait(uint16_t port)
{
    int server = take(AF_INET, "127.0.0.1", port, REUSE | LISTEN);
    assert_true(server >= 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address a = make_address(AF_INET, "127.0.0.1", port);
    assert_int_equal(connect(client, &a.sa, sizeof a.v4), 0);
    int peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    close(peer);
    char byte;
    assert_int_equal(read(client, &byte, 1), 0);
    close(client);
    close(server);
    // A bind without SO_REUSEADDR shows that TIME_WAIT is really there.
    int strict = take(AF_INET, "127.0.0.1", port, 0);
    assert_int_equal(strict, -1);
    assert_int_equal(errno, EADDRINUSE);
}

static bool verdict(const char *name, uint16_t port, bool listener, bool free_now)
{
    ec_err err = {0};
    bool in_list = listed(port), could = ec_port_check(port, &err);
    if (in_list != listener || could != free_now)
        printf("# %s: listed %d, free %d %s\n", name, in_list, could, err.message);
    if (!could && strcmp(err.code, "EADDRINUSE") != 0)
        printf("# %s: %s\n", name, err.code);
    return in_list == listener && could == free_now && (could || strcmp(err.code, "EADDRINUSE") == 0);
}

static void test_holder_matrix(void **state)
{
    (void)state;
    long good = 0, all = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = &rows[i];
        if (r->family == AF_INET6 && !have_v6())
            continue;
        uint16_t port = free_port();
        int fd = r->family ? take(r->family, r->host, port, r->how) : -1;
        if (r->family)
            assert_true(fd >= 0);
        all++;
        good += verdict(r->name, port, r->listener, r->free);
        if (fd >= 0)
            close(fd);
        // And afterwards it is free, once nobody reads in /proc any more what the descriptor led to.
        for (int n = 0; n < DEADLINE_MS && !ec_port_check(port, NULL); n++)
            usleep(1000);
        assert_true(verdict(r->name, port, false, true));
    }
    uint16_t port = free_port();
    leave_time_wait(port);
    all++;
    good += verdict("TIME_WAIT", port, false, true);
    // A connection that started from the port: nobody listens, and a server could not either.
    int server = take(AF_INET, "127.0.0.1", free_port(), REUSE | LISTEN);
    port = free_port();
    int client = take(AF_INET, "127.0.0.1", port, 0);
    address a = make_address(AF_INET, "127.0.0.1", port_of(server));
    assert_int_equal(connect(client, &a.sa, sizeof a.v4), 0);
    all++;
    good += verdict("an outgoing connection", port, false, false);
    close(client);
    close(server);
    bar("R26", good, all);
}

static void test_privileged_ports(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        ec_err err = {0};
        if (setuid(65534) != 0)
            _exit(2);
        char *text = get_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", NULL);
        if (text && strtol(text, NULL, 10) < 3)
            _exit(77);
        free(text);
        bool ok = ec_port_check(2, &err);
        _exit(!ok && strcmp(err.code, "EACCES") == 0 && strstr(err.message, "127.0.0.1:2: ") ? 0 : 1);
    }
    int status = reap(pid);
    assert_true(status == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 77));
}

// ---- the dump against the text ----

static int by_all(const void *a, const void *b)
{
    const ec_listener *x = a, *y = b;
    if (x->port != y->port)
        return x->port < y->port ? -1 : 1;
    if (x->v6 != y->v6)
        return x->v6 ? 1 : -1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void test_dump_equals_proc_net(void **state)
{
    (void)state;
    if (!own_network)
        skip(); // others' sockets come and go between the two readings
    enum { SOCKETS = 300 };
    static const struct {
        int family;
        const char *host;
    } hosts[] = {
        {AF_INET, "127.0.0.1"}, {AF_INET, "0.0.0.0"}, {AF_INET, "127.1.2.3"}, {AF_INET6, "::1"}, {AF_INET6, "::"}};
    int fds[SOCKETS];
    for (int i = 0; i < SOCKETS; i++) {
        int kind = have_v6() ? i % 5 : i % 3;
        fds[i] = take(hosts[kind].family, hosts[kind].host, free_port(),
                      REUSE | LISTEN | (hosts[kind].family == AF_INET6 ? V6ONLY : 0));
        assert_true(fds[i] >= 0);
    }
    ec_listener *dump = NULL, *text = NULL;
    size_t dumped = 0, parsed = 0, size;
    assert_true(ec_port_listeners(&dump, &dumped, NULL));
    char *tcp = get_file("/proc/net/tcp", &size);
    assert_non_null(tcp);
    ec_port_parse_proc(&text, &parsed, tcp, size, false);
    free(tcp);
    if ((tcp = get_file("/proc/net/tcp6", &size)))
        ec_port_parse_proc(&text, &parsed, tcp, size, true);
    free(tcp);
    assert_int_equal(dumped, SOCKETS);
    assert_int_equal(parsed, SOCKETS);
    qsort(dump, dumped, sizeof *dump, by_all);
    qsort(text, parsed, sizeof *text, by_all);
    for (size_t i = 0; i < dumped; i++) {
        struct stat st;
        assert_int_equal(dump[i].port, text[i].port);
        assert_int_equal(dump[i].v6, text[i].v6);
        assert_true(dump[i].inode == text[i].inode);
        assert_int_equal(dump[i].uid, text[i].uid);
        assert_string_equal(dump[i].addr, text[i].addr);
        assert_int_equal(fstat(fds[i], &st), 0); // ports went up, so the order is the same
        assert_true(dump[i].inode == st.st_ino);
        int kind = have_v6() ? (int)i % 5 : (int)i % 3;
        assert_string_equal(dump[i].addr, hosts[kind].host);
        assert_int_equal(dump[i].uid, geteuid());
    }
    free(dump);
    free(text);
    for (int i = 0; i < SOCKETS; i++)
        close(fds[i]);
}

static void test_parse_proc(void **state)
{
    (void)state;
    static const char v4[] =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 123456 1 0000 100\n"
        "   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
        "18446744073709551615 1\n"
        "   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 7 1\n"
        "   3: 0100007F:1F91 00000000:0000 06 00000000:00000000 03:00001234 00000000     0        0 0 3\n"
        "nonsense\n\n"
        "   4: ZZZZ:1 00000000:0000 0A 0:0 0:0 0 0 0 5\n"
        "   5: 0100007F:FFFFF 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 9 1\n"
        "   6: 0100007F:FFFF 00000000:0000 0A 00000000:00000000 00:00000000 00000000     5        0 10 1"; // no newline
    ec_listener *list = NULL;
    size_t count = 0;
    ec_port_parse_proc(&list, &count, v4, sizeof v4 - 1, false);
    assert_int_equal(count, 3);
    assert_int_equal(list[0].port, 8080);
    assert_string_equal(list[0].addr, "127.0.0.1");
    assert_int_equal(list[0].uid, 1000);
    assert_true(list[0].inode == 123456);
    assert_false(list[0].v6);
    assert_int_equal(list[1].port, 80);
    assert_string_equal(list[1].addr, "0.0.0.0");
    assert_true(list[1].inode == UINT64_MAX);
    assert_int_equal(list[2].port, 65535);
    static const char v6[] =
        "  sl  local_address                         remote_address                        st tx_queue\n"
        "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 "
        "00:00000000 00000000     0        0 42 1\n"
        "   1: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 "
        "00:00000000 00000000     0        0 43 1\n"
        "   2: 0000000000000000FFFF00000100007F:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 "
        "00:00000000 00000000     0        0 44 1\n";
    ec_port_parse_proc(&list, &count, v6, sizeof v6 - 1, true); // appends
    assert_int_equal(count, 6);
    assert_string_equal(list[3].addr, "::1");
    assert_true(list[3].v6);
    assert_string_equal(list[4].addr, "::");
    assert_string_equal(list[5].addr, "::ffff:127.0.0.1");
    free(list);
    list = NULL;
    count = 0;
    ec_port_parse_proc(&list, &count, NULL, 0, false);
    assert_int_equal(count, 0);
    assert_null(list);
}

static void test_cut_text(void **state)
{
    (void)state;
    static const char text[] =
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 123456 1 0\n"
        "   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0\n";
    for (size_t n = 0; n < sizeof text; n++) {
        char *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, text, n);
        ec_listener *list = NULL;
        size_t count = 0;
        ec_port_parse_proc(&list, &count, cut, n, n % 2);
        assert_true(count <= 2);
        free(list);
        free(cut);
    }
}

// ---- holding ----

static void test_hold(void **state)
{
    (void)state;
    uint16_t port = free_port();
    ec_port_hold hold;
    ec_err err;
    assert_true(ec_port_hold_take(&hold, port, &err));
    assert_true(hold.fd4 >= 0);
    assert_int_equal(hold.fd6 >= 0, have_v6());
    assert_true(fcntl(hold.fd4, F_GETFD) & FD_CLOEXEC);
    assert_false(listed(port));
    // A server that sets SO_REUSEADDR listens over the hold; one that does not is kept out.
    assert_int_equal(take(AF_INET, "127.0.0.1", port, LISTEN), -1);
    assert_int_equal(errno, EADDRINUSE);
    int server = take(AF_INET, "127.0.0.1", port, REUSE | LISTEN);
    assert_true(server >= 0);
    assert_true(listed(port));
    // It answers, and not the hold.
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address a = make_address(AF_INET, "127.0.0.1", port);
    assert_int_equal(connect(client, &a.sa, sizeof a.v4), 0);
    struct pollfd p = {.fd = server, .events = POLLIN};
    assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
    close(client);
    // Releasing does not disturb it.
    ec_port_hold_release(&hold);
    assert_int_equal(hold.fd4, -1);
    ec_port_hold_release(&hold);
    assert_true(listed(port));
    ec_port_hold second;
    assert_false(ec_port_hold_take(&second, port, &err));
    assert_string_equal(err.code, "EADDRINUSE");
    close(server);
    uint16_t other = free_port();
    int six = have_v6() ? take(AF_INET6, "::1", other, REUSE | LISTEN) : -1;
    if (six >= 0) { // only the second half is taken: nothing of the first stays
        assert_false(ec_port_hold_take(&second, other, &err));
        assert_non_null(strstr(err.message, "[::1]"));
        assert_int_equal(second.fd4, -1);
        int four = take(AF_INET, "127.0.0.1", other, LISTEN);
        assert_true(four >= 0);
        close(four);
        close(six);
    }
}

// The kernel does not hand out a port that is held.
static void test_held_ports_are_not_handed_out(void **state)
{
    (void)state;
    if (!own_network)
        skip();
    put_text("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009\n");
    uint16_t low, high;
    ec_port_ephemeral(&low, &high);
    assert_int_equal(low, 40000);
    assert_int_equal(high, 40009);
    ec_port_hold hold;
    assert_true(ec_port_hold_take(&hold, 40004, NULL));
    int fds[9], n = 0;
    for (; n < 9; n++) {
        fds[n] = take(AF_INET, "127.0.0.1", 0, 0);
        if (fds[n] < 0)
            break;
        assert_int_not_equal(port_of(fds[n]), 40004);
    }
    assert_int_equal(n, 9);
    assert_int_equal(take(AF_INET, "127.0.0.1", 0, 0), -1);
    while (n > 0)
        close(fds[--n]);
    ec_port_hold_release(&hold);
}

int main(void)
{
    enter_own_network();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holder_matrix),
        cmocka_unit_test(test_privileged_ports),
        cmocka_unit_test(test_dump_equals_proc_net),
        cmocka_unit_test(test_parse_proc),
        cmocka_unit_test(test_cut_text),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_held_ports_are_not_handed_out),
    };
    return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
