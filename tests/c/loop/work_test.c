#include "tests/c/test.h"
#include "loop/work.h"

#include <pthread.h>

#include "loop/timer.h"

enum { MANY = 300 };

static struct loop *loop;
static pthread_t loop_thread;

struct job {
    atomic_bool begun, may_end;
    bool seen_cancel; /* by run(), which may end then */
    int runs, dones;
    bool cancelled;
    pthread_t ran_on;
    struct work *work;
};

static void run(void *data, const atomic_bool *cancel)
{
    struct job *j = data;
    j->runs++;
    j->ran_on = pthread_self();
    j->begun = true;
    while (!j->may_end && !*cancel) sched_yield();
    j->seen_cancel = *cancel;
}

static void done(void *data, bool cancelled)
{
    struct job *j = data;
    assert_true(pthread_equal(pthread_self(), loop_thread));
    j->dones++;
    j->cancelled = cancelled;
}

static void start(struct job *j)
{
    *j = (struct job){.runs = 0};
    j->work = work_start(loop, run, done, j);
}

static void wait_until(const atomic_bool *flag)
{
    while (!*flag) sched_yield();
}

TEST(a_function_runs_on_another_thread_while_the_loop_goes_on)
{
    static struct job j;
    start(&j);
    wait_until(&j.begun); /* no turn of the loop is needed for that */
    assert_int_equal(j.dones, 0);
    for (int i = 0; i < 10; i++) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    assert_int_equal(j.dones, 0);
    j.may_end = true;
    loop_run(loop, NULL);
    assert_true(j.runs == 1 && j.dones == 1 && !j.cancelled);
    assert_false(pthread_equal(j.ran_on, loop_thread));
}

TEST(a_function_that_runs_is_told_of_its_cancelling)
{
    static struct job j;
    start(&j);
    wait_until(&j.begun);
    work_cancel(j.work);
    work_cancel(j.work); /* twice is fine */
    loop_run(loop, NULL);
    assert_true(j.runs == 1 && j.dones == 1 && j.cancelled && j.seen_cancel);
}

/* More than libuv has threads: the last ones have not begun. */
TEST(a_function_that_has_not_begun_never_does_once_it_is_cancelled)
{
    static struct job jobs[20];
    int ran = 0;
    for (int i = 0; i < 20; i++) start(&jobs[i]);
    wait_until(&jobs[0].begun);
    for (int i = 19; i >= 4; i--) work_cancel(jobs[i].work);
    for (int i = 0; i < 4; i++) jobs[i].may_end = true;
    loop_run(loop, NULL);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(jobs[i].dones, 1);
        assert_true(jobs[i].cancelled == (i >= 4));
        ran += jobs[i].runs;
    }
    assert_int_equal(ran, 4);
}

TEST(done_comes_once_whenever_the_cancelling_comes)
{
    static struct job jobs[MANY];
    uint64_t seed = 1;
    for (int i = 0; i < MANY; i++) {
        start(&jobs[i]);
        if (i % 3 == 0) jobs[i].may_end = true;
        int other = (int)(xorshift(&seed) % (uint64_t)(i + 1));
        if (jobs[other].dones == 0) work_cancel(jobs[other].work);
        if (i % 16 == 0) uv_run(loop_uv(loop), UV_RUN_NOWAIT);
    }
    for (int i = 0; i < MANY; i++) jobs[i].may_end = true;
    loop_run(loop, NULL);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(jobs[i].dones, 1);
        assert_true(jobs[i].runs <= 1);
        assert_true(jobs[i].runs == 1 || jobs[i].cancelled);
    }
}

TEST(a_loop_that_is_closed_waits_for_what_runs)
{
    static struct job j;
    struct loop *own, *before = loop;
    assert_int_equal(loop_open(&own), 0);
    loop = own;
    start(&j);
    loop = before;
    wait_until(&j.begun);
    j.may_end = true;
    loop_close(own);
    assert_true(j.runs == 1 && j.dones == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_function_runs_on_another_thread_while_the_loop_goes_on),
        CHECK(a_function_that_runs_is_told_of_its_cancelling),
        CHECK(a_function_that_has_not_begun_never_does_once_it_is_cancelled),
        CHECK(done_comes_once_whenever_the_cancelling_comes),
        CHECK(a_loop_that_is_closed_waits_for_what_runs),
    };
    alarm(120); /* what hangs is ended */
    loop_thread = pthread_self();
    if (loop_open(&loop) < 0) return 1;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    loop_close(loop);
    return rc;
}
