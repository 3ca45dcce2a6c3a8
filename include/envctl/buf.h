// A growable byte buffer. The prefix is eb_ because lua-cjson's static library already exports strbuf_*.
#ifndef ENVCTL_BUF_H
#define ENVCTL_BUF_H

#include <stddef.h>

typedef struct eb_buf {
    char *data; // NUL-terminated when not NULL
    size_t size;
    size_t capacity;
} eb_buf;

/// Appends bytes; `data` may be NULL when `size` is 0.
void eb_add(eb_buf *b, const void *data, size_t size);
void eb_adds(eb_buf *b, const char *text);
void eb_addc(eb_buf *b, char c);
/// Makes room for `extra` more bytes and returns where they go; add them to `size` yourself.
char *eb_reserve(eb_buf *b, size_t extra);
/// Drops the first `count` bytes.
void eb_drop(eb_buf *b, size_t count);
void eb_free(eb_buf *b);

#endif
