// Any bytes as the text of a script: the index is made, and every answer is a line of the text.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "envctl/luakeys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAME(s)                                                                                                        \
    {                                                                                                                  \
        s, sizeof(s) - 1, 0                                                                                            \
    }

static void look(const ek_index *index, const ek_key *path, size_t count, uint32_t lines)
{
    ek_place at;
    bool found = ek_index_find(index, path, count, &at);
    if (at.depth > count || at.line > lines || (found && at.line == 0) || (!found && (at.depth || at.include)))
        abort();
    if (at.include && !memchr(at.include, '\0', at.include_size + 1) && at.include_size > (1u << 30))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ek_key names[] = {NAME("services"), NAME("api"), NAME("a"), NAME("override"), NAME("plan.ports")};
    uint32_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    ek_index *index = ek_index_new((const char *)data, size);
    ek_key path[4] = {0};
    look(index, path, 0, lines);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        path[0] = names[i];
        path[1] = names[(i + 1) % (sizeof names / sizeof *names)];
        path[2] = (ek_key){NULL, 0, (int64_t)i};
        path[3] = names[2];
        for (size_t n = 1; n <= 4; n++)
            look(index, path, n, lines);
    }
    // What the text itself has as names.
    for (size_t i = 0; i + 1 < size; i += 7) {
        size_t length = (size_t)data[i] % 9 + 1;
        path[0] = (ek_key){(const char *)data + i, length < size - i ? length : size - i, 0};
        look(index, path, 1, lines);
    }
    ek_index_free(index);
    return 0;
}
