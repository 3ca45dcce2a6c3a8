// argv in, VM up, exit code out; nothing else.
#include <fcntl.h>
#include <lauxlib.h>
#include <locale.h>
#include <lua.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "lua/state.h"

// A descriptor 0, 1 or 2 that is closed would be reused by the first file we open, and children would write into it.
static void open_standard_fds(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

// envctl.main returns a function that returns the exit code.
static int run(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "envctl.main");
    lua_call(L, 1, 1);
    lua_call(L, 0, 1);
    return 1;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    open_standard_fds();
    envctl_vm *vm = envctl_vm_new(argc, argv, 0);
    if (!vm) {
        fputs("envctl: out of memory\n", stderr);
        return 1;
    }
    lua_State *L = envctl_vm_lua(vm);
    int code = 1;
    lua_pushcfunction(L, envctl_traceback);
    lua_pushcfunction(L, run);
    if (lua_pcall(L, 0, 1, 1) == LUA_OK)
        code = (int)lua_tointeger(L, -1);
    else
        fprintf(stderr, "envctl: internal error: %s\n", luaL_tolstring(L, -1, NULL));
#ifdef __SANITIZE_ADDRESS__
    envctl_vm_free(vm); // who was forgotten is seen
#else
    // The kernel takes everything back at once; object by object it was a tenth of an inspection command.
    fflush(NULL);
    _exit(code);
#endif
    return code;
}
