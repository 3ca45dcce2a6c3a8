// envctl.host.sys. Stub: lua/_meta/envctl/host/sys.lua
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "envctl/ops.h"
#include "envctl/sys.h"
#include "envctl/version.h"
#include "lx.h"
#include "state.h"

extern char **environ;

static int arg_count;
static char **arg_values;

void envctl_sys_set_argv(int argc, char **argv)
{
    arg_count = argc;
    arg_values = argv;
}

static int fail_errno(lua_State *L, const char *what)
{
    ec_err err;
    ec_err_errno(&err, errno, "%s", what);
    return lx_fail(L, &err);
}

static int l_getenv(lua_State *L)
{
    lua_pushstring(L, getenv(lx_check_path(L, 1)));
    return 1;
}

static int l_environ(lua_State *L)
{
    lua_newtable(L);
    for (char **e = environ; e && *e; e++) {
        const char *eq = strchr(*e, '=');
        if (!eq || eq == *e)
            continue;
        lua_pushlstring(L, *e, (size_t)(eq - *e));
        lua_pushstring(L, eq + 1);
        lua_rawset(L, -3);
    }
    return 1;
}

static int l_getpid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}

static int l_geteuid(lua_State *L)
{
    lua_pushinteger(L, geteuid());
    return 1;
}

static int l_cwd(lua_State *L)
{
    char path[PATH_MAX];
    if (!getcwd(path, sizeof path))
        return fail_errno(L, "current directory");
    lua_pushstring(L, path);
    return 1;
}

static int l_isatty(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int l_term_size(lua_State *L)
{
    struct winsize size;
    if (ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 0;
    lua_pushinteger(L, size.ws_col);
    lua_pushinteger(L, size.ws_row);
    return 2;
}

static int l_write(lua_State *L)
{
    lua_Integer fd = luaL_checkinteger(L, 1);
    luaL_argcheck(L, fd == 1 || fd == 2, 1, "1 or 2 expected");
    size_t size;
    const char *data = luaL_checklstring(L, 2, &size);
    ec_err err;
    if (!ec_write_all((int)fd, data, size, &err))
        return lx_fail(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_which(lua_State *L)
{
    static const char *const fields[] = {"path", "avoid", NULL};
    const char *name = lx_check_path(L, 1);
    const char *path = getenv("PATH"), *avoid = NULL;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lx_check_fields(L, 2, fields);
        path = lx_opt_string(L, 2, "path", path);
        avoid = lx_opt_string(L, 2, "avoid", NULL);
    }
    char out[PATH_MAX];
    ec_err err;
    if (!ec_which(out, sizeof out, name, path, avoid, &err))
        return lx_fail(L, &err);
    lua_pushstring(L, out);
    return 1;
}

static int l_wall_ms(lua_State *L)
{
    lua_pushinteger(L, ec_clock_ops.wall_ms());
    return 1;
}

static int l_mono_ms(lua_State *L)
{
    lua_pushinteger(L, ec_clock_ops.mono_ms());
    return 1;
}

static int l_iso_time(lua_State *L)
{
    char text[32];
    ec_iso_time(text, luaL_checkinteger(L, 1));
    lua_pushstring(L, text);
    return 1;
}

static int l_random_hex(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 1 && n <= 64, 1, "1..64 expected");
    unsigned char bytes[64];
    char text[128];
    ec_random(bytes, (size_t)n);
    for (lua_Integer i = 0; i < n; i++) {
        text[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    lua_pushlstring(L, text, (size_t)(2 * n));
    return 1;
}

static int l_home(lua_State *L)
{
    const char *home = getenv("HOME");
    if (!home || !*home) {
        struct passwd *pw = getpwuid(geteuid());
        home = pw ? pw->pw_dir : NULL;
    }
    lua_pushstring(L, home);
    return 1;
}

static int l_read_line(lua_State *L)
{
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    char c;
    ssize_t n;
    bool any = false;
    while ((n = read(0, &c, 1)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || c == '\n')
            break;
        any = true;
        luaL_addchar(&b, c);
    }
    luaL_pushresult(&b);
    if (n <= 0 && !any)
        lua_pushnil(L);
    return 1;
}

static int l_read_stdin(lua_State *L)
{
    lua_Integer max = luaL_checkinteger(L, 1);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    lua_Integer total = 0;
    for (;;) {
        char *to = luaL_prepbuffer(&b);
        ssize_t n = read(0, to, LUAL_BUFFERSIZE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(L, "standard input");
        if (n == 0)
            break;
        luaL_addsize(&b, (size_t)n);
        total += n;
        if (total > max) {
            ec_err err;
            ec_err_set(&err, "EFBIG", "standard input: more than %lld bytes", (long long)max);
            return lx_fail(L, &err);
        }
    }
    luaL_pushresult(&b);
    return 1;
}

static void push_exe(lua_State *L)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    lua_pushlstring(L, path, n > 0 ? (size_t)n : 0);
}

int luaopen_envctl_host_sys(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"getenv", l_getenv},
        {"environ", l_environ},
        {"getpid", l_getpid},
        {"geteuid", l_geteuid},
        {"cwd", l_cwd},
        {"isatty", l_isatty},
        {"term_size", l_term_size},
        {"write", l_write},
        {"which", l_which},
        {"wall_ms", l_wall_ms},
        {"mono_ms", l_mono_ms},
        {"iso_time", l_iso_time},
        {"random_hex", l_random_hex},
        {"home", l_home},
        {"read_line", l_read_line},
        {"read_stdin", l_read_stdin},
        {"module_text", envctl_module_text},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_createtable(L, arg_count, 0);
    for (int i = 1; i < arg_count; i++) {
        lua_pushstring(L, arg_values[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, -2, "argv");
    push_exe(L);
    lua_setfield(L, -2, "exe");
    lua_pushliteral(L, ENVCTL_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
