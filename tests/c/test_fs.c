// Files: what a failing disk, a killed writer and a hostile directory may and may not do.
#include "support.h"

#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "envctl/fs.h"
#include "envctl/ops.h"

enum { NOBODY = 65534 };

// ---- fault injection: the n-th call of a kind fails ----

enum { ANY, OPEN, WRITE, FSYNC, RENAME, UNLINK, TRUNCATE };

static struct {
    int op;       // which kind counts
    int at;       // this call fails, 0: none
    int errnum;   // with this; 0: a write is cut short instead
    bool persist; // and all of that kind after it
    size_t piece; // > 0: no write takes more than this
    int seen;
    int last; // kind of the call that failed last
} fault;

static ec_fsops real_ops;

static bool trips(int op)
{
    if (fault.op != ANY && fault.op != op)
        return false;
    fault.seen++;
    if (fault.at == 0 || (fault.persist ? fault.seen < fault.at : fault.seen != fault.at))
        return false;
    fault.last = op;
    errno = fault.errnum;
    return true;
}

static int faulty_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    return trips(OPEN) ? -1 : real_ops.openat(dirfd, path, flags, mode);
}

static ssize_t faulty_write(int fd, const void *data, size_t size)
{
    if (trips(WRITE)) {
        if (fault.errnum)
            return -1;
        return size > 1 ? real_ops.write(fd, data, size / 2) : 0;
    }
    return real_ops.write(fd, data, fault.piece && size > fault.piece ? fault.piece : size);
}

static int faulty_fsync(int fd)
{
    return trips(FSYNC) ? -1 : real_ops.fsync(fd);
}

static int faulty_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return trips(RENAME) ? -1 : real_ops.renameat(from_dir, from, to_dir, to);
}

static int faulty_unlinkat(int dirfd, const char *path, int flags)
{
    return trips(UNLINK) ? -1 : real_ops.unlinkat(dirfd, path, flags);
}

static int faulty_ftruncate(int fd, off_t size)
{
    return trips(TRUNCATE) ? -1 : real_ops.ftruncate(fd, size);
}

static void inject(int op, int at, int errnum, bool persist)
{
    memset(&fault, 0, sizeof fault);
    fault.op = op;
    fault.at = at;
    fault.errnum = errnum;
    fault.persist = persist;
}

static int set_up(void **state)
{
    real_ops = ec_fs_ops;
    ec_fs_ops =
        (ec_fsops){faulty_openat, faulty_write, faulty_fsync, faulty_renameat, faulty_unlinkat, faulty_ftruncate};
    inject(ANY, 0, 0, false);
    *state = make_dir();
    return 0;
}

static int tear_down(void **state)
{
    ec_fs_ops = real_ops;
    drop_dir(*state);
    return 0;
}

static const int errnos[] = {EIO, ENOSPC, EDQUOT, EACCES, EROFS, EMFILE, ENOMEM};
enum { ERRNOS = sizeof errnos / sizeof *errnos };

// ---- write_atomic ----

// n = 1, 2, … until the save goes through: the old content is there, or, when only the directory's fsync failed, the
// new one.
static void test_each_failing_call_of_a_save(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "state.json");
    int fds = open_files();
    for (int durable = 0; durable < 2; durable++) {
        for (size_t e = 0; e < ERRNOS; e++) {
            for (int n = 1;; n++) {
                assert_true(n < 20);
                inject(ANY, 0, 0, false);
                put_text(file, "old");
                inject(ANY, n, errnos[e], false);
                ec_err err = {0};
                bool ok = ec_fs_write_atomic(file, "the new one", 11, 0600, durable, &err);
                bool last = fault.last == FSYNC && fault.seen == fault.at;
                if (ok && fault.last == 0)
                    break; // every call was tried
                assert_false(ok);
                assert_string_equal(err.code, ec_errno_name(errnos[e]));
                assert_non_null(strstr(err.message, file));
                char *now = get_file(file, NULL);
                assert_non_null(now);
                if (!(last && strcmp(now, "the new one") == 0))
                    assert_string_equal(now, "old");
                free(now);
                assert_int_equal(count_entries(dir), 1); // no temporary
                assert_int_equal(open_files(), fds);
            }
            assert_file(file, "the new one");
        }
    }
}

// Everything of a kind fails from the n-th call on, the cleaning up as well. Then the disk is well again.
static void test_a_disk_that_stays_broken(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "state.json");
    int fds = open_files();
    for (int op = ANY; op <= UNLINK; op++) {
        for (int n = 1;; n++) {
            assert_true(n < 20);
            inject(ANY, 0, 0, false);
            put_text(file, "old");
            inject(op, n, EIO, true);
            bool ok = ec_fs_write_atomic(file, "the new one", 11, 0600, true, NULL);
            if (ok)
                break;
            char *now = get_file(file, NULL);
            assert_non_null(now);
            assert_true(strcmp(now, "old") == 0 || strcmp(now, "the new one") == 0);
            free(now);
            inject(ANY, 0, 0, false);
            assert_true(ec_fs_write_atomic(file, "well again", 10, 0600, true, NULL));
            assert_file(file, "well again");
            assert_int_equal(count_entries(dir), 1);
            assert_int_equal(open_files(), fds);
        }
    }
}

static void test_writes_in_pieces(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "f");
    char data[1000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 13);
    for (size_t piece = 1; piece < 64; piece++) {
        inject(ANY, 0, 0, false);
        fault.piece = piece;
        assert_true(ec_fs_write_atomic(file, data, sizeof data, 0600, false, NULL));
        size_t size;
        char *now = get_file(file, &size);
        assert_int_equal(size, sizeof data);
        assert_memory_equal(now, data, sizeof data);
        free(now);
    }
}

static void test_an_interrupted_write_goes_on(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "f");
    inject(WRITE, 1, EINTR, false);
    assert_true(ec_fs_write_atomic(file, "text", 4, 0600, true, NULL));
    assert_file(file, "text");
    inject(WRITE, 1, EINTR, false);
    assert_true(ec_fs_append(file, "\nmore\n", 6, NULL));
    assert_file(file, "text\n\nmore\n");
}

static void test_a_write_of_nothing_is_a_full_disk(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "f");
    put_text(file, "old");
    inject(WRITE, 1, 0, false);
    ec_err err;
    assert_false(ec_fs_write_atomic(file, "x", 1, 0600, true, &err)); // write() returned 0
    assert_string_equal(err.code, "ENOSPC");
    assert_non_null(strstr(err.message, "KiB free"));
    assert_file(file, "old");
    assert_int_equal(count_entries(dir), 1);
}

static void test_names_and_modes(void **state)
{
    const char *dir = *state;
    struct stat st;
    const char *file = in_dir(dir, "new");
    mode_t old = umask(022);
    assert_true(ec_fs_write_atomic(file, "", 0, 0600, true, NULL));
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 0);
    assert_true(ec_fs_write_atomic(file, "#!", 2, 0755, true, NULL));
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    umask(old);
    // A relative name is one in the current directory.
    char cwd[PATH_MAX];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(dir), 0);
    assert_true(ec_fs_write_atomic("relative", "r", 1, 0600, true, NULL));
    assert_int_equal(chdir(cwd), 0);
    assert_file(in_dir(dir, "relative"), "r");
    ec_err err;
    assert_false(ec_fs_write_atomic(in_dir(dir, "none/f"), "x", 1, 0600, true, &err));
    assert_string_equal(err.code, "ENOENT");
    // The longest names of files do not leave room for a temporary's.
    char longest[NAME_MAX + 1];
    memset(longest, 'n', NAME_MAX);
    longest[NAME_MAX] = '\0';
    assert_false(ec_fs_write_atomic(in_dir(dir, longest), "x", 1, 0600, true, &err));
    assert_string_equal(err.code, "ENAMETOOLONG");
    char *deep = malloc(2 * PATH_MAX);
    assert_non_null(deep);
    memset(deep, 'd', 2 * PATH_MAX - 1);
    deep[2 * PATH_MAX - 1] = '\0';
    for (size_t i = 0; i < 2 * PATH_MAX - 1; i += 100)
        deep[i] = '/';
    assert_false(ec_fs_write_atomic(deep, "x", 1, 0600, true, &err));
    assert_string_equal(err.code, "ENAMETOOLONG");
    free(deep);
    assert_int_equal(count_entries(dir), 2);
}

// The name of the temporary is known: whoever plants something there gains nothing.
static void test_a_planted_temporary(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "f");
    char temp[64];
    snprintf(temp, sizeof temp, ".f.%d.tmp", (int)getpid());
    put_text(in_dir(dir, "victim"), "untouched");
    assert_int_equal(symlink("victim", in_dir(dir, temp)), 0);
    assert_true(ec_fs_write_atomic(file, "mine", 4, 0600, true, NULL));
    assert_file(file, "mine");
    assert_file(in_dir(dir, "victim"), "untouched");
    // A directory cannot be replaced: refused, nothing harmed.
    assert_int_equal(mkdir(in_dir(dir, temp), 0700), 0);
    assert_false(ec_fs_write_atomic(file, "other", 5, 0600, true, NULL));
    assert_file(file, "mine");
    assert_int_equal(rmdir(in_dir(dir, temp)), 0);
    // The target itself: a link is replaced, not followed; a directory is not.
    assert_int_equal(symlink("victim", in_dir(dir, "link")), 0);
    assert_true(ec_fs_write_atomic(in_dir(dir, "link"), "mine", 4, 0600, true, NULL));
    assert_file(in_dir(dir, "victim"), "untouched");
    assert_file(in_dir(dir, "link"), "mine");
    assert_int_equal(mkdir(in_dir(dir, "sub"), 0700), 0);
    ec_err err;
    assert_false(ec_fs_write_atomic(in_dir(dir, "sub"), "x", 1, 0600, true, &err));
    assert_string_equal(err.code, "EISDIR");
    assert_int_equal(count_entries(dir), 4);
}

// ---- reading ----

static void test_read(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "f");
    eb_buf b = {0};
    ec_err err;
    put_text(file, "hello");
    eb_adds(&b, "> ");
    assert_true(ec_fs_read(&b, file, 5, true, &err));
    assert_int_equal(b.size, 7);
    b.size = 0;
    assert_false(ec_fs_read(&b, file, 4, false, &err));
    assert_string_equal(err.code, "EFBIG");
    b.size = 0;
    put_text(file, "");
    assert_true(ec_fs_read(&b, file, 0, false, &err));
    assert_int_equal(b.size, 0);
    assert_int_equal(symlink("f", in_dir(dir, "link")), 0);
    assert_true(ec_fs_read(&b, in_dir(dir, "link"), 10, false, &err));
    assert_false(ec_fs_read(&b, in_dir(dir, "link"), 10, true, &err));
    assert_string_equal(err.code, "ELOOP");
    assert_false(ec_fs_read(&b, in_dir(dir, "none"), 10, false, &err));
    assert_string_equal(err.code, "ENOENT");
    assert_false(ec_fs_read(&b, dir, 10, false, &err));
    assert_string_equal(err.code, "EISDIR");
    assert_int_equal(mkfifo(in_dir(dir, "fifo"), 0600), 0);
    assert_false(ec_fs_read(&b, in_dir(dir, "fifo"), 10, false, &err)); // and does not wait
    assert_string_equal(err.code, "EINVAL");
    assert_false(ec_fs_read(&b, "/dev/zero", 10, false, &err));
    assert_string_equal(err.code, "EINVAL");
    eb_free(&b);
}

static void test_read_big(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "f");
    enum { SIZE = 3 * 65536 + 1 };
    char *data = malloc(SIZE);
    assert_non_null(data);
    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i % 251);
    put_file(file, data, SIZE);
    eb_buf b = {0};
    assert_true(ec_fs_read(&b, file, SIZE, false, NULL));
    assert_int_equal(b.size, SIZE);
    assert_memory_equal(b.data, data, SIZE);
    b.size = 0;
    assert_false(ec_fs_read(&b, file, SIZE - 1, false, NULL));
    eb_free(&b);
    free(data);
}

static void test_read_at(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "f");
    put_text(file, "0123456789");
    static const struct {
        int64_t offset;
        size_t max;
        const char *text;
    } table[] = {{0, 3, "012"}, {7, 3, "789"}, {7, 100, "789"}, {10, 5, ""}, {99, 5, ""}, {0, 0, ""}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        eb_buf b = {0};
        int64_t size = -1;
        assert_true(ec_fs_read_at(&b, &size, file, table[i].offset, table[i].max, NULL));
        assert_int_equal(size, 10);
        assert_int_equal(b.size, strlen(table[i].text));
        assert_memory_equal(b.data, table[i].text, b.size);
        eb_free(&b);
    }
    eb_buf b = {0};
    int64_t size;
    ec_err err;
    assert_false(ec_fs_read_at(&b, &size, file, -1, 1, &err));
    assert_string_equal(err.code, "EINVAL");
    assert_false(ec_fs_read_at(&b, &size, dir, 0, 1, &err));
    assert_string_equal(err.code, "EISDIR");
    eb_free(&b);
}

// ---- append ----

static void test_append_after_each_kind_of_end(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "events.jsonl");
    struct stat st;
    assert_true(ec_fs_append(file, "{\"a\":1}\n", 8, NULL));
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_file(file, "{\"a\":1}\n");
    put_text(file, "{\"a\":1}\n{\"torn");
    assert_true(ec_fs_append(file, "{\"b\":2}\n", 8, NULL));
    assert_file(file, "{\"a\":1}\n{\"torn\n{\"b\":2}\n");
    assert_true(ec_fs_append(file, "", 0, NULL));
    assert_file(file, "{\"a\":1}\n{\"torn\n{\"b\":2}\n");
}

static void test_append_on_a_failing_disk(void **state)
{
    const char *dir = *state, *file = in_dir(dir, "f");
    int fds = open_files();
    for (size_t e = 0; e < ERRNOS; e++) {
        for (int n = 1;; n++) {
            assert_true(n < 10);
            inject(ANY, 0, 0, false);
            put_text(file, "one\ntorn");
            inject(ANY, n, errnos[e], false);
            ec_err err;
            bool ok = ec_fs_append(file, "two\n", 4, &err);
            if (ok)
                break;
            assert_string_equal(err.code, ec_errno_name(errnos[e]));
            assert_non_null(strstr(err.message, file));
            assert_file(file, "one\ntorn");
            assert_int_equal(open_files(), fds);
        }
    }
    // Half of the line fits: it is taken back.
    put_text(file, "one\n");
    inject(WRITE, 1, 0, false);
    ec_err err;
    assert_false(ec_fs_append(file, "a long line\n", 12, &err));
    assert_string_equal(err.code, "ENOSPC");
    assert_file(file, "one\n");
    // It cannot be taken back: torn, and the next line is whole all the same.
    inject(ANY, 0, 0, false);
    ec_fs_ops.ftruncate = faulty_ftruncate;
    fault.piece = 3;
    fault.op = TRUNCATE;
    fault.at = 1;
    fault.errnum = EIO;
    assert_false(ec_fs_append(file, "a long line\n", 12, &err));
    assert_string_equal(err.code, "EIO");
    assert_file(file, "one\na l");
    inject(ANY, 0, 0, false);
    assert_true(ec_fs_append(file, "two\n", 4, NULL));
    assert_file(file, "one\na l\ntwo\n");
    assert_int_equal(open_files(), fds);
}

static void test_append_to_what_is_not_a_file(void **state)
{
    const char *dir = *state;
    ec_err err;
    put_text(in_dir(dir, "victim"), "v");
    assert_int_equal(symlink("victim", in_dir(dir, "link")), 0);
    assert_false(ec_fs_append(in_dir(dir, "link"), "x\n", 2, &err));
    assert_string_equal(err.code, "ELOOP");
    assert_file(in_dir(dir, "victim"), "v");
    assert_int_equal(mkfifo(in_dir(dir, "fifo"), 0600), 0);
    assert_false(ec_fs_append(in_dir(dir, "fifo"), "x\n", 2, &err));
    assert_string_equal(err.code, "EINVAL");
    assert_false(ec_fs_append(dir, "x\n", 2, &err));
    assert_string_equal(err.code, "EISDIR");
}

// ---- directories ----

static void test_mkdirs(void **state)
{
    const char *dir = *state;
    struct stat st;
    ec_err err;
    assert_true(ec_fs_mkdirs(in_dir(dir, "a/b/c"), 0700, NULL));
    assert_int_equal(stat(in_dir(dir, "a/b"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_true(ec_fs_mkdirs(in_dir(dir, "a/b/c"), 0700, NULL));
    assert_true(ec_fs_mkdirs(in_dir(dir, "a//x/"), 0700, NULL));
    assert_true(ec_fs_mkdirs("/", 0700, NULL));
    assert_false(ec_fs_mkdirs("", 0700, &err));
    assert_string_equal(err.code, "ENOENT");
    put_text(in_dir(dir, "file"), "");
    assert_false(ec_fs_mkdirs(in_dir(dir, "file"), 0700, &err));
    assert_string_equal(err.code, "ENOTDIR");
    assert_false(ec_fs_mkdirs(in_dir(dir, "file/x"), 0700, &err));
    assert_string_equal(err.code, "ENOTDIR");
    char *deep = malloc(PATH_MAX + 10);
    assert_non_null(deep);
    memset(deep, '/', PATH_MAX + 9);
    deep[PATH_MAX + 9] = '\0';
    assert_false(ec_fs_mkdirs(deep, 0700, &err));
    assert_string_equal(err.code, "ENAMETOOLONG");
    free(deep);
}

// The table of S04: what may stand where our directory should be, seen by root and by uid 65534.
enum plant {
    MISSING,
    OURS,
    OURS_OPEN,
    THEIRS,
    THEIRS_OPEN,
    LINK_TO_OURS,
    LINK_TO_THEIRS,
    DANGLING,
    PLAIN,
    FIFO,
    SOCKET,
    DEEP
};

static void plant(const char *dir, enum plant what, uid_t us, uid_t them)
{
    const char *path = in_dir(dir, "spot"), *aim = in_dir(dir, "aim");
    if (what == OURS || what == OURS_OPEN || what == THEIRS || what == THEIRS_OPEN) {
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(chmod(path, what == OURS ? 0700 : 0777), 0);
        assert_int_equal(chown(path, what >= THEIRS ? them : us, 0), 0);
    } else if (what == LINK_TO_OURS || what == LINK_TO_THEIRS) {
        assert_int_equal(mkdir(aim, 0700), 0);
        assert_int_equal(chown(aim, what == LINK_TO_OURS ? us : them, 0), 0);
        assert_int_equal(symlink("aim", path), 0);
    } else if (what == DANGLING) {
        assert_int_equal(symlink("aim", path), 0);
    } else if (what == PLAIN) {
        put_text(path, "not a directory");
    } else if (what == FIFO) {
        assert_int_equal(mkfifo(path, 0666), 0);
    } else if (what == SOCKET) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un addr = {.sun_family = AF_UNIX};
        assert_true((size_t)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path) < sizeof addr.sun_path);
        assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
        close(fd);
    }
}

// In a child with that uid: the code word of the result, "" for success.
static void secure_as(char code[24], uid_t uid, const char *path, bool create)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        ec_err err = {0};
        if (uid != geteuid() && setuid(uid) != 0)
            _exit(1);
        if (ec_fs_secure_dir(path, create, &err))
            err.code[0] = '\0';
        else if (!strstr(err.message, path))
            snprintf(err.code, sizeof err.code, "no path");
        _exit(write(fds[1], err.code, sizeof err.code) == sizeof err.code ? 0 : 1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], code, 24), 24);
    close(fds[0]);
    assert_int_equal(reap(pid), 0);
}

static void test_secure_dir(void **state)
{
    const char *dir = *state;
    static const struct {
        enum plant what;
        const char *create, *check; // code words
    } table[] = {
        {MISSING, "", "ENOENT"},
        {OURS, "", ""},
        {OURS_OPEN, "", NULL},
        {THEIRS, "EPERM", "EPERM"},
        {THEIRS_OPEN, "EPERM", "EPERM"},
        {LINK_TO_OURS, "ELOOP", "ELOOP"},
        {LINK_TO_THEIRS, "ELOOP", "ELOOP"},
        {DANGLING, "ELOOP", "ELOOP"},
        {PLAIN, "ENOTDIR", "ENOTDIR"},
        {FIFO, "ENOTDIR", "ENOTDIR"},
        {SOCKET, "ENOTDIR", "ENOTDIR"},
        {DEEP, "ENOENT", "ENOENT"},
    };
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(dir, 0777), 0); // a directory where everybody may plant, like /tmp without its sticky bit
    long good = 0, all = 0;
    for (int as_nobody = 0; as_nobody < 2; as_nobody++) {
        uid_t us = as_nobody ? NOBODY : 0, them = as_nobody ? 0 : NOBODY;
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
            for (int create = 0; create < 2; create++) {
                const char *want = create ? table[i].create : table[i].check;
                const char *path = in_dir(dir, table[i].what == DEEP ? "none/spot" : "spot");
                char code[24];
                plant(dir, table[i].what, us, them);
                secure_as(code, us, path, create);
                all++;
                if (want && strcmp(code, want) != 0)
                    fail_msg("row %zu as uid %u, create %d: %s, not %s", i, us, create, code, want);
                good++;
                struct stat st;
                if (create && *code == '\0') {
                    assert_int_equal(lstat(path, &st), 0);
                    assert_int_equal(st.st_mode & 07777, 0700);
                    assert_int_equal(st.st_uid, us);
                }
                if (!create && table[i].what == OURS_OPEN) { // inspection never writes
                    assert_int_equal(lstat(path, &st), 0);
                    assert_int_equal(st.st_mode & 07777, 0777);
                }
                if (table[i].what == DANGLING)
                    assert_int_equal(access(in_dir(dir, "aim"), F_OK), -1);
                unlink(in_dir(dir, "spot"));
                rmdir(in_dir(dir, "spot"));
                rmdir(in_dir(dir, "aim"));
                assert_int_equal(count_entries(dir), 0);
            }
        }
    }
    bar("S04", good, all);
}

// Not even readable for us, or in a place where we may not write.
static void test_secure_dir_without_permission(void **state)
{
    const char *dir = *state;
    char code[24];
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(dir, 0755), 0);
    secure_as(code, NOBODY, in_dir(dir, "new"), true);
    assert_string_equal(code, "EACCES");
    assert_int_equal(mkdir(in_dir(dir, "closed"), 0700), 0);
    secure_as(code, NOBODY, in_dir(dir, "closed"), true);
    assert_string_equal(code, "EACCES");
    assert_int_equal(count_entries(dir), 1);
}

// ---- locks ----

static void test_flock(void **state)
{
    const char *dir = *state, *path = in_dir(dir, "lock");
    struct stat st;
    ec_err err;
    int a = ec_fs_flock(path, &err);
    assert_true(a >= 0);
    assert_int_equal(fstat(a, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(fcntl(a, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(ec_fs_flock(path, &err), -1);
    assert_string_equal(err.code, "EWOULDBLOCK");
    assert_true(ec_fs_lock_write(a, "pid 7 `envctl start`\nmore\n", 26, NULL));
    assert_int_equal(ec_fs_flock(path, &err), -1);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, "pid 7 `envctl start`"));
    assert_null(strchr(err.message, '\n'));
    assert_true(ec_fs_lock_write(a, "short\n", 6, NULL));
    assert_file(path, "short\n");
    close(a);
    int b = ec_fs_flock(path, &err);
    assert_true(b >= 0);
    assert_file(path, "short\n"); // the file stays, and taking the lock does not write
    close(b);
    assert_int_equal(symlink("lock", in_dir(dir, "link")), 0);
    assert_int_equal(ec_fs_flock(in_dir(dir, "link"), &err), -1);
    assert_string_equal(err.code, "ELOOP");
    assert_int_equal(ec_fs_flock(in_dir(dir, "none/lock"), &err), -1);
    assert_string_equal(err.code, "ENOENT");
    put_file(in_dir(dir, "binary"), "\0\0\0\0", 4);
    int c = ec_fs_flock(in_dir(dir, "binary"), &err);
    assert_int_equal(ec_fs_flock(in_dir(dir, "binary"), &err), -1);
    close(c);
}

// R28: the holder is killed; the kernel lets go of the lock though the holder's own child lives on.
static void test_flock_goes_with_its_holder(void **state)
{
    const char *dir = *state, *path = in_dir(dir, "lock");
    long rounds = env_number("ENVCTL_ROUNDS", 300), good = 0;
    for (long i = 0; i < rounds; i++) {
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t holder = fork();
        if (holder == 0) {
            pid_t service = -1;
            if (ec_fs_flock(path, NULL) >= 0)
                service = fork();
            if (service == 0) { // a program that the holder started
                execl("/bin/sleep", "sleep", "60", NULL);
                _exit(127);
            }
            if (write(fds[1], &service, sizeof service) != sizeof service)
                _exit(1);
            for (;;)
                pause();
        }
        close(fds[1]);
        pid_t service = -1;
        assert_int_equal(read(fds[0], &service, sizeof service), sizeof service);
        close(fds[0]);
        assert_true(service > 0);
        // Until its exec the child holds a copy of the descriptor; afterwards it must not.
        wait_for(process_is(service, "sleep"));
        assert_int_equal(ec_fs_flock(path, NULL), -1);
        kill_and_reap(holder);
        int fd = ec_fs_flock(path, NULL);
        good += fd >= 0;
        if (fd >= 0)
            close(fd);
        kill_and_reap(service); // ours since its parent died
    }
    bar("R28", good, rounds);
}

int main(void)
{
    adopt_orphans();
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_each_failing_call_of_a_save),
        TEST(test_a_disk_that_stays_broken),
        TEST(test_writes_in_pieces),
        TEST(test_an_interrupted_write_goes_on),
        TEST(test_a_write_of_nothing_is_a_full_disk),
        TEST(test_names_and_modes),
        TEST(test_a_planted_temporary),
        TEST(test_read),
        TEST(test_read_big),
        TEST(test_read_at),
        TEST(test_append_after_each_kind_of_end),
        TEST(test_append_on_a_failing_disk),
        TEST(test_append_to_what_is_not_a_file),
        TEST(test_mkdirs),
        TEST(test_secure_dir),
        TEST(test_secure_dir_without_permission),
        TEST(test_flock),
        TEST(test_flock_goes_with_its_holder),
    };
    return cmocka_run_group_tests_name("fs", tests, NULL, NULL);
}
