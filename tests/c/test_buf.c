// The growable buffer.
#include "support.h"

#include "envctl/buf.h"
#include "envctl/mem.h"

static void test_empty(void **state)
{
    (void)state;
    eb_buf b = {0};
    eb_add(&b, NULL, 0);
    assert_non_null(b.data);
    assert_string_equal(b.data, "");
    assert_int_equal(b.size, 0);
    eb_free(&b);
    assert_null(b.data);
    eb_free(&b);
}

static void test_grows_and_keeps_the_terminator(void **state)
{
    (void)state;
    eb_buf b = {0};
    for (int i = 0; i < 100000; i++) {
        eb_addc(&b, (char)('a' + i % 26));
        assert_int_equal(b.data[b.size], '\0');
        assert_true(b.capacity > b.size);
    }
    eb_adds(&b, "-end");
    assert_int_equal(b.size, 100004);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    assert_string_equal(b.data + 100000, "-end");
    eb_free(&b);
}

static void test_bytes_with_nul(void **state)
{
    (void)state;
    eb_buf b = {0};
    eb_add(&b, "a\0b", 3);
    eb_add(&b, "\0", 1);
    assert_int_equal(b.size, 4);
    assert_memory_equal(b.data, "a\0b\0", 5);
    eb_free(&b);
}

static void test_reserve_at_every_size(void **state)
{
    (void)state;
    for (size_t n = 0; n < 1100; n++) {
        eb_buf b = {0};
        eb_add(&b, "x", 1);
        memset(eb_reserve(&b, n), 'y', n); // AddressSanitizer watches
        b.size += n;
        eb_addc(&b, 'z');
        assert_int_equal(b.size, n + 2);
        assert_int_equal(b.data[n + 1], 'z');
        eb_free(&b);
    }
}

static void test_drop(void **state)
{
    (void)state;
    eb_buf b = {0};
    eb_adds(&b, "hello world");
    eb_drop(&b, 0);
    assert_int_equal(b.size, 11);
    eb_drop(&b, 6);
    assert_int_equal(b.size, 5);
    assert_memory_equal(b.data, "world", 5);
    eb_drop(&b, 5);
    assert_int_equal(b.size, 0);
    eb_adds(&b, "again");
    eb_drop(&b, 100);
    assert_int_equal(b.size, 0);
    eb_adds(&b, "x");
    assert_string_equal(b.data, "x");
    eb_free(&b);
}

// Declared with a NUL-terminated text, also after bytes went from the front.
static void test_drop_keeps_the_terminator(void **state)
{
    (void)state;
    eb_buf b = {0};
    eb_adds(&b, "hello world");
    eb_drop(&b, 6);
    assert_string_equal(b.data, "world");
    eb_drop(&b, 5);
    assert_string_equal(b.data, "");
    eb_free(&b);
}

static void test_mem(void **state)
{
    (void)state;
    char *p = ec_xcalloc(0, 0);
    assert_non_null(p);
    p = ec_xrealloc(p, 0);
    assert_non_null(p);
    free(p);
    p = ec_xcalloc(10, 10);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    free(p);
    assert_null(ec_xstrdup(NULL));
    p = ec_xstrdup("copy");
    assert_string_equal(p, "copy");
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_grows_and_keeps_the_terminator),
        cmocka_unit_test(test_bytes_with_nul),
        cmocka_unit_test(test_reserve_at_every_size),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_drop_keeps_the_terminator),
        cmocka_unit_test(test_mem),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
