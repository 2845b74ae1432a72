#include "tests/c/heap.h"
#include "host/transfer.h"

#include <lauxlib.h>
#include <lualib.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static lua_State *from, *to;

static int open_states(void **state)
{
    (void)state;
    from = luaL_newstate();
    to = luaL_newstate();
    luaL_openlibs(from);
    luaL_openlibs(to);
    return 0;
}

static int close_states(void **state)
{
    (void)state;
    lua_close(from);
    lua_close(to);
    return 0;
}

#define WITH_STATES(name) cmocka_unit_test_setup_teardown(name, open_states, close_states)

static struct transfer_options options = {.what = "the value"};

static int l_transfer(lua_State *L)
{
    transfer(L, from, -1, &options);
    return 1;
}

/* Runs the code in `from`, copies what it returns to `to`. NULL, or what was wrong with it. */
static const char *carry(const char *code)
{
    lua_settop(from, 0);
    lua_settop(to, 0);
    if (luaL_dostring(from, code) != LUA_OK) fail_msg("%s", lua_tostring(from, -1));
    lua_pushcfunction(to, l_transfer);
    return lua_pcall(to, 0, 1, 0) == LUA_OK ? NULL : lua_tostring(to, -1);
}

/* Carries it and then evaluates the condition over `v` there. */
static void assert_carried(const char *code, const char *condition)
{
    char check[600];
    const char *problem = carry(code);
    if (problem != NULL) fail_msg("%s: %s", code, problem);
    lua_setglobal(to, "v");
    snprintf(check, sizeof check, "assert(%s)", condition);
    if (luaL_dostring(to, check) != LUA_OK) fail_msg("%s: not %s", code, condition);
}

TEST(plain_values_arrive_as_they_are)
{
    static const char *const cases[][2] = {
        {"return nil", "v == nil"},
        {"return true", "v == true"},
        {"return false", "v == false"},
        {"return 1", "math.type(v) == 'integer' and v == 1"},
        {"return 1.0", "math.type(v) == 'float' and v == 1"},
        {"return math.mininteger", "v == math.mininteger"},
        {"return -0.0", "1 / v == -math.huge"},
        {"return 0/0", "v ~= v"},
        {"return 'a\\0b\\u{e9}'", "v == 'a\\0b\\u{e9}'"},
        {"return ('x'):rep(1000000)", "#v == 1000000"},
        {"return {}", "next(v) == nil"},
        {"return {1, {2, {3}}, a = {b = {c = 'd'}}}", "v[2][2][1] == 3 and v.a.b.c == 'd'"},
        {"return {[1.5] = 1, [true] = 2, ['1'] = 3, [1] = 4, [-1] = 5}",
         "v[1.5] == 1 and v[true] == 2 and v['1'] == 3 and v[1] == 4 and v[-1] == 5"},
        {"return {1, nil, 3}", "v[1] == 1 and v[2] == nil and v[3] == 3"},
        {"return {false}", "v[1] == false"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) assert_carried(cases[i][0], cases[i][1]);
}

TEST(a_copy_has_nothing_to_do_with_its_original)
{
    assert_carried("t = {a = {1}} return t", "v.a[1] == 1");
    assert_int_equal(luaL_dostring(to, "v.a[1], v.b = 2, 3"), LUA_OK);
    assert_int_equal(luaL_dostring(from, "assert(t.a[1] == 1 and t.b == nil) t.a[1] = 5"), LUA_OK);
    assert_int_equal(luaL_dostring(to, "assert(v.a[1] == 2)"), LUA_OK);
    /* What is there twice becomes two. */
    assert_carried("local s = {1} return {s, s}", "v[1] ~= v[2] and v[1][1] == 1 and v[2][1] == 1");
}

TEST(metatables_are_neither_asked_nor_carried)
{
    assert_carried("local function no() error 'asked' end\n"
                   "return setmetatable({1, a = 2}, {__index = no, __pairs = no, __len = no,\n"
                   "  __tostring = no, __eq = no, __gc = no, __metatable = no, __close = no})",
                   "v[1] == 1 and v.a == 2 and getmetatable(v) == nil");
}

TEST(what_is_no_plain_value_is_refused_with_its_path)
{
    static const char *const cases[][2] = {
        {"return print", "the value is a function"},
        {"local x = 1 return {a = {b = function() return x end}}", "the value.a.b is a function"},
        {"return {1, {2, io.stdout}}", "the value[2][2] is a userdata"},
        {"return {coroutine.create(print)}", "the value[1] is a thread"},
        {"return {[{}] = 1}", "the value has a key that is a table"},
        {"return {a = {[print] = 1}}", "the value.a has a key that is a function"},
        {"return {x = {y = print, z = 1}}", "the value.x.y is a function"},
        {"return {x = 'a\\xff'}", "the value.x is a text that is not UTF-8"},
        {"return {x = {['\\xff'] = 1}}", "is a text that is not UTF-8"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *problem = carry(cases[i][0]);
        if (problem == NULL || strstr(problem, cases[i][1]) == NULL)
            fail_msg("%s: %s", cases[i][0], problem != NULL ? problem : "carried");
    }
    lua_settop(from, 0);
    lua_pushlightuserdata(from, NULL);
    lua_pushcfunction(to, l_transfer);
    assert_int_not_equal(lua_pcall(to, 0, 1, 0), LUA_OK);
}

TEST(depth_and_circles_have_an_end)
{
    assert_carried("local t = 1 for _ = 1, 16 do t = {t} end return t", "v[1][1][1][1][1]");
    static const char *const cases[] = {
        "local t = 1 for _ = 1, 17 do t = {t} end return t",
        "local t = 1 for _ = 1, 100000 do t = {t} end return t",
        "local t = {} t[1] = t return t",
        "local a, b = {}, {} a.b, b.a = b, a return a",
        "return _G",
        "return package.loaded",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *problem = carry(cases[i]);
        if (problem == NULL || (strstr(problem, "nested deeper than 16 tables") == NULL &&
                                strstr(problem, "is a ") == NULL))
            fail_msg("%s: %s", cases[i], problem != NULL ? problem : "carried");
    }
}

TEST(size_has_an_end_however_it_is_come_by)
{
    /* The table, and a key and a value for each entry. */
    assert_carried("local t = {} for i = 1, 49999 do t[i] = i end return t", "#v == 49999");
    static const char *const cases[] = {
        "local t = {} for i = 1, 50000 do t[i] = i end return t",
        "local t = {} for i = 1, 15 do t = {t, t, t} end return t", /* few lines, 3^15 tables */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *problem = carry(cases[i]);
        if (problem == NULL || strstr(problem, "holds more than 100000 values") == NULL)
            fail_msg("%s: %s", cases[i], problem != NULL ? problem : "carried");
    }
}

TEST(text_has_an_end_though_it_be_one_text_many_times)
{
    assert_carried("local s, t = ('x'):rep(65536), {} for i = 1, 64 do t[i] = s end return t",
                   "#v == 64");
    const char *problem =
        carry("local s, t = ('x'):rep(65536), {} for i = 1, 65 do t[i] = s end return t");
    assert_non_null(problem);
    assert_non_null(strstr(problem, "the value[65]: there is more than 4 MiB of text"));
}

static bool count_down(const void *ud)
{
    int *left = *(int *const *)ud;
    return --*left < 0;
}

TEST(who_has_no_more_time_can_stop_it)
{
    int left = 3, *at = &left;
    options.is_late = count_down;
    options.ud = &at;
    const char *late = carry("return {{{{}}}}");
    left = 4;
    const char *in_time = carry("return {{{{}}}}");
    options.is_late = NULL;
    assert_non_null(late);
    assert_null(in_time);
}

TEST(a_long_path_is_cut_and_not_overrun)
{
    const char *problem = carry("local k = ('k'):rep(500) local t = print\n"
                                "for _ = 1, 15 do t = {[k] = t} end return {a = {}, b = t}");
    assert_non_null(problem);
    assert_non_null(strstr(problem, "is a function"));
    assert_true(strlen(problem) < 300);
    assert_non_null(
        strstr(carry("return {[('k'):rep(105)] = {abcdefg = print}}"), "is a function"));
}

TEST(the_origin_is_left_alone_when_the_other_side_fails)
{
    carry("t = {{1}, {print}} return t");
    assert_int_equal(luaL_dostring(from, "assert(t[1][1] == 1 and t[2][1] == print)"), LUA_OK);
    struct test_heap h = {0, -1};
    int rc = LUA_ERRMEM;
    for (long left = 0; rc != LUA_OK; left++) {
        lua_State *L = lua_newstate(test_heap_alloc, &h);
        lua_settop(from, 0);
        assert_int_equal(
            luaL_dostring(from, "return {a = {1, 'a text of forty-one bytes, which is long'}}"),
            LUA_OK);
        h.left = left;
        lua_pushcfunction(L, l_transfer);
        rc = lua_pcall(L, 0, 1, 0);
        assert_true(rc == LUA_OK || rc == LUA_ERRMEM);
        h.left = -1;
        lua_close(L);
        assert_int_equal(h.used, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STATES(plain_values_arrive_as_they_are),
        WITH_STATES(a_copy_has_nothing_to_do_with_its_original),
        WITH_STATES(metatables_are_neither_asked_nor_carried),
        WITH_STATES(what_is_no_plain_value_is_refused_with_its_path),
        WITH_STATES(depth_and_circles_have_an_end),
        WITH_STATES(size_has_an_end_however_it_is_come_by),
        WITH_STATES(text_has_an_end_though_it_be_one_text_many_times),
        WITH_STATES(who_has_no_more_time_can_stop_it),
        WITH_STATES(a_long_path_is_cut_and_not_overrun),
        WITH_STATES(the_origin_is_left_alone_when_the_other_side_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
