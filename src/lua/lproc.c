// envctl.host.proc. Stub: lua/_meta/envctl/host/proc.lua
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "envctl/mem.h"
#include "envctl/proc.h"
#include "lidentity.h"
#include "lx.h"
#include "state.h"

#define TYPE       "envctl.Process"
#define WATCH_TYPE "envctl.ProcessWatch"

typedef struct process {
    lx_ctx *ctx;
    ec_proc *core;
    int on_exec, on_exit, on_stdout, on_stderr, self;
} process;

static void drop_refs(process *p)
{
    lx_unref(p->ctx, &p->on_exec);
    lx_unref(p->ctx, &p->on_exit);
    lx_unref(p->ctx, &p->on_stdout);
    lx_unref(p->ctx, &p->on_stderr);
    lx_unref(p->ctx, &p->self);
}

static int l_release(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, TYPE);
    process *p = *box;
    *box = NULL;
    if (p) {
        ec_proc_close(p->core);
        drop_refs(p);
        free(p);
    }
    return 0;
}

static process *check(lua_State *L)
{
    return lx_check_box(L, 1, TYPE);
}

static bool push_callback(const process *p, int ref)
{
    if (ref == LUA_NOREF || p->ctx->dispatch_off)
        return false;
    lua_rawgeti(p->ctx->main, LUA_REGISTRYINDEX, ref);
    return true;
}

static void on_exec(bool ok, const ec_err *err, void *ud)
{
    process *p = ud;
    if (!push_callback(p, p->on_exec))
        return;
    lua_pushboolean(p->ctx->main, ok);
    lua_pushstring(p->ctx->main, ok ? NULL : err->message);
    lua_pushstring(p->ctx->main, ok ? NULL : err->code);
    lx_dispatch(p->ctx, 3);
}

static void on_out(int fd, const char *data, size_t size, void *ud)
{
    process *p = ud;
    if (!push_callback(p, fd == 1 ? p->on_stdout : p->on_stderr))
        return;
    if (data)
        lua_pushlstring(p->ctx->main, data, size);
    else
        lua_pushnil(p->ctx->main);
    lx_dispatch(p->ctx, 1);
}

static void on_exit_event(int code, int sig, void *ud)
{
    process *p = ud;
    lx_ctx *ctx = p->ctx;
    bool call = push_callback(p, p->on_exit);
    lx_unref(ctx, &p->self); // from here the box may be collected
    if (!call)
        return;
    if (code >= 0)
        lua_pushinteger(ctx->main, code);
    else
        lua_pushnil(ctx->main);
    lua_pushstring(ctx->main, sig ? lx_signal_name(sig) : NULL);
    lx_dispatch(ctx, 2);
}

// argv: an array of strings as a NULL-terminated vector in a userdata; the strings stay in the Lua table.
static char **check_argv(lua_State *L, int table)
{
    if (lua_getfield(L, table, "argv") != LUA_TTABLE)
        luaL_error(L, "argv: table expected, got %s", luaL_typename(L, -1));
    lua_Integer n = luaL_len(L, -1);
    if (n < 1)
        luaL_error(L, "argv: is empty");
    char **argv = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *argv, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        size_t size;
        if (lua_rawgeti(L, -2, i) != LUA_TSTRING)
            luaL_error(L, "argv[%I]: string expected, got %s", i, luaL_typename(L, -1));
        argv[i - 1] = (char *)lua_tolstring(L, -1, &size);
        if (strlen(argv[i - 1]) != size)
            luaL_error(L, "argv[%I]: contains a NUL byte", i);
        lua_pop(L, 1);
    }
    argv[n] = NULL;
    return argv; // table and userdata stay on the stack
}

static char **check_env(lua_State *L, int table)
{
    if (lua_getfield(L, table, "env") != LUA_TTABLE)
        luaL_error(L, "env: table expected, got %s", luaL_typename(L, -1));
    int env = lua_gettop(L);
    lua_newtable(L); // keeps the "NAME=value" strings
    int kept = lua_gettop(L);
    lua_Integer n = 0;
    lua_pushnil(L);
    while (lua_next(L, env)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "env: names and values are strings");
        lua_pushfstring(L, "%s=%s", lua_tostring(L, -2), lua_tostring(L, -1));
        if (lua_rawlen(L, -1) != lua_rawlen(L, -2) + lua_rawlen(L, -3) + 1)
            luaL_error(L, "env.%s: contains a NUL byte", lua_tostring(L, -3));
        lua_rawseti(L, kept, ++n);
        lua_pop(L, 1);
    }
    char **envp = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *envp, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, kept, i);
        envp[i - 1] = (char *)lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    envp[n] = NULL;
    return envp;
}

static ec_stdio stdio_word(lua_State *L, const char *field, const char *word)
{
    static const struct {
        const char *word;
        ec_stdio kind;
        const char *where; // which of stdin ("i"), stdout ("o"), stderr ("e") may have it
    } kinds[] = {{"null", EC_STDIO_NULL, "ioe"},
                 {"pipe", EC_STDIO_PIPE, "ioe"},
                 {"inherit", EC_STDIO_INHERIT, "oe"},
                 {"stdout", EC_STDIO_STDOUT, "e"},
                 {"terminal", EC_STDIO_TERMINAL, "i"}};
    char which = field[3] == 'i' ? 'i' : field[3] == 'o' ? 'o' : 'e';
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].word, word) == 0 && strchr(kinds[i].where, which))
            return kinds[i].kind;
    return luaL_error(L, "%s: '%s' is not one of its classes", field, word);
}

static ec_stdio check_stdio(lua_State *L, int table, const char *field, const char **log)
{
    ec_stdio kind;
    int type = lua_getfield(L, table, field);
    if (type == LUA_TTABLE && log) {
        static const char *const fields[] = {"log", NULL};
        lx_check_fields(L, -1, fields);
        *log = lx_opt_string(L, -1, "log", NULL);
        if (!*log)
            luaL_error(L, "%s.log: path expected", field);
        kind = EC_STDIO_LOG;
    } else if (type == LUA_TSTRING) {
        kind = stdio_word(L, field, lua_tostring(L, -1));
    } else {
        return luaL_error(L, "%s: a class is required", field);
    }
    lua_pop(L, 1);
    return kind;
}

static int opt_callback(lua_State *L, const char *field)
{
    lua_getfield(L, 1, field);
    int ref = lx_ref_function(L, -1, field);
    lua_pop(L, 1);
    return ref;
}

static void check_callbacks(lua_State *L)
{
    static const char *const names[] = {"on_exec", "on_exit", "on_stdout", "on_stderr", NULL};
    for (const char *const *n = names; *n; n++) {
        int type = lua_getfield(L, 1, *n);
        if (type != LUA_TNIL && type != LUA_TFUNCTION)
            luaL_error(L, "%s: function expected, got %s", *n, luaL_typename(L, -1));
        lua_pop(L, 1);
    }
}

static int l_spawn(lua_State *L)
{
    static const char *const fields[] = {"argv",  "env",    "cwd",     "stdin",   "stdout",    "stderr",    "session",
                                         "gated", "cgroup", "on_exec", "on_exit", "on_stdout", "on_stderr", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lx_check_fields(L, 1, fields);
    ec_spawn o = {0};
    o.cwd = lx_opt_string(L, 1, "cwd", NULL);
    if (!o.cwd)
        return luaL_error(L, "cwd: directory expected");
    o.in = check_stdio(L, 1, "stdin", NULL);
    o.out = check_stdio(L, 1, "stdout", &o.out_log);
    o.err = check_stdio(L, 1, "stderr", &o.err_log);
    o.session = lx_opt_boolean(L, 1, "session", o.in != EC_STDIO_TERMINAL);
    if (o.session && o.in == EC_STDIO_TERMINAL)
        return luaL_error(L, "session: a child that owns the terminal stays in its session");
    o.gated = lx_opt_boolean(L, 1, "gated", false);
    o.cgroup = lx_opt_string(L, 1, "cgroup", NULL);
    check_callbacks(L);
    o.argv = check_argv(L, 1);
    o.envp = check_env(L, 1);
    void **box = lx_new_box(L, TYPE);
    process *p = ec_xcalloc(1, sizeof *p);
    *p = (process){lx_context(L), NULL, LUA_NOREF, LUA_NOREF, LUA_NOREF, LUA_NOREF, LUA_NOREF};
    *box = p;
    p->on_exec = opt_callback(L, "on_exec");
    p->on_exit = opt_callback(L, "on_exit");
    p->on_stdout = opt_callback(L, "on_stdout");
    p->on_stderr = opt_callback(L, "on_stderr");
    lua_pushvalue(L, -1);
    p->self = luaL_ref(L, LUA_REGISTRYINDEX);
    o.events = (ec_proc_events){on_exec, on_out, on_exit_event, p};
    ec_err err;
    if (!ec_proc_spawn(&p->core, p->ctx->loop, &o, &err)) {
        *box = NULL;
        drop_refs(p);
        free(p);
        return lx_fail(L, &err);
    }
    return 1;
}

static int l_pid(lua_State *L)
{
    ec_identity id;
    ec_proc_identity(check(L)->core, &id);
    lua_pushinteger(L, id.pid);
    return 1;
}

static int l_identity(lua_State *L)
{
    ec_identity id;
    ec_proc_identity(check(L)->core, &id);
    lx_push_identity(L, &id);
    return 1;
}

static int l_open_gate(lua_State *L)
{
    ec_proc_open_gate(check(L)->core);
    return 0;
}

static int done(lua_State *L, bool ok, const ec_err *err)
{
    if (!ok)
        return lx_fail(L, err);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_signal_child(lua_State *L)
{
    process *p = check(L);
    int sig = lx_check_signal(L, 2);
    ec_err err;
    return done(L, ec_proc_signal(p->core, sig, &err), &err);
}

static int l_write(lua_State *L)
{
    process *p = check(L);
    size_t size;
    const char *data = luaL_checklstring(L, 2, &size);
    ec_err err;
    return done(L, ec_proc_write(p->core, data, size, &err), &err);
}

static int l_close_stdin(lua_State *L)
{
    ec_proc_close_stdin(check(L)->core);
    return 0;
}

typedef struct watch {
    lx_ctx *ctx;
    ec_pidwatch *core;
    int fn, self;
} watch;

static void free_watch(watch *w)
{
    ec_pidwatch_close(w->core);
    lx_unref(w->ctx, &w->fn);
    lx_unref(w->ctx, &w->self);
    free(w);
}

static int l_release_watch(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, WATCH_TYPE);
    watch *w = *box;
    *box = NULL;
    if (w)
        free_watch(w);
    return 0;
}

static int l_watch_is_closed(lua_State *L)
{
    lua_pushboolean(L, *(void **)luaL_checkudata(L, 1, WATCH_TYPE) == NULL);
    return 1;
}

static void on_watched_exit(void *ud)
{
    watch *w = ud;
    lx_ctx *ctx = w->ctx;
    if (ctx->dispatch_off)
        return;
    lua_rawgeti(ctx->main, LUA_REGISTRYINDEX, w->fn);
    lua_rawgeti(ctx->main, LUA_REGISTRYINDEX, w->self);
    *(void **)lua_touserdata(ctx->main, -1) = NULL;
    lua_pop(ctx->main, 1);
    free_watch(w);
    lx_dispatch(ctx, 0);
}

static int l_watch(lua_State *L)
{
    ec_identity id;
    lx_check_identity(L, 1, &id);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    void **box = lx_new_box(L, WATCH_TYPE);
    watch *w = ec_xcalloc(1, sizeof *w);
    *w = (watch){lx_context(L), NULL, LUA_NOREF, LUA_NOREF};
    ec_err err;
    w->core = ec_pidwatch_start(w->ctx->loop, &id, on_watched_exit, w, &err);
    if (!w->core) {
        free(w);
        return lx_fail(L, &err);
    }
    *box = w;
    w->fn = lx_ref_function(L, 2, "callback");
    lua_pushvalue(L, -1);
    w->self = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

static int l_signal(lua_State *L)
{
    ec_identity id;
    lx_check_identity(L, 1, &id);
    int sig = lx_check_signal(L, 2);
    ec_err err;
    return done(L, ec_procfs_signal(&id, sig, &err), &err);
}

static int l_children(lua_State *L)
{
    lua_pushinteger(L, ec_proc_children());
    return 1;
}

int luaopen_envctl_host_proc(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"pid", l_pid},     {"identity", l_identity},       {"open_gate", l_open_gate}, {"signal", l_signal_child},
        {"write", l_write}, {"close_stdin", l_close_stdin}, {"close", l_release},       {NULL, NULL},
    };
    static const luaL_Reg watch_methods[] = {
        {"close", l_release_watch}, {"is_closed", l_watch_is_closed}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"spawn", l_spawn}, {"watch", l_watch}, {"signal", l_signal}, {"children", l_children}, {NULL, NULL}};
    lx_new_type(L, TYPE, methods, l_release);
    lx_new_type(L, WATCH_TYPE, watch_methods, l_release_watch);
    luaL_newlib(L, functions);
    return 1;
}
