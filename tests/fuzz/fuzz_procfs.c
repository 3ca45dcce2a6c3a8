// What /proc says, as arbitrary bytes: stat lines, environments, socket tables. The first byte chooses the parser.
#include <stdint.h>
#include <stdlib.h>

#include "envctl/port.h"
#include "envctl/procfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const char *text = (const char *)data + 1;
    size_t n = size - 1;
    if (data[0] % 3 == 0) {
        ec_stat st;
        if (ec_stat_parse(&st, text, n) && st.pid <= 0)
            abort();
    } else if (data[0] % 3 == 1) {
        const char *value = ec_environ_find(text, n, "NAME", 4);
        if (value && (value < text || value > text + n))
            abort();
    } else {
        ec_listener *list = NULL;
        size_t count = 0;
        ec_port_parse_proc(&list, &count, text, n, data[0] & 4);
        free(list);
    }
    return 0;
}
