// Errors: code words, "object: reason", and messages that do not fit.
#include "support.h"

static void test_set_and_null(void **state)
{
    (void)state;
    ec_err err = {0};
    assert_false(ec_err_set(&err, "EGIT_MISSING", "libgit2: %s %d", "no", 7));
    assert_string_equal(err.code, "EGIT_MISSING");
    assert_string_equal(err.message, "libgit2: no 7");
    assert_false(ec_err_set(NULL, "EIO", "nobody asks"));
    assert_false(ec_err_errno(NULL, EIO, "nobody asks"));
}

static void test_errno_message_names_object_and_reason(void **state)
{
    (void)state;
    ec_err err;
    assert_false(ec_err_errno(&err, ENOENT, "%s", "/tmp/x"));
    assert_string_equal(err.code, "ENOENT");
    assert_string_equal(err.message, "/tmp/x: no such file or directory");
    ec_err_errno(&err, EACCES, "port %d", 80);
    assert_string_equal(err.message, "port 80: permission denied");
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        int number;
        const char *name;
    } table[] = {{ENOENT, "ENOENT"},
                 {EACCES, "EACCES"},
                 {EADDRINUSE, "EADDRINUSE"},
                 {EAGAIN, "EAGAIN"},
                 {EWOULDBLOCK, "EAGAIN"},
                 {ENOSPC, "ENOSPC"},
                 {ESRCH, "ESRCH"},
                 {EXDEV, "EXDEV"},
                 {ECONNREFUSED, "ECONNREFUSED"},
                 {ENAMETOOLONG, "ENAMETOOLONG"},
                 {999999, "EUNKNOWN"},
                 {-1, "EUNKNOWN"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_string_equal(ec_errno_name(table[i].number), table[i].name);
}

static void test_long_texts_are_cut_not_overrun(void **state)
{
    (void)state;
    struct {
        ec_err err;
        char guard[16];
    } s;
    memset(&s, 'G', sizeof s);
    char text[2000];
    memset(text, 'p', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ec_err_set(&s.err, "A_CODE_WORD_THAT_IS_MUCH_TOO_LONG", "%s", text);
    assert_int_equal(strlen(s.err.code), sizeof s.err.code - 1);
    assert_int_equal(strlen(s.err.message), sizeof s.err.message - 1);
    // Every length around the end of the buffer, where the reason is appended.
    for (int n = 400; n < 600; n++) {
        ec_err_errno(&s.err, ENOENT, "%.*s", n, text);
        assert_true(strlen(s.err.message) < sizeof s.err.message);
    }
    for (size_t i = 0; i < sizeof s.guard; i++)
        assert_int_equal(s.guard[i], 'G');
}

static void test_errno_is_not_needed_after(void **state)
{
    (void)state;
    ec_err err;
    ec_err_errno(&err, 0, "x");
    assert_string_equal(err.message, "x: success");
    ec_err_errno(&err, 999999, "x");
    assert_string_equal(err.code, "EUNKNOWN");
    assert_true(strncmp(err.message, "x: unknown error", 16) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_null),
        cmocka_unit_test(test_errno_message_names_object_and_reason),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_long_texts_are_cut_not_overrun),
        cmocka_unit_test(test_errno_is_not_needed_after),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
