// envctl.host.json: lua-cjson's decoder, and our own quoting. Stub: lua/_meta/envctl/host/json.lua
#include <stdint.h>
#include <string.h>

#include "lx.h"
#include "state.h"

// Debian's lua-cjson.h does not declare this in a way that works without lua.h before it.
int luaopen_cjson(lua_State *L);

static void add_unit(luaL_Buffer *b, unsigned unit)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]};
    luaL_addlstring(b, text, sizeof text);
}

static void add_code_point(luaL_Buffer *b, uint32_t c)
{
    if (c >= 0x10000) {
        c -= 0x10000;
        add_unit(b, 0xd800 | c >> 10);
        add_unit(b, 0xdc00 | (c & 0x3ff));
    } else {
        add_unit(b, c);
    }
}

// Length of the valid UTF-8 sequence at p (its code point in *c), or 0.
static size_t sequence(uint32_t *c, const unsigned char *p, size_t left)
{
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
        return 0;
    *c = p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *c = *c << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (*c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
        return 0;
    return n;
}

static const char *short_escape(unsigned char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

static int l_quote(lua_State *L)
{
    size_t size;
    const unsigned char *p = (const unsigned char *)luaL_checklstring(L, 1, &size);
    luaL_Buffer b;
    luaL_buffinitsize(L, &b, size + 2);
    luaL_addchar(&b, '"');
    for (size_t i = 0; i < size;) {
        unsigned char c = p[i];
        const char *escape = short_escape(c);
        uint32_t point = 0xfffd;
        if (escape) {
            luaL_addstring(&b, escape);
            i++;
        } else if (c >= 0x20 && c < 0x7f) {
            luaL_addchar(&b, (char)c);
            i++;
        } else if (c < 0x80) {
            add_unit(&b, c);
            i++;
        } else {
            size_t n = sequence(&point, p + i, size - i);
            add_code_point(&b, n ? point : 0xfffd);
            i += n ? n : 1;
        }
    }
    luaL_addchar(&b, '"');
    luaL_pushresult(&b);
    return 1;
}

// upvalue 1: cjson's decode
static int l_decode(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_settop(L, 1);
    // cjson takes a NUL byte for the end, whatever follows.
    const char *nul = memchr(text, '\0', size);
    if (nul) {
        luaL_pushfail(L);
        lua_pushfstring(L, "Found a NUL byte at character %I", (lua_Integer)(nul - text + 1));
        return 2;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK)
        return 1;
    luaL_pushfail(L);
    lua_insert(L, -2);
    return 2;
}

int luaopen_envctl_host_json(lua_State *L)
{
    lua_settop(L, 0);
    lua_newtable(L);
    lua_pushcfunction(L, luaopen_cjson); // not require()d: nobody else gets at its encoder
    lua_call(L, 0, 1);                   // json, cjson
    lua_getfield(L, -1, "decode_invalid_numbers");
    lua_pushboolean(L, 0);
    lua_call(L, 1, 0);
    lua_getfield(L, -1, "decode");
    lua_pushcclosure(L, l_decode, 1);
    lua_setfield(L, 1, "decode");
    lua_getfield(L, -1, "null");
    lua_setfield(L, 1, "null");
    lua_pushcfunction(L, l_quote);
    lua_setfield(L, 1, "quote");
    lua_settop(L, 1);
    return 1;
}
