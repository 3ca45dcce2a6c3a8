// Finding programs, writing everything, times and random bytes.
#include "support.h"

#include "envctl/ops.h"
#include "envctl/sys.h"

static void add_program(const char *path, mode_t mode)
{
    put_text(path, "#!/bin/sh\nexit 0\n");
    assert_int_equal(chmod(path, mode), 0);
}

// A tree with one program called "tool" in several places.
static int set_up(void **state)
{
    char *dir = make_dir();
    const char *const dirs[] = {"good",  "later", "repo",       "repo/bin",  "repo2",
                                "plain", "asdir", "asdir/tool", "space here"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        assert_int_equal(mkdir(in_dir(dir, dirs[i]), 0755), 0);
    add_program(in_dir(dir, "good/tool"), 0755);
    add_program(in_dir(dir, "later/tool"), 0755);
    add_program(in_dir(dir, "repo/tool"), 0755);
    add_program(in_dir(dir, "repo/bin/tool"), 0755);
    add_program(in_dir(dir, "repo2/tool"), 0755);
    add_program(in_dir(dir, "plain/tool"), 0644);
    add_program(in_dir(dir, "space here/tool"), 0755);
    assert_int_equal(symlink("/nowhere", in_dir(dir, "plain/dangling")), 0);
    assert_int_equal(mkfifo(in_dir(dir, "plain/fifo"), 0755), 0);
    *state = dir;
    return 0;
}

static int tear_down(void **state)
{
    drop_dir(*state);
    return 0;
}

// `path` is written with "@" for the directory.
static const char *expand(const char *dir, const char *path)
{
    static char out[2][8192];
    static int next;
    char *to = out[next++ % 2];
    size_t n = 0;
    for (const char *p = path; *p; p++) {
        if (*p == '@')
            n += (size_t)snprintf(to + n, 8192 - n, "%s", dir);
        else
            to[n++] = *p;
    }
    to[n] = '\0';
    return to;
}

static void test_which(void **state)
{
    const char *dir = *state;
    static const struct {
        const char *name, *path, *avoid;
        const char *found; // NULL: not
        const char *code;
    } table[] = {
        {"tool", "@/good:@/later", NULL, "@/good/tool", NULL},
        {"tool", "@/later:@/good", NULL, "@/later/tool", NULL},
        {"tool", "@/none:@/good", NULL, "@/good/tool", NULL},
        {"tool", "@/space here", NULL, "@/space here/tool", NULL},
        {"tool", "@/good/", NULL, "@/good//tool", NULL},
        // What a repository could plant: relative entries, the empty entry, and entries below the directory to avoid.
        {"tool", "repo:good:.:..:./good", NULL, NULL, "ENOENT"},
        {"tool", "::@/good:", NULL, "@/good/tool", NULL},
        {"tool", ":", NULL, NULL, "ENOENT"},
        {"tool", "@/repo:@/good", "@/repo", "@/good/tool", NULL},
        {"tool", "@/repo/bin:@/good", "@/repo", "@/good/tool", NULL},
        {"tool", "@/repo/bin/:@/good", "@/repo", "@/good/tool", NULL},
        {"tool", "@/repo/", "@/repo", NULL, "ENOENT"},
        {"tool", "@/repo2", "@/repo", "@/repo2/tool", NULL}, // a longer name is not below
        {"tool", "@/repo", "", "@/repo/tool", NULL},
        // What cannot be run.
        {"tool", "@/plain", NULL, NULL, "EACCES"},
        {"tool", "@/plain:@/good", NULL, "@/good/tool", NULL},
        {"tool", "@/asdir", NULL, NULL, "ENOENT"},
        {"fifo", "@/plain", NULL, NULL, "EACCES"},
        {"dangling", "@/plain", NULL, NULL, "ENOENT"},
        {"missing", "@/good", NULL, NULL, "ENOENT"},
        {"tool", "", NULL, NULL, "ENOENT"},
        {"tool", NULL, NULL, NULL, "ENOENT"},
        // A name with a slash is only checked.
        {"@/good/tool", NULL, NULL, "@/good/tool", NULL},
        {"@/good/tool", NULL, "@/good", "@/good/tool", NULL},
        {"@/plain/tool", "@/good", NULL, NULL, "EACCES"},
        {"@/asdir", "@/good", NULL, NULL, "EISDIR"},
        {"@/none", "@/good", NULL, NULL, "ENOENT"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char out[PATH_MAX], path[8192], avoid[PATH_MAX];
        ec_err err = {0};
        snprintf(path, sizeof path, "%s", table[i].path ? expand(dir, table[i].path) : "");
        snprintf(avoid, sizeof avoid, "%s", table[i].avoid ? expand(dir, table[i].avoid) : "");
        bool ok = ec_which(out, sizeof out, expand(dir, table[i].name), table[i].path ? path : NULL,
                           table[i].avoid ? avoid : NULL, &err);
        if (ok != (table[i].found != NULL))
            fail_msg("row %zu: %s", i, ok ? out : err.message);
        if (ok)
            assert_string_equal(out, expand(dir, table[i].found));
        else
            assert_string_equal(err.code, table[i].code);
        if (!ok)
            assert_true(strstr(err.message, ": ") != NULL);
    }
}

// A link in a good directory that leads into the directory to avoid, and "repo" reached by another spelling.
static void test_which_with_a_spelling_that_hides_the_avoided(void **state)
{
    const char *dir = *state;
    char out[PATH_MAX];
    ec_err err;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/good/../repo", dir);
    assert_false(ec_which(out, sizeof out, "tool", path, in_dir(dir, "repo"), &err));
    assert_int_equal(symlink(in_dir(dir, "repo"), in_dir(dir, "alias")), 0);
    assert_false(ec_which(out, sizeof out, "tool", in_dir(dir, "alias"), in_dir(dir, "repo"), &err));
    assert_string_equal(err.code, "ENOENT");
}

static void test_which_with_little_room(void **state)
{
    const char *dir = *state;
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s/good/tool", dir);
    size_t need = strlen(full) + 1;
    ec_err err;
    for (size_t size = 1; size < need + 3; size++) {
        char *out = malloc(size); // AddressSanitizer watches its end
        assert_non_null(out);
        bool ok = ec_which(out, size, "tool", in_dir(dir, "good"), NULL, &err);
        assert_int_equal(ok, size >= need);
        if (ok)
            assert_string_equal(out, full);
        ok = ec_which(out, size, full, NULL, NULL, &err);
        assert_int_equal(ok, size >= need);
        if (!ok)
            assert_string_equal(err.code, "ENAMETOOLONG");
        free(out);
    }
}

static void test_write_all(void **state)
{
    (void)state;
    int fds[2];
    enum { SIZE = 1 << 20 };
    char *data = malloc(SIZE), *got = malloc(SIZE);
    assert_non_null(data);
    assert_non_null(got);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 31 >> 3);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) { // the pipe holds less than this: the writer must go on after partial writes
        close(fds[0]);
        _exit(ec_write_all(fds[1], data, SIZE, NULL) ? 0 : 1);
    }
    close(fds[1]);
    size_t n = 0;
    ssize_t more;
    while ((more = read(fds[0], got + n, SIZE - n)) > 0)
        n += (size_t)more;
    close(fds[0]);
    assert_int_equal(reap(pid), 0);
    assert_int_equal(n, SIZE);
    assert_memory_equal(got, data, SIZE);
    free(data);
    free(got);
}

static void test_write_all_to_nobody(void **state)
{
    (void)state;
    int fds[2];
    ec_err err;
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    signal(SIGPIPE, SIG_IGN);
    assert_false(ec_write_all(fds[1], "x", 1, &err));
    assert_string_equal(err.code, "EPIPE");
    assert_true(ec_write_all(fds[1], "", 0, &err));
    close(fds[1]);
    assert_false(ec_write_all(fds[1], "x", 1, &err));
    assert_string_equal(err.code, "EBADF");
    signal(SIGPIPE, SIG_DFL);
}

static void test_random(void **state)
{
    (void)state;
    unsigned char a[4096] = {0}, b[4096] = {0}, guard[3] = {7, 7, 7};
    ec_random(a, sizeof a);
    ec_random(b, sizeof b);
    assert_true(memcmp(a, b, sizeof a) != 0);
    unsigned seen[256] = {0};
    for (size_t i = 0; i < sizeof a; i++)
        seen[a[i]]++;
    int different = 0;
    for (int i = 0; i < 256; i++)
        different += seen[i] != 0;
    assert_true(different > 200);
    ec_random(guard + 1, 0);
    ec_random(guard + 1, 1);
    assert_int_equal(guard[0], 7);
    assert_int_equal(guard[2], 7);
}

static void test_iso_time(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } table[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {999, "1970-01-01T00:00:00.999Z"},
        {1764036962123, "2025-11-25T02:16:02.123Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {-1001, "1969-12-31T23:59:58.999Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char out[32];
        ec_iso_time(out, table[i].ms);
        assert_string_equal(out, table[i].text);
    }
    // Whatever a corrupt file says, the text fits.
    static const int64_t odd[] = {INT64_MAX, INT64_MIN, INT64_MAX / 1000, INT64_MIN + 999, 253402300800000};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char *out = malloc(32);
        assert_non_null(out);
        ec_iso_time(out, odd[i]);
        assert_true(strlen(out) < 32);
        free(out);
    }
}

static void test_clocks(void **state)
{
    (void)state;
    int64_t a = ec_clock_ops.mono_ms(), w = ec_clock_ops.wall_ms();
    assert_true(w > 1600000000000);
    for (int i = 0; i < 1000; i++) {
        int64_t b = ec_clock_ops.mono_ms();
        assert_true(b >= a);
        a = b;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_which, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_which_with_a_spelling_that_hides_the_avoided, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_which_with_little_room, set_up, tear_down),
        cmocka_unit_test(test_write_all),
        cmocka_unit_test(test_write_all_to_nobody),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_iso_time),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests_name("sys", tests, NULL, NULL);
}
