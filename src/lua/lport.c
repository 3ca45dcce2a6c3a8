// envctl.host.port. Stub: lua/_meta/envctl/host/port.lua
#include <stdlib.h>

#include "envctl/mem.h"
#include "envctl/port.h"
#include "lx.h"
#include "state.h"

#define TYPE "envctl.PortHold"

static uint16_t check_port(lua_State *L, int arg)
{
    lua_Integer n = luaL_checkinteger(L, arg);
    luaL_argcheck(L, n >= 1 && n <= 65535, arg, "a port is 1..65535");
    return (uint16_t)n;
}

static void push_socket(lua_State *L, const ec_listener *s)
{
    lua_createtable(L, 0, 5);
    lua_pushstring(L, s->addr);
    lua_setfield(L, -2, "addr");
    lua_pushstring(L, s->v6 ? "inet6" : "inet");
    lua_setfield(L, -2, "family");
    lua_pushinteger(L, (lua_Integer)s->inode);
    lua_setfield(L, -2, "inode");
    lua_pushinteger(L, s->uid);
    lua_setfield(L, -2, "uid");
}

static int l_sockets(lua_State *L)
{
    ec_listener *list = NULL;
    size_t count = 0;
    ec_port_sockets(&list, &count, check_port(L, 1));
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_socket(L, &list[i]);
        lua_pushstring(L, list[i].state == EC_TCP_LISTEN      ? "listen"
                          : list[i].state == EC_TCP_TIME_WAIT ? "time-wait"
                          : list[i].state == EC_TCP_CLOSE     ? "bound"
                                                              : "connection");
        lua_setfield(L, -2, "state");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    free(list);
    return 1;
}

static int l_listeners(lua_State *L)
{
    ec_listener *list = NULL;
    size_t count = 0;
    ec_err err;
    if (!ec_port_listeners(&list, &count, &err))
        return lx_fail(L, &err);
    lua_newtable(L);
    for (size_t i = 0; i < count; i++) {
        if (lua_rawgeti(L, -1, list[i].port) != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -1);
            lua_rawseti(L, -3, list[i].port);
        }
        push_socket(L, &list[i]);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        lua_pop(L, 1);
    }
    free(list);
    return 1;
}

static int l_check(lua_State *L)
{
    ec_err err;
    if (!ec_port_check(check_port(L, 1), &err))
        return lx_fail(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_release(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, TYPE);
    if (*box) {
        ec_port_hold_release(*box);
        free(*box);
    }
    *box = NULL;
    return 0;
}

static int l_is_closed(lua_State *L)
{
    lua_pushboolean(L, *(void **)luaL_checkudata(L, 1, TYPE) == NULL);
    return 1;
}

static int l_hold(lua_State *L)
{
    uint16_t port = check_port(L, 1);
    void **box = lx_new_box(L, TYPE);
    ec_port_hold *hold = ec_xcalloc(1, sizeof *hold);
    ec_err err;
    if (!ec_port_hold_take(hold, port, &err)) {
        free(hold);
        return lx_fail(L, &err);
    }
    *box = hold;
    return 1;
}

static int l_ephemeral_range(lua_State *L)
{
    uint16_t low, high;
    ec_port_ephemeral(&low, &high);
    lua_pushinteger(L, low);
    lua_pushinteger(L, high);
    return 2;
}

int luaopen_envctl_host_port(lua_State *L)
{
    static const luaL_Reg methods[] = {{"close", l_release}, {"is_closed", l_is_closed}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"listeners", l_listeners},
                                         {"sockets", l_sockets},
                                         {"check", l_check},
                                         {"hold", l_hold},
                                         {"ephemeral_range", l_ephemeral_range},
                                         {NULL, NULL}};
    lx_new_type(L, TYPE, methods, l_release);
    luaL_newlib(L, functions);
    return 1;
}
