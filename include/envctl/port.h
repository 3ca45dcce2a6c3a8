// TCP ports of this machine.
#ifndef ENVCTL_PORT_H
#define ENVCTL_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envctl/err.h"

/// States of TCP sockets, as the kernel counts them.
enum { EC_TCP_ESTABLISHED = 1, EC_TCP_TIME_WAIT = 6, EC_TCP_CLOSE = 7, EC_TCP_LISTEN = 10 };

/// One TCP socket, as a rule a listening one.
typedef struct ec_listener {
    uint16_t port;
    bool v6;
    uint8_t state;
    char addr[46];
    uint64_t inode;
    uint32_t uid;
} ec_listener;

/// All listening sockets, IPv4 and IPv6. One sock_diag dump; /proc/net/tcp{,6} where that is refused. `*list` is to be
/// freed with free(). False only when neither works.
bool ec_port_listeners(ec_listener **list, size_t *count, ec_err *err);

/// Every socket whose local port this is, whatever its state: for messages about a port that nobody listens on and that
/// is in use all the same. `*list` is to be freed with free(). False where sock_diag is refused.
bool ec_port_sockets(ec_listener **list, size_t *count, uint16_t port);

/// Parses /proc/net/tcp or tcp6 text and appends its listening sockets. Pure but for the allocation.
void ec_port_parse_proc(ec_listener **list, size_t *count, const char *text, size_t size, bool v6);

/// Whether a server could listen now: bind, with SO_REUSEADDR, on the wildcard address of both families in turn. It
/// disturbs nobody who does the same. Errors: EADDRINUSE, EACCES; all others say that the look itself failed (EMFILE
/// …).
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
