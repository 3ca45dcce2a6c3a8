// The table that src/tools/embed.c generates.
#ifndef ENVCTL_EMBEDDED_H
#define ENVCTL_EMBEDDED_H

#include <stddef.h>

typedef struct envctl_embedded {
    const char *name;          // module name, "envctl.cli.router"
    const unsigned char *data; // unstripped bytecode
    size_t size;
    const unsigned char *text; // the source, where it is kept, or NULL
    size_t text_size;
} envctl_embedded;

/// Sorted by name.
extern const envctl_embedded envctl_embedded_modules[];
extern const size_t envctl_embedded_count;

#endif
