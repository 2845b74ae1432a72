/* sweep.h - a script run in a task again and again, with one more allocation granted each time,
 * until none fails: Lua's allocations in one sweep, those of C in another.
 *
 * C's are what grows with outside input: array_reserve(), which all texts stand on, is made to fail
 * here for every object of the program; a test adds the allocators of the libraries it needs. What
 * xcalloc() and its kin give is never refused: without it the process ends, as memory.h tells. */
#ifndef TESTS_C_BINDINGS_SWEEP_H
#define TESTS_C_BINDINGS_SWEEP_H

#include "tests/c/heap.h"

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/log.h"
#include "bindings/bind.h"
#include "host/state.h"
#include "host/task.h"

/* -- C's allocations -- */

static _Thread_local long sweep_left = -1; /* that are granted; < 0: all, and on other threads */

static size_t sweep_least; /* bytes: arrays that are smaller are granted */

static inline bool sweep_fails(void)
{
    return sweep_left == 0 || (sweep_left > 0 && sweep_left-- == 0);
}
static inline void *sweep_malloc(size_t n) { return sweep_fails() ? NULL : malloc(n); }
static inline void *sweep_calloc(size_t n, size_t size)
{
    return sweep_fails() ? NULL : calloc(n, size);
}
static inline void *sweep_realloc(void *p, size_t n)
{
    return sweep_fails() ? NULL : realloc(p, n);
}
static inline char *sweep_strdup(const char *s) { return sweep_fails() ? NULL : strdup(s); }

#include "base/memory.h"
#define array_reserve granted_array_reserve
static bool granted_array_reserve(void **items, size_t *capacity, size_t n, size_t size);
#include "runtime/base/memory.c"
#undef array_reserve
bool array_reserve(void **items, size_t *capacity, size_t n, size_t size)
{
    bool fails = n * size >= sweep_least && sweep_fails();
    return !fails && granted_array_reserve(items, capacity, n, size);
}

/* -- one run -- */

enum { SWEEP_ALL = -1 }; /* allocations granted */

struct sweep {
    struct host host;
    struct state *state;
    struct test_heap heap;
    long c_left;
    bool ended;
    char error[512]; /* of the script; "" when it was done */
};

static inline void sweep_on_end(void *ud, struct task *t, const char *error)
{
    struct sweep *s = ud;
    (void)t;
    s->ended = true;
    sweep_left = SWEEP_ALL;
    if (error != NULL) snprintf(s->error, sizeof s->error, "%s", error);
}

/* arm(): what the script calls once it has prepared what it needs; C's allocations count from here
 * on. */
static inline int sweep_l_arm(lua_State *L)
{
    struct sweep *s = lua_touserdata(L, lua_upvalueindex(1));
    sweep_left = s->c_left;
    return 0;
}

static inline int sweep_l_start(lua_State *L) /* sweep, script */
{
    task_on_end(task_spawn(L, 0), sweep_on_end, lua_touserdata(L, 1));
    return 0;
}

/* A state that the script is loaded into, and whose memory is counted from here on. */
static inline void sweep_open(struct sweep *s, const char *script)
{
    static const luaL_Reg *const modules[] = {bind_modules, NULL};
    log_setup(LOG_OFF, false);
    assert_int_equal(loop_open(&s->host.loop), 0);
    assert_int_equal(state_open(&s->state, &s->host, modules), 0);
    lua_State *L = s->state->L;
    lua_pushlightuserdata(L, s);
    lua_pushcclosure(L, sweep_l_arm, 1);
    lua_setglobal(L, "arm");
    lua_pushcfunction(L, sweep_l_start);
    lua_pushlightuserdata(L, s);
    if (luaL_loadstring(L, script) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
    s->heap.used = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
    lua_setallocf(L, test_heap_alloc, &s->heap);
}

static inline void sweep_close(struct sweep *s)
{
    state_close(s->state);
    http_client_close(s->host.http);
    loop_close(s->host.loop);
    assert_int_equal(s->heap.used, 0);
}

/* Runs the script with so many allocations granted. True when that was enough; else it has failed
 * for want of memory and for nothing else. What Lua allocated is counted, and the leak sanitizer
 * answers for C. */
static inline bool sweep_run(const char *script, long lua_left, long c_left)
{
    struct sweep s = {.heap = {0, SWEEP_ALL}, .c_left = c_left};
    sweep_open(&s, script);
    s.heap.left = lua_left;
    int rc = lua_pcall(s.state->L, 2, 0, 0);
    if (rc == LUA_OK) loop_run(s.host.loop, &s.ended);
    bool ended = s.ended; /* else it waits for what will never come */
    sweep_close(&s);
    if (rc == LUA_ERRMEM) return false;
    assert_true(ended);
    if (s.error[0] != '\0' && strstr(s.error, "memory") == NULL) fail_msg("%s", s.error);
    return s.error[0] == '\0';
}

/* -- sweeps -- */

/* Every allocation of Lua's fails, or with c those of C from the script's arm() on: there must be
 * `least` of them. No file may stay open. */
static inline void sweep(const char *script, bool c, long least)
{
    assert_true(sweep_run(script, SWEEP_ALL, SWEEP_ALL)); /* what is opened once for all is, now */
    int files = test_open_files();
    long k = 0;
    while (!sweep_run(script, c ? SWEEP_ALL : k, c ? k : SWEEP_ALL)) k++;
    if (getenv("V") != NULL) print_message("%ld allocations\n", k);
    if (k < least) fail_msg("only %ld allocations", k);
    assert_int_equal(test_open_files(), files);
}
static inline void sweep_lua(const char *script, long least) { sweep(script, false, least); }
static inline void sweep_c(const char *script, long least) { sweep(script, true, least); }

#endif
