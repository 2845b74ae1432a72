/* Scoring. Three ways that give the same bits, for they add the same numbers in the same order:
 * - the definition, forest_path_length(): for rows where something is missing;
 * - the walk: eight trees at once, so that their loads overlap, each for as many steps as the
 * longest path has: there is no branch to mispredict;
 * - the plan (forest_plan.c): all nodes for 64 rows at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/parallel.h"
#include "kernels/forest.h"
#include "kernels/forest_form.h"
#include "kernels/forest_plan.h"

enum {
    ABREAST = 8,   /* trees walked at once */
    PIECE = 2048,  /* rows a thread takes at a time */
    PLANNED = 256, /* rows from which on a plan is made */
    FEW = 16384    /* rows that one thread is enough for */
};

/* -- the definition -- */

/* Whether x goes right at node k, or -1 where it lacks what the node asks for. */
static int turn(const struct forest *f, size_t k, const float *x)
{
    float v = x[forest_feature(f, f->node[k])];
    if (f->pair == NULL) return isnan(v) ? -1 : v > f->node[k].t;
    const struct forest_pair *p = &f->pair[k];
    float w = x[p->second];
    if (isnan(v) || isnan(w)) return -1;
    return (double)p->w[0] * (double)v + (double)p->w[1] * (double)w > p->t;
}

static double path_from(const struct forest *f, size_t tree, uint32_t at, const float *x)
{
    for (;;) {
        uint32_t first = f->first[tree], k = first + at, child = forest_child(f, first, f->node[k]);
        if (child == at) return f->value[k];
        int right = turn(f, k, x);
        if (right < 0) {
            double l = f->rows[first + child], r = f->rows[first + child + 1];
            return (l * path_from(f, tree, child, x) + r * path_from(f, tree, child + 1, x)) /
                   (l + r);
        }
        at = child + (uint32_t)right;
    }
}

double forest_path_length(const struct forest *f, size_t tree, const float *x)
{
    return path_from(f, tree, 0, x);
}

static double path_of_all(const struct forest *f, const float *x)
{
    double path = 0;
    for (size_t t = 0; t < f->trees; t++) path += forest_path_length(f, t, x);
    return path;
}

/* -- the walk -- */

/* One step of one of the trees walked at once. */
#define STEP(i)                                                                                    \
    do {                                                                                           \
        uint32_t where = node[at##i].where;                                                        \
        float cut = node[at##i].t;                                                                 \
        at##i = (where >> bits) + (x[where & mask] > cut);                                         \
    } while (0)

/* Adds path lengths, where the trees walked at once have ended, in order: not of the first ones,
 * which are added already. */
static inline double add_leaves(const struct forest *f, const uint32_t at[ABREAST], unsigned first,
                                double path)
{
    const double *v = f->value;
    if (first == 0)
        return path + v[at[0]] + v[at[1]] + v[at[2]] + v[at[3]] + v[at[4]] + v[at[5]] + v[at[6]] +
               v[at[7]];
    for (unsigned i = first; i < ABREAST; i++) path += v[at[i]];
    return path;
}

/* Adds the path lengths in the trees [t + skip, t + ABREAST) to path, in order. */
static __attribute__((noinline)) double walk_abreast(const struct forest *f, size_t t,
                                                     unsigned skip, const float *x, double path)
{
    const struct forest_node *node = f->node;
    const uint32_t *first = f->first + t;
    uint32_t at0 = first[0], at1 = first[1], at2 = first[2], at3 = first[3], at4 = first[4],
             at5 = first[5], at6 = first[6], at7 = first[7], mask = (1u << f->feature_bits) - 1;
    unsigned bits = f->feature_bits;
    for (unsigned level = f->levels; level > 0; level--) {
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
        STEP(4);
        STEP(5);
        STEP(6);
        STEP(7);
    }
    const uint32_t at[] = {at0, at1, at2, at3, at4, at5, at6, at7};
    return add_leaves(f, at, skip, path);
}

#define STEP_PAIR(i)                                                                               \
    do {                                                                                           \
        uint32_t where = node[at##i].where;                                                        \
        const struct forest_pair *p = &pair[at##i];                                                \
        double z =                                                                                 \
            (double)p->w[0] * (double)x[where & mask] + (double)p->w[1] * (double)x[p->second];    \
        at##i = (where >> bits) + (z > p->t);                                                      \
    } while (0)

static __attribute__((noinline)) double walk_pairs(const struct forest *f, size_t t, unsigned skip,
                                                   const float *x, double path)
{
    const struct forest_node *node = f->node;
    const struct forest_pair *pair = f->pair;
    const uint32_t *first = f->first + t;
    uint32_t at0 = first[0], at1 = first[1], at2 = first[2], at3 = first[3], at4 = first[4],
             at5 = first[5], at6 = first[6], at7 = first[7], mask = (1u << f->feature_bits) - 1;
    unsigned bits = f->feature_bits;
    for (unsigned level = f->levels; level > 0; level--) {
        STEP_PAIR(0);
        STEP_PAIR(1);
        STEP_PAIR(2);
        STEP_PAIR(3);
        STEP_PAIR(4);
        STEP_PAIR(5);
        STEP_PAIR(6);
        STEP_PAIR(7);
    }
    const uint32_t at[] = {at0, at1, at2, at3, at4, at5, at6, at7};
    return add_leaves(f, at, skip, path);
}

/* Of n rows in which nothing is missing, tree group by tree group, so that a group stays in the
 * cache. The last group has trees in it again that were in the one before, rather than fewer. */
static void walk(const struct forest *f, const float *x /* (n, features) */, size_t n, double *path)
{
    memset(path, 0, n * sizeof *path);
    if (f->trees < ABREAST) {
        for (size_t t = 0; t < f->trees; t++)
            for (size_t i = 0; i < n; i++) path[i] += forest_path_length(f, t, x + i * f->features);
        return;
    }
    for (size_t done = 0; done < f->trees; done += ABREAST) {
        size_t t = f->trees - done < ABREAST ? f->trees - ABREAST : done;
        unsigned skip = (unsigned)(done - t);
        for (size_t i = 0; i < n; i++) {
            const float *row = x + i * f->features;
            path[i] = f->pair == NULL ? walk_abreast(f, t, skip, row, path[i])
                                      : walk_pairs(f, t, skip, row, path[i]);
        }
    }
}

/* -- one row -- */

static double score_row(const struct forest *f, const double *x, float *row)
{
    double path;
    if (forest_floats(x, f->origin, f->features, f->pair != NULL, row))
        path = path_of_all(f, row);
    else
        walk(f, row, 1, &path);
    return forest_score_of(f, path);
}

double forest_score_row(const struct forest *f, const double *x)
{
    float row[FOREST_ON_STACK];
    if (f->features <= FOREST_ON_STACK) return score_row(f, x, row);
    float *large = malloc(f->features * sizeof *large);
    double score = large != NULL ? score_row(f, x, large) : NAN;
    free(large);
    return score;
}

/* -- many -- */

enum {
    BLOCKS = 4,                   /* that go through a tree one after the other */
    BATCH = BLOCKS * FOREST_BLOCK /* rows that are converted together */
};

struct job {
    const struct forest *f;
    const struct matrix *m;
    const size_t *which;
    bool in_place;                  /* the columns are those of the forest, in its order */
    const struct forest_plan *plan; /* NULL: walk */
    struct forest_lanes lanes;
    const atomic_bool *cancel;
    double *out;
    struct workspace *workspace; /* one a thread */
};

struct workspace {
    double *row; /* (features) */
    float *x;    /* (BATCH, features) */
    double path[BATCH];
    bool missing[BATCH];
    /* With a plan: */
    int16_t *rank; /* (BLOCKS, features, FOREST_BLOCK) */
    unsigned char (*slots)[FOREST_BLOCK];
    unsigned char (*labels)[FOREST_BLOCK]; /* (TOGETHER * BLOCKS) */
};

enum { TOGETHER = 4 }; /* trees whose leaves are looked up together */

static void workspace_free(struct workspace *w)
{
    free(w->row);
    free(w->x);
    free(w->rank);
    free(w->slots);
    free(w->labels);
}

static int workspace_init(struct workspace *w, const struct job *j)
{
    size_t features = j->f->features;
    w->row = malloc(features * sizeof *w->row);
    w->x = malloc(BATCH * features * sizeof *w->x);
    if (w->row == NULL || w->x == NULL) return -ENOMEM;
    if (j->plan == NULL) return 0;
    w->rank = aligned_alloc(64, BATCH * features * sizeof *w->rank);
    w->slots = aligned_alloc(64, (FOREST_LEAVES + 1) * sizeof *w->slots);
    w->labels = aligned_alloc(64, TOGETHER * sizeof *w->labels);
    return w->rank != NULL && w->slots != NULL && w->labels != NULL ? 0 : -ENOMEM;
}

/* Rows as they are compared, and which of them lack something. */
static void convert(const struct job *j, size_t first, size_t n, struct workspace *w)
{
    size_t features = j->f->features;
    for (size_t i = 0; i < n; i++) {
        const double *from = matrix_row(j->m, first + i);
        float *row = w->x + i * features;
        if (!j->in_place) {
            for (size_t c = 0; c < features; c++) w->row[c] = from[j->which[c]];
            from = w->row;
        }
        w->missing[i] = forest_floats(from, j->f->origin, features, j->f->pair != NULL, row);
    }
}

static void rank_block(const struct job *j, struct workspace *w, size_t block)
{
    const struct forest_plan *p = j->plan;
    for (size_t c = 0; c < p->features; c++) {
        const struct forest_ranks ranks = p->ranks[c];
        const float *x = w->x + block * FOREST_BLOCK * p->features + c;
        int16_t *out = w->rank + (block * p->features + c) * FOREST_BLOCK;
        for (unsigned r = 0; r < FOREST_BLOCK; r++, x += p->features)
            out[j->lanes.at[r]] = (int16_t)forest_rank(p, &ranks, *x);
    }
}

/* Adds the path lengths in the trees [t, last) to those of a block, in order. */
static void run_trees(const struct job *j, struct workspace *w, size_t block, size_t t, size_t last)
{
    const struct forest_plan *p = j->plan;
    const int16_t *ranks = w->rank + block * p->features * FOREST_BLOCK;
    const double *leaf[TOGETHER];
    double *path = w->path + block * FOREST_BLOCK;
    size_t n = last - t;
    for (size_t k = 0; k < n; k++) {
        const struct forest_step *step = p->step + p->step_first[t + k],
                                 *leaves = p->step + p->last_first[t + k],
                                 *end = p->step + p->step_first[t + k + 1];
        j->lanes.run(step, leaves, end, ranks, w->slots[0], w->labels[k]);
        leaf[k] = p->leaf + p->leaf_first[t + k];
    }
    for (size_t i = 0; n == TOGETHER && i < FOREST_BLOCK; i++)
        path[i] = path[i] + leaf[0][w->labels[0][i]] + leaf[1][w->labels[1][i]] +
                  leaf[2][w->labels[2][i]] + leaf[3][w->labels[3][i]];
    for (size_t k = 0; n < TOGETHER && k < n; k++)
        for (size_t i = 0; i < FOREST_BLOCK; i++) path[i] += leaf[k][w->labels[k][i]];
}

static void run_plan(const struct job *j, struct workspace *w, size_t n)
{
    size_t blocks = (n + FOREST_BLOCK - 1) / FOREST_BLOCK, features = j->f->features;
    /* What is not there is scored too, and thrown away. */
    for (size_t i = n * features; i < blocks * FOREST_BLOCK * features; i++) w->x[i] = 0;
    for (size_t i = 0; i < blocks * FOREST_BLOCK; i++) w->path[i] = 0;
    for (size_t b = 0; b < blocks; b++) rank_block(j, w, b);
    for (size_t t = 0; t < j->f->trees; t += TOGETHER) {
        size_t last = j->f->trees - t < TOGETHER ? j->f->trees : t + TOGETHER;
        for (size_t b = 0; b < blocks; b++) run_trees(j, w, b, t, last);
    }
}

static void score_rows(void *ud, size_t first, size_t last, unsigned worker)
{
    struct job *j = ud;
    struct workspace *w = &j->workspace[worker];
    const struct forest *f = j->f;
    if (j->cancel != NULL && atomic_load_explicit(j->cancel, memory_order_relaxed)) return;
    for (size_t i = first; i < last; i += BATCH) {
        size_t n = last - i < BATCH ? last - i : BATCH;
        convert(j, i, n, w);
        if (j->plan != NULL)
            run_plan(j, w, n);
        else
            walk(f, w->x, n, w->path);
        for (size_t k = 0; k < n; k++) {
            if (w->missing[k]) w->path[k] = path_of_all(f, w->x + k * f->features);
            j->out[i + k] = forest_score_of(f, w->path[k]);
        }
    }
}

static enum forest_path chosen = FOREST_BEST;

void forest_set_path(enum forest_path path) { chosen = path; }

/* The forest's plan, made now where there is none yet. NULL where it cannot be had. */
static const struct forest_plan *plan_of(const struct forest *f)
{
    /* It is no part of what the forest is, only of how fast: hence behind the const. */
    _Atomic(struct forest_plan *) *kept = (_Atomic(struct forest_plan *) *)(uintptr_t)&f->plan;
    struct forest_plan *p = atomic_load(kept), *other = NULL;
    if (p != NULL || forest_plan_new(&p, f) < 0) return p;
    if (atomic_compare_exchange_strong(kept, &other, p)) return p;
    forest_plan_free(p);
    return other;
}

bool forest_knows_path(enum forest_path path)
{
    return path == FOREST_WALK || forest_lanes(path).run != NULL;
}

bool forest_has_path(const struct forest *f, enum forest_path path)
{
    if (path == FOREST_BEST || path == FOREST_WALK) return true;
    return forest_knows_path(path) && plan_of(f) != NULL;
}

int forest_score(const struct forest *f, const struct matrix *m, const size_t *which,
                 unsigned threads, const atomic_bool *cancel, double *out)
{
    struct job j = {.f = f, .m = m, .which = which, .cancel = cancel, .out = out, .in_place = true};
    for (size_t c = 0; c < f->features; c++) j.in_place &= which[c] == c;
    j.lanes = forest_lanes(chosen);
    if (j.lanes.run != NULL && m->rows >= PLANNED) j.plan = plan_of(f);
    struct parallel *team = NULL;
    int rc = parallel_open(&team, m->rows <= FEW ? 1 : threads);
    unsigned n = rc == 0 ? parallel_threads(team) : 0;
    if (rc == 0 && (j.workspace = calloc(n, sizeof *j.workspace)) == NULL) rc = -ENOMEM;
    for (unsigned i = 0; rc == 0 && i < n; i++) rc = workspace_init(&j.workspace[i], &j);
    if (rc == 0) parallel_for(team, m->rows, PIECE, score_rows, &j);
    for (unsigned i = 0; j.workspace != NULL && i < n; i++) workspace_free(&j.workspace[i]);
    free(j.workspace);
    parallel_close(team);
    if (rc == 0 && cancel != NULL && atomic_load(cancel)) rc = -ECANCELED;
    return rc;
}
