/* forest_plan.h - a forest made ready for scoring many rows at once; for the kernel alone. */
#ifndef KERNELS_FOREST_PLAN_H
#define KERNELS_FOREST_PLAN_H

struct forest_plan;

void forest_plan_free(struct forest_plan *p); /* NULL is fine */

#endif
