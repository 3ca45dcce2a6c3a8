// Removing a tree: all of it, whatever its shape, and nothing that is outside of it.
#include "support.h"

#include <sys/resource.h>

#include "envctl/fs.h"
#include "envctl/ops.h"

enum { NOBODY = 65534 };

static ec_fsops real_ops;

static int set_up(void **state)
{
    real_ops = ec_fs_ops;
    *state = make_dir();
    return 0;
}

static int tear_down(void **state)
{
    ec_fs_ops = real_ops;
    drop_dir(*state);
    return 0;
}

static void test_remove_tree(void **state)
{
    const char *dir = *state;
    int fds = open_files();
    assert_true(ec_fs_remove_tree(in_dir(dir, "none"), NULL));
    assert_int_equal(mkdir(in_dir(dir, "outside"), 0700), 0);
    put_text(in_dir(dir, "outside/canary"), "alive");
    assert_int_equal(mkdir(in_dir(dir, "t"), 0700), 0);
    assert_int_equal(mkdir(in_dir(dir, "t/sub"), 0700), 0);
    assert_int_equal(symlink("../outside", in_dir(dir, "t/link")), 0);
    assert_int_equal(symlink("../../outside/canary", in_dir(dir, "t/sub/link")), 0);
    assert_int_equal(symlink("/", in_dir(dir, "t/sub/root")), 0);
    assert_int_equal(link(in_dir(dir, "outside/canary"), in_dir(dir, "t/hard")), 0);
    assert_int_equal(mkfifo(in_dir(dir, "t/fifo"), 0600), 0);
    for (int i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "t/sub/file%d", i);
        put_text(in_dir(dir, name), "x");
        snprintf(name, sizeof name, "t/dir%d", i);
        assert_int_equal(mkdir(in_dir(dir, name), 0700), 0);
    }
    assert_true(ec_fs_remove_tree(in_dir(dir, "t"), NULL));
    assert_int_equal(access(in_dir(dir, "t"), F_OK), -1);
    assert_file(in_dir(dir, "outside/canary"), "alive");
    // The tree itself is a link: refused.
    assert_int_equal(symlink("outside", in_dir(dir, "alias")), 0);
    assert_false(ec_fs_remove_tree(in_dir(dir, "alias"), NULL));
    assert_file(in_dir(dir, "outside/canary"), "alive");
    ec_err err;
    assert_false(ec_fs_remove_tree(in_dir(dir, "outside/canary"), &err));
    assert_string_equal(err.code, "ENOTDIR");
    assert_int_equal(open_files(), fds);
}

// Deeper than PATH_MAX, and deeper than there are descriptors.
static void test_remove_tree_of_any_depth(void **state)
{
    const char *dir = *state;
    int fds = open_files();
    enum { DEPTH = 3000 };
    assert_int_equal(mkdir(in_dir(dir, "t"), 0700), 0);
    int at = open(in_dir(dir, "t"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < DEPTH; i++) {
        assert_int_equal(mkdirat(at, "d", 0700), 0);
        int file = openat(at, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(file >= 0 && next >= 0);
        close(file);
        close(at);
        at = next;
    }
    close(at);
    struct rlimit old, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = (rlim_t)fds + 5;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    ec_err err = {0};
    bool ok = ec_fs_remove_tree(in_dir(dir, "t"), &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_string_equal(err.message, "");
    assert_true(ok);
    assert_int_equal(count_entries(dir), 0);
    assert_int_equal(open_files(), fds);
}

// A directory is moved out of the tree while it is being emptied: what is above it then is not touched.
static const char *move_from, *move_to;

static int moving_unlinkat(int dirfd, const char *path, int flags)
{
    int rc = real_ops.unlinkat(dirfd, path, flags);
    if (rc == 0 && strcmp(path, "trigger") == 0)
        assert_int_equal(rename(move_from, move_to), 0);
    return rc;
}

static void test_remove_tree_that_is_moved(void **state)
{
    const char *dir = *state;
    int fds = open_files();
    char from[PATH_MAX], to[PATH_MAX];
    snprintf(from, sizeof from, "%s", in_dir(dir, "t/a/b"));
    snprintf(to, sizeof to, "%s", in_dir(dir, "home/b"));
    move_from = from;
    move_to = to;
    assert_true(ec_fs_mkdirs(from, 0700, NULL));
    assert_int_equal(mkdir(in_dir(dir, "home"), 0700), 0);
    put_text(in_dir(dir, "home/canary"), "alive");
    put_text(in_dir(dir, "t/a/b/trigger"), "");
    ec_fs_ops.unlinkat = moving_unlinkat;
    ec_err err = {0};
    assert_false(ec_fs_remove_tree(in_dir(dir, "t"), &err));
    assert_string_equal(err.code, "EBUSY");
    assert_file(in_dir(dir, "home/canary"), "alive");
    assert_int_equal(access(to, F_OK), 0);
    assert_int_equal(open_files(), fds);
}

// What cannot be removed is named with the true reason.
static void test_remove_tree_names_the_reason(void **state)
{
    const char *dir = *state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(mkdir(in_dir(dir, "t"), 0755), 0);
    put_text(in_dir(dir, "t/file"), "");
    pid_t pid = fork();
    if (pid == 0) {
        ec_err err = {0};
        if (setuid(NOBODY) != 0)
            _exit(2);
        bool ok = ec_fs_remove_tree(in_dir(dir, "t"), &err);
        _exit(!ok && strcmp(err.code, "EACCES") == 0 && strstr(err.message, "t/file") ? 0 : 1);
    }
    assert_int_equal(reap(pid), 0);
    assert_int_equal(access(in_dir(dir, "t/file"), F_OK), 0);
}

// Each call fails in turn: the reason is told, nothing stays open, and the next try finishes the work.
static int calls, failing_call;

static int failing_unlinkat(int dirfd, const char *path, int flags)
{
    if (++calls == failing_call) {
        errno = EIO;
        return -1;
    }
    return real_ops.unlinkat(dirfd, path, flags);
}

static void test_remove_tree_on_a_failing_disk(void **state)
{
    const char *dir = *state;
    int fds = open_files();
    ec_fs_ops.unlinkat = failing_unlinkat;
    for (failing_call = 1;; failing_call++) {
        assert_true(failing_call < 100);
        assert_true(ec_fs_mkdirs(in_dir(dir, "t/a/b"), 0700, NULL));
        assert_true(ec_fs_mkdirs(in_dir(dir, "t/c"), 0700, NULL));
        put_text(in_dir(dir, "t/a/b/f"), "");
        put_text(in_dir(dir, "t/a/g"), "");
        calls = 0;
        ec_err err = {0};
        bool ok = ec_fs_remove_tree(in_dir(dir, "t"), &err);
        if (calls < failing_call)
            break;
        // What unlink says of a directory is not asked for: it is opened then, so a failure there can go unnoticed.
        if (!ok) {
            assert_string_equal(err.code, "EIO");
            assert_non_null(strstr(err.message, in_dir(dir, "t/")));
        }
        assert_int_equal(open_files(), fds);
        assert_true(ec_fs_remove_tree(in_dir(dir, "t"), NULL));
        assert_int_equal(count_entries(dir), 0);
    }
    assert_true(failing_call > 5);
}

// Somebody keeps adding files: an answer all the same.
static const char *busy_file;

static int busy_unlinkat(int dirfd, const char *path, int flags)
{
    int rc = real_ops.unlinkat(dirfd, path, flags);
    if (rc == 0 && busy_file)
        put_text(busy_file, "");
    return rc;
}

static void test_remove_tree_that_somebody_fills(void **state)
{
    const char *dir = *state;
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/t/again", dir);
    busy_file = file;
    assert_true(ec_fs_mkdirs(in_dir(dir, "t"), 0700, NULL));
    put_text(file, "");
    ec_fs_ops.unlinkat = busy_unlinkat;
    ec_err err = {0};
    assert_false(ec_fs_remove_tree(in_dir(dir, "t"), &err));
    assert_string_equal(err.code, "ENOTEMPTY");
    busy_file = NULL;
    assert_true(ec_fs_remove_tree(in_dir(dir, "t"), &err));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_remove_tree),
        TEST(test_remove_tree_of_any_depth),
        TEST(test_remove_tree_that_is_moved),
        TEST(test_remove_tree_names_the_reason),
        TEST(test_remove_tree_on_a_failing_disk),
        TEST(test_remove_tree_that_somebody_fills),
    };
    return cmocka_run_group_tests_name("fs_tree", tests, NULL, NULL);
}
