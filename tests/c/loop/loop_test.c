#include "tests/c/test.h"
#include "loop/loop.h"

#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "loop/timer.h"

static struct loop *loop;

static int open_loop(void **state)
{
    (void)state;
    return loop_open(&loop);
}

static int close_loop(void **state)
{
    (void)state;
    loop_close(loop);
    return 0;
}

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

/* -- running and ending -- */

static void set_true(void *ud) { *(bool *)ud = true; }
static void count(void *ud) { ++*(int *)ud; }

TEST(a_run_ends_when_nothing_is_left_to_wait_for)
{
    int fired = 0;
    loop_run(loop, NULL); /* nothing at all */
    timer_start(loop, 1, count, &fired);
    timer_start(loop, 3, count, &fired);
    loop_run(loop, NULL);
    assert_int_equal(fired, 2);
    loop_run(loop, NULL); /* and it can be run again */
}

TEST(a_run_ends_once_it_is_told_to)
{
    bool stop = false;
    int turns = 0;
    struct timer *far = timer_start(loop, 3600000, count, &turns);
    timer_start(loop, 1, set_true, &stop);
    loop_run(loop, &stop);
    assert_true(stop);
    loop_on_turn(loop, count, &turns);
    loop_run(loop, &stop); /* told so before it begins: no turn at all */
    assert_int_equal(turns, 0);
    stop = false;
    timer_start(loop, 1, set_true, &stop);
    loop_run(loop, &stop); /* the run before has left nothing behind */
    assert_true(stop && turns > 0);
    loop_off_turn(loop, count, &turns);
    timer_stop(far);
}

TEST(a_hook_can_end_the_run_without_a_wait)
{
    bool stop = false;
    struct timer *far = timer_start(loop, 3600000, set_true, &stop);
    loop_on_turn(loop, set_true, &stop);
    loop_run(loop, &stop);
    loop_off_turn(loop, set_true, &stop);
    timer_stop(far);
}

/* -- hooks -- */

struct script { /* what hooks note down */
    char text[64];
};
static struct script script;
static char x[] = "x", y[] = "y", plus[] = "+";

static void note(const char *what)
{
    strncat(script.text, what, sizeof script.text - strlen(script.text) - 1);
}
static void hook_a(void *ud) { note(ud != NULL ? ud : "a"); }
static void hook_b(void *ud)
{
    (void)ud;
    note("b");
    loop_off_turn(loop, hook_a, NULL);
}
static void hook_c(void *ud)
{
    (void)ud;
    note("c");
    loop_off_turn(loop, hook_c, NULL); /* itself */
    for (int i = 0; i < 20; i++)
        loop_on_turn(loop, hook_a, plus); /* so many that the array moves */
}

TEST(hooks_are_called_once_a_turn_in_order)
{
    memset(&script, 0, sizeof script);
    loop_on_turn(loop, hook_a, NULL);
    loop_on_turn(loop, hook_a, x);
    loop_on_turn(loop, hook_a, y);
    loop_run(loop, NULL); /* nothing to wait for: one turn */
    assert_string_equal(script.text, "axy");
    loop_off_turn(loop, hook_a, x);
    loop_off_turn(loop, hook_b, NULL); /* one that is not there */
    loop_run(loop, NULL);
    assert_string_equal(script.text, "axyay");
}

TEST(a_hook_may_add_hooks_and_take_any_away)
{
    memset(&script, 0, sizeof script);
    loop_on_turn(loop, hook_b, NULL);
    loop_on_turn(loop, hook_a, NULL); /* never called: b takes it away */
    loop_on_turn(loop, hook_c, NULL);
    loop_run(loop, NULL);
    assert_memory_equal(script.text, "bc", 2); /* what c adds has its turn now or with the next */
    script.text[0] = '\0';
    loop_run(loop, NULL);
    int called[256] = {0};
    for (const char *c = script.text; *c; c++) called[(unsigned char)*c]++;
    assert_true(called['a'] == 0 && called['b'] == 1 && called['c'] == 0 && called['+'] == 20);
}

static void hurry_on(void *ud)
{
    int *turns = ud;
    if (++*turns < 1000) loop_hurry(loop);
}

TEST(a_hurry_brings_the_next_turn_without_a_wait)
{
    bool stop = false;
    int turns = 0;
    int64_t began = clock_monotonic_ms();
    loop_on_turn(loop, hurry_on, &turns);
    struct timer *far = timer_start(loop, 200, set_true, &stop);
    loop_run(loop, &stop);
    assert_true(turns >= 1000 && turns < 1010); /* and then it waited, did not spin */
    assert_true(clock_monotonic_ms() - began >= 200);
    (void)far;
}

static void hurry_once(void *ud)
{
    loop_hurry(loop);
    *(bool *)ud = true;
}

static void note_late(void *ud)
{
    bool *flags = ud; /* asked, seen */
    if (flags[0]) flags[1] = true;
}

TEST(what_the_last_callback_hurries_for_has_its_turn)
{
    bool flags[2] = {false, false};
    loop_on_turn(loop, note_late, flags);
    timer_start(loop, 1, hurry_once, &flags[0]); /* with it the last handle is gone */
    loop_run(loop, NULL);
    assert_true(flags[1]);
}

/* -- what a watchdog sees -- */

struct watch {
    uv_async_t wake;
    const atomic_bool *waiting;
    const atomic_uint_fast64_t *turns;
    bool woken, waited_in_hook;
};

static void *wait_and_wake(void *ud)
{
    struct watch *w = ud;
    uint_fast64_t seen = *w->turns;
    while (!*w->waiting) { /* ends only if the loop says that it waits */
    }
    uv_async_send(&w->wake);
    while (*w->turns == seen) { /* and only if turns are counted */
    }
    return NULL;
}

static void on_wake(uv_async_t *async)
{
    struct watch *w = async->data;
    w->woken = true;
    uv_close((uv_handle_t *)async, NULL);
}

static void look(void *ud)
{
    struct watch *w = ud;
    w->waited_in_hook = w->waited_in_hook || *w->waiting;
}

TEST(another_thread_can_tell_waiting_from_working)
{
    struct watch w = {.waiting = loop_is_waiting(loop), .turns = loop_turns(loop)};
    pthread_t thread;
    assert_false(*w.waiting);
    uv_async_init(loop_uv(loop), &w.wake, on_wake);
    w.wake.data = &w;
    loop_on_turn(loop, look, &w);
    assert_int_equal(pthread_create(&thread, NULL, wait_and_wake, &w), 0);
    loop_run(loop, NULL);
    pthread_join(thread, NULL);
    assert_true(w.woken);
    assert_false(w.waited_in_hook);
    assert_false(*w.waiting); /* nor once the run is over */
}

/* -- signals -- */

static void on_signal(void *ud, int signum) { *(int *)ud = signum; }

TEST(a_signal_is_told_on_the_loop_and_does_not_keep_it_running)
{
    int seen = 0;
    bool stop = false;
    assert_int_equal(loop_on_signal(loop, SIGUSR1, on_signal, &seen), 0);
    loop_run(loop, NULL); /* ends though the signal is watched */
    raise(SIGUSR1);
    assert_int_equal(seen, 0);
    timer_start(loop, 50, set_true, &stop);
    while (seen == 0 && !stop) uv_run(loop_uv(loop), UV_RUN_ONCE);
    assert_int_equal(seen, SIGUSR1);
    assert_true(loop_on_signal(loop, 9999, on_signal, &seen) < 0);
    loop_run(loop, &stop);
}

TEST(a_loop_may_be_closed_with_handles_open)
{
    static uv_timer_t timer;
    static uv_async_t async;
    int seen = 0;
    uv_timer_init(loop_uv(loop), &timer);
    uv_timer_start(&timer, NULL, 3600000, 0);
    uv_async_init(loop_uv(loop), &async, NULL);
    loop_on_signal(loop, SIGUSR1, on_signal, &seen);
    loop_close(NULL);
    /* close_loop() does the rest, and the leak sanitizer answers for it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_LOOP(a_run_ends_when_nothing_is_left_to_wait_for),
        ON_LOOP(a_run_ends_once_it_is_told_to),
        ON_LOOP(a_hook_can_end_the_run_without_a_wait),
        ON_LOOP(hooks_are_called_once_a_turn_in_order),
        ON_LOOP(a_hook_may_add_hooks_and_take_any_away),
        ON_LOOP(a_hurry_brings_the_next_turn_without_a_wait),
        ON_LOOP(what_the_last_callback_hurries_for_has_its_turn),
        ON_LOOP(another_thread_can_tell_waiting_from_working),
        ON_LOOP(a_signal_is_told_on_the_loop_and_does_not_keep_it_running),
        ON_LOOP(a_loop_may_be_closed_with_handles_open),
    };
    alarm(120); /* what hangs is ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
