#include "tests/c/test.h"
#include "app/watchdog.h"

#include <sys/resource.h>
#include <sys/wait.h>

/* The same with less patience: tests wait for it. */
enum { WARN_MS = 500, ABORT_MS = 2000 };
#define WATCHDOG_WARN_MS WARN_MS
#define WATCHDOG_ABORT_MS ABORT_MS
#include "runtime/app/watchdog.c"

#include "base/clock.h"
#include "bindings/bind.h"
#include "host/state.h"
#include "loop/timer.h"

static struct host host;
static struct state *scripts;
static char logged[1000];

static void on_log(void *ud, const char *line, size_t len)
{
    (void)ud;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%.*s\n", (int)len, line);
}

static int open_state(void **state)
{
    static const luaL_Reg *const modules[] = {bind_modules, NULL};
    (void)state;
    host = (struct host){0};
    logged[0] = '\0';
    log_divert(on_log, NULL);
    if (loop_open(&host.loop) < 0) return -1;
    return state_open(&scripts, &host, modules);
}

static int close_state(void **state)
{
    (void)state;
    log_divert(NULL, NULL);
    state_close(scripts);
    loop_close(host.loop);
    return 0;
}

#define WITH_STATE(name) cmocka_unit_test_setup_teardown(name, open_state, close_state)

static void on_end(void *ud, struct task *t, const char *error)
{
    (void)t;
    *(bool *)ud = true;
    if (error != NULL) fail_msg("%s", error);
}

static int l_spawn(lua_State *L) /* flag f */
{
    task_on_end(task_spawn(L, 0), on_end, lua_touserdata(L, 1));
    return 0;
}

/* Runs the script as a task to its end, with a watchdog beside it. */
static void run(const char *script)
{
    bool ended = false;
    lua_State *L = scripts->L;
    lua_pushcfunction(L, l_spawn);
    lua_pushlightuserdata(L, &ended);
    assert_int_equal(luaL_loadbuffer(L, script, strlen(script), "@slow.lua"), LUA_OK);
    assert_int_equal(lua_pcall(L, 2, 0, 0), LUA_OK);
    struct watchdog *w = watchdog_start(host.loop);
    assert_non_null(w);
    loop_run(host.loop, &ended);
    watchdog_stop(w);
}

static int count_warnings(void)
{
    int n = 0;
    for (const char *at = logged; (at = strstr(at, "more than a second")) != NULL; at++) n++;
    return n;
}

#define BUSY                                                                                       \
    "local clock, task = require 'perigee.clock', require 'perigee.task'\n"                        \
    "local function busy(seconds)\n"                                                               \
    "  local till = clock.monotonic() + seconds\n"                                                 \
    "  while clock.monotonic() < till do end\n"                                                    \
    "end\n"

TEST(a_slow_turn_is_named_once_with_its_line)
{
    run(BUSY "busy(1.2) return 1");
    assert_int_equal(count_warnings(), 1);
    assert_non_null(strstr(logged, "at=slow.lua:4"));
}

TEST(each_slow_turn_is_named)
{
    run(BUSY "busy(1.2) task.sleep(0.3) busy(1.2)");
    assert_int_equal(count_warnings(), 2);
}

TEST(idleness_and_many_short_turns_are_not_slow)
{
    run(BUSY "task.sleep(1.2) local till = clock.monotonic() + 1.2\n"
             "while clock.monotonic() < till do busy(0.02) task.sleep(0) end");
    assert_string_equal(logged, "");
}

static void sleep_in_c(void *ud)
{
    int64_t till = clock_monotonic_ms() + 1200; /* a signal cuts usleep() short */
    while (clock_monotonic_ms() < till) usleep(10000);
    *(bool *)ud = true;
}

TEST(a_slow_turn_without_lua_has_no_line_to_name)
{
    bool stop = false;
    struct watchdog *w = watchdog_start(host.loop);
    loop_on_turn(host.loop, sleep_in_c, &stop);
    loop_run(host.loop, &stop);
    loop_off_turn(host.loop, sleep_in_c, &stop);
    watchdog_stop(w);
    assert_string_equal(logged, "");
}

/* What a child does in one turn; the parent looks at how the child ends. */
static void hang(void *ud)
{
    (void)ud;
    for (;;) sleep(1);
}

static void stand_still(void *ud)
{
    (void)ud;
    usleep(600000); /* the watchdog looks before it, and behind it */
    raise(SIGSTOP);
    usleep(600000);
}

static pid_t start(void (*turn)(void *))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    struct loop *loop;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (loop_open(&loop) < 0) _exit(2);
    struct watchdog *w = watchdog_start(loop);
    timer_start(loop, 0, turn, NULL);
    loop_run(loop, NULL);
    watchdog_stop(w);
    loop_close(loop);
    _exit(0);
}

/* Both at once, for each takes as long as the watchdog is patient. */
TEST(a_turn_that_hangs_ends_the_process_and_one_that_stood_still_does_not)
{
    int hung, stopped;
    pid_t hangs = start(hang), stands = start(stand_still);
    assert_int_equal(waitpid(stands, &stopped, WUNTRACED), stands);
    assert_true(WIFSTOPPED(stopped));
    int64_t began = clock_monotonic_ms();
    assert_int_equal(waitpid(hangs, &hung, 0), hangs);
    assert_true(WIFSIGNALED(hung) && WTERMSIG(hung) == SIGABRT);
    assert_true(clock_monotonic_ms() - began >= ABORT_MS / 2);
    sleep(1); /* so that it has stood still for longer than a turn may take */
    kill(stands, SIGCONT);
    assert_int_equal(waitpid(stands, &stopped, 0), stands);
    assert_true(WIFEXITED(stopped) && WEXITSTATUS(stopped) == 0);
}

TEST(it_stops_at_once)
{
    int64_t began = clock_monotonic_ms();
    for (int i = 0; i < 20; i++) watchdog_stop(watchdog_start(host.loop));
    watchdog_stop(NULL);
    assert_true(clock_monotonic_ms() - began < 2000); /* 20 naps would take five seconds */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STATE(a_slow_turn_is_named_once_with_its_line),
        WITH_STATE(each_slow_turn_is_named),
        WITH_STATE(idleness_and_many_short_turns_are_not_slow),
        WITH_STATE(a_slow_turn_without_lua_has_no_line_to_name),
        WITH_STATE(a_turn_that_hangs_ends_the_process_and_one_that_stood_still_does_not),
        WITH_STATE(it_stops_at_once),
    };
    alarm(120); /* what hangs is ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
