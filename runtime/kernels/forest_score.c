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
    ABREAST = 8,  /* trees walked at once */
    PIECE = 2048, /* rows a thread takes at a time */
    FEW = 16384   /* rows that one thread is enough for */
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
        size_t first = f->first[tree], k = first + at;
        uint32_t child = forest_child(f, f->node[k]);
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
        struct forest_node n = tree[i][at[i]];                                                     \
        at[i] = (n.where >> bits) + (x[n.where & mask] > n.t);                                     \
    } while (0)

/* Adds the path lengths in the trees [t, t + ABREAST) to path, in order. */
static double walk_abreast(const struct forest *f, size_t t, const float *x, double path)
{
    const struct forest_node *tree[ABREAST];
    uint32_t at[ABREAST] = {0}, mask = (1u << f->feature_bits) - 1;
    unsigned bits = f->feature_bits;
    for (size_t i = 0; i < ABREAST; i++) tree[i] = f->node + f->first[t + i];
    for (unsigned level = 0; level < f->levels; level++) {
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
        STEP(4);
        STEP(5);
        STEP(6);
        STEP(7);
    }
    for (size_t i = 0; i < ABREAST; i++) path += f->value[f->first[t + i] + at[i]];
    return path;
}

#define STEP_PAIR(i)                                                                               \
    do {                                                                                           \
        uint32_t where = tree[i][at[i]].where;                                                     \
        const struct forest_pair *p = &pair[i][at[i]];                                             \
        double z =                                                                                 \
            (double)p->w[0] * (double)x[where & mask] + (double)p->w[1] * (double)x[p->second];    \
        at[i] = (where >> bits) + (z > p->t);                                                      \
    } while (0)

static double walk_pairs(const struct forest *f, size_t t, const float *x, double path)
{
    const struct forest_node *tree[ABREAST];
    const struct forest_pair *pair[ABREAST];
    uint32_t at[ABREAST] = {0}, mask = (1u << f->feature_bits) - 1;
    unsigned bits = f->feature_bits;
    for (size_t i = 0; i < ABREAST; i++) {
        tree[i] = f->node + f->first[t + i];
        pair[i] = f->pair + f->first[t + i];
    }
    for (unsigned level = 0; level < f->levels; level++) {
        STEP_PAIR(0);
        STEP_PAIR(1);
        STEP_PAIR(2);
        STEP_PAIR(3);
        STEP_PAIR(4);
        STEP_PAIR(5);
        STEP_PAIR(6);
        STEP_PAIR(7);
    }
    for (size_t i = 0; i < ABREAST; i++) path += f->value[f->first[t + i] + at[i]];
    return path;
}

/* Of n rows in which nothing is missing, tree group by tree group, so that a group stays in the
 * cache. */
static void walk(const struct forest *f, const float *x /* (n, features) */, size_t n, double *path)
{
    size_t t = 0;
    memset(path, 0, n * sizeof *path);
    for (; t + ABREAST <= f->trees; t += ABREAST) {
        for (size_t i = 0; i < n; i++) {
            const float *row = x + i * f->features;
            path[i] =
                f->pair == NULL ? walk_abreast(f, t, row, path[i]) : walk_pairs(f, t, row, path[i]);
        }
    }
    for (; t < f->trees; t++)
        for (size_t i = 0; i < n; i++) path[i] += forest_path_length(f, t, x + i * f->features);
}

/* -- one row -- */

static double score_row(const struct forest *f, const double *x, float *row)
{
    bool missing = false;
    for (size_t c = 0; c < f->features; c++) {
        row[c] = forest_float(x[c], f->origin[c]);
        missing |= isnan(row[c]);
    }
    double path;
    if (missing)
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

enum { BLOCK = 64 }; /* rows that are converted and walked together */

struct job {
    const struct forest *f;
    const struct matrix *m;
    const size_t *which;
    const atomic_bool *cancel;
    double *out;
    float **rows; /* one a thread: (BLOCK, features) */
};

/* Rows as they are compared; with a 0 where something is missing, and which rows these are. */
static void convert(const struct job *j, size_t first, size_t n, float *x, bool *missing)
{
    for (size_t i = 0; i < n; i++) {
        const double *from = matrix_row(j->m, first + i);
        float *row = x + i * j->f->features;
        missing[i] = false;
        for (size_t c = 0; c < j->f->features; c++) {
            float v = forest_float(from[j->which[c]], j->f->origin[c]);
            missing[i] |= v != v;
            row[c] = v;
        }
    }
}

static void score_rows(void *ud, size_t first, size_t last, unsigned worker)
{
    struct job *j = ud;
    float *x = j->rows[worker];
    if (j->cancel != NULL && atomic_load_explicit(j->cancel, memory_order_relaxed)) return;
    for (size_t i = first; i < last; i += BLOCK) {
        size_t n = last - i < BLOCK ? last - i : BLOCK;
        double path[BLOCK];
        bool missing[BLOCK];
        convert(j, i, n, x, missing);
        walk(j->f, x, n, path);
        for (size_t k = 0; k < n; k++) {
            if (missing[k]) path[k] = path_of_all(j->f, x + k * j->f->features);
            j->out[i + k] = forest_score_of(j->f, path[k]);
        }
    }
}

int forest_score(const struct forest *f, const struct matrix *m, const size_t *which,
                 unsigned threads, const atomic_bool *cancel, double *out)
{
    struct job j = {.f = f, .m = m, .which = which, .cancel = cancel, .out = out};
    struct parallel *team = NULL;
    int rc = parallel_open(&team, m->rows <= FEW ? 1 : threads);
    unsigned n = rc == 0 ? parallel_threads(team) : 0;
    if (rc == 0 && (j.rows = calloc(n, sizeof *j.rows)) == NULL) rc = -ENOMEM;
    for (unsigned i = 0; rc == 0 && i < n; i++)
        if ((j.rows[i] = malloc(BLOCK * f->features * sizeof **j.rows)) == NULL) rc = -ENOMEM;
    if (rc == 0) parallel_for(team, m->rows, PIECE, score_rows, &j);
    for (unsigned i = 0; j.rows != NULL && i < n; i++) free(j.rows[i]);
    free(j.rows);
    parallel_close(team);
    if (rc == 0 && cancel != NULL && atomic_load(cancel)) rc = -ECANCELED;
    return rc;
}
