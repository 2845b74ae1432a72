/* work.h - a function on a worker thread, while the loop goes on. */
#ifndef LOOP_WORK_H
#define LOOP_WORK_H

#include "loop/loop.h"

struct work;

/* run(data, cancel) is called on a thread: it touches only data, and returns early (with anything)
 * once *cancel is true. Then done(data, cancelled) is called on the loop, always, exactly once. */
typedef void work_run_fn(void *data, const atomic_bool *cancel);
typedef void work_done_fn(void *data, bool cancelled);

struct work *work_start(struct loop *l, work_run_fn *run, work_done_fn *done, void *data);
/* Asks it to end soon; done() still comes. Valid until then. */
void work_cancel(struct work *w);

#endif
