// R27: giving away five ports on a busy machine (200 listeners, 3,000 connections), in units of one sock_diag dump. It
// only prints; the ratio is what may be compared between machines.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "envctl/port.h"

enum { LISTENERS = 200, CONNECTIONS = 3000, PORTS = 5, REPEATS = 400, BASE = 20000, LIMIT = 20 };

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_ports: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int serve(struct sockaddr_in *a)
{
    socklen_t size = sizeof *a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)a, size) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)a, &size) != 0)
        die("listen");
    return fd;
}

static void make_busy(void)
{
    struct rlimit r;
    struct sockaddr_in a = {0};
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    int server = -1;
    for (int i = 0; i < LISTENERS; i++)
        server = serve(&a);
    for (int i = 0; i < CONNECTIONS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
            accept4(server, NULL, NULL, SOCK_CLOEXEC) < 0)
            die("connect");
    }
}

static double dump(void)
{
    ec_listener *list;
    size_t count;
    ec_err err;
    double begin = now_us();
    if (!ec_port_listeners(&list, &count, &err))
        die(err.message);
    double us = now_us() - begin;
    free(list);
    return us;
}

// What the planner does: one dump, then the first five ports that nobody listens on and that can be listened on.
static double allocate(void)
{
    static unsigned char taken[65536];
    ec_listener *list;
    size_t count;
    ec_err err;
    double begin = now_us();
    memset(taken, 0, sizeof taken);
    if (!ec_port_listeners(&list, &count, &err))
        die(err.message);
    for (size_t i = 0; i < count; i++)
        taken[list[i].port] = 1;
    free(list);
    int found = 0;
    for (int port = BASE; found < PORTS; port++)
        found += !taken[port] && ec_port_check((uint16_t)port, NULL);
    return now_us() - begin;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double (*fn)(void))
{
    static double us[REPEATS];
    for (int i = 0; i < REPEATS; i++)
        us[i] = fn();
    qsort(us, REPEATS, sizeof *us, by_value);
    return us[REPEATS / 2];
}

int main(void)
{
    make_busy();
    double one = median(dump), five = median(allocate), ratio = five / one;
    printf("dump %.0f us, five ports %.0f us, ratio %.1f (at most %d)\n", one, five, ratio, LIMIT);
    printf("bar R27 %s %.1f/%d\n", ratio <= LIMIT ? "PASS" : "FAIL", ratio, LIMIT);
    return ratio <= LIMIT ? 0 : 1;
}
