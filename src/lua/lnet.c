// envctl.host.net. Stub: lua/_meta/envctl/host/net.lua
#include <stdlib.h>

#include "envctl/mem.h"
#include "envctl/net.h"
#include "lx.h"
#include "state.h"

#define PROBE_TYPE  "envctl.Probe"
#define CONN_TYPE   "envctl.Conn"
#define SERVER_TYPE "envctl.Server"

// One struct serves the three kinds: a core object, a callback, and the pin of its box.
typedef struct object {
    lx_ctx *ctx;
    void *core;
    int fn, self;
    bool bare; // a probe without GET
} object;

static object *new_object(lua_State *L, const char *type)
{
    void **box = lx_new_box(L, type);
    object *o = ec_xcalloc(1, sizeof *o);
    *o = (object){lx_context(L), NULL, LUA_NOREF, LUA_NOREF, false};
    *box = o;
    return o;
}

static void pin(lua_State *L, object *o, int fn_index)
{
    o->fn = lx_ref_function(L, fn_index, "callback");
    lua_pushvalue(L, -1);
    o->self = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void free_object(object *o)
{
    lx_unref(o->ctx, &o->fn);
    lx_unref(o->ctx, &o->self);
    free(o);
}

static int release(lua_State *L, const char *type, void (*close_core)(object *o))
{
    void **box = luaL_checkudata(L, 1, type);
    object *o = *box;
    *box = NULL;
    if (o) {
        if (o->core)
            close_core(o);
        free_object(o);
    }
    return 0;
}

static int fail_new(lua_State *L, object *o, const ec_err *err)
{
    *(void **)lua_touserdata(L, -1) = NULL;
    free_object(o);
    return lx_fail(L, err);
}

static int is_closed(lua_State *L)
{
    lua_pushboolean(L, *(void **)lua_touserdata(L, 1) == NULL);
    return 1;
}

// ---- probes ----

static void close_probe(object *o)
{
    ec_http_close(o->core);
}

static int l_release_probe(lua_State *L)
{
    return release(L, PROBE_TYPE, close_probe);
}

static void on_probe(int status, const char *body, size_t size, const ec_err *err, void *ud)
{
    object *o = ud;
    lx_ctx *ctx = o->ctx;
    lua_State *L = ctx->main;
    if (ctx->dispatch_off)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->fn);
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->self);
    *(void **)lua_touserdata(L, -1) = NULL;
    lua_pop(L, 1);
    int n = 2;
    if (status < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err->message);
        lua_pushstring(L, err->code);
        n = 3;
    } else if (o->bare) {
        lua_pushboolean(L, 1);
        n = 1;
    } else {
        lua_pushinteger(L, status);
        lua_pushlstring(L, body, size);
    }
    free_object(o);
    lx_dispatch(ctx, n);
}

static uint16_t check_port(lua_State *L, lua_Integer n)
{
    if (n < 1 || n > 65535)
        luaL_error(L, "a port is 1..65535, got %I", n);
    return (uint16_t)n;
}

static int start_probe(lua_State *L, const char *host, lua_Integer port, const char *path, lua_Integer timeout,
                       lua_Integer max, int fn)
{
    uint16_t number = check_port(L, port);
    luaL_checktype(L, fn, LUA_TFUNCTION);
    object *o = new_object(L, PROBE_TYPE);
    o->bare = path == NULL;
    pin(L, o, fn);
    o->core = ec_http_get(o->ctx->loop, host, number, path, (uint64_t)timeout, (size_t)max, on_probe, o);
    return 1;
}

static int l_tcp_probe(lua_State *L)
{
    const char *host = lx_check_path(L, 1);
    lua_Integer timeout = luaL_checkinteger(L, 3);
    luaL_argcheck(L, timeout >= 0, 3, "cannot be negative");
    return start_probe(L, host, luaL_checkinteger(L, 2), NULL, timeout, 0, 4);
}

static int l_http_get(lua_State *L)
{
    static const char *const fields[] = {"host", "port", "path", "timeout_ms", "max_bytes", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    lx_check_fields(L, 1, fields);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    const char *host = lx_opt_string(L, 1, "host", "127.0.0.1");
    const char *path = lx_opt_string(L, 1, "path", "/");
    lua_Integer port = lx_opt_integer(L, 1, "port", 0, 1, 65535);
    lua_Integer timeout = lx_opt_integer(L, 1, "timeout_ms", 2000, 0, 3600000);
    lua_Integer max = lx_opt_integer(L, 1, "max_bytes", 65536, 1, 16 << 20);
    return start_probe(L, host, port, path, timeout, max, 2);
}

// ---- connections ----

static void close_conn(object *o)
{
    ec_conn_close(o->core);
}

static int l_release_conn(lua_State *L)
{
    return release(L, CONN_TYPE, close_conn);
}

static void on_line(const char *line, size_t size, const ec_err *err, void *ud)
{
    object *o = ud;
    lua_State *L = o->ctx->main;
    if (o->ctx->dispatch_off || o->fn == LUA_NOREF)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->fn);
    int n = 1;
    if (line) {
        lua_pushlstring(L, line, size);
    } else {
        lua_pushnil(L);
        if (err) {
            lua_pushstring(L, err->message);
            lua_pushstring(L, err->code);
            n = 3;
        }
    }
    lx_dispatch(o->ctx, n);
}

static int l_start(lua_State *L)
{
    object *o = lx_check_box(L, 1, CONN_TYPE);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (o->fn != LUA_NOREF)
        return luaL_error(L, "reading was started before");
    o->fn = lx_ref_function(L, 2, "on_line");
    ec_conn_start(o->core, on_line, o);
    return 0;
}

static int l_write(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, CONN_TYPE);
    size_t size;
    const char *data = luaL_checklstring(L, 2, &size);
    ec_err err;
    object *o = *box;
    if (!o) {
        ec_err_set(&err, "EPIPE", "connection: closed");
        return lx_fail(L, &err);
    }
    if (!ec_conn_write(o->core, data, size, &err))
        return lx_fail(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_peer_uid(lua_State *L)
{
    lua_pushinteger(L, ec_conn_uid(((object *)lx_check_box(L, 1, CONN_TYPE))->core));
    return 1;
}

static int l_peer_pid(lua_State *L)
{
    lua_pushinteger(L, ec_conn_pid(((object *)lx_check_box(L, 1, CONN_TYPE))->core));
    return 1;
}

// Pins the box, so that a connection nobody stores still delivers its lines.
static void adopt(lua_State *L, object *o, ec_conn *core)
{
    o->core = core;
    lua_pushvalue(L, -1);
    o->self = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int l_unix_connect(lua_State *L)
{
    const char *dir = lx_check_path(L, 1), *name = lx_check_path(L, 2);
    object *o = new_object(L, CONN_TYPE);
    ec_err err;
    ec_conn *core = ec_unix_connect(o->ctx->loop, dir, name, &err);
    if (!core)
        return fail_new(L, o, &err);
    adopt(L, o, core);
    return 1;
}

// ---- server ----

static void close_server(object *o)
{
    ec_server_close(o->core);
}

static int l_release_server(lua_State *L)
{
    return release(L, SERVER_TYPE, close_server);
}

static void on_connection(ec_conn *c, void *ud)
{
    object *server = ud;
    lua_State *L = server->ctx->main;
    if (server->ctx->dispatch_off) {
        ec_conn_close(c);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, server->fn);
    object *o = new_object(L, CONN_TYPE);
    adopt(L, o, c);
    lx_dispatch(server->ctx, 1);
}

static int l_unix_listen(lua_State *L)
{
    const char *dir = lx_check_path(L, 1), *name = lx_check_path(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    object *o = new_object(L, SERVER_TYPE);
    ec_err err;
    o->core = ec_unix_listen(o->ctx->loop, dir, name, on_connection, o, &err);
    if (!o->core)
        return fail_new(L, o, &err);
    pin(L, o, 3);
    return 1;
}

int luaopen_envctl_host_net(lua_State *L)
{
    static const luaL_Reg probe_methods[] = {{"close", l_release_probe}, {"is_closed", is_closed}, {NULL, NULL}};
    static const luaL_Reg server_methods[] = {{"close", l_release_server}, {"is_closed", is_closed}, {NULL, NULL}};
    static const luaL_Reg conn_methods[] = {{"start", l_start},
                                            {"write", l_write},
                                            {"peer_uid", l_peer_uid},
                                            {"peer_pid", l_peer_pid},
                                            {"close", l_release_conn},
                                            {"is_closed", is_closed},
                                            {NULL, NULL}};
    static const luaL_Reg functions[] = {{"tcp_probe", l_tcp_probe},
                                         {"http_get", l_http_get},
                                         {"unix_listen", l_unix_listen},
                                         {"unix_connect", l_unix_connect},
                                         {NULL, NULL}};
    lx_new_type(L, PROBE_TYPE, probe_methods, l_release_probe);
    lx_new_type(L, CONN_TYPE, conn_methods, l_release_conn);
    lx_new_type(L, SERVER_TYPE, server_methods, l_release_server);
    luaL_newlib(L, functions);
    return 1;
}
