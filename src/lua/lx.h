// Shared helpers of the bindings. Rule of the house: check all arguments, call core, push results.
#ifndef ENVCTL_LX_H
#define ENVCTL_LX_H

#include <lauxlib.h>
#include <lua.h>

#include "envctl/err.h"
#include "envctl/loop.h"

/// One per VM, reached from any coroutine through the extra space of the Lua state.
typedef struct lx_ctx {
    lua_State *main;   // callbacks run here, never on the coroutine that registered them
    ec_loop *loop;     // borrowed from the owner of the VM
    bool dispatch_off; // set before lua_close: late callbacks are dropped
    bool has_error;    // an error of a callback is waiting in the registry under &lx_error_key
} lx_ctx;

lx_ctx *lx_context(lua_State *L);

/// Pushes nil, message, code. Returns 3, so that a binding ends with `return lx_fail(L, &err)`.
int lx_fail(lua_State *L, const ec_err *err);

/// Calls the function below `nargs` arguments on the context's main state, with a traceback handler. No results. An
/// error is kept, the loop stopped, and loop.run() raises it: nothing longjmps through libuv.
void lx_dispatch(lx_ctx *ctx, int nargs);

/// Raises the error that a callback left behind, if any. Called by loop.run() after the loop returned.
void lx_rethrow(lua_State *L);

/// A reference to the function at `index` in the registry, LUA_NOREF for nil. Raises for anything else.
int lx_ref_function(lua_State *L, int index, const char *what);
void lx_unref(lx_ctx *ctx, int *ref);

/// Option tables: field readers that raise a message naming the field. The value stays on the stack only where stated.
const char *lx_opt_string(lua_State *L, int table, const char *field, const char *fallback);
lua_Integer lx_opt_integer(lua_State *L, int table, const char *field, lua_Integer fallback, lua_Integer lo,
                           lua_Integer hi);
bool lx_opt_boolean(lua_State *L, int table, const char *field, bool fallback);
/// Raises when the table has a key that is not in the NULL-terminated list.
void lx_check_fields(lua_State *L, int table, const char *const *known);

/// A path or word argument: a string without NUL bytes.
const char *lx_check_path(lua_State *L, int arg);

/// Userdata that boxes one pointer. lx_new_box pushes it with its metatable and a NULL pointer ("closed"): the binding
/// acquires the resource afterwards. lx_check_box raises when it is closed.
void **lx_new_box(lua_State *L, const char *type);
void *lx_check_box(lua_State *L, int arg, const char *type);
void **lx_test_box(lua_State *L, int arg, const char *type);
/// Registers the metatable `type`: methods, __index = methods, __gc and __close = `release`, which must be idempotent.
void lx_new_type(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction release);

#endif
