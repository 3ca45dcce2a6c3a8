// Errors of src/core: a stable code word and a sentence that names the object. Never allocates.
#ifndef ENVCTL_ERR_H
#define ENVCTL_ERR_H

#include <stdarg.h>
#include <stdbool.h>

/// A failure of the world (not a misuse). `code` is an errno name such as "ENOENT", or a word of our own such as
/// "EGIT_UNSUPPORTED". `message` reads "object: reason". Both are empty strings when there was no failure.
typedef struct ec_err {
    char code[24];
    char message[512];
} ec_err;

/// Sets code and message. `err` may be NULL (the caller does not want to know). Always returns false, so that
/// `return ec_err_set(err, …)` ends a function that reports success as a bool.
bool ec_err_set(ec_err *err, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/// Code from an errno value; message "<formatted object>: <strerror text in lower case>". Always returns false.
bool ec_err_errno(ec_err *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/// Name of an errno value ("ENOENT"), or "EUNKNOWN". Static storage.
const char *ec_errno_name(int errnum);

#endif
