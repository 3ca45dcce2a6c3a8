// Ports: who listens, what is free (R26), and that a held port stays free for its service and for nobody else.
#include "support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include "envctl/port.h"

// ---- helpers ----

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
    address a;
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

// ---- parsing ----

#define TAIL " 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0\n"

static void test_parse(void **state)
{
    (void)state;
    static const char text[] =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A" TAIL  //
        "   1: 00000000:0016 00000000:0000 0A" TAIL  //
        "   2: 0100007F:1F91 0100007F:C350 01" TAIL  // a connection
        " 123: 0200007F:FFFF 00000000:0000 0a" TAIL  //
        "   4: 0100007F:1F90 00000000:0000"          // cut
        "\n"                                         //
        "   5: 0100007F 00000000:0000 0A" TAIL       // no port
        "   6: 0100007F:10000 00000000:0000 0A" TAIL // no port either
        "   7: 0100007:1F90 00000000:0000 0A" TAIL   //
        "   8: 0100007X:1F90 00000000:0000 0A" TAIL  //
        "   9: 0100007F: 00000000:0000 0A" TAIL      //
        "garbage\n\n\n"
        "  10: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 99"; // without its newline
    ec_listener *list = NULL;
    size_t count = 0;
    ec_port_parse_proc(&list, &count, text, sizeof text - 1, false);
    static const struct {
        const char *addr;
        uint16_t port;
        uint32_t uid;
        uint64_t inode;
    } rows[] = {{"127.0.0.1", 8080, 1000, 4711},
                {"0.0.0.0", 22, 1000, 4711},
                {"127.0.0.2", 65535, 1000, 4711},
                {"127.0.0.1", 80, 0, 99}};
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(list[i].addr, rows[i].addr);
        assert_int_equal(list[i].port, rows[i].port);
        assert_int_equal(list[i].uid, rows[i].uid);
        assert_int_equal(list[i].inode, rows[i].inode);
        assert_false(list[i].v6);
    }
    free(list);
}

static void test_parse_v6(void **state)
{
    (void)state;
    static const char text[] =
        "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A" TAIL
        "   1: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A" TAIL
        "   2: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A" TAIL
        "   3: 0100007F:1F90 00000000:0000 0A" TAIL; // not of this family
    ec_listener *list = NULL;
    size_t count = 0;
    ec_port_parse_proc(&list, &count, text, sizeof text - 1, true);
    assert_int_equal(count, 3);
    assert_string_equal(list[0].addr, "::1");
    assert_string_equal(list[1].addr, "::");
    assert_string_equal(list[2].addr, "::ffff:127.0.0.1");
    assert_true(list[0].v6);
    ec_port_parse_proc(&list, &count, "", 0, true);
    ec_port_parse_proc(&list, &count, NULL, 0, true);
    assert_int_equal(count, 3);
    free(list);
}

// ---- listeners ----

static const ec_listener *find(const ec_listener *list, size_t count, uint16_t port, bool v6)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].port == port && list[i].v6 == v6)
            return &list[i];
    return NULL;
}

static void assert_listed(const ec_listener *list, size_t count, int fd, bool v6, const char *addr)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    const ec_listener *l = find(list, count, port_of(fd), v6);
    assert_non_null(l);
    assert_string_equal(l->addr, addr);
    assert_int_equal(l->inode, st.st_ino);
    assert_int_equal(l->uid, geteuid());
}

static void read_table(ec_listener **list, size_t *count, const char *path, bool v6)
{
    size_t size = 0;
    char *text = get_file(path, &size);
    assert_non_null(text);
    ec_port_parse_proc(list, count, text, size, v6);
    free(text);
}

// Both sources name the same sockets in the same words.
static void test_listeners(void **state)
{
    (void)state;
    int v4 = serve(false, false, true, false, 0), any4 = serve(false, true, true, false, 0);
    int v6 = serve(true, false, true, false, 0), any6 = serve(true, true, true, true, 0);
    assert_true(v4 >= 0 && any4 >= 0);
    ec_listener *list[2] = {NULL, NULL};
    size_t count[2] = {0, 0};
    ec_err err;
    assert_true(ec_port_listeners(&list[0], &count[0], &err));
    read_table(&list[1], &count[1], "/proc/net/tcp", false);
    if (v6 >= 0)
        read_table(&list[1], &count[1], "/proc/net/tcp6", true);
    for (int i = 0; i < 2; i++) {
        assert_listed(list[i], count[i], v4, false, "127.0.0.1");
        assert_listed(list[i], count[i], any4, false, "0.0.0.0");
        if (v6 >= 0)
            assert_listed(list[i], count[i], v6, true, "::1");
        if (any6 >= 0)
            assert_listed(list[i], count[i], any6, true, "::");
        free(list[i]);
    }
    const uint16_t gone = port_of(v4);
    close(v4);
    close(any4);
    close(v6);
    close(any6);
    assert_true(ec_port_listeners(&list[0], &count[0], &err));
    assert_null(find(list[0], count[0], gone, false));
    free(list[0]);
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

// ---- R26 ----

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
    assert_true(ec_port_check(port, &err));
    assert_true(ec_port_check(port, NULL)); // leaves nothing behind
    if (!have_v6())
        return;
    fd = serve(true, false, true, false, port);
    assert_false(ec_port_check(port, &err));
    snprintf(text, sizeof text, "listen on [::1]:%u: address already in use", port);
    assert_string_equal(err.message, text);
    close(fd);
}

static void test_check_of_a_privileged_port(void **state)
{
    (void)state;
    char *limit = get_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", NULL);
    bool open_to_all = limit && strtol(limit, NULL, 10) <= 1;
    free(limit);
    if (geteuid() != 0 || open_to_all)
        skip();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        ec_err err = {0};
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(2);
        _exit(!ec_port_check(1, &err) && strcmp(err.code, "EACCES") == 0 ? 0 : 1);
    }
    assert_int_equal(reap(pid), 0);
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

// ---- holding ----

static void test_hold(void **state)
{
    (void)state;
    ec_port_hold hold, second;
    ec_err err;
    uint16_t port = some_port();
    assert_true(ec_port_hold_take(&hold, port, &err));
    assert_int_equal(fcntl(hold.fd4, F_GETFD), FD_CLOEXEC);
    int fd = serve(false, false, false, false, port); // somebody who does not set SO_REUSEADDR
    assert_int_equal(fd, -1);
    assert_int_equal(errno, EADDRINUSE);
    if (hold.fd6 >= 0)
        assert_int_equal(serve(true, false, false, false, port), -1);
    fd = serve(false, false, true, false, port); // the service
    assert_true(fd >= 0);
    close(fd);
    fd = serve(true, true, true, true, port);
    assert_true(fd >= 0 || errno == EAFNOSUPPORT);
    close(fd);
    assert_true(ec_port_hold_take(&second, port, &err)); // the ledger, not the hold, is between two of us
    ec_port_hold_release(&second);
    ec_port_hold_release(&hold);
    ec_port_hold_release(&hold);
    assert_int_equal(hold.fd4, -1);
    fd = serve(false, false, false, false, port);
    assert_true(fd >= 0);
    assert_false(ec_port_hold_take(&hold, port, &err));
    assert_string_equal(err.code, "EADDRINUSE");
    close(fd);
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

enum { LOW = 40000, HIGH = 40009, HELD = 40003 };

// In a network of its own, whose kernel has ten ports to give away.
static _Noreturn void ten_ports(void)
{
    static const char range[] = "40000 40009";
    ec_port_hold hold;
    ec_err err;
    uint16_t low, high;
    if (unshare(CLONE_NEWNET) != 0)
        _exit(3);
    int fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, range, sizeof range - 1) < 0)
        _exit(3);
    ec_port_ephemeral(&low, &high);
    if (low != LOW || high != HIGH || !ec_port_hold_take(&hold, HELD, &err))
        _exit(4);
    int given = 0;
    for (int i = 0; i < 20; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        address a = make_address(false, false, 0);
        if (bind(s, &a.sa, sizeof a.v4) != 0)
            continue; // none left
        if (port_of(s) == HELD)
            _exit(5);
        given++;
    }
    if (given != HIGH - LOW) // all but the held one
        _exit(6);
    _exit(serve(false, false, true, false, HELD) >= 0 ? 0 : 7);
}

static void test_the_kernel_does_not_give_a_held_port_away(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        ten_ports();
    int status = reap(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_ephemeral_range(void **state)
{
    (void)state;
    uint16_t low, high;
    ec_port_ephemeral(&low, &high);
    assert_true(low >= 1 && low <= high);
    char *text = get_file("/proc/sys/net/ipv4/ip_local_port_range", NULL);
    assert_non_null(text);
    assert_int_equal(strtol(text, NULL, 10), low);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_v6),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_many_listeners),
        cmocka_unit_test(test_holder_matrix),
        cmocka_unit_test(test_check_names_the_address),
        cmocka_unit_test(test_check_of_a_privileged_port),
        cmocka_unit_test(test_without_v6),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_hold_where_v6_is_taken),
        cmocka_unit_test(test_the_kernel_does_not_give_a_held_port_away),
        cmocka_unit_test(test_ephemeral_range),
    };
    return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
