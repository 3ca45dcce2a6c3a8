// Build-time tool: compiles Lua modules to unstripped bytecode and writes them as one sorted C table.
//
//   envctl_embed OUT.c LUA_DIR FILE.lua … -t FILE.lua …
//
// The files behind -t are among the others; their text is kept as well, for scripts that use or replace them.
// It links the same Lua library as envctl, so that the bytecode fits. OUT.c is only rewritten when its text changed.
#include <lauxlib.h>
#include <lua.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct text {
    char *data;
    size_t size, capacity;
} text;

static void add(text *t, const void *data, size_t size)
{
    if (t->size + size + 1 > t->capacity) {
        t->capacity = (t->size + size + 1) * 2;
        t->data = realloc(t->data, t->capacity);
        if (!t->data)
            abort();
    }
    memcpy(t->data + t->size, data, size);
    t->size += size;
    t->data[t->size] = '\0';
}

__attribute__((format(printf, 2, 3))) static void addf(text *t, const char *fmt, ...)
{
    char line[4200];
    va_list ap;
    va_start(ap, fmt);
    int size = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    add(t, line, (size_t)size);
}

static int dump(lua_State *L, const void *data, size_t size, void *ud)
{
    (void)L;
    add(ud, data, size);
    return 0;
}

typedef struct module {
    char *name;     // envctl.cli.router
    char *relative; // envctl/cli/router.lua
    text code;
    text source; // only of those whose text is kept
} module;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const module *)a)->name, ((const module *)b)->name);
}

static char *module_name(const char *relative)
{
    char *name = strdup(relative);
    name[strlen(name) - strlen(".lua")] = '\0';
    size_t n = strlen(name);
    if (n > 5 && strcmp(name + n - 5, "/init") == 0)
        name[n - 5] = '\0';
    for (char *p = name; *p; p++)
        if (*p == '/')
            *p = '.';
    return name;
}

static text slurp(const char *path, int required)
{
    text t = {0};
    FILE *f = fopen(path, "rb");
    if (!f) {
        if (required) {
            fprintf(stderr, "envctl_embed: cannot read %s\n", path);
            exit(1);
        }
        return t;
    }
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        add(&t, block, n);
    fclose(f);
    return t;
}

static void compile(lua_State *L, module *m, const char *path, const char *dir)
{
    m->relative = strdup(path + strlen(dir) + 1);
    m->name = module_name(m->relative);
    text source = slurp(path, 1);
    const char *chunk = lua_pushfstring(L, "@%s", m->relative);
    if (luaL_loadbufferx(L, source.data ? source.data : "", source.size, chunk, "t") != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(1);
    }
    lua_dump(L, dump, &m->code, 0);
    lua_settop(L, 0);
    free(source.data);
}

static void emit_bytes(text *out, const char *name, size_t index, const text *bytes)
{
    addf(out, "static const unsigned char %s_%zu[] = {\n", name, index);
    for (size_t i = 0; i < bytes->size; i++) {
        char cell[8];
        int n = snprintf(cell, sizeof cell, "%u,%s", (unsigned char)bytes->data[i], i % 32 == 31 ? "\n" : "");
        add(out, cell, (size_t)n);
    }
    addf(out, "};\n");
}

static void emit(text *out, const module *m, size_t index)
{
    addf(out, "// %s\n", m->relative);
    emit_bytes(out, "module", index, &m->code);
    if (m->source.data)
        emit_bytes(out, "text", index, &m->source);
}

static void emit_entry(text *out, const module *m, size_t index)
{
    addf(out, "    {\"%s\", module_%zu, sizeof module_%zu, ", m->name, index, index);
    if (m->source.data)
        addf(out, "text_%zu, sizeof text_%zu},\n", index, index);
    else
        addf(out, "NULL, 0},\n");
}

static void keep_text(module *modules, size_t count, const char *path, const char *dir)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(modules[i].relative, path + strlen(dir) + 1) == 0) {
            modules[i].source = slurp(path, 1);
            return;
        }
    }
    fprintf(stderr, "envctl_embed: %s is not among the modules\n", path);
    exit(1);
}

static int write_if_changed(const char *path, const text *out)
{
    text old = slurp(path, 0);
    int same = old.data && old.size == out->size && memcmp(old.data, out->data, out->size) == 0;
    free(old.data);
    if (same)
        return 0;
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(out->data, 1, out->size, f) != out->size || fclose(f) != 0) {
        fprintf(stderr, "envctl_embed: cannot write %s\n", path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: envctl_embed OUT.c LUA_DIR FILE.lua … [-t FILE.lua …]\n");
        return 1;
    }
    size_t count = 0;
    while (count + 3 < (size_t)argc && strcmp(argv[count + 3], "-t") != 0)
        count++;
    module *modules = calloc(count + 1, sizeof *modules);
    lua_State *L = luaL_newstate();
    if (!modules || !L)
        abort();
    for (size_t i = 0; i < count; i++)
        compile(L, &modules[i], argv[i + 3], argv[2]);
    for (size_t i = count + 4; i < (size_t)argc; i++)
        keep_text(modules, count, argv[i], argv[2]);
    qsort(modules, count, sizeof *modules, by_name);
    text out = {0};
    addf(&out, "// Generated by envctl_embed. Do not edit.\n#include \"embedded.h\"\n\n");
    for (size_t i = 0; i < count; i++)
        emit(&out, &modules[i], i);
    addf(&out, "const envctl_embedded envctl_embedded_modules[] = {\n");
    for (size_t i = 0; i < count; i++)
        emit_entry(&out, &modules[i], i);
    addf(&out, "};\nconst size_t envctl_embedded_count = %zu;\n", count);
    lua_close(L);
    int code = write_if_changed(argv[1], &out);
    for (size_t i = 0; i < count; i++) {
        free(modules[i].name);
        free(modules[i].relative);
        free(modules[i].code.data);
        free(modules[i].source.data);
    }
    free(modules);
    free(out.data);
    return code;
}
