// The memory of a Lua VM.
#include "support.h"

#include "envctl/pool.h"

enum { BLOCKS = 3000 };

typedef struct block {
    unsigned char *p;
    size_t size;
    unsigned char mark;
} block;

static void fill(block *b, unsigned char mark)
{
    b->mark = mark;
    if (b->p)
        memset(b->p, mark, b->size);
}

static bool is_whole(const block *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (b->p[i] != b->mark)
            return false;
    return true;
}

// Small, large, and around the border between them.
static size_t any_size(void)
{
    return 1 + (dice(8) == 0 ? dice(5000) : dice(8) == 0 ? 1000 + dice(50) : dice(200));
}

static void test_blocks_keep_what_is_in_them(void **state)
{
    (void)state;
    static block blocks[BLOCKS];
    ec_pool *pool = ec_pool_new();
    assert_non_null(pool);
    for (int round = 0; round < 100000; round++) {
        block *b = &blocks[dice(BLOCKS)];
        size_t size = b->p && dice(3) == 0 ? 0 : any_size();
        assert_true(!b->p || is_whole(b, b->size));
        // Without a block the old size is a kind of object.
        unsigned char *p = ec_pool_alloc(pool, b->p, b->p ? b->size : 5, size);
        assert_true(size == 0 ? p == NULL : p != NULL);
        assert_int_equal((uintptr_t)p % 16, 0);
        size_t kept = b->p && size ? (b->size < size ? b->size : size) : 0;
        b->p = p;
        b->size = size;
        assert_true(is_whole(b, kept));
        fill(b, (unsigned char)dice(256));
    }
    for (block *b = blocks; b < blocks + BLOCKS; b++) {
        assert_true(is_whole(b, b->size));
        if (b->size > 1024)
            ec_pool_alloc(pool, b->p, b->size, 0);
    }
    ec_pool_free(pool); // with the small ones
}

static void test_what_came_back_is_given_again(void **state)
{
    (void)state;
    ec_pool *pool = ec_pool_new();
    void *first = ec_pool_alloc(pool, NULL, 0, 33), *other = ec_pool_alloc(pool, NULL, 0, 48);
    assert_null(ec_pool_alloc(pool, first, 33, 0));
    assert_ptr_equal(ec_pool_alloc(pool, NULL, 0, 48), first);
    assert_ptr_equal(ec_pool_alloc(pool, other, 48, 40), other); // no other class
    assert_null(ec_pool_alloc(pool, NULL, 4, 0));
    ec_pool_free(pool);
    ec_pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_keep_what_is_in_them),
        cmocka_unit_test(test_what_came_back_is_given_again),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
