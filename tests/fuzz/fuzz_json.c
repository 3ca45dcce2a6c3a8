// Any bytes: decode answers, and quote makes ASCII of them that decodes, and quotes to the same again.
#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char script[] = "local json = require 'envctl.host.json'\n"
                             "return function(text)\n"
                             "  local value, message = json.decode(text)\n"
                             "  assert(value ~= nil or type(message) == 'string')\n"
                             "  local quoted = json.quote(text)\n"
                             "  assert(not quoted:find '[^ -~]')\n"
                             "  local back = assert(json.decode(quoted))\n"
                             "  assert(utf8.len(back))\n"
                             "  assert(not utf8.len(text) or text:find '[\\xf8-\\xff]' or back == text)\n"
                             "  assert(json.quote(back) == quoted)\n"
                             "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (!L) {
        static char name[] = "fuzz_json";
        static char *argv[] = {name, NULL};
        envctl_vm *vm = envctl_vm_new(1, argv, 0);
        L = vm ? envctl_vm_lua(vm) : NULL;
        if (!L || luaL_loadstring(L, script) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK)
            abort();
    }
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        luaL_traceback(L, L, lua_tostring(L, -1), 0);
        lua_writestringerror("%s\n", lua_tostring(L, -1));
        abort();
    }
    lua_settop(L, 1);
    return 0;
}
