/* trees_fast.h - the form of an ensemble that trees_margins() computes with. Within the kernel.
 *
 * A row becomes codes: of a feature, how many of the ensemble's thresholds lie below x. Trees come
 * in blocks, each with columns of its own: a column is a feature seen one way (where missing values
 * go; whether in one set of categories), and maps each code to a byte, so that a split asks but
 * whether a byte is less than another. 32 rows or 32 trees are asked at once. A block ends where
 * a column would need a 256th threshold. All is exact: the leaf is the one that trees_walk() finds,
 * and leaves are added up in the order of the trees.
 *
 * Bytes are stored with the highest bit turned, because vectors compare signed ones. */
#ifndef KERNELS_TREES_FAST_H
#define KERNELS_TREES_FAST_H

#include "kernels/trees.h"

enum {
    FAST_DEPTH = 5, /* trees up to it are filled up to it: 31 splits, 32 leaves */
    FAST_NODES = 31,
    FAST_LEAVES = 32,
    FAST_COLUMNS = 256, /* at most, of a block */
    FAST_LANES = 32,    /* trees or rows that are asked at once */
    FAST_CHUNK = 256,   /* rows that go through all trees together */
    FAST_PROGRAM = 256, /* leaves of any other tree; beyond that trees are walked */
    FAST_TREES = 1024,  /* at most, of a block */
    FAST_KEYS = 16,     /* thresholds that are compared together */
    FAST_LEVELS = 4     /* 16 keys choose the next 16: up to 16^4 of them */
};

enum fast_kind { FAST_FULL, FAST_ANY, FAST_WALK };

struct fast_source { /* a feature as it is split by */
    uint32_t feature;
    bool categorical;
    bool zero;               /* some split takes zero as missing */
    bool narrow;             /* its keys are floats, to compare (float)x with */
    uint8_t levels;          /* of keys */
    uint32_t n;              /* thresholds, or categories that are known */
    size_t at;               /* of the first threshold in thresholds, sorted */
    size_t key[FAST_LEVELS]; /* where each level begins in keys, the narrowest first */
};
/* Codes of a source: 0..n; what is missing n + 1; what is zero, where that matters, n + 2. Of
 * categories: the category, n for all unknown, n + 1 for NaN. */
static inline uint32_t fast_codes(const struct fast_source *s) { return s->n + 3; }

struct fast_column {
    uint32_t source;
    size_t map; /* in maps: a byte for each code */
};

struct fast_split { /* of a FAST_ANY tree: left iff below `at`; children come behind their parent,
                       ~i is leaf i */
    uint8_t column;
    int8_t at;
    int16_t left, right;
};

struct fast_tree {
    uint32_t tree, group;
    uint8_t kind;
    uint16_t splits; /* of FAST_ANY */
    uint16_t leaves; /* values there are */
    uint16_t slot;   /* where its leaf is put when one row is asked */
    size_t at;       /* FAST_FULL: bytes in full; FAST_ANY: in splits */
    size_t values;   /* its first leaf in values */
    size_t planes;   /* its first byte in planes; up to FAST_LEAVES leaves only */
};

struct fast_block {
    uint32_t first, count; /* in trees */
    uint32_t column, columns;
    uint32_t full;   /* how many are FAST_FULL; 0 of FAST_WALK trees, which are in blocks alone */
    uint32_t slots;  /* full, rounded up to FAST_LANES, and FAST_ANY: FAST_SLOTS at most */
    size_t by_place; /* in places: for each FAST_LANES full trees (FAST_NODES, 2, FAST_LANES) */
};

struct trees_fast {
    bool single;
    size_t n_sources, n_columns, n_blocks, n_trees, n_splits, n_values;
    size_t n_thresholds, n_keys, n_maps, n_full, n_places, n_planes;
    struct fast_source *sources;
    double *thresholds;
    void *keys; /* thresholds in groups of FAST_KEYS, and above each level the last of each group */
    struct fast_column *columns;
    uint8_t *maps;
    struct fast_block *blocks;
    struct fast_tree *trees;
    uint8_t *full;   /* of each (2, 32): column, threshold; in the order of a heap */
    uint8_t *places; /* the same, place by place */
    struct fast_split *splits;
    void *values;    /* (n_values) float where single, else double */
    uint8_t *planes; /* of each tree (bytes of a value, FAST_LEAVES) */
    size_t room_columns, room_maps, room_blocks, room_trees, room_full, room_places, room_splits,
        room_values, room_planes;
};

int trees_fast_build(struct trees_fast **out, const struct trees *t); /* *out may stay NULL */
void trees_fast_free(struct trees_fast *f);

/* What there is in several instruction sets. bins: a byte for each column of a row, or of the
 * FAST_CHUNK rows of a column. */
struct fast_code {
    const char *name;
    /* The codes of one row, (sources), or of a chunk, (sources, FAST_CHUNK). */
    void (*code_row)(const struct trees *t, const double *x, uint16_t *codes);
    void (*code_rows)(const struct trees *t, const double *x, size_t rows, uint16_t *codes);
    /* The leaves of one row: (slots). */
    void (*one)(const struct trees_fast *f, const struct fast_block *b, const int8_t *bins,
                uint8_t *leaf);
    /* Adds all trees of a block to sums: (groups, FAST_CHUNK), float where single, row r of
     * each FAST_LANES at place[r]. work: FAST_WORK bytes, aligned for vectors. */
    void (*batch)(const struct trees_fast *f, const struct fast_block *b, const int8_t *bins,
                  size_t rows, void *sums, void *work);
    uint8_t place_single[FAST_LANES], place_double[FAST_LANES];
};
enum { FAST_WORK = 2 * FAST_PROGRAM * FAST_LANES, FAST_SLOTS = FAST_TREES + FAST_LANES };
extern const struct fast_code fast_portable, fast_avx2; /* the latter on x86-64 only */

/* The definition for one tree. */
double trees_walk_tree(const struct trees *t, const struct trees_tree *tree, const double *x);

#endif
