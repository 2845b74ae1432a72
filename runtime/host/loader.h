/* loader.h - what `require` finds, and for whom: modules and files that lie in the program. */
#ifndef HOST_LOADER_H
#define HOST_LOADER_H

#include <stdbool.h>
#include <stddef.h>

#include <lauxlib.h>
#include <lua.h>

struct embedded {
    const char *name; /* a module as `require` names it, or a file's path in the project */
    const unsigned char *data;
    size_t size;
};

extern const struct embedded embedded_files[]; /* ends with a NULL name; made by embed.lua */

const struct embedded *embedded_find(const char *name); /* NULL when there is none */

/* Pushes the chunk of an embedded module (LUA_OK), or an error message. May raise for memory. */
int loader_load(lua_State *L, const struct embedded *file);

/* Makes `require` find the embedded modules before files, and the C modules of the tables in
 * c_modules
 * ("perigee.json"), which a NULL ends. L has the package library. May raise for memory. */
void loader_install(lua_State *L, const luaL_Reg *const *c_modules);

#endif
