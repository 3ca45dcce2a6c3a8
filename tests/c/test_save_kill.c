// R01: a writer is killed at random points of its save loop. What is on the disk is always whole, and never older than
// what the writer was told is saved.
#include "support.h"

#include <inttypes.h>

#include "envctl/fs.h"
#include "envctl/sha256.h"

// A document says its generation and ends with the digest of what stands before it.
enum { BODY = 8192, DOCUMENT = BODY + 32 };

static void make_document(char *out, uint64_t generation)
{
    memset(out, (int)('a' + generation % 26), BODY);
    memcpy(out, &generation, sizeof generation);
    ec_sha256((uint8_t *)out + BODY, out, BODY);
}

static bool read_document(uint64_t *generation, const char *path, const char **why)
{
    eb_buf b = {0};
    ec_err err;
    uint8_t digest[32];
    *why = NULL;
    if (!ec_fs_read(&b, path, 1 << 20, true, &err))
        *why = "unreadable";
    else if (b.size != DOCUMENT)
        *why = "of the wrong size";
    if (!*why) {
        ec_sha256(digest, b.data, BODY);
        if (memcmp(digest, b.data + BODY, sizeof digest) != 0)
            *why = "damaged";
        memcpy(generation, b.data, sizeof *generation);
    }
    eb_free(&b);
    return *why == NULL;
}

static void save_for_ever(const char *path, uint64_t generation, int acknowledge)
{
    static char document[DOCUMENT];
    for (;;) {
        make_document(document, ++generation);
        if (!ec_fs_write_atomic(path, document, sizeof document, 0600, true, NULL))
            _exit(1);
        if (write(acknowledge, &generation, sizeof generation) != sizeof generation)
            _exit(1);
    }
}

static void test_killed_while_saving(void **state)
{
    (void)state;
    long rounds = env_number("ENVCTL_ROUNDS", 300), good = 0;
    char *dir = make_dir();
    char path[PATH_MAX], document[DOCUMENT];
    snprintf(path, sizeof path, "%s/state.json", dir);
    make_document(document, 0);
    assert_true(ec_fs_write_atomic(path, document, sizeof document, 0600, true, NULL));
    uint64_t acknowledged = 0, saves = 0;
    for (long i = 0; i < rounds; i++) {
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0)
            save_for_ever(path, acknowledged, fds[1]);
        close(fds[1]);
        uint64_t last;
        if (dice(8) != 0) { // now and then before its first save
            assert_int_equal(read(fds[0], &acknowledged, sizeof acknowledged), sizeof acknowledged);
            saves++;
        }
        sleep_us(300 + dice(3000));
        kill(pid, SIGKILL);
        int status = reap(pid);
        assert_true(WIFSIGNALED(status)); // it never failed by itself
        while (read(fds[0], &last, sizeof last) == sizeof last) {
            acknowledged = last;
            saves++;
        }
        close(fds[0]);
        uint64_t found = 0;
        const char *why;
        if (!read_document(&found, path, &why)) {
            printf("# round %ld: the state is %s\n", i, why);
        } else if (found < acknowledged) {
            printf("# round %ld: generation %" PRIu64 ", but %" PRIu64 " was saved\n", i, found, acknowledged);
        } else {
            good++;
            acknowledged = found;
            continue;
        }
        make_document(document, ++acknowledged);
        assert_true(ec_fs_write_atomic(path, document, sizeof document, 0600, true, NULL));
    }
    drop_dir(dir);
    assert_true(saves > 0);
    bar("R01", good, rounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed_while_saving)};
    return cmocka_run_group_tests_name("save_kill", tests, NULL, NULL);
}
