#include "base/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static size_t hash(const char *key)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *key; key++) h = (h ^ (unsigned char)*key) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

static struct map_entry *find(const struct map *m, const char *key)
{
    size_t i = hash(key) & (m->capacity - 1);
    while (m->entries[i].key != NULL && strcmp(m->entries[i].key, key) != 0)
        i = (i + 1) & (m->capacity - 1);
    return &m->entries[i];
}

void *map_get(const struct map *m, const char *key)
{
    return m->capacity == 0 ? NULL : find(m, key)->value;
}

static void grow(struct map *m)
{
    struct map old = *m;
    m->capacity = old.capacity ? old.capacity * 2 : 16;
    m->entries = xcalloc(m->capacity, sizeof *m->entries);
    struct map_entry *e;
    for (size_t i = 0; (e = map_next(&old, &i)) != NULL;) *find(m, e->key) = *e;
    free(old.entries);
}

void map_set(struct map *m, const char *key, void *value)
{
    if (m->used + 1 > m->capacity / 4 * 3) grow(m);
    struct map_entry *e = find(m, key);
    if (e->key == NULL) {
        e->key = xstrdup(key);
        m->used++;
    }
    e->value = value;
}

struct map_entry *map_next(const struct map *m, size_t *at)
{
    while (*at < m->capacity) {
        struct map_entry *e = &m->entries[(*at)++];
        if (e->key != NULL) return e;
    }
    return NULL;
}

void map_free(struct map *m, void (*free_value)(void *))
{
    struct map_entry *e;
    for (size_t i = 0; (e = map_next(m, &i)) != NULL;) {
        if (free_value != NULL) free_value(e->value);
        free(e->key);
    }
    free(m->entries);
    *m = (struct map){0};
}
