// envctl.host.luakeys: where the keys of a script's table stand in its text. Stub: lua/_meta/envctl/host/luakeys.lua
#include "envctl/luakeys.h"

#include "lx.h"
#include "state.h"

#define INDEX_TYPE "envctl.luakeys.index"
#define MAX_PATH   256 // parts of a path that count

static int release(lua_State *L)
{
    void **box = lx_test_box(L, 1, INDEX_TYPE);
    if (box) {
        ek_index_free(*box);
        *box = NULL;
    }
    return 0;
}

static int l_index(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    void **box = lx_new_box(L, INDEX_TYPE);
    *box = ek_index_new(text, size);
    return 1;
}

// The parts stay alive in the table that they are from.
static int l_find(lua_State *L)
{
    const ek_index *index = lx_check_box(L, 1, INDEX_TYPE);
    luaL_checktype(L, 2, LUA_TTABLE);
    ek_key path[MAX_PATH];
    size_t count = 0;
    for (; count < MAX_PATH; count++) {
        int type = lua_rawgeti(L, 2, (lua_Integer)count + 1);
        if (type == LUA_TNIL)
            break;
        path[count] = (ek_key){0};
        if (type == LUA_TSTRING)
            path[count].text = lua_tolstring(L, -1, &path[count].size);
        else if (lua_isinteger(L, -1))
            path[count].number = lua_tointeger(L, -1);
        else
            return luaL_argerror(L, 2, "strings and integers expected");
        lua_pop(L, 1);
    }
    lua_settop(L, 2);
    ek_place at;
    if (ek_index_find(index, path, count, &at))
        lua_pushinteger(L, at.line);
    else
        lua_pushnil(L);
    lua_pushinteger(L, (lua_Integer)at.depth);
    if (!at.include)
        return 2;
    lua_pushlstring(L, at.include, at.include_size);
    return 3;
}

int luaopen_envctl_host_luakeys(lua_State *L)
{
    static const luaL_Reg methods[] = {{"find", l_find}, {"close", release}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"index", l_index}, {NULL, NULL}};
    lx_new_type(L, INDEX_TYPE, methods, release);
    luaL_newlib(L, functions);
    return 1;
}
