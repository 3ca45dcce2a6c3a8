// The VM: which libraries it has, which host modules, how it ends.
#ifndef ENVCTL_STATE_H
#define ENVCTL_STATE_H

#include <lua.h>

typedef struct envctl_vm envctl_vm;

/// A VM with its own event loop. `argc`/`argv` become host sys.argv. With `all_libs` the standard io, os, debug and
/// package libraries are there too (the test binary only). NULL when there is no memory.
envctl_vm *envctl_vm_new(int argc, char **argv, int all_libs);
lua_State *envctl_vm_lua(envctl_vm *vm);
/// Ends the VM: callbacks off, state closed, every handle of the loop closed and freed.
void envctl_vm_free(envctl_vm *vm);

/// A message handler that adds a traceback to string errors; pushed by the caller as a C function.
int envctl_traceback(lua_State *L);

// searcher.c
/// Appends the searcher of bundled `envctl.*` modules to package.searchers.
void envctl_add_searcher(lua_State *L);

// The host modules, one l*.c each.
int luaopen_envctl_host_confine(lua_State *L);
int luaopen_envctl_host_fs(lua_State *L);
int luaopen_envctl_host_git(lua_State *L);
int luaopen_envctl_host_hash(lua_State *L);
int luaopen_envctl_host_json(lua_State *L);
int luaopen_envctl_host_log(lua_State *L);
int luaopen_envctl_host_loop(lua_State *L);
int luaopen_envctl_host_luakeys(lua_State *L);
int luaopen_envctl_host_net(lua_State *L);
int luaopen_envctl_host_port(lua_State *L);
int luaopen_envctl_host_proc(lua_State *L);
int luaopen_envctl_host_procfs(lua_State *L);
int luaopen_envctl_host_regex(lua_State *L);
int luaopen_envctl_host_sys(lua_State *L);
/// sys.module_text(name): the source of a bundled module whose text is kept, or nil.
int envctl_module_text(lua_State *L);
/// Tells lsys.c what sys.argv is.
void envctl_sys_set_argv(int argc, char **argv);

#endif
