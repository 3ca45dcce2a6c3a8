// See envctl/mem.h.
#include "envctl/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *checked(void *p)
{
    if (!p) {
        static const char text[] = "envctl: out of memory\n";
        ssize_t ignored = write(2, text, sizeof text - 1);
        (void)ignored;
        abort();
    }
    return p;
}

void *ec_xcalloc(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1));
}

void *ec_xrealloc(void *old, size_t size)
{
    return checked(realloc(old, size ? size : 1));
}

char *ec_xstrdup(const char *text)
{
    return text ? checked(strdup(text)) : NULL;
}
