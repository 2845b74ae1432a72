/* Templates from outside, on the engine as it lies in the program: whatever the bytes, a problem
 * with its place, a text within bounds or a message; nothing is raised. The input is the template
 * and, behind a NUL, the value of a label. Build: make build/fuzz/template */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "bindings/modules.h"
#include "host/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char script[] =
    "local template = require 'template'\n"
    "local function query(expr)\n"
    "  if #expr % 3 == 0 then return nil, 'no ' .. expr end\n"
    "  return { { Labels = { app = expr }, Value = 1.5 }, { Labels = {}, Value = -#expr } }\n"
    "end\n"
    "return function(text, label, value)\n"
    "  local compiled, problem = template.compile(text)\n"
    "  if not compiled then\n"
    "    assert(type(problem.message) == 'string' and problem.line >= 1 and problem.column >= 1)\n"
    "    local lines = select(2, text:gsub('\\n', '')) + 1\n"
    "    assert(problem.line <= lines and problem.column <= #text + 1)\n"
    "    return\n"
    "  end\n"
    "  local data = { labels = { a = label, job = 'api' }, value = value, query = query,\n"
    "    external_labels = { b = label }, external_url = label, time = 1700000000.5 }\n"
    "  local result, message = compiled:expand(data)\n"
    "  assert(result and #result <= 65536 or not result and type(message) == 'string')\n"
    "  local again = compiled:expand(data)\n"
    "  assert(again == result)\n"
    "end\n";

static lua_State *make(void)
{
    static const luaL_Reg modules[] = {{"perigee.regex", luaopen_perigee_regex},
                                       {"perigee.go_format", luaopen_perigee_go_format},
                                       {NULL, NULL}};
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    loader_install(L, (const luaL_Reg *const[]){modules, NULL});
    if (luaL_loadstring(L, script) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const double values[] = {1.5, 0, -3, 1e6, 1e21, 5e-324, -0.001, 1e300 * 1e300};
    static lua_State *L; /* stays for all inputs: none may leave anything behind */
    if (L == NULL) L = make();
    const char *text = size > 0 ? (const char *)data : "";
    size_t len = 0;
    while (len < size && text[len] != '\0') len++;
    size_t label = len < size ? len + 1 : size;
    lua_pushvalue(L, 1);
    lua_pushlstring(L, text, len);
    lua_pushlstring(L, text + label, size - label);
    lua_pushnumber(L, values[size % 8]);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    assert(lua_gettop(L) == 1);
    return 0;
}
