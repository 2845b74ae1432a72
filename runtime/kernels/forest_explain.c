/* Why a row has its score: the change of the expected path length at every node that it passes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/forest.h"
#include "kernels/forest_form.h"

struct walk {
    const struct forest *f;
    const float *x;
    double *out;
    uint32_t first; /* node of the tree */
};

/* Adds what the node and those below do, weighted by how much of the row is there. */
static void descend(const struct walk *w, uint32_t at, double weight)
{
    const struct forest *f = w->f;
    for (;;) {
        size_t k = w->first + at;
        struct forest_node n = f->node[k];
        uint32_t child = forest_child(f, w->first, n), a = forest_feature(f, n),
                 b = f->pair == NULL ? a : f->pair[k].second;
        if (child == at) return;
        size_t l = w->first + child, r = l + 1;
        if (isnan(w->x[a]) || isnan(w->x[b])) {
            double rows = f->rows[k];
            descend(w, child, weight * f->rows[l] / rows);
            weight *= f->rows[r] / rows;
            at = child + 1;
            continue;
        }
        double z = (double)w->x[a], t = (double)n.t;
        if (f->pair != NULL) {
            z = (double)f->pair[k].w[0] * z + (double)f->pair[k].w[1] * (double)w->x[b];
            t = f->pair[k].t;
        }
        at = child + (z > t);
        double change = weight * (f->value[w->first + at] - f->value[k]);
        w->out[a] += change / 2;
        w->out[b] += change / 2;
    }
}

int forest_explain(const struct forest *f, const double *x, double *out)
{
    float *row = malloc(f->features * sizeof *row);
    if (row == NULL) return -ENOMEM;
    forest_floats(x, f->origin, f->features, f->pair != NULL, row);
    for (size_t c = 0; c < f->features; c++) out[c] = 0;
    double mean = 0, path = 0;
    for (size_t t = 0; t < f->trees; t++) {
        struct walk w = {f, row, out, f->first[t]};
        descend(&w, 0, 1);
        mean += f->value[f->first[t]];
    }
    for (size_t c = 0; c < f->features; c++) path += out[c];
    /* From path lengths to scores: along the chord, so that the sum stays the difference. */
    double slope = 0.6931471805599453 / f->scale * exp2(-mean / f->scale);
    if (fabs(path) > 1e-9 * mean)
        slope = (forest_score_of(f, mean + path) - forest_score_of(f, mean)) / path;
    for (size_t c = 0; c < f->features; c++) out[c] *= slope;
    free(row);
    return 0;
}
