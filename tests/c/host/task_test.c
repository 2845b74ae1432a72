#include "tests/c/test.h"
#include "host/task.h"

#include <lauxlib.h>

#include "bindings/bind.h"
#include "host/state.h"
#include "loop/timer.h"

static struct host host;
static struct state *scripts;

static int open_state(void **unused)
{
    static const luaL_Reg *const modules[] = {bind_modules, NULL};
    (void)unused;
    host = (struct host){0};
    if (loop_open(&host.loop) < 0) return -1;
    return state_open(&scripts, &host, modules);
}

static int close_state(void **unused)
{
    (void)unused;
    state_close(scripts);
    loop_close(host.loop);
    return 0;
}

#define WITH_STATE(name) cmocka_unit_test_setup_teardown(name, open_state, close_state)

/* -- a task and what came of it -- */

struct run {
    struct task *task; /* valid in on_end() only, but for those that are still alive */
    bool ended;
    enum task_state how;
    int status;
    char error[2000];
};

static void on_end(void *ud, struct task *t, const char *error)
{
    struct run *run = ud;
    assert_false(run->ended); /* once */
    run->ended = true;
    run->how = task_state(t);
    run->status = task_exit_status(t);
    snprintf(run->error, sizeof run->error, "%s", error != NULL ? error : "");
}

static int l_spawn(lua_State *L) /* run f */
{
    struct run *run = lua_touserdata(L, 1);
    run->task = task_spawn(L, 0);
    task_on_end(run->task, on_end, run);
    return 0;
}

static void spawn(struct run *run, const char *code)
{
    lua_State *L = scripts->L;
    memset(run, 0, sizeof *run);
    lua_pushcfunction(L, l_spawn);
    lua_pushlightuserdata(L, run);
    if (luaL_loadbuffer(L, code, strlen(code), "@task.lua") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
    assert_int_equal(task_state(run->task), TASK_READY);
    assert_false(run->ended);
}

static struct run finish(const char *code)
{
    struct run run;
    spawn(&run, code);
    loop_run(host.loop, &run.ended);
    assert_true(run.ended);
    return run;
}

/* The code asserts by itself; `task` is the module. */
static void must_pass(const char *code)
{
    char whole[4000];
    snprintf(whole, sizeof whole, "local task = require 'perigee.task' %s", code);
    struct run run = finish(whole);
    if (run.how != TASK_DONE) fail_msg("%s", run.error);
}

/* -- done, faulted -- */

TEST(a_task_starts_with_the_next_turn_and_ends_with_its_results)
{
    struct run run = finish("ran = true return 7, 'x'");
    assert_int_equal(run.how, TASK_DONE);
    assert_int_equal(run.status, 7);
    assert_string_equal(run.error, "");
    assert_int_equal(tasks_alive(scripts->tasks), 0);
    assert_int_equal(finish("return 'x', 7").status, 0);
    assert_int_equal(finish("return 1.5").status, 0);
    assert_int_equal(finish("").status, 0);
}

TEST(an_error_is_told_with_its_line_and_its_stack)
{
    struct run run = finish("\nlocal function deep()\n  error 'bad'\nend\ndeep() return 1");
    assert_int_equal(run.how, TASK_FAULTED);
    assert_memory_equal(run.error, "task.lua:3: bad\nstack traceback:", 32);
    assert_non_null(strstr(run.error, "task.lua:5: in "));
    assert_non_null(strstr(finish("error {}").error, "table: "));
    assert_non_null(strstr(finish("error()").error, "nil"));
    assert_non_null(
        strstr(finish("error(setmetatable({}, {__tostring = function() return 'mine' end}))").error,
               "mine"));
    /* What describes the error may fail too. */
    finish("error(setmetatable({}, {__tostring = function() error 'again' end}))");
    finish("error(setmetatable({}, {__tostring = function() return 1 end}))");
    assert_non_null(strstr(finish("local function f() return 1 + f() end f()").error, "overflow"));
    assert_int_equal(tasks_alive(scripts->tasks), 0);
}

TEST(a_stray_yield_is_a_fault)
{
    struct run run = finish("coroutine.yield(1, 2, 3)");
    assert_int_equal(run.how, TASK_FAULTED);
    assert_non_null(strstr(run.error, "attempt to yield from outside a coroutine"));
    /* Within a coroutine of the script's own it is what it always was. */
    must_pass("local co = coroutine.wrap(function() coroutine.yield(1) return 2 end)\n"
              "assert(co() == 1 and co() == 2)");
}

static void on_fault(void *ud, const char *trace)
{
    char *faults = ud;
    strncat(faults, trace, 10);
}

TEST(a_fault_that_nobody_awaits_is_reported_and_no_other)
{
    char faults[100] = "";
    tasks_on_fault(scripts->tasks, on_fault, faults);
    must_pass("local a = task.spawn(function() error('awaited', 0) end)\n"
              "assert(not pcall(a.await, a))\n"
              "task.spawn(function() error('forgotten', 0) end) task.sleep(0) task.sleep(0)\n"
              "task.spawn(function() task.sleep(1000) end):cancel()");
    assert_string_equal(faults, "forgotten\n");
}

/* -- turns -- */

TEST(tasks_run_in_the_order_in_which_they_became_ready)
{
    must_pass("local order = ''\n"
              "local all = {}\n"
              "for i = 1, 5 do\n"
              "  all[i] = task.spawn(function(n) order = order .. n task.sleep(0) order = order .. "
              "n end, i)\n"
              "end\n"
              "for i = 1, 5 do all[i]:await() end\n"
              "assert(order == '1234512345', order)");
}

TEST(tasks_that_go_on_for_ever_do_not_starve_the_loop)
{
    must_pass("local e, stop = task.event(), false\n"
              "local function again() if not stop then task.spawn(again) end end\n"
              "again() task.sleep(0.01) stop = true");
}

TEST(ten_thousand_tasks_wait_at_once)
{
    must_pass("local e, n, last = task.event(), 0\n"
              "for i = 1, 10000 do\n"
              "  last = task.spawn(function() e:wait() n = n + 1 end)\n"
              "end\n"
              "task.sleep(0) e:set() last:await() assert(n == 10000, n)");
    assert_int_equal(tasks_alive(scripts->tasks), 0);
}

TEST(what_has_ended_is_collected)
{
    must_pass("local seen = setmetatable({}, {__mode = 'k'})\n"
              "for i = 1, 10 do\n"
              "  seen[task.spawn(function() if i % 2 == 0 then error 'x' end end)] = true\n"
              "end\n"
              "local waits = task.spawn(function() task.sleep(1000) end) seen[waits] = true\n"
              "waits = nil task.sleep(0) task.sleep(0) collectgarbage() collectgarbage()\n"
              "local n = 0 for t in pairs(seen) do n = n + 1 t:cancel() end\n"
              "assert(n == 1, n)"); /* one that waits is held, also when nobody has its handle */
}

/* -- waiting -- */

TEST(an_event_wakes_all_who_wait_in_order)
{
    must_pass(
        "local e, order = task.event(), ''\n"
        "local a = task.spawn(function() assert(e:wait()) order = order .. 'a' end)\n"
        "local b = task.spawn(function() assert(e:wait(1000)) order = order .. 'b' end)\n"
        "task.sleep(0) assert(order == '') e:set() assert(order == '')\n" /* not from inside */
        "b:await() assert(order == 'ab' and e:wait() and e:wait(0))\n"
        "e:clear() assert(e:wait(0) == false and e:wait(0.001) == false)");
}

TEST(who_awaits_gets_results_errors_or_the_truth)
{
    must_pass("local done = task.spawn(function(...) task.sleep(0) return ... end, 1, nil, 3)\n"
              "local t = table.pack(done:await()) assert(t.n == 3 and t[1] == 1 and t[3] == 3)\n"
              "assert(select('#', done:await()) == 3 and done:state() == 'done')\n"
              "local object = {}\n"
              "local bad = task.spawn(function() error(object) end)\n"
              "local ok, e = pcall(bad.await, bad) assert(not ok and e == object)\n"
              "ok, e = pcall(bad.await, bad) assert(not ok and e == object)\n"
              "local slow = task.spawn(function() task.sleep(1000) end)\n"
              "assert(select(2, slow:await(0)) == 'timeout' and slow:state() == 'waiting')\n"
              "slow:cancel() assert(select(2, slow:await()) == 'cancelled')\n"
              "assert(slow:state() == 'cancelled')");
}

TEST(many_may_await_the_same_task)
{
    must_pass(
        "local t, n = task.spawn(function() task.sleep(0) return 5 end), 0\n"
        "local all = {}\n"
        "for i = 1, 5 do all[i] = task.spawn(function() local x = t:await() n = n + x end) end\n"
        "for i = 1, 5 do all[i]:await() end assert(n == 25)");
}

TEST(waiting_goes_on_through_pcall_and_iterators)
{
    must_pass(
        "local ok, x = pcall(function() task.sleep(0) return 1 end) assert(ok and x == 1)\n"
        "ok, x = pcall(function() task.sleep(0) error('bad', 0) end) assert(not ok and x == "
        "'bad')\n"
        "local n = 0\n"
        "for i in function(_, i) task.sleep(0) return (i or 0) < 3 and (i or 0) + 1 or nil end do\n"
        "  n = n + i\n"
        "end\n"
        "assert(n == 6)\n"
        "local t = setmetatable({}, {__index = function() task.sleep(0) return 9 end})\n"
        "assert(t.x == 9)\n"
        "do local c <close> = setmetatable({}, {__close = function() task.sleep(0) n = 0 end}) "
        "end\n"
        "assert(n == 0)");
}

static int l_wait(lua_State *L) { return event_wait(L, lua_touserdata(L, 1), -1); }

TEST(only_a_task_can_wait)
{
    struct event e;
    event_init(&e);
    lua_State *L = scripts->L;
    lua_pushcfunction(L, l_wait);
    lua_pushlightuserdata(L, &e);
    assert_int_not_equal(lua_pcall(L, 1, 0, 0), LUA_OK);
    assert_non_null(strstr(lua_tostring(L, -1), "only a task can"));
    lua_pop(L, 1);
    lua_gc(L, LUA_GCCOLLECT);
    assert_true(list_empty(&e.waiters)); /* nothing is left that points to what is gone */
    must_pass("local ok, message = pcall(table.sort, {2, 1}, function() task.sleep(0) end)\n"
              "assert(not ok and message:find('beneath a C function', 1, true), message)\n"
              "ok, message = coroutine.resume(coroutine.create(function() task.sleep(0) end))\n"
              "assert(not ok and message:find('not a coroutine of your own', 1, true), message)\n"
              "assert(task.current() and not coroutine.wrap(task.current)())\n"
              "assert(select(2, pcall(string.gsub, 'a', 'a', task.sleep)))");
}

/* -- operations -- */

struct counted {
    struct op op;
    int *pushed, *dropped;
};

static int push_counted(lua_State *L, struct op *op)
{
    ++*((struct counted *)op)->pushed;
    lua_pushliteral(L, "pushed");
    return 1;
}

static void drop_counted(struct op *op) { ++*((struct counted *)op)->dropped; }

static struct counted *last_op;
static int pushed, dropped;

static int l_operate(lua_State *L) /* finished at once? */
{
    bool finished = lua_toboolean(L, 1);
    last_op = op_new(L, sizeof *last_op, push_counted, drop_counted);
    last_op->pushed = &pushed;
    last_op->dropped = &dropped;
    if (finished) op_finish(&last_op->op);
    return task_wait(L, &last_op->op);
}

static void never(void *ud) { (void)ud; }

/* Some turns of the loop, whether or not there is something that it could wait for. */
static void turns(void)
{
    struct timer *far = timer_start(host.loop, 3600000, never, NULL);
    for (int i = 0; i < 5; i++) uv_run(loop_uv(host.loop), UV_RUN_NOWAIT);
    timer_stop(far);
}

static void operate(struct run *run, const char *code)
{
    pushed = dropped = 0;
    lua_register(scripts->L, "operate", l_operate);
    spawn(run, code);
    turns();
}

TEST(an_operation_is_dropped_once_whatever_becomes_of_it)
{
    struct run run;
    operate(&run, "assert(operate(true) == 'pushed')"); /* there before it was waited for */
    assert_true(run.how == TASK_DONE && pushed == 1 && dropped == 1);
    operate(&run, "assert(operate(false) == 'pushed')");
    assert_true(!run.ended && pushed == 0 && dropped == 0);
    op_finish(&last_op->op);
    assert_int_equal(pushed, 0); /* never from inside a callback */
    loop_run(host.loop, &run.ended);
    assert_true(run.how == TASK_DONE && pushed == 1 && dropped == 1);
    operate(&run, "operate(false)");
    task_cancel(run.task);
    assert_true(run.how == TASK_CANCELLED && pushed == 0 && dropped == 1);
    operate(&run, "operate(false)");
    op_finish(&last_op->op);
    task_cancel(run.task); /* ready by now */
    assert_true(run.how == TASK_CANCELLED && pushed == 0 && dropped == 1);
    lua_gc(scripts->L, LUA_GCCOLLECT);
    assert_int_equal(dropped, 1);
    operate(&run, "coroutine.wrap(operate)(false)"); /* raised: it was never waited for */
    assert_true(run.how == TASK_FAULTED && pushed == 0);
    lua_gc(scripts->L, LUA_GCCOLLECT);
    assert_int_equal(dropped, 1);
}

/* -- cancelling -- */

TEST(a_cancelled_task_closes_what_it_holds)
{
    must_pass("local log = ''\n"
              "local function holds(name)\n"
              "  return setmetatable({}, {__close = function() log = log .. name end})\n"
              "end\n"
              "local t = task.spawn(function()\n"
              "  local a <close>, b = holds 'a', 1\n"
              "  pcall(function() local c <close> = holds 'c' task.sleep(1000) end)\n"
              "  log = log .. 'never'\n"
              "end)\n"
              "task.sleep(0) t:cancel() assert(log == 'ca', log) t:cancel() assert(log == 'ca')\n"
              "local unborn = task.spawn(function() log = log .. 'never' end)\n"
              "unborn:cancel() task.sleep(0) task.sleep(0) assert(log == 'ca', log)");
}

TEST(a_task_may_cancel_another_that_is_about_to_run)
{
    must_pass(
        "local b\n"
        "local a = task.spawn(function() b:cancel() end)\n"
        "b = task.spawn(function() error 'ran' end)\n"
        "task.sleep(0) task.sleep(0) assert(a:state() == 'done' and b:state() == 'cancelled')\n"
        "local self self = task.spawn(function() task.sleep(0) self:cancel() end)\n"
        "local ok, message = pcall(self.await, self)\n"
        "assert(not ok and message:find('cannot cancel itself', 1, true))\n"
        "self = task.spawn(function() task.sleep(0) self:await() end)\n"
        "ok, message = pcall(self.await, self)\n"
        "assert(not ok and message:find('cannot await itself', 1, true))");
}

TEST(closing_that_raises_or_waits_does_not_stop_the_cancelling)
{
    must_pass("local function holds(f) return setmetatable({}, {__close = f}) end\n"
              "local reached = 0\n"
              "for _, f in ipairs {error, function() task.sleep(1) end, coroutine.yield} do\n"
              "  local t = task.spawn(function()\n"
              "    local outer <close> = holds(function() reached = reached + 1 end)\n"
              "    local inner <close> = holds(f)\n"
              "    task.sleep(1000)\n"
              "  end)\n"
              "  task.sleep(0) t:cancel() assert(t:state() == 'cancelled')\n"
              "end\n"
              "assert(reached == 3, reached)");
}

TEST(closing_a_state_cancels_its_tasks_and_what_they_spawn_at_their_end)
{
    struct run run;
    spawn(
        &run,
        "local task = require 'perigee.task'\n"
        "local again = {} again.__close = function()\n"
        "  for i = 1, 2 do task.spawn(function() task.sleep(1000) end) end\n"
        "end\n"
        "for i = 1, 10 do\n"
        "  task.spawn(function() local a <close> = setmetatable({}, again) task.sleep(1000) end)\n"
        "end\n"
        "task.event():wait()");
    turns();
    assert_int_equal(tasks_alive(scripts->tasks), 11);
    tasks_cancel_all(scripts->tasks);
    assert_int_equal(tasks_alive(scripts->tasks), 0);
    assert_true(run.ended && run.how == TASK_CANCELLED);
}

TEST(a_task_that_respawns_for_ever_cannot_keep_a_state_open)
{
    struct run run;
    spawn(&run,
          "local task = require 'perigee.task'\n"
          "local function again()\n"
          "  local c <close> = setmetatable({}, {__close = function() task.spawn(again) end})\n"
          "  task.sleep(1000)\n"
          "end\n"
          "again()");
    turns();
    state_close(scripts);
    assert_int_equal(run.how, TASK_CANCELLED);
    scripts = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STATE(a_task_starts_with_the_next_turn_and_ends_with_its_results),
        WITH_STATE(an_error_is_told_with_its_line_and_its_stack),
        WITH_STATE(a_stray_yield_is_a_fault),
        WITH_STATE(a_fault_that_nobody_awaits_is_reported_and_no_other),
        WITH_STATE(tasks_run_in_the_order_in_which_they_became_ready),
        WITH_STATE(tasks_that_go_on_for_ever_do_not_starve_the_loop),
        WITH_STATE(ten_thousand_tasks_wait_at_once),
        WITH_STATE(what_has_ended_is_collected),
        WITH_STATE(an_event_wakes_all_who_wait_in_order),
        WITH_STATE(who_awaits_gets_results_errors_or_the_truth),
        WITH_STATE(many_may_await_the_same_task),
        WITH_STATE(waiting_goes_on_through_pcall_and_iterators),
        WITH_STATE(only_a_task_can_wait),
        WITH_STATE(an_operation_is_dropped_once_whatever_becomes_of_it),
        WITH_STATE(a_cancelled_task_closes_what_it_holds),
        WITH_STATE(a_task_may_cancel_another_that_is_about_to_run),
        WITH_STATE(closing_that_raises_or_waits_does_not_stop_the_cancelling),
        WITH_STATE(closing_a_state_cancels_its_tasks_and_what_they_spawn_at_their_end),
        WITH_STATE(a_task_that_respawns_for_ever_cannot_keep_a_state_open),
    };
    alarm(120); /* what hangs is ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
