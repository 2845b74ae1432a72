/* The Lua module perigee.task: tasks, events, waiting. Its face is async.lua. */
#include "bindings/bind.h"
#include "bindings/modules.h"
#include "host/state.h"
#include "host/task.h"
#include "loop/timer.h"

#define EVENT_TYPE "perigee.event"

static int l_spawn(lua_State *L) /* spawn(f, …) -> task */
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    task_spawn(L, lua_gettop(L) - 1);
    return 1;
}

static int l_current(lua_State *L) /* current() -> boolean: may this code wait? */
{
    lua_pushboolean(L, task_current(L) != NULL && lua_isyieldable(L));
    return 1;
}

/* -- sleep -- */

struct sleep_op {
    struct op op;
    struct timer *timer;
};

static int push_nothing(lua_State *L, struct op *op)
{
    (void)L;
    (void)op;
    return 0;
}

static void drop_sleep(struct op *op) { timer_stop(((struct sleep_op *)op)->timer); }

static void on_awake(void *ud)
{
    struct sleep_op *o = ud;
    o->timer = NULL;
    op_finish(&o->op);
}

static int l_sleep(lua_State *L) /* sleep(seconds): at least a turn of the loop */
{
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 1, "seconds between 0 and 1e9 expected");
    struct sleep_op *o = op_new(L, sizeof *o, push_nothing, drop_sleep);
    o->timer = timer_start(state_of(L)->host->loop, (int64_t)(seconds * 1000 + 0.5), on_awake, o);
    return task_wait(L, &o->op);
}

/* -- task handles -- */

static int push_outcome(lua_State *L, int status, lua_KContext context)
{
    struct task *t = task_check(L, 1);
    (void)status;
    (void)context;
    if (!lua_toboolean(L, -1)) {
        lua_pushnil(L);
        lua_pushliteral(L, "timeout");
        return 2;
    }
    switch (task_state(t)) {
    case TASK_DONE: return task_push_results(t, L);
    case TASK_FAULTED: return task_raise(t, L);
    default:
        lua_pushnil(L);
        lua_pushliteral(L, "cancelled");
        return 2;
    }
}

static int l_wait_ended(lua_State *L)
{
    return event_wait(L, task_ended(task_check(L, 1)), luaL_checknumber(L, 2));
}

/* task:await([seconds]) -> its results | nil, "timeout" | nil, "cancelled"; raises what it raised
 */
static int l_await(lua_State *L)
{
    struct task *t = task_check(L, 1);
    lua_Number seconds = luaL_optnumber(L, 2, -1);
    luaL_argcheck(L, t != task_current(L), 1, "a task cannot await itself");
    lua_settop(L, 1);
    lua_pushcfunction(L, l_wait_ended);
    lua_pushvalue(L, 1);
    lua_pushnumber(L, seconds);
    lua_callk(L, 2, 1, 0, push_outcome); /* t in_time */
    return push_outcome(L, LUA_OK, 0);
}

static int l_cancel(lua_State *L) /* task:cancel(): does nothing once it has ended */
{
    struct task *t = task_check(L, 1);
    luaL_argcheck(L, t != task_current(L), 1, "a task cannot cancel itself");
    task_cancel(t);
    return 0;
}

static int l_state(lua_State *L) /* task:state() -> "ready", "waiting", "done", … */
{
    lua_pushstring(L, task_state_name(task_check(L, 1)));
    return 1;
}

/* -- events -- */

static int l_event(lua_State *L) /* event() -> event */
{
    struct event *e = lua_newuserdatauv(L, sizeof *e, 0);
    event_init(e);
    luaL_setmetatable(L, EVENT_TYPE);
    return 1;
}

static int l_set(lua_State *L) /* event:set(): who waits goes on, and who waits later at once */
{
    event_set(luaL_checkudata(L, 1, EVENT_TYPE));
    return 0;
}

static int l_clear(lua_State *L) /* event:clear(): from now on it is waited for again */
{
    ((struct event *)luaL_checkudata(L, 1, EVENT_TYPE))->set = false;
    return 0;
}

static int l_wait(lua_State *L) /* event:wait([seconds]) -> true, or false when time is up */
{
    return event_wait(L, luaL_checkudata(L, 1, EVENT_TYPE), luaL_optnumber(L, 2, -1));
}

int luaopen_perigee_task(lua_State *L)
{
    static const luaL_Reg task_methods[] = {
        {"await", l_await}, {"cancel", l_cancel}, {"state", l_state}, {NULL, NULL}};
    static const luaL_Reg event_methods[] = {
        {"set", l_set}, {"clear", l_clear}, {"wait", l_wait}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"spawn", l_spawn},
                                         {"current", l_current},
                                         {"sleep", l_sleep},
                                         {"event", l_event},
                                         {NULL, NULL}};
    luaL_getmetatable(L, TASK_TYPE); /* mt, made by the host */
    lua_newtable(L);
    luaL_setfuncs(L, task_methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    bind_type(L, EVENT_TYPE, event_methods, NULL);
    luaL_newlib(L, functions);
    return 1;
}
