/* The bindings of the kernels, with every allocation failing once: Lua's in turn, and C's own in
 * matrix.c, which is compiled into this test with an allocator that fails when told to. */
#include "tests/c/test.h"

#include <errno.h>
#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

static long c_left = -1; /* of matrix.c's allocations; < 0: none fails */

static bool c_fails(void) { return c_left == 0 || (c_left > 0 && c_left-- == 0); }
static void *c_malloc(size_t n) { return c_fails() ? NULL : malloc(n); }
static void *c_calloc(size_t n, size_t size) { return c_fails() ? NULL : calloc(n, size); }
static void *c_realloc(void *p, size_t n) { return c_fails() ? NULL : realloc(p, n); }

#include "base/memory.h"
static bool c_reserve(void **items, size_t *capacity, size_t n, size_t size)
{
    return !c_fails() && array_reserve(items, capacity, n, size);
}

#define malloc c_malloc
#define calloc c_calloc
#define realloc c_realloc
#define array_reserve c_reserve
#include "runtime/kernels/matrix.c"
#undef malloc
#undef calloc
#undef realloc
#undef array_reserve

#include "bindings/modules.h"
#include "host/state.h"
#include "host/task.h"

static const char ecdf_script[] =
    "local m = ... local e <close> = m.fit{3, 0/0, 1, false, 2}\n"
    "assert(e:mad() == 1 and e:quantile(0.5) == 2 and e:rank(2) == 2/3 and not m.fit{})";
static const char moments_script[] =
    "local m = ... local a, b = m.of{1, 0/0, 2}, m.new() b:add_all{3} b:add(4) b:merge(a)\n"
    "assert(m.new(b:state()):variance() == b:variance() and b:count() == 4)";
static const char calendar_script[] =
    "local c = ... local z <close> = c.zone 'UTC' local b = c.zone 'Europe/Berlin'\n"
    "assert(c.time(0, z).year == 1970 and not c.zone '..' and not c.zone 'zone.tab')\n"
    "if b then assert(c.hour_of_week(0, b) == 73) end";
static const char matrix_script[] =
    "local m = ... local a = m.from_rows({{1, 2}, {3, 0/0}}, {'a', 'b'})\n"
    "local b = m.from_columns({{1, 2}, {3, 4}}, {'c', 'd'})\n"
    "assert(a:select{'b', 1}:slice(1, 1):get(1, 'b') == 2 and #b.names == b.columns)\n"
    "assert(#b:to_rows() == b.rows and b:column 'd'[2] == 4)";

/* Runs script on the module; LUA_OK once nothing failed. Nothing may be left behind. */
static int run_once(lua_CFunction opener, const char *script, long lua_left, long k)
{
    struct test_heap h = {0, -1};
    lua_State *L = lua_newstate(test_heap_alloc, &h);
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    assert_int_equal(luaL_loadstring(L, script), LUA_OK);
    lua_pushcfunction(L, opener);
    h.left = lua_left;
    c_left = k;
    int rc = lua_pcall(L, 0, 1, 0);
    if (rc == LUA_OK) rc = lua_pcall(L, 1, 0, 0);
    c_left = -1;
    if (rc != LUA_OK) assert_non_null(strstr(lua_tostring(L, -1), "not enough memory"));
    lua_close(L);
    assert_int_equal(h.used, 0); /* and the leak sanitizer answers for what C allocated */
    return rc;
}

TEST(every_failed_allocation_of_lua_is_survived)
{
    const struct {
        lua_CFunction opener;
        const char *script;
    } all[] = {{luaopen_perigee_ecdf, ecdf_script},
               {luaopen_perigee_moments, moments_script},
               {luaopen_perigee_calendar, calendar_script},
               {luaopen_perigee_matrix, matrix_script}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        long k = 0;
        while (run_once(all[i].opener, all[i].script, k, -1) != LUA_OK) k++;
        assert_true(k > 10);
    }
}

TEST(every_failed_allocation_of_a_matrix_is_survived)
{
    long k = 0;
    while (run_once(luaopen_perigee_matrix, matrix_script, -1, k) != LUA_OK) k++;
    assert_true(k > 20);
}

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
            c_left = k;
            rc = matrix_from_csv(&m, csv, strlen(csv), &how, NULL, &e);
            bool failed = c_left == 0;
            c_left = -1;
            assert_true(rc == 0 || (rc == -ENOMEM && e.code == rc && m == NULL));
            assert_true(rc == 0 || failed);
            matrix_free(m);
        }
    }
}

/* -- read_csv, which waits -- */

struct run {
    bool stop;
    enum task_state state;
};

static void on_end(void *ud, struct task *t, const char *error)
{
    struct run *run = ud;
    (void)error;
    run->stop = true;
    run->state = task_state(t);
}

static int l_start(lua_State *L) /* (run, chunk, path) */
{
    luaL_requiref(L, "perigee.matrix", luaopen_perigee_matrix, 0); /* … m */
    lua_pushvalue(L, 2);                                           /* … m chunk */
    lua_insert(L, -2);                                             /* … chunk m */
    lua_pushvalue(L, 3);                                           /* … chunk m path */
    task_on_end(task_spawn(L, 2), on_end, lua_touserdata(L, 1));
    return 0;
}

/* Starts `chunk(module, path)` in a task of a new state whose allocator obeys h. */
static int start(struct state **s, struct host *host, struct test_heap *h, struct run *run,
                 const char *path)
{
    static const luaL_Reg *const none[] = {NULL};
    assert_int_equal(loop_open(&host->loop), 0);
    assert_int_equal(state_open(s, host, none), 0);
    lua_State *L = (*s)->L;
    lua_pushcfunction(L, l_start);
    lua_pushlightuserdata(L, run);
    assert_int_equal(luaL_loadstring(L, "local m, path = ...\n"
                                        "local x = assert(m.read_csv(path, {'b'}, ','))\n"
                                        "assert(x:get(1, 1) == 2)"),
                     LUA_OK);
    lua_pushstring(L, path);
    long left = h->left;
    h->left = -1;
    lua_setallocf(L, test_heap_alloc, h);
    h->left = left;
    return lua_pcall(L, 3, 0, 0);
}

static void write_csv(const char *path, int rows)
{
    FILE *f = fopen(path, "w");
    fputs("a,b\n", f);
    for (int i = 0; i < rows; i++) fputs("1,2\n", f);
    fclose(f);
}

TEST(read_csv_survives_every_failed_allocation)
{
    char folder[64], path[100];
    snprintf(path, sizeof path, "%s/x.csv", test_folder(folder));
    write_csv(path, 3);
    bool done = false;
    for (long k = 0; !done; k++) {
        struct test_heap h = {0, k};
        struct host host = {0};
        struct run run = {0};
        struct state *s;
        int rc = start(&s, &host, &h, &run, path);
        assert_true(rc == LUA_OK || rc == LUA_ERRMEM);
        if (rc == LUA_OK) {
            loop_run(host.loop, &run.stop);
            assert_true(run.stop);
            done = run.state == TASK_DONE;
            assert_true(done || run.state == TASK_FAULTED);
        }
        state_close(s);
        loop_close(host.loop);
    }
    test_remove(folder);
}

TEST(a_state_may_be_closed_while_a_thread_reads)
{
    char folder[64], path[100];
    snprintf(path, sizeof path, "%s/x.csv", test_folder(folder));
    write_csv(path, 200000);
    for (int turns = 0; turns < 4; turns++) {
        struct test_heap h = {0, -1};
        struct host host = {0};
        struct run run = {0};
        struct state *s;
        assert_int_equal(start(&s, &host, &h, &run, path), LUA_OK);
        for (int i = 0; i < turns; i++) uv_run(loop_uv(host.loop), UV_RUN_NOWAIT);
        run.stop = true;
        loop_run(host.loop, &run.stop); /* one turn: the task starts */
        usleep((unsigned)turns * 500);
        state_close(s);
        loop_close(host.loop);
    }
    test_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(every_failed_allocation_of_lua_is_survived),
        CHECK(every_failed_allocation_of_a_matrix_is_survived),
        CHECK(every_failed_allocation_while_reading_csv_is_survived),
        CHECK(read_csv_survives_every_failed_allocation),
        CHECK(a_state_may_be_closed_while_a_thread_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
