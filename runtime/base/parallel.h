/* parallel.h - a range of work over a few threads, whose number never shows in the result.
 *
 * The range is cut into pieces of a fixed size, and whoever is free takes the next. Results are the
 * same for any number of threads as long as what a piece computes depends on the piece alone and
 * what is added up is added up in the order of the pieces. */
#ifndef BASE_PARALLEL_H
#define BASE_PARALLEL_H

#include <stddef.h>

struct parallel; /* a team of threads; used by one thread at a time */

/* threads: 0 for as many as the machine has processors. The caller is one of them, so 1 starts
 * none. Where fewer can be had there are fewer. 0 or -ENOMEM. */
int parallel_open(struct parallel **out, unsigned threads);
void parallel_close(struct parallel *p); /* NULL is fine */
unsigned parallel_threads(const struct parallel *p);

/* fn is called for [first, last), the pieces of [0, n), each of that many but the last; worker
 * < parallel_threads() tells whose workspace may be used. Returns when all are done. piece > 0. */
typedef void parallel_fn(void *ud, size_t first, size_t last, unsigned worker);
void parallel_for(struct parallel *p, size_t n, size_t piece, parallel_fn *fn, void *ud);

#endif
