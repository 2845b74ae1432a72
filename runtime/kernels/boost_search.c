#include "kernels/boost_search.h"

#include <math.h>
#include <string.h>

/* Categories (LightGBM's constants): up to so many values each is tried against the rest; else
 * values with fewer rows are not told apart, and leaves are drawn towards 0 the more. */
enum { ONE_AGAINST_REST = 4, LEAST_ROWS = 10 };
#define SMOOTHING 10.0
static const double LEAST_GAIN = 1e-6;

struct scan {
    const struct boost_search *s;
    struct boost_sums all;
    double least_h, l2; /* in units of the tree; */
    double own;         /* score of the node as it is */
    bool bounded;
    struct boost_split_found *best;
};

static struct boost_sums plus(struct boost_sums a, struct boost_sums b)
{
    return (struct boost_sums){a.g + b.g, a.hn + b.hn};
}
static struct boost_sums minus(struct boost_sums a, struct boost_sums b)
{
    return (struct boost_sums){a.g - b.g, a.hn - b.hn};
}

/* How much of the loss a leaf takes away, twice. */
static double score(const struct scan *c, struct boost_sums sums, double *weight)
{
    double G = (double)sums.g * c->s->g_unit, H = (double)boost_h(sums) * c->s->h_unit + c->l2;
    if (!c->bounded) return H > 0 ? G * G / H : 0;
    *weight = boost_weight(G, H, c->s->node->low, c->s->node->high);
    return -(2 * G * *weight + H * *weight * *weight);
}

/* True when that is the best split so far, whose sums and gain then are in *best. */
static bool try(struct scan *c, struct boost_sums left)
{
    struct boost_sums right = minus(c->all, left);
    unsigned least = c->s->o->min_samples_leaf;
    if (boost_count(left) < least || boost_count(right) < least ||
        (double)boost_h(left) < c->least_h || (double)boost_h(right) < c->least_h ||
        boost_count(left) == 0 || boost_count(right) == 0)
        return false;
    double wl = 0, wr = 0, gain = score(c, left, &wl) + score(c, right, &wr) - c->own;
    if (gain <= c->best->gain || gain <= LEAST_GAIN) return false;
    if ((c->s->monotone > 0 && wl > wr) || (c->s->monotone < 0 && wl < wr)) return false;
    c->best->gain = gain;
    c->best->left = left;
    c->best->right = right;
    return true;
}

static void set_bins(uint64_t set[4], unsigned first, unsigned last)
{
    for (unsigned b = first; b <= last; b++) set[b / 64] |= (uint64_t)1 << b % 64;
}

static void search_numbers(struct scan *c, const struct boost_sums *sums)
{
    const struct boost_feature *f = c->s->feature;
    struct boost_split_found *best = c->best;
    struct boost_sums missing = sums[f->n_values], left = {0, 0};
    bool some_missing = boost_count(missing) > 0, missing_left = false, found = false;
    for (unsigned b = 0; b + 1 < f->n_values; b++) {
        if (sums[b].hn == 0) continue;
        left = plus(left, sums[b]);
        if (try(c, left)) {
            best->bin = b;
            missing_left = false;
            found = true;
        }
        if (some_missing && try(c, plus(left, missing))) {
            best->bin = b;
            missing_left = true;
            found = true;
        }
    }
    /* Those with a value against those without. */
    if (some_missing && try(c, minus(c->all, missing))) {
        best->bin = f->n_values - 1;
        missing_left = false;
        found = true;
    }
    if (!found) return;
    if (!some_missing) missing_left = boost_count(best->left) > boost_count(best->right);
    set_bins(best->goes_left, 0, best->bin);
    if (missing_left) set_bins(best->goes_left, f->n_values, f->n_values);
}

static double order_of(const struct scan *c, struct boost_sums s)
{
    return (double)s.g * c->s->g_unit / ((double)boost_h(s) * c->s->h_unit + SMOOTHING);
}

/* The bins with enough rows, by their mean derivative; the first of equals first. The bin of all
 * other categories never goes left: it has no name that a model could list. */
static unsigned sort_bins(const struct scan *c, const struct boost_sums *sums, unsigned order[])
{
    const struct boost_feature *f = c->s->feature;
    double at[BOOST_BINS] = {0};
    unsigned n = 0, least = f->n_values + 1 <= ONE_AGAINST_REST ? 1 : LEAST_ROWS;
    for (unsigned b = 0; b <= f->n_values; b++) {
        if (boost_count(sums[b]) < least || b + 1 == f->n_values) continue;
        double here = order_of(c, sums[b]);
        unsigned k = n++;
        for (; k > 0 && at[k - 1] > here; k--) {
            at[k] = at[k - 1];
            order[k] = order[k - 1];
        }
        at[k] = here;
        order[k] = b;
    }
    return n;
}

static void search_categories(struct scan *c, const struct boost_sums *sums)
{
    unsigned order[BOOST_BINS], n = sort_bins(c, sums, order), taken = 0;
    bool from_end = false, found = false;
    if (n <= ONE_AGAINST_REST) {
        for (unsigned k = 0; k < n; k++)
            if (try(c, sums[order[k]])) {
                memset(c->best->goes_left, 0, sizeof c->best->goes_left);
                set_bins(c->best->goes_left, order[k], order[k]);
            }
        return;
    }
    c->l2 += SMOOTHING;
    for (int end = 0; end < 2; end++) {
        struct boost_sums left = {0, 0};
        for (unsigned k = 0; k < n; k++) {
            left = plus(left, sums[order[end ? n - 1 - k : k]]);
            if (!try(c, left)) continue;
            taken = k + 1;
            from_end = end == 1;
            found = true;
        }
    }
    for (unsigned k = 0; found && k < taken; k++) {
        unsigned b = order[from_end ? n - 1 - k : k];
        set_bins(c->best->goes_left, b, b);
    }
}

void boost_search(const struct boost_search *s, const struct boost_sums *sums,
                  struct boost_split_found *out)
{
    struct scan c = {.s = s, .best = out, .all = {0, 0}, .l2 = s->o->l2};
    double unused;
    for (unsigned b = 0; b <= s->feature->n_values; b++) c.all = plus(c.all, sums[b]);
    out->gain = 0;
    memset(out->goes_left, 0, sizeof out->goes_left);
    c.bounded = s->node->low > -INFINITY || s->node->high < INFINITY || s->monotone != 0;
    c.least_h = s->o->min_child_weight / s->h_unit;
    c.own = score(&c, c.all, &unused);
    if (s->feature->categorical)
        search_categories(&c, sums);
    else
        search_numbers(&c, sums);
}
