// envctl.host.procfs. Stub: lua/_meta/envctl/host/procfs.lua
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "envctl/mem.h"
#include "envctl/members.h"
#include "envctl/port.h"
#include "envctl/procfs.h"
#include "lidentity.h"
#include "lx.h"
#include "state.h"

#define SCRATCH "envctl.procfs.scratch"

static pid_t check_pid(lua_State *L, int arg)
{
    lua_Integer pid = luaL_checkinteger(L, arg);
    luaL_argcheck(L, pid >= 0 && pid <= INT_MAX, arg, "not a pid");
    return (pid_t)pid;
}

static int l_self(lua_State *L)
{
    ec_identity id;
    if (!ec_procfs_identity(&id, getpid()))
        return luaL_error(L, "/proc is not mounted");
    lx_push_identity(L, &id);
    return 1;
}

static int l_identity(lua_State *L)
{
    ec_identity id;
    if (!ec_procfs_identity(&id, check_pid(L, 1)))
        return 0;
    lx_push_identity(L, &id);
    return 1;
}

static int l_alive(lua_State *L)
{
    ec_identity id;
    lx_check_identity(L, 1, &id);
    ec_alive value = ec_procfs_alive(&id);
    if (value == EC_OTHER_NAMESPACE || value == EC_NO_PROCFS)
        lua_pushnil(L);
    else
        lua_pushboolean(L, value == EC_ALIVE);
    lua_pushstring(L, ec_alive_word(value));
    return 2;
}

static int l_stat(lua_State *L)
{
    ec_stat st;
    if (!ec_procfs_stat(&st, check_pid(L, 1)))
        return 0;
    const struct {
        const char *name;
        lua_Integer value;
    } fields[] = {{"pid", st.pid},
                  {"ppid", st.ppid},
                  {"pgrp", st.pgrp},
                  {"session", st.session},
                  {"start_time_ticks", (lua_Integer)st.start_ticks}};
    lua_createtable(L, 0, 7);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_pushlstring(L, &st.state, 1);
    lua_setfield(L, -2, "state");
    lua_pushstring(L, st.comm);
    lua_setfield(L, -2, "comm");
    return 1;
}

static int l_cmdline(lua_State *L)
{
    pid_t pid = check_pid(L, 1);
    eb_buf b = {0};
    if (!ec_procfs_read(&b, pid, "cmdline") || b.size == 0) {
        eb_free(&b);
        return 0;
    }
    lua_newtable(L);
    lua_Integer n = 0;
    for (size_t i = 0; i < b.size;) {
        size_t size = strnlen(b.data + i, b.size - i);
        lua_pushlstring(L, b.data + i, size);
        lua_rawseti(L, -2, ++n);
        i += size + 1;
    }
    eb_free(&b);
    return 1;
}

static int l_cwd(lua_State *L)
{
    char path[4096];
    if (!ec_procfs_link(path, sizeof path, check_pid(L, 1), "cwd"))
        return 0;
    lua_pushstring(L, path);
    return 1;
}

static int l_environ_get(lua_State *L)
{
    pid_t pid = check_pid(L, 1);
    size_t size;
    const char *name = luaL_checklstring(L, 2, &size);
    eb_buf b = {0};
    const char *value = ec_procfs_read(&b, pid, "environ") ? ec_environ_find(b.data, b.size, name, size) : NULL;
    lua_pushstring(L, value);
    eb_free(&b);
    return 1;
}

static int l_boot_id(lua_State *L)
{
    lua_pushstring(L, ec_boot_id());
    return 1;
}

// The queries as a userdata; strings stay alive in the argument table, identities in the userdata.
static ec_query *check_queries(lua_State *L, int arg, size_t *count)
{
    static const char *const fields[] = {"leader", "marker", "log", "cgroup", NULL};
    luaL_checktype(L, arg, LUA_TTABLE);
    *count = lua_rawlen(L, arg);
    ec_query *queries = lua_newuserdatauv(L, (*count + 1) * (sizeof *queries + sizeof(ec_identity)), 0);
    memset(queries, 0, (*count + 1) * sizeof *queries);
    ec_identity *ids = (ec_identity *)(queries + *count + 1);
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, arg, (lua_Integer)i + 1);
        int q = lua_gettop(L);
        luaL_checktype(L, q, LUA_TTABLE);
        lx_check_fields(L, q, fields);
        queries[i].marker = lx_opt_string(L, q, "marker", NULL);
        queries[i].log = lx_opt_string(L, q, "log", NULL);
        queries[i].cgroup = lx_opt_string(L, q, "cgroup", NULL);
        if (lua_getfield(L, q, "leader") != LUA_TNIL) {
            lx_check_identity(L, -1, &ids[i]);
            queries[i].leader = &ids[i];
        }
        lua_settop(L, q - 1);
    }
    return queries;
}

static void push_member(lua_State *L, const ec_member *m)
{
    static const struct {
        unsigned bit;
        const char *name;
    } kinds[] = {{EC_VIA_CGROUP, "cgroup"}, {EC_VIA_LEADER, "leader"}, {EC_VIA_SESSION, "session"},
                 {EC_VIA_MARKER, "marker"}, {EC_VIA_LOG, "log"},       {EC_VIA_TREE, "tree"}};
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, m->pid);
    lua_setfield(L, -2, "pid");
    lua_pushinteger(L, m->ppid);
    lua_setfield(L, -2, "ppid");
    lua_pushinteger(L, (lua_Integer)m->start_ticks);
    lua_setfield(L, -2, "start_time_ticks");
    lua_pushstring(L, m->comm);
    lua_setfield(L, -2, "comm");
    lua_newtable(L);
    lua_Integer n = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!(m->via & kinds[i].bit))
            continue;
        lua_pushstring(L, kinds[i].name);
        lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, "via");
}

static int free_scratch(lua_State *L)
{
    ec_members *m = lua_touserdata(L, 1);
    ec_members_free(m, lua_rawlen(L, 1) / sizeof *m);
    return 0;
}

static int l_members(lua_State *L)
{
    size_t count;
    const ec_query *queries = check_queries(L, 1, &count);
    ec_members *members = lua_newuserdatauv(L, (count ? count : 1) * sizeof *members, 0);
    memset(members, 0, (count ? count : 1) * sizeof *members);
    luaL_setmetatable(L, SCRATCH);
    ec_members_find(members, queries, count);
    lua_createtable(L, (int)count, 0);
    for (size_t q = 0; q < count; q++) {
        lua_createtable(L, (int)members[q].count, 0);
        for (size_t i = 0; i < members[q].count; i++) {
            push_member(L, &members[q].list[i]);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        lua_rawseti(L, -2, (lua_Integer)q + 1);
    }
    ec_members_free(members, count);
    return 1;
}

static int l_signal_members(lua_State *L)
{
    size_t count;
    const ec_query *queries = check_queries(L, 1, &count);
    int sig = lx_check_signal(L, 2);
    size_t *found = lua_newuserdatauv(L, (count + 1) * sizeof *found, 0);
    memset(found, 0, (count + 1) * sizeof *found);
    ec_members_signal(found, queries, count, sig);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushinteger(L, (lua_Integer)found[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

typedef struct match {
    const ec_listener *all;
    size_t count;
    pid_t pid;
    struct pair {
        const ec_listener *l;
        pid_t pid;
    } * found;
    size_t found_count;
} match;

static void match_socket(uint64_t inode, void *ud)
{
    match *m = ud;
    for (size_t i = 0; i < m->count; i++) {
        if (m->all[i].inode != inode)
            continue;
        // A descriptor that was duplicated is still one listener.
        bool known = false;
        for (size_t k = m->found_count; k > 0 && m->found[k - 1].pid == m->pid; k--)
            known = known || m->found[k - 1].l == &m->all[i];
        if (known)
            continue;
        m->found = ec_xrealloc(m->found, (m->found_count + 1) * sizeof *m->found);
        m->found[m->found_count++] = (struct pair){&m->all[i], m->pid};
    }
}

static int by_port(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->l->port != y->l->port)
        return x->l->port < y->l->port ? -1 : 1;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static int l_listening(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t n = lua_rawlen(L, 1);
    for (size_t i = 1; i <= n; i++) {
        int ok;
        lua_rawgeti(L, 1, (lua_Integer)i);
        lua_tointegerx(L, -1, &ok);
        if (!ok)
            return luaL_error(L, "pids: integers expected, got %s", luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    ec_listener *all = NULL;
    match m = {0};
    if (!ec_port_listeners(&all, &m.count, NULL))
        m.count = 0;
    m.all = all;
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i);
        m.pid = (pid_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
        ec_procfs_sockets(m.pid, match_socket, &m);
    }
    if (m.found_count)
        qsort(m.found, m.found_count, sizeof *m.found, by_port);
    lua_createtable(L, (int)m.found_count, 0);
    for (size_t i = 0; i < m.found_count; i++) {
        lua_createtable(L, 0, 4);
        lua_pushinteger(L, m.found[i].l->port);
        lua_setfield(L, -2, "port");
        lua_pushinteger(L, m.found[i].pid);
        lua_setfield(L, -2, "pid");
        lua_pushstring(L, m.found[i].l->addr);
        lua_setfield(L, -2, "addr");
        lua_pushstring(L, m.found[i].l->v6 ? "inet6" : "inet");
        lua_setfield(L, -2, "family");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    free(m.found);
    free(all);
    return 1;
}

typedef struct wanted {
    uint16_t port;
    pid_t pid; // 0 until it is found
} wanted;

typedef struct search {
    const ec_listener *all;
    size_t count;
    wanted *ports;
    size_t port_count;
    size_t left; // listed, and not found yet
    pid_t pid;   // whose sockets are looked at
} search;

static void search_socket(uint64_t inode, void *ud)
{
    search *s = ud;
    for (size_t i = 0; i < s->count; i++) {
        if (s->all[i].inode != inode)
            continue;
        for (wanted *w = s->ports; w < s->ports + s->port_count; w++) {
            if (w->port == s->all[i].port && w->pid == 0) {
                w->pid = s->pid;
                s->left--;
            }
        }
    }
}

static bool search_pid(pid_t pid, void *ud)
{
    search *s = ud;
    s->pid = pid;
    if (s->left > 0)
        ec_procfs_sockets(pid, search_socket, s);
    return s->left > 0;
}

static bool is_listed(const search *s, uint16_t port)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->all[i].port == port)
            return true;
    return false;
}

// Whose the listed sockets are, of the ports that have nobody yet.
static void find_owners(search *s)
{
    s->left = 0;
    for (size_t i = 0; i < s->port_count; i++)
        s->left += s->ports[i].pid == 0 && is_listed(s, s->ports[i].port);
    if (s->left > 0)
        ec_procfs_each(search_pid, s);
}

static void push_command(lua_State *L, pid_t pid)
{
    eb_buf b = {0};
    if (ec_procfs_read(&b, pid, "cmdline") && b.size > 0) {
        // One line for messages: arguments are separated by NUL and may contain anything.
        for (size_t i = 0; i + 1 < b.size; i++)
            if ((unsigned char)b.data[i] < ' ' || b.data[i] == 127)
                b.data[i] = ' ';
        size_t n = strnlen(b.data, b.size);
        lua_pushlstring(L, b.data, n > 120 ? 120 : n);
    } else {
        ec_stat st;
        lua_pushstring(L, ec_procfs_stat(&st, pid) ? st.comm : "?");
    }
    eb_free(&b);
}

static void push_holder(lua_State *L, pid_t pid)
{
    char path[32];
    struct stat st = {0};
    snprintf(path, sizeof path, "/proc/%d", pid);
    int rc = stat(path, &st);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, pid);
    lua_setfield(L, -2, "pid");
    push_command(L, pid);
    lua_setfield(L, -2, "command");
    lua_pushinteger(L, rc == 0 ? (lua_Integer)st.st_uid : -1);
    lua_setfield(L, -2, "uid");
}

static int l_holders(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    search s = {.port_count = lua_rawlen(L, 1)};
    s.ports = lua_newuserdatauv(L, (s.port_count + 1) * sizeof *s.ports, 0);
    for (size_t i = 0; i < s.port_count; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        lua_Integer port = lua_tointeger(L, -1);
        luaL_argcheck(L, port >= 1 && port <= 65535, 1, "a port is 1..65535");
        s.ports[i] = (wanted){.port = (uint16_t)port};
        lua_pop(L, 1);
    }
    ec_listener *all = NULL;
    if (ec_port_listeners(&all, &s.count, NULL)) {
        s.all = all;
        find_owners(&s);
    }
    free(all);
    // Where nobody listens, somebody has a socket that is only bound, or a connection that goes out from there.
    for (size_t i = 0; i < s.port_count; i++) {
        if (s.ports[i].pid == 0 && ec_port_sockets(&all, &s.count, s.ports[i].port)) {
            s.all = all;
            find_owners(&s);
            free(all);
        }
    }
    lua_createtable(L, 0, (int)s.port_count);
    for (size_t i = 0; i < s.port_count; i++) {
        if (s.ports[i].pid) {
            push_holder(L, s.ports[i].pid);
            lua_rawseti(L, -2, s.ports[i].port);
        }
    }
    return 1;
}

static int l_cgroup_base(lua_State *L)
{
    const char *name = lx_check_path(L, 1);
    char path[4096];
    ec_err err;
    if (!ec_cgroup_base(path, sizeof path, name, lua_toboolean(L, 2), &err)) {
        luaL_pushfail(L);
        lua_pushstring(L, err.message);
        return 2;
    }
    lua_pushstring(L, path);
    return 1;
}

static int done(lua_State *L, int rc, const char *path)
{
    if (rc != 0) {
        ec_err err;
        ec_err_errno(&err, errno, "%s", path);
        return lx_fail(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int l_cgroup_populated(lua_State *L)
{
    lua_pushboolean(L, ec_cgroup_populated(lx_check_path(L, 1)));
    return 1;
}

static int l_cgroup_make(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    return done(L, mkdir(path, 0755), path);
}

static int l_cgroup_remove(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    return done(L, rmdir(path), path);
}

int luaopen_envctl_host_procfs(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"self", l_self},
        {"identity", l_identity},
        {"alive", l_alive},
        {"stat", l_stat},
        {"cmdline", l_cmdline},
        {"cwd", l_cwd},
        {"environ_get", l_environ_get},
        {"boot_id", l_boot_id},
        {"members", l_members},
        {"signal_members", l_signal_members},
        {"listening", l_listening},
        {"holders", l_holders},
        {"cgroup_base", l_cgroup_base},
        {"cgroup_populated", l_cgroup_populated},
        {"cgroup_make", l_cgroup_make},
        {"cgroup_remove", l_cgroup_remove},
        {NULL, NULL},
    };
    luaL_newmetatable(L, SCRATCH);
    lua_pushcfunction(L, free_scratch);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
