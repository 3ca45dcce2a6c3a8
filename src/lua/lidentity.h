// Process identities and signal names, shared by the bindings of proc and procfs.
#ifndef ENVCTL_LIDENTITY_H
#define ENVCTL_LIDENTITY_H

#include <lua.h>

#include "envctl/procfs.h"

void lx_push_identity(lua_State *L, const ec_identity *id);
/// Reads an identity table; raises when a field is missing or of the wrong type.
void lx_check_identity(lua_State *L, int index, ec_identity *out);
/// "TERM" → SIGTERM; raises for an unknown name.
int lx_check_signal(lua_State *L, int arg);
/// SIGTERM → "TERM"; "SIG<n>" style numbers for the unknown.
const char *lx_signal_name(int sig);

#endif
