// envctl.host.git. Stub: lua/_meta/envctl/host/git.lua
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "envctl/git.h"
#include "lx.h"
#include "state.h"

#define DIR_TYPE "envctl.git.dir"

static void set_string(lua_State *L, const char *key, const char *value)
{
    if (!*value)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void set_boolean(lua_State *L, const char *key, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static int l_discover(lua_State *L)
{
    ec_git_repo r;
    ec_err err;
    if (!ec_git_discover(&r, lx_check_path(L, 1), &err))
        return lx_fail(L, &err);
    lua_createtable(L, 0, 6);
    set_string(L, "root", r.root);
    set_string(L, "git_dir", r.git_dir);
    set_string(L, "common_dir", r.common_dir);
    set_boolean(L, "linked", r.linked);
    set_boolean(L, "bare", r.bare);
    set_string(L, "main_root", r.main_root);
    return 1;
}

static void set_head(lua_State *L, const ec_git_head *h)
{
    set_string(L, "branch", h->branch);
    set_string(L, "oid", h->oid);
    set_boolean(L, "detached", h->detached);
}

static int l_head(lua_State *L)
{
    ec_git_head h;
    ec_err err;
    if (!ec_git_head_read(&h, lx_check_path(L, 1), &err))
        return lx_fail(L, &err);
    lua_createtable(L, 0, 3);
    set_head(L, &h);
    return 1;
}

static int close_dir(lua_State *L)
{
    void **dir = lua_touserdata(L, 1);
    if (*dir)
        closedir(*dir);
    *dir = NULL;
    return 0;
}

static void push_worktree(lua_State *L, const ec_git_worktree *w)
{
    lua_createtable(L, 0, 9);
    set_string(L, "name", w->name);
    set_string(L, "path", w->path);
    set_string(L, "git_dir", w->git_dir);
    set_head(L, &w->head);
    set_boolean(L, "locked", w->locked);
    set_boolean(L, "missing", w->missing);
    set_boolean(L, "foreign", w->foreign);
}

static void sort_by_path(lua_State *L)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    // Insertion sort on the Lua table: a few hundred entries at most.
    for (lua_Integer i = 2; i <= n; i++) {
        for (lua_Integer k = i; k > 1; k--) {
            lua_rawgeti(L, -1, k - 1);
            lua_rawgeti(L, -2, k);
            lua_getfield(L, -2, "path");
            lua_getfield(L, -2, "path");
            bool swap = strcmp(lua_tostring(L, -2), lua_tostring(L, -1)) > 0;
            lua_pop(L, 2);
            if (!swap) {
                lua_pop(L, 2);
                break;
            }
            lua_rawseti(L, -3, k - 1);
            lua_rawseti(L, -2, k);
        }
    }
}

static int l_worktrees(lua_State *L)
{
    const char *common = lx_check_path(L, 1);
    void **dir = lx_new_box(L, DIR_TYPE);
    const char *path = lua_pushfstring(L, "%s/worktrees", common);
    lua_newtable(L);
    *dir = opendir(path);
    if (!*dir && errno != ENOENT) {
        ec_err err;
        ec_err_errno(&err, errno, "%s", path);
        return lx_fail(L, &err);
    }
    lua_Integer n = 0;
    const struct dirent *e;
    while (*dir && (e = readdir(*dir))) {
        ec_git_worktree w;
        if (e->d_name[0] != '.' && ec_git_worktree_read(&w, common, e->d_name)) {
            push_worktree(L, &w);
            lua_rawseti(L, -2, ++n);
        }
    }
    if (*dir)
        closedir(*dir);
    *dir = NULL;
    sort_by_path(L);
    return 1;
}

static int l_resolve(lua_State *L)
{
    char oid[72];
    ec_err err;
    if (!ec_git_ref_read(oid, lx_check_path(L, 1), luaL_checkstring(L, 2), &err))
        return lx_fail(L, &err);
    lua_pushstring(L, oid);
    return 1;
}

static int l_status(lua_State *L)
{
    ec_git_counts c;
    ec_err err;
    if (!ec_git_status(&c, lx_check_path(L, 1), &err))
        return lx_fail(L, &err);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)c.staged);
    lua_setfield(L, -2, "staged");
    lua_pushinteger(L, (lua_Integer)c.modified);
    lua_setfield(L, -2, "modified");
    lua_pushinteger(L, (lua_Integer)c.untracked);
    lua_setfield(L, -2, "untracked");
    lua_pushinteger(L, (lua_Integer)c.conflicted);
    lua_setfield(L, -2, "conflicted");
    return 1;
}

static int l_readable(lua_State *L)
{
    ec_err err;
    if (!ec_git_readable(lx_check_path(L, 1), &err))
        return lx_fail(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

static int l_loaded(lua_State *L)
{
    lua_pushboolean(L, ec_git_loaded());
    return 1;
}

int luaopen_envctl_host_git(lua_State *L)
{
    static const luaL_Reg functions[] = {{"discover", l_discover}, {"head", l_head},     {"worktrees", l_worktrees},
                                         {"resolve", l_resolve},   {"status", l_status}, {"readable", l_readable},
                                         {"loaded", l_loaded},     {NULL, NULL}};
    luaL_newmetatable(L, DIR_TYPE);
    lua_pushcfunction(L, close_dir);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
