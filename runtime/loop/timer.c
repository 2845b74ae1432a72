#include "loop/timer.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/memory.h"

struct timer {
    uv_timer_t uv;
    struct list link; /* in `pending`, while the clock is virtual */
    bool is_virtual;
    int64_t due; /* virtual only */
    void (*fn)(void *ud);
    void *ud;
};

/* Virtual time is the process's, like the clock, so its timers are too. In order of due time. */
static struct list pending = {&pending, &pending};

static void free_timer(uv_handle_t *h) { free(h->data); }

static void close_timer(struct timer *t)
{
    list_remove(&t->link);
    if (t->is_virtual)
        free(t);
    else
        uv_close((uv_handle_t *)&t->uv, free_timer);
}

static void on_due(uv_timer_t *uv)
{
    struct timer *t = uv->data;
    void (*fn)(void *) = t->fn;
    void *ud = t->ud;
    close_timer(t);
    fn(ud);
}

struct timer *timer_start(struct loop *l, int64_t ms, void (*fn)(void *ud), void *ud)
{
    struct timer *t = xcalloc(1, sizeof *t);
    t->fn = fn;
    t->ud = ud;
    t->is_virtual = clock_is_virtual();
    list_init(&t->link);
    if (ms < 0) ms = 0;
    if (t->is_virtual) {
        t->due = clock_monotonic_ms() + ms;
        struct list *at = pending.prev; /* behind the last that is due no later */
        while (at != &pending && LIST_ITEM(at, struct timer, link)->due > t->due) at = at->prev;
        list_append(at->next, &t->link);
        return t;
    }
    uv_timer_init(loop_uv(l), &t->uv);
    t->uv.data = t;
    uv_update_time(loop_uv(l)); /* or a long turn would make the wait shorter than asked for */
    require(uv_timer_start(&t->uv, on_due, (uint64_t)ms, 0) == 0);
    return t;
}

void timer_stop(struct timer *t)
{
    if (t != NULL) close_timer(t);
}

void timer_advance(struct loop *l, int64_t ms)
{
    (void)l;
    int64_t until = clock_wall_ms() + ms;
    while (!list_empty(&pending)) {
        struct timer *t = LIST_ITEM(pending.next, struct timer, link);
        if (t->due > until) break;
        if (t->due > clock_wall_ms()) clock_move_to(t->due);
        void (*fn)(void *) = t->fn;
        void *arg = t->ud;
        close_timer(t);
        fn(arg);
    }
    clock_move_to(until);
}
