/* The Lua module perigee.process: child processes. */
#include "loop/process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/bind.h"
#include "bindings/modules.h"
#include "host/state.h"
#include "host/task.h"

#define TYPE "perigee.process"

struct box {
    struct process *p; /* NULL once it has ended */
    int pid;
    struct event ended;
    int status;
    bool truncated;
    struct text out, err;
};

static void on_done(void *ud, struct process_result *r)
{
    struct box *b = ud;
    b->p = NULL;
    b->status = r->status;
    b->truncated = r->truncated;
    b->out = r->out; /* the text moves over */
    b->err = r->err;
    r->out = r->err = (struct text){0};
    event_set(&b->ended);
}

static int l_close(lua_State *L) /* a child that nobody can wait for any more is ended */
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    if (b->p != NULL) process_abandon(b->p);
    b->p = NULL;
    text_free(&b->out);
    text_free(&b->err);
    return 0;
}

/* A NULL-ended array of the strings of the table at index i, in a userdata that is pushed. The
 * strings live as long as the table. */
static char **strings(lua_State *L, int i)
{
    size_t n = lua_rawlen(L, i);
    char **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0); /* list */
    for (size_t k = 0; k < n; k++) {
        if (lua_rawgeti(L, i, (lua_Integer)k + 1) != LUA_TSTRING)
            luaL_error(L, "item %d is a %s; expected a string", (int)k + 1, luaL_typename(L, -1));
        list[k] = (char *)(uintptr_t)lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    list[n] = NULL;
    return list;
}

/* Our environment with the names and values of the table at index i put in or replaced, as
 * strings() gives one; pushed. */
static char **environment_with(lua_State *L, int i)
{
    lua_newtable(L); /* all */
    int all = lua_gettop(L);
    for (char **e = environ; *e != NULL; e++) {
        lua_pushlstring(L, *e, strcspn(*e, "="));
        lua_pushstring(L, *e);
        lua_settable(L, all);
    }
    for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) { /* all name value */
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "add_env holds names and texts");
        lua_pushvalue(L, -2);
        lua_pushfstring(L, "%s=%s", lua_tostring(L, -3), lua_tostring(L, -2));
        lua_settable(L, all);
    }
    lua_newtable(L); /* all list: keeps the strings, which strings() takes in this form */
    lua_Integer n = 0;
    for (lua_pushnil(L); lua_next(L, all); lua_pop(L, 1)) { /* all list name line */
        lua_pushvalue(L, -1);
        lua_rawseti(L, all + 1, ++n);
    }
    return strings(L, all + 1);
}

/* start({program, argument…, cwd=, env={"A=b"…} or add_env={A="b"…}, output=file, input=bytes,
 * limit=bytes}) -> process | nil, message. Without env the child has ours; limit is 16 MiB of
 * output. */
static int l_start(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct process_options o = {.cwd = bind_opt_string(L, 1, "cwd", NULL),
                                .output_file = bind_opt_string(L, 1, "output", NULL),
                                .limit = (size_t)bind_opt_integer(L, 1, "limit", 16 << 20)};
    o.argv = strings(L, 1); /* options argv */
    luaL_argcheck(L, o.argv[0] != NULL, 1, "the program's name is missing");
    if (lua_getfield(L, 1, "env") == LUA_TTABLE) o.env = strings(L, lua_gettop(L));
    if (lua_getfield(L, 1, "add_env") == LUA_TTABLE) o.env = environment_with(L, lua_gettop(L));
    if (lua_getfield(L, 1, "input") == LUA_TSTRING) o.input = lua_tolstring(L, -1, &o.input_len);
    struct err e = {0};
    struct box *b = lua_newuserdatauv(L, sizeof *b, 0); /* … box */
    memset(b, 0, sizeof *b);
    event_init(&b->ended);
    luaL_setmetatable(L, TYPE);
    if (process_start(state_of(L)->host->loop, &o, on_done, b, &b->p, &e) < 0)
        return bind_error(L, &e);
    b->pid = process_pid(b->p);
    return 1;
}

static int push_result(lua_State *L, int status, lua_KContext context)
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    (void)status;
    (void)context;
    if (!lua_toboolean(L, -1)) {
        lua_pushnil(L);
        lua_pushliteral(L, "timeout");
        return 2;
    }
    lua_pushinteger(L, b->status);
    lua_pushlstring(L, b->out.data != NULL ? b->out.data : "", b->out.len);
    lua_pushlstring(L, b->err.data != NULL ? b->err.data : "", b->err.len);
    lua_pushboolean(L, b->truncated);
    return 4;
}

static int l_wait_ended(lua_State *L)
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    return event_wait(L, &b->ended, luaL_checknumber(L, 2));
}

/* process:wait([seconds]) -> exit status (128 + signal), stdout, stderr, truncated | nil, "timeout"
 */
static int l_wait(lua_State *L)
{
    luaL_checkudata(L, 1, TYPE);
    lua_Number seconds = luaL_optnumber(L, 2, -1);
    lua_settop(L, 1);
    lua_pushcfunction(L, l_wait_ended);
    lua_pushvalue(L, 1);
    lua_pushnumber(L, seconds);
    lua_callk(L, 2, 1, 0, push_result);
    return push_result(L, LUA_OK, 0);
}

static int l_kill(lua_State *L) /* process:kill([signal = 15]) -> boolean: was it still there? */
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    int signum = (int)luaL_optinteger(L, 2, SIGTERM);
    lua_pushboolean(L, b->p != NULL && process_kill(b->p, signum) == 0);
    return 1;
}

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, ((struct box *)luaL_checkudata(L, 1, TYPE))->pid);
    return 1;
}

static int l_running(lua_State *L)
{
    lua_pushboolean(L, ((struct box *)luaL_checkudata(L, 1, TYPE))->p != NULL);
    return 1;
}

int luaopen_perigee_process(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"wait", l_wait}, {"kill", l_kill}, {"pid", l_pid}, {"running", l_running}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"start", l_start}, {NULL, NULL}};
    bind_type(L, TYPE, methods, l_close);
    luaL_newlib(L, functions);
    return 1;
}
