// A fuzz target in Lua: a chunk that returns a function of the bytes. Whatever the function raises is a finding.
#ifndef TESTS_FUZZ_LUA_TARGET_H
#define TESTS_FUZZ_LUA_TARGET_H

#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What guides the fuzzer: one counter for each step from a line of Lua to the next. The VM's own C code says nothing
// about that. Files are not told apart: asking the VM for the name would cost more than all the rest.
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t lua_steps[1 << 16];

static inline void on_line(lua_State *L, lua_Debug *ar)
{
    (void)L;
    static uint32_t last;
    uint32_t here = (uint32_t)ar->currentline * 2654435761u >> 16;
    lua_steps[here ^ last]++;
    last = here >> 1;
}

// The heap of the VM grows and shrinks as its collector likes; libFuzzer would take every input for a leak and look for
// it.
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static char option[] = "-detect_leaks=0";
    char **words = calloc((size_t)*argc + 2, sizeof *words);
    if (!words)
        abort();
    for (int i = 0; i < *argc; i++)
        words[i] = (*argv)[i];
    words[(*argc)++] = option;
    *argv = words;
    return 0;
}

/// Runs the chunk's function on the bytes, in one VM for the whole run. Ends the process when it raises.
static inline int lua_target(const char *chunk, const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (!L) {
        static char name[] = "fuzz";
        static char *argv[] = {name, NULL};
        envctl_vm *vm = envctl_vm_new(1, argv, 1);
        L = vm ? envctl_vm_lua(vm) : NULL;
        if (!L || luaL_loadstring(L, chunk) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK) {
            lua_writestringerror("%s\n", L ? lua_tostring(L, -1) : "no VM");
            abort();
        }
        lua_sethook(L, on_line, LUA_MASKLINE, 0);
    }
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        luaL_traceback(L, L, luaL_tolstring(L, -1, NULL), 0);
        lua_writestringerror("%s\n", lua_tostring(L, -1));
        abort();
    }
    lua_settop(L, 1);
    return 0;
}

#endif
