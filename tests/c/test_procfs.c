// What /proc says: parsing, identities, and who may be signalled.
#include "support.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "envctl/ops.h"
#include "envctl/procfs.h"

// ---- stat ----

// The kernel's line: pid (comm) state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime
// cutime cstime priority nice threads itrealvalue starttime …; field 22 is 9876543210, every other number is its own
// field's.
#define REST                                                                                                           \
    " S 4 5 6 7 -1 4194560 10 11 12 13 14 15 16 17 20 0 20 21 9876543210 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37" \
    " 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52\n"

static void test_field_22_exactly(void **state)
{
    (void)state;
    ec_stat st;
    const char text[] = "123 (bash)" REST;
    assert_true(ec_stat_parse(&st, text, sizeof text - 1));
    assert_int_equal(st.pid, 123);
    assert_int_equal(st.state, 'S');
    assert_int_equal(st.ppid, 4);
    assert_int_equal(st.pgrp, 5);
    assert_int_equal(st.session, 6);
    assert_true(st.start_ticks == 9876543210u);
    assert_string_equal(st.comm, "bash");
}

// A process chooses its own name; none makes the parser read other fields.
static void test_hostile_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "a) R 1 (",
        ")",
        "(",
        "()",
        ") (",
        "",
        " ",
        "a b c",
        "x) Z 1 1 1",
        "\n",
        "a\nb) S 1",
        "1234567",
        "(((((((((((((",
        ")))))))))))))))",
        "\xff\xfe",
        "sd-pam) T 0",
        "R 1 1 1",
        "%s%n%d",
        "0 0 0 0 0 0 0",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[512];
        ec_stat st;
        int n = snprintf(text, sizeof text, "77 (%s)" REST, names[i]);
        assert_true(ec_stat_parse(&st, text, (size_t)n));
        assert_int_equal(st.pid, 77);
        assert_int_equal(st.state, 'S');
        assert_int_equal(st.ppid, 4);
        assert_int_equal(st.session, 6);
        assert_true(st.start_ticks == 9876543210u);
        assert_string_equal(st.comm, names[i]);
    }
}

static void test_numbers_at_their_limits(void **state)
{
    (void)state;
    ec_stat st;
    const char big[] = "2147483647 (x) R 2147483647 2147483647 2147483647 0 0 4294967295 18446744073709551615 "
                       "18446744073709551615 18446744073709551615 18446744073709551615 18446744073709551615 "
                       "18446744073709551615 18446744073709551615 18446744073709551615 -9223372036854775808 "
                       "-9223372036854775808 9223372036854775807 9223372036854775807 18446744073709551615 1 2";
    assert_true(ec_stat_parse(&st, big, sizeof big - 1));
    assert_int_equal(st.pid, INT_MAX);
    assert_int_equal(st.ppid, INT_MAX);
    assert_true(st.start_ticks == UINT64_MAX);
    const char kernel[] = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0";
    assert_true(ec_stat_parse(&st, kernel, sizeof kernel - 1));
    assert_int_equal(st.ppid, 0);
    assert_true(st.start_ticks == 7);
}

// Every prefix of a line is either refused or, with all of field 22, right.
static void test_cut_lines(void **state)
{
    (void)state;
    const char text[] = "123 (a) R 1 ()" REST;
    const char *field = strstr(text, "9876543210");
    assert_non_null(field);
    for (size_t n = 0; n < sizeof text; n++) {
        char *cut = malloc(n ? n : 1); // AddressSanitizer watches its end
        assert_non_null(cut);
        memcpy(cut, text, n);
        ec_stat st;
        bool ok = ec_stat_parse(&st, cut, n);
        if (n >= (size_t)(field - text) + 10)
            assert_true(ok && st.start_ticks == 9876543210u);
        else if (n <= (size_t)(field - text))
            assert_false(ok && st.ppid == 4);
        free(cut);
    }
    static const char *const nonsense[] = {"(x)" REST,    "x (x)" REST, "0 (x)" REST,
                                           "-5 (x)" REST, ") 1 (" REST, "12 x" REST};
    ec_stat st;
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
        assert_false(ec_stat_parse(&st, nonsense[i], strlen(nonsense[i])));
}

static pid_t sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    assert_true(pid > 0);
    return pid;
}

static void test_real_processes(void **state)
{
    (void)state;
    ec_stat st;
    assert_true(ec_procfs_stat(&st, getpid()));
    assert_int_equal(st.pid, getpid());
    assert_int_equal(st.ppid, getppid());
    assert_int_equal(st.pgrp, getpgrp());
    assert_int_equal(st.session, getsid(0));
    assert_int_equal(st.state, 'R');
    // Field 22 as another reader of the same file counts it: 20th word after the last ')'.
    char *text = get_file("/proc/self/stat", NULL);
    assert_non_null(text);
    char *word = strrchr(text, ')') + 1, *save = NULL;
    word = strtok_r(word, " ", &save);
    for (int field = 3; field < 22; field++)
        word = strtok_r(NULL, " ", &save);
    assert_true(st.start_ticks == strtoull(word, NULL, 10));
    free(text);
    // The kernel's own names: 15 bytes of anything.
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NAME, "a) R 1 (\n) Z 0");
        for (;;)
            pause();
    }
    wait_for(ec_procfs_stat(&st, pid) && strcmp(st.comm, "a) R 1 (\n) Z 0") == 0);
    assert_int_equal(st.ppid, getpid());
    kill_and_reap(pid);
    assert_false(ec_procfs_stat(&st, pid));
    assert_false(ec_procfs_stat(&st, 0));
    assert_false(ec_procfs_stat(&st, -1));
}

// ---- environ ----

static void test_environ_find(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        const char *name, *value;
    } table[] = {
        {"A=1\0B=2\0", 8, "A", "1"},  {"A=1\0B=2\0", 8, "B", "2"},
        {"A=1\0B=2\0", 8, "C", NULL}, {"A=1\0B=2\0", 8, "", NULL},
        {"A=\0", 3, "A", ""},         {"A\0A=x\0", 6, "A", "x"},
        {"AB=1\0A=2\0", 9, "A", "2"}, {"XA=1\0", 5, "A", NULL},
        {"A=1\0A=2\0", 8, "A", "1"}, // as getenv does
        {"A=a=b\0", 6, "A", "a=b"},   {"\0\0A=1\0", 6, "A", "1"},
        {"=1\0A=2\0", 7, "A", "2"},   {"A=1", 3, "A", NULL}, // cut off
        {"B=2\0A=1", 7, "A", NULL},   {"", 0, "A", NULL},
        {"A=1\nB=2\0", 8, "B", NULL}, // a new line does not start a variable
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *text = malloc(table[i].size ? table[i].size : 1);
        assert_non_null(text);
        memcpy(text, table[i].text, table[i].size);
        const char *value = ec_environ_find(text, table[i].size, table[i].name, strlen(table[i].name));
        if (!table[i].value && value)
            fail_msg("row %zu: found %s", i, value);
        if (table[i].value) {
            assert_non_null(value);
            assert_string_equal(value, table[i].value);
        }
        free(text);
    }
}

static void test_reading_other_processes(void **state)
{
    (void)state;
    char *const argv[] = {"stub", "wait", NULL}, *const envp[] = {"ENVCTL_SERVICE=run/web", "OTHER=", NULL};
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir("/usr") != 0)
            _exit(1);
        execve(FIXTURE("stub"), argv, envp);
        _exit(127);
    }
    wait_for(process_is(pid, "fx_stub"));
    eb_buf b = {0};
    assert_true(ec_procfs_read(&b, pid, "environ"));
    const char *value = ec_environ_find(b.data, b.size, "ENVCTL_SERVICE", 14);
    assert_non_null(value);
    assert_string_equal(value, "run/web");
    b.size = 0;
    assert_true(ec_procfs_read(&b, pid, "cmdline"));
    assert_int_equal(b.size, 10);
    assert_memory_equal(b.data, "stub\0wait\0", 10);
    char path[PATH_MAX];
    assert_true(ec_procfs_link(path, sizeof path, pid, "cwd"));
    assert_string_equal(path, "/usr");
    char tiny[3];
    assert_true(ec_procfs_link(tiny, sizeof tiny, pid, "cwd"));
    assert_string_equal(tiny, "/u");
    kill_and_reap(pid);
    b.size = 0;
    assert_false(ec_procfs_read(&b, pid, "environ"));
    assert_false(ec_procfs_link(path, sizeof path, pid, "cwd"));
    eb_free(&b);
}

static bool count_one(pid_t pid, void *ud)
{
    int *seen = ud;
    seen[0]++;
    seen[1] |= pid == getpid();
    return true;
}

static bool stop_at_once(pid_t pid, void *ud)
{
    (void)pid;
    ++*(int *)ud;
    return false;
}

static void test_each(void **state)
{
    (void)state;
    int seen[2] = {0, 0}, calls = 0;
    ec_procfs_each(count_one, seen);
    assert_true(seen[0] > 1);
    assert_true(seen[1]);
    ec_procfs_each(stop_at_once, &calls);
    assert_int_equal(calls, 1);
}

static void collect(uint64_t inode, void *ud)
{
    uint64_t *wanted = ud;
    if (inode == wanted[0])
        wanted[1]++;
}

static void test_sockets(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    uint64_t wanted[2] = {st.st_ino, 0};
    assert_true(ec_procfs_sockets(getpid(), collect, wanted));
    assert_int_equal(wanted[1], 1);
    int again = dup(fd);
    wanted[1] = 0;
    assert_true(ec_procfs_sockets(getpid(), collect, wanted));
    assert_int_equal(wanted[1], 2);
    close(again);
    close(fd);
    wanted[1] = 0;
    assert_true(ec_procfs_sockets(getpid(), collect, wanted));
    assert_int_equal(wanted[1], 0);
    pid_t pid = sleeper();
    kill_and_reap(pid);
    assert_false(ec_procfs_sockets(pid, collect, wanted));
}

// ---- identity ----

static const char *other_boot(void)
{
    return "00000000-0000-0000-0000-000000000000";
}

static const char *no_boot(void)
{
    return "";
}

static void test_alive_words(void **state)
{
    (void)state;
    ec_identity id;
    pid_t pid = sleeper();
    assert_true(ec_procfs_identity(&id, pid));
    assert_int_equal(id.pid, pid);
    assert_int_equal(id.session, getsid(0));
    assert_true(id.pid_ns == ec_pid_ns() && id.pid_ns != 0);
    assert_int_equal(strlen(id.boot_id), 36);
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE);
    assert_null(ec_alive_word(EC_ALIVE));

    ec_identity changed = id;
    changed.start_ticks++;
    assert_int_equal(ec_procfs_alive(&changed), EC_REUSED);
    changed = id;
    changed.pid_ns++;
    assert_int_equal(ec_procfs_alive(&changed), EC_OTHER_NAMESPACE);

    const char *(*real)(void) = ec_boot_id;
    ec_boot_id = other_boot;
    assert_int_equal(ec_procfs_alive(&id), EC_REBOOT);
    changed.pid_ns = 1; // another boot decides first: no namespace survives it
    assert_int_equal(ec_procfs_alive(&changed), EC_REBOOT);
    ec_boot_id = no_boot;
    assert_int_equal(ec_procfs_alive(&id), EC_NO_PROCFS);
    ec_boot_id = real;

    kill(pid, SIGKILL);
    wait_for(ended(pid)); // a zombie, for nobody reaped it
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(ec_procfs_alive(&id), EC_ZOMBIE);
    ec_identity none;
    assert_false(ec_procfs_identity(&none, pid));
    reap(pid);
    assert_int_equal(ec_procfs_alive(&id), EC_GONE);
    assert_false(ec_procfs_identity(&none, pid));

    static const struct {
        ec_alive value;
        const char *word;
    } words[] = {{EC_GONE, "gone"},
                 {EC_ZOMBIE, "zombie"},
                 {EC_REUSED, "reused"},
                 {EC_REBOOT, "reboot"},
                 {EC_OTHER_NAMESPACE, "other_pid_namespace"},
                 {EC_NO_PROCFS, "no_procfs"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_string_equal(ec_alive_word(words[i].value), words[i].word);
}

static void test_stopped_processes_are_alive(void **state)
{
    (void)state;
    ec_identity id;
    ec_stat st;
    pid_t pid = sleeper();
    assert_true(ec_procfs_identity(&id, pid));
    kill(pid, SIGSTOP);
    wait_for(ec_procfs_stat(&st, pid) && st.state == 'T');
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE);
    kill_and_reap(pid);
}

// The state of the host, read inside of a pid namespace of its own, and after a reboot as a mount namespace shows it.
static void test_other_namespaces(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    ec_identity id;
    pid_t pid = sleeper();
    assert_true(ec_procfs_identity(&id, pid));
    pid_t outer = fork();
    if (outer == 0) {
        if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
            _exit(10);
        pid_t inner = fork();
        if (inner == 0) {
            if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0)
                _exit(11);
            ec_err err;
            bool refused = !ec_procfs_signal(&id, SIGKILL, &err) && strcmp(err.code, "ESRCH") == 0;
            _exit(ec_procfs_alive(&id) == EC_OTHER_NAMESPACE && refused ? 0 : 12);
        }
        int status = 0;
        waitpid(inner, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 13);
    }
    assert_int_equal(reap(outer), 0);
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE);
    kill_and_reap(pid);
}

// ---- signals ----

static void test_signal(void **state)
{
    (void)state;
    ec_identity id;
    ec_err err = {0};
    pid_t pid = sleeper();
    assert_true(ec_procfs_identity(&id, pid));
    assert_true(ec_procfs_signal(&id, 0, &err));
    ec_identity changed = id;
    changed.start_ticks ^= 1;
    assert_false(ec_procfs_signal(&changed, SIGKILL, &err));
    assert_string_equal(err.code, "ESRCH");
    assert_non_null(strstr(err.message, "reused"));
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE);
    assert_true(ec_procfs_signal(&id, SIGKILL, &err));
    wait_for(ended(pid));
    assert_false(ec_procfs_signal(&id, SIGKILL, &err));
    assert_string_equal(err.code, "ESRCH");
    reap(pid);
    assert_false(ec_procfs_signal(&id, SIGKILL, &err));
    assert_string_equal(err.code, "ESRCH");
}

static void test_never_signalled(void **state)
{
    (void)state;
    ec_identity id;
    ec_err err;
    const pid_t pids[] = {0, -1, 1, getpid(), getppid(), INT_MIN};
    for (size_t i = 0; i < sizeof pids / sizeof *pids; i++) {
        if (!ec_procfs_identity(&id, pids[i]))
            assert_true(ec_procfs_identity(&id, getpid()));
        id.pid = pids[i];
        assert_false(ec_procfs_signal(&id, SIGTERM, &err));
        assert_string_equal(err.code, "EPERM");
    }
}

static int missing_pidfd_open(pid_t pid, unsigned flags)
{
    (void)pid;
    (void)flags;
    errno = ENOSYS;
    return -1;
}

static int full_pidfd_open(pid_t pid, unsigned flags)
{
    (void)pid;
    (void)flags;
    errno = EMFILE;
    return -1;
}

static void test_signal_without_pidfds(void **state)
{
    (void)state;
    ec_procops real = ec_proc_ops;
    ec_identity id;
    ec_err err;
    pid_t pid = sleeper();
    assert_true(ec_procfs_identity(&id, pid));
    ec_proc_ops.pidfd_open = full_pidfd_open;
    assert_false(ec_procfs_signal(&id, SIGKILL, &err));
    assert_string_equal(err.code, "EMFILE");
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE);
    ec_proc_ops.pidfd_open = missing_pidfd_open; // an old kernel
    ec_identity changed = id;
    changed.start_ticks++;
    assert_false(ec_procfs_signal(&changed, SIGKILL, &err));
    assert_int_equal(ec_procfs_alive(&id), EC_ALIVE);
    assert_true(ec_procfs_signal(&id, SIGKILL, &err));
    ec_proc_ops = real;
    assert_int_equal(WTERMSIG(reap(pid)), SIGKILL);
}

static void test_signal_to_another_user(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    ec_identity id;
    pid_t pid = sleeper();
    assert_true(ec_procfs_identity(&id, pid));
    pid_t child = fork();
    if (child == 0) {
        ec_err err = {0};
        if (setuid(65534) != 0)
            _exit(2);
        bool ok = ec_procfs_signal(&id, SIGKILL, &err);
        // Somebody else's process is there all the same.
        _exit(!ok && strcmp(err.code, "EPERM") == 0 && ec_procfs_alive(&id) == EC_ALIVE ? 0 : 1);
    }
    assert_int_equal(reap(child), 0);
    kill_and_reap(pid);
}

// ---- cgroups ----

static void test_cgroup_base(void **state)
{
    (void)state;
    char path[PATH_MAX], leaf[PATH_MAX];
    ec_err err = {0};
    if (!ec_cgroup_base(path, sizeof path, "envctl-c-test", true, &err)) {
        assert_true(*err.code && *err.message);
        printf("# no cgroup here: %s\n", err.message);
        skip();
    }
    assert_int_equal(access(path, F_OK), 0);
    assert_true(ec_cgroup_base(path, sizeof path, "envctl-c-test", false, &err));
    assert_false(ec_cgroup_populated(path));
    snprintf(leaf, sizeof leaf, "%.4000s/leaf", path);
    assert_false(ec_cgroup_populated(leaf)); // not there
    assert_int_equal(mkdir(leaf, 0755), 0);
    pid_t pid = sleeper();
    char procs[PATH_MAX], text[32];
    snprintf(procs, sizeof procs, "%.4000s/cgroup.procs", leaf);
    snprintf(text, sizeof text, "%d", (int)pid);
    put_text(procs, text);
    assert_true(ec_cgroup_populated(leaf));
    assert_true(ec_cgroup_populated(path)); // by what is below
    kill_and_reap(pid);
    wait_for(!ec_cgroup_populated(leaf));
    assert_int_equal(rmdir(leaf), 0);
    assert_int_equal(rmdir(path), 0);
    assert_false(ec_cgroup_base(path, sizeof path, "envctl-c-test", false, &err));
    char tiny[8];
    assert_false(ec_cgroup_base(tiny, sizeof tiny, "envctl-c-test", false, &err));
    assert_string_equal(err.code, "ENAMETOOLONG");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field_22_exactly),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_numbers_at_their_limits),
        cmocka_unit_test(test_cut_lines),
        cmocka_unit_test(test_real_processes),
        cmocka_unit_test(test_environ_find),
        cmocka_unit_test(test_reading_other_processes),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_alive_words),
        cmocka_unit_test(test_stopped_processes_are_alive),
        cmocka_unit_test(test_other_namespaces),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_never_signalled),
        cmocka_unit_test(test_signal_without_pidfds),
        cmocka_unit_test(test_signal_to_another_user),
        cmocka_unit_test(test_cgroup_base),
    };
    return cmocka_run_group_tests_name("procfs", tests, NULL, NULL);
}
