// See envctl/pool.h.
#include "envctl/pool.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 16, SMALL = 1024, CLASSES = SMALL / STEP, LEAST = 1 << 16, MOST = 1 << 22 };

typedef struct chunk {
    struct chunk *next; // blocks begin a step further
} chunk;

struct ec_pool {
    void *free[CLASSES]; // of each size those that came back; each begins with the address of the next
    char *fresh, *end;   // what is left of the newest chunk
    chunk *chunks;
    size_t total;
};

ec_pool *ec_pool_new(void)
{
    return calloc(1, sizeof(ec_pool));
}

static size_t class_of(size_t size)
{
    return (size - 1) / STEP;
}

// As large as all before it, so that little commands take little.
static bool add_chunk(ec_pool *p)
{
    size_t size = p->total < LEAST ? LEAST : p->total < MOST ? p->total : MOST;
    chunk *c = malloc(size);
    if (!c)
        return false;
    c->next = p->chunks;
    p->chunks = c;
    p->total += size;
    p->fresh = (char *)c + STEP;
    p->end = (char *)c + size;
    return true;
}

static void *take(ec_pool *p, size_t size)
{
    size_t n = class_of(size), whole = (n + 1) * STEP;
    void *block = p->free[n];
    if (block) {
        memcpy(&p->free[n], block, sizeof(void *));
        return block;
    }
    if ((size_t)(p->end - p->fresh) < whole && !add_chunk(p))
        return NULL;
    block = p->fresh;
    p->fresh += whole;
    return block;
}

static void give_back(ec_pool *p, void *block, size_t size)
{
    if (size > SMALL) {
        free(block);
        return;
    }
    size_t n = class_of(size);
    memcpy(block, &p->free[n], sizeof(void *));
    p->free[n] = block;
}

void *ec_pool_alloc(void *pool, void *old, size_t old_size, size_t size)
{
    ec_pool *p = pool;
    if (!old)
        return size == 0 ? NULL : size > SMALL ? malloc(size) : take(p, size);
    if (size == 0) {
        give_back(p, old, old_size);
        return NULL;
    }
    if (old_size > SMALL && size > SMALL)
        return realloc(old, size);
    if (old_size <= SMALL && size <= SMALL && class_of(old_size) == class_of(size))
        return old;
    void *block = size > SMALL ? malloc(size) : take(p, size);
    if (!block)
        return size < old_size ? old : NULL;
    memcpy(block, old, old_size < size ? old_size : size);
    give_back(p, old, old_size);
    return block;
}

void ec_pool_free(ec_pool *pool)
{
    for (chunk *c = pool ? pool->chunks : NULL, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(pool);
}
