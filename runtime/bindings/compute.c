#include "bindings/compute.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "bindings/bind.h"
#include "host/state.h"
#include "host/task.h"
#include "loop/work.h"

struct compute_op {
    struct op op;
    struct compute *job; /* the thread's while there is work, else the box's */
    struct work *work;   /* NULL unless under way */
};

static void free_job(struct compute *job)
{
    job->kind->drop(job);
    free(job);
}

static void drop(struct op *op)
{
    struct compute_op *o = (struct compute_op *)op;
    if (o->work != NULL) {
        o->job->waiter = NULL; /* whoever is told of the end frees it */
        work_cancel(o->work);
    } else {
        free_job(o->job);
    }
}

static int push(lua_State *L, struct op *op)
{
    struct compute *job = ((struct compute_op *)op)->job;
    if (job->rc == 0) return job->kind->push(L, job);
    if (job->rc == -ENOMEM) return luaL_error(L, "not enough memory");
    return bind_error(L, &job->err);
}

static void run(void *data, const atomic_bool *cancel)
{
    struct compute *job = data;
    job->rc = job->kind->run(job, cancel);
}

static void on_done(void *data, bool cancelled)
{
    struct compute *job = data;
    (void)cancelled;
    if (job->waiter == NULL) {
        free_job(job);
        return;
    }
    job->waiter->work = NULL;
    op_finish(&job->waiter->op);
}

void *compute_new(lua_State *L, const struct compute_kind *kind)
{
    struct compute_op *o = op_new(L, sizeof *o, push, drop); /* … op */
    o->job = xcalloc(1, kind->size);
    o->job->kind = kind;
    o->job->waiter = o;
    return o->job;
}

int compute_start(lua_State *L, void *data, bool at_once)
{
    struct compute *job = data;
    struct compute_op *o = job->waiter;
    if (at_once || task_current(L) == NULL || !lua_isyieldable(L)) {
        static const atomic_bool never = false;
        run(job, &never);
        int n = push(L, &o->op); /* if it raises, the box frees the job */
        o->op.drop = NULL;
        free_job(job);
        return n;
    }
    o->work = work_start(state_of(L)->host->loop, run, on_done, job);
    return task_wait(L, &o->op);
}
