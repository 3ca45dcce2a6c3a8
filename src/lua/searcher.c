// Finds bundled policy modules: in the table that the build embedded, or on disk below ENVCTL_LUA_DIR (debug builds, or
// when the environment variable of that name is set), so that policy can be changed without building.
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embedded.h"
#include "state.h"

static int compare(const void *key, const void *entry)
{
    return strcmp(key, ((const envctl_embedded *)entry)->name);
}

static const envctl_embedded *find_embedded(const char *name)
{
    return bsearch(name, envctl_embedded_modules, envctl_embedded_count, sizeof *envctl_embedded_modules, compare);
}

static int load_embedded(lua_State *L, const char *name)
{
    const envctl_embedded *m = find_embedded(name);
    if (!m) {
        lua_pushfstring(L, "no bundled module '%s'", name);
        return 1;
    }
    // The chunk name was set when the bytecode was made; the one given here is not used.
    if (luaL_loadbufferx(L, (const char *)m->data, m->size, name, "b") != LUA_OK)
        return lua_error(L);
    lua_pushfstring(L, "@%s", name);
    return 2;
}

// Pushes the text of a file and "path" relative to dir, or nothing.
static int push_from_disk(lua_State *L, const char *name, const char *dir)
{
    const char *relative = luaL_gsub(L, name, ".", "/");
    static const char *const endings[] = {".lua", "/init.lua", NULL};
    for (const char *const *ending = endings; *ending; ending++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s%s", dir, relative, *ending);
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        luaL_Buffer b;
        luaL_buffinit(L, &b);
        size_t n;
        do {
            char *to = luaL_prepbuffer(&b);
            n = fread(to, 1, LUAL_BUFFERSIZE, f);
            luaL_addsize(&b, n);
        } while (n > 0);
        fclose(f);
        luaL_pushresult(&b);
        lua_pushstring(L, path + strlen(dir) + 1);
        return 2;
    }
    return 0;
}

static int load_from_disk(lua_State *L, const char *name, const char *dir)
{
    if (!push_from_disk(L, name, dir)) {
        lua_pushfstring(L, "no module '%s' below %s", name, dir);
        return 1;
    }
    size_t size;
    const char *text = lua_tolstring(L, -2, &size);
    const char *chunk = lua_pushfstring(L, "@%s", lua_tostring(L, -1));
    if (luaL_loadbufferx(L, text, size, chunk, "t") != LUA_OK)
        return lua_error(L);
    lua_pushvalue(L, -2);
    return 2;
}

// Where modules are on disk, or NULL.
static const char *lua_dir(void)
{
    const char *dir = getenv("ENVCTL_LUA_DIR");
#ifdef ENVCTL_LUA_DIR
    if (!dir || !*dir)
        dir = ENVCTL_LUA_DIR;
#endif
    return dir && *dir ? dir : NULL;
}

int envctl_module_text(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *dir = lua_dir();
    const envctl_embedded *m = find_embedded(name);
    if (!m || !m->text) {
        lua_pushnil(L);
    } else if (!dir) {
        lua_pushlstring(L, (const char *)m->text, m->text_size);
    } else if (push_from_disk(L, name, dir)) {
        lua_pop(L, 1);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int searcher(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (strncmp(name, "envctl.", 7) != 0)
        return 0;
    const char *dir = lua_dir();
    return dir ? load_from_disk(L, name, dir) : load_embedded(L, name);
}

void envctl_add_searcher(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    lua_pushcfunction(L, searcher);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 2);
}
