/* store.h - handing the daemon's store to a Lua state. */
#ifndef BINDINGS_STORE_H
#define BINDINGS_STORE_H

#include <lua.h>

#include "store/store.h"

void store_bind(lua_State *L); /* the types; may raise for memory */
void store_push(lua_State *L,
                struct store *s); /* pushes a handle that does not own it; may raise */

#endif
