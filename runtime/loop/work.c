#include "loop/work.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/memory.h"

struct work {
    uv_work_t uv;
    atomic_bool cancel;
    work_run_fn *run;
    work_done_fn *done;
    void *data;
};

/* The loop comes first: a computation on every processor must not make its timers late. On Linux
 * the value belongs to the thread, and threads that it starts inherit it. */
static void step_back(void)
{
    static _Thread_local bool stepped_back;
    if (!stepped_back) (void)setpriority(PRIO_PROCESS, (id_t)gettid(), 10); /* lower is allowed */
    stepped_back = true;
}

static void on_thread(uv_work_t *uv)
{
    struct work *w = uv->data;
    step_back();
    if (!w->cancel) w->run(w->data, &w->cancel);
}

static void on_loop(uv_work_t *uv, int status)
{
    struct work *w = uv->data;
    (void)status; /* UV_ECANCELED only after work_cancel(), which the flag tells too */
    w->done(w->data, w->cancel);
    free(w);
}

struct work *work_start(struct loop *l, work_run_fn *run, work_done_fn *done, void *data)
{
    struct work *w = xcalloc(1, sizeof *w);
    w->run = run;
    w->done = done;
    w->data = data;
    w->uv.data = w;
    require(uv_queue_work(loop_uv(l), &w->uv, on_thread, on_loop) == 0);
    return w;
}

void work_cancel(struct work *w)
{
    w->cancel = true;
    (void)uv_cancel((uv_req_t *)&w->uv); /* fails where it has begun: then the flag ends it */
}
