// envctl.host.fs. Stub: lua/_meta/envctl/host/fs.lua
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "envctl/fs.h"
#include "lx.h"
#include "state.h"

#define LOCK_TYPE "envctl.Lock"
#define BUF_TYPE  "envctl.fs.buffer"
#define DIR_TYPE  "envctl.fs.dir"

static int fail_errno(lua_State *L, const char *path)
{
    ec_err err;
    ec_err_errno(&err, errno, "%s", path);
    return lx_fail(L, &err);
}

static int done(lua_State *L, bool ok, const ec_err *err)
{
    if (!ok)
        return lx_fail(L, err);
    lua_pushboolean(L, 1);
    return 1;
}

static int check(lua_State *L, int rc, const char *path)
{
    if (rc != 0)
        return fail_errno(L, path);
    lua_pushboolean(L, 1);
    return 1;
}

// Scratch memory that lives across Lua calls is a userdata: an error in between does not leak it.
static int free_buffer(lua_State *L)
{
    eb_free(lua_touserdata(L, 1));
    return 0;
}

static eb_buf *new_buffer(lua_State *L)
{
    eb_buf *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (eb_buf){0};
    luaL_setmetatable(L, BUF_TYPE);
    return b;
}

static int l_read(lua_State *L)
{
    static const char *const fields[] = {"max", "nofollow", NULL};
    const char *path = lx_check_path(L, 1);
    lua_Integer max = 8 << 20;
    bool nofollow = false;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lx_check_fields(L, 2, fields);
        max = lx_opt_integer(L, 2, "max", max, 0, (lua_Integer)1 << 40);
        nofollow = lx_opt_boolean(L, 2, "nofollow", false);
    }
    eb_buf *b = new_buffer(L);
    ec_err err;
    if (!ec_fs_read(b, path, (size_t)max, nofollow, &err))
        return lx_fail(L, &err);
    lua_pushlstring(L, b->data ? b->data : "", b->size);
    eb_free(b);
    return 1;
}

static int l_read_at(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    lua_Integer offset = luaL_checkinteger(L, 2), max = luaL_checkinteger(L, 3);
    luaL_argcheck(L, offset >= 0, 2, "cannot be negative");
    luaL_argcheck(L, max >= 0 && max <= 64 << 20, 3, "0..64 MiB expected");
    eb_buf *b = new_buffer(L);
    int64_t size = 0;
    ec_err err;
    if (!ec_fs_read_at(b, &size, path, offset, (size_t)max, &err))
        return lx_fail(L, &err);
    lua_pushlstring(L, b->data ? b->data : "", b->size);
    lua_pushinteger(L, size);
    eb_free(b);
    return 2;
}

static int l_write_atomic(lua_State *L)
{
    static const char *const fields[] = {"mode", "durable", NULL};
    const char *path = lx_check_path(L, 1);
    size_t size;
    const char *data = luaL_checklstring(L, 2, &size);
    lua_Integer mode = 0600;
    bool durable = true;
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        lx_check_fields(L, 3, fields);
        mode = lx_opt_integer(L, 3, "mode", mode, 0, 0777);
        durable = lx_opt_boolean(L, 3, "durable", true);
    }
    ec_err err;
    return done(L, ec_fs_write_atomic(path, data, size, (mode_t)mode, durable, &err), &err);
}

static int l_append(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    size_t size;
    const char *data = luaL_checklstring(L, 2, &size);
    ec_err err;
    return done(L, ec_fs_append(path, data, size, &err), &err);
}

static const char *type_name(mode_t mode)
{
    return S_ISREG(mode)    ? "file"
           : S_ISDIR(mode)  ? "dir"
           : S_ISLNK(mode)  ? "link"
           : S_ISFIFO(mode) ? "fifo"
           : S_ISSOCK(mode) ? "socket"
                            : "other";
}

static int push_stat(lua_State *L, int rc, const struct stat *st, const char *path)
{
    if (rc != 0)
        return fail_errno(L, path);
    lua_createtable(L, 0, 7);
    lua_pushstring(L, type_name(st->st_mode));
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, st->st_size);
    lua_setfield(L, -2, "size");
    lua_pushinteger(L, (lua_Integer)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000);
    lua_setfield(L, -2, "mtime_ms");
    lua_pushinteger(L, st->st_mode & 07777);
    lua_setfield(L, -2, "mode");
    lua_pushinteger(L, st->st_uid);
    lua_setfield(L, -2, "uid");
    lua_pushinteger(L, (lua_Integer)st->st_ino);
    lua_setfield(L, -2, "ino");
    lua_pushinteger(L, (lua_Integer)st->st_dev);
    lua_setfield(L, -2, "dev");
    return 1;
}

static int l_stat(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    struct stat st = {0};
    return push_stat(L, stat(path, &st), &st, path);
}

static int l_lstat(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    struct stat st = {0};
    return push_stat(L, lstat(path, &st), &st, path);
}

static int close_dir(lua_State *L)
{
    void **dir = lua_touserdata(L, 1);
    if (*dir)
        closedir(*dir);
    *dir = NULL;
    return 0;
}

static const char *entry_type(DIR *dir, const struct dirent *e)
{
    switch (e->d_type) {
    case DT_REG:
        return "file";
    case DT_DIR:
        return "dir";
    case DT_LNK:
        return "link";
    case DT_FIFO:
        return "fifo";
    case DT_SOCK:
        return "socket";
    default:
        break;
    }
    struct stat st;
    return fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? type_name(st.st_mode) : "other";
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Each entry is one string "name\0type" until it is sorted.
static int l_list(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    void **dir = lx_new_box(L, DIR_TYPE);
    *dir = opendir(path);
    if (!*dir)
        return fail_errno(L, path);
    lua_newtable(L); // keeps the strings alive
    lua_Integer n = 0;
    struct dirent *e;
    while ((e = readdir(*dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        const char *type = entry_type(*dir, e);
        luaL_Buffer b;
        luaL_buffinit(L, &b);
        luaL_addlstring(&b, e->d_name, strlen(e->d_name) + 1);
        luaL_addstring(&b, type);
        luaL_pushresult(&b);
        lua_rawseti(L, -2, ++n);
    }
    const char **names = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *names, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, -2, i + 1);
        names[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    qsort(names, (size_t)n, sizeof *names, by_name);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, names[i]);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, names[i] + strlen(names[i]) + 1);
        lua_setfield(L, -2, "type");
        lua_rawseti(L, -2, i + 1);
    }
    closedir(*dir);
    *dir = NULL;
    return 1;
}

static int l_mkdirs(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    lua_Integer mode = luaL_optinteger(L, 2, 0700);
    ec_err err;
    return done(L, ec_fs_mkdirs(path, (mode_t)mode, &err), &err);
}

static int l_secure_dir(lua_State *L)
{
    static const char *const fields[] = {"create", NULL};
    const char *path = lx_check_path(L, 1);
    bool create = true;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lx_check_fields(L, 2, fields);
        create = lx_opt_boolean(L, 2, "create", true);
    }
    ec_err err;
    return done(L, ec_fs_secure_dir(path, create, &err), &err);
}

static int l_rename(lua_State *L)
{
    const char *from = lx_check_path(L, 1);
    return check(L, rename(from, lx_check_path(L, 2)), from);
}

static int l_unlink(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    return check(L, unlink(path), path);
}

static int l_rmdir(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    return check(L, rmdir(path), path);
}

static int l_symlink(lua_State *L)
{
    const char *target = lx_check_path(L, 1), *path = lx_check_path(L, 2);
    return check(L, symlink(target, path), path);
}

static int l_readlink(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target);
    if (n < 0)
        return fail_errno(L, path);
    lua_pushlstring(L, target, (size_t)n);
    return 1;
}

static int l_realpath(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    char resolved[PATH_MAX];
    if (!realpath(path, resolved))
        return fail_errno(L, path);
    lua_pushstring(L, resolved);
    return 1;
}

static int l_chmod(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    return check(L, chmod(path, (mode_t)luaL_checkinteger(L, 2)), path);
}

static int l_access(lua_State *L)
{
    static const char *const kinds[] = {"r", "w", "x", NULL};
    static const int modes[] = {R_OK, W_OK, X_OK};
    const char *path = lx_check_path(L, 1);
    int kind = luaL_checkoption(L, 2, NULL, kinds);
    lua_pushboolean(L, faccessat(AT_FDCWD, path, modes[kind], AT_EACCESS) == 0);
    return 1;
}

static int l_remove_tree(lua_State *L)
{
    ec_err err;
    return done(L, ec_fs_remove_tree(lx_check_path(L, 1), &err), &err);
}

// A lock's box holds the descriptor plus one, so that NULL means closed.
static int release_lock(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, LOCK_TYPE);
    if (*box)
        close((int)(intptr_t)*box - 1);
    *box = NULL;
    return 0;
}

static int l_lock_write(lua_State *L)
{
    int fd = (int)(intptr_t)lx_check_box(L, 1, LOCK_TYPE) - 1;
    size_t size;
    const char *data = luaL_checklstring(L, 2, &size);
    ec_err err;
    return done(L, ec_fs_lock_write(fd, data, size, &err), &err);
}

static int l_flock(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    void **box = lx_new_box(L, LOCK_TYPE);
    ec_err err;
    int fd = ec_fs_flock(path, &err);
    if (fd < 0)
        return lx_fail(L, &err);
    *box = (void *)(intptr_t)(fd + 1);
    return 1;
}

static int l_space(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    struct statvfs vfs;
    if (statvfs(path, &vfs) != 0)
        return fail_errno(L, path);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)vfs.f_bavail * (lua_Integer)vfs.f_frsize);
    lua_setfield(L, -2, "free");
    lua_pushinteger(L, (lua_Integer)vfs.f_blocks * (lua_Integer)vfs.f_frsize);
    lua_setfield(L, -2, "total");
    return 1;
}

static int open_for_change(lua_State *L, const char *path)
{
    (void)L;
    return open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static int l_punch(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    lua_Integer length = luaL_checkinteger(L, 2);
    luaL_argcheck(L, length >= 0, 2, "cannot be negative");
    int fd = open_for_change(L, path);
    int rc = fd < 0 || length == 0 ? fd : fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, length);
    int why = errno;
    if (fd >= 0)
        close(fd);
    errno = why;
    return check(L, rc < 0, path);
}

static int l_data_start(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    off_t start = fd < 0 ? -1 : lseek(fd, 0, SEEK_DATA);
    if (fd >= 0 && start < 0 && errno == ENXIO) // no data at all
        start = lseek(fd, 0, SEEK_END);
    int why = errno;
    if (fd >= 0)
        close(fd);
    errno = why;
    if (start < 0)
        return fail_errno(L, path);
    lua_pushinteger(L, (lua_Integer)start);
    return 1;
}

static int l_truncate(lua_State *L)
{
    const char *path = lx_check_path(L, 1);
    lua_Integer size = luaL_checkinteger(L, 2);
    luaL_argcheck(L, size >= 0, 2, "cannot be negative");
    int fd = open_for_change(L, path);
    int rc = fd < 0 ? fd : ftruncate(fd, size);
    int why = errno;
    if (fd >= 0)
        close(fd);
    errno = why;
    return check(L, rc, path);
}

static void scratch_type(lua_State *L, const char *name, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

int luaopen_envctl_host_fs(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"read", l_read},
        {"read_at", l_read_at},
        {"write_atomic", l_write_atomic},
        {"append", l_append},
        {"stat", l_stat},
        {"lstat", l_lstat},
        {"list", l_list},
        {"mkdirs", l_mkdirs},
        {"secure_dir", l_secure_dir},
        {"rename", l_rename},
        {"unlink", l_unlink},
        {"rmdir", l_rmdir},
        {"symlink", l_symlink},
        {"readlink", l_readlink},
        {"realpath", l_realpath},
        {"chmod", l_chmod},
        {"access", l_access},
        {"remove_tree", l_remove_tree},
        {"flock", l_flock},
        {"space", l_space},
        {"punch", l_punch},
        {"data_start", l_data_start},
        {"truncate", l_truncate},
        {NULL, NULL},
    };
    static const luaL_Reg lock_methods[] = {{"write", l_lock_write}, {"close", release_lock}, {NULL, NULL}};
    lx_new_type(L, LOCK_TYPE, lock_methods, release_lock);
    scratch_type(L, BUF_TYPE, free_buffer);
    scratch_type(L, DIR_TYPE, close_dir);
    luaL_newlib(L, functions);
    return 1;
}
