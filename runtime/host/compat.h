/* compat.h - where versions of Lua 5.4 differ. */
#ifndef HOST_COMPAT_H
#define HOST_COMPAT_H

#include <lua.h>

#if LUA_VERSION_RELEASE_NUM >= 50406
#define compat_close_thread(co, from) lua_closethread(co, from)
#else
#define compat_close_thread(co, from) lua_resetthread(co)
#endif

#endif
