/* calendar.h - time zones in Lua, for the bindings of what goes by them. */
#ifndef BINDINGS_CALENDAR_H
#define BINDINGS_CALENDAR_H

#include <lua.h>

#include "kernels/calendar.h"

/* The zone at index i, NULL (UTC) where there is nil or none; that value's own, so it does not go
 * to a thread. Raises for anything else. */
const struct zone *bind_opt_zone(lua_State *L, int i);

#endif
