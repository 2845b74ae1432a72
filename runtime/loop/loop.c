#include "loop/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/memory.h"

struct turn {
    loop_turn_fn *fn; /* NULL: free */
    void *ud;
};

struct signal_watch {
    uv_signal_t uv;
    loop_signal_fn *fn;
    void *ud;
};

struct loop {
    uv_loop_t uv;
    uv_prepare_t before_wait;
    uv_check_t after_wait;
    uv_idle_t busy; /* active while there is a hurry: then the loop does not wait */
    struct turn *turns;
    size_t n_hooks, turns_capacity;
    bool hurry;
    const bool *stop;
    atomic_uint_fast64_t n_turns;
    atomic_bool waiting;
};

static void on_busy(uv_idle_t *idle) { (void)idle; }

/* True when a hook has left more to do. */
static bool run_turn(struct loop *l)
{
    l->hurry = false;
    for (size_t i = 0; i < l->n_hooks; i++) /* a hook may add hooks, and take any away */
        if (l->turns[i].fn != NULL) l->turns[i].fn(l->turns[i].ud);
    return l->hurry;
}

static void on_before_wait(uv_prepare_t *prepare)
{
    struct loop *l = prepare->data;
    if (run_turn(l))
        uv_idle_start(&l->busy, on_busy);
    else
        uv_idle_stop(&l->busy);
    if (l->stop != NULL && *l->stop) uv_stop(&l->uv);
    l->waiting = true;
}

static void on_after_wait(uv_check_t *check)
{
    struct loop *l = check->data;
    l->waiting = false;
    l->n_turns++;
}

int loop_open(struct loop **out)
{
    struct loop *l = xcalloc(1, sizeof *l);
    int rc = uv_loop_init(&l->uv);
    if (rc < 0) {
        free(l);
        return rc;
    }
    l->uv.data = l;
    uv_prepare_init(&l->uv, &l->before_wait);
    uv_check_init(&l->uv, &l->after_wait);
    uv_idle_init(&l->uv, &l->busy);
    l->before_wait.data = l->after_wait.data = l;
    uv_prepare_start(&l->before_wait, on_before_wait);
    uv_check_start(&l->after_wait, on_after_wait);
    /* They serve the loop; they are no reason for it to go on. */
    uv_unref((uv_handle_t *)&l->before_wait);
    uv_unref((uv_handle_t *)&l->after_wait);
    *out = l;
    return 0;
}

static void free_signal(uv_handle_t *h) { free(h->data); }

static void close_leftover(uv_handle_t *h, void *ud)
{
    (void)ud;
    if (uv_is_closing(h)) return;
    /* A child that was abandoned has been killed: its end, which is near, closes its handle. Nobody
     * else would wait for it, nor free what belongs to it. */
    if (h->type == UV_PROCESS && uv_is_active(h)) return;
    uv_close(h, h->type == UV_SIGNAL ? free_signal : NULL);
}

void loop_close(struct loop *l)
{
    if (l == NULL) return;
    uv_walk(&l->uv, close_leftover, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    require(uv_loop_close(&l->uv) == 0);
    free(l->turns);
    free(l);
}

uv_loop_t *loop_uv(struct loop *l) { return &l->uv; }

void loop_run(struct loop *l, const bool *stop)
{
    const bool *outer = l->stop;
    l->stop = stop;
    while (!(stop != NULL && *stop)) {
        /* Signals are unreferenced: with nothing else to wait for, a run ends by itself, but what
         * the last callbacks left to do has not had its turn yet. */
        uv_run(&l->uv, UV_RUN_DEFAULT);
        if (stop != NULL && *stop) break;
        if (!run_turn(l) && !uv_loop_alive(&l->uv)) break;
    }
    l->waiting = false;
    l->stop = outer;
}

void loop_on_turn(struct loop *l, loop_turn_fn *fn, void *ud)
{
    size_t i = 0;
    while (i < l->n_hooks && l->turns[i].fn != NULL) i++;
    if (i == l->n_hooks) {
        require(array_reserve((void **)&l->turns, &l->turns_capacity, i + 1, sizeof *l->turns));
        l->n_hooks++;
    }
    l->turns[i] = (struct turn){fn, ud};
}

void loop_off_turn(struct loop *l, loop_turn_fn *fn, void *ud)
{
    for (size_t i = 0; i < l->n_hooks; i++)
        if (l->turns[i].fn == fn && l->turns[i].ud == ud) l->turns[i].fn = NULL;
}

void loop_hurry(struct loop *l) { l->hurry = true; }

const atomic_uint_fast64_t *loop_turns(const struct loop *l) { return &l->n_turns; }
const atomic_bool *loop_is_waiting(const struct loop *l) { return &l->waiting; }

static void on_signal(uv_signal_t *uv, int signum)
{
    struct signal_watch *w = uv->data;
    w->fn(w->ud, signum);
}

int loop_on_signal(struct loop *l, int signum, loop_signal_fn *fn, void *ud)
{
    struct signal_watch *w = xcalloc(1, sizeof *w);
    w->fn = fn;
    w->ud = ud;
    int rc = uv_signal_init(&l->uv, &w->uv);
    if (rc < 0) {
        free(w);
        return rc;
    }
    w->uv.data = w;
    rc = uv_signal_start(&w->uv, on_signal, signum);
    uv_unref((uv_handle_t *)&w->uv);
    return rc; /* a failed one is freed with the loop */
}
