#include "tests/c/test.h"
#include "base/parallel.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { MOST = 5000 };

struct seen {
    atomic_int times[MOST]; /* that each item was given out */
    size_t piece, n;
    unsigned threads;
    atomic_int wrong;
    atomic_int inside[8]; /* how many calls use a worker's workspace now */
};

static void look(void *ud, size_t first, size_t last, unsigned worker)
{
    struct seen *s = ud;
    bool whole = first % s->piece == 0 && (last - first == s->piece || last == s->n);
    if (!whole || first >= last || worker >= s->threads) s->wrong++;
    if (s->inside[worker]++ != 0) s->wrong++;
    for (size_t i = first; i < last; i++) s->times[i]++;
    s->inside[worker]--;
}

TEST(every_item_is_given_out_once_whatever_the_threads_and_pieces)
{
    uint64_t seed = 1;
    static struct seen s;
    for (unsigned threads = 1; threads <= 8; threads++) {
        struct parallel *p;
        assert_int_equal(parallel_open(&p, threads), 0);
        assert_int_equal(parallel_threads(p), threads);
        for (int round = 0; round < 100; round++) {
            memset(&s, 0, sizeof s);
            s.n = xorshift(&seed) % MOST;
            s.piece = 1 + xorshift(&seed) % (round % 2 ? 7 : MOST);
            s.threads = threads;
            parallel_for(p, s.n, s.piece, look, &s);
            assert_int_equal(s.wrong, 0);
            for (size_t i = 0; i < MOST; i++) assert_int_equal(s.times[i], i < s.n);
        }
        parallel_close(p);
    }
}

TEST(by_default_there_are_as_many_threads_as_processors)
{
    struct parallel *p;
    assert_int_equal(parallel_open(&p, 0), 0);
    assert_int_equal(parallel_threads(p), sysconf(_SC_NPROCESSORS_ONLN));
    parallel_close(p);
    parallel_close(NULL);
}

static void wait_for_two(void *ud, size_t first, size_t last, unsigned worker)
{
    atomic_int *arrived = ud;
    (void)first, (void)last, (void)worker;
    ++*arrived;
    while (*arrived < 2) sched_yield(); /* ends only if two threads are in here at once */
}

TEST(two_threads_work_at_once)
{
    struct parallel *p;
    atomic_int arrived = 0;
    assert_int_equal(parallel_open(&p, 2), 0);
    parallel_for(p, 2, 1, wait_for_two, &arrived);
    assert_int_equal(arrived, 2);
    parallel_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(every_item_is_given_out_once_whatever_the_threads_and_pieces),
        CHECK(by_default_there_are_as_many_threads_as_processors),
        CHECK(two_threads_work_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
