#include "kernels/forest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/forest_form.h"
#include "kernels/forest_plan.h"

double forest_c(double n)
{
    if (n <= 1) return 0;
    if (n == 2) return 1;
    return 2 * (log(n - 1) + 0.5772156649015329) - 2 * (n - 1) / n;
}

struct forest *forest_share(struct forest *f)
{
    f->owners++;
    return f;
}

bool forest_floats(const double *x, const double *origin, size_t n, bool finite, float *out)
{
    typedef double doubles __attribute__((vector_size(32)));
    typedef float floats __attribute__((vector_size(16)));
    typedef int32_t ints __attribute__((vector_size(16)));
    ints none = {0};
    int missing = 0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        doubles a, b;
        memcpy(&a, x + i, sizeof a);
        memcpy(&b, origin + i, sizeof b);
        floats y = __builtin_convertvector(a - b, floats);
        none |= (ints)(y != y);
        memcpy(out + i, &y, sizeof y);
    }
    for (; i < n; i++) {
        out[i] = (float)(x[i] - origin[i]);
        missing |= out[i] != out[i];
    }
    for (i = 0; finite && i < n; i++) out[i] = forest_finite(out[i]);
    return (missing | none[0] | none[1] | none[2] | none[3]) != 0;
}

void forest_free(struct forest *f)
{
    if (f == NULL || f->owners-- > 0) return;
    for (size_t j = 0; f->names != NULL && j < f->features; j++) free(f->names[j]);
    free(f->names);
    free(f->origin);
    free(f->first);
    free(f->node);
    free(f->pair);
    free(f->value);
    free(f->rows);
    forest_plan_free(atomic_load(&f->plan));
    free(f);
}

int forest_copy_names(struct forest *f, char *const *names)
{
    if (names == NULL) return 0;
    if ((f->names = calloc(f->features, sizeof *f->names)) == NULL) return -ENOMEM;
    for (size_t j = 0; j < f->features; j++)
        if ((f->names[j] = strdup(names[j])) == NULL) return -ENOMEM;
    return 0;
}

double forest_expectation(const struct forest *f)
{
    double path = 0;
    for (size_t t = 0; t < f->trees; t++) path += f->value[f->first[t]];
    return forest_score_of(f, path);
}

struct forest_about forest_about(const struct forest *f)
{
    return (struct forest_about){f->features,      f->trees,  f->max_samples, f->ndim,
                                 f->contamination, f->offset, f->names};
}

int forest_match(const struct forest *f, const struct matrix *m, size_t *which, struct err *e)
{
    bool by_name = f->names != NULL && m->names != NULL;
    for (size_t j = 0; j < f->features; j++) {
        /* A column without a name is found by its place. */
        which[j] = by_name && f->names[j][0] != '\0' ? matrix_find(m, f->names[j]) : j;
        if (by_name && which[j] >= m->columns)
            return err_set(e, -EINVAL,
                           "the model was fitted with a column \"%s\", which is not here",
                           f->names[j]);
    }
    if (!by_name && m->columns != f->features)
        return err_set(e, -EINVAL, "the model was fitted with %zu columns; there are %zu here",
                       f->features, m->columns);
    return 0;
}

/* -- assembly -- */

void forest_tree_free(struct forest_tree *tree)
{
    free(tree->nodes);
    free(tree->pairs);
}

static unsigned bits_for(size_t n) /* to hold 0 .. n - 1 */
{
    unsigned bits = 0;
    while (bits < 32 && ((uint64_t)1 << bits) < n) bits++;
    return bits;
}

static int allocate(struct forest *f, size_t nodes)
{
    f->origin = calloc(f->features, sizeof *f->origin);
    f->first = calloc(f->trees + 1, sizeof *f->first);
    f->node = calloc(nodes, sizeof *f->node);
    f->value = calloc(nodes, sizeof *f->value);
    f->rows = calloc(nodes, sizeof *f->rows);
    if (f->ndim == 2) f->pair = calloc(nodes, sizeof *f->pair);
    bool all = f->origin != NULL && f->first != NULL && f->node != NULL && f->value != NULL &&
               f->rows != NULL && (f->ndim == 1 || f->pair != NULL);
    return all ? 0 : -ENOMEM;
}

/* What the trees are put in order with: room for the largest. Where a tree goes on is left to
 * chance, so there are no branches on it below. */
struct order {
    uint32_t *at;         /* (n + 2) where in the sprouts the k-th node is */
    unsigned char *depth; /* (n + 2) of the k-th node */
    uint32_t *inner;      /* (n) the nodes that have children, in order */
    double c[257];        /* forest_c() of small numbers, to save logarithms */
};

static int order_init(struct order *o, size_t largest)
{
    *o = (struct order){.at = malloc((largest + 2) * sizeof *o->at),
                        .depth = malloc(largest + 2),
                        .inner = malloc(largest * sizeof *o->inner)};
    for (unsigned n = 0; n <= 256; n++) o->c[n] = forest_c(n);
    return o->at != NULL && o->depth != NULL && o->inner != NULL ? 0 : -ENOMEM;
}

static void order_free(struct order *o)
{
    free(o->at);
    free(o->depth);
    free(o->inner);
}

/* The nodes in order of depth. The count of those that are reached, or n + 1 for no tree. */
static size_t breadth_first(const struct forest_tree *tree, struct order *o)
{
    size_t end = 1, inner = 0, n = tree->n;
    o->at[0] = 0;
    o->depth[0] = 0;
    for (size_t k = 0; k < end; k++) {
        const struct forest_sprout *s = &tree->nodes[o->at[k]];
        bool cuts = s->left != 0 || s->right != 0;
        bool fits = s->left - 1 < n - 1 && s->right - 1 < n - 1 && end + 2 <= n &&
                    o->depth[k] < FOREST_DEPTH;
        if (cuts & !fits) return n + 1;
        o->at[end] = s->left;
        o->at[end + 1] = s->right;
        o->depth[end] = o->depth[end + 1] = (unsigned char)(o->depth[k] + 1);
        end += 2 * (size_t)cuts;
        o->inner[inner] = (uint32_t)k;
        inner += cuts;
    }
    return end;
}

static void place(struct forest *f, size_t tree, const struct forest_tree *from, struct order *o)
{
    uint32_t first = f->first[tree], child = 1, n = (uint32_t)from->n;
    for (uint32_t k = 0; k < n; k++) {
        const struct forest_sprout *s = &from->nodes[o->at[k]];
        uint32_t cuts = s->left != 0, to = first + (cuts ? child : k);
        f->node[first + k] = (struct forest_node){s->t, to << f->feature_bits | s->feature};
        f->rows[first + k] = s->rows;
        f->value[first + k] = o->depth[k] + (s->rows <= 256 ? o->c[s->rows] : forest_c(s->rows));
        child += 2 * cuts;
    }
    for (uint32_t k = 0; f->pair != NULL && k < n; k++) {
        const struct forest_pair none = {INFINITY, {0, 0}, 0};
        bool leaf = from->nodes[o->at[k]].left == 0;
        f->pair[first + k] = leaf ? none : from->pairs[o->at[k]];
    }
    if (o->depth[n - 1] > f->levels) f->levels = o->depth[n - 1];
    for (uint32_t i = (n - 1) / 2; i-- > 0;) { /* children come after their parents */
        uint32_t k = first + o->inner[i], l = first + 2 * i + 1, r = l + 1,
                 sum = f->rows[l] + f->rows[r];
        f->rows[k] = sum;
        f->value[k] = (f->rows[l] * f->value[l] + f->rows[r] * f->value[r]) / sum;
    }
}

static int check_tree(const struct forest *f, size_t tree, const struct forest_tree *from,
                      struct err *e)
{
    uint64_t rows = 0;
    for (size_t k = 0; k < from->n; k++) {
        const struct forest_sprout *s = &from->nodes[k];
        uint32_t leaf = s->left == 0 && s->right == 0;
        rows += leaf * s->rows;
        if (leaf & (s->rows == 0))
            return err_set(e, -EINVAL, "tree %zu: leaf %zu has no rows", tree + 1, k);
        uint32_t second = leaf || from->pairs == NULL ? 0 : from->pairs[k].second,
                 last = s->feature > second ? s->feature : second;
        if (last >= f->features)
            return err_set(e, -EINVAL, "tree %zu: node %zu cuts feature %u of %zu", tree + 1, k,
                           last, f->features);
    }
    if (rows > UINT32_MAX) return err_set(e, -EINVAL, "tree %zu has too many rows", tree + 1);
    return 0;
}

static int place_all(struct forest *f, const struct forest_tree *trees, struct order *o,
                     struct err *e)
{
    for (size_t t = 0; t < f->trees; t++) {
        int rc = check_tree(f, t, &trees[t], e);
        if (rc < 0) return rc;
        if (breadth_first(&trees[t], o) != trees[t].n)
            return err_set(e, -EINVAL, "tree %zu is no tree of at most %d levels", t + 1,
                           FOREST_DEPTH);
        place(f, t, &trees[t], o);
    }
    return 0;
}

int forest_assemble(struct forest **out, const struct forest *head, const struct forest_tree *trees,
                    struct err *e)
{
    uint64_t nodes = 0, largest = 0;
    for (size_t t = 0; t < head->trees; t++) {
        nodes += trees[t].n;
        if (trees[t].n > largest) largest = trees[t].n;
    }
    unsigned bits = bits_for(head->features);
    if (nodes > (uint64_t)1 << (32 - bits))
        return err_set(e, -EINVAL, "%llu nodes over %zu columns are too many",
                       (unsigned long long)nodes, head->features);
    struct order o;
    int rc = order_init(&o, largest);
    struct forest *f = calloc(1, sizeof *f);
    if (f == NULL) rc = -ENOMEM;
    if (rc == 0) {
        *f = (struct forest){.features = head->features,
                             .trees = head->trees,
                             .max_samples = head->max_samples,
                             .ndim = head->ndim,
                             .contamination = head->contamination,
                             .offset = head->offset,
                             .feature_bits = bits};
        /* Added up as path lengths are, so that what was never cut scores -0.5 and not a bit less.
         */
        for (size_t t = 0; t < f->trees; t++) f->scale += forest_c((double)f->max_samples);
        rc = allocate(f, nodes);
    }
    if (rc == 0) {
        for (size_t t = 0; t < f->trees; t++) f->first[t + 1] = f->first[t] + (uint32_t)trees[t].n;
        rc = place_all(f, trees, &o, e);
    }
    order_free(&o);
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (rc < 0) {
        forest_free(f);
        return rc;
    }
    *out = f;
    return 0;
}
