// R07: event files. A file that was cut anywhere loses one event at most, and many writers, some of them killed, never
// mix lines.
#include "support.h"

#include "envctl/fs.h"

static char *dir;
static char file[PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    dir = make_dir();
    snprintf(file, sizeof file, "%s/events.jsonl", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    drop_dir(dir);
    return 0;
}

// {"writer":3,"n":17,"pad":"xxx","sum":NNN}\n
static size_t make_line(char *out, size_t size, int writer, int n, int pad)
{
    int used = snprintf(out, size, "{\"writer\":%d,\"n\":%d,\"pad\":\"", writer, n);
    memset(out + used, 'a' + (writer + n) % 26, (size_t)pad);
    used += pad;
    unsigned sum = 0;
    for (int i = 0; i < used; i++)
        sum = sum * 31 + (unsigned char)out[i];
    used += snprintf(out + used, size - (size_t)used, "\",\"sum\":%u}\n", sum);
    return (size_t)used;
}

// Whether the line (without its newline) is exactly one that make_line made.
static bool read_line(const char *line, size_t size, int *writer, int *n)
{
    char text[8192], again[8192];
    if (size >= sizeof text)
        return false;
    memcpy(text, line, size);
    text[size] = '\0';
    int start = 0;
    if (sscanf(text, "{\"writer\":%d,\"n\":%d,\"pad\":\"%n", writer, n, &start) != 2 ||
        start == 0) // NOLINT(cert-err34-c)
        return false;
    const char *end = strchr(text + start, '"');
    if (!end || *writer < 0 || *n < 0)
        return false;
    size_t made = make_line(again, sizeof again, *writer, *n, (int)(end - text) - start);
    return made == size + 1 && memcmp(again, text, size) == 0;
}

// What a reader of events does: whole lines only; what is not an event is passed over.
static int count_events(int *last_n, int *broken)
{
    size_t size = 0;
    char *data = get_file(file, &size);
    assert_non_null(data);
    int events = 0;
    *broken = 0;
    for (char *p = data, *nl; (nl = memchr(p, '\n', size - (size_t)(p - data))); p = nl + 1) {
        int writer, n;
        if (read_line(p, (size_t)(nl - p), &writer, &n)) {
            events++;
            *last_n = n;
        } else if (nl > p) {
            ++*broken;
        }
    }
    free(data);
    return events;
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    enum { LINES = 6 };
    char text[4096], line[512];
    size_t size = 0, third_last = 0;
    for (int i = 0; i < LINES; i++) {
        if (i == LINES - 3)
            third_last = size;
        size += make_line(text + size, sizeof text - size, 0, i, 5 + 11 * i);
    }
    long good = 0, all = 0;
    for (size_t cut = third_last; cut <= size; cut++, all++) {
        put_file(file, text, cut);
        int whole = 0;
        for (size_t i = 0; i < cut; i++)
            whole += text[i] == '\n';
        size_t n = make_line(line, sizeof line, 1, 77, 20);
        assert_true(ec_fs_append(file, line, n, NULL));
        int last = -1, broken = 0;
        int events = count_events(&last, &broken);
        // The new event is there. Of the old ones those that were whole; one cut just before its newline is whole
        // again.
        bool at_newline = cut > 0 && cut < size && text[cut] == '\n';
        bool ok = events == whole + 1 + at_newline && last == 77 && broken <= 1;
        if (!ok)
            printf("# cut at %zu: %d events, %d broken lines\n", cut, events, broken);
        good += ok;
        unlink(file);
    }
    bar("R07", good, all);
}

// The n-th line of a writer.
static size_t nth_line(char *out, size_t size, int writer, int n)
{
    return make_line(out, size, writer, n, (writer * 397 + n * 61) % 3000);
}

// A writer that is killed in the middle of its write may leave the beginning of its next line, and nothing after that.
static bool is_torn(const char *text, size_t size, int writer, int *seen)
{
    char line[4096];
    bool torn = nth_line(line, sizeof line, writer, seen[writer] + 1) > size && memcmp(line, text, size) == 0;
    if (torn)
        seen[writer] = INT_MAX - 1;
    return torn;
}

static void write_lines(int writer, int acknowledge)
{
    char line[4096];
    for (int n = 1;; n++) {
        size_t size = nth_line(line, sizeof line, writer, n);
        if (!ec_fs_append(file, line, size, NULL) || write(acknowledge, &n, sizeof n) != sizeof n)
            _exit(1);
    }
}

// Reads what a writer has acknowledged so far, waiting until there are `least`.
static void drain(int fd, int *last, int least)
{
    while (*last < least)
        assert_int_equal(read(fd, last, sizeof *last), sizeof *last);
}

static void test_writers_that_are_killed(void **state)
{
    (void)state;
    enum { WRITERS = 8, KILLED = 4, LINES = 400 };
    pid_t pids[WRITERS];
    int pipes[WRITERS], acknowledged[WRITERS] = {0}, seen[WRITERS] = {0};
    for (int w = 0; w < WRITERS; w++) {
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pids[w] = fork();
        if (pids[w] == 0)
            write_lines(w, fds[1]);
        close(fds[1]);
        pipes[w] = fds[0];
    }
    for (int w = 0; w < KILLED; w++) {
        drain(pipes[w], &acknowledged[w], 20 + (int)dice(50));
        sleep_us(dice(3000));
        kill_and_reap(pids[w]);
    }
    for (int w = KILLED; w < WRITERS; w++)
        drain(pipes[w], &acknowledged[w], LINES);
    for (int w = 0; w < WRITERS; w++) {
        if (w >= KILLED)
            kill_and_reap(pids[w]);
        int n;
        while (read(pipes[w], &n, sizeof n) == sizeof n)
            acknowledged[w] = n;
        close(pipes[w]);
    }
    size_t size = 0;
    char *data = get_file(file, &size);
    assert_non_null(data);
    long good = 0, all = 0;
    for (char *p = data, *nl; (nl = memchr(p, '\n', size - (size_t)(p - data))); p = nl + 1, all++) {
        int writer = -1, n = -1;
        bool ok = read_line(p, (size_t)(nl - p), &writer, &n) && writer < WRITERS && n == seen[writer] + 1;
        if (ok)
            seen[writer] = n;
        for (int w = 0; !ok && nl > p && w < KILLED; w++)
            ok = is_torn(p, (size_t)(nl - p), w, seen);
        if (!ok)
            printf("# mixed or out of order: %.*s\n", (int)(nl - p < 60 ? nl - p : 60), p);
        good += ok;
    }
    free(data);
    for (int w = 0; w < WRITERS; w++)
        assert_true(seen[w] >= acknowledged[w]);
    bar("R07", good, all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cut_at_every_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_writers_that_are_killed, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("append", tests, NULL, NULL);
}
