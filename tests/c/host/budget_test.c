#include "tests/c/test.h"
#include "host/budget.h"

#include <lauxlib.h>

#include "base/clock.h"
#include "host/bounded.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct budget b;
static lua_State *L;

static int open_state(void **state)
{
    (void)state;
    L = budget_new_state(&b);
    if (L == NULL) return -1;
    bounded_open(L); /* stock functions would not all obey it */
    return 0;
}

static int close_state(void **state)
{
    (void)state;
    lua_close(L);
    assert_int_equal(b.used, 0);
    return 0;
}

#define WITH_STATE(name) cmocka_unit_test_setup_teardown(name, open_state, close_state)

static const struct budget_limits plenty = {100000000, (size_t)1 << 40, 0};

/* Runs the code within the limits: LUA_OK, or else the message is on the stack. */
static int run(const char *code, const struct budget_limits *limits)
{
    lua_settop(L, 0);
    if (luaL_loadbuffer(L, code, strlen(code), "@rule.lua") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    budget_begin(&b, limits);
    int rc = lua_pcall(L, 0, 0, 0);
    budget_end(&b);
    return rc;
}

static void assert_spends(const char *code, const struct budget_limits *limits, const char *what)
{
    if (run(code, limits) == LUA_OK) fail_msg("ends: %s", code);
    if (b.spent == NULL || strcmp(b.spent, what) != 0)
        fail_msg("%s: %s, %s", code, b.spent != NULL ? b.spent : "nothing", lua_tostring(L, -1));
    assert_string_equal(lua_tostring(L, -1), BUDGET_SPENT);
}

/* -- instructions -- */

TEST(no_loop_outlasts_its_instructions)
{
    static const char *const loops[] = {
        "while true do end",  "for i = 1, math.huge do end",           "::again:: goto again",
        "repeat until false", "local function f() return f() end f()", /* a tail call needs no stack
                                                                        */
    };
    const struct budget_limits limits = {100000, (size_t)1 << 40, 0};
    for (size_t i = 0; i < COUNT(loops); i++) assert_spends(loops[i], &limits, "instructions");
}

TEST(nothing_that_a_rule_catches_goes_on)
{
    static const char *const tries[] = {
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) "
        "end",
        "local function f() pcall(f) while true do end end f()",
        "local t = setmetatable({}, {__close = function() while true do end end})\n"
        "do local c <close> = t while true do end end",
        "local t = setmetatable({}, {__index = function() while true do end end}) pcall(next, t.x)",
        "pcall(table.sort, {3, 2, 1}, function() while true do end end) while true do end",
        "pcall(string.gsub, 'aaa', 'a', function() while true do end end) while true do end",
        "for _ in function() while true do end end do end",
    };
    const struct budget_limits limits = {100000, (size_t)1 << 40, 0};
    for (size_t i = 0; i < COUNT(tries); i++) {
        int64_t began = clock_thread_cpu_ns();
        assert_spends(tries[i], &limits, "instructions");
        assert_true(clock_thread_cpu_ns() - began < 1000000000);
    }
}

TEST(the_same_code_spends_the_same_each_time)
{
    static const char code[] = "local t = {} for i = 1, 3000 do t[i] = ('x'):rep(i % 7) end";
    int64_t left = 0;
    for (int i = 0; i < 5; i++) {
        int64_t total = b.total_instructions;
        assert_int_equal(run(code, &plenty), LUA_OK);
        assert_true(i == 0 || b.instructions_left == left);
        left = b.instructions_left;
        int64_t used = plenty.instructions - left;
        assert_true(used > 10000 && used < 100000);
        assert_int_equal(b.total_instructions - total, used);
    }
}

TEST(a_budget_that_was_spent_is_whole_for_the_next_call)
{
    const struct budget_limits limits = {20000, (size_t)1 << 40, 0};
    for (int i = 0; i < 3; i++) {
        assert_spends("while true do end", &limits, "instructions");
        assert_int_equal(
            run("local n = 0 for i = 1, 1000 do n = n + i end assert(n == 500500)", &limits),
            LUA_OK);
        assert_null(b.spent);
    }
}

static int l_charge(lua_State *state)
{
    budget_charge(state, (size_t)luaL_checkinteger(state, 1));
    return 0;
}

TEST(what_a_c_function_charges_counts_as_instructions)
{
    const struct budget_limits limits = {1000000, (size_t)1 << 40, 0};
    lua_register(L, "charge", l_charge);
    assert_int_equal(run("charge(900000)", &limits), LUA_OK);
    assert_true(b.instructions_left <= 100000);
    assert_spends("charge(1000001)", &limits, "instructions");
    assert_spends("for i = 1, 11 do pcall(charge, 100000) end", &limits, "instructions");
    assert_spends("charge(-1)", &limits, "instructions"); /* 2^64 - 1 as a size */
    assert_int_equal(run("charge(0)", &limits), LUA_OK);
}

TEST(without_a_budget_charging_is_free)
{
    lua_State *free_state = luaL_newstate();
    lua_register(free_state, "charge", l_charge);
    assert_int_equal(luaL_dostring(free_state, "charge(1 << 62)"), LUA_OK);
    lua_close(free_state);
    lua_register(L, "charge", l_charge);
    assert_int_equal(luaL_dostring(L, "charge(1 << 62) for i = 1, 1e6 do end"), LUA_OK);
}

/* -- memory -- */

TEST(what_is_allocated_in_all_has_an_end)
{
    const struct budget_limits limits = {100000000, 1 << 20, 0};
    assert_spends("while true do local t = {1, 2, 3} end", &limits,
                  "allocation"); /* though freed */
    assert_spends("while true do pcall(function() while true do local t = {1} end end) end",
                  &limits, "allocation");
    assert_int_equal(run("for i = 1, 1000 do local t = {1, 2, 3} end", &limits), LUA_OK);
    assert_true(b.allocated > 50000 && b.allocated < 1 << 20);
}

TEST(what_is_held_at_once_has_an_end)
{
    static const char *const hoards[] = {
        "local t = {} for i = 1, 1e9 do t[i] = {i} end",
        "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
        "local t = {} while true do pcall(function() for i = 1, 1e9 do t[i] = {t} end end) end",
    };
    const struct budget_limits limits = {5000000, (size_t)1 << 40, 0};
    for (size_t i = 0; i < COUNT(hoards); i++) {
        int rc = run(hoards[i], &limits);
        assert_int_not_equal(rc, LUA_OK);
        assert_true(rc == LUA_ERRMEM || b.spent != NULL);
        assert_true(b.used <= BUDGET_MEMORY);
        assert_string_equal(b.refused_at, "rule.lua:1");
        lua_settop(L, 0);
        lua_gc(L, LUA_GCCOLLECT);
        assert_true(b.used < 200000); /* and what it held is given back */
    }
}

TEST(one_text_has_an_end)
{
    assert_int_equal(run("local s = ('x'):rep(100000)", &plenty), LUA_OK);
    assert_int_equal(run("local s = ('x'):rep(200000)", &plenty), LUA_ERRMEM);
    assert_int_equal(run("\n\nlocal s = 'x' while true do s = s .. s end", &plenty), LUA_ERRMEM);
    assert_string_equal(b.refused_at, "rule.lua:3");
    assert_int_equal(run("return 1", &plenty), LUA_OK);
    assert_string_equal(b.refused_at, "");
}

TEST(trying_again_for_memory_costs_instructions)
{
    const struct budget_limits limits = {1000000, (size_t)1 << 40, 0};
    assert_spends("while true do pcall(string.rep, 'x', 200000) end", &limits, "instructions");
}

/* -- depth and time -- */

TEST(no_recursion_goes_deeper_than_it_may)
{
    assert_spends("local function f() return 1 + f() end f()", &plenty, "depth");
    assert_spends("local function f() return 1 + f() end while true do pcall(f) end", &plenty,
                  "depth");
    assert_int_equal(run("local function f(n) return n == 0 and 0 or 1 + f(n - 1) end "
                         "assert(f(800) == 800)",
                         &plenty),
                     LUA_OK);
}

TEST(cpu_time_has_an_end)
{
    const struct budget_limits limits = {(int64_t)1 << 60, (size_t)1 << 40, 20};
    int64_t began = clock_thread_cpu_ns();
    assert_spends("while true do pcall(string.rep, 'x', 1000) end", &limits, "CPU time");
    int64_t ms = (clock_thread_cpu_ns() - began) / 1000000;
    assert_true(ms >= 19 && ms < 1000);
    assert_true(budget_is_late(&b)); /* for what follows the call */
    assert_int_equal(run("return 1", &limits), LUA_OK);
    assert_false(budget_is_late(&b));
    assert_int_equal(run("return 1", &plenty), LUA_OK);
    assert_false(budget_is_late(&b)); /* no limit */
}

TEST(time_that_others_take_is_not_the_rules)
{
    const struct budget_limits limits = {(int64_t)1 << 60, (size_t)1 << 40, 50};
    budget_begin(&b, &limits);
    usleep(80000); /* asleep: time on the wall, none of the CPU */
    assert_int_equal(luaL_dostring(L, "for i = 1, 10000 do end"), LUA_OK);
    budget_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STATE(no_loop_outlasts_its_instructions),
        WITH_STATE(nothing_that_a_rule_catches_goes_on),
        WITH_STATE(the_same_code_spends_the_same_each_time),
        WITH_STATE(a_budget_that_was_spent_is_whole_for_the_next_call),
        WITH_STATE(what_a_c_function_charges_counts_as_instructions),
        WITH_STATE(without_a_budget_charging_is_free),
        WITH_STATE(what_is_allocated_in_all_has_an_end),
        WITH_STATE(what_is_held_at_once_has_an_end),
        WITH_STATE(one_text_has_an_end),
        WITH_STATE(trying_again_for_memory_costs_instructions),
        WITH_STATE(no_recursion_goes_deeper_than_it_may),
        WITH_STATE(cpu_time_has_an_end),
        WITH_STATE(time_that_others_take_is_not_the_rules),
    };
    alarm(120); /* what hangs is ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
