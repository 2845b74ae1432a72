#include "tests/c/test.h"
#include "base/random.h"

#include <math.h>

enum { MANY = 200000 };

TEST(the_numbers_of_a_seed_are_those_of_the_published_algorithms)
{
    /* xoshiro256++ from the state 1, 2, 3, 4: the reference implementation's first five. */
    struct random r = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {41943041, 58720359, 3588806011781223, 3591011842654386,
                                        9228616714210784205u};
    for (size_t i = 0; i < 5; i++) assert_true(random_next(&r) == expected[i]);
}

TEST(seeds_and_streams_are_apart)
{
    uint64_t first[64];
    for (uint64_t i = 0; i < 64; i++) {
        struct random r;
        random_seed(&r, i / 8, i % 8); /* neighbours of both */
        first[i] = random_next(&r);
        for (uint64_t j = 0; j < i; j++) assert_true(first[j] != first[i]);
    }
    struct random a, b;
    random_seed(&a, 7, 9);
    random_seed(&b, 7, 9);
    for (int i = 0; i < 100; i++) assert_true(random_next(&a) == random_next(&b));
}

TEST(unit_numbers_fill_their_range_evenly)
{
    struct random r;
    random_seed(&r, 1, 0);
    double sum = 0, squares = 0;
    size_t tenths[10] = {0};
    for (int i = 0; i < MANY; i++) {
        double u = random_unit(&r);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
        tenths[(int)(10 * u)]++;
    }
    assert_true(fabs(sum / MANY - 0.5) < 0.003); /* 4.6 standard errors */
    assert_true(fabs(squares / MANY - 1.0 / 3) < 0.004);
    for (int i = 0; i < 10; i++) assert_true(fabs((double)tenths[i] - MANY / 10.0) < 670);
}

TEST(numbers_below_a_limit_are_even_and_below_it)
{
    struct random r;
    random_seed(&r, 2, 0);
    size_t count[7] = {0};
    for (int i = 0; i < MANY; i++) count[random_below(&r, 7)]++;
    for (int i = 0; i < 7; i++) assert_true(fabs((double)count[i] - MANY / 7.0) < 750);
    for (int i = 0; i < 100; i++) assert_int_equal(random_below(&r, 1), 0);
}

TEST(normal_numbers_have_the_moments_of_the_normal_distribution)
{
    struct random r;
    random_seed(&r, 3, 0);
    double m[5] = {0};
    for (int i = 0; i < MANY; i++) {
        double x = random_normal(&r), p = 1;
        for (int k = 1; k < 5; k++) m[k] += p *= x;
    }
    assert_true(fabs(m[1] / MANY) < 0.011);
    assert_true(fabs(m[2] / MANY - 1) < 0.015);
    assert_true(fabs(m[3] / MANY) < 0.04);
    assert_true(fabs(m[4] / MANY - 3) < 0.11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(the_numbers_of_a_seed_are_those_of_the_published_algorithms),
        CHECK(seeds_and_streams_are_apart),
        CHECK(unit_numbers_fill_their_range_evenly),
        CHECK(numbers_below_a_limit_are_even_and_below_it),
        CHECK(normal_numbers_have_the_moments_of_the_normal_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
