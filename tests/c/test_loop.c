// The event loop: timers, signals, readable descriptors, and that nothing is left of them.
#include "spawning.h"

static int calls;

static void count(void *ud)
{
    (void)ud;
    calls++;
}

static void count_signal(int signum, void *ud)
{
    *(int *)ud = signum;
    calls++;
}

static int set_up(void **state)
{
    calls = 0;
    return make_loop(state);
}

static void test_timer_fires_once(void **state)
{
    (void)state;
    int64_t before = now_ms();
    ec_timer *t = ec_timer_start(loop, 20, count, NULL);
    assert_int_equal(ec_loop_handles(loop), 1);
    ec_loop_run(loop); // ends by itself
    assert_int_equal(calls, 1);
    assert_true(now_ms() - before >= 19);
    ec_timer_close(t);
    ec_timer_close(NULL);
    ec_loop_run(loop);
    assert_int_equal(ec_loop_handles(loop), 0);
    assert_int_equal(calls, 1);
}

static void test_closed_timer_is_silent(void **state)
{
    (void)state;
    ec_timer *t = ec_timer_start(loop, 0, count, NULL);
    ec_timer_close(t);
    ec_loop_run(loop);
    assert_int_equal(calls, 0);
}

static char seen[4];

static void append(void *ud)
{
    strncat(seen, ud, 1);
}

static void test_timers_in_order(void **state)
{
    (void)state;
    static char a[] = "a", b[] = "b", c[] = "c";
    seen[0] = '\0';
    ec_timer *t[] = {ec_timer_start(loop, 30, append, c), ec_timer_start(loop, 0, append, a),
                     ec_timer_start(loop, 15, append, b)};
    ec_loop_run(loop);
    assert_string_equal(seen, "abc");
    for (size_t i = 0; i < 3; i++)
        ec_timer_close(t[i]);
}

typedef struct self_closing {
    ec_timer *timer;
} self_closing;

static void close_self(void *ud)
{
    self_closing *s = ud;
    ec_timer_close(s->timer);
    calls++;
}

static void test_timer_closed_in_its_callback(void **state)
{
    (void)state;
    self_closing s;
    s.timer = ec_timer_start(loop, 0, close_self, &s);
    ec_loop_run(loop);
    assert_int_equal(calls, 1);
    assert_int_equal(ec_loop_handles(loop), 0);
}

// The wait is counted from the call, not from the last time the loop looked at its clock.
static void test_timer_after_long_work(void **state)
{
    (void)state;
    ec_timer *first = ec_timer_start(loop, 0, count, NULL);
    ec_loop_run(loop);
    ec_timer_close(first);
    sleep_us(60000);
    int64_t before = now_ms();
    ec_timer *t = ec_timer_start(loop, 40, count, NULL);
    ec_loop_run(loop);
    assert_true(now_ms() - before >= 39);
    ec_timer_close(t);
}

static void test_stop(void **state)
{
    (void)state;
    ec_timer *far = ec_timer_start(loop, 3600000, count, NULL);
    ec_timer *t = ec_timer_start(loop, 1, stop_loop, NULL);
    ec_loop_run(loop); // returns, although an hour is left
    assert_int_equal(calls, 0);
    ec_timer_close(t);
    ec_timer_close(far);
}

static void test_signal(void **state)
{
    (void)state;
    int got = 0;
    ec_err err;
    ec_sigwatch *s = ec_sigwatch_start(loop, SIGUSR1, count_signal, &got, &err);
    assert_non_null(s);
    ec_loop_run(loop); // does not keep the loop alive
    assert_int_equal(calls, 0);
    kill(getpid(), SIGUSR1);
    loop_until(calls == 1);
    kill(getpid(), SIGUSR1);
    loop_until(calls == 2);
    assert_int_equal(got, SIGUSR1);
    ec_sigwatch_close(s);
    ec_sigwatch_close(NULL);
    ec_loop_run(loop);
    assert_int_equal(ec_loop_handles(loop), 0);
}

static void test_signal_that_cannot_be_watched(void **state)
{
    (void)state;
    ec_err err;
    assert_null(ec_sigwatch_start(loop, SIGKILL, count_signal, NULL, &err));
    assert_string_equal(err.code, "EINVAL");
    ec_loop_run(loop);
    assert_int_equal(ec_loop_handles(loop), 0);
}

static void test_readable_once(void **state)
{
    (void)state;
    int fds[2];
    ec_err err;
    assert_int_equal(pipe(fds), 0);
    ec_fdwatch *w = ec_fdwatch_start(loop, fds[0], count, NULL, &err);
    assert_non_null(w);
    loop_a_while(20);
    assert_int_equal(calls, 0);
    assert_int_equal(write(fds[1], "ab", 2), 2);
    loop_until(calls);
    loop_a_while(20);
    assert_int_equal(calls, 1); // although nothing was read
    char two[2];
    assert_int_equal(read(fds[0], two, 2), 2); // and nothing was taken
    ec_fdwatch_close(w);
    ec_fdwatch_close(NULL);
    w = ec_fdwatch_start(loop, fds[0], count, NULL, &err);
    close(fds[1]); // end of file counts
    loop_until(calls == 2);
    ec_fdwatch_close(w);
    ec_loop_run(loop);
    assert_int_equal(fcntl(fds[0], F_GETFD), 0); // the descriptor is still the caller's
    close(fds[0]);
}

// A terminal's flags are shared with the shell that started us: they must stay as they are.
static void test_readable_leaves_the_flags_alone(void **state)
{
    (void)state;
    int fds[2];
    ec_err err;
    assert_int_equal(pipe(fds), 0);
    ec_fdwatch *w = ec_fdwatch_start(loop, fds[0], count, NULL, &err);
    assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    ec_fdwatch_close(w);
    ec_loop_run(loop);
    assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    close(fds[0]);
    close(fds[1]);
}

static void test_readable_errors(void **state)
{
    (void)state;
    ec_err err;
    assert_null(ec_fdwatch_start(loop, 987, count, NULL, &err));
    assert_string_equal(err.code, "EBADF");
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); // a regular file is always readable; epoll refuses it
    assert_null(ec_fdwatch_start(loop, fd, count, NULL, &err));
    assert_string_equal(err.code, "EPERM");
    close(fd);
    assert_int_equal(ec_loop_handles(loop), 0);
}

// LeakSanitizer sees what is left; nobody is called any more.
static void test_free_with_handles_open(void **state)
{
    (void)state;
    int fds[2];
    ec_err err;
    assert_int_equal(pipe(fds), 0);
    int before = open_files();
    ec_loop *own = ec_loop_new();
    ec_timer_start(own, 0, count, NULL);
    ec_timer_start(own, 3600000, count, NULL);
    int got = 0;
    ec_sigwatch_start(own, SIGUSR2, count_signal, &got, &err);
    ec_fdwatch_start(own, fds[0], count, NULL, &err);
    close(fds[1]);
    ec_loop_free(own);
    ec_loop_free(NULL);
    assert_int_equal(calls, 0);
    assert_int_equal(open_files(), before - 1);
    close(fds[0]);
}

static void test_many_timers(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    ec_timer **t = calloc(MANY, sizeof *t);
    assert_non_null(t);
    for (int i = 0; i < MANY; i++)
        t[i] = ec_timer_start(loop, dice(20), count, NULL);
    for (int i = 0; i < MANY; i += 2)
        ec_timer_close(t[i]);
    ec_loop_run(loop);
    assert_int_equal(calls, MANY / 2);
    for (int i = 1; i < MANY; i += 2)
        ec_timer_close(t[i]);
    free(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, drop_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_timer_fires_once),
        TEST(test_closed_timer_is_silent),
        TEST(test_timers_in_order),
        TEST(test_timer_closed_in_its_callback),
        TEST(test_timer_after_long_work),
        TEST(test_stop),
        TEST(test_signal),
        TEST(test_signal_that_cannot_be_watched),
        TEST(test_readable_once),
        TEST(test_readable_leaves_the_flags_alone),
        TEST(test_readable_errors),
        TEST(test_free_with_handles_open),
        TEST(test_many_timers),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
