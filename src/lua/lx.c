// See lx.h.
#include "lx.h"

#include <string.h>

// Address used as registry key of the stashed error.
static const char error_key;

lx_ctx *lx_context(lua_State *L)
{
    return *(lx_ctx **)lua_getextraspace(L);
}

int lx_fail(lua_State *L, const ec_err *err)
{
    luaL_pushfail(L);
    lua_pushstring(L, err->message);
    lua_pushstring(L, err->code);
    return 3;
}

static int traceback(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

void lx_dispatch(lx_ctx *ctx, int nargs)
{
    lua_State *L = ctx->main;
    int base = lua_gettop(L) - nargs; // the function
    if (ctx->dispatch_off || ctx->has_error || !lua_checkstack(L, 2)) {
        lua_settop(L, base - 1);
        return;
    }
    lua_pushcfunction(L, traceback);
    lua_insert(L, base);
    if (lua_pcall(L, nargs, 0, base) != LUA_OK) {
        lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
        ctx->has_error = true;
        ec_loop_stop(ctx->loop);
    }
    lua_settop(L, base - 1);
}

void lx_rethrow(lua_State *L)
{
    lx_ctx *ctx = lx_context(L);
    if (!ctx->has_error)
        return;
    ctx->has_error = false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
    lua_error(L);
}

int lx_ref_function(lua_State *L, int index, const char *what)
{
    if (lua_isnoneornil(L, index))
        return LUA_NOREF;
    if (!lua_isfunction(L, index))
        luaL_error(L, "%s: function expected, got %s", what, luaL_typename(L, index));
    lua_pushvalue(L, index);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void lx_unref(lx_ctx *ctx, int *ref)
{
    luaL_unref(ctx->main, LUA_REGISTRYINDEX, *ref);
    *ref = LUA_NOREF;
}

const char *lx_opt_string(lua_State *L, int table, const char *field, const char *fallback)
{
    const char *value = fallback;
    int type = lua_getfield(L, table, field);
    if (type == LUA_TSTRING) {
        size_t size;
        value = lua_tolstring(L, -1, &size); // stays valid: the table holds the same string
        if (strlen(value) != size)
            luaL_error(L, "%s: contains a NUL byte", field);
    } else if (type != LUA_TNIL) {
        luaL_error(L, "%s: string expected, got %s", field, luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return value;
}

lua_Integer lx_opt_integer(lua_State *L, int table, const char *field, lua_Integer fallback, lua_Integer lo,
                           lua_Integer hi)
{
    if (lua_getfield(L, table, field) == LUA_TNIL) {
        lua_pop(L, 1);
        return fallback;
    }
    int ok = 0;
    lua_Integer value = lua_tointegerx(L, -1, &ok);
    if (!ok || lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "%s: integer expected, got %s", field, luaL_typename(L, -1));
    if (value < lo || value > hi)
        luaL_error(L, "%s: %I is not in %I..%I", field, value, lo, hi);
    lua_pop(L, 1);
    return value;
}

bool lx_opt_boolean(lua_State *L, int table, const char *field, bool fallback)
{
    int type = lua_getfield(L, table, field);
    bool value = fallback;
    if (type == LUA_TBOOLEAN)
        value = lua_toboolean(L, -1);
    else if (type != LUA_TNIL)
        luaL_error(L, "%s: boolean expected, got %s", field, luaL_typename(L, -1));
    lua_pop(L, 1);
    return value;
}

void lx_check_fields(lua_State *L, int table, const char *const *known)
{
    table = lua_absindex(L, table);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "option names are strings, got a %s", luaL_typename(L, -2));
        const char *name = lua_tostring(L, -2);
        const char *const *k = known;
        while (*k && strcmp(*k, name) != 0)
            k++;
        if (!*k)
            luaL_error(L, "unknown option '%s'", name);
        lua_pop(L, 1);
    }
}

const char *lx_check_path(lua_State *L, int arg)
{
    size_t size;
    const char *path = luaL_checklstring(L, arg, &size);
    luaL_argcheck(L, strlen(path) == size, arg, "contains a NUL byte");
    return path;
}

void **lx_new_box(lua_State *L, const char *type)
{
    void **box = lua_newuserdatauv(L, sizeof *box, 1);
    *box = NULL;
    luaL_setmetatable(L, type);
    return box;
}

void **lx_test_box(lua_State *L, int arg, const char *type)
{
    return luaL_testudata(L, arg, type);
}

void *lx_check_box(lua_State *L, int arg, const char *type)
{
    void **box = luaL_checkudata(L, arg, type);
    if (!*box)
        luaL_error(L, "%s is closed", type);
    return *box;
}

void lx_new_type(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction release)
{
    if (luaL_newmetatable(L, type)) {
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, release);
        lua_setfield(L, -2, "__close");
        lua_newtable(L);
        luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}
