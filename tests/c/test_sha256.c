// SHA-256: the vectors of FIPS 180-4 and NIST, and every length around the block size.
#include "support.h"

#include "envctl/sha256.h"

static void hex(char out[65], const void *data, size_t size)
{
    uint8_t digest[32];
    ec_sha256(digest, data, size);
    for (int i = 0; i < 32; i++)
        snprintf(out + (size_t)2 * (size_t)i, 3, "%02x", digest[i]);
}

static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *digest;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqr"
         "stu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    char out[65];
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        hex(out, vectors[i].text, strlen(vectors[i].text));
        assert_string_equal(out, vectors[i].digest);
    }
    hex(out, NULL, 0);
    assert_string_equal(out, vectors[0].digest);
}

static void test_a_million(void **state)
{
    (void)state;
    char *text = malloc(1000000), out[65];
    assert_non_null(text);
    memset(text, 'a', 1000000);
    hex(out, text, 1000000);
    assert_string_equal(out, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(text);
}

// The digest of the digests of all lengths 0..300; the expectation is Python's hashlib's. Buffers are exactly as long
// as the message, so that AddressSanitizer sees a read past the end.
static void test_every_length(void **state)
{
    (void)state;
    uint8_t all[301 * 32];
    char out[65];
    for (size_t n = 0; n <= 300; n++) {
        uint8_t *message = malloc(n ? n : 1);
        assert_non_null(message);
        for (size_t i = 0; i < n; i++)
            message[i] = (uint8_t)(i * 7 + n);
        ec_sha256(all + n * 32, message, n);
        free(message);
    }
    hex(out, all, sizeof all);
    assert_string_equal(out, "60d63ff40b5558727a9b786ac0be9300f7ca58fd9ddd3b2f3681b369018a87dc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_a_million),
        cmocka_unit_test(test_every_length),
    };
    return cmocka_run_group_tests_name("sha256", tests, NULL, NULL);
}
