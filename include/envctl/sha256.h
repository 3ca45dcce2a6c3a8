// SHA-256 (FIPS 180-4).
#ifndef ENVCTL_SHA256_H
#define ENVCTL_SHA256_H

#include <stddef.h>
#include <stdint.h>

/// Digest of `size` bytes.
void ec_sha256(uint8_t out[32], const void *data, size_t size);

#endif
