#include "app/daemon_module.h"

#include <string.h>

#include "app/daemon.h"
#include "app/generation.h"
#include "app/process_metrics.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/regex.h"
#include "bindings/bind.h"
#include "bindings/store.h"
#include "host/loader.h"
#include "host/task.h"
#include "net/websocket_frames.h"

static struct daemon *daemon_of(lua_State *L)
{
    struct daemon *d = state_of(L)->host->daemon;
    if (d == NULL) luaL_error(L, "there is no daemon in this process");
    return d;
}

static void push_lines(lua_State *L, const struct lines *l)
{
    lua_createtable(L, (int)l->n, 0);
    for (size_t i = 0; i < l->n; i++) {
        lua_pushstring(L, l->line[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* -- run -- */

struct run_op {
    struct op op;
    struct host *host;
    bool started;
    int status;
    struct lines problems;
};

static int push_run(lua_State *L, struct op *op)
{
    struct run_op *o = (struct run_op *)op;
    lua_pushinteger(L, o->status);
    push_lines(L, &o->problems);
    return 2;
}

static void drop_run(struct op *op)
{
    struct run_op *o = (struct run_op *)op;
    /* A command that is cancelled while its daemon runs: nobody is left to be told. */
    if (o->started && !o->op.finished && o->host->daemon != NULL) daemon_stop(o->host->daemon);
    lines_free(&o->problems);
}

static void on_done(void *ud, int status, const struct lines *problems)
{
    struct run_op *o = ud;
    o->status = status;
    lines_copy(&o->problems, problems);
    op_finish(&o->op);
}

/* run(config path) -> exit status, problems: serves until SIGTERM. Waits. */
static int l_run(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct host *host = state_of(L)->host;
    struct err e = {0};
    struct run_op *o = op_new(L, sizeof *o, push_run, drop_run);
    o->host = host;
    if (daemon_start(host, path, on_done, o, &e) < 0) return bind_error(L, &e);
    o->started = true;
    return task_wait(L, &o->op);
}

/* -- for generations -- */

/* prepare{data_dir=, host=, port=, slack_host=, slack_port=, max_body=, max_connections=, drain=}
 * -> store | nil, message */
static int l_prepare(lua_State *L)
{
    struct daemon *d = daemon_of(L);
    struct daemon_needs needs = {
        .data_dir = bind_opt_string(L, 1, "data_dir", "."),
        .host = bind_opt_string(L, 1, "host", "127.0.0.1"),
        .port = (int)bind_opt_integer(L, 1, "port", 0),
        .slack_host = bind_opt_string(L, 1, "slack_host", NULL),
        .slack_port = (int)bind_opt_integer(L, 1, "slack_port", 0),
        .max_body = (size_t)bind_opt_integer(L, 1, "max_body", 1 << 20),
        .max_connections = (unsigned)bind_opt_integer(L, 1, "max_connections", 200),
        .drain_ms = (int64_t)(bind_opt_number(L, 1, "drain", 30) * 1000),
    };
    struct store *s = NULL;
    struct err e = {0};
    if (daemon_prepare(d, &needs, &s, &e) < 0) return bind_error(L, &e);
    store_bind(L);
    store_push(L, s);
    return 1;
}

struct reload_op {
    struct op op;
    struct daemon_waiter *waiter; /* NULL once told */
    bool ok;
    struct lines said;
};

static int push_reload(lua_State *L, struct op *op)
{
    struct reload_op *o = (struct reload_op *)op;
    lua_pushboolean(L, o->ok);
    push_lines(L, &o->said);
    return 2;
}

static void drop_reload(struct op *op)
{
    struct reload_op *o = (struct reload_op *)op;
    daemon_forget(o->waiter);
    o->waiter = NULL;
    lines_free(&o->said);
}

static void on_reloaded(void *ud, bool ok, const struct lines *said)
{
    struct reload_op *o = ud;
    o->waiter = NULL;
    o->ok = ok;
    lines_copy(&o->said, said);
    op_finish(&o->op);
}

static int l_reload(lua_State *L) /* reload() -> ok, lines that were said. Waits. */
{
    struct daemon *d = daemon_of(L);
    struct reload_op *o = op_new(L, sizeof *o, push_reload, drop_reload);
    o->waiter = daemon_reload(d, on_reloaded, o);
    return task_wait(L, &o->op);
}

static int l_process(lua_State *L) /* process() -> an id of this process */
{
    lua_pushstring(L, daemon_process(daemon_of(L)));
    return 1;
}

static int l_started_at(lua_State *L) /* started_at() -> Unix seconds */
{
    lua_pushnumber(L, daemon_started_at(daemon_of(L)));
    return 1;
}

static int l_last_reload(lua_State *L) /* last_reload() -> {outcome=, at=, problems=} */
{
    double at;
    const struct lines *problems;
    const char *outcome = daemon_last_reload(daemon_of(L), &at, &problems);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, outcome);
    lua_setfield(L, -2, "outcome");
    lua_pushnumber(L, at);
    lua_setfield(L, -2, "at");
    push_lines(L, problems);
    lua_setfield(L, -2, "problems");
    return 1;
}

static int l_measure(lua_State *L) /* measure(): the process's own gauges are drawn anew */
{
    process_metrics_update(daemon_started_at(daemon_of(L)));
    return 0;
}

static int l_version(lua_State *L) /* version() -> of the program */
{
    lua_pushliteral(L, PERIGEE_VERSION);
    return 1;
}

static void version(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static int l_libraries(lua_State *L) /* libraries() -> versions by name, as they are loaded */
{
    lua_newtable(L);
    version(L, "Lua", LUA_VERSION_MAJOR "." LUA_VERSION_MINOR "." LUA_VERSION_RELEASE);
    version(L, "libuv", uv_version_string());
    version(L, "libcurl", http_client_library());
    version(L, "libmicrohttpd", http_server_library());
    version(L, "wslay", websocket_frames_library());
    version(L, "SQLite", store_library());
    version(L, "cJSON", cJSON_Version());
    version(L, "OpenSSL", hash_library());
    char pcre2[REGEX_LIBRARY];
    regex_library(pcre2);
    version(L, "PCRE2", pcre2);
    return 1;
}

static int open_daemon(lua_State *L)
{
    static const luaL_Reg functions[] = {{"run", l_run},
                                         {"prepare", l_prepare},
                                         {"reload", l_reload},
                                         {"process", l_process},
                                         {"started_at", l_started_at},
                                         {"last_reload", l_last_reload},
                                         {"measure", l_measure},
                                         {"version", l_version},
                                         {"libraries", l_libraries},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

/* -- files in the program -- */

static int l_get(lua_State *L) /* get(path) -> bytes | nil */
{
    const struct embedded *f = embedded_find(luaL_checkstring(L, 1));
    if (f == NULL) return 0;
    lua_pushlstring(L, (const char *)f->data, f->size);
    return 1;
}

static int l_list(lua_State *L) /* list(prefix) -> paths that begin with it */
{
    size_t len;
    const char *prefix = luaL_checklstring(L, 1, &len);
    lua_Integer n = 0;
    lua_newtable(L);
    for (const struct embedded *f = embedded_files; f->name != NULL; f++) {
        if (strncmp(f->name, prefix, len) != 0) continue;
        lua_pushstring(L, f->name);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int open_embedded(lua_State *L)
{
    static const luaL_Reg functions[] = {{"get", l_get}, {"list", l_list}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

static const luaL_Reg own_modules[] = {
    {"perigee.daemon", open_daemon}, {"perigee.embedded", open_embedded}, {NULL, NULL}};
const luaL_Reg *const app_modules[] = {bind_modules, own_modules, NULL};
