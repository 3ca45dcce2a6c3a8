// See envctl/err.h.
#include "envctl/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool ec_err_set(ec_err *err, const char *code, const char *fmt, ...)
{
    if (err) {
        snprintf(err->code, sizeof err->code, "%s", code);
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
    }
    return false;
}

bool ec_err_errno(ec_err *err, int errnum, const char *fmt, ...)
{
    if (err) {
        snprintf(err->code, sizeof err->code, "%s", ec_errno_name(errnum));
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
        if (n < 0 || (size_t)n >= sizeof err->message)
            return false;
        char text[128];
        const char *reason = strerror_r(errnum, text, sizeof text);
        snprintf(err->message + n, sizeof err->message - (size_t)n, ": %c%s", tolower((unsigned char)reason[0]),
                 reason + 1);
    }
    return false;
}

const char *ec_errno_name(int errnum)
{
    const char *name = strerrorname_np(errnum);
    return name ? name : "EUNKNOWN";
}
