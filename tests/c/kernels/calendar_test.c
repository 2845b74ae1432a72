#include "tests/c/test.h"
#include "kernels/calendar.h"
#include <errno.h>
#include <stdbool.h>
#include <time.h>

/* -- TZif files, by hand -- */

struct bytes {
    uint8_t data[1000];
    size_t len;
};

static void put(struct bytes *b, uint64_t value, int width) /* big-endian */
{
    for (int i = width - 1; i >= 0; i--) b->data[b->len++] = (uint8_t)(value >> (8 * i));
}

static void put_header(struct bytes *b, char version, unsigned leaps, unsigned times,
                       unsigned types)
{
    memcpy(b->data + b->len, "TZif", 4);
    b->len += 4;
    put(b, (uint8_t)version, 1);
    memset(b->data + b->len, 0, 15);
    b->len += 15;
    const unsigned counts[] = {0, 0, leaps, times, types, 4};
    for (int i = 0; i < 6; i++) put(b, counts[i], 4);
}

static void put_types(struct bytes *b, const int32_t *offsets, int n)
{
    for (int i = 0; i < n; i++) {
        put(b, (uint32_t)offsets[i], 4);
        put(b, 0, 2); /* not summer, the abbreviation at 0: neither is read */
    }
    put(b, 0x41424300, 4); /* "ABC" */
}

/* Version 2 as zic -b slim writes it: an empty first block, and all in the footer. */
static struct bytes slim(const char *footer)
{
    struct bytes b = {.len = 0};
    put_header(&b, '2', 0, 0, 1);
    put_types(&b, (int32_t[]){0}, 1);
    put_header(&b, '2', 0, 0, 1);
    put_types(&b, (int32_t[]){0}, 1);
    b.len += (size_t)snprintf((char *)b.data + b.len, 200, "\n%s\n", footer);
    return b;
}

/* Version 1: +1 h until 1000, then +2 h until 2000, then +1 h. */
static struct bytes version_1(unsigned leaps)
{
    struct bytes b = {.len = 0};
    put_header(&b, 0, leaps, 2, 2);
    put(&b, 1000, 4);
    put(&b, 2000, 4);
    put(&b, 0x0100, 2);
    put_types(&b, (int32_t[]){3600, 7200}, 2);
    for (unsigned i = 0; i < leaps; i++) put(&b, 78796800, 8);
    return b;
}

static int parse(struct zone **z, const struct bytes *b)
{
    /* A block of its own, so that one byte too far is seen. */
    uint8_t *copy = malloc(b->len > 0 ? b->len : 1);
    memcpy(copy, b->data, b->len);
    struct err e = {0};
    *z = NULL;
    int rc = zone_parse(z, copy, b->len, &e);
    assert_true(rc == e.code && (rc == 0) == (e.text[0] == '\0'));
    free(copy);
    return rc;
}

static struct zone *zone(const char *footer)
{
    struct bytes b = slim(footer);
    struct zone *z;
    assert_int_equal(parse(&z, &b), 0);
    return z;
}

/* "2024-03-31 01:59:59 Sun +3600" */
static const char *show(const struct zone *z, int64_t t)
{
    static char text[100];
    struct calendar_time c = calendar_time(z, t);
    const char *day = &"Mon\0Tue\0Wed\0Thu\0Fri\0Sat\0Sun"[4 * c.weekday];
    snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d %s %+d", (int)c.year, c.month, c.day,
             c.hour, c.minute, c.second, day, (int)zone_offset(z, t));
    return text;
}

/* -- days -- */

TEST(days_and_dates_are_what_counting_gives)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t days = -719162 - 366; /* 0000-01-01 */
    for (int64_t year = 0; year < 2500; year++) {
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= lengths[month - 1] + (leap && month == 2); day++, days++) {
                int64_t y;
                int m, d;
                calendar_civil_from_days(days, &y, &m, &d);
                if (y != year || m != month || d != day) fail();
                if (calendar_days_from_civil(year, month, day) != days) fail();
            }
        }
    }
    assert_true(calendar_days_from_civil(1970, 1, 1) == 0);
    assert_true(calendar_days_from_civil(2024, 2, 30) == calendar_days_from_civil(2024, 3, 1));
    assert_true(calendar_days_from_civil(-400, 3, 1) == calendar_days_from_civil(0, 3, 1) - 146097);
}

TEST(utc_needs_no_file)
{
    assert_string_equal(show(NULL, 0), "1970-01-01 00:00:00 Thu +0");
    assert_string_equal(show(NULL, -1), "1969-12-31 23:59:59 Wed +0");
    assert_string_equal(show(NULL, 1709210096), "2024-02-29 12:34:56 Thu +0");
    assert_int_equal(calendar_hour_of_week(NULL, 0), 72);
    assert_int_equal(calendar_hour_of_week(NULL, 4 * 86400), 0); /* Monday, 1970-01-05 */
    assert_int_equal(calendar_hour_of_week(NULL, 4 * 86400 - 1), 167);
    assert_int_equal(calendar_hour_of_week(NULL, -3 * 86400), 0);
    (void)show(NULL, CALENDAR_LIMIT);
    (void)show(NULL, -CALENDAR_LIMIT);
}

TEST(an_hour_of_the_week_is_weekday_and_hour)
{
    uint64_t seed = 7;
    struct zone *z = zone("<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45"); /* Pacific/Chatham */
    for (int i = 0; i < 20000; i++) {
        int64_t t = (int64_t)(xorshift(&seed) % 8000000000) - 4000000000;
        const struct zone *either = i % 2 ? z : NULL;
        struct calendar_time c = calendar_time(either, t);
        assert_int_equal(calendar_weekday(either, t), c.weekday);
        assert_int_equal(calendar_hour_of_day(either, t), c.hour);
        assert_int_equal(calendar_hour_of_week(either, t), c.weekday * 24 + c.hour);
    }
    zone_free(z);
}

/* -- rules -- */

TEST(an_hour_is_missing_in_spring_and_twice_in_autumn)
{
    struct zone *z = zone("CET-1CEST,M3.5.0,M10.5.0/3"); /* Europe/Berlin */
    assert_string_equal(show(z, 1711846799), "2024-03-31 01:59:59 Sun +3600");
    assert_string_equal(show(z, 1711846800), "2024-03-31 03:00:00 Sun +7200");
    assert_string_equal(show(z, 1729990799), "2024-10-27 02:59:59 Sun +7200");
    assert_string_equal(show(z, 1729990800), "2024-10-27 02:00:00 Sun +3600");
    assert_string_equal(show(z, 2540289600), "2050-07-01 14:00:00 Fri +7200");
    assert_string_equal(show(z, 2556230400), "2051-01-02 01:00:00 Mon +3600");
    zone_free(z);
    z = zone("EST5EDT,M3.2.0,M11.1.0"); /* America/New_York */
    assert_string_equal(show(z, 1710053999), "2024-03-10 01:59:59 Sun -18000");
    assert_string_equal(show(z, 1710054000), "2024-03-10 03:00:00 Sun -14400");
    assert_string_equal(show(z, 1730613600), "2024-11-03 01:00:00 Sun -18000");
    zone_free(z);
}

TEST(summer_may_span_the_new_year)
{
    struct zone *z = zone("AEST-10AEDT,M10.1.0,M4.1.0/3"); /* Australia/Sydney */
    assert_string_equal(show(z, 1704067200), "2024-01-01 11:00:00 Mon +39600");
    assert_string_equal(show(z, 1712419199), "2024-04-07 02:59:59 Sun +39600");
    assert_string_equal(show(z, 1712419200), "2024-04-07 02:00:00 Sun +36000");
    assert_string_equal(show(z, 1728143999), "2024-10-06 01:59:59 Sun +36000");
    assert_string_equal(show(z, 1728144000), "2024-10-06 03:00:00 Sun +39600");
    zone_free(z);
}

TEST(offsets_may_be_odd)
{
    struct zone *z = zone("IST-5:30"); /* Asia/Kolkata */
    assert_string_equal(show(z, 0), "1970-01-01 05:30:00 Thu +19800");
    assert_int_equal(calendar_hour_of_week(z, 1800), 3 * 24 + 6);
    zone_free(z);
    z = zone("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"); /* Lord Howe: half an hour of summer */
    assert_string_equal(show(z, 1704067200), "2024-01-01 11:00:00 Mon +39600");
    assert_string_equal(show(z, 1719792000), "2024-07-01 10:30:00 Mon +37800");
    zone_free(z);
    z = zone("NST3:30NDT,M3.2.0,M11.1.0"); /* America/St_Johns */
    assert_string_equal(show(z, 1704067200), "2023-12-31 20:30:00 Sun -12600");
    zone_free(z);
    z = zone("IST-1GMT0,M10.5.0,M3.5.0/1"); /* Europe/Dublin: its "summer" is winter */
    assert_string_equal(show(z, 1704067200), "2024-01-01 00:00:00 Mon +0");
    assert_string_equal(show(z, 1719792000), "2024-07-01 01:00:00 Mon +3600");
    zone_free(z);
}

TEST(changes_may_lie_a_day_or_more_beside_their_date)
{
    struct zone *z = zone("<-02>2<-01>,M3.5.0/-1,M10.5.0/0"); /* America/Nuuk: Saturday, 22:00 */
    assert_string_equal(show(z, 1711846799), "2024-03-30 22:59:59 Sat -7200");
    assert_string_equal(show(z, 1711846800), "2024-03-31 00:00:00 Sun -3600");
    zone_free(z);
    z = zone("EET-2EEST,M3.4.4/50,M10.4.4/50"); /* Asia/Gaza: two days and two hours on */
    assert_string_equal(show(z, 1743206399), "2025-03-29 01:59:59 Sat +7200");
    assert_string_equal(show(z, 1743206400), "2025-03-29 03:00:00 Sat +10800");
    zone_free(z);
}

TEST(days_may_be_counted_through_the_year)
{
    struct zone *z = zone("AAA0BBB,J60/0,J305/0"); /* 1 March, leap year or not */
    assert_string_equal(show(z, 1709251199), "2024-02-29 23:59:59 Thu +0");
    assert_string_equal(show(z, 1709251200), "2024-03-01 01:00:00 Fri +3600");
    assert_string_equal(show(z, 1677628800), "2023-03-01 01:00:00 Wed +3600");
    zone_free(z);
    z = zone("AAA0BBB,59/0,304/0"); /* the 60th day: 29 February where there is one */
    assert_string_equal(show(z, 1709164800), "2024-02-29 01:00:00 Thu +3600");
    assert_string_equal(show(z, 1677628800), "2023-03-01 01:00:00 Wed +3600");
    zone_free(z);
}

TEST(summer_may_last_for_ever)
{
    struct zone *z = zone("EST5EDT,0/0,J365/25"); /* RFC 9636, section 3.3.1 */
    uint64_t seed = 8;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(zone_offset(z, (int64_t)(xorshift(&seed) % 4000000000)), -4 * 3600);
    assert_int_equal(zone_offset(z, 1704085200 - 1), -4 * 3600); /* around New Year */
    assert_int_equal(zone_offset(z, 1704085200), -4 * 3600);
    zone_free(z);
}

/* -- files -- */

TEST(a_file_of_version_1_ends_with_its_last_transition)
{
    struct bytes b = version_1(0);
    struct zone *z;
    assert_int_equal(parse(&z, &b), 0);
    assert_int_equal(zone_offset(z, -5000), 3600);
    assert_int_equal(zone_offset(z, 999), 3600);
    assert_int_equal(zone_offset(z, 1000), 7200);
    assert_int_equal(zone_offset(z, 1999), 7200);
    assert_int_equal(zone_offset(z, 2000), 3600);
    assert_int_equal(zone_offset(z, 4000000000), 3600);
    zone_free(z);
}

TEST(what_is_no_file_or_damaged_is_refused)
{
    static const char *const bad[] = {
        "CET",
        "CET-1CEST",
        "CE-1",
        "CET-25",
        "CET-1:60",
        "CET-1CEST,M3.5.0",
        "CET-1CEST,M13.5.0,M10.5.0",
        "CET-1x",
        "CET-1CEST,M3.6.0,M10.5.0",
        "<CET-1",
        "CET-1CEST,M3.5.7,M10.5.0",
        "CET-1CEST,J0,J100",
        "CET-1CEST,M3.5.0/168,M10.5.0",
        "CET-1CEST,366,1",
        "CET-1CEST,M3.5.0,M10.5.0x",
        "-1",
        "CET-1CEST,M3.5.0/,M10.5.0",
    };
    struct zone *z;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bytes b = slim(bad[i]);
        if (parse(&z, &b) == 0) fail_msg("taken: %s", bad[i]);
    }
    struct bytes whole[] = {slim("CET-1CEST,M3.5.0,M10.5.0/3"), version_1(0)};
    for (int k = 0; k < 2; k++) {
        for (size_t len = 0; len < whole[k].len; len++) {
            struct bytes cut = whole[k];
            cut.len = len;
            assert_int_equal(parse(&z, &cut), -EINVAL);
        }
    }
    struct bytes b = version_1(1); /* leap seconds */
    assert_int_equal(parse(&z, &b), -EINVAL);
    b = version_1(0);
    b.data[47] = b.data[51]; /* 44: the times; now both are one */
    b.data[46] = b.data[50];
    assert_int_equal(parse(&z, &b), -EINVAL);
    b = version_1(0);
    b.data[52] = 2; /* a type that is not there */
    assert_int_equal(parse(&z, &b), -EINVAL);
    b = slim("");
    assert_int_equal(parse(&z, &b), 0); /* no rule: the last type for ever */
    zone_free(z);
    zone_free(NULL);
}

/* -- against the C library -- */

static struct zone *system_zone(const char *name)
{
    static struct {
        uint8_t data[1 << 16];
    } file;
    char path[200];
    struct err e;
    struct zone *z = NULL;
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    FILE *f = fopen(path, "rb");
    if (f == NULL) return NULL;
    size_t n = fread(file.data, 1, sizeof file.data, f);
    fclose(f);
    assert_int_equal(zone_parse(&z, file.data, n, &e), 0);
    return z;
}

TEST(every_instant_is_what_localtime_says)
{
    static const char *const names[] = {
        "Europe/Berlin",     "Europe/Dublin",   "Europe/Lisbon",       "America/New_York",
        "America/Sao_Paulo", "America/Nuuk",    "America/St_Johns",    "Australia/Sydney",
        "Pacific/Chatham",   "Pacific/Apia",    "Australia/Lord_Howe", "Asia/Kathmandu",
        "Asia/Kolkata",      "Asia/Gaza",       "Asia/Tehran",         "Africa/Casablanca",
        "Africa/Cairo",      "Antarctica/Troll"};
    uint64_t seed = 9;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct zone *z = system_zone(names[i]);
        if (z == NULL) continue; /* a machine without tzdata */
        setenv("TZ", names[i], 1);
        tzset();
        for (int k = 0; k < 4000; k++) {
            time_t t = (time_t)(xorshift(&seed) % 6000000000) - 1500000000; /* 1922 to 2112 */
            struct tm tm;
            localtime_r(&t, &tm);
            struct calendar_time c = calendar_time(z, t);
            if (tm.tm_gmtoff != zone_offset(z, t)) fail_msg("%s at %lld", names[i], (long long)t);
            assert_true(c.year == tm.tm_year + 1900 && c.month == tm.tm_mon + 1 &&
                        c.day == tm.tm_mday && c.hour == tm.tm_hour && c.minute == tm.tm_min &&
                        c.second == tm.tm_sec && c.weekday == (tm.tm_wday + 6) % 7);
        }
        zone_free(z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(days_and_dates_are_what_counting_gives),
        CHECK(utc_needs_no_file),
        CHECK(an_hour_of_the_week_is_weekday_and_hour),
        CHECK(an_hour_is_missing_in_spring_and_twice_in_autumn),
        CHECK(summer_may_span_the_new_year),
        CHECK(offsets_may_be_odd),
        CHECK(changes_may_lie_a_day_or_more_beside_their_date),
        CHECK(days_may_be_counted_through_the_year),
        CHECK(summer_may_last_for_ever),
        CHECK(a_file_of_version_1_ends_with_its_last_transition),
        CHECK(what_is_no_file_or_damaged_is_refused),
        CHECK(every_instant_is_what_localtime_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
