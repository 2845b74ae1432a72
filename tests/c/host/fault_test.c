#include "tests/c/test.h"
#include "host/fault.h"

#include <lauxlib.h>
#include <lualib.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* -- from a message -- */

TEST(a_message_is_split_into_its_place_and_its_words)
{
    static const struct {
        const char *message, *file;
        int line;
        const char *words;
    } cases[] = {
        {"rules/a.lua:12: bad", "rules/a.lua", 12, "bad"},
        {"rules/a.lua:12: x:3: bad", "rules/a.lua", 12, "x:3: bad"},
        {"a:b.lua:7: bad", "a:b.lua", 7, "bad"},
        {"bad", "", 0, "bad"},
        {"", "", 0, ""},
        {"a.lua:12:bad", "", 0, "a.lua:12:bad"},
        {"a.lua:: bad", "", 0, "a.lua:: bad"},
        {"note: 5 apples", "", 0, "note: 5 apples"},
        {"a.lua:3: ", "a.lua", 3, ""},
        {"a.lua:", "", 0, "a.lua:"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fault f = {0};
        fault_from_message(&f, "syntax", cases[i].message);
        if (strcmp(f.file, cases[i].file) != 0 || f.line != cases[i].line ||
            strcmp(f.message, cases[i].words) != 0 || strcmp(f.kind, "syntax") != 0)
            fail_msg("%s: %s %d %s", cases[i].message, f.file, f.line, f.message);
    }
}

TEST(what_is_too_long_is_cut)
{
    char message[3000];
    struct fault f = {0};
    snprintf(message, sizeof message, "%0500d:3: %01000d", 0, 0);
    fault_from_message(&f, "a kind that is far too long", message);
    assert_int_equal(strlen(f.kind), sizeof f.kind - 1);
    assert_int_equal(strlen(f.file), sizeof f.file - 1);
    assert_int_equal(strlen(f.message), sizeof f.message - 1);
    assert_int_equal(f.line, 3);
}

/* -- as a message handler -- */

/* The fault that running the chunk gives; the standard library's part runs as `beneath`. */
static struct fault fault_of(const char *beneath, const char *code)
{
    struct fault f = {0};
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    assert_int_equal(luaL_loadbuffer(L, beneath, strlen(beneath), "@lua/stdlib/x.lua"), LUA_OK);
    lua_call(L, 0, 0);
    lua_pushlightuserdata(L, &f);
    lua_pushcclosure(L, fault_handler, 1);
    assert_int_equal(luaL_loadbuffer(L, code, strlen(code), "@rules/a.lua"), LUA_OK);
    assert_int_not_equal(lua_pcall(L, 0, 0, 1), LUA_OK);
    lua_close(L);
    return f;
}

static void assert_fault(const struct fault *f, int line, const char *message)
{
    if (strcmp(f->file, "rules/a.lua") != 0 || f->line != line || strcmp(f->message, message) != 0)
        fail_msg("%s:%d: %s", f->file, f->line, f->message);
}

TEST(an_error_has_the_line_that_raised_it)
{
    struct fault f = fault_of("", "\n\nerror 'bad'");
    assert_fault(&f, 3, "bad");
    f = fault_of("", "local function g() error('bad', 2) end\n\ng() return 1");
    assert_fault(&f, 3, "bad");
    f = fault_of("", "\nlocal x = nil + 1");
    assert_fault(&f, 2, "attempt to perform arithmetic on a nil value");
    f = fault_of("", "\n\nstring.rep()");
    assert_fault(&f, 3, "bad argument #1 to 'rep' (string expected, got no value)");
    f = fault_of("", "\nerror('bad', 0)"); /* then the stack tells it */
    assert_fault(&f, 2, "bad");
}

TEST(what_is_no_text_is_told_by_its_type)
{
    struct fault f = fault_of("", "\nerror({})");
    assert_fault(&f, 2, "error object is a table");
    f = fault_of("", "\nerror()");
    assert_fault(&f, 2, "error object is a nil");
    f = fault_of("",
                 "error(setmetatable({}, {__tostring = function() return ('x'):rep(1e9) end}))");
    assert_fault(&f, 1, "error object is a table"); /* no code of the rule's is run for it */
}

TEST(the_standard_library_is_never_blamed)
{
    struct fault f =
        fault_of("function deep() error 'bad' end\nfunction outer() deep() return 1 end",
                 "\n\nlocal function mine()\n  outer() return 1\nend\nmine() return 2");
    assert_fault(&f, 4, "bad");
    assert_non_null(strstr(f.trace, "lua/stdlib/x.lua:1 < lua/stdlib/x.lua:2 < rules/a.lua:4 < "
                                    "rules/a.lua:6"));
}

TEST(a_trace_without_end_is_cut)
{
    struct fault f = fault_of("", "local function g(n) if n == 0 then error 'bad' end g(n - 1) "
                                  "return 1 end\ng(1000)");
    assert_fault(&f, 1, "bad");
    assert_int_equal(strlen(f.trace), sizeof f.trace - 1);
}

TEST(a_long_name_is_given_whole)
{
    struct fault f = {0};
    char name[200];
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    snprintf(name, sizeof name, "@rules/%0100d.lua", 7);
    lua_pushlightuserdata(L, &f);
    lua_pushcclosure(L, fault_handler, 1);
    assert_int_equal(luaL_loadbuffer(L, "error 'bad'", 11, name), LUA_OK);
    assert_int_not_equal(lua_pcall(L, 0, 0, 1), LUA_OK);
    assert_string_equal(f.file, name + 1);
    assert_string_equal(f.message, "bad");
    lua_close(L);
}

TEST(what_came_first_is_kept_while_the_stack_is_unwound)
{
    struct fault f = fault_of("", "local a <close> = setmetatable({}, {__close = function()\n"
                                  "  error 'later'\nend})\nerror 'first'");
    assert_fault(&f, 4, "first");
}

TEST(a_fault_is_a_table_for_lua)
{
    struct fault f = {"error", "rules/a.lua", 3, "bad\xff\xc3\xa9\xc3", "a < b"};
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    fault_push(L, &f);
    lua_setglobal(L, "f");
    if (luaL_dostring(L, "assert(f.kind == 'error' and f.file == 'rules/a.lua' and f.line == 3)\n"
                         "assert(f.message == 'bad?\\u{e9}?' and f.trace == 'a < b')") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_message_is_split_into_its_place_and_its_words),
        CHECK(what_is_too_long_is_cut),
        CHECK(an_error_has_the_line_that_raised_it),
        CHECK(what_is_no_text_is_told_by_its_type),
        CHECK(the_standard_library_is_never_blamed),
        CHECK(a_trace_without_end_is_cut),
        CHECK(a_long_name_is_given_whole),
        CHECK(what_came_first_is_kept_while_the_stack_is_unwound),
        CHECK(a_fault_is_a_table_for_lua),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
