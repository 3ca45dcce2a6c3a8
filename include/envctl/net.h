// Loopback networking: probes, and the keeper's unix socket.
#ifndef ENVCTL_NET_H
#define ENVCTL_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "envctl/err.h"
#include "envctl/loop.h"

typedef struct ec_http ec_http;
typedef struct ec_conn ec_conn;
typedef struct ec_server ec_server;

/// A TCP connection and, unless `path` is NULL, one HTTP/1.1 GET over it. `fn` is called once, from the loop: status 0
/// for a bare connection that worked, the HTTP status for a GET, -1 with `err` on failure. `body` is what followed the
/// header, at most `max_bytes`, as it came. `host` is a numeric address. Never NULL.
typedef void (*ec_http_fn)(int status, const char *body, size_t size, const ec_err *err, void *ud);
ec_http *ec_http_get(ec_loop *loop, const char *host, uint16_t port, const char *path, uint64_t timeout_ms,
                     size_t max_bytes, ec_http_fn fn, void *ud);
/// Cancels; fn is not called any more. NULL is fine. After fn was called the handle is already gone.
void ec_http_close(ec_http *h);

/// Parses the status line and finds the body of a raw HTTP response. -1 when it is not HTTP. Pure.
int ec_http_parse(const char *text, size_t size, size_t *body_offset);

/// A unix stream connection that carries lines. `line` is called with each line without its newline, and once with NULL
/// at the end (`err` set when it was an error, ENOBUFS for a line over 16 MiB).
typedef void (*ec_line_fn)(const char *line, size_t size, const ec_err *err, void *ud);
void ec_conn_start(ec_conn *c, ec_line_fn line, void *ud);
/// Queues bytes.
bool ec_conn_write(ec_conn *c, const void *data, size_t size, ec_err *err);
uid_t ec_conn_uid(const ec_conn *c);
pid_t ec_conn_pid(const ec_conn *c);
/// Writes what is queued, then closes; nothing is called any more. The pointer is invalid afterwards.
void ec_conn_close(ec_conn *c);

/// Listens on dir/name (through /proc/self/fd, so the path may be long), mode 0600; an old socket file is replaced.
/// Peers of other users are dropped. `fn` receives ownership of each connection.
ec_server *ec_unix_listen(ec_loop *loop, const char *dir, const char *name, void (*fn)(ec_conn *c, void *ud), void *ud,
                          ec_err *err);
void ec_server_close(ec_server *s);
/// Errors: ENOENT, ECONNREFUSED, EPERM (the peer is another user).
ec_conn *ec_unix_connect(ec_loop *loop, const char *dir, const char *name, ec_err *err);

#endif
