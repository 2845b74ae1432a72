/* The bindings of the kernels, with every allocation failing once: Lua's in turn, and those of the
 * kernels, which are compiled into this test with an allocator that fails when told to. */
#include "tests/c/bindings/sweep.h"

#include <errno.h>

#define malloc sweep_malloc
#define calloc sweep_calloc
#define realloc sweep_realloc
#include "runtime/kernels/calendar.c"
#include "runtime/kernels/matrix.c"
#include "runtime/kernels/measures.c"
#include "runtime/kernels/series.c"
#undef malloc
#undef calloc
#undef realloc

TEST(ecdf_survives_lua_without_memory) /* C allocates nothing: it is fitted in Lua's memory */
{
    sweep_lua("local m = require 'perigee.ecdf' local e <close> = m.fit{3, 0/0, 1, false, 2}\n"
              "assert(e:mad() == 1 and e:quantile(0.5) == 2 and e:rank(2) == 2/3 and not m.fit{})",
              10);
}

TEST(moments_survive_lua_without_memory)
{
    sweep_lua("local m = require 'perigee.moments'\n"
              "local a, b = m.of{1, 0/0, 2}, m.new() b:add_all{3} b:add(4) b:merge(a)\n"
              "assert(m.new(b:state()):variance() == b:variance() and b:count() == 4)",
              10);
}

static const char calendar[] =
    "local c = require 'perigee.calendar' arm()\n"
    "local z <close> = c.zone 'UTC' local b = c.zone 'Europe/Berlin'\n"
    "assert(c.time(0, z).year == 1970 and not c.zone '..' and not c.zone 'zone.tab')\n"
    "if b then assert(c.hour_of_week(0, b) == 73) end";
TEST(calendar_survives_lua_without_memory) { sweep_lua(calendar, 10); }
TEST(calendar_survives_c_without_memory) { sweep_c(calendar, 1); }

static const char matrix[] =
    "local m = require 'perigee.matrix' arm()\n"
    "local a = m.from_rows({{1, 2}, {3, 0/0}}, {'a', 'b'})\n"
    "local b = m.from_columns({{1, 2}, {3, 4}}, {'c', 'd'})\n"
    "assert(a:select{'b', 1}:slice(1, 1):get(1, 'b') == 2 and #b.names == b.columns)\n"
    "assert(b:pick{2, 1, 2}.rows == 3 and #b:to_rows() == b.rows and b:column 'd'[2] == 4)";
TEST(matrix_survives_lua_without_memory) { sweep_lua(matrix, 10); }
TEST(matrix_survives_c_without_memory) { sweep_c(matrix, 20); }

static const char measures[] =
    "local m = require 'perigee.measures' arm()\n"
    "local r = m.of({0, 1, false}, {0.2, 0.7, 1})\n"
    "assert(r:auc() == 1 and #r:bins(2, 'count') == 2 and r:at(0.5).true_positives == 1)\n"
    "assert(m.by_episodes({1, 2, 3}, {1, 1, 1}, 9, 1) < 1 and m.episodes({1}, nil, nil, 0) == 1)";
TEST(measures_survive_lua_without_memory) { sweep_lua(measures, 10); }
TEST(measures_survive_c_without_memory) { sweep_c(measures, 2); }

TEST(every_failed_allocation_while_reading_csv_is_survived)
{
    static const char csv[] = "a,b,\"c\"\"\"\n1,2,3\n4,5,6\n";
    char b[] = "b", *wanted[] = {b};
    for (size_t n = 0; n <= 1; n++) {
        struct matrix_csv how = {',', n, wanted};
        int rc = -ENOMEM;
        for (long k = 0; rc != 0; k++) {
            struct matrix *m = NULL;
            struct err e = {0};
            sweep_left = k;
            rc = matrix_from_csv(&m, csv, strlen(csv), &how, NULL, &e);
            bool failed = sweep_left == 0;
            sweep_left = -1;
            assert_true(rc == 0 || (rc == -ENOMEM && e.code == rc && m == NULL));
            assert_true(rc == 0 || failed);
            matrix_free(m);
        }
    }
}

TEST(every_failed_allocation_while_reading_a_series_is_survived)
{
    static const char csv[] = "ts,y\n3,1\n1,2\n2,3\n";
    int rc = -ENOMEM;
    for (long k = 0; rc != 0; k++) {
        struct series s;
        struct err e = {0};
        sweep_left = k;
        rc = series_from_csv(&s, csv, strlen(csv), NULL, &e);
        bool failed = sweep_left == 0;
        sweep_left = -1;
        assert_true(rc == 0 || (rc == -ENOMEM && e.code == rc && s.samples == NULL && failed));
        series_free(&s);
    }
}

/* -- read_csv, which waits -- */

static const char read_csv[] = "local m = require 'perigee.matrix'\n"
                               "local x = assert(m.read_csv(os.getenv 'CSV', {'b'}, ','))\n"
                               "assert(x:get(1, 1) == 2)";

static void write_csv(const char *folder, int rows)
{
    char path[100];
    snprintf(path, sizeof path, "%s/x.csv", folder);
    setenv("CSV", path, 1);
    FILE *f = fopen(path, "w");
    fputs("a,b\n", f);
    for (int i = 0; i < rows; i++) fputs("1,2\n", f);
    fclose(f);
}

TEST(read_csv_survives_lua_without_memory)
{
    char folder[64];
    write_csv(test_folder(folder), 3);
    sweep_lua(read_csv, 20);
    test_remove(folder);
}

TEST(series_survive_lua_without_memory)
{
    char folder[64];
    write_csv(test_folder(folder), 3);
    sweep_lua("local m = require 'perigee.series_file'\n"
              "local none, message = m.read_csv(os.getenv 'CSV')\n"
              "assert(not none and message:find ':1:1: ' and m.time '1970-01-02' == 86400)",
              5);
    test_remove(folder);
}

TEST(a_state_may_be_closed_while_a_thread_reads)
{
    char folder[64];
    write_csv(test_folder(folder), 200000);
    for (int turns = 0; turns < 4; turns++) {
        struct sweep s = {.heap = {0, SWEEP_ALL}, .c_left = SWEEP_ALL};
        sweep_open(&s, read_csv);
        assert_int_equal(lua_pcall(s.state->L, 2, 0, 0), LUA_OK);
        for (int i = 0; i < turns; i++) uv_run(loop_uv(s.host.loop), UV_RUN_NOWAIT);
        usleep((unsigned)turns * 500);
        sweep_close(&s);
    }
    test_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(ecdf_survives_lua_without_memory),
        CHECK(moments_survive_lua_without_memory),
        CHECK(calendar_survives_lua_without_memory),
        CHECK(calendar_survives_c_without_memory),
        CHECK(matrix_survives_lua_without_memory),
        CHECK(matrix_survives_c_without_memory),
        CHECK(measures_survive_lua_without_memory),
        CHECK(measures_survive_c_without_memory),
        CHECK(every_failed_allocation_while_reading_csv_is_survived),
        CHECK(every_failed_allocation_while_reading_a_series_is_survived),
        CHECK(read_csv_survives_lua_without_memory),
        CHECK(series_survive_lua_without_memory),
        CHECK(a_state_may_be_closed_while_a_thread_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
