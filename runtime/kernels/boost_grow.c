/* How a tree is grown: level by level. The histograms of a node's two children add up to its own,
 * so only the smaller child is counted and the larger one is what is left. Rows are sorted by
 * leaves within their chunks (boost_parts.h): a node's rows are one run in every chunk. */
#include "kernels/boost_parts.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/boost_move.h"
#include "kernels/boost_search.h"

/* Within the nearest cache sums are packed into 64 bits: rows, second derivatives, first ones from
 * the lowest bits on. That holds FLUSH rows. */
enum { COUNT_BITS = 13, H_BITS = 25, FLUSH = (1 << COUNT_BITS) - 1, ROWS_AT_ONCE = 1 << 15 };
#define H_MASK (((uint64_t)1 << H_BITS) - 1)

struct run { /* of a node's rows within a chunk */
    uint16_t start, len;
};

struct pair { /* the children of a split, or the root alone, on the level that is being made */
    uint32_t small, large;       /* nodes; large is 0 for the root */
    uint32_t small_at, large_at; /* numbers on the level */
    size_t small_slot, large_slot;
    bool wanted; /* at least one of them may be split */
};

struct item { /* of counting: what one thread does at once */
    uint32_t pair, block;
    size_t first, last; /* chunks */
};

struct level {
    size_t n;         /* nodes */
    uint32_t *node;   /* (n) */
    size_t *slot;     /* (n) where its histogram is; NO_SLOT when it has none */
    struct run *runs; /* (n, chunks) */
    size_t capacity;  /* of nodes, for all three */
};
#define NO_SLOT SIZE_MAX

struct worker {
    uint64_t *packed;        /* (BOOST_BLOCK, BOOST_BINS) */
    struct boost_sums *sums; /* (pairs, columns, BOOST_BINS), zero between levels */
    size_t capacity;         /* in pairs */
    unsigned char *left;     /* (BOOST_CHUNK) whether a row goes left */
    uint64_t *words;         /* (BOOST_CHUNK + BOOST_ASIDE) what boost_move_64() puts aside */
    uint32_t *halves;        /* and boost_move_32() */
};

struct boost_grower {
    const struct boost_bins *bins;
    struct boost_rows *rows;
    const struct boost_options *o;
    struct parallel *team;
    struct worker *workers;
    struct level now, next;
    struct boost_sums **slots; /* each (columns, BOOST_BINS); made as they are needed */
    size_t n_slots, slots_capacity, slots_used;
    size_t *free_slots, n_free; /* (slots_capacity) */
    struct pair *pairs;         /* (pairs_capacity) */
    size_t n_pairs, pairs_capacity;
    struct item *items;
    size_t n_items, items_capacity;
    struct boost_split_found *found; /* (pairs, 2, columns) */
    size_t found_capacity;
    struct boost_tree *tree; /* that is being grown */
    const bool *features;    /* that it may use */
    unsigned depth;          /* of level now */
};

static void *grow_array(void *p, size_t *capacity, size_t n, size_t size)
{
    size_t larger = *capacity * 2 > n ? *capacity * 2 : n;
    if (n <= *capacity) return p;
    if (larger > PTRDIFF_MAX / size) return NULL;
    void *q = realloc(p, larger * size);
    if (q != NULL) *capacity = larger;
    return q;
}

#define RESERVE(array, capacity, count)                                                            \
    (((count) <= (capacity)) ||                                                                    \
     ((grown = grow_array(array, &(capacity), count, sizeof *(array))) != NULL &&                  \
      ((array) = grown, true)))

/* -- counting -- */

static inline uint64_t unpack_state(uint32_t s)
{
    int64_t g = (int32_t)s >> BOOST_G_SHIFT;
    uint64_t h = s >> BOOST_H_SHIFT & BOOST_LEVELS;
    return ((uint64_t)g << (COUNT_BITS + H_BITS)) + (h << COUNT_BITS) + (s & BOOST_SEEN);
}

static inline __attribute__((always_inline)) void add_rows(uint64_t *restrict h,
                                                           const uint64_t *restrict words,
                                                           const uint32_t *restrict states,
                                                           size_t n, const unsigned features)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = unpack_state(states[i]), w = words[i];
        for (unsigned f = 0; f < features; f++) h[f * BOOST_BINS + (w >> 8 * f & 0xff)] += v;
    }
}

static void add(uint64_t *h, const uint64_t *words, const uint32_t *states, size_t n, size_t f)
{
    switch (f) {
    case 1: add_rows(h, words, states, n, 1); break;
    case 2: add_rows(h, words, states, n, 2); break;
    case 3: add_rows(h, words, states, n, 3); break;
    case 4: add_rows(h, words, states, n, 4); break;
    case 5: add_rows(h, words, states, n, 5); break;
    case 6: add_rows(h, words, states, n, 6); break;
    case 7: add_rows(h, words, states, n, 7); break;
    default: add_rows(h, words, states, n, 8); break;
    }
}

/* Adds what is packed to the sums, and clears it. */
static void flush(uint64_t *restrict packed, struct boost_sums *restrict sums, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = packed[i];
        sums[i].g += (int64_t)v >> (COUNT_BITS + H_BITS);
        sums[i].hn += ((v >> COUNT_BITS & H_MASK) << BOOST_COUNT_BITS) + (v & FLUSH);
        packed[i] = 0;
    }
}

static void count_item(struct boost_grower *g, const struct item *item, struct worker *w)
{
    const struct pair *pair = &g->pairs[item->pair];
    size_t columns = g->bins->columns, first = (size_t)item->block * BOOST_BLOCK;
    size_t n_features = columns - first < BOOST_BLOCK ? columns - first : BOOST_BLOCK;
    struct boost_sums *sums = w->sums + (item->pair * columns + first) * BOOST_BINS;
    const struct run *runs = g->next.runs + (size_t)pair->small_at * g->rows->chunks;
    size_t held = 0;
    for (size_t c = item->first; c < item->last; c++) {
        size_t at = c * BOOST_CHUNK + runs[c].start, left = runs[c].len;
        while (left > 0) {
            size_t n = FLUSH - held < left ? FLUSH - held : left;
            add(w->packed, g->bins->words[item->block] + at, g->rows->state + at, n, n_features);
            held += n;
            at += n;
            left -= n;
            if (held < FLUSH) break;
            flush(w->packed, sums, n_features * BOOST_BINS);
            held = 0;
        }
    }
    if (held > 0) flush(w->packed, sums, n_features * BOOST_BINS);
}

static void count_items(void *ud, size_t first, size_t last, unsigned worker)
{
    struct boost_grower *g = ud;
    for (size_t i = first; i < last; i++) count_item(g, &g->items[i], &g->workers[worker]);
}

static bool block_wanted(const struct boost_grower *g, size_t block)
{
    for (size_t j = block * BOOST_BLOCK; j < g->bins->columns && j < (block + 1) * BOOST_BLOCK; j++)
        if (g->features[j]) return true;
    return false;
}

static size_t rows_of(const struct boost_grower *g, const struct level *l, size_t at)
{
    size_t n = 0;
    for (size_t c = 0; c < g->rows->chunks; c++) n += l->runs[at * g->rows->chunks + c].len;
    return n;
}

/* The work of counting, cut so that no thread has long to wait for the others. */
static int make_items(struct boost_grower *g)
{
    size_t chunks = g->rows->chunks;
    void *grown;
    g->n_items = 0;
    for (size_t p = 0; p < g->n_pairs; p++) {
        if (!g->pairs[p].wanted) continue;
        size_t n = rows_of(g, &g->next, g->pairs[p].small_at);
        size_t parts = n / ROWS_AT_ONCE + 1;
        if (parts > chunks) parts = chunks;
        if (!RESERVE(g->items, g->items_capacity, g->n_items + parts * g->bins->blocks))
            return -ENOMEM;
        for (size_t b = 0; b < g->bins->blocks; b++) {
            if (!block_wanted(g, b)) continue;
            for (size_t k = 0; k < parts; k++)
                g->items[g->n_items++] = (struct item){(uint32_t)p, (uint32_t)b, chunks * k / parts,
                                                       chunks * (k + 1) / parts};
        }
    }
    return 0;
}

/* -- searching -- */

static void search_one(struct boost_grower *g, size_t p, size_t j)
{
    const struct pair *pair = &g->pairs[p];
    const struct boost_tree *t = g->tree;
    size_t columns = g->bins->columns;
    const struct boost_feature *f = &g->bins->features[j];
    struct boost_sums *small = g->slots[pair->small_slot] + j * BOOST_BINS;
    struct boost_split_found *found = g->found + p * 2 * columns + j;
    size_t n_bins = f->n_values + 1;
    memset(small, 0, n_bins * sizeof *small);
    for (unsigned w = 0; w < parallel_threads(g->team); w++) {
        struct boost_sums *of = g->workers[w].sums + (p * columns + j) * BOOST_BINS;
        for (size_t b = 0; b < n_bins; b++) {
            small[b].g += of[b].g;
            small[b].hn += of[b].hn;
            of[b] = (struct boost_sums){0, 0};
        }
    }
    struct boost_search s = {.feature = f,
                             .g_unit = g->rows->g_unit,
                             .h_unit = g->rows->h_unit,
                             .o = g->o,
                             .monotone = g->o->monotone ? g->o->monotone[j] : 0};
    s.node = &t->nodes[pair->small];
    boost_search(&s, small, &found[0]);
    if (pair->large == 0) return;
    struct boost_sums *large = g->slots[pair->large_slot] + j * BOOST_BINS;
    for (size_t b = 0; b < n_bins; b++) {
        large[b].g -= small[b].g;
        large[b].hn -= small[b].hn;
    }
    s.node = &t->nodes[pair->large];
    boost_search(&s, large, &found[columns]);
}

static void search_pairs(void *ud, size_t first, size_t last, unsigned worker)
{
    struct boost_grower *g = ud;
    size_t columns = g->bins->columns;
    (void)worker;
    for (size_t i = first; i < last; i++) {
        size_t p = i / columns, j = i % columns;
        g->found[p * 2 * columns + j].gain = g->found[(p * 2 + 1) * columns + j].gain = 0;
        if (g->pairs[p].wanted && g->features[j]) search_one(g, p, j);
    }
}

/* -- nodes -- */

static int add_node(struct boost_tree *t, const struct boost_node *node, uint32_t *at)
{
    void *grown;
    if (t->n >= UINT32_MAX || !RESERVE(t->nodes, t->capacity, t->n + 1)) return -ENOMEM;
    *at = (uint32_t)t->n;
    t->nodes[t->n++] = *node;
    return 0;
}

static struct boost_node make_node(const struct boost_grower *g, struct boost_sums sums, double low,
                                   double high)
{
    struct boost_node node = {.low = low, .high = high, .n = boost_count(sums)};
    double G = (double)sums.g * g->rows->g_unit, H = (double)boost_h(sums) * g->rows->h_unit;
    node.cover = H;
    node.value = boost_weight(G, H + g->o->l2, low, high) * g->o->learning_rate;
    return node;
}

static bool may_split(const struct boost_grower *g, const struct boost_node *node)
{
    return node->n >= 2 * (uint64_t)g->o->min_samples_leaf &&
           node->cover >= 2 * g->o->min_child_weight;
}

/* The best over the features; the first of equals. */
static void choose(struct boost_grower *g, const struct boost_split_found *found,
                   struct boost_node *node, const struct boost_split_found **best)
{
    *best = NULL;
    for (size_t j = 0; j < g->bins->columns; j++) {
        if (found[j].gain <= 0 || (*best != NULL && found[j].gain <= (*best)->gain)) continue;
        *best = &found[j];
        node->feature = (uint32_t)j;
    }
    if (*best == NULL) return;
    node->gain = (*best)->gain;
    node->bin = (*best)->bin;
    memcpy(node->goes_left, (*best)->goes_left, sizeof node->goes_left);
}

/* Gives the node its two children, whose values are what the constraint leaves them. */
static int split(struct boost_grower *g, uint32_t at, const struct boost_split_found *s)
{
    struct boost_node *node = &g->tree->nodes[at];
    signed char monotone = g->o->monotone != NULL ? g->o->monotone[node->feature] : 0;
    double low = node->low, high = node->high;
    struct boost_node left = make_node(g, s->left, low, high);
    struct boost_node right = make_node(g, s->right, low, high);
    double middle = (left.value + right.value) / 2 / g->o->learning_rate;
    if (monotone > 0) left.high = right.low = middle;
    if (monotone < 0) left.low = right.high = middle;
    uint32_t l, r;
    int rc = add_node(g->tree, &left, &l);
    if (rc == 0) rc = add_node(g->tree, &right, &r);
    if (rc < 0) return rc;
    g->tree->nodes[at].left = l;
    g->tree->nodes[at].right = r;
    return 0;
}

/* -- rows to their leaves -- */

static size_t divide(const struct boost_grower *g, const struct boost_node *node, size_t first,
                     size_t n, struct worker *w)
{
    unsigned char goes_left[BOOST_BINS], *left = w->left;
    const uint64_t *word = g->bins->words[node->feature / BOOST_BLOCK] + first;
    unsigned shift = node->feature % BOOST_BLOCK * 8;
    size_t n_left = 0;
    for (unsigned b = 0; b < BOOST_BINS; b++) goes_left[b] = boost_goes_left(node, b);
    for (size_t i = 0; i < n; i++) {
        left[i] = goes_left[word[i] >> shift & 0xff];
        n_left += left[i];
    }
    if (n_left == 0 || n_left == n) return n_left;
    for (size_t b = 0; b < g->bins->blocks; b++)
        boost_move_64(g->bins->words[b] + first, w->words, left, n);
    boost_move_32(g->rows->state + first, w->halves, left, n);
    boost_move_32(g->rows->margin + first, w->halves, left, n);
    return n_left;
}

/* What becomes of the rows of every node of the level, in some chunks: of a leaf, their margins are
 * done; of a split into leaves too; those of others are divided. */
static void settle(void *ud, size_t first, size_t last, unsigned worker)
{
    struct boost_grower *g = ud;
    size_t chunks = g->rows->chunks, child = 0;
    bool last_level = g->depth + 1 == g->o->max_depth;
    for (size_t k = 0; k < g->now.n; k++) {
        const struct boost_node *nodes = g->tree->nodes, *node = &nodes[g->now.node[k]];
        for (size_t c = first; c < last; c++) {
            struct run run = g->now.runs[k * chunks + c];
            size_t at = c * BOOST_CHUNK + run.start;
            uint32_t *margin = g->rows->margin + at;
            if (node->left == 0) {
                float v = (float)node->value;
                for (size_t i = 0; i < run.len; i++) boost_add_margin(&margin[i], v);
            } else if (last_level) {
                const uint64_t *word = g->bins->words[node->feature / BOOST_BLOCK] + at;
                unsigned shift = node->feature % BOOST_BLOCK * 8;
                float value[BOOST_BINS];
                if (run.len == 0) continue;
                float l = (float)nodes[node->left].value, r = (float)nodes[node->right].value;
                for (unsigned b = 0; b < BOOST_BINS; b++)
                    value[b] = boost_goes_left(node, b) ? l : r;
                for (size_t i = 0; i < run.len; i++)
                    boost_add_margin(&margin[i], value[word[i] >> shift & 0xff]);
            } else {
                size_t n = run.len > 0 ? divide(g, node, at, run.len, &g->workers[worker]) : 0;
                g->next.runs[child * chunks + c] = (struct run){run.start, (uint16_t)n};
                g->next.runs[(child + 1) * chunks + c] =
                    (struct run){(uint16_t)(run.start + n), (uint16_t)(run.len - n)};
            }
        }
        if (node->left != 0) child += 2;
    }
}

/* -- levels -- */

static int reserve_level(struct boost_grower *g, struct level *l, size_t n)
{
    size_t larger = 2 * n, chunks = g->rows->chunks;
    if (n <= l->capacity) return 0;
    free(l->node);
    free(l->slot);
    free(l->runs);
    l->capacity = 0;
    l->node = malloc(larger * sizeof *l->node);
    l->slot = malloc(larger * sizeof *l->slot);
    l->runs = larger > PTRDIFF_MAX / chunks / sizeof *l->runs
                  ? NULL
                  : malloc(larger * chunks * sizeof *l->runs);
    if (l->node == NULL || l->slot == NULL || l->runs == NULL) return -ENOMEM;
    l->capacity = larger;
    return 0;
}

static int take_slot(struct boost_grower *g, size_t *slot)
{
    void *grown;
    if (g->n_free > 0) {
        *slot = g->free_slots[--g->n_free];
        return 0;
    }
    if (g->n_slots == g->slots_capacity) {
        size_t capacity = g->slots_capacity;
        if (!RESERVE(g->free_slots, capacity, g->n_slots + 1)) return -ENOMEM;
        if (!RESERVE(g->slots, g->slots_capacity, g->n_slots + 1)) return -ENOMEM;
    }
    g->slots[g->n_slots] = malloc(g->bins->columns * BOOST_BINS * sizeof **g->slots);
    if (g->slots[g->n_slots] == NULL) return -ENOMEM;
    *slot = g->n_slots++;
    return 0;
}

static void give_slot(struct boost_grower *g, size_t slot)
{
    if (slot != NO_SLOT) g->free_slots[g->n_free++] = slot;
}

static int reserve_pairs(struct boost_grower *g)
{
    size_t columns = g->bins->columns, each = columns * BOOST_BINS;
    void *grown;
    if (!RESERVE(g->found, g->found_capacity, g->n_pairs * 2 * columns)) return -ENOMEM;
    for (unsigned k = 0; k < parallel_threads(g->team); k++) {
        struct worker *w = &g->workers[k];
        if (g->n_pairs <= w->capacity) continue;
        free(w->sums);
        w->capacity = 0;
        w->sums = calloc(g->n_pairs * each, sizeof *w->sums);
        if (w->sums == NULL) return -ENOMEM;
        w->capacity = g->n_pairs;
    }
    return 0;
}

/* Counts the pairs of the next level, and finds the best split of each of their nodes. */
static int evaluate(struct boost_grower *g)
{
    int rc = 0;
    for (size_t p = 0; p < g->n_pairs && rc == 0; p++) {
        struct pair *pair = &g->pairs[p];
        pair->wanted = may_split(g, &g->tree->nodes[pair->small]) ||
                       (pair->large != 0 && may_split(g, &g->tree->nodes[pair->large]));
        pair->small_slot = NO_SLOT;
        if (pair->wanted)
            rc = take_slot(g, &pair->small_slot);
        else
            give_slot(g, pair->large_slot);
        if (!pair->wanted) pair->large_slot = NO_SLOT;
        g->next.slot[pair->small_at] = pair->small_slot;
        if (pair->large != 0) g->next.slot[pair->large_at] = pair->large_slot;
    }
    if (rc == 0) rc = reserve_pairs(g);
    if (rc == 0) rc = make_items(g);
    if (rc < 0) return rc;
    parallel_for(g->team, g->n_items, 1, count_items, g);
    parallel_for(g->team, g->n_pairs * g->bins->columns, 1, search_pairs, g);
    for (size_t p = 0; p < g->n_pairs && rc == 0; p++) {
        const struct pair *pair = &g->pairs[p];
        const struct boost_split_found *best, *found = g->found + p * 2 * g->bins->columns;
        choose(g, found, &g->tree->nodes[pair->small], &best);
        if (best != NULL) rc = split(g, pair->small, best);
        if (pair->large == 0 || rc < 0) continue;
        choose(g, found + g->bins->columns, &g->tree->nodes[pair->large], &best);
        if (best != NULL) rc = split(g, pair->large, best);
    }
    return rc;
}

/* The children of the level's splits become the next level; the larger of two takes over the
 * histogram of both, until it is made its own. */
static int descend(struct boost_grower *g)
{
    void *grown;
    g->n_pairs = g->next.n = 0;
    for (size_t k = 0; k < g->now.n; k++) {
        const struct boost_node *nodes = g->tree->nodes, *node = &nodes[g->now.node[k]];
        if (node->left == 0) {
            give_slot(g, g->now.slot[k]);
            continue;
        }
        if (!RESERVE(g->pairs, g->pairs_capacity, g->n_pairs + 1)) return -ENOMEM;
        uint32_t at = (uint32_t)g->next.n;
        bool left_small = nodes[node->left].n <= nodes[node->right].n;
        g->next.node[at] = node->left;
        g->next.node[at + 1] = node->right;
        g->pairs[g->n_pairs++] =
            left_small
                ? (struct pair){node->left, node->right, at, at + 1, NO_SLOT, g->now.slot[k], false}
                : (struct pair){node->right, node->left,     at + 1, at,
                                NO_SLOT,     g->now.slot[k], false};
        g->next.n += 2;
    }
    return 0;
}

static void start_root(struct boost_grower *g)
{
    size_t n = g->rows->n;
    g->next.n = 1;
    g->next.node[0] = 0;
    for (size_t c = 0; c < g->rows->chunks; c++) {
        size_t left = n - c * BOOST_CHUNK;
        g->next.runs[c] = (struct run){0, (uint16_t)(left < BOOST_CHUNK ? left : BOOST_CHUNK)};
    }
    g->pairs[0] = (struct pair){0, 0, 0, 0, NO_SLOT, NO_SLOT, false};
    g->n_pairs = 1;
}

static int grow(struct boost_grower *g, const atomic_bool *cancel)
{
    void *grown;
    struct boost_node root = make_node(g, g->rows->all, -INFINITY, INFINITY);
    uint32_t at;
    int rc = add_node(g->tree, &root, &at);
    if (rc == 0) rc = reserve_level(g, &g->next, 1);
    if (rc == 0 && !RESERVE(g->pairs, g->pairs_capacity, 1)) rc = -ENOMEM;
    if (rc < 0) return rc;
    start_root(g);
    for (g->depth = 0;; g->depth++) {
        rc = boost_cancelled(cancel) ? -ECANCELED : evaluate(g);
        if (rc < 0) return rc;
        struct level t = g->now;
        g->now = g->next;
        g->next = t;
        size_t splits = 0;
        for (size_t k = 0; k < g->now.n; k++) splits += g->tree->nodes[g->now.node[k]].left != 0;
        rc = reserve_level(g, &g->next, 2 * splits + 1);
        if (rc < 0) return rc;
        parallel_for(g->team, g->rows->chunks, 1, settle, g);
        rc = descend(g);
        if (rc < 0 || splits == 0 || g->depth + 1 == g->o->max_depth) return rc;
    }
}

int boost_grow(struct boost_grower *g, struct boost_tree *out, const bool *features,
               const atomic_bool *cancel)
{
    g->tree = out;
    g->features = features;
    out->n = 0;
    int rc = grow(g, cancel);
    g->n_free = 0; /* all slots are free again */
    for (size_t s = 0; s < g->n_slots; s++) g->free_slots[g->n_free++] = s;
    return rc;
}

/* -- opening, closing -- */

static int open_worker(struct worker *w)
{
    w->packed = calloc(BOOST_BLOCK * BOOST_BINS, sizeof *w->packed);
    w->left = malloc(BOOST_CHUNK * sizeof *w->left);
    w->words = malloc((BOOST_CHUNK + BOOST_ASIDE) * sizeof *w->words);
    w->halves = malloc((BOOST_CHUNK + BOOST_ASIDE) * sizeof *w->halves);
    bool all = w->packed != NULL && w->left != NULL && w->words != NULL && w->halves != NULL;
    return all ? 0 : -ENOMEM;
}

int boost_grower_open(struct boost_grower **out, const struct boost_bins *b, struct boost_rows *r,
                      const struct boost_options *o, struct parallel *team)
{
    struct boost_grower *g = calloc(1, sizeof *g);
    if (g == NULL) return -ENOMEM;
    *g = (struct boost_grower){.bins = b, .rows = r, .o = o, .team = team};
    unsigned threads = parallel_threads(team);
    g->workers = calloc(threads, sizeof *g->workers);
    int rc = g->workers == NULL ? -ENOMEM : 0;
    for (unsigned k = 0; k < threads && rc == 0; k++) rc = open_worker(&g->workers[k]);
    if (rc < 0) {
        boost_grower_close(g);
        return rc;
    }
    *out = g;
    return 0;
}

static void free_level(struct level *l)
{
    free(l->node);
    free(l->slot);
    free(l->runs);
}

void boost_grower_close(struct boost_grower *g)
{
    if (g == NULL) return;
    for (unsigned k = 0; g->workers != NULL && k < parallel_threads(g->team); k++) {
        struct worker *w = &g->workers[k];
        free(w->packed);
        free(w->sums);
        free(w->left);
        free(w->words);
        free(w->halves);
    }
    for (size_t s = 0; s < g->n_slots; s++) free(g->slots[s]);
    free_level(&g->now);
    free_level(&g->next);
    free(g->workers);
    free(g->slots);
    free(g->free_slots);
    free(g->pairs);
    free(g->items);
    free(g->found);
    free(g);
}
