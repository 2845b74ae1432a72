/* trees_fast.h - the form of an ensemble that trees_margins() computes with. Within the kernel. */
#ifndef KERNELS_TREES_FAST_H
#define KERNELS_TREES_FAST_H

#include "kernels/trees.h"

struct trees_fast;

int trees_fast_build(struct trees_fast **out, const struct trees *t); /* *out may stay NULL */
void trees_fast_free(struct trees_fast *f);

#endif
