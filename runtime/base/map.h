/* map.h - a hash map from strings to pointers; open addressing, order unspecified. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map_entry {
    char *key; /* the map's own copy; NULL: free */
    void *value;
};

struct map {
    struct map_entry *entries; /* capacity of them, a power of two, at most 3/4 in use */
    size_t used, capacity;
};

void *map_get(const struct map *m, const char *key);       /* NULL when absent */
void map_set(struct map *m, const char *key, void *value); /* value not NULL; replaces */
/* Visits all: for (size_t i = 0; (e = map_next(m, &i)) != NULL;) */
struct map_entry *map_next(const struct map *m, size_t *at);
void map_free(struct map *m, void (*free_value)(void *)); /* free_value may be NULL */

#endif
