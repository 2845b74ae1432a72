/* heap.h - an allocator for Lua states that fails when told to, and a sweep with it. */
#ifndef TESTS_C_HEAP_H
#define TESTS_C_HEAP_H

#include <lua.h>

#include "tests/c/test.h"

/* A Lua allocator that fails from the left-th growing allocation on: run a script with left = 0, 1,
 * 2, … until it succeeds, and every allocation has failed once. */
struct test_heap {
    size_t used;
    long left; /* < 0: none fails */
};

static inline void *test_heap_alloc(void *ud, void *p, size_t old, size_t new)
{
    struct test_heap *h = ud;
    if (p == NULL) old = 0; /* then it is a type tag, not a size */
    if (new > old && h->left == 0) return NULL;
    if (new > old && h->left > 0) h->left--;
    h->used += new - old;
    if (new > 0) return realloc(p, new);
    free(p);
    return NULL;
}

/* Runs f in a new state once for each allocation that it makes, and that one fails: f ends, by an
 * error of memory or well, and with its state all memory is given back. */
static inline void test_heap_sweep(lua_CFunction f)
{
    int rc = LUA_ERRMEM;
    for (long left = 0; rc != LUA_OK; left++) {
        struct test_heap heap = {0, -1};
        lua_State *L = lua_newstate(test_heap_alloc, &heap);
        assert_non_null(L);
        heap.left = left;
        lua_pushcfunction(L, f);
        rc = lua_pcall(L, 0, 0, 0);
        if (rc != LUA_OK && rc != LUA_ERRMEM) fail_msg("%s", lua_tostring(L, -1));
        lua_close(L);
        assert_int_equal(heap.used, 0);
    }
}

#endif
