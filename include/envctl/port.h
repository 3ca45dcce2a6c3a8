// TCP ports of this machine.
#ifndef ENVCTL_PORT_H
#define ENVCTL_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envctl/err.h"

/// One listening TCP socket.
typedef struct ec_listener {
    uint16_t port;
    bool v6;
    char addr[46];
    uint64_t inode;
    uint32_t uid;
} ec_listener;

/// All listening sockets, IPv4 and IPv6. One sock_diag dump; /proc/net/tcp{,6} where that is refused. `*list` is to be
/// freed with free(). False only when neither works.
bool ec_port_listeners(ec_listener **list, size_t *count, ec_err *err);

/// Parses /proc/net/tcp or tcp6 text and appends its listening sockets. Pure but for the allocation.
void ec_port_parse_proc(ec_listener **list, size_t *count, const char *text, size_t size, bool v6);

/// Whether a server could listen now: bind and listen, with SO_REUSEADDR, on the wildcard address of both families in
/// turn. Errors: EADDRINUSE, EACCES.
bool ec_port_check(uint16_t port, ec_err *err);

/// Sockets that hold a port without listening (see port.lua). -1 where a family is missing.
typedef struct ec_port_hold {
    int fd4, fd6;
} ec_port_hold;
bool ec_port_hold_take(ec_port_hold *hold, uint16_t port, ec_err *err);
/// Idempotent.
void ec_port_hold_release(ec_port_hold *hold);

void ec_port_ephemeral(uint16_t *low, uint16_t *high);

#endif
