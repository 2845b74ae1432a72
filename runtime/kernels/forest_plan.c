#include "kernels/forest_plan.h"

#include <stddef.h>
#include <stdlib.h>

void forest_plan_free(struct forest_plan *p) { free(p); }
