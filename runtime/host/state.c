#include "host/state.h"

#include <errno.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lualib.h>

#include "base/memory.h"
#include "host/loader.h"
#include "host/task.h"

static const char key; /* of the registry: its address is the state's */

struct http_client *host_http(struct host *h)
{
    if (h->http == NULL) require(http_client_open(&h->http, h->loop) == 0);
    return h->http;
}

struct state *state_of(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    struct state *s = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return s;
}

static int l_open(lua_State *L)
{
    struct state *s = lua_touserdata(L, 1);
    const luaL_Reg *const *c_modules = lua_touserdata(L, 2);
    lua_pushlightuserdata(L, s);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    luaL_openlibs(L);
    loader_install(L, c_modules);
    tasks_open(L, s->tasks);
    return 0;
}

int state_open(struct state **out, struct host *host, const luaL_Reg *const *c_modules)
{
    struct state *s = xcalloc(1, sizeof *s);
    s->host = host;
    s->L = luaL_newstate();
    if (s->L == NULL) {
        free(s);
        return -ENOMEM;
    }
    s->tasks = tasks_new(s->L, host->loop);
    /* Threads made later copy this slot from the main thread: those that are no task hold NULL. */
    *(void **)lua_getextraspace(s->L) = NULL;
    lua_pushcfunction(s->L, l_open);
    lua_pushlightuserdata(s->L, s);
    lua_pushlightuserdata(s->L, (void *)(uintptr_t)c_modules);
    if (lua_pcall(s->L, 2, 0, 0) != LUA_OK) {
        state_close(s);
        return -ENOMEM;
    }
    *out = s;
    return 0;
}

void state_close(struct state *s)
{
    if (s == NULL) return;
    tasks_cancel_all(s->tasks);
    lua_close(s->L);
    tasks_free(s->tasks);
    free(s);
}

static int l_traceback(lua_State *L)
{
    const char *message = luaL_tolstring(L, 1, NULL);
    luaL_traceback(L, L, message, 1);
    return 1;
}

int state_call(struct state *s, int n, int n_results, struct err *e)
{
    lua_State *L = s->L;
    int handler = lua_gettop(L) - n; /* where the function is */
    lua_pushcfunction(L, l_traceback);
    lua_insert(L, handler);
    int rc = lua_pcall(L, n, n_results, handler);
    lua_remove(L, handler);
    if (rc == LUA_OK) return 0;
    const char *message = lua_tostring(L, -1);
    err_set(e, -EINVAL, "%s", message != NULL ? message : "not enough memory");
    lua_pop(L, 1);
    return -EINVAL;
}
