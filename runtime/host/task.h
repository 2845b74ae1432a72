/* task.h - coroutines that wait without blocking the loop.
 *
 * A task is ready, running or waiting on one operation, until it is done, faulted or cancelled. The
 * loop's callbacks never resume a task: they mark its operation finished, and the loop's next turn
 * goes on with it. Danger: a script's own coroutine is no task and cannot wait; nor can a task
 * beneath a C function without a continuation (a sort's comparison, a metamethod called from C). */
#ifndef HOST_TASK_H
#define HOST_TASK_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#include "base/list.h"
#include "loop/loop.h"

struct task;
struct tasks; /* those of one state */

/* -- for bindings: operations that are waited for -- */

/* Begins the box of every operation, a userdata made by op_new(). The box owns what it needs until
 * drop; what belongs to the loop meanwhile (a handle, a transfer) is let go of by drop. */
struct op {
    struct task *task; /* who waits; NULL while nobody does */
    bool finished;
    /* Pushes the results on the waiter's stack and tells their number. May raise. */
    int (*push)(lua_State *L, struct op *op);
    /* Ends what is under way, or frees what has come of it. Called once: after push, when the task
     * is cancelled, or when the box is collected. */
    void (*drop)(struct op *op);
};

/* Pushes a zeroed box of that size, whose first member is a struct op. */
void *op_new(lua_State *L, size_t size, int (*push)(lua_State *, struct op *),
             void (*drop)(struct op *));
/* From the loop: what was waited for is there. */
void op_finish(struct op *op);
/* `return task_wait(L, op);` is the only way to wait. The box must lie on the stack of L. Raises
 * where it is not called from a task. */
int task_wait(lua_State *L, struct op *op);

/* -- for the host -- */

struct tasks *tasks_new(lua_State *L, struct loop *loop);
void tasks_open(lua_State *L, struct tasks *t); /* metatables; may raise for memory */
void tasks_cancel_all(struct tasks *t);
void tasks_free(struct tasks *t); /* after the state is closed */
size_t tasks_alive(const struct tasks *t);

/* Called when a task faults and no other task awaits it. */
void tasks_on_fault(struct tasks *t, void (*fn)(void *ud, const char *trace), void *ud);

/* Pops a function and its n arguments from L and pushes the task's handle; it starts with the next
 * turn. done (NULL: none) is called once when the task has ended; error is NULL unless it faulted.
 * May raise for memory. */
struct task *task_spawn(lua_State *L, int n);
void task_on_end(struct task *t, void (*done)(void *ud, struct task *t, const char *error),
                 void *ud);
/* The task whose code L runs, or NULL. */
struct task *task_current(lua_State *L);
/* The results of a task that is done, pushed on L from its own stack; their number. */
int task_push_results(struct task *t, lua_State *L);
/* What a process that ran only this task ends with: its first result if that is an integer, else 0.
 */
int task_exit_status(struct task *t);
/* Raises on L what a task that is faulted has raised. */
int task_raise(struct task *t, lua_State *L);
void task_cancel(struct task *t);

enum task_state { TASK_READY, TASK_RUNNING, TASK_WAITING, TASK_DONE, TASK_FAULTED, TASK_CANCELLED };
enum task_state task_state(const struct task *t);
const char *task_state_name(const struct task *t);

/* Methods of task handles and events, for the binding: await, cancel, state; wait, set. */
struct task *task_check(lua_State *L, int i);
#define TASK_TYPE "perigee.task"

/* What a task, an event or a script waits on until it is set. Waiters are resumed in order. */
struct event {
    struct list waiters;
    bool set;
};
void event_init(struct event *e);
void event_set(struct event *e);
/* Waits until it is set, or for seconds (< 0: without end). Pushes true, or false when time is up.
 */
int event_wait(lua_State *L, struct event *e, double seconds);
struct event *task_ended(struct task *t); /* set when the task has ended */

/* Where the task that runs now is, for a watchdog: the innermost Lua line, or "".
 * Async-signal-unsafe but only reads. */
lua_State *task_running_thread(void);

#endif
