/* The Lua module perigee.base64. */
#include "base/base64.h"

#include "bindings/bind.h"
#include "bindings/modules.h"

static int l_encode(lua_State *L) /* encode(bytes) -> text */
{
    size_t len;
    luaL_Buffer b;
    const char *data = luaL_checklstring(L, 1, &len);
    base64_encode(data, len, luaL_buffinitsize(L, &b, base64_encoded(len)));
    luaL_pushresultsize(&b, base64_encoded(len));
    return 1;
}

static int l_decode(lua_State *L) /* decode(text) -> bytes | nil, message */
{
    size_t len, n;
    luaL_Buffer b;
    const char *text = luaL_checklstring(L, 1, &len);
    unsigned char *out = (unsigned char *)luaL_buffinitsize(L, &b, len / 4 * 3);
    if (!base64_decode(text, len, out, &n)) {
        lua_pushnil(L);
        lua_pushliteral(L, "this is no base64");
        return 2;
    }
    luaL_pushresultsize(&b, n);
    return 1;
}

int luaopen_perigee_base64(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", l_encode}, {"decode", l_decode}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
