// See lidentity.h.
#include "lidentity.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lx.h"

void lx_push_identity(lua_State *L, const ec_identity *id)
{
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, id->pid);
    lua_setfield(L, -2, "pid");
    lua_pushinteger(L, (lua_Integer)id->start_ticks);
    lua_setfield(L, -2, "start_time_ticks");
    lua_pushstring(L, id->boot_id);
    lua_setfield(L, -2, "boot_id");
    lua_pushinteger(L, (lua_Integer)id->pid_ns);
    lua_setfield(L, -2, "pid_ns");
    lua_pushinteger(L, id->session);
    lua_setfield(L, -2, "session_id");
}

void lx_check_identity(lua_State *L, int index, ec_identity *out)
{
    index = lua_absindex(L, index);
    luaL_checktype(L, index, LUA_TTABLE);
    *out = (ec_identity){0};
    out->pid = (pid_t)lx_opt_integer(L, index, "pid", 0, 0, INT32_MAX);
    out->start_ticks = (uint64_t)lx_opt_integer(L, index, "start_time_ticks", 0, 0, LUA_MAXINTEGER);
    out->pid_ns = (uint64_t)lx_opt_integer(L, index, "pid_ns", 0, 0, LUA_MAXINTEGER);
    out->session = (pid_t)lx_opt_integer(L, index, "session_id", 0, 0, INT32_MAX);
    const char *boot = lx_opt_string(L, index, "boot_id", "");
    snprintf(out->boot_id, sizeof out->boot_id, "%s", boot);
}

static const struct {
    const char *name;
    int number;
} signals[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"ILL", SIGILL},   {"ABRT", SIGABRT},
               {"BUS", SIGBUS},   {"FPE", SIGFPE},   {"KILL", SIGKILL}, {"SEGV", SIGSEGV}, {"PIPE", SIGPIPE},
               {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"CONT", SIGCONT},
               {"STOP", SIGSTOP}, {"TSTP", SIGTSTP}, {"TRAP", SIGTRAP}, {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},
               {"SYS", SIGSYS}};

int lx_check_signal(lua_State *L, int arg)
{
    const char *name = luaL_checkstring(L, arg);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strcmp(signals[i].name, name) == 0)
            return signals[i].number;
    return luaL_argerror(L, arg, "not a signal name");
}

const char *lx_signal_name(int sig)
{
    static char number[16];
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (signals[i].number == sig)
            return signals[i].name;
    snprintf(number, sizeof number, "%d", sig);
    return number;
}
