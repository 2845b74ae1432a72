/* memory.h - allocation for the small things of a program that cannot go on without them.
 *
 * These end the process when memory is gone. What grows with outside input (bodies, matrices)
 * has a limit of its own and uses malloc() with a check instead. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

void *xcalloc(size_t n, size_t size); /* zeroed; n * size is checked */
void *xrealloc(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xmemdup0(const void *data, size_t len); /* a copy with a NUL behind it */

/* Makes room for n items of the size in *items, doubling *capacity. False when memory is gone or
 * the product overflows; then nothing has changed. */
bool array_reserve(void **items, size_t *capacity, size_t n, size_t size);

#endif
