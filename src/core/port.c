// See envctl/port.h.
#include "envctl/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "envctl/buf.h"
#include "envctl/mem.h"

static void add_listener(ec_listener **list, size_t *count, const ec_listener *l)
{
    if ((*count & (*count - 1)) == 0)
        *list = ec_xrealloc(*list, (*count ? *count * 2 : 1) * sizeof **list);
    (*list)[(*count)++] = *l;
}

static void add_diag(ec_listener **list, size_t *count, const struct inet_diag_msg *m)
{
    ec_listener l = {.port = ntohs(m->id.idiag_sport),
                     .v6 = m->idiag_family == AF_INET6,
                     .state = m->idiag_state,
                     .inode = m->idiag_inode,
                     .uid = m->idiag_uid};
    inet_ntop(m->idiag_family, m->id.idiag_src, l.addr, sizeof l.addr);
    add_listener(list, count, &l);
}

// `port` 0: of all of them.
static bool dump_family(int fd, int family, uint32_t states, uint16_t port, ec_listener **list, size_t *count)
{
    struct {
        struct nlmsghdr h;
        struct inet_diag_req_v2 r;
    } request = {
        .h = {.nlmsg_len = sizeof request,
              .nlmsg_type = SOCK_DIAG_BY_FAMILY,
              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .r = {.sdiag_family = (uint8_t)family,
              .sdiag_protocol = IPPROTO_TCP,
              .idiag_states = states,
              .id.idiag_sport = htons(port)},
    };
    if (send(fd, &request, sizeof request, 0) != (ssize_t)sizeof request)
        return false;
    _Alignas(struct nlmsghdr) char block[32768];
    for (;;) {
        ssize_t n = recv(fd, block, sizeof block, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        int left = (int)n;
        for (struct nlmsghdr *h = (struct nlmsghdr *)block; NLMSG_OK(h, (unsigned)left); h = NLMSG_NEXT(h, left)) {
            if (h->nlmsg_type == NLMSG_DONE)
                return true;
            if (h->nlmsg_type == NLMSG_ERROR)
                return false;
            const struct inet_diag_msg *m = NLMSG_DATA(h);
            // The kernel does not apply the filter to all kinds.
            if (port == 0 || ntohs(m->id.idiag_sport) == port)
                add_diag(list, count, m);
        }
    }
}

static bool dump(uint32_t states, uint16_t port, ec_listener **list, size_t *count)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return false;
    bool ok = dump_family(fd, AF_INET, states, port, list, count);
    // A kernel without IPv6 answers with an error; its dump is then empty.
    if (ok)
        dump_family(fd, AF_INET6, states, port, list, count);
    close(fd);
    return ok;
}

// Words of a line of /proc/net/tcp that are looked at: "1: 0100007F:1F90 00000000:0000 0A … uid timeout inode …".
enum { WORD_LOCAL = 1, WORD_STATE = 3, WORD_UID = 7, WORD_INODE = 9, WORDS };

// "0100007F:1F90": the address as the kernel has it in memory, in 32-bit words, then the port.
static bool parse_local(ec_listener *l, char *word)
{
    uint32_t words[4] = {0};
    size_t count = l->v6 ? 4 : 1;
    char *colon = strchr(word, ':'), *end;
    if (!colon || (size_t)(colon - word) != count * 8)
        return false;
    for (size_t i = 0; i < count; i++) {
        char hex[9] = {0};
        memcpy(hex, word + i * 8, 8);
        words[i] = (uint32_t)strtoul(hex, &end, 16);
        if (*end)
            return false;
    }
    unsigned long port = strtoul(colon + 1, &end, 16);
    l->port = (uint16_t)port;
    return end > colon + 1 && !*end && port <= 65535 &&
           inet_ntop(l->v6 ? AF_INET6 : AF_INET, words, l->addr, sizeof l->addr);
}

// Whether the line is a listening socket.
static bool parse_line(ec_listener *l, char *line)
{
    char *words[WORDS], *rest = NULL;
    for (int i = 0; i < WORDS; i++) {
        words[i] = strtok_r(i == 0 ? line : NULL, " \t", &rest);
        if (!words[i])
            return false;
    }
    l->uid = (uint32_t)strtoul(words[WORD_UID], NULL, 10);
    l->inode = strtoull(words[WORD_INODE], NULL, 10);
    return strtoul(words[WORD_STATE], NULL, 16) == EC_TCP_LISTEN && parse_local(l, words[WORD_LOCAL]);
}

void ec_port_parse_proc(ec_listener **list, size_t *count, const char *text, size_t size, bool v6)
{
    for (size_t i = 0; i < size;) {
        const char *end = memchr(text + i, '\n', size - i);
        size_t n = end ? (size_t)(end - text) - i : size - i;
        char line[512];
        size_t copied = n < sizeof line ? n : sizeof line - 1;
        memcpy(line, text + i, copied);
        line[copied] = '\0';
        ec_listener l = {.v6 = v6, .state = EC_TCP_LISTEN};
        if (parse_line(&l, line))
            add_listener(list, count, &l);
        i += n + 1;
    }
}

static bool read_proc_net(ec_listener **list, size_t *count, const char *path, bool v6)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    eb_buf b = {0};
    ssize_t n;
    while ((n = read(fd, eb_reserve(&b, 65536), 65536)) > 0)
        b.size += (size_t)n;
    close(fd);
    ec_port_parse_proc(list, count, b.data, b.size, v6);
    eb_free(&b);
    return true;
}

bool ec_port_listeners(ec_listener **list, size_t *count, ec_err *err)
{
    *list = NULL;
    *count = 0;
    if (dump(1u << EC_TCP_LISTEN, 0, list, count))
        return true;
    *count = 0;
    free(*list);
    *list = NULL;
    bool ok = read_proc_net(list, count, "/proc/net/tcp", false);
    read_proc_net(list, count, "/proc/net/tcp6", true);
    return ok || ec_err_set(err, "ENOSYS", "listening ports: neither sock_diag nor /proc/net/tcp can be read");
}

bool ec_port_sockets(ec_listener **list, size_t *count, uint16_t port)
{
    *list = NULL;
    *count = 0;
    // Every state, also the newest: sockets that are only bound are listed by kernels since 6.8.
    if (dump(UINT32_MAX, port, list, count))
        return true;
    free(*list);
    *list = NULL;
    *count = 0;
    return false;
}

// A bound socket, or -1 with errno.
static int bound_socket(int family, bool any, uint16_t port)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {.sa.sa_family = (sa_family_t)family};
    socklen_t size = sizeof a.v4;
    if (family == AF_INET) {
        a.v4.sin_port = htons(port);
        a.v4.sin_addr.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK);
    } else {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        a.v6.sin6_port = htons(port);
        a.v6.sin6_addr = any ? in6addr_any : in6addr_loopback;
        size = sizeof a.v6;
    }
    if (bind(fd, &a.sa, size) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static bool missing_family(int why)
{
    return why == EAFNOSUPPORT || why == EADDRNOTAVAIL || why == EPROTONOSUPPORT;
}

bool ec_port_check(uint16_t port, ec_err *err)
{
    static const struct {
        int family;
        const char *loopback, *wildcard;
    } tries[] = {{AF_INET, "127.0.0.1", "0.0.0.0"}, {AF_INET6, "[::1]", "[::]"}};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        // The wildcard address collides with whatever holds the port on any address; loopback is asked to say where.
        // Bound is enough: what listens, and what is bound without SO_REUSEADDR, refuses it. A socket that listened
        // would be in the way itself: of others that look, of a service that starts just now, and even of the next try
        // here, for the close of a descriptor that somebody reads in /proc at that moment takes effect only when the
        // reader is done.
        int fd = bound_socket(tries[i].family, true, port), why = errno;
        if (fd >= 0) {
            close(fd);
        } else if (!missing_family(why)) {
            fd = bound_socket(tries[i].family, false, port);
            const char *where = fd < 0 ? tries[i].loopback : tries[i].wildcard;
            if (fd >= 0)
                close(fd);
            return ec_err_errno(err, why, "listen on %s:%u", where, port);
        }
    }
    return true;
}

bool ec_port_hold_take(ec_port_hold *hold, uint16_t port, ec_err *err)
{
    hold->fd6 = -1;
    hold->fd4 = bound_socket(AF_INET, false, port);
    if (hold->fd4 < 0)
        return ec_err_errno(err, errno, "hold 127.0.0.1:%u", port);
    hold->fd6 = bound_socket(AF_INET6, false, port);
    if (hold->fd6 < 0 && !missing_family(errno)) {
        int why = errno;
        ec_port_hold_release(hold);
        return ec_err_errno(err, why, "hold [::1]:%u", port);
    }
    return true;
}

void ec_port_hold_release(ec_port_hold *hold)
{
    if (hold->fd4 >= 0)
        close(hold->fd4);
    if (hold->fd6 >= 0)
        close(hold->fd6);
    hold->fd4 = hold->fd6 = -1;
}

void ec_port_ephemeral(uint16_t *low, uint16_t *high)
{
    *low = 32768; // the kernel's default
    *high = 60999;
    char text[64];
    int fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    char *rest;
    unsigned long a = strtoul(text, &rest, 10), b = strtoul(rest, NULL, 10);
    if (a >= 1 && a <= b && b <= 65535) {
        *low = (uint16_t)a;
        *high = (uint16_t)b;
    }
}
