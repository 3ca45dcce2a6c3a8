// envctl.host.log. Stub: lua/_meta/envctl/host/log.lua
#include "envctl/log.h"
#include "envctl/ops.h"
#include "envctl/sys.h"
#include "lx.h"
#include "state.h"

static int l_open(lua_State *L)
{
    ec_err err;
    if (!ec_log_open(lx_check_path(L, 1), &err))
        return lx_fail(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

// upvalue 1: json.quote
static int l_write(lua_State *L)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    const char *level = levels[luaL_checkoption(L, 1, NULL, levels)];
    luaL_checkstring(L, 2);
    const char *fields = luaL_optstring(L, 3, NULL);
    char time[32];
    ec_iso_time(time, ec_clock_ops.wall_ms());
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    const char *line = lua_pushfstring(L, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":%s%s%s}\n", time, level,
                                       lua_tostring(L, -1), fields ? ",\"fields\":" : "", fields ? fields : "");
    ec_log_line(line, lua_rawlen(L, -1));
    return 0;
}

int luaopen_envctl_host_log(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, l_open);
    lua_setfield(L, -2, "open");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "envctl.host.json");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "quote");
    lua_remove(L, -2);
    lua_pushcclosure(L, l_write, 1);
    lua_setfield(L, -2, "write");
    return 1;
}
