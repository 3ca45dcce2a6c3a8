// R12: a pid that was used again is never taken for the process that was recorded, whenever it happens; and what else
// test_procfs.c has no room for.
#include "spawning.h"

#include <linux/sched.h>
#include <sys/syscall.h>

#include "envctl/ops.h"
#include "envctl/procfs.h"

static pid_t rest_child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    assert_true(pid > 0);
    return pid;
}

static int no_pidfd(pid_t pid, unsigned flags)
{
    (void)pid;
    (void)flags;
    errno = ENOSYS;
    return -1;
}

// fork, with a pid of our choice: root only.
static pid_t fork_as(pid_t pid)
{
    pid_t wanted[1] = {pid};
    struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)wanted, .set_tid_size = 1};
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

// A process that dies of any signal, at the pid of one that has ended.
static pid_t stranger_at(pid_t pid)
{
    pid_t got = fork_as(pid);
    if (got == 0)
        for (;;)
            pause();
    return got;
}

// Start times are counted in ticks of 10 ms. Natural reuse takes the kernel most of a second; the test may not be
// faster than a tick.
static void next_tick(const ec_identity *old)
{
    ec_identity now;
    do {
        nap();
        pid_t pid = rest_child();
        assert_true(ec_procfs_identity(&now, pid));
        kill_and_reap(pid);
    } while (now.start_ticks <= old->start_ticks);
}

static pid_t to_replace;

// The recorded process ends, and a stranger gets its pid, between our decision to signal it and the system call.
static int reuse_before_open(pid_t pid, unsigned flags)
{
    kill_and_reap(to_replace);
    assert_int_equal(stranger_at(to_replace), to_replace);
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

static int reuse_after_open(pid_t pid, unsigned flags)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, flags);
    kill_and_reap(to_replace);
    assert_int_equal(stranger_at(to_replace), to_replace);
    return fd;
}

static int (*const moments[])(pid_t pid, unsigned flags) = {NULL, reuse_before_open, reuse_after_open, no_pidfd};

// One reuse. Returns whether the stranger was left alone and not taken for ours.
static bool reuse(int moment)
{
    const ec_procops real = ec_proc_ops;
    ec_identity id;
    ec_err err;
    pid_t pid = rest_child();
    assert_true(ec_procfs_identity(&id, pid));
    next_tick(&id);
    to_replace = pid;
    if (moments[moment] == NULL || moments[moment] == no_pidfd) {
        kill_and_reap(pid);
        assert_int_equal(stranger_at(pid), pid);
    }
    if (moments[moment])
        ec_proc_ops.pidfd_open = moments[moment];
    bool refused = !ec_procfs_signal(&id, SIGKILL, &err);
    ec_proc_ops = real;
    bool known = ec_procfs_alive(&id) == EC_REUSED;
    bool harmed = ended(pid);
    kill(pid, SIGKILL);
    reap(pid);
    return refused && known && !harmed;
}

static bool may_choose_pids(void)
{
    pid_t pid = rest_child();
    kill_and_reap(pid);
    pid_t again = stranger_at(pid);
    if (again == pid)
        kill_and_reap(pid);
    else
        printf("# skipped: clone3(set_tid): %s\n", strerror(errno));
    return again == pid;
}

static void test_reused_pids(void **state)
{
    (void)state;
    if (!may_choose_pids())
        skip();
    long rounds = env_number("ENVCTL_ROUNDS", 80), good = 0;
    for (long i = 0; i < rounds; i++)
        good += reuse((int)(i % 4));
    bar("R12", good, rounds);
}

#ifdef ENVCTL_FAULTS
// With the check switched off the stranger is hit: the test above can fail.
static void test_teeth_of_reused_pids(void **state)
{
    (void)state;
    if (!may_choose_pids())
        skip();
    setenv("ENVCTL_FAULT", "no_identity_check", 1);
    bool harmless = reuse(0);
    unsetenv("ENVCTL_FAULT");
    bar("R12-teeth", !harmless, 1);
}
#endif

// ---- the rest ----

static void test_kernel_threads(void **state)
{
    (void)state;
    ec_stat st;
    char *text = proc_text(2, "comm");
    if (text && strcmp(text, "kthreadd\n") == 0) {
        assert_true(ec_procfs_stat(&st, 2));
        assert_true(st.kernel);
    }
    free(text);
    assert_true(ec_procfs_stat(&st, getpid()));
    assert_false(st.kernel);
}

static void test_flag_of_kernel_threads(void **state)
{
    (void)state;
    ec_stat st;
    const char kernel[] = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0";
    const char other[] = "9 (x) S 8 -1 -1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0";
    assert_true(ec_stat_parse(&st, kernel, sizeof kernel - 1));
    assert_true(st.kernel);
    assert_true(ec_stat_parse(&st, other, sizeof other - 1));
    assert_false(st.kernel);
    const char bigger[] = "2147483648 (x) S 8 -1 -1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0";
    assert_false(ec_stat_parse(&st, bigger, sizeof bigger - 1)); // not a pid
}

static void test_read_appends_and_terminates(void **state)
{
    (void)state;
    eb_buf b = {0};
    assert_true(ec_procfs_read(&b, getpid(), "comm"));
    assert_string_equal(b.data, "test_reuse\n");
    assert_true(ec_procfs_read(&b, getpid(), "comm"));
    assert_string_equal(b.data, "test_reuse\ntest_reuse\n");
    eb_free(&b);
}

static void test_cgroup_holds(void **state)
{
    (void)state;
    char *text = proc_text(getpid(), "cgroup");
    char *own = text ? strstr(text, "0::/") : NULL;
    if (!own) {
        free(text);
        skip();
        return;
    }
    own += 3;
    own[strcspn(own, "\n")] = '\0';
    char path[PATH_MAX];
    assert_false(ec_cgroup_holds("/sys/fs/cgroup/surely/not/ours", getpid()));
    if (own[1]) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s", own);
        assert_true(ec_cgroup_holds(path, getpid()));
        *strrchr(path, '/') = '\0';
    }
    assert_true(ec_cgroup_holds("/anything", INT_MAX)); // cannot be known
    assert_false(ec_cgroup_populated("/sys/fs/cgroup/surely/not/there"));
    free(text);
}

// As somebody who may not write there: no, with a reason, and nothing is left behind.
static void test_cgroup_base_without_permission(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        char path[PATH_MAX];
        ec_err err = {0};
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(3);
        bool got = ec_cgroup_base(path, sizeof path, "envctl-test-nobody", true, &err);
        _exit(got || !err.message[0]);
    }
    assert_int_equal(reap(pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reused_pids),
#ifdef ENVCTL_FAULTS
        cmocka_unit_test(test_teeth_of_reused_pids),
#endif
        cmocka_unit_test(test_kernel_threads),
        cmocka_unit_test(test_flag_of_kernel_threads),
        cmocka_unit_test(test_read_appends_and_terminates),
        cmocka_unit_test(test_cgroup_holds),
        cmocka_unit_test(test_cgroup_base_without_permission),
    };
    return cmocka_run_group_tests_name("reuse", tests, NULL, NULL);
}
