// The keeper's own log: one JSON object a line, one write each, no stdio.
#ifndef ENVCTL_LOG_H
#define ENVCTL_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "envctl/err.h"

/// Opens (O_APPEND, 0600) the log of this process. A second call replaces the first.
bool ec_log_open(const char *path, ec_err *err);
/// Writes one line, which the caller made a JSON object. Nothing happens while no log is open.
void ec_log_line(const char *line, size_t size);
void ec_log_close(void);

#endif
