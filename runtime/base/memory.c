#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    require(p != NULL);
    return p;
}

void *xrealloc(void *p, size_t n, size_t size)
{
    require(size == 0 || n <= SIZE_MAX / size);
    size_t bytes = n * size;
    p = realloc(p, bytes ? bytes : 1);
    require(p != NULL);
    return p;
}

char *xstrdup(const char *s) { return xmemdup0(s, strlen(s)); }

char *xmemdup0(const void *data, size_t len)
{
    char *copy = xcalloc(len + 1, 1);
    if (len > 0) memcpy(copy, data, len);
    return copy;
}

bool array_reserve(void **items, size_t *capacity, size_t n, size_t size)
{
    if (n <= *capacity) return true;
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < n) {
        if (wanted > SIZE_MAX / 2) return false;
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / size) return false;
    void *grown = realloc(*items, wanted * size);
    if (grown == NULL) return false;
    *items = grown;
    *capacity = wanted;
    return true;
}
