// See envctl/buf.h.
#include "envctl/buf.h"

#include <stdlib.h>
#include <string.h>

#include "envctl/mem.h"

void eb_grow(eb_buf *b, size_t extra)
{
    size_t capacity = b->capacity ? b->capacity : 256;
    while (capacity < b->size + extra + 1)
        capacity *= 2;
    b->data = ec_xrealloc(b->data, capacity);
    b->capacity = capacity;
}

void eb_adds(eb_buf *b, const char *text)
{
    eb_add(b, text, strlen(text));
}

void eb_drop(eb_buf *b, size_t count)
{
    if (count > b->size)
        count = b->size;
    if (count == 0)
        return;
    memmove(b->data, b->data + count, b->size - count);
    b->size -= count;
    b->data[b->size] = '\0';
}

void eb_free(eb_buf *b)
{
    free(b->data);
    *b = (eb_buf){0};
}
