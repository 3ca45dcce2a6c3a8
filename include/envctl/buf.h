// A growable byte buffer. The prefix is eb_ because lua-cjson's static library already exports strbuf_*.
#ifndef ENVCTL_BUF_H
#define ENVCTL_BUF_H

#include <stddef.h>
#include <string.h>

typedef struct eb_buf {
    char *data; // NUL-terminated when not NULL
    size_t size;
    size_t capacity;
} eb_buf;

/// Makes room for `extra` more bytes and for a NUL behind them.
void eb_grow(eb_buf *b, size_t extra);

// These few are called for every piece of every document: they are here to be inlined.

/// Makes room for `extra` more bytes and returns where they go; add them to `size` yourself.
static inline char *eb_reserve(eb_buf *b, size_t extra)
{
    if (b->size + extra + 1 > b->capacity)
        eb_grow(b, extra);
    return b->data + b->size;
}

/// Appends bytes; `data` may be NULL when `size` is 0.
static inline void eb_add(eb_buf *b, const void *data, size_t size)
{
    char *to = eb_reserve(b, size);
    if (size)
        memcpy(to, data, size);
    to[size] = '\0';
    b->size += size;
}

static inline void eb_addc(eb_buf *b, char c)
{
    eb_add(b, &c, 1);
}

void eb_adds(eb_buf *b, const char *text);
/// Drops the first `count` bytes.
void eb_drop(eb_buf *b, size_t count);
void eb_free(eb_buf *b);

#endif
