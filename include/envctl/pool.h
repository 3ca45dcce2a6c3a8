// Memory of a Lua VM. Nearly everything that a VM asks for is small, and a command is over soon: small blocks are cut
// from chunks, and handed out again when they come back; the chunks go back to the system all at once.
#ifndef ENVCTL_POOL_H
#define ENVCTL_POOL_H

#include <stddef.h>

typedef struct ec_pool ec_pool;

/// An empty pool; NULL when there is no memory.
ec_pool *ec_pool_new(void);

/// A lua_Alloc: with `size` 0 it frees, else it gives a block of `size` bytes that begins as `old` does (`old_size`
/// bytes; a NULL `old` has none, whatever `old_size` says), aligned for any type. NULL when there is no memory: `old`
/// is then as it was. That never happens to a block that gets smaller.
void *ec_pool_alloc(void *pool, void *old, size_t old_size, size_t size);

/// Frees the pool with all small blocks that are still out. Large ones (over a kilobyte) have to be freed before.
void ec_pool_free(ec_pool *pool);

#endif
