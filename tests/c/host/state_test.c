#include "tests/c/heap.h"
#include "host/state.h"

#include <errno.h>

#include "bindings/bind.h"
#include "host/task.h"

static struct host host;
static struct state *scripts;

static struct state *new_state(void)
{
    static const luaL_Reg *const modules[] = {bind_modules, NULL};
    struct state *s = NULL;
    assert_int_equal(state_open(&s, &host, modules), 0);
    return s;
}

static int open_state(void **unused)
{
    (void)unused;
    host = (struct host){0};
    if (loop_open(&host.loop) < 0) return -1;
    scripts = new_state();
    return 0;
}

static int close_state(void **unused)
{
    (void)unused;
    state_close(scripts);
    http_client_close(host.http);
    loop_close(host.loop);
    return 0;
}

#define WITH_STATE(name) cmocka_unit_test_setup_teardown(name, open_state, close_state)

static void load(lua_State *L, const char *code)
{
    if (luaL_loadbuffer(L, code, strlen(code), "@script.lua") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

static void must_run(struct state *s, const char *code)
{
    struct err e = {0};
    load(s->L, code);
    if (state_call(s, 0, 0, &e) < 0) fail_msg("%s", e.text);
}

TEST(a_state_has_all_libraries_and_modules)
{
    must_run(scripts, "assert(io and os and debug and coroutine and package and utf8)\n"
                      "for _, name in ipairs {'clock', 'file', 'http_client', 'json', 'store'} do\n"
                      "  assert(type(require('perigee.' .. name)) == 'table')\n"
                      "end\n"
                      "assert(require 'units')");
}

static int l_state_of(lua_State *L)
{
    lua_pushboolean(L, state_of(L) == scripts);
    return 1;
}

TEST(every_thread_knows_its_state)
{
    lua_register(scripts->L, "is_ours", l_state_of);
    must_run(scripts, "assert(is_ours() and coroutine.wrap(is_ours)())\n"
                      "assert(coroutine.wrap(function() return coroutine.wrap(is_ours)() end)())");
    assert_ptr_equal(state_of(scripts->L), scripts);
}

TEST(two_states_on_one_loop_share_nothing_but_the_loop)
{
    struct state *other = new_state();
    must_run(scripts, "x, string.format = 1, nil");
    must_run(other, "assert(x == nil and string.format)");
    assert_ptr_equal(state_of(other->L), other);
    must_run(other, "local task = require 'perigee.task' task.spawn(task.sleep, 1000)");
    must_run(scripts, "local task = require 'perigee.task' task.spawn(task.sleep, 1000)");
    assert_int_equal(tasks_alive(scripts->tasks), 1);
    state_close(other);
    assert_int_equal(tasks_alive(scripts->tasks), 1); /* the other's end is no concern of it */
}

TEST(a_call_takes_arguments_and_leaves_results)
{
    lua_State *L = scripts->L;
    struct err e = {0};
    lua_pushliteral(L, "below");
    load(L, "local a, b = ... return a + b, 'x', 'cut'");
    lua_pushinteger(L, 2);
    lua_pushinteger(L, 3);
    assert_int_equal(state_call(scripts, 2, 2, &e), 0);
    assert_int_equal(lua_gettop(L), 3);
    assert_int_equal(lua_tointeger(L, 2), 5);
    assert_string_equal(lua_tostring(L, 3), "x");
    assert_string_equal(lua_tostring(L, 1), "below");
    lua_settop(L, 0);
}

TEST(a_call_that_raises_leaves_nothing_and_tells_where)
{
    static const char *const codes[][2] = {
        {"\n\nerror 'bad'", "script.lua:3: bad\nstack traceback:"},
        {"local function f() error 'deep' end f() return 1", "deep"},
        {"error(setmetatable({}, {__tostring = function() return 'mine' end}))", "mine"},
        {"error {}", "table: "},
        {"error()", "nil"},
        {"error(setmetatable({}, {__tostring = function() error 'x' end}))", ""},
        {"local function f() return 1 + f() end f()", "stack overflow"},
        {"coroutine.yield()", "outside a coroutine"},
        {"require 'perigee.task'.sleep(0)", "only a task can"},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct err e = {0};
        load(scripts->L, codes[i][0]);
        assert_int_equal(state_call(scripts, 0, 5, &e), -EINVAL);
        assert_int_equal(e.code, -EINVAL);
        if (strstr(e.text, codes[i][1]) == NULL) fail_msg("%s: %s", codes[i][0], e.text);
        assert_int_equal(lua_gettop(scripts->L), 0);
    }
}

TEST(a_call_without_memory_is_an_error_like_others)
{
    static struct test_heap h = {0, -1}; /* the state is closed with it */
    lua_State *L = scripts->L;
    h.used = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
    lua_setallocf(L, test_heap_alloc, &h);
    int rc = -1;
    for (long left = 0; rc < 0; left++) {
        struct err e = {0};
        load(L, "local t = {} for i = 1, 3 do t[i] = {('x'):rep(100 + i)} end error(t[1][1])");
        h.left = left;
        assert_int_equal(state_call(scripts, 0, 0, &e), -EINVAL);
        h.left = -1;
        assert_int_equal(lua_gettop(L), 0);
        if (strstr(e.text, "xxxx") != NULL && strstr(e.text, "traceback") != NULL)
            rc = 0;
        else
            assert_non_null(strstr(e.text, "memory"));
    }
}

TEST(a_state_may_be_closed_with_everything_under_way)
{
    must_run(
        scripts,
        "local task, process = require 'perigee.task', require 'perigee.process'\n"
        "local servers, client = require 'perigee.http_server', require 'perigee.http_client'\n"
        "server = servers.serve({}, function() task.sleep(1000) return {} end)\n"
        "local url = ('http://127.0.0.1:%d/'):format(server:port())\n"
        "for i = 1, 5 do task.spawn(client.request, {url = url}) end\n"
        "child = process.start {'/bin/sleep', '1000'}\n"
        "task.spawn(function() child:wait() end)\n"
        "task.spawn(function() task.event():wait(1000) end)\n"
        "store = require 'perigee.store'.open ':memory:'");
    for (int i = 0; i < 200; i++) uv_run(loop_uv(host.loop), UV_RUN_NOWAIT);
    assert_true(tasks_alive(scripts->tasks) > 7); /* those of the server, too */
    state_close(scripts);
    scripts = NULL;
    state_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STATE(a_state_has_all_libraries_and_modules),
        WITH_STATE(every_thread_knows_its_state),
        WITH_STATE(two_states_on_one_loop_share_nothing_but_the_loop),
        WITH_STATE(a_call_takes_arguments_and_leaves_results),
        WITH_STATE(a_call_that_raises_leaves_nothing_and_tells_where),
        WITH_STATE(a_call_without_memory_is_an_error_like_others),
        WITH_STATE(a_state_may_be_closed_with_everything_under_way),
    };
    alarm(120); /* what hangs is ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
