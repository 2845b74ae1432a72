#include "tests/c/test.h"
#include "base/clock.h"

#include <time.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* -- real time; these come before the clock is made virtual, which is for good -- */

TEST(wall_time_is_the_systems)
{
    assert_false(clock_is_virtual());
    time_t before = time(NULL);
    int64_t now = clock_wall_ms();
    time_t after = time(NULL);
    /* time() is read from a coarse clock, which may lag by a tick */
    assert_in_range(now, (int64_t)before * 1000, (int64_t)after * 1000 + 1999);
}

TEST(monotonic_time_goes_on_and_the_threads_time_only_with_work)
{
    int64_t ms = clock_monotonic_ms(), ns = clock_monotonic_ns(), cpu = clock_thread_cpu_ns();
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    assert_true(clock_monotonic_ns() - ns >= 20000000);
    assert_true(clock_monotonic_ms() - ms >= 19);
    int64_t idle = clock_thread_cpu_ns() - cpu;
    assert_true(idle < clock_monotonic_ns() - ns);
    cpu = clock_thread_cpu_ns();
    while (clock_thread_cpu_ns() - cpu < 5000000) { /* ends only if it counts work */
    }
}

/* -- virtual time -- */

TEST(virtual_time_stands_still_until_it_is_moved)
{
    clock_make_virtual(1000);
    assert_true(clock_is_virtual());
    int64_t ns = clock_monotonic_ns();
    while (clock_monotonic_ns() - ns < 3000000) { /* real time, which is measured all the same */
    }
    assert_int_equal(clock_wall_ms(), 1000);
    assert_int_equal(clock_monotonic_ms(), 1000);
    clock_move_to(1001);
    assert_int_equal(clock_wall_ms(), 1001);
    assert_int_equal(clock_monotonic_ms(), 1001);
    clock_move_to(1001); /* not backwards */
    clock_make_virtual(-5);
    assert_int_equal(clock_wall_ms(), -5);
}

/* -- as text -- */

TEST(times_are_written_as_rfc_3339_has_them)
{
    static const struct {
        int64_t ms;
        const char *text;
    } times[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1700000000123, "2023-11-14T22:13:20.123Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {-1001, "1969-12-31T23:59:58.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "out of range"},
        {-62167219200000, "0000-01-01T00:00:00.000Z"},
        {-62167219200001, "out of range"},
        {INT64_MAX, "out of range"},
        {INT64_MIN + 999, "out of range"},
    };
    char text[CLOCK_TEXT];
    for (size_t i = 0; i < COUNT(times); i++)
        assert_string_equal(clock_text(times[i].ms, text), times[i].text);
}

static bool is_leap(int year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

TEST(days_follow_one_another_as_in_the_calendar)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    char text[CLOCK_TEXT], expected[CLOCK_TEXT];
    int64_t ms = -62167219200000;
    for (int year = 0; year < 2500; year++) {
        for (int month = 1; month <= 12; month++) {
            int length = lengths[month - 1] + (month == 2 && is_leap(year));
            for (int day = 1; day <= length; day++, ms += 86400000) {
                snprintf(expected, sizeof expected, "%04d-%02d-%02dT", year, month, day);
                if (strncmp(clock_text(ms, text), expected, 11) != 0)
                    fail_msg("%s is not %s", text, expected);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(wall_time_is_the_systems),
        CHECK(monotonic_time_goes_on_and_the_threads_time_only_with_work),
        CHECK(virtual_time_stands_still_until_it_is_moved),
        CHECK(times_are_written_as_rfc_3339_has_them),
        CHECK(days_follow_one_another_as_in_the_calendar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
