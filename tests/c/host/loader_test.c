#include "tests/c/test.h"
#include "host/loader.h"

#include <lualib.h>

static int l_answer(lua_State *L)
{
    lua_pushinteger(L, 42);
    return 1;
}

static lua_State *new_state(void)
{
    static const luaL_Reg one[] = {{"perigee.one", l_answer}, {NULL, NULL}};
    static const luaL_Reg two[] = {{"perigee.two", l_answer}, {NULL, NULL}};
    static const luaL_Reg *const modules[] = {one, two, NULL};
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    loader_install(L, modules);
    return L;
}

static void must_run(lua_State *L, const char *code)
{
    if (luaL_dostring(L, code) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
}

TEST(what_lies_in_the_program_is_found_by_name)
{
    assert_non_null(embedded_find("check"));
    assert_non_null(embedded_find("rules.sandbox"));
    assert_non_null(embedded_find("runtime/store/schema.sql"));
    assert_null(embedded_find("none"));
    assert_null(embedded_find(""));
    assert_null(embedded_find("rules/sandbox"));
}

/* Modules are bytecode that is loaded as no script's is: only here, from the program. */
TEST(every_embedded_module_loads_and_names_its_file)
{
    lua_State *L = luaL_newstate();
    int n = 0;
    for (const struct embedded *f = embedded_files; f->name != NULL; f++) {
        if (f->size < 4 || memcmp(f->data, LUA_SIGNATURE, 4) != 0) continue;
        n++;
        lua_Debug ar;
        if (loader_load(L, f) != LUA_OK) fail_msg("%s: %s", f->name, lua_tostring(L, -1));
        lua_getinfo(L, ">S", &ar);
        /* Two are in every cell, where names of lines would cost too much. */
        bool stripped =
            strcmp(f->name, "rules.sandbox") == 0 || strcmp(f->name, "rules.vocabulary") == 0;
        if (strncmp(ar.source, stripped ? "=?" : "@lua/stdlib/", stripped ? 2 : 12) != 0)
            fail_msg("%s: %s", f->name, ar.source);
    }
    assert_true(n > 30);
    lua_close(L);
}

TEST(text_is_not_taken_for_a_module)
{
    static const unsigned char text[] = "return 1";
    const struct embedded file = {"x", text, sizeof text - 1};
    lua_State *L = luaL_newstate();
    assert_int_not_equal(loader_load(L, &file), LUA_OK);
    lua_close(L);
}

TEST(require_finds_c_modules_and_embedded_ones_before_files)
{
    char folder[64], path[100], code[300];
    lua_State *L = new_state();
    snprintf(path, sizeof path, "%s/check.lua", test_folder(folder));
    FILE *f = fopen(path, "w");
    fputs("return 'the file'", f);
    fclose(f);
    snprintf(path, sizeof path, "%s/own.lua", folder);
    f = fopen(path, "w");
    fputs("return 'the file'", f);
    fclose(f);
    snprintf(code, sizeof code, "package.path = '%s/?.lua'", folder);
    must_run(L, code);
    must_run(L, "assert(require 'perigee.one' == 42 and require 'perigee.two' == 42)");
    must_run(L, "local m, where = require 'check'\n"
                "assert(type(m) == 'table' and where == '(in the program)')\n"
                "assert(require 'check' == m)");
    must_run(L, "assert(require 'own' == 'the file')");
    must_run(L, "package.preload.check, package.loaded.check = function() return 'mine' end, nil\n"
                "assert(require 'check' == 'mine')"); /* a script may put something in its place */
    lua_close(L);
    test_remove(folder);
}

TEST(a_module_that_is_nowhere_is_told_with_all_places)
{
    lua_State *L = new_state();
    must_run(L, "local ok, message = pcall(require, 'no.such') assert(not ok)\n"
                "assert(message:find(\"no module 'no.such' in the program\", 1, true))\n"
                "assert(message:find('no/such.lua', 1, true))");
    lua_close(L);
}

TEST(an_error_within_an_embedded_module_names_its_line)
{
    lua_State *L = new_state();
    must_run(
        L, "local units = require 'units'\n"
           "for _, f in pairs(units) do\n"
           "  local ok, message = pcall(f, setmetatable({}, {__index = error, __name = 'x'}))\n"
           "  if not ok and tostring(message):find('^lua/stdlib/units.lua:%d+: ') then return end\n"
           "end\n"
           "error 'no message names a line'");
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(what_lies_in_the_program_is_found_by_name),
        CHECK(every_embedded_module_loads_and_names_its_file),
        CHECK(text_is_not_taken_for_a_module),
        CHECK(require_finds_c_modules_and_embedded_ones_before_files),
        CHECK(a_module_that_is_nowhere_is_told_with_all_places),
        CHECK(an_error_within_an_embedded_module_names_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
