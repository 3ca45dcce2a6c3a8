// The keeper's own log: whole lines, one write each, and nothing that stops the keeper.
#include "support.h"

#include <sys/resource.h>

#include "envctl/log.h"

static int set_up(void **state)
{
    *state = make_dir();
    return 0;
}

static int tear_down(void **state)
{
    ec_log_close();
    drop_dir(*state);
    return 0;
}

static void line(const char *text)
{
    ec_log_line(text, strlen(text));
}

static void test_appends_to_a_private_file(void **state)
{
    const char *path = in_dir(*state, "keeper.log");
    struct stat st;
    mode_t old = umask(0);
    assert_true(ec_log_open(path, NULL));
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    line("{\"a\":1}\n");
    ec_log_close();
    line("nobody hears this\n");
    assert_true(ec_log_open(path, NULL));
    line("{\"b\":2}\n");
    assert_file(path, "{\"a\":1}\n{\"b\":2}\n");
    ec_log_close();
    ec_log_close();
}

static void test_a_second_open_replaces_the_first(void **state)
{
    const char *a = in_dir(*state, "a"), *b = in_dir(*state, "b");
    assert_true(ec_log_open(a, NULL));
    line("1\n");
    assert_true(ec_log_open(b, NULL));
    line("2\n");
    assert_file(a, "1\n");
    assert_file(b, "2\n");
    // One that fails keeps the one that works.
    assert_false(ec_log_open(in_dir(*state, "none/c"), NULL));
    line("3\n");
    assert_file(b, "2\n3\n");
}

static void test_what_is_not_a_log(void **state)
{
    const char *dir = *state;
    ec_err err;
    put_text(in_dir(dir, "victim"), "v");
    assert_int_equal(symlink("victim", in_dir(dir, "link")), 0);
    assert_int_equal(mkfifo(in_dir(dir, "fifo"), 0600), 0);
    const struct {
        const char *name, *code;
    } table[] = {
        {"none/log", "ENOENT"}, {"link", "ELOOP"}, {"fifo", "ENXIO"}, {".", "EISDIR"}, {"victim/log", "ENOTDIR"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *path = in_dir(dir, table[i].name);
        assert_false(ec_log_open(path, &err)); // and does not wait
        assert_string_equal(err.code, table[i].code);
        assert_non_null(strstr(err.message, path));
    }
    int reader = open(in_dir(dir, "fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_false(ec_log_open(in_dir(dir, "fifo"), &err));
    assert_string_equal(err.code, "EINVAL");
    close(reader);
    line("lost\n");
    assert_file(in_dir(dir, "victim"), "v");
}

// A descriptor that a service inherits would keep the log open, and let it write there.
static void test_children_do_not_get_it(void **state)
{
    assert_true(ec_log_open(in_dir(*state, "log"), NULL));
    int found = 0;
    for (int fd = 0; fd < 64; fd++) {
        char link[64], target[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n < 4 || memcmp(target + n - 4, "/log", 4) != 0)
            continue;
        found++;
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fd, F_GETFL) & O_APPEND);
    }
    assert_int_equal(found, 1);
}

// A log that is full stops nothing.
static void test_a_full_disk(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        const struct rlimit limit = {8, 8};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || !ec_log_open(in_dir(*state, "log"), NULL))
            _exit(1);
        for (int i = 0; i < 10; i++)
            line("12345\n");
        _exit(0);
    }
    assert_int_equal(reap(pid), 0);
    struct stat st;
    assert_int_equal(stat(in_dir(*state, "log"), &st), 0);
    assert_int_equal(st.st_size, 8);
}

// Two keepers for a moment (the old one ends, the new one begins): lines stay whole.
static void test_two_writers(void **state)
{
    enum { WRITERS = 4, LINES = 500 };
    const char *path = in_dir(*state, "log");
    pid_t pids[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        pids[w] = fork();
        if (pids[w] != 0)
            continue;
        char text[512];
        if (!ec_log_open(path, NULL))
            _exit(1);
        for (int i = 0; i < LINES; i++) {
            size_t size = 1 + (size_t)(i * 7 + w) % 500;
            memset(text, 'a' + w, size);
            text[size] = '\n';
            ec_log_line(text, size + 1);
        }
        _exit(0);
    }
    for (int w = 0; w < WRITERS; w++)
        assert_int_equal(reap(pids[w]), 0);
    size_t size = 0;
    char *data = get_file(path, &size);
    assert_non_null(data);
    int seen[WRITERS] = {0}, lines = 0;
    for (char *p = data, *nl; (nl = memchr(p, '\n', size - (size_t)(p - data))); p = nl + 1, lines++) {
        int w = *p - 'a';
        assert_in_range(w, 0, WRITERS - 1);
        assert_int_equal(nl - p, 1 + (seen[w]++ * 7 + w) % 500);
        for (const char *c = p; c < nl; c++)
            assert_int_equal(*c, *p);
    }
    free(data);
    assert_int_equal(lines, WRITERS * LINES);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_appends_to_a_private_file),
        TEST(test_a_second_open_replaces_the_first),
        TEST(test_what_is_not_a_log),
        TEST(test_children_do_not_get_it),
        TEST(test_a_full_disk),
        TEST(test_two_writers),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
