#include "tests/c/test.h"
#include "loop/timer.h"

#include "base/clock.h"

static struct loop *loop;

/* -- what fires notes its number and the time -- */

enum { MOST = 2000 };

struct fire {
    int number;
    int64_t due; /* by the monotonic clock; not earlier */
};

static struct fire fires[MOST];
static int fired[MOST], n_fired;
static int64_t fired_at[MOST];

static void on_fire(void *ud)
{
    struct fire *f = ud;
    fired[n_fired] = f->number;
    fired_at[n_fired++] = clock_monotonic_ms();
    assert_true(clock_monotonic_ms() >= f->due);
}

static struct timer *start(int number, int64_t ms)
{
    fires[number] = (struct fire){number, clock_monotonic_ms() + ms};
    return timer_start(loop, ms, on_fire, &fires[number]);
}

static void assert_fired(const int *numbers, int n)
{
    assert_int_equal(n_fired, n);
    for (int i = 0; i < n; i++) assert_int_equal(fired[i], numbers[i]);
    n_fired = 0;
}

#define ASSERT_FIRED(...)                                                                          \
    assert_fired((const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

/* -- real time; these come before the clock is made virtual, which is for good -- */

TEST(timers_fire_in_order_of_time_and_not_early)
{
    static const int64_t ms[] = {30, 10, 0, 20, -5};
    for (int i = 0; i < 5; i++) start(i, ms[i] < 0 ? 0 : ms[i]);
    assert_int_equal(n_fired, 0); /* never from inside the call */
    loop_run(loop, NULL);
    ASSERT_FIRED(2, 4, 1, 3, 0);
    timer_start(loop, -5, on_fire, &fires[4]); /* what is past is due at once */
    loop_run(loop, NULL);
    ASSERT_FIRED(4);
}

TEST(a_timer_is_as_long_after_a_long_turn)
{
    int64_t began = clock_monotonic_ms();
    while (clock_monotonic_ms() - began < 30) { /* the loop's own idea of now grows old */
    }
    start(0, 20);
    loop_run(loop, NULL); /* on_fire() checks */
    ASSERT_FIRED(0);
}

static void stop_it(void *ud)
{
    struct timer **t = ud;
    timer_stop(*t);
    *t = NULL;
}

TEST(a_stopped_timer_does_not_fire_though_it_is_due)
{
    struct timer *victim = NULL;
    timer_stop(start(0, 0));
    timer_stop(NULL);
    timer_start(loop, 0, stop_it, &victim); /* fires before what it stops, in the same turn */
    victim = start(1, 0);
    start(2, 0);
    loop_run(loop, NULL);
    ASSERT_FIRED(2);
}

static void start_another(void *ud) { start(*(int *)ud, 0); }

TEST(a_timer_may_be_started_while_another_fires)
{
    int number = 7;
    timer_start(loop, 1, start_another, &number);
    loop_run(loop, NULL);
    ASSERT_FIRED(7);
}

/* -- virtual time -- */

TEST(virtual_timers_wait_for_the_clock_to_be_moved)
{
    clock_make_virtual(1000000);
    start(0, 5);
    start(1, 0);
    loop_run(loop, NULL); /* ends: there is nothing real to wait for */
    assert_int_equal(n_fired, 0);
    timer_advance(loop, 0);
    ASSERT_FIRED(1);
    timer_advance(loop, 4);
    assert_int_equal(n_fired, 0);
    timer_advance(loop, 1);
    ASSERT_FIRED(0);
    assert_int_equal(clock_wall_ms(), 1000005);
}

TEST(the_clock_stands_at_the_due_time_while_a_timer_fires)
{
    int64_t now = clock_wall_ms();
    start(0, 30);
    start(1, 10);
    start(2, 10); /* at the same time: in order of starting */
    start(3, 60);
    timer_advance(loop, 50);
    assert_int_equal(fired_at[0], now + 10);
    assert_int_equal(fired_at[1], now + 10);
    assert_int_equal(fired_at[2], now + 30);
    ASSERT_FIRED(1, 2, 0);
    assert_int_equal(clock_wall_ms(), now + 50);
    timer_advance(loop, 1000);
    ASSERT_FIRED(3);
}

struct chain {
    int left;
    int64_t step;
};

static void next_link(void *ud)
{
    struct chain *c = ud;
    if (--c->left > 0) timer_start(loop, c->step, next_link, c);
}

TEST(what_is_started_on_the_way_fires_on_the_way)
{
    struct chain c = {10, 7};
    timer_start(loop, 7, next_link, &c);
    timer_advance(loop, 69);
    assert_int_equal(c.left, 1);
    timer_advance(loop, 1);
    assert_int_equal(c.left, 0);
}

TEST(a_stopped_virtual_timer_does_not_fire_though_it_is_due)
{
    struct timer *victim = NULL;
    timer_stop(start(0, 1));
    timer_start(loop, 1, stop_it, &victim);
    victim = start(1, 1);
    start(2, 1);
    timer_advance(loop, 1);
    ASSERT_FIRED(2);
}

/* The twin: every timer that is not stopped, by due time and then by number. */
TEST(any_virtual_timers_fire_as_if_they_had_been_sorted)
{
    uint64_t seed = 1;
    for (int round = 0; round < 20; round++) {
        static struct timer *timers[MOST];
        int64_t due[MOST], now = clock_monotonic_ms();
        for (int i = 0; i < MOST; i++) {
            int64_t ms = (int64_t)(xorshift(&seed) % 500);
            due[i] = now + ms;
            timers[i] = start(i, ms);
        }
        for (int i = 0; i < MOST; i++) {
            if (xorshift(&seed) % 4 != 0) continue;
            timer_stop(timers[i]);
            due[i] = -1;
        }
        for (int64_t left = 500; left > 0;) {
            int64_t step = (int64_t)(xorshift(&seed) % (uint64_t)left) + 1;
            timer_advance(loop, step);
            left -= step;
        }
        int n = 0;
        for (int64_t at = now; at <= now + 500; at++)
            for (int i = 0; i < MOST; i++)
                if (due[i] == at) assert_int_equal(fired[n++], i);
        assert_int_equal(n_fired, n);
        n_fired = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(timers_fire_in_order_of_time_and_not_early),
        CHECK(a_timer_is_as_long_after_a_long_turn),
        CHECK(a_stopped_timer_does_not_fire_though_it_is_due),
        CHECK(a_timer_may_be_started_while_another_fires),
        CHECK(virtual_timers_wait_for_the_clock_to_be_moved),
        CHECK(the_clock_stands_at_the_due_time_while_a_timer_fires),
        CHECK(what_is_started_on_the_way_fires_on_the_way),
        CHECK(a_stopped_virtual_timer_does_not_fire_though_it_is_due),
        CHECK(any_virtual_timers_fire_as_if_they_had_been_sorted),
    };
    alarm(120); /* what hangs is ended */
    if (loop_open(&loop) < 0) return 1;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    loop_close(loop);
    return rc;
}
