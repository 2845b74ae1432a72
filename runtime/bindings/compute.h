/* compute.h - what takes long, on a thread, while the task that asked for it waits.
 *
 * A binding makes a job, fills it with C memory of its own (matrices by matrix_share()), and ends
 * with compute_start(). Where nobody can wait (a script's own coroutine, a comparison beneath
 * table.sort) it runs at once instead. */
#ifndef BINDINGS_COMPUTE_H
#define BINDINGS_COMPUTE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#include "base/err.h"

struct compute; /* begins every job */

struct compute_kind {
    size_t size; /* of a job */
    /* On the thread: touches only the job, and ends soon once *cancel is true. 0, or -errno with
     * job->err, its words. */
    int (*run)(struct compute *job, const atomic_bool *cancel);
    int (*push)(lua_State *L, struct compute *job); /* after 0: the results, and their number */
    void (*drop)(struct compute *job);              /* frees what the job owns, not the job */
};

struct compute {
    const struct compute_kind *kind;
    int rc;
    struct err err;
    struct compute_op *waiter; /* NULL once nobody waits */
};

/* A zeroed job, whose box is pushed: whatever raises from here on, drop is called once. */
void *compute_new(lua_State *L, const struct compute_kind *kind);
/* `return compute_start(L, job, at_once);` with the box still on the stack. at_once: it is so short
 * that a thread is not worth its while. Results: those of push, or nil and the words of err (raises
 * for -ENOMEM). */
int compute_start(lua_State *L, void *job, bool at_once);

#endif
