#include "host/loader.h"

#include <stdlib.h>
#include <string.h>

#include <lualib.h>

const struct embedded *embedded_find(const char *name)
{
    for (const struct embedded *f = embedded_files; f->name != NULL; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

int loader_load(lua_State *L, const struct embedded *file)
{
    /* The chunk's own name is in the bytecode. */
    return luaL_loadbufferx(L, (const char *)file->data, file->size, file->name, "b");
}

static int l_search(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct embedded *file = embedded_find(name);
    if (file == NULL) {
        lua_pushfstring(L, "no module '%s' in the program", name);
        return 1;
    }
    if (loader_load(L, file) != LUA_OK) return lua_error(L);
    lua_pushliteral(L, "(in the program)");
    return 2;
}

void loader_install(lua_State *L, const luaL_Reg *const *c_modules)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE); /* preload */
    for (; *c_modules != NULL; c_modules++) luaL_setfuncs(L, *c_modules, 0);
    lua_pop(L, 1);
    lua_getglobal(L, LUA_LOADLIBNAME);                   /* package */
    lua_getfield(L, -1, "searchers");                    /* package searchers */
    for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) { /* ours comes second, behind preload's */
        lua_geti(L, -1, i);
        lua_seti(L, -2, i + 1);
    }
    lua_pushcfunction(L, l_search); /* package searchers search */
    lua_seti(L, -2, 2);
    lua_pop(L, 2);
}
