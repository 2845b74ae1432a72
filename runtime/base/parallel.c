#include "base/parallel.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"

enum { MOST_THREADS = 64 };

struct worker {
    struct parallel *team;
    pthread_t thread;
    unsigned number;
};

struct parallel {
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    unsigned long round; /* under lock: counts the calls of parallel_for() */
    unsigned busy;       /* under lock: workers that are not through with this round */
    bool closing;
    parallel_fn *fn; /* of this round; read without the lock once the round has begun */
    void *ud;
    size_t n, piece;
    atomic_size_t next;
    unsigned threads; /* the caller among them */
    struct worker workers[MOST_THREADS];
};

static void take_pieces(struct parallel *p, unsigned worker)
{
    for (;;) {
        size_t first = atomic_fetch_add_explicit(&p->next, p->piece, memory_order_relaxed);
        if (first >= p->n) return;
        size_t last = p->n - first > p->piece ? first + p->piece : p->n;
        p->fn(p->ud, first, last, worker);
    }
}

static void *on_thread(void *ud)
{
    struct worker *w = ud;
    struct parallel *p = w->team;
    unsigned long seen = 0;
    require(pthread_mutex_lock(&p->lock) == 0);
    for (;;) {
        while (p->round == seen && !p->closing) pthread_cond_wait(&p->begin, &p->lock);
        if (p->closing) break;
        seen = p->round;
        require(pthread_mutex_unlock(&p->lock) == 0);
        take_pieces(p, w->number);
        require(pthread_mutex_lock(&p->lock) == 0);
        if (--p->busy == 0) pthread_cond_signal(&p->end);
    }
    require(pthread_mutex_unlock(&p->lock) == 0);
    return NULL;
}

int parallel_open(struct parallel **out, unsigned threads)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (threads == 0) threads = processors > 0 ? (unsigned)processors : 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    struct parallel *p = calloc(1, sizeof *p);
    if (p == NULL) return -ENOMEM;
    require(pthread_mutex_init(&p->lock, NULL) == 0);
    require(pthread_cond_init(&p->begin, NULL) == 0);
    require(pthread_cond_init(&p->end, NULL) == 0);
    p->threads = 1;
    while (p->threads < threads) {
        struct worker *w = &p->workers[p->threads];
        w->team = p;
        w->number = p->threads;
        if (pthread_create(&w->thread, NULL, on_thread, w) != 0) break;
        p->threads++;
    }
    *out = p;
    return 0;
}

void parallel_close(struct parallel *p)
{
    if (p == NULL) return;
    require(pthread_mutex_lock(&p->lock) == 0);
    p->closing = true;
    pthread_cond_broadcast(&p->begin);
    require(pthread_mutex_unlock(&p->lock) == 0);
    for (unsigned i = 1; i < p->threads; i++)
        require(pthread_join(p->workers[i].thread, NULL) == 0);
    pthread_cond_destroy(&p->end);
    pthread_cond_destroy(&p->begin);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

unsigned parallel_threads(const struct parallel *p) { return p->threads; }

void parallel_for(struct parallel *p, size_t n, size_t piece, parallel_fn *fn, void *ud)
{
    bool alone = p->threads == 1 || n <= piece;
    require(piece > 0);
    if (!alone) require(pthread_mutex_lock(&p->lock) == 0);
    p->fn = fn;
    p->ud = ud;
    p->n = n;
    p->piece = piece;
    p->next = 0;
    if (!alone) {
        p->busy = p->threads - 1;
        p->round++;
        pthread_cond_broadcast(&p->begin);
        require(pthread_mutex_unlock(&p->lock) == 0);
    }
    take_pieces(p, 0);
    if (alone) return;
    require(pthread_mutex_lock(&p->lock) == 0);
    while (p->busy > 0) pthread_cond_wait(&p->end, &p->lock);
    require(pthread_mutex_unlock(&p->lock) == 0);
}
