/* The Lua module perigee.hash. */
#include "base/hash.h"

#include "bindings/bind.h"
#include "bindings/modules.h"

static int l_sha256(lua_State *L) /* sha256(bytes) -> 64 hexadecimal digits */
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    char hex[HASH_HEX];
    hash_sha256_hex(s, len, hex);
    lua_pushstring(L, hex);
    return 1;
}

static int l_hmac_sha256(lua_State *L) /* hmac_sha256(key, bytes) -> 64 hexadecimal digits */
{
    size_t key_len, len;
    const char *key = luaL_checklstring(L, 1, &key_len), *s = luaL_checklstring(L, 2, &len);
    char hex[HASH_HEX];
    hash_hmac_sha256_hex(key, key_len, s, len, hex);
    lua_pushstring(L, hex);
    return 1;
}

static int
l_random(lua_State *L) /* random(n) -> n random bytes as 2n hexadecimal digits, n <= 64 */
{
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 1 && n <= 64, 1, "1 to 64 bytes");
    char hex[129];
    hash_random_hex((size_t)n, hex);
    lua_pushstring(L, hex);
    return 1;
}

static int l_equal(lua_State *L) /* equal(a, b): in time that tells nothing of where they differ */
{
    size_t a_len, b_len;
    const char *a = luaL_checklstring(L, 1, &a_len), *b = luaL_checklstring(L, 2, &b_len);
    lua_pushboolean(L, hash_equal(a, a_len, b, b_len));
    return 1;
}

int luaopen_perigee_hash(lua_State *L)
{
    static const luaL_Reg functions[] = {{"sha256", l_sha256},
                                         {"hmac_sha256", l_hmac_sha256},
                                         {"random", l_random},
                                         {"equal", l_equal},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
