// What a server may answer to a readiness probe.
#include <stdint.h>
#include <stdlib.h>

#include "envctl/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t body = 0;
    int status = ec_http_parse((const char *)data, size, &body);
    if (status > 999 || (status >= 0 && body > size))
        abort();
    return 0;
}
