/* seasonal.h - what the bindings of the two seasonal modules share. */
#ifndef BINDINGS_SEASONAL_H
#define BINDINGS_SEASONAL_H

#include <lua.h>

#include "kernels/seasonal.h"

/* The model at index i; raises where there is none. */
struct seasonal *bind_check_seasonal(lua_State *L, int i);
/* Field `name` of the table at index i: a number for all n, a list of n, or nil, to memory of
 * malloc that *out owns. */
void bind_level(lua_State *L, int i, const char *name, double **out, size_t n);
/* Pushes { first, probability, quantiles }; 1. */
int bind_push_reach(lua_State *L, const struct seasonal_reach *r);

#endif
