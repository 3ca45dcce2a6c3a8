// envctl.host.hash. Stub: lua/_meta/envctl/host/hash.lua
#include "envctl/sha256.h"
#include "lx.h"
#include "state.h"

static int l_sha256(lua_State *L)
{
    size_t size;
    const char *data = luaL_checklstring(L, 1, &size);
    uint8_t digest[32];
    ec_sha256(digest, data, size);
    char text[64];
    for (size_t i = 0; i < sizeof digest; i++) {
        text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    lua_pushlstring(L, text, sizeof text);
    return 1;
}

int luaopen_envctl_host_hash(lua_State *L)
{
    static const luaL_Reg functions[] = {{"sha256", l_sha256}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
