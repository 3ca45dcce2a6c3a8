// envctl.host.json: lua-cjson's decoder and what it leaves to do, and our own encoder. Stub:
// lua/_meta/envctl/host/json.lua
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envctl/buf.h"
#include "lx.h"
#include "state.h"

// Debian's lua-cjson.h does not declare this in a way that works without lua.h before it.
int luaopen_cjson(lua_State *L);

// What is put together, in a userdata: an error on the way frees it.
#define TEXT_TYPE "envctl.json.text"

static int free_text(lua_State *L)
{
    eb_free(lua_touserdata(L, 1));
    return 0;
}

static eb_buf *new_text(lua_State *L)
{
    eb_buf *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (eb_buf){0};
    luaL_setmetatable(L, TEXT_TYPE);
    return b;
}

static int push_text(lua_State *L, eb_buf *b)
{
    lua_pushlstring(L, b->data ? b->data : "", b->size);
    eb_free(b);
    return 1;
}

static void add_unit(eb_buf *b, unsigned unit)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]};
    eb_add(b, text, sizeof text);
}

static void add_code_point(eb_buf *b, uint32_t c)
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

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void add_quoted(eb_buf *b, const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    eb_addc(b, '"');
    for (size_t i = 0; i < size;) {
        size_t plain = i;
        while (plain < size && is_plain(p[plain]))
            plain++;
        eb_add(b, p + i, plain - i);
        i = plain;
        if (i == size)
            break;
        const char *escape = short_escape(p[i]);
        uint32_t point = 0xfffd;
        if (escape) {
            eb_adds(b, escape);
            i++;
        } else if (p[i] < 0x80) {
            add_unit(b, p[i++]);
        } else {
            size_t n = sequence(&point, p + i, size - i);
            add_code_point(b, n ? point : 0xfffd);
            i += n ? n : 1;
        }
    }
    eb_addc(b, '"');
}

static int l_quote(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    eb_buf *b = new_text(L);
    add_quoted(b, text, size);
    return push_text(L, b);
}

// --- out -------------------------------------------------------------------------------------------------------------

#define MAX_DEPTH 200

typedef struct writer {
    lua_State *L;
    eb_buf *out;
    eb_buf *keys; // sorted, of all the objects that are open, one object behind the other
    bool indent;
    int array; // stack index of the metatable of arrays
} writer;

typedef struct key {
    const char *text;
    size_t size;
    int value; // stack index
} key;

static bool before(const key *a, const key *b)
{
    unsigned char x = (unsigned char)a->text[0], y = (unsigned char)b->text[0]; // NUL for an empty one
    if (x != y)
        return x < y;
    int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    return order < 0 || (order == 0 && a->size < b->size);
}

static void sift(key *keys, size_t at, size_t n)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && before(&keys[child], &keys[child + 1]);
        if (!before(&keys[at], &keys[child]))
            return;
        key swap = keys[at];
        keys[at] = keys[child];
        keys[child] = swap;
    }
}

// Heapsort. Not qsort: glibc's asks for the machine's memory (sysinfo), which the script host may not.
static void sort_keys(key *keys, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(keys, i, n);
    while (n-- > 1) {
        key swap = keys[0];
        keys[0] = keys[n];
        keys[n] = swap;
        sift(keys, 0, n);
    }
}

static void add_integer(eb_buf *b, lua_Integer i)
{
    char text[24], *p = text + sizeof text;
    lua_Unsigned n = i < 0 ? 0 - (lua_Unsigned)i : (lua_Unsigned)i;
    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    if (i < 0)
        *--p = '-';
    eb_add(b, p, (size_t)(text + sizeof text - p));
}

static void add_number(writer *w)
{
    lua_State *L = w->L;
    int exact;
    lua_Integer i = lua_tointegerx(L, -1, &exact);
    lua_Number n = lua_tonumber(L, -1);
    if (exact && (lua_isinteger(L, -1) || (n >= -9007199254740992.0 && n <= 9007199254740992.0))) {
        add_integer(w->out, i);
    } else if (!isfinite(n)) {
        lua_pushfstring(L, "number cannot be written as JSON: %s", luaL_tolstring(L, -1, NULL));
        lua_error(L);
    } else {
        char text[64];
        snprintf(text, sizeof text, "%.15g", n);
        if (strtod(text, NULL) != n)
            snprintf(text, sizeof text, "%.17g", n);
        eb_adds(w->out, text);
    }
}

static void add_break(writer *w, int depth)
{
    if (!w->indent)
        return;
    size_t size = 1 + 2 * (size_t)depth;
    char *to = eb_reserve(w->out, size);
    memset(to, ' ', size);
    to[0] = '\n';
    w->out->size += size;
}

static void add_value(writer *w, int depth);

static void add_array(writer *w, int depth)
{
    lua_State *L = w->L;
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    eb_addc(w->out, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1)
            eb_addc(w->out, ',');
        add_break(w, depth + 1);
        lua_rawgeti(L, -1, i);
        add_value(w, depth + 1);
        lua_pop(L, 1);
    }
    if (n > 0)
        add_break(w, depth);
    eb_addc(w->out, ']');
}

// The keys of the table on top, sorted, behind the keys that are there; what belongs to them stays on the stack.
static size_t push_sorted(writer *w)
{
    lua_State *L = w->L;
    int table = lua_gettop(L);
    size_t first = w->keys->size;
    for (lua_pushnil(L); lua_next(L, table); lua_pushvalue(L, -2)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pushfstring(L, "JSON object key is a %s", luaL_typename(L, -2));
            lua_error(L);
        }
        key k = {.value = lua_gettop(L)};
        k.text = lua_tolstring(L, -2, &k.size);
        eb_add(w->keys, &k, sizeof k);
        luaL_checkstack(L, 10, "JSON");
    }
    size_t n = (w->keys->size - first) / sizeof(key);
    if (n > 0)
        sort_keys((key *)(void *)(w->keys->data + first), n);
    return n;
}

static void add_object(writer *w, int depth)
{
    lua_State *L = w->L;
    int table = lua_gettop(L);
    size_t first = w->keys->size, n = push_sorted(w);
    eb_addc(w->out, '{');
    for (size_t i = 0; i < n; i++) {
        // What an inner object adds may move them.
        key k = ((key *)(void *)(w->keys->data + first))[i];
        if (i > 0)
            eb_addc(w->out, ',');
        add_break(w, depth + 1);
        add_quoted(w->out, k.text, k.size);
        eb_add(w->out, ": ", w->indent ? 2 : 1);
        lua_pushvalue(L, k.value);
        add_value(w, depth + 1);
        lua_pop(L, 1);
    }
    w->keys->size = first;
    lua_settop(L, table);
    if (n > 0)
        add_break(w, depth);
    eb_addc(w->out, '}');
}

static bool is_array(lua_State *L, int array)
{
    if (lua_getmetatable(L, -1)) {
        bool same = lua_rawequal(L, -1, array);
        lua_pop(L, 1);
        if (same)
            return true;
    }
    bool list = lua_rawgeti(L, -1, 1) != LUA_TNIL;
    lua_pop(L, 1);
    return list;
}

// The value on top of the stack, which stays there.
static void add_value(writer *w, int depth)
{
    lua_State *L = w->L;
    size_t size;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: {
        const char *text = lua_tolstring(L, -1, &size);
        add_quoted(w->out, text, size);
        return;
    }
    case LUA_TNUMBER:
        add_number(w);
        return;
    case LUA_TBOOLEAN:
        eb_adds(w->out, lua_toboolean(L, -1) ? "true" : "false");
        return;
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, -1)) {
            eb_adds(w->out, "null");
            return;
        }
        break;
    case LUA_TTABLE:
        if (depth > MAX_DEPTH) {
            lua_pushliteral(L, "JSON nested too deeply");
            lua_error(L);
        }
        luaL_checkstack(L, 10, "JSON");
        if (is_array(L, w->array))
            add_array(w, depth);
        else
            add_object(w, depth);
        return;
    default:
        break;
    }
    lua_pushfstring(L, "cannot write a %s as JSON", luaL_typename(L, -1));
    lua_error(L);
}

static int l_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    bool indent = lua_toboolean(L, 3);
    lua_settop(L, 2);
    writer w = {.L = L, .keys = new_text(L), .out = new_text(L), .indent = indent, .array = 2};
    lua_pushvalue(L, 1);
    add_value(&w, 0);
    if (indent)
        eb_addc(w.out, '\n');
    return push_text(L, w.out);
}

// --- in --------------------------------------------------------------------------------------------------------------

#define EMPTY_NAME "envctl:[]"
#define BIG_NAME   "envctl:int:"
#define EMPTY_MARK "\1" EMPTY_NAME
#define BIG_MARK   "\1" BIG_NAME

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t after_string(const char *text, size_t size, size_t i)
{
    while (i < size && text[i] != '"')
        i += text[i] == '\\' ? 2 : 1;
    return i < size ? i + 1 : size;
}

static size_t after_space(const char *text, size_t size, size_t i)
{
    while (i < size && (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r')))
        i++;
    return i;
}

// End of the number at i; whether it is one without fraction and exponent.
static size_t after_number(const char *text, size_t size, size_t i, bool *whole)
{
    *whole = true;
    for (i++; i < size && (is_digit(text[i]) || (text[i] && strchr("+-.eE", text[i]))); i++)
        *whole = *whole && is_digit(text[i]);
    return i;
}

// What cjson loses, put behind marks that settle knows: an empty array, and a whole number of many digits.
static int l_mark(lua_State *L)
{
    enum { MANY = 16 };
    size_t size, copied = 0;
    const char *text = luaL_checklstring(L, 1, &size);
    eb_buf *b = new_text(L);
    for (size_t i = 0, end; i < size; i = end) {
        bool whole;
        if (text[i] == '"') {
            end = after_string(text, size, i + 1);
        } else if (text[i] == '[') {
            end = after_space(text, size, i + 1);
            if (end == size || text[end] != ']')
                continue;
            eb_add(b, text + copied, i - copied);
            eb_adds(b, "[\"\\u0001" EMPTY_NAME "\"]");
            copied = ++end;
        } else if (text[i] == '-' || is_digit(text[i])) {
            end = after_number(text, size, i, &whole);
            if (!whole || end - i < MANY)
                continue;
            eb_add(b, text + copied, i - copied);
            eb_adds(b, "\"\\u0001" BIG_NAME);
            eb_add(b, text + i, end - i);
            eb_addc(b, '"');
            copied = end;
        } else {
            end = i + 1;
        }
    }
    if (copied == 0) {
        lua_settop(L, 1);
        return 1;
    }
    eb_add(b, text + copied, size - copied);
    return push_text(L, b);
}

static bool is_text(lua_State *L, int index, const char *text)
{
    size_t size = 0;
    const char *found = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &size) : NULL;
    return found && size == strlen(text) && memcmp(found, text, size) == 0;
}

// A whole number on top becomes an integer.
static bool settle_number(lua_State *L)
{
    int exact;
    lua_Integer i = lua_tointegerx(L, -1, &exact);
    if (!exact)
        return false;
    lua_pushinteger(L, i);
    lua_replace(L, -2);
    return true;
}

static bool settle_text(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    size_t n = sizeof BIG_MARK - 1;
    if (text[0] != '\1' || strncmp(text, BIG_MARK, n) != 0 || !lua_stringtonumber(L, text + n))
        return false;
    settle_number(L);
    lua_replace(L, -2);
    return true;
}

// Replaces the value on top (then true) or changes it in place: integers are integers, arrays are declared.
static bool settle(lua_State *L, int array)
{
    int type = lua_type(L, -1);
    if (type != LUA_TTABLE)
        return type == LUA_TNUMBER ? settle_number(L) : type == LUA_TSTRING && settle_text(L);
    luaL_checkstack(L, 8, "JSON");
    bool list = lua_rawgeti(L, -1, 1) != LUA_TNIL;
    bool empty = list && is_text(L, -1, EMPTY_MARK) && lua_rawlen(L, -2) == 1;
    lua_pop(L, 1);
    if (empty) {
        lua_newtable(L);
        lua_replace(L, -2);
    }
    if (list) {
        lua_pushvalue(L, array);
        lua_setmetatable(L, -2);
    }
    for (lua_pushnil(L); lua_next(L, -2);) {
        if (settle(L, array)) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -4);
        } else {
            lua_pop(L, 1);
        }
    }
    return empty;
}

static int l_settle(lua_State *L)
{
    luaL_checkany(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    settle(L, 2);
    return 1;
}

// Takes the nulls out of the table on top and of those in it.
static void strip_nulls(lua_State *L)
{
    luaL_checkstack(L, 4, "JSON");
    for (lua_pushnil(L); lua_next(L, -2);) {
        bool null = lua_type(L, -1) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, -1);
        if (lua_type(L, -1) == LUA_TTABLE)
            strip_nulls(L);
        lua_pop(L, 1);
        if (null) {
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, -4);
        }
    }
}

static int l_strip_nulls(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TTABLE)
        strip_nulls(L);
    else if (lua_type(L, 1) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, 1))
        lua_pushnil(L);
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
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"encode", l_encode},           {"quote", l_quote}, {"mark", l_mark}, {"settle", l_settle},
        {"strip_nulls", l_strip_nulls}, {NULL, NULL}};
    lx_new_type(L, TEXT_TYPE, none, free_text);
    lua_settop(L, 0);
    luaL_newlib(L, functions);
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
    lua_settop(L, 1);
    return 1;
}
