// The test binary: the program's own VM with all of Lua's standard libraries, running tests/lua/run.lua.
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdio.h>

#include "state.h"

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    envctl_vm *vm = envctl_vm_new(argc, argv, 1);
    if (!vm)
        return 1;
    lua_State *L = envctl_vm_lua(vm);
    lua_pushcfunction(L, envctl_traceback);
    int code = 1;
    lua_pushliteral(L, ENVCTL_SOURCE_DIR);
    lua_setglobal(L, "ENVCTL_SOURCE_DIR");
    if (luaL_loadfile(L, ENVCTL_SOURCE_DIR "/tests/lua/run.lua") == LUA_OK && lua_pcall(L, 0, 1, 1) == LUA_OK)
        code = (int)lua_tointeger(L, -1);
    else
        fprintf(stderr, "envctl_test: %s\n", luaL_tolstring(L, -1, NULL));
    envctl_vm_free(vm);
    return code;
}
