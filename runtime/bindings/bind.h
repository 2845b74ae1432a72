/* bind.h - what every binding needs: arguments, failures, and the table of modules. */
#ifndef BINDINGS_BIND_H
#define BINDINGS_BIND_H

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/err.h"
#include "base/text.h"

/* nil and the words for rc (-errno): the way to return what the world did. Raises for -ENOMEM. */
int bind_fail(lua_State *L, int rc);
/* The same with the words of e. */
int bind_error(lua_State *L, const struct err *e);

/* A text buffer that Lua owns: freed when it is closed or collected, whatever raises before. The
 * box is left on the stack. */
struct text *bind_text(lua_State *L);

/* Makes the metatable of a type: methods under __index, close as __gc and __close (NULL: none), and
 * hidden from getmetatable(). Pops nothing, pushes nothing. */
void bind_type(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction close);

/* Optional fields of an options table at index i (nil counts as empty): the default where the field
 * is nil, a raised error that names the field where it has another type. */
lua_Number bind_opt_number(lua_State *L, int i, const char *field, lua_Number otherwise);
lua_Integer bind_opt_integer(lua_State *L, int i, const char *field, lua_Integer otherwise);
bool bind_opt_boolean(lua_State *L, int i, const char *field, bool otherwise);
/* Points into the table's string: valid while the table holds it. */
const char *bind_opt_string(lua_State *L, int i, const char *field, const char *otherwise);

/* A Lua array of numbers at index i as C doubles, in a userdata that is pushed. nil and false are
 * NaN. *n is its length. Raises for other values. */
double *bind_doubles(lua_State *L, int i, size_t *n);
/* Pushes an array. */
void bind_push_doubles(lua_State *L, const double *x, size_t n);

/* The modules "perigee.<name>" (modules.h): for the engine and scripts, and those a cell may have
 * too. */
extern const luaL_Reg bind_modules[];
extern const luaL_Reg bind_cell_modules[];

#endif
