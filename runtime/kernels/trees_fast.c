#include "kernels/trees_fast.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/trees_room.h"

enum { TURNED = 0x80, MOST_CODES = 65535, MOST_MAPS = 1 << 26 };

/* Works on one ensemble; what is of the block that is being filled is marked so. */
struct build {
    const struct trees *t;
    struct trees_fast *f;
    uint32_t *source; /* (2 * features): of numbers, of categories; TREES_NONE without */
    uint32_t *code;   /* (nodes) of a numeric split: which threshold of its source */
    uint8_t *kind;    /* (trees) */
    /* Of each way a numeric source is seen, 4 * source + the two flags: */
    uint32_t *column; /* of this block, or TREES_NONE */
    uint32_t *count;  /* thresholds in it */
    size_t *marks;    /* where its marks begin */
    uint32_t *mark;   /* for each threshold the last block that has it, counted from 1 */
    uint32_t block;   /* this one, counted from 1 */
};

static bool is_leaf(const struct trees_node *node) { return node->left == TREES_NONE; }

static size_t slot_of(const struct trees_node *node)
{
    return 2 * (size_t)node->feature + !!(node->flags & TREES_CATEGORICAL);
}

/* --- sources --------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Quicksort without a call for each comparison; qsort() for what is short. */
static void sort(double *x, size_t n)
{
    while (n > 16) {
        double a = x[0], b = x[n / 2], c = x[n - 1];
        double pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        size_t i = 0, j = n - 1;
        for (;;) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i >= j) break;
            double swap = x[i];
            x[i++] = x[j];
            x[j--] = swap;
        }
        if (j + 1 < n / 8 || j + 1 > n - n / 8) { /* a bad pivot: no quadratic time */
            qsort(x, n, sizeof *x, ascending);
            return;
        }
        sort(x, j + 1);
        x += j + 1;
        n -= j + 1;
    }
    for (size_t i = 1; i < n; i++) {
        double moving = x[i];
        size_t j = i;
        for (; j > 0 && x[j - 1] > moving; j--) x[j] = x[j - 1];
        x[j] = moving;
    }
}

/* Counts what each source will hold, then places it. */
static int make_sources(struct build *b)
{
    const struct trees *t = b->t;
    struct trees_fast *f = b->f;
    size_t total = 0;
    for (size_t i = 0; i < 2 * t->features; i++) b->source[i] = TREES_NONE;
    for (size_t i = 0; i < t->n_nodes; i++) {
        const struct trees_node *node = &t->nodes[i];
        if (is_leaf(node)) continue;
        size_t slot = slot_of(node);
        if (b->source[slot] == TREES_NONE) b->source[slot] = (uint32_t)f->n_sources++;
        total += slot % 2 == 0;
    }
    f->sources = calloc(f->n_sources + 1, sizeof *f->sources);
    f->thresholds = malloc((total + 1) * sizeof *f->thresholds);
    if (f->sources == NULL || f->thresholds == NULL) return -ENOMEM;
    for (size_t i = 0; i < 2 * t->features; i++)
        if (b->source[i] != TREES_NONE)
            f->sources[b->source[i]] =
                (struct fast_source){.feature = (uint32_t)(i / 2), .categorical = i % 2};
    for (size_t i = 0; i < t->n_nodes; i++) {
        const struct trees_node *node = &t->nodes[i];
        if (is_leaf(node)) continue;
        struct fast_source *s = &f->sources[b->source[slot_of(node)]];
        if (node->flags & TREES_ZERO_MISSING) s->zero = true;
        uint32_t words = t->sets[node->set + (s->categorical ? 1 : 0)] - t->sets[node->set];
        if (!s->categorical)
            s->n++;
        else if (32 * words > s->n)
            s->n = 32 * words;
    }
    return 0;
}

static void fill_sources(struct build *b)
{
    const struct trees *t = b->t;
    struct trees_fast *f = b->f;
    for (size_t i = 0, at = 0; i < f->n_sources; i++) {
        struct fast_source *s = &f->sources[i];
        if (s->categorical) continue;
        s->at = at;
        at += s->n;
        s->n = 0;
    }
    for (size_t i = 0; i < t->n_nodes; i++) {
        const struct trees_node *node = &t->nodes[i];
        if (is_leaf(node) || (node->flags & TREES_CATEGORICAL)) continue;
        struct fast_source *s = &f->sources[b->source[slot_of(node)]];
        f->thresholds[s->at + s->n++] = node->at;
    }
    for (size_t i = 0, to = 0; i < f->n_sources; i++) {
        struct fast_source *s = &f->sources[i];
        double *x = f->thresholds + s->at;
        if (s->categorical) continue;
        sort(x, s->n);
        size_t first = to; /* each once, moved up to the others */
        for (uint32_t k = 0; k < s->n; k++)
            if (to == first || f->thresholds[to - 1] != x[k]) f->thresholds[to++] = x[k];
        s->at = first;
        s->n = (uint32_t)(to - first);
        f->n_thresholds = to;
    }
}

/* How many of x[0..n), sorted, are below v: without branches that cannot be foreseen. */
static uint32_t count_below(const double *x, uint32_t n, double v)
{
    const double *p = x;
    if (n == 0) return 0;
    while (n > 1) {
        uint32_t half = n / 2;
        p += half & (0U - (uint32_t)(p[half - 1] < v));
        n -= half;
    }
    return (uint32_t)(p - x) + (uint32_t)(*p < v);
}

/* Whether x <= t is (float)x < key for each: then keys of half the size do. */
static bool make_narrow(const double *x, uint32_t n, float *keys)
{
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = (float)nextafter(x[i], INFINITY);
        if (isnan(keys[i]) || trees_below(keys[i]) != x[i]) return false;
    }
    return true;
}

/* One level: n keys, then NaN, above which nothing is, to the end of the group; one at least. */
static size_t put_level(struct trees_fast *f, struct fast_source *s, const double *x,
                        const float *narrow, uint32_t n, uint32_t step)
{
    size_t room = (n / FAST_KEYS + 1) * FAST_KEYS,
           size = s->narrow ? sizeof(float) : sizeof(double);
    memmove(s->key + 1, s->key, (FAST_LEVELS - 1) * sizeof *s->key);
    s->key[0] = f->n_keys;
    s->levels++;
    char *to = (char *)f->keys + f->n_keys;
    f->n_keys += room * size;
    for (size_t i = 0; i < room; i++) {
        size_t from = i * step + step - 1;
        if (s->narrow)
            ((float *)(void *)to)[i] = from < n * (size_t)step ? narrow[from] : NAN;
        else
            ((double *)(void *)to)[i] = from < n * (size_t)step ? x[from] : NAN;
    }
    return room / FAST_KEYS;
}

static int make_keys(struct trees_fast *f, bool single)
{
    size_t room = 0;
    for (size_t i = 0; i < f->n_sources; i++) /* each level is at most 1/16 of the one below + 16 */
        room += f->sources[i].categorical ? 0 : 2 * (size_t)f->sources[i].n + 128;
    f->keys = aligned_alloc(64, (room * sizeof(double) + 64) / 64 * 64);
    float *narrow = malloc((f->n_thresholds + 1) * sizeof *narrow);
    if (f->keys == NULL || narrow == NULL) {
        free(narrow);
        return -ENOMEM;
    }
    for (size_t i = 0; i < f->n_sources; i++) {
        struct fast_source *s = &f->sources[i];
        const double *x = f->thresholds + s->at;
        if (s->categorical || fast_codes(s) > MOST_CODES) continue;
        s->narrow = single && make_narrow(x, s->n, narrow);
        uint32_t step = 1, n = s->n;
        for (;;) {
            size_t groups = put_level(f, s, x, narrow, n, step);
            if (groups == 1) break;
            step *= FAST_KEYS;
            n = s->n / step; /* groups that are full; the last of the others is NaN */
        }
    }
    free(narrow);
    return 0;
}

/* Whether the codes can tell what these splits ask: else their trees are walked. */
static bool source_fits(const struct trees_fast *f, const struct fast_source *s)
{
    if (fast_codes(s) > MOST_CODES) return false;
    if (!s->zero) return true;
    const double *x = f->thresholds + s->at; /* all zeros are one code, so none may lie between */
    return count_below(x, s->n, TREES_ZERO) == count_below(x, s->n, -TREES_ZERO);
}

static void classify(struct build *b)
{
    const struct trees *t = b->t;
    struct trees_fast *f = b->f;
    for (size_t k = 0; k < t->n_trees; k++) {
        const struct trees_tree *tree = &t->trees[k];
        b->kind[k] = tree->depth <= FAST_DEPTH      ? FAST_FULL
                     : tree->leaves <= FAST_PROGRAM ? FAST_ANY
                                                    : FAST_WALK;
        for (uint32_t i = tree->first; i < tree->first + tree->count; i++) {
            const struct trees_node *node = &t->nodes[i];
            if (node->flags & TREES_LINEAR && is_leaf(node)) b->kind[k] = FAST_WALK;
            if (is_leaf(node)) continue;
            struct fast_source *s = &f->sources[b->source[slot_of(node)]];
            if (!source_fits(f, s)) b->kind[k] = FAST_WALK;
            if (!s->categorical) b->code[i] = count_below(f->thresholds + s->at, s->n, node->at);
        }
    }
}

/* --- blocks ---------------------------------------------------------------------------------- */

static size_t view_of(const struct build *b, const struct trees_node *node)
{
    return 4 * (size_t)b->source[slot_of(node)] +
           (node->flags & (TREES_MISSING_LEFT | TREES_ZERO_MISSING));
}

/* Columns and thresholds of a tree join the block, or it is full: then what has joined stays,
 * unused.
 */
static bool join(struct build *b, const struct trees_tree *tree, uint32_t *columns)
{
    const struct trees *t = b->t;
    for (uint32_t i = tree->first; i < tree->first + tree->count; i++) {
        const struct trees_node *node = &t->nodes[i];
        if (is_leaf(node)) continue;
        if (node->flags & TREES_CATEGORICAL) { /* a column for each set */
            if (*columns == FAST_COLUMNS) return false;
            ++*columns;
            continue;
        }
        size_t view = view_of(b, node);
        if (b->column[view] == TREES_NONE) {
            if (*columns == FAST_COLUMNS) return false;
            b->column[view] = (*columns)++;
            b->count[view] = 0;
        }
        uint32_t *mark = &b->mark[b->marks[view] + b->code[i]];
        if (*mark == b->block) continue;
        if (b->count[view] == 255) return false;
        *mark = b->block;
        b->count[view]++;
    }
    return true;
}

/* A new column with its map, all 0. */
static uint8_t *add_column(struct trees_fast *f, uint32_t source)
{
    size_t n = fast_codes(&f->sources[source]);
    if (f->n_maps + n > MOST_MAPS || !RESERVE(f->columns, f->room_columns, f->n_columns + 1) ||
        !RESERVE(f->maps, f->room_maps, f->n_maps + n))
        return NULL;
    f->columns[f->n_columns++] = (struct fast_column){source, f->n_maps};
    f->n_maps += n;
    return memset(f->maps + f->n_maps - n, TURNED, n);
}

static int add_view(struct build *b, size_t view)
{
    const struct fast_source *s = &b->f->sources[view / 4];
    uint8_t *map = add_column(b->f, (uint32_t)(view / 4));
    if (map == NULL) return -ENOMEM;
    const uint32_t *mark = b->mark + b->marks[view];
    uint8_t below = 0;
    for (uint32_t code = 0; code <= s->n; code++) {
        map[code] = below ^ TURNED;
        if (code < s->n) below = (uint8_t)(below + (mark[code] == b->block));
    }
    map[s->n + 1] = (view & TREES_MISSING_LEFT ? 0 : 255) ^ TURNED;
    map[s->n + 2] = view & TREES_ZERO_MISSING ? map[s->n + 1]
                                              : map[count_below(b->f->thresholds + s->at, s->n, 0)];
    return 0;
}

static int add_set(struct build *b, const struct trees_node *node)
{
    const struct trees *t = b->t;
    uint32_t source = b->source[slot_of(node)], n = b->f->sources[source].n;
    uint8_t *map = add_column(b->f, source);
    if (map == NULL) return -ENOMEM;
    uint32_t first = t->sets[node->set], known = 32 * (t->sets[node->set + 1] - first);
    for (uint32_t c = 0; c <= n; c++) { /* right is 1, not below the threshold 1 */
        bool in = c < known && (t->words[first + c / 32] >> (c % 32) & 1);
        map[c] = !in ^ TURNED;
    }
    map[n + 1] = !(node->flags & TREES_MISSING_LEFT) ^ TURNED;
    return 0;
}

/* The columns of the views that have joined, in the order in which they did; sets follow. */
static int add_views(struct build *b, uint32_t columns, uint32_t *views)
{
    for (uint32_t i = 0; i < columns; i++) views[i] = TREES_NONE;
    for (size_t view = 0; view < 4 * b->f->n_sources; view++)
        if (b->column[view] != TREES_NONE) views[b->column[view]] = (uint32_t)view;
    uint32_t n = 0;
    for (uint32_t i = 0; i < columns; i++) {
        if (views[i] == TREES_NONE) continue;
        b->column[views[i]] = n++;
        int rc = add_view(b, views[i]);
        if (rc < 0) return rc;
    }
    return 0;
}

/* A split in bytes. */
static int place_split(struct build *b, const struct fast_block *block, uint32_t i, uint8_t *column,
                       uint8_t *at)
{
    const struct trees_node *node = &b->t->nodes[i];
    if (node->flags & TREES_CATEGORICAL) {
        *column = (uint8_t)(b->f->n_columns - block->column);
        *at = 1 ^ TURNED;
        return add_set(b, node);
    }
    uint32_t c = b->column[view_of(b, node)];
    *column = (uint8_t)c;
    /* All codes up to the threshold's are left of it; one more makes that "below". */
    *at = (uint8_t)(b->f->maps[b->f->columns[block->column + c].map + b->code[i]] + 1);
    return 0;
}

/* --- trees ----------------------------------------------------------------------------------- */

static void put_value(struct trees_fast *f, size_t at, double value)
{
    if (f->single)
        ((float *)f->values)[at] = (float)value;
    else
        ((double *)f->values)[at] = value;
}

static size_t value_size(const struct trees_fast *f)
{
    return f->single ? sizeof(float) : sizeof(double);
}

static bool reserve_values(struct trees_fast *f, size_t n)
{
    bool fine = array_reserve(&f->values, &f->room_values, f->n_values + n, value_size(f));
    for (size_t i = 0; fine && i < n; i++) put_value(f, f->n_values + i, 0);
    f->n_values += fine ? n : 0;
    return fine;
}

/* place: of a heap, 0 the root; below: the leaves that lie under it, from `leaf` on. */
static int fill(struct build *b, const struct fast_block *block, const struct fast_tree *ft,
                uint32_t i, unsigned place, unsigned leaf, unsigned below)
{
    const struct trees_node *node = &b->t->nodes[i];
    if (is_leaf(node)) {
        for (unsigned k = 0; k < below; k++) put_value(b->f, ft->values + leaf + k, node->at);
        return 0;
    }
    uint8_t *full = b->f->full + ft->at;
    int rc = place_split(b, block, i, &full[place], &full[FAST_LANES + place]);
    if (rc < 0) return rc;
    rc = fill(b, block, ft, node->left, 2 * place + 1, leaf, below / 2);
    return rc < 0 ? rc
                  : fill(b, block, ft, node->right, 2 * place + 2, leaf + below / 2, below / 2);
}

static int add_full(struct build *b, const struct fast_block *block, struct fast_tree *ft)
{
    struct trees_fast *f = b->f;
    ft->leaves = FAST_LEAVES;
    ft->at = f->n_full;
    ft->values = f->n_values;
    if (!RESERVE(f->full, f->room_full, f->n_full + 2 * FAST_LANES) ||
        !reserve_values(f, FAST_LEAVES))
        return -ENOMEM;
    f->n_full += 2 * FAST_LANES;
    memset(f->full + ft->at, 0, 2 * FAST_LANES); /* beneath a leaf either way is the same */
    return fill(b, block, ft, b->t->trees[ft->tree].first, 0, 0, FAST_LEAVES);
}

/* Splits in an order in which children come behind their parents; leaves as they are met. */
static int add_any(struct build *b, const struct fast_block *block, struct fast_tree *ft)
{
    struct trees_fast *f = b->f;
    const struct trees_tree *tree = &b->t->trees[ft->tree];
    uint32_t todo[FAST_PROGRAM], n = 1, leaves = 0; /* nodes, as splits are numbered */
    ft->splits = (uint16_t)(tree->leaves - 1);
    ft->leaves = (uint16_t)tree->leaves;
    ft->at = f->n_splits;
    ft->values = f->n_values;
    if (!RESERVE(f->splits, f->room_splits, f->n_splits + ft->splits) ||
        !reserve_values(f, ft->leaves))
        return -ENOMEM;
    f->n_splits += ft->splits;
    todo[0] = tree->first;
    for (uint32_t k = 0; k < n; k++) {
        struct fast_split *split = &f->splits[ft->at + k];
        uint8_t at;
        int rc = place_split(b, block, todo[k], &split->column, &at);
        if (rc < 0) return rc;
        memcpy(&split->at, &at, 1);
        for (int side = 0; side < 2; side++) {
            const struct trees_node *node = &b->t->nodes[todo[k]];
            uint32_t child = side == 0 ? node->left : node->right;
            int to;
            if (is_leaf(&b->t->nodes[child])) {
                put_value(f, ft->values + leaves, b->t->nodes[child].at);
                to = ~(int)leaves++;
            } else {
                to = (int)n;
                todo[n++] = child;
            }
            *(side == 0 ? &split->left : &split->right) = (int16_t)to;
        }
    }
    return 0;
}

/* The values byte by byte, for those that look up by shuffling bytes. */
static int add_planes(struct trees_fast *f, struct fast_tree *ft)
{
    size_t size = value_size(f), n = FAST_LEAVES;
    ft->planes = f->n_planes;
    if (ft->leaves > FAST_LEAVES) return 0;
    if (!RESERVE(f->planes, f->room_planes, f->n_planes + n * size)) return -ENOMEM;
    uint8_t *to = memset(f->planes + f->n_planes, 0, n * size);
    f->n_planes += n * size;
    for (size_t i = 0; i < ft->leaves; i++) {
        uint64_t bits = 0;
        uint32_t half;
        const char *value = (const char *)f->values + (ft->values + i) * size;
        if (f->single) {
            memcpy(&half, value, size);
            bits = half;
        } else {
            memcpy(&bits, value, size);
        }
        for (size_t k = 0; k < size; k++) to[k * n + i] = (uint8_t)(bits >> (8 * k));
    }
    return 0;
}

static int add_places(struct trees_fast *f, struct fast_block *block)
{
    size_t groups = (block->full + FAST_LANES - 1) / FAST_LANES,
           n = groups * FAST_NODES * 2 * FAST_LANES, met = 0;
    block->by_place = f->n_places;
    if (!RESERVE(f->places, f->room_places, f->n_places + n + 1)) return -ENOMEM;
    uint8_t *to = memset(f->places + f->n_places, 0, n);
    f->n_places += n;
    for (uint32_t k = block->first; k < block->first + block->count; k++) {
        const struct fast_tree *ft = &f->trees[k];
        if (ft->kind != FAST_FULL) continue;
        const uint8_t *from = f->full + ft->at;
        uint8_t *lane = to + met / FAST_LANES * FAST_NODES * 2 * FAST_LANES + met % FAST_LANES;
        for (size_t place = 0; place < FAST_NODES; place++) {
            lane[place * 2 * FAST_LANES] = from[place];
            lane[(place * 2 + 1) * FAST_LANES] = from[FAST_LANES + place];
        }
        met++;
    }
    return 0;
}

static int add_tree(struct build *b, struct fast_block *block, uint32_t number)
{
    struct trees_fast *f = b->f;
    struct fast_tree ft = {
        .tree = number, .group = b->t->trees[number].group, .kind = b->kind[number]};
    if (!RESERVE(f->trees, f->room_trees, f->n_trees + 1)) return -ENOMEM;
    int rc = 0;
    if (ft.kind == FAST_FULL) {
        ft.slot = (uint16_t)block->full++;
        rc = add_full(b, block, &ft);
    } else if (ft.kind == FAST_ANY) {
        rc = add_any(b, block, &ft);
    }
    if (rc == 0 && ft.kind != FAST_WALK) rc = add_planes(f, &ft);
    if (rc < 0) return rc;
    f->trees[f->n_trees++] = ft;
    block->count++;
    return 0;
}

/* Trees [first, last) have joined with so many columns, their sets among them. */
static int add_block(struct build *b, uint32_t first, uint32_t last, uint32_t columns)
{
    struct trees_fast *f = b->f;
    uint32_t views[FAST_COLUMNS];
    struct fast_block block = {.first = (uint32_t)f->n_trees, .column = (uint32_t)f->n_columns};
    int rc = b->kind[first] == FAST_WALK ? 0 : add_views(b, columns, views);
    for (uint32_t k = first; rc == 0 && k < last; k++) rc = add_tree(b, &block, k);
    if (rc == 0) rc = add_places(f, &block);
    if (rc < 0 || !RESERVE(f->blocks, f->room_blocks, f->n_blocks + 1)) return -ENOMEM;
    block.columns = (uint32_t)f->n_columns - block.column;
    block.slots = (block.full + FAST_LANES - 1) / FAST_LANES * FAST_LANES;
    for (uint32_t k = block.first; k < block.first + block.count; k++)
        if (f->trees[k].kind == FAST_ANY) f->trees[k].slot = (uint16_t)block.slots++;
    f->blocks[f->n_blocks++] = block;
    for (size_t view = 0; view < 4 * f->n_sources; view++) b->column[view] = TREES_NONE;
    b->block++;
    return 0;
}

static int make_blocks(struct build *b)
{
    uint32_t first = 0, columns = 0, n = (uint32_t)b->t->n_trees;
    for (uint32_t k = 0; k < n; k++) {
        bool walk = b->kind[k] == FAST_WALK, begins = k == first;
        bool joins = k - first < FAST_TREES && walk == (b->kind[first] == FAST_WALK);
        if (joins && !walk) joins = join(b, &b->t->trees[k], &columns);
        if (joins) continue;
        if (begins) return -ENOMEM; /* cannot be: a tree alone always fits */
        int rc = add_block(b, first, k, columns);
        if (rc < 0) return rc;
        first = k--;
        columns = 0;
    }
    return n > first ? add_block(b, first, n, columns) : 0;
}

static bool make_views(struct build *b)
{
    size_t n = 4 * b->f->n_sources, marks = 0;
    b->column = malloc((n + 1) * sizeof *b->column);
    b->count = calloc(n + 1, sizeof *b->count);
    b->marks = calloc(n + 1, sizeof *b->marks);
    if (b->column == NULL || b->count == NULL || b->marks == NULL) return false;
    for (size_t view = 0; view < n; view++) {
        const struct fast_source *s = &b->f->sources[view / 4];
        b->column[view] = TREES_NONE;
        b->marks[view] = marks;
        if (!s->categorical && (s->zero || view % 4 < TREES_ZERO_MISSING)) marks += s->n + 1;
    }
    b->mark = calloc(marks + 1, sizeof *b->mark);
    return b->mark != NULL;
}

/* Room for one each, so that one may always point into them. */
static bool reserve_all(struct trees_fast *f)
{
    return RESERVE(f->columns, f->room_columns, 1) && RESERVE(f->maps, f->room_maps, 1) &&
           RESERVE(f->blocks, f->room_blocks, 1) && RESERVE(f->trees, f->room_trees, 1) &&
           RESERVE(f->full, f->room_full, 1) && RESERVE(f->places, f->room_places, 1) &&
           RESERVE(f->splits, f->room_splits, 1) && RESERVE(f->planes, f->room_planes, 1) &&
           reserve_values(f, 1);
}

static int build(struct build *b)
{
    const struct trees *t = b->t;
    if (!reserve_all(b->f)) return -ENOMEM;
    b->source = malloc((2 * t->features + 1) * sizeof *b->source);
    b->code = malloc((t->n_nodes + 1) * sizeof *b->code);
    b->kind = malloc(t->n_trees + 1);
    if (b->source == NULL || b->code == NULL || b->kind == NULL) return -ENOMEM;
    int rc = make_sources(b);
    if (rc < 0) return rc;
    fill_sources(b);
    rc = make_keys(b->f, t->single);
    if (rc < 0) return rc;
    classify(b);
    return make_views(b) ? make_blocks(b) : -ENOMEM;
}

int trees_fast_build(struct trees_fast **out, const struct trees *t)
{
    struct build b = {.t = t, .f = calloc(1, sizeof *b.f), .block = 1};
    int rc = b.f == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        b.f->single = t->single;
        rc = build(&b);
    }
    free(b.source);
    free(b.code);
    free(b.kind);
    free(b.column);
    free(b.count);
    free(b.marks);
    free(b.mark);
    bool too_large = rc < 0 && b.f != NULL && b.f->n_maps > MOST_MAPS / 2;
    if (rc == 0)
        *out = b.f;
    else
        trees_fast_free(b.f);
    if (too_large) *out = NULL; /* such a one is walked */
    return too_large ? 0 : rc;
}

void trees_fast_free(struct trees_fast *f)
{
    if (f == NULL) return;
    free(f->sources);
    free(f->thresholds);
    free(f->keys);
    free(f->columns);
    free(f->maps);
    free(f->blocks);
    free(f->trees);
    free(f->full);
    free(f->places);
    free(f->splits);
    free(f->values);
    free(f->planes);
    free(f);
}
