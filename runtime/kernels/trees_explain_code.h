/* trees_explain_code.h - the code of trees_explain.h, written once; EXPLAIN is its name in the
 * instruction set of the including file.
 *
 * With o = 1 where a row takes all splits of a step and 0 where not, and z its share, Shapley's
 * value of step j is value * (o_j - z_j) * sum over the subsets T of the other steps of
 * |T|! (m - |T| - 1)! / m! * prod of o over T * prod of z over the rest. That factor is the
 * integral over [0, 1] of t^|T| (1 - t)^(m - 1 - |T|), so the sum is the integral of the product of
 * o_i t + z_i (1 - t), a polynomial of degree m - 1, which (m + 1) / 2 points give exactly. */
#include "kernels/trees_explain.h"

#include <math.h>

typedef double lanes __attribute__((vector_size(8 * EXPLAIN_LANES), may_alias));
typedef int64_t masks __attribute__((vector_size(8 * EXPLAIN_LANES), may_alias));

static void turns_taken(const struct trees *t, const struct paths *p, const struct path_step *step,
                        const double *x, int64_t *taken)
{
    for (int r = 0; r < EXPLAIN_LANES; r++) {
        for (uint32_t i = 0; i < step->turns && taken[r] != 0; i++) {
            const struct path_turn *turn = &p->turns[step->turn + i];
            if (trees_goes_left(t, &t->nodes[turn->node], x[r]) != turn->left) taken[r] = 0;
        }
    }
}

explain_fn EXPLAIN;
void EXPLAIN(const struct trees *t, const struct paths *p, size_t first, size_t last,
             struct explain_rule rule, const double *x, double *work, double *out)
{
    const lanes *rows = (const lanes *)(const void *)x;
    size_t m = p->paths[first].count, points = (m + 1) / 2;
    masks *taken = (masks *)(void *)work;
    lanes *sum = (lanes *)(void *)work + m, *factor = sum + m, *before = factor + m;
    for (const struct path *path = p->paths + first; path < p->paths + last; path++) {
        const struct path_step *steps = p->steps + path->first;
        for (size_t i = 0; i < m; i++) {
            const lanes *v = &rows[steps[i].feature];
            masks nan = (masks)(*v != *v) & -(int64_t)steps[i].missing;
            taken[i] = (~(masks)(*v <= steps[i].low) & (masks)(*v <= steps[i].high)) | nan;
            if (steps[i].turns > 0)
                turns_taken(t, p, &steps[i], x + steps[i].feature * EXPLAIN_LANES,
                            (int64_t *)(void *)work + i * EXPLAIN_LANES);
            sum[i] = (lanes){0};
        }
        for (size_t q = 0; q < points; q++) {
            double at = rule.points[q];
            lanes all = {0}, one = (lanes){0} + at, behind;
            all += rule.weights[q] * path->value;
            for (size_t i = 0; i < m; i++) {
                factor[i] = (lanes)((masks)one & taken[i]) + steps[i].share * (1 - at);
                before[i] = all;
                all *= factor[i];
            }
            behind = (lanes){0} + 1.0;
            for (size_t i = m; i-- > 0;) {
                sum[i] += before[i] * behind;
                behind *= factor[i];
            }
        }
        lanes *to = (lanes *)(void *)out + path->group * (t->features + 1);
        for (size_t i = 0; i < m; i++) {
            lanes o = (lanes)((masks)((lanes){0} + 1.0) & taken[i]);
            to[steps[i].feature] += (o - steps[i].share) * sum[i];
        }
    }
}
