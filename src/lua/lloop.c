// envctl.host.loop: timers, signals, readable descriptors, changed files. Stub: lua/_meta/envctl/host/loop.lua
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "envctl/mem.h"
#include "lx.h"
#include "state.h"

#define TYPE "envctl.Handle"

// What a Lua handle stands for. Owned by the box; `self_ref` pins the box while it is open.
typedef struct handle {
    lx_ctx *ctx;
    enum { TIMER, SIGNAL, READABLE, CHANGED } kind;
    void *core;
    int fn_ref;
    int self_ref;
} handle;

static void release_handle(handle *h)
{
    if (h->kind == TIMER)
        ec_timer_close(h->core);
    else if (h->kind == SIGNAL)
        ec_sigwatch_close(h->core);
    else if (h->kind == CHANGED)
        ec_filewatch_close(h->core);
    else
        ec_fdwatch_close(h->core);
    lx_unref(h->ctx, &h->fn_ref);
    lx_unref(h->ctx, &h->self_ref);
    free(h);
}

static int l_release(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, TYPE);
    handle *h = *box;
    *box = NULL;
    if (h)
        release_handle(h);
    return 0;
}

static int l_is_closed(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, TYPE);
    lua_pushboolean(L, *box == NULL);
    return 1;
}

// One-shot kinds close before they call, so that the callback may start the next one.
static void fire_once(void *ud)
{
    handle *h = ud;
    lx_ctx *ctx = h->ctx;
    lua_State *L = ctx->main;
    if (ctx->dispatch_off)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->fn_ref);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->self_ref);
    *(void **)lua_touserdata(L, -1) = NULL;
    lua_pop(L, 1);
    release_handle(h);
    lx_dispatch(ctx, 0);
}

static const struct {
    const char *name;
    int number;
} signals[] = {{"INT", SIGINT},   {"TERM", SIGTERM}, {"HUP", SIGHUP}, {"WINCH", SIGWINCH},
               {"TSTP", SIGTSTP}, {"CONT", SIGCONT}, {NULL, 0}};

static void fire_signal(int signum, void *ud)
{
    handle *h = ud;
    if (h->ctx->dispatch_off)
        return;
    lua_State *L = h->ctx->main;
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->fn_ref);
    const char *name = "";
    for (size_t i = 0; signals[i].name; i++)
        if (signals[i].number == signum)
            name = signals[i].name;
    lua_pushstring(L, name);
    lx_dispatch(h->ctx, 1);
}

// Pushes the box; the caller fills h->core.
static handle *new_handle(lua_State *L, int kind, int fn_index)
{
    luaL_checktype(L, fn_index, LUA_TFUNCTION);
    void **box = lx_new_box(L, TYPE);
    int fn_ref = lx_ref_function(L, fn_index, "callback");
    lua_pushvalue(L, -1);
    int self_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    handle *h = ec_xcalloc(1, sizeof *h);
    *h = (handle){.ctx = lx_context(L), .kind = kind, .fn_ref = fn_ref, .self_ref = self_ref};
    *box = h;
    return h;
}

static int l_timer(lua_State *L)
{
    lua_Integer ms = luaL_checkinteger(L, 1);
    luaL_argcheck(L, ms >= 0, 1, "milliseconds cannot be negative");
    handle *h = new_handle(L, TIMER, 2);
    h->core = ec_timer_start(h->ctx->loop, (uint64_t)ms, fire_once, h);
    return 1;
}

static int l_signal(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    int number = 0;
    for (size_t i = 0; signals[i].name; i++)
        if (strcmp(signals[i].name, name) == 0)
            number = signals[i].number;
    luaL_argcheck(L, number != 0, 1, "not a signal envctl watches");
    handle *h = new_handle(L, SIGNAL, 2);
    ec_err err;
    h->core = ec_sigwatch_start(h->ctx->loop, number, fire_signal, h, &err);
    if (!h->core) {
        *(void **)lua_touserdata(L, -1) = NULL;
        release_handle(h);
        return luaL_error(L, "%s", err.message);
    }
    return 1;
}

// Returns the handle on top of the stack, or the failure of what it was to stand for.
static int done(lua_State *L, handle *h, const ec_err *err)
{
    if (h->core)
        return 1;
    *(void **)lua_touserdata(L, -1) = NULL;
    release_handle(h);
    return lx_fail(L, err);
}

static int l_readable(lua_State *L)
{
    lua_Integer fd = luaL_checkinteger(L, 1);
    luaL_argcheck(L, fd >= 0 && fd < 1 << 20, 1, "not a descriptor");
    handle *h = new_handle(L, READABLE, 2);
    ec_err err;
    h->core = ec_fdwatch_start(h->ctx->loop, (int)fd, fire_once, h, &err);
    return done(L, h, &err);
}

static int l_changed(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    handle *h = new_handle(L, CHANGED, 2);
    ec_err err;
    h->core = ec_filewatch_start(h->ctx->loop, path, fire_once, h, &err);
    return done(L, h, &err);
}

static int l_run(lua_State *L)
{
    ec_loop_run(lx_context(L)->loop);
    lx_rethrow(L);
    return 0;
}

static int l_stop(lua_State *L)
{
    ec_loop_stop(lx_context(L)->loop);
    return 0;
}

static int l_handles(lua_State *L)
{
    lua_pushinteger(L, ec_loop_handles(lx_context(L)->loop));
    return 1;
}

int luaopen_envctl_host_loop(lua_State *L)
{
    static const luaL_Reg methods[] = {{"close", l_release}, {"is_closed", l_is_closed}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"run", l_run},           {"stop", l_stop},       {"timer", l_timer},     {"signal", l_signal},
        {"readable", l_readable}, {"changed", l_changed}, {"handles", l_handles}, {NULL, NULL}};
    lx_new_type(L, TYPE, methods, l_release);
    luaL_newlib(L, functions);
    return 1;
}
