/* boost_search.h - the best split of one node on one feature, from its histogram. */
#ifndef KERNELS_BOOST_SEARCH_H
#define KERNELS_BOOST_SEARCH_H

#include "kernels/boost_parts.h"

/* The value of a leaf whose derivatives sum to G and to H, the penalty among it. */
static inline double boost_weight(double G, double H, double low, double high)
{
    double w = H > 0 ? -G / H : 0;
    return w < low ? low : w > high ? high : w;
}

struct boost_split_found {
    double gain; /* 0: there is none */
    unsigned bin;
    uint64_t goes_left[4];
    struct boost_sums left, right;
};

struct boost_search {
    const struct boost_feature *feature;
    const struct boost_node *node;
    double g_unit, h_unit;
    const struct boost_options *o;
    signed char monotone;
};

/* sums: (feature->n_values + 1). Where no row is without a value, missing ones go to the side with
 * more rows. Categories are split one against the others where there are few, else in the order of
 * their mean derivative; those that are not listed as going left go right, and with them whatever
 * training has not seen. */
void boost_search(const struct boost_search *s, const struct boost_sums *sums,
                  struct boost_split_found *out);

#endif
