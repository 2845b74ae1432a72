/* matrix.h - matrices in Lua, for the bindings of what computes with them. */
#ifndef BINDINGS_MATRIX_H
#define BINDINGS_MATRIX_H

#include <lua.h>

#include "kernels/matrix.h"

/* The matrix at index i, owned by that value and never changed. Raises where there is none. What
 * goes to a thread needs matrix_share(): a state may be closed while a thread still reads. */
struct matrix *bind_check_matrix(lua_State *L, int i);

/* Pushes an empty box and returns where its matrix goes, at once or later; from then on the box
 * owns it. Box first, then the matrix. */
struct matrix **bind_new_matrix(lua_State *L);

#endif
