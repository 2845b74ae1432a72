/* The Lua module perigee.terminal. */
#include <unistd.h>

#include "bindings/bind.h"
#include "bindings/modules.h"

static int l_is_terminal(lua_State *L) /* is_terminal(fd): 0 standard input, 1 output, 2 error */
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

int luaopen_perigee_terminal(lua_State *L)
{
    static const luaL_Reg functions[] = {{"is_terminal", l_is_terminal}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
