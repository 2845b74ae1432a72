/* state.h - a trusted Lua state, for the engine of a generation or for a script: all libraries, all
 * modules, tasks. What it may use of the process is handed to it and outlives it. */
#ifndef HOST_STATE_H
#define HOST_STATE_H

#include <lauxlib.h>
#include <lua.h>

#include "base/err.h"
#include "loop/loop.h"
#include "net/http_client.h"

struct tasks;

/* What the process has, shared by its states. */
struct host {
    struct loop *loop;
    struct http_client *http; /* NULL until first asked for: host_http() */
    void *daemon;             /* app/daemon.h's, for an engine; NULL for scripts */
};

struct http_client *host_http(struct host *h);

struct state {
    lua_State *L; /* the main thread: only for calls that do not wait */
    struct host *host;
    struct tasks *tasks;
};

/* c_modules: tables of "perigee.…" openers, NULL behind the last. 0 or -ENOMEM. */
int state_open(struct state **out, struct host *host, const luaL_Reg *const *c_modules);
/* Cancels its tasks and frees everything. NULL is fine. */
void state_close(struct state *s);

/* The state that L, or any thread of it, belongs to. */
struct state *state_of(lua_State *L);

/* Calls the function below its n arguments on the main thread, with a traceback in the error. 0
 * with n_results on the stack, or -EINVAL with e and nothing left. */
int state_call(struct state *s, int n, int n_results, struct err *e);

#endif
