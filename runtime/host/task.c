#include "host/task.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/err.h"
#include "base/memory.h"
#include "host/compat.h"
#include "host/state.h"
#include "loop/timer.h"

#define OP_TYPE "perigee.op"

/* The handle's userdata; its first user value is the coroutine. Anchored in the registry until it
 * has ended, so whatever waits may be pointed to. */
struct task {
    struct list link; /* in `ready` while READY */
    struct list all;  /* in `alive` until it has ended */
    struct tasks *tasks;
    lua_State *co;
    struct op *op; /* what a WAITING task waits for, or what made it READY */
    enum task_state state;
    bool started;
    int n_args; /* of a task that has not started, n_results of one that is done */
    int anchor;
    struct event ended;
    void (*done)(void *ud, struct task *t, const char *error);
    void *done_ud;
};

struct tasks {
    lua_State *L; /* the main thread */
    struct loop *loop;
    struct list ready, alive;
    size_t n_alive;
    void (*on_fault)(void *ud, const char *trace);
    void *on_fault_ud;
};

static lua_State *volatile running_thread;
static const char stray_yield_key; /* of the registry: what is raised then, made beforehand */

/* -- operations -- */

static void drop(struct op *op)
{
    void (*fn)(struct op *) = op->drop;
    op->drop = NULL;
    op->task = NULL;
    if (fn != NULL) fn(op);
}

static int l_drop_op(lua_State *L)
{
    drop(luaL_checkudata(L, 1, OP_TYPE));
    return 0;
}

void *op_new(lua_State *L, size_t size, int (*push)(lua_State *, struct op *),
             void (*drop_fn)(struct op *))
{
    struct op *op = lua_newuserdatauv(L, size, 1); /* op */
    memset(op, 0, size);
    luaL_setmetatable(L, OP_TYPE);
    op->push = push;
    op->drop = drop_fn;
    return op;
}

static void make_ready(struct task *t)
{
    t->state = TASK_READY;
    list_append(&t->tasks->ready, &t->link);
    loop_hurry(t->tasks->loop);
}

void op_finish(struct op *op)
{
    op->finished = true;
    if (op->task != NULL && op->task->state == TASK_WAITING) make_ready(op->task);
}

static int go_on(lua_State *L, int status, lua_KContext context)
{
    struct op *op = (struct op *)context;
    (void)status;
    op->task = NULL;
    int n = op->push(L, op);
    drop(op);
    return n;
}

int task_wait(lua_State *L, struct op *op)
{
    struct task *t = task_current(L);
    if (t == NULL)
        return luaL_error(L, "this call waits, and only a task can: not a coroutine of your own "
                             "(async.spawn makes a task)");
    if (!lua_isyieldable(L))
        return luaL_error(L, "this call waits, and cannot do so beneath a C function "
                             "(a comparison, a metamethod, require)");
    if (op->finished) return go_on(L, LUA_OK, (lua_KContext)op);
    op->task = t;
    t->op = op;
    t->state = TASK_WAITING;
    return lua_yieldk(L, 0, (lua_KContext)op, go_on);
}

/* -- events -- */

struct event_op {
    struct op op;
    struct list link; /* in the event's waiters */
    struct timer *timer;
    bool timed_out;
};

void event_init(struct event *e)
{
    list_init(&e->waiters);
    e->set = false;
}

void event_set(struct event *e)
{
    e->set = true;
    while (!list_empty(&e->waiters)) {
        struct event_op *o = LIST_ITEM(e->waiters.next, struct event_op, link);
        list_remove(&o->link);
        op_finish(&o->op);
    }
}

static int push_event(lua_State *L, struct op *op)
{
    lua_pushboolean(L, !((struct event_op *)op)->timed_out);
    return 1;
}

static void drop_event(struct op *op)
{
    struct event_op *o = (struct event_op *)op;
    list_remove(&o->link);
    timer_stop(o->timer);
}

static void on_timeout(void *ud)
{
    struct event_op *o = ud;
    o->timer = NULL;
    if (o->op.finished) return; /* set in the same turn: then it was in time */
    o->timed_out = true;
    list_remove(&o->link);
    op_finish(&o->op);
}

int event_wait(lua_State *L, struct event *e, double seconds)
{
    struct event_op *o = op_new(L, sizeof *o, push_event, drop_event);
    list_init(&o->link);
    if (e->set) {
        o->op.finished = true;
    } else {
        list_append(&e->waiters, &o->link);
        if (seconds >= 0)
            o->timer =
                timer_start(state_of(L)->host->loop, (int64_t)(seconds * 1000), on_timeout, o);
    }
    return task_wait(L, &o->op);
}

/* -- the life of a task -- */

struct task *task_current(lua_State *L) { return *(struct task **)lua_getextraspace(L); }
struct task *task_check(lua_State *L, int i) { return luaL_checkudata(L, i, TASK_TYPE); }
enum task_state task_state(const struct task *t) { return t->state; }
struct event *task_ended(struct task *t) { return &t->ended; }
lua_State *task_running_thread(void) { return running_thread; }

const char *task_state_name(const struct task *t)
{
    static const char *const names[] = {"ready", "running", "waiting",
                                        "done",  "faulted", "cancelled"};
    return names[t->state];
}

struct task *task_spawn(lua_State *L, int n)
{
    struct tasks *tasks = state_of(L)->tasks;
    struct task *t = lua_newuserdatauv(L, sizeof *t, 1); /* f … t */
    memset(t, 0, sizeof *t);
    t->tasks = tasks;
    t->state =
        TASK_CANCELLED; /* until it is anchored: a raised error must leave nothing half made */
    list_init(&t->link);
    list_init(&t->all);
    event_init(&t->ended);
    luaL_setmetatable(L, TASK_TYPE);
    lua_insert(L, -(n + 2));           /* t f … */
    t->co = lua_newthread(L);          /* t f … co */
    lua_setiuservalue(L, -(n + 3), 1); /* t f … */
    luaL_checkstack(t->co, n + 1, "too many arguments for a task");
    lua_xmove(L, t->co, n + 1); /* t */
    lua_pushvalue(L, -1);
    t->anchor = luaL_ref(L, LUA_REGISTRYINDEX); /* t */
    *(struct task **)lua_getextraspace(t->co) = t;
    t->n_args = n;
    list_append(&tasks->alive, &t->all);
    tasks->n_alive++;
    make_ready(t);
    return t;
}

void task_on_end(struct task *t, void (*done)(void *ud, struct task *t, const char *error),
                 void *ud)
{
    t->done = done;
    t->done_ud = ud;
}

static int l_describe(lua_State *L)
{
    lua_State *co = lua_touserdata(L, 1);
    lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    luaL_traceback(L, co, luaL_tolstring(L, -1, NULL), 0);
    return 1;
}

/* Pushes the message and traceback of what t has raised. */
static const char *push_trace(struct task *t)
{
    lua_State *L = t->tasks->L;
    lua_pushcfunction(L, l_describe);
    lua_pushlightuserdata(L, t->co);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) return lua_tostring(L, -1);
    lua_pop(L, 1);
    lua_pushliteral(L, "not enough memory");
    return lua_tostring(L, -1);
}

static void end(struct task *t, enum task_state state, const char *trace)
{
    struct tasks *tasks = t->tasks;
    t->state = state;
    list_remove(&t->all);
    tasks->n_alive--;
    bool awaited = t->done != NULL || !list_empty(&t->ended.waiters);
    event_set(&t->ended);
    if (t->done != NULL) t->done(t->done_ud, t, trace);
    if (state == TASK_FAULTED && !awaited && tasks->on_fault != NULL)
        tasks->on_fault(tasks->on_fault_ud, trace);
    luaL_unref(tasks->L, LUA_REGISTRYINDEX, t->anchor); /* from here on t may be collected */
}

static void go(struct task *t)
{
    lua_State *L = t->tasks->L, *before = running_thread;
    int n = t->started ? 0 : t->n_args, n_results = 0;
    t->started = true;
    t->state = TASK_RUNNING;
    t->op = NULL;
    running_thread = t->co;
    int rc = lua_resume(t->co, L, n, &n_results);
    running_thread = before;
    if (rc == LUA_YIELD && t->op != NULL) {
        if (t->op->finished && t->state == TASK_WAITING) make_ready(t);
        return;
    }
    if (rc == LUA_OK) {
        t->n_args = n_results;
        end(t, TASK_DONE, NULL);
        return;
    }
    if (rc == LUA_YIELD) lua_rawgetp(t->co, LUA_REGISTRYINDEX, &stray_yield_key);
    const char *trace = push_trace(t); /* … trace */
    compat_close_thread(t->co, L);     /* runs what is to be closed, keeps the error */
    end(t, TASK_FAULTED, trace);
    lua_pop(L, 1);
}

void task_cancel(struct task *t)
{
    if (t->state != TASK_READY && t->state != TASK_WAITING) return;
    list_remove(&t->link);
    if (t->op != NULL) drop(t->op);
    t->op = NULL;
    compat_close_thread(t->co, t->tasks->L);
    lua_settop(t->co, 0);
    t->n_args = 0;
    end(t, TASK_CANCELLED, NULL);
}

int task_push_results(struct task *t, lua_State *L)
{
    luaL_checkstack(L, t->n_args, "too many results");
    luaL_checkstack(t->co, t->n_args, "too many results");
    for (int i = 0; i < t->n_args; i++) lua_pushvalue(t->co, -t->n_args);
    lua_xmove(t->co, L, t->n_args);
    return t->n_args;
}

int task_exit_status(struct task *t)
{
    return t->n_args > 0 && lua_isinteger(t->co, -t->n_args) ? (int)lua_tointeger(t->co, -t->n_args)
                                                             : 0;
}

int task_raise(struct task *t, lua_State *L)
{
    lua_pushvalue(t->co, -1);
    lua_xmove(t->co, L, 1);
    return lua_error(L);
}

/* -- all tasks of a state -- */

/* What became ready before this turn; what becomes ready by it is for the next one, so that the
 * loop's events are never starved. */
static void turn(void *ud)
{
    struct tasks *tasks = ud;
    struct list batch;
    list_init(&batch);
    while (!list_empty(&tasks->ready)) {
        struct list *first = tasks->ready.next;
        list_remove(first);
        list_append(&batch, first);
    }
    while (!list_empty(&batch)) {
        struct task *t = LIST_ITEM(batch.next, struct task, link);
        list_remove(&t->link);
        go(t);
    }
}

struct tasks *tasks_new(lua_State *L, struct loop *loop)
{
    struct tasks *tasks = xcalloc(1, sizeof *tasks);
    tasks->L = L;
    tasks->loop = loop;
    list_init(&tasks->ready);
    list_init(&tasks->alive);
    loop_on_turn(loop, turn, tasks);
    return tasks;
}

void tasks_open(lua_State *L, struct tasks *tasks)
{
    (void)tasks;
    luaL_newmetatable(L, OP_TYPE); /* mt */
    lua_pushcfunction(L, l_drop_op);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    luaL_newmetatable(L, TASK_TYPE); /* mt mt; the binding adds its methods */
    lua_pop(L, 2);
    lua_pushliteral(L, "attempt to yield from outside a coroutine");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &stray_yield_key);
}

void tasks_cancel_all(struct tasks *tasks)
{
    /* What a cancelled task's __close spawns is cancelled too; a limit, should it go on for ever.
     */
    for (int i = 0; i < 100000 && !list_empty(&tasks->alive); i++)
        task_cancel(LIST_ITEM(tasks->alive.next, struct task, all));
}

void tasks_free(struct tasks *tasks)
{
    loop_off_turn(tasks->loop, turn, tasks);
    free(tasks);
}

size_t tasks_alive(const struct tasks *tasks) { return tasks->n_alive; }

void tasks_on_fault(struct tasks *tasks, void (*fn)(void *ud, const char *trace), void *ud)
{
    tasks->on_fault = fn;
    tasks->on_fault_ud = ud;
}
