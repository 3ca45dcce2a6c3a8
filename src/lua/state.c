// See state.h.
#include "state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#include "envctl/loop.h"
#include "envctl/mem.h"
#include "envctl/proc.h"
#include "lx.h"

struct envctl_vm {
    lua_State *L;
    lx_ctx ctx;
};

// The whole native surface, in one table.
static const luaL_Reg host_modules[] = {
    {"envctl.host.confine", luaopen_envctl_host_confine},
    {"envctl.host.fs", luaopen_envctl_host_fs},
    {"envctl.host.git", luaopen_envctl_host_git},
    {"envctl.host.hash", luaopen_envctl_host_hash},
    {"envctl.host.json", luaopen_envctl_host_json},
    {"envctl.host.log", luaopen_envctl_host_log},
    {"envctl.host.loop", luaopen_envctl_host_loop},
    {"envctl.host.luakeys", luaopen_envctl_host_luakeys},
    {"envctl.host.net", luaopen_envctl_host_net},
    {"envctl.host.port", luaopen_envctl_host_port},
    {"envctl.host.proc", luaopen_envctl_host_proc},
    {"envctl.host.procfs", luaopen_envctl_host_procfs},
    {"envctl.host.regex", luaopen_envctl_host_regex},
    {"envctl.host.sys", luaopen_envctl_host_sys},
    {NULL, NULL},
};

// No io, no os: policy reaches the world through host modules only.
static const luaL_Reg policy_libs[] = {
    {LUA_GNAME, luaopen_base},          {LUA_LOADLIBNAME, luaopen_package}, {LUA_TABLIBNAME, luaopen_table},
    {LUA_STRLIBNAME, luaopen_string},   {LUA_MATHLIBNAME, luaopen_math},    {LUA_UTF8LIBNAME, luaopen_utf8},
    {LUA_COLIBNAME, luaopen_coroutine}, {LUA_DBLIBNAME, luaopen_debug},     {NULL, NULL},
};

int envctl_traceback(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

// package: no path, no C path, no loadlib, and of the searchers only the one for preloaded modules: a directory that
// envctl runs in never supplies code.
static void lock_package(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_createtable(L, 2, 0);
    lua_getfield(L, -2, "searchers");
    lua_rawgeti(L, -1, 1);
    lua_rawseti(L, -3, 1);
    lua_pop(L, 1);
    // require() looks at a field of its upvalue, which is this same package table.
    lua_setfield(L, -2, "searchers");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "path");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "cpath");
    lua_pushnil(L);
    lua_setfield(L, -2, "loadlib");
    lua_pop(L, 1);
}

static void remove_globals(lua_State *L)
{
    static const char *const names[] = {"dofile", "loadfile", "print", NULL};
    for (const char *const *n = names; *n; n++) {
        lua_pushnil(L);
        lua_setglobal(L, *n);
    }
    // Of debug only what messages need, for require('debug') as well.
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getglobal(L, LUA_DBLIBNAME);
    lua_createtable(L, 0, 2);
    lua_getfield(L, -2, "traceback");
    lua_setfield(L, -2, "traceback");
    lua_getfield(L, -2, "getinfo");
    lua_setfield(L, -2, "getinfo");
    lua_pushvalue(L, -1);
    lua_setglobal(L, LUA_DBLIBNAME);
    lua_setfield(L, -3, LUA_DBLIBNAME);
    lua_pop(L, 2);
}

static int setup(lua_State *L)
{
    int all_libs = (int)lua_tointeger(L, 1);
    if (all_libs) {
        luaL_openlibs(L);
    } else {
        for (const luaL_Reg *lib = policy_libs; lib->func; lib++) {
            luaL_requiref(L, lib->name, lib->func, 1);
            lua_pop(L, 1);
        }
        remove_globals(L);
        lock_package(L);
    }
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    luaL_setfuncs(L, host_modules, 0);
    lua_pop(L, 1);
    envctl_add_searcher(L);
    return 0;
}

envctl_vm *envctl_vm_new(int argc, char **argv, int all_libs)
{
    envctl_vm *vm = ec_xcalloc(1, sizeof *vm);
    vm->ctx.loop = ec_loop_new();
    vm->L = luaL_newstate();
    if (!vm->L || !vm->ctx.loop) {
        free(vm);
        return NULL;
    }
    vm->ctx.main = vm->L;
    *(lx_ctx **)lua_getextraspace(vm->L) = &vm->ctx;
    envctl_sys_set_argv(argc, argv);
    lua_pushcfunction(vm->L, setup);
    lua_pushinteger(vm->L, all_libs);
    lua_call(vm->L, 1, 0);
    // A command is over before it would pay to collect; what lives longer asks for less garbage (see
    // envctl.keeper.server).
    lua_gc(vm->L, LUA_GCINC, 1000, 0, 0);
    lua_gc(vm->L, LUA_GCCOLLECT);
    return vm;
}

lua_State *envctl_vm_lua(envctl_vm *vm)
{
    return vm->L;
}

void envctl_vm_free(envctl_vm *vm)
{
    vm->ctx.dispatch_off = true;
    lua_close(vm->L); // releases close their handles …
    ec_proc_shutdown();
    ec_loop_free(vm->ctx.loop); // … and the loop frees them
    free(vm);
}
