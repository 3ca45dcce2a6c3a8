// envctl.host.confine: the script host's cage, and what a script may use of time and memory. Stub:
// lua/_meta/envctl/host/confine.lua
//
// Time: a timer of processor time sends SIGPROF. Its handler asks Lua for a hook at the next instruction, which raises
// an error that names the script's line. Where that does not end it (a C function that never returns, a finaliser, a
// handler that swallows every error), the handler itself writes the line to the pipe and ends the process.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "envctl/confine.h"
#include "lx.h"
#include "state.h"

#define BUF_TYPE "envctl.confine.buffer"
#define AGAIN_MS 50 // between the signals after the first one
#define GRACE    4  // so many of them before the process is ended

typedef struct place {
    char file[160];
    int line;
} place;

// One process runs one script host: signal handlers and allocators have no other way to know it.
static struct {
    lua_State *volatile running; // whose line counts
    volatile sig_atomic_t signals;
    char text[40]; // what the error says
} guard = {.text = "ran too long"};

static struct {
    lua_Alloc f;
    void *ud;
    size_t used, soft, hard;
    bool exceeded; // an error said so already
    bool refused;
    place at;
} memory;

static eb_buf input;

// --- where a script is -----------------------------------------------------------------------------------------------

// The innermost frame of a script: its chunks are called "=name", ours "@name". Only reads; called from the signal
// handler and the allocator as well.
static bool find_place(lua_State *L, place *out)
{
    lua_Debug ar;
    for (int level = 0; level < 1000 && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.source[0] != '=' || ar.what[0] == 'C' || ar.currentline <= 0)
            continue;
        size_t n = strnlen(ar.source + 1, sizeof out->file - 1);
        memcpy(out->file, ar.source + 1, n);
        out->file[n] = '\0';
        out->line = ar.currentline;
        return true;
    }
    return false;
}

// --- processor time --------------------------------------------------------------------------------------------------

static void raise_at_place(lua_State *L, const char *what)
{
    place at;
    // Not luaL_error: the position is that of the script, whatever is around it.
    if (find_place(L, &at))
        lua_pushfstring(L, "%s:%d: %s", at.file, at.line, what);
    else
        lua_pushstring(L, what);
    lua_error(L);
}

// At the next instruction after a limit was passed. Only in a script's own function: what runs below it for our sake
// (catching its error, to begin with) goes on.
static void on_instruction(lua_State *L, lua_Debug *ar)
{
    lua_getinfo(L, "S", ar);
    if (ar->source[0] != '=')
        return;
    if (guard.signals > 0)
        raise_at_place(L, guard.text);
    if (memory.used > memory.soft && !memory.exceeded)
        lua_gc(L, LUA_GCCOLLECT);
    if (memory.used > memory.soft || memory.exceeded) {
        memory.exceeded = true;
        raise_at_place(L, "needs more than 64 MiB of memory");
    }
    lua_sethook(L, NULL, 0, 0); // left over, or garbage only
}

// What the last words are put together with: async-signal-safe, and never past the end.
typedef struct words {
    char text[320];
    size_t size;
} words;

static void add_byte(words *w, char c)
{
    if (w->size < sizeof w->text)
        w->text[w->size++] = c;
}

static void add_raw(words *w, const char *text)
{
    for (; *text; text++)
        add_byte(w, *text);
}

static void add_name(words *w, const char *text)
{
    for (; *text; text++)
        add_byte(w, (*text == '"' || *text == '\\' || (unsigned char)*text < ' ') ? '?' : *text);
}

static void add_number(words *w, int n)
{
    char digits[12];
    int i = 0;
    do {
        digits[i++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    while (i > 0)
        add_byte(w, digits[--i]);
}

// Where the script is, as a line of its own, whatever was being written; then the end.
static void last_words(lua_State *L, const char *why)
{
    words w = {.size = 0};
    place p;
    add_raw(&w, "\n{\"fatal\":{\"why\":\"");
    add_raw(&w, why);
    add_raw(&w, "\"");
    if (L && find_place(L, &p)) {
        add_raw(&w, ",\"file\":\"");
        add_name(&w, p.file);
        add_raw(&w, "\",\"line\":");
        add_number(&w, p.line);
    }
    add_raw(&w, "}}\n");
    ssize_t n = write(STDOUT_FILENO, w.text, w.size);
    (void)n;
    _exit(70);
}

static void on_budget(int signum)
{
    (void)signum;
    int saved = errno;
    lua_State *L = guard.running;
    guard.signals = guard.signals + 1;
    if (!L || guard.signals > GRACE)
        last_words(L, "cpu");
    lua_sethook(L, on_instruction, LUA_MASKCOUNT, 1);
    errno = saved;
}

// The parent's patience is over: the same, once gently and once not.
static void on_deadline(int signum)
{
    (void)signum;
    int saved = errno;
    lua_State *L = guard.running;
    if (!L || guard.signals > 0)
        last_words(L, "wall");
    guard.signals = 1;
    lua_sethook(L, on_instruction, LUA_MASKCOUNT, 1);
    errno = saved;
}

static lua_Integer set_timer(lua_Integer ms)
{
    struct itimerval next = {0}, old = {0};
    next.it_value.tv_sec = (time_t)(ms / 1000);
    next.it_value.tv_usec = (suseconds_t)(ms % 1000 * 1000);
    next.it_interval.tv_usec = ms > 0 ? AGAIN_MS * 1000 : 0;
    setitimer(ITIMER_PROF, &next, &old);
    return (lua_Integer)old.it_value.tv_sec * 1000 + old.it_value.tv_usec / 1000;
}

static int l_arm(lua_State *L)
{
    lua_Integer ms = luaL_checkinteger(L, 1);
    luaL_argcheck(L, ms > 0 && ms <= 3600000, 1, "1..3600000 expected");
    struct sigaction action = {.sa_handler = on_budget, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGPROF, &action, NULL);
    action.sa_handler = on_deadline;
    sigaction(SIGUSR1, &action, NULL);
    snprintf(guard.text, sizeof guard.text, "ran for %g s", (double)ms / 1000);
    guard.running = L;
    guard.signals = 0;
    memory.refused = memory.exceeded = false;
    lua_pushinteger(L, set_timer(ms));
    return 1;
}

static int l_disarm(lua_State *L)
{
    lua_Integer left = luaL_optinteger(L, 1, 0);
    set_timer(left > 0 ? left : 0);
    guard.running = left > 0 ? L : NULL;
    guard.signals = 0;
    lua_sethook(L, NULL, 0, 0);
    return 0;
}

static int l_running(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    if (guard.running)
        guard.running = co ? co : L;
    return 0;
}

static int l_tripped(lua_State *L)
{
    if (guard.signals > 0)
        lua_pushliteral(L, "cpu");
    else if (memory.exceeded)
        lua_pushliteral(L, "memory");
    else
        lua_pushnil(L);
    return 1;
}

// --- memory ----------------------------------------------------------------------------------------------------------

// Two limits: past the soft one the next instruction raises an error that knows its line; past the hard one there is
// nothing.
static void *counted_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    (void)ud;
    size_t old = ptr ? osize : 0; // without a block, osize is a kind of object
    lua_State *L = guard.running;
    void *p = NULL;
    if (nsize <= old || memory.used - old + nsize <= memory.hard)
        p = memory.f(memory.ud, ptr, osize, nsize);
    if (p || nsize == 0)
        memory.used = memory.used - old + nsize;
    else if (L)
        memory.refused = find_place(L, &memory.at);
    if (L && memory.used > memory.soft && lua_gethook(L) == NULL)
        lua_sethook(L, on_instruction, LUA_MASKCOUNT, 1);
    return p;
}

static int l_limit_memory(lua_State *L)
{
    lua_Integer bytes = luaL_checkinteger(L, 1);
    luaL_argcheck(L, bytes > 0 && bytes < (lua_Integer)1 << 40, 1, "bytes expected");
    if (!memory.f)
        memory.f = lua_getallocf(L, &memory.ud);
    memory.used = ((size_t)lua_gc(L, LUA_GCCOUNT) << 10) + (size_t)lua_gc(L, LUA_GCCOUNTB);
    memory.soft = memory.used + (size_t)bytes;
    memory.hard = memory.soft + (size_t)bytes / 8;
    lua_setallocf(L, counted_alloc, NULL);
    return 0;
}

static int l_refused(lua_State *L)
{
    if (!memory.refused)
        return 0;
    lua_pushstring(L, memory.at.file);
    lua_pushinteger(L, memory.at.line);
    return 2;
}

// --- the cage --------------------------------------------------------------------------------------------------------

static void push_report(lua_State *L, const ec_confine_report *r)
{
    lua_createtable(L, 0, 4);
    lua_pushboolean(L, r->seccomp);
    lua_setfield(L, -2, "seccomp");
    lua_pushstring(L, r->seccomp_why[0] ? r->seccomp_why : NULL);
    lua_setfield(L, -2, "seccomp_why");
    lua_pushinteger(L, r->landlock);
    lua_setfield(L, -2, "landlock");
    lua_pushstring(L, r->landlock_why[0] ? r->landlock_why : NULL);
    lua_setfield(L, -2, "landlock_why");
}

static int l_probe(lua_State *L)
{
    ec_confine_report r;
    ec_confine_probe(&r);
    push_report(L, &r);
    return 1;
}

static int l_apply(lua_State *L)
{
    static const char *const fields[] = {"memory", "cpu_seconds", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    lx_check_fields(L, 1, fields);
    const ec_confine_opts opts = {
        .memory = (uint64_t)lx_opt_integer(L, 1, "memory", 96 << 20, 1 << 20, (lua_Integer)1 << 40),
        .cpu_seconds = (unsigned)lx_opt_integer(L, 1, "cpu_seconds", 60, 1, 86400),
    };
    ec_confine_report r;
    ec_err err;
    if (!ec_confine_apply(&r, &opts, &err))
        return lx_fail(L, &err);
    push_report(L, &r);
    return 1;
}

static int l_exit(lua_State *L)
{
    _exit((int)luaL_checkinteger(L, 1));
}

// More of descriptor 0 into `input`. False at its end, or with an error in `err`.
static bool read_more(ec_err *err)
{
    err->code[0] = '\0';
    for (;;) {
        ssize_t n = read(STDIN_FILENO, eb_reserve(&input, 65536), 65536);
        if (n > 0) {
            input.size += (size_t)n;
            return true;
        }
        if (n == 0)
            return false;
        if (errno != EINTR)
            return ec_err_errno(err, errno, "stdin");
    }
}

static int end_of_input(lua_State *L, const ec_err *err)
{
    if (err->code[0])
        return lx_fail(L, err);
    lua_pushnil(L);
    return 1;
}

static int l_read_line(lua_State *L)
{
    size_t max = (size_t)luaL_checkinteger(L, 1), seen = 0;
    ec_err err;
    for (;;) {
        char *newline = input.size > seen ? memchr(input.data + seen, '\n', input.size - seen) : NULL;
        if (newline) {
            size_t n = (size_t)(newline - input.data);
            lua_pushlstring(L, input.data, n);
            eb_drop(&input, n + 1);
            return 1;
        }
        seen = input.size;
        if (seen > max) {
            ec_err_set(&err, "EFBIG", "stdin: a line of more than %zu bytes", max);
            return lx_fail(L, &err);
        }
        if (!read_more(&err))
            return end_of_input(L, &err);
    }
}

static int l_read_bytes(lua_State *L)
{
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 0 && count <= 64 << 20, 1, "a number of bytes expected");
    ec_err err;
    while (input.size < (size_t)count)
        if (!read_more(&err))
            return end_of_input(L, &err);
    lua_pushlstring(L, input.data ? input.data : "", (size_t)count);
    eb_drop(&input, (size_t)count);
    return 1;
}

static int l_write(lua_State *L)
{
    size_t size;
    const char *data = luaL_checklstring(L, 1, &size);
    while (size > 0) {
        ssize_t n = write(STDOUT_FILENO, data, size);
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        } else if (n < 0 && errno != EINTR) {
            ec_err err;
            ec_err_errno(&err, errno, "stdout");
            return lx_fail(L, &err);
        }
    }
    lua_pushboolean(L, 1);
    return 1;
}

// --- files -----------------------------------------------------------------------------------------------------------

static int free_buffer(lua_State *L)
{
    eb_free(lua_touserdata(L, 1));
    return 0;
}

static int l_read(lua_State *L)
{
    const char *dir = lx_check_path(L, 1), *path = lx_check_path(L, 2);
    lua_Integer max = luaL_checkinteger(L, 3);
    luaL_argcheck(L, max >= 0, 3, "cannot be negative");
    eb_buf *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (eb_buf){0};
    luaL_setmetatable(L, BUF_TYPE);
    ec_beneath st;
    ec_err err;
    if (!ec_confine_read(b, &st, dir, path, (size_t)max, &err))
        return lx_fail(L, &err);
    lua_pushlstring(L, b->data ? b->data : "", b->size);
    eb_free(b);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)st.uid);
    lua_setfield(L, -2, "uid");
    lua_pushinteger(L, (lua_Integer)st.mode);
    lua_setfield(L, -2, "mode");
    return 2;
}

int luaopen_envctl_host_confine(lua_State *L)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"probe", l_probe},
        {"apply", l_apply},
        {"exit", l_exit},
        {"read_line", l_read_line},
        {"read_bytes", l_read_bytes},
        {"write", l_write},
        {"arm", l_arm},
        {"disarm", l_disarm},
        {"running", l_running},
        {"tripped", l_tripped},
        {"refused", l_refused},
        {"limit_memory", l_limit_memory},
        {"read", l_read},
        {NULL, NULL},
    };
    lx_new_type(L, BUF_TYPE, none, free_buffer);
    luaL_newlib(L, functions);
    return 1;
}
