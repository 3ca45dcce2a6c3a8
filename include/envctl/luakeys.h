// Where in the text of a Lua chunk the keys of the table stand that the chunk returns. A small lexer in one pass: it
// takes any bytes (a broken chunk has no useful answer, never an error) and knows nothing of what the keys mean.
#ifndef ENVCTL_LUAKEYS_H
#define ENVCTL_LUAKEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ek_index ek_index;

/// A part of a path: a name, or with `text` NULL a number (places in lists count from 1).
typedef struct ek_key {
    const char *text;
    size_t size;
    int64_t number;
} ek_key;

typedef struct ek_place {
    uint32_t line;       // from 1
    size_t depth;        // so many parts of the path were found
    const char *include; // the rest is in the file that this names (not NUL-terminated); NULL when it is here
    size_t include_size;
} ek_place;

/// Reads a text, which is copied. Texts of 4 GiB and more have an empty index.
ek_index *ek_index_new(const char *text, size_t size);
void ek_index_free(ek_index *index);

/// The line of a path, or of the nearest key above it that is known. False when the chunk returns no table that can be
/// seen.
bool ek_index_find(const ek_index *index, const ek_key *path, size_t count, ek_place *out);

#endif
