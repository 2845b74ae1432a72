#include "kernels/trees_explain.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/trees_room.h"

#define EXPLAIN explain_portable
#include "kernels/trees_explain_code.h"

enum { STEPS_AT_ONCE = 8192, ALIGNED = 32 };

/* --- paths ----------------------------------------------------------------------------------- */

/* The way from the root to where the walk is. */
struct way {
    const struct trees *t;
    struct paths *p;
    uint32_t group, n, n_turns;
    struct path_step steps[TREES_MOST_DEPTH];
    struct path_turn turns[TREES_MOST_DEPTH];
};

static bool is_turn(const struct trees_node *node)
{
    return node->flags & (TREES_CATEGORICAL | TREES_ZERO_MISSING);
}

static bool add_path(struct way *w, double value)
{
    struct paths *p = w->p;
    if (w->n == 0) return true; /* a tree without splits explains nothing */
    if (!RESERVE(p->paths, p->room_paths, p->n_paths + 1) ||
        !RESERVE(p->steps, p->room_steps, p->n_steps + w->n) ||
        !RESERVE(p->turns, p->room_turns, p->n_turns + w->n_turns + 1))
        return false;
    p->paths[p->n_paths++] = (struct path){value, (uint32_t)p->n_steps, w->n, w->group};
    for (uint32_t i = 0; i < w->n; i++) {
        struct path_step *step = &p->steps[p->n_steps++];
        *step = w->steps[i];
        step->turn = p->n_turns & INT32_MAX;
        step->turns = 0;
        for (uint32_t k = 0; k < w->n_turns; k++) {
            if (w->t->nodes[w->turns[k].node].feature != step->feature) continue;
            p->turns[p->n_turns++] = w->turns[k];
            step->turns++;
        }
    }
    return true;
}

static double share_of(const struct trees *t, uint32_t child, uint32_t other)
{
    double a = t->cover[child] / 2, b = t->cover[other] / 2;
    return a + b > 0 ? a / (a + b) : 0.5;
}

static bool follow(struct way *w, uint32_t at);

/* Goes to one child with what that says of x, and takes it back. */
static bool take(struct way *w, uint32_t at, bool left)
{
    const struct trees_node *node = &w->t->nodes[at];
    uint32_t i = 0, n = w->n, n_turns = w->n_turns;
    uint32_t child = left ? node->left : node->right, other = left ? node->right : node->left;
    while (i < n && w->steps[i].feature != node->feature) i++;
    if (i == n) {
        w->steps[i] = (struct path_step){
            .low = NAN, .high = INFINITY, .share = 1, .feature = node->feature, .missing = 1};
        w->n++;
    }
    struct path_step *step = &w->steps[i], was = *step;
    step->share *= share_of(w->t, child, other);
    if (is_turn(node)) {
        w->turns[w->n_turns++] = (struct path_turn){at, left};
    } else {
        step->missing = step->missing && left == !!(node->flags & TREES_MISSING_LEFT);
        if (left && node->at < step->high) step->high = node->at;
        if (!left && !(node->at <= step->low)) step->low = node->at;
    }
    bool fine = follow(w, child);
    w->steps[i] = was;
    w->n = n;
    w->n_turns = n_turns;
    return fine;
}

static bool follow(struct way *w, uint32_t at) /* recurses TREES_MOST_DEPTH deep at most */
{
    const struct trees_node *node = &w->t->nodes[at];
    if (node->left == TREES_NONE) return add_path(w, node->at);
    return take(w, at, true) && take(w, at, false);
}

/* The mean over the training rows of what is below a node. */
static double mean_below(const struct trees *t, uint32_t at)
{
    const struct trees_node *node = &t->nodes[at];
    if (node->left == TREES_NONE) return node->at;
    double share = share_of(t, node->left, node->right);
    return share * mean_below(t, node->left) + (1 - share) * mean_below(t, node->right);
}

static int fewer_steps(const void *a, const void *b)
{
    const struct path *p = a, *q = b;
    if (p->count != q->count) return p->count < q->count ? -1 : 1;
    return p->first < q->first ? -1 : p->first > q->first;
}

/* --- the quadrature -------------------------------------------------------------------------- */

/* Newton's method on Legendre's polynomials, from a guess that is near enough for each root. */
static void make_rule(unsigned order, double *points, double *weights)
{
    for (unsigned i = 0; i < order; i++) {
        double x = cos(M_PI * (i + 0.75) / (order + 0.5)), slope = 1;
        for (int round = 0; round < 20; round++) {
            double p = 1, last = 0;
            for (unsigned k = 0; k < order; k++) {
                double next = ((2 * k + 1) * x * p - k * last) / (k + 1);
                last = p;
                p = next;
            }
            slope = order * (x * p - last) / (x * x - 1);
            double change = p / slope;
            x -= change;
            if (fabs(change) < 1e-16) break;
        }
        points[i] = (1 + x) / 2;
        weights[i] = 1 / ((1 - x * x) * slope * slope);
    }
}

/* --- rows ------------------------------------------------------------------------------------ */

struct explanation {
    const struct trees *t;
    struct paths p;
    struct way way;
    double *points, *weights; /* of the order at hand */
    double *x, *sums, *work;
    explain_fn *run;
    const atomic_bool *cancel;
};

static bool cancelled(const struct explanation *ex)
{
    return ex->cancel != NULL && atomic_load_explicit(ex->cancel, memory_order_relaxed);
}

static explain_fn *run_of(void)
{
#if defined __x86_64__
    if (strcmp(trees_vector_code(), "avx2") == 0) return explain_avx2;
#endif
    return explain_portable;
}

/* All rows along the paths at hand, which have as many steps each. */
static void explain_run(struct explanation *ex, size_t first, size_t last, const double *x,
                        size_t n, double *out)
{
    const struct trees *t = ex->t;
    size_t width = t->groups * (t->features + 1), d = t->features;
    unsigned order = (ex->p.paths[first].count + 1) / 2;
    make_rule(order, ex->points, ex->weights);
    struct explain_rule rule = {ex->points, ex->weights};
    for (size_t i = 0; i < n && !cancelled(ex); i += EXPLAIN_LANES) {
        size_t rows = n - i < EXPLAIN_LANES ? n - i : EXPLAIN_LANES;
        for (size_t j = 0; j < d; j++)
            for (size_t r = 0; r < EXPLAIN_LANES; r++)
                ex->x[j * EXPLAIN_LANES + r] = x[(i + (r < rows ? r : 0)) * d + j];
        memset(ex->sums, 0, width * EXPLAIN_LANES * sizeof *ex->sums);
        ex->run(t, &ex->p, first, last, rule, ex->x, ex->work, ex->sums);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < width; j++)
                out[(i + r) * width + j] += ex->sums[j * EXPLAIN_LANES + r];
    }
}

static void explain_paths(struct explanation *ex, const double *x, size_t n, double *out)
{
    struct paths *p = &ex->p;
    if (p->n_paths == 0) return; /* then there may be no array */
    qsort(p->paths, p->n_paths, sizeof *p->paths, fewer_steps);
    for (size_t first = 0, last; first < p->n_paths; first = last) {
        last = first;
        while (last < p->n_paths && p->paths[last].count == p->paths[first].count) last++;
        explain_run(ex, first, last, x, n, out);
    }
    p->n_paths = p->n_steps = p->n_turns = 0;
}

static int explain_all(struct explanation *ex, const double *x, size_t n, double *out)
{
    const struct trees *t = ex->t;
    size_t width = t->features + 1;
    for (size_t k = 0; k < t->n_trees; k++) {
        const struct trees_tree *tree = &t->trees[k];
        double mean = mean_below(t, tree->first);
        for (size_t i = 0; i < n; i++) out[(i * t->groups + tree->group + 1) * width - 1] += mean;
        ex->way.group = tree->group;
        if (!follow(&ex->way, tree->first)) return -ENOMEM;
        if (ex->p.n_steps >= STEPS_AT_ONCE || k + 1 == t->n_trees) explain_paths(ex, x, n, out);
        if (cancelled(ex)) return -ECANCELED;
    }
    return 0;
}

int trees_explain(const struct trees *t, const double *x, size_t n, const atomic_bool *cancel,
                  double *out, struct err *e)
{
    size_t width = t->groups * (t->features + 1), bytes = EXPLAIN_LANES * sizeof(double);
    if (t->n_linear > 0)
        return err_set(e, -ENOTSUP,
                       "TreeSHAP explains trees whose leaves are values; these are "
                       "linear functions");
    struct explanation *ex = calloc(1, sizeof *ex);
    if (ex == NULL) return err_sys(e, -ENOMEM, "explaining");
    ex->t = ex->way.t = t;
    ex->way.p = &ex->p;
    ex->cancel = cancel;
    ex->run = run_of();
    ex->points = malloc(EXPLAIN_ORDERS * sizeof *ex->points);
    ex->weights = malloc(EXPLAIN_ORDERS * sizeof *ex->weights);
    ex->x = aligned_alloc(ALIGNED, (t->features + 1) * bytes);
    ex->sums = aligned_alloc(ALIGNED, width * bytes);
    ex->work = aligned_alloc(ALIGNED, 4 * TREES_MOST_DEPTH * bytes);
    int rc = -ENOMEM;
    if (ex->points && ex->weights && ex->x && ex->sums && ex->work) {
        memset(out, 0, n * width * sizeof *out);
        for (size_t i = 0; i < n; i++)
            for (size_t g = 0; g < t->groups; g++)
                out[(i * t->groups + g + 1) * (t->features + 1) - 1] = t->base[g];
        rc = explain_all(ex, x, n, out);
    }
    free(ex->p.paths);
    free(ex->p.steps);
    free(ex->p.turns);
    free(ex->points);
    free(ex->weights);
    free(ex->x);
    free(ex->sums);
    free(ex->work);
    free(ex);
    return rc == -ENOMEM ? err_sys(e, rc, "explaining") : rc;
}

void trees_importances(const struct trees *t, double *out)
{
    double most = 0, total = 0;
    for (size_t j = 0; j < t->features; j++) out[j] = 0;
    for (size_t i = 0; i < t->n_nodes; i++) most = fmax(most, t->gain[i]);
    if (!(most > 0)) return;
    for (size_t i = 0; i < t->n_nodes; i++) {
        if (t->nodes[i].left == TREES_NONE) continue;
        double part = t->gain[i] / most; /* so that no sum is infinite */
        out[t->nodes[i].feature] += part;
        total += part;
    }
    for (size_t j = 0; j < t->features && total > 0; j++) out[j] /= total;
}
