/* trees_room.h - array_reserve() for a pointer of any type, for the files of the ensembles. */
#ifndef KERNELS_TREES_ROOM_H
#define KERNELS_TREES_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/memory.h"

#define RESERVE(items, capacity, n) trees_room(&(items), &(capacity), (n), sizeof *(items))
static inline bool trees_room(void *items, size_t *capacity, size_t n, size_t size)
{
    void *p;
    memcpy(&p, items, sizeof p); /* pointers of all types look alike, but may not alias */
    bool fine = array_reserve(&p, capacity, n, size);
    memcpy(items, &p, sizeof p);
    return fine;
}

#endif
