// The script host's cage: what a confined process still can do, and reading files that stay inside of a directory.
#include "support.h"

#include "envctl/confine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Runs `fn` in a confined child; its standard descriptors are pipes. Returns the wait status.
static int confined(int (*fn)(void))
{
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        ec_confine_report report;
        ec_err err;
        const ec_confine_opts opts = {.memory = 64 << 20, .cpu_seconds = 10};
        if (!ec_confine_apply(&report, &opts, &err) || !report.seccomp)
            _exit(99);
        _exit(fn());
    }
    close(in[0]);
    close(out[1]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(in[1]);
    close(out[0]);
    return status;
}

static int use_allowed(void)
{
    char byte = 'x';
    void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct timespec now;
    if (p == MAP_FAILED || write(1, &byte, 1) != 1 || clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return 1;
    munmap(p, 1 << 20);
    free(malloc(100000));
    return 0;
}

static int try_open(void)
{
    return open("/etc/passwd", O_RDONLY) >= 0;
}

static int try_openat(void)
{
    return openat(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY) >= 0;
}

static int try_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static int try_fork(void)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0 ? 1 : 2;
}

static int try_exec(void)
{
    char *const argv[] = {"true", NULL};
    return execve("/bin/true", argv, argv + 1);
}

static int try_kill(void)
{
    return kill(getppid(), 0);
}

static int try_ptrace(void)
{
    return (int)syscall(SYS_ptrace, 0, 0, 0, 0);
}

static int try_prctl(void)
{
    return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
}

static int try_setrlimit(void)
{
    struct rlimit r = {1, 1};
    return setrlimit(RLIMIT_NOFILE, &r);
}

static int try_exec_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static int try_make_executable(void)
{
    static char page[8192];
    char *p = page + (4096 - (uintptr_t)page % 4096);
    return mprotect(p, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
}

static int try_map_file(void)
{
    return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 0, 0) != MAP_FAILED;
}

static int try_other_descriptor(void)
{
    char byte = 0;
    return write(3, &byte, 1) == 1;
}

static int try_read_output(void)
{
    char byte;
    return (int)read(1, &byte, 1);
}

static int try_io_uring(void)
{
    return (int)syscall(425, 1, NULL);
}

static void test_what_is_left(void **state)
{
    (void)state;
    int status = confined(use_allowed);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_everything_else_ends_it(void **state)
{
    (void)state;
    static int (*const attempts[])(void) = {
        try_open,     try_openat,      try_socket,          try_fork,      try_exec,
        try_kill,     try_ptrace,      try_prctl,           try_setrlimit, try_exec_memory,
        try_map_file, try_read_output, try_make_executable, try_io_uring,  try_other_descriptor,
    };
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        int status = confined(attempts[i]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("attempt %zu: status %#x", i, (unsigned)status);
    }
}

static void test_probe(void **state)
{
    (void)state;
    ec_confine_report r;
    ec_confine_probe(&r);
    assert_true(r.seccomp == (r.seccomp_why[0] == '\0'));
    assert_true((r.landlock > 0) == (r.landlock_why[0] == '\0'));
}

static void write_file(const char *dir, const char *name, const char *text, mode_t mode)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    put_text(path, text);
    assert_int_equal(chmod(path, mode), 0);
}

static void make_link(const char *dir, const char *name, const char *target)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(symlink(target, path), 0);
}

static void expect_read(const char *dir, const char *path, const char *text, const char *code)
{
    eb_buf b = {0};
    ec_beneath st;
    ec_err err = {.code = ""};
    bool ok = ec_confine_read(&b, &st, dir, path, 1000, &err);
    if (text) {
        if (!ok)
            fail_msg("%s: %s", path, err.message);
        assert_int_equal(b.size, strlen(text));
        assert_memory_equal(b.data ? b.data : "", text, b.size);
        assert_int_equal(st.uid, geteuid());
    } else {
        assert_false(ok);
        assert_string_equal(err.code, code);
        assert_non_null(strstr(err.message, path));
    }
    eb_free(&b);
}

static void test_read_stays_inside(void **state)
{
    (void)state;
    char *base = make_dir(), large[1200];
    const char *dir = in_dir(base, "repo"), *sub = in_dir(base, "repo/sub"), *fifo = in_dir(base, "repo/fifo");
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    write_file(base, "secret", "secret", 0600);
    write_file(dir, "file", "text", 0640);
    write_file(dir, "empty", "", 0600);
    write_file(dir, "large", large, 0600);
    write_file(sub, "inner", "inner", 0600);
    make_link(dir, "inside", "sub/inner");
    make_link(dir, "up", "../secret");
    make_link(dir, "absolute", "/etc/passwd");
    make_link(dir, "self", "self");
    make_link(dir, "dangling", "nowhere");
    make_link(dir, "parent", "..");
    make_link(dir, "proc", "/proc/self/cwd");
    make_link(sub, "back", "../file");

    expect_read(dir, "file", "text", NULL);
    expect_read(dir, "empty", "", NULL);
    expect_read(dir, "sub/inner", "inner", NULL);
    expect_read(dir, "inside", "inner", NULL);
    expect_read(dir, "sub/back", "text", NULL);
    expect_read(dir, "sub/../file", "text", NULL);
    expect_read(dir, "none", NULL, "ENOENT");
    expect_read(dir, "file/x", NULL, "ENOTDIR");
    expect_read(dir, "dangling", NULL, "ENOENT");
    expect_read(dir, "self", NULL, "ELOOP");
    expect_read(dir, "up", NULL, "EXDEV");
    expect_read(dir, "../secret", NULL, "EXDEV");
    expect_read(dir, "parent/secret", NULL, "EXDEV");
    expect_read(dir, "absolute", NULL, "EXDEV");
    expect_read(dir, "/etc/passwd", NULL, "EXDEV");
    expect_read(dir, "proc/x", NULL, "EXDEV");
    expect_read(dir, "sub", NULL, "EISDIR");
    expect_read(dir, "fifo", NULL, "EINVAL");
    expect_read(dir, "large", NULL, "EFBIG");
    expect_read("/nowhere-at-all", "file", NULL, "ENOENT");

    eb_buf b = {0};
    ec_beneath st;
    assert_true(ec_confine_read(&b, &st, dir, "file", 4, NULL));
    assert_int_equal(st.mode, 0640);
    eb_free(&b);
    drop_dir(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_left),
        cmocka_unit_test(test_everything_else_ends_it),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_read_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
