/* modules.h - the openers of every module "perigee.<name>", one a file. */
#ifndef BINDINGS_MODULES_H
#define BINDINGS_MODULES_H

#include <lua.h>

int luaopen_perigee_clock(lua_State *L);
int luaopen_perigee_ecdf(lua_State *L);
int luaopen_perigee_matrix(lua_State *L);
int luaopen_perigee_moments(lua_State *L);
int luaopen_perigee_task(lua_State *L);

#endif
