/* trees_fast_code.h - the code of trees_fast.h, written once. Whoever includes it defines WIDTH,
 * the bytes of a vector, and SELECT(mask, a, b); where LOOKUP is defined there are byte shuffles,
 * and a LOOKUP_SINGLE and a LOOKUP_DOUBLE. The instruction set is that of the including file. */
#include "kernels/trees_fast.h"

#include <string.h>

typedef int8_t vector __attribute__((vector_size(WIDTH), may_alias));
typedef int8_t loose __attribute__((vector_size(WIDTH), may_alias, aligned(1)));

#define INLINE static inline __attribute__((always_inline))
#define LOAD(p) (*(const vector *)(const void *)(p))
#define ALL(x) ((vector){0} + (int8_t)(x))

/* --- codes ----------------------------------------------------------------------------------- */

#ifndef COUNT_WIDE /* how many of FAST_KEYS keys are below x, or not above it */
typedef double two_keys __attribute__((vector_size(16), may_alias));
typedef int64_t two_counts __attribute__((vector_size(16)));
typedef float four_keys __attribute__((vector_size(16), may_alias));
typedef int32_t four_counts __attribute__((vector_size(16)));

INLINE uint32_t count_wide(const double *keys, double x)
{
    const two_keys *k = (const two_keys *)(const void *)keys;
    two_counts n = {0};
    for (int i = 0; i < FAST_KEYS / 2; i++) n -= (two_counts)(k[i] < (two_keys){x, x});
    return (uint32_t)(n[0] + n[1]);
}

INLINE uint32_t count_narrow(const float *keys, float x)
{
    const four_keys *k = (const four_keys *)(const void *)keys;
    four_counts n = {0};
    for (int i = 0; i < FAST_KEYS / 4; i++) n -= (four_counts)(k[i] <= (four_keys){x, x, x, x});
    return (uint32_t)(n[0] + n[1] + n[2] + n[3]);
}
#define COUNT_WIDE count_wide
#define COUNT_NARROW count_narrow
#endif

/* How many thresholds are below x: the keys of one level choose the group in the next. No branch
 * depends on x, for nobody could guess it. */
INLINE uint16_t number_code(const struct trees_fast *f, const struct fast_source *s, double x)
{
    const char *keys = f->keys;
    uint32_t n = 0;
    if (s->narrow) {
        float y = (float)x;
        for (int l = 0; l < s->levels; l++)
            n = n * FAST_KEYS +
                COUNT_NARROW((const float *)(const void *)(keys + s->key[l]) + n * FAST_KEYS, y);
    } else {
        for (int l = 0; l < s->levels; l++)
            n = n * FAST_KEYS +
                COUNT_WIDE((const double *)(const void *)(keys + s->key[l]) + n * FAST_KEYS, x);
    }
    return (uint16_t)(x != x ? s->n + 1 : n);
}

INLINE uint16_t code_of(const struct trees *t, const struct fast_source *s, double x)
{
    if (s->categorical) {
        int64_t c = trees_category(t, x);
        return (uint16_t)(x != x ? s->n + 1 : c >= 0 && c < s->n ? (uint32_t)c : s->n);
    }
    if (s->zero && x >= -TREES_ZERO && x <= TREES_ZERO) return (uint16_t)(s->n + 2);
    return number_code(t->fast, s, x);
}

static void code_row(const struct trees *t, const double *x, uint16_t *codes)
{
    const struct fast_source *s = t->fast->sources;
    for (size_t i = 0; i < t->fast->n_sources; i++) codes[i] = code_of(t, &s[i], x[s[i].feature]);
}

static void code_rows(const struct trees *t, const double *x, size_t rows, uint16_t *codes)
{
    const struct trees_fast *f = t->fast;
    size_t d = t->features;
    for (size_t i = 0; i < f->n_sources; i++, codes += FAST_CHUNK) {
        const struct fast_source *s = &f->sources[i];
        const double *column = x + s->feature;
        if (s->categorical || s->zero)
            for (size_t r = 0; r < rows; r++) codes[r] = code_of(t, s, column[r * d]);
        else
            for (size_t r = 0; r < rows; r++) codes[r] = number_code(f, s, column[r * d]);
    }
}

/* --- one row --------------------------------------------------------------------------------- */

#define STEP(full, place)                                                                          \
    (2 * (place) + 1 + (unsigned)(bins[(full)[place]] >= (int8_t)(full)[FAST_LANES + (place)]))

static void walk_full(const uint8_t *full, const int8_t *bins, uint8_t *leaf)
{
    unsigned place = 0;
    for (int level = 0; level < FAST_DEPTH; level++) place = STEP(full, place);
    *leaf = (uint8_t)(place - FAST_NODES);
}

/* Four trees side by side, for each step waits for the one before. */
static void walk_four(const uint8_t *full, const int8_t *bins, uint8_t *leaf)
{
    enum { TREE = 2 * FAST_LANES };
    unsigned a = 0, b = 0, c = 0, d = 0;
    for (int level = 0; level < FAST_DEPTH; level++) {
        a = STEP(full, a);
        b = STEP(full + TREE, b);
        c = STEP(full + 2 * TREE, c);
        d = STEP(full + 3 * TREE, d);
    }
    leaf[0] = (uint8_t)(a - FAST_NODES);
    leaf[1] = (uint8_t)(b - FAST_NODES);
    leaf[2] = (uint8_t)(c - FAST_NODES);
    leaf[3] = (uint8_t)(d - FAST_NODES);
}

static void walk_any(const struct fast_split *splits, const int8_t *bins, uint8_t *leaf)
{
    int at = 0;
    while (at >= 0) {
        const struct fast_split *s = &splits[at];
        at = bins[s->column] < s->at ? s->left : s->right;
    }
    *leaf = (uint8_t)~at;
}

static void walk_each(const struct trees_fast *f, const struct fast_block *b, const int8_t *bins,
                      uint8_t *leaf, bool full_ones)
{
    const struct fast_tree *ft = f->trees + b->first, *end = ft + b->count;
    if (b->full == b->count) { /* then they lie one behind the other, in order */
        uint32_t i = 0;
        const uint8_t *full = f->full + ft->at;
        if (!full_ones) return;
        for (; i + 4 <= b->count; i += 4) walk_four(full + i * 2 * FAST_LANES, bins, leaf + i);
        for (; i < b->count; i++) walk_full(full + i * 2 * FAST_LANES, bins, leaf + i);
        return;
    }
    for (; ft < end; ft++) {
        if (ft->kind == FAST_ANY)
            walk_any(f->splits + ft->at, bins, leaf + ft->slot);
        else if (full_ones)
            walk_full(f->full + ft->at, bins, leaf + ft->slot);
    }
}

/* --- choosing a leaf of a full tree ---------------------------------------------------------- */

/* Of the masks of a level's splits the one that lies on each lane's path: b0 to b3 are those of the
 * levels above, where all bits are set for left. */
#define PATH1(m, i) SELECT(b0, m(i), m(i + 1))
#define PATH2(m, i) SELECT(b0, SELECT(b1, m(i), m(i + 1)), SELECT(b1, m(i + 2), m(i + 3)))
#define HALF3(m, i) SELECT(b1, SELECT(b2, m(i), m(i + 1)), SELECT(b2, m(i + 2), m(i + 3)))
#define PATH3(m, i) SELECT(b0, HALF3(m, i), HALF3(m, i + 4))
#define QUARTER4(m, i) SELECT(b2, SELECT(b3, m(i), m(i + 1)), SELECT(b3, m(i + 2), m(i + 3)))
#define HALF4(m, i) SELECT(b1, QUARTER4(m, i), QUARTER4(m, i + 4))
#define PATH4(m, i) SELECT(b0, HALF4(m, i), HALF4(m, i + 8))
/* The number of the leaf from left to right; m(i) is the mask of split i. */
#define CHOOSE(m, leaf)                                                                            \
    do {                                                                                           \
        vector b0 = m(0), b1 = PATH1(m, 1), b2 = PATH2(m, 3), b3 = PATH3(m, 7), b4 = PATH4(m, 15); \
        leaf = (~b0 & 16) | (~b1 & 8) | (~b2 & 4) | (~b3 & 2) | (~b4 & 1);                         \
    } while (0)

/* --- many rows ------------------------------------------------------------------------------- */

#ifdef LOOKUP
#define ADD_LEAVES(f, ft, leaf, sums)                                                              \
    ((f)->single ? LOOKUP_SINGLE(f, ft, leaf, (float *)(sums))                                     \
                 : LOOKUP_DOUBLE(f, ft, leaf, (double *)(sums)))
#endif

/* Adds the values of leaf[0..FAST_LANES). */
static void add_leaves(const struct trees_fast *f, const struct fast_tree *ft, const uint8_t *leaf,
                       void *sums, const uint8_t *place)
{
    if (f->single) {
        const float *values = (const float *)f->values + ft->values;
        for (int r = 0; r < FAST_LANES; r++) ((float *)sums)[place[r]] += values[leaf[r]];
    } else {
        const double *values = (const double *)f->values + ft->values;
        for (int r = 0; r < FAST_LANES; r++) ((double *)sums)[place[r]] += values[leaf[r]];
    }
}

INLINE void full_tree(const struct trees_fast *f, const struct fast_tree *ft, const int8_t *bins,
                      size_t rows, char *sums, size_t size)
{
    const uint8_t *full = f->full + ft->at;
    const int8_t *column[FAST_NODES];
    vector at[FAST_NODES];
    for (int i = 0; i < FAST_NODES; i++) {
        column[i] = bins + (size_t)full[i] * FAST_CHUNK;
        at[i] = ALL(full[FAST_LANES + i]);
    }
    for (size_t r = 0; r < rows; r += FAST_LANES) {
#ifdef LOOKUP
        vector leaf;
#define MASK(i) (vector)(at[i] > LOAD(column[i] + r))
        CHOOSE(MASK, leaf);
#undef MASK
        ADD_LEAVES(f, ft, leaf, sums + r * size);
#else
        uint8_t leaves[FAST_LANES] __attribute__((aligned(64)));
        for (size_t part = 0; part < FAST_LANES; part += WIDTH) {
            vector leaf;
#define MASK(i) (vector)(at[i] > LOAD(column[i] + r + part))
            CHOOSE(MASK, leaf);
#undef MASK
            *(vector *)(void *)(leaves + part) = leaf;
        }
        add_leaves(f, ft, leaves, sums + r * size, CODE.place_single);
#endif
    }
}

/* From the last split to the root: which leaf is reached from it. Numbers of leaves and what has
 * been found lie in one table, so that no split asks which of the two a child is. */
INLINE void any_tree(const struct trees_fast *f, const struct fast_tree *ft, const int8_t *bins,
                     size_t rows, char *sums, size_t size, char *work)
{
    enum { FOUND = FAST_PROGRAM };
    const struct fast_split *splits = f->splits + ft->at;
    for (size_t r = 0; r < rows; r += FAST_LANES) {
        uint8_t leaves[FAST_LANES] __attribute__((aligned(64)));
        for (size_t part = 0; part < FAST_LANES; part += WIDTH) {
            for (int i = ft->splits - 1; i >= 0; i--) {
                const struct fast_split *s = &splits[i];
                int left = s->left < 0 ? ~s->left : FOUND + s->left;
                int right = s->right < 0 ? ~s->right : FOUND + s->right;
                vector at = ALL(s->at), bin = LOAD(bins + s->column * FAST_CHUNK + r + part);
                vector below = (vector)(at > bin);
                *(vector *)(void *)(work + (FOUND + i) * WIDTH) =
                    SELECT(below, LOAD(work + left * WIDTH), LOAD(work + right * WIDTH));
            }
            *(vector *)(void *)(leaves + part) = LOAD(work + FOUND * WIDTH);
        }
#ifdef LOOKUP
        if (ft->leaves <= FAST_LEAVES) {
            ADD_LEAVES(f, ft, LOAD(leaves), sums + r * size);
            continue;
        }
#endif
        add_leaves(f, ft, leaves, sums + r * size,
                   f->single ? CODE.place_single : CODE.place_double);
    }
}

static void batch(const struct trees_fast *f, const struct fast_block *b, const int8_t *bins,
                  size_t rows, void *sums, void *work)
{
    size_t size = f->single ? sizeof(float) : sizeof(double);
    if (b->full < b->count)
        for (int i = 0; i < FAST_PROGRAM; i++)
            *(vector *)(void *)((char *)work + i * WIDTH) = ALL(i);
    for (const struct fast_tree *ft = f->trees + b->first, *end = ft + b->count; ft < end; ft++) {
        char *of_group = (char *)sums + ft->group * FAST_CHUNK * size;
        if (ft->kind == FAST_FULL)
            full_tree(f, ft, bins, rows, of_group, size);
        else
            any_tree(f, ft, bins, rows, of_group, size, work);
    }
}
