#include "app/generation.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "app/daemon_module.h"
#include "base/log.h"
#include "base/memory.h"
#include "bindings/exchange.h"
#include "host/task.h"

/* -- lines -- */

void lines_add(struct lines *l, const char *text)
{
    l->line = xrealloc(l->line, l->n + 1, sizeof *l->line);
    l->line[l->n++] = xstrdup(text);
}

void lines_copy(struct lines *to, const struct lines *from)
{
    lines_free(to);
    for (size_t i = 0; i < from->n; i++) lines_add(to, from->line[i]);
}

void lines_free(struct lines *l)
{
    for (size_t i = 0; i < l->n; i++) free(l->line[i]);
    free(l->line);
    *l = (struct lines){0};
}

/* -- building -- */

/* The strings of the array at index i, added to *l. */
static void read_lines(lua_State *L, int i, struct lines *l)
{
    lua_Integer n = lua_istable(L, i) ? (lua_Integer)lua_rawlen(L, i) : 0;
    for (lua_Integer k = 1; k <= n; k++) {
        lua_rawgeti(L, i, k);
        if (lua_type(L, -1) == LUA_TSTRING) lines_add(l, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

static int l_keep(lua_State *L) /* generation lightuserdata, the table */
{
    struct generation *g = lua_touserdata(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "digest");
    snprintf(g->digest, sizeof g->digest, "%s", luaL_checkstring(L, -1));
    lua_getfield(L, 2, "handle");
    luaL_checktype(L, -1, LUA_TFUNCTION);
    g->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, 2);
    g->object = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* Takes the task's results: the generation, or nil, what is wrong, and of which kind. */
static const char *take_results(struct generation *g, struct task *t, struct lines *problems)
{
    lua_State *L = g->state->L;
    struct err e;
    int top = lua_gettop(L), n = task_push_results(t, L);
    const char *kind = "internal";
    if (n > 0 && lua_istable(L, top + 1)) {
        lua_settop(L, top + 1);
        lua_pushcfunction(L, l_keep);
        lua_insert(L, top + 1);
        lua_pushlightuserdata(L, g);
        lua_insert(L, top + 2);
        if (state_call(g->state, 2, 0, &e) == 0) return NULL;
        lines_add(problems, e.text);
    } else if (n >= 3) {
        static const char *const kinds[] = {"config", "rules", "start", "unchanged"};
        read_lines(L, top + 2, problems);
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (lua_isstring(L, top + 3) && strcmp(kinds[i], lua_tostring(L, top + 3)) == 0)
                kind = kinds[i];
    }
    lua_settop(L, top);
    return kind;
}

static void on_end(void *ud, struct task *t, const char *error)
{
    struct generation *g = ud;
    struct lines problems = {0};
    const char *kind = "internal";
    if (error != NULL)
        lines_add(&problems, error);
    else
        kind = take_results(g, t, &problems);
    if (g->built != NULL) g->built(g->ud, g, kind, &problems);
    lines_free(&problems);
}

static int l_build(lua_State *L) /* generation, path, digest or nil */
{
    struct generation *g = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "engine.generation");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "build");
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    task_on_end(task_spawn(L, 2), on_end, g);
    return 0;
}

static void on_fault(void *ud, const char *trace)
{
    (void)ud;
    log_write(LOG_ERROR, "a task failed",
              (const struct log_field[]){{"error", trace}, {NULL, NULL}});
}

int generation_build(struct generation **out, struct host *host, const char *path,
                     const char *active_digest,
                     void (*built)(void *ud, struct generation *g, const char *kind,
                                   const struct lines *problems),
                     void *ud, struct err *e)
{
    struct generation *g = xcalloc(1, sizeof *g);
    list_init(&g->link);
    g->object = g->handler = LUA_NOREF;
    g->built = built;
    g->ud = ud;
    int rc = state_open(&g->state, host, app_modules);
    if (rc < 0) {
        free(g);
        return err_set(e, rc, "not enough memory for a new generation");
    }
    tasks_on_fault(g->state->tasks, on_fault, NULL);
    lua_State *L = g->state->L;
    lua_pushcfunction(L, l_build);
    lua_pushlightuserdata(L, g);
    lua_pushstring(L, path);
    lua_pushstring(L, active_digest);
    rc = state_call(g->state, 3, 0, e);
    if (rc < 0) {
        generation_close(g);
        return rc;
    }
    *out = g;
    return 0;
}

/* -- its life -- */

/* method's object is below the n arguments' place: calls object:method(argument). */
static int call(struct generation *g, const char *method, void (*push)(lua_State *, const void *),
                const void *argument, struct err *e)
{
    lua_State *L = g->state->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, g->object); /* object */
    if (lua_getfield(L, -1, method) != LUA_TFUNCTION) {
        lua_pop(L, 2);
        return err_set(e, -EINVAL, "a generation has no %s", method);
    }
    lua_insert(L, -2); /* method object */
    push(L, argument);
    return state_call(g->state, 2, 0, e);
}

static void push_text(lua_State *L, const void *text) { lua_pushstring(L, text); }
static void push_boolean(lua_State *L, const void *b) { lua_pushboolean(L, *(const bool *)b); }

int generation_call(struct generation *g, const char *method, const char *text, struct err *e)
{
    return call(g, method, push_text, text, e);
}

int generation_activate(struct generation *g, bool first, struct err *e)
{
    return call(g, "activate", push_boolean, &first, e);
}

void generation_handle(struct generation *g, struct http_exchange *x)
{
    exchange_dispatch(g->state, g->handler, x);
}

bool generation_is_idle(const struct generation *g) { return tasks_alive(g->state->tasks) == 0; }

void generation_close(struct generation *g)
{
    if (g == NULL) return;
    g->built = NULL; /* a build that is cancelled tells nobody */
    list_remove(&g->link);
    state_close(g->state);
    free(g);
    malloc_trim(
        0); /* thousands of small pieces: glibc would keep them, and the process look leaky */
}
