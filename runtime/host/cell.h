/* cell.h - a rule file's sandboxed Lua state, and protected, budgeted calls into it.
 *
 * What a cell can see is decided by lua/stdlib/rules/sandbox.lua, which runs in it first. A cell
 * has no I/O, no coroutines and no clock; while its file is being loaded it may read other Lua
 * files beside it, by name. Danger: a cell is called with the loop's thread, so a call lasts as
 * long as its budget at worst. */
#ifndef HOST_CELL_H
#define HOST_CELL_H

#include <stddef.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/err.h"
#include "host/budget.h"
#include "host/fault.h"

struct cell;

struct cell_options {
    const char *name;          /* of the rule file, as messages show it */
    const char *folder;        /* where `require` looks for files; NULL: nowhere */
    const luaL_Reg *c_modules; /* pure C modules that the standard library may use there */
    void (*print)(void *ud, const char *name, const char *text); /* what print() does */
    void *print_ud;
};

/* 0, or -errno with e. */
int cell_open(struct cell **out, const struct cell_options *o, struct err *e);
void cell_close(struct cell *c); /* NULL is fine */

/* Runs the file once. Pushes on `to` what sandbox.lua has gathered, { declarations = {…}, files =
 * { path = digest } }, also where the file failed half way: 0, or -EINVAL with the fault. nil is
 * pushed where it cannot be had. Raises nothing. */
int cell_run(struct cell *c, const char *source, size_t len, const struct budget_limits *limits,
             lua_State *to, struct fault *f);

/* Calls the function that a declaration gave that number, with copies of the values from index
 * first to the top of `engine`. 0 with its results (at most 8) pushed on `engine`, their number in
 * *n; or -EINVAL with the fault. Raises nothing. */
int cell_call(struct cell *c, lua_State *engine, int function, int first,
              const struct budget_limits *limits, int *n, struct fault *f);

const struct budget *cell_budget(const struct cell *c); /* what it holds and has used */

#endif
