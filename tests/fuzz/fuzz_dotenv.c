// The dotenv grammar and the JSON reader, in the VM: whatever a file holds, reading it never raises.
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lua_State *vm(void)
{
    static envctl_vm *it;
    if (!it)
        it = envctl_vm_new(0, NULL, 1);
    return envctl_vm_lua(it);
}

static void call(lua_State *L, const char *module, const char *function, const uint8_t *data, size_t size)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, function);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s.%s raised: %s\n", module, function, luaL_tolstring(L, -1, NULL));
        abort();
    }
    lua_settop(L, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lua_State *L = vm();
    call(L, "envctl.config.dotenv", "scan", data, size);
    call(L, "envctl.util.json", "decode", data, size);
    return 0;
}
