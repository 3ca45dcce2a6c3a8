// envctl.host.regex: POSIX extended regular expressions. Stub: lua/_meta/envctl/host/regex.lua
#include <regex.h>
#include <stdlib.h>

#include "envctl/mem.h"
#include "lx.h"
#include "state.h"

#define TYPE "envctl.Regex"

static int release(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, TYPE);
    if (*box) {
        regfree(*box);
        free(*box);
    }
    *box = NULL;
    return 0;
}

static int l_compile(lua_State *L)
{
    const char *pattern = lx_check_path(L, 1);
    void **box = lx_new_box(L, TYPE);
    regex_t *regex = ec_xcalloc(1, sizeof *regex);
    int rc = regcomp(regex, pattern, REG_EXTENDED | REG_NOSUB);
    if (rc != 0) {
        char why[256];
        regerror(rc, regex, why, sizeof why);
        free(regex); // regcomp frees what it had made
        ec_err err;
        ec_err_set(&err, "EINVAL", "%s: %s", pattern, why);
        return lx_fail(L, &err);
    }
    *box = regex;
    return 1;
}

static int l_matches(lua_State *L)
{
    regex_t *regex = lx_check_box(L, 1, TYPE);
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);
    regmatch_t whole = {.rm_so = 0, .rm_eo = (regoff_t)size};
    lua_pushboolean(L, regexec(regex, text, 1, &whole, REG_STARTEND) == 0);
    return 1;
}

int luaopen_envctl_host_regex(lua_State *L)
{
    static const luaL_Reg methods[] = {{"matches", l_matches}, {"close", release}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"compile", l_compile}, {NULL, NULL}};
    lx_new_type(L, TYPE, methods, release);
    luaL_newlib(L, functions);
    return 1;
}
