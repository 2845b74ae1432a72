/* bounded.h - the standard library as a cell has it: what needs neither the world nor chance, and
 * costs what the budget is charged for.
 *
 * In a cell, unlike in stock Lua:
 * - setmetatable refuses a metatable with __gc, for no hook runs in finalizers, or with __mode, for
 *   weak keys may take minutes to collect; set later, neither does anything;
 * - getmetatable('') is false: what a rule could put there, the host itself would run;
 * - the functions of `table` refuse a table whose metatable has __index, __len or __newindex;
 * - table.sort is stable, always ends, and leaves the table as it was when a comparison raises;
 * - xpcall calls its handler once the stack has been unwound: a handler called by a hook that
 * raises would run where no hook can stop it. tostring and string.format still show addresses. What
 * Lua does without a call (comparing and converting long strings, rehashing, following a chain of
 * __index, collecting garbage) is not charged: only the limits of memory and CPU time bound it. */
#ifndef HOST_BOUNDED_H
#define HOST_BOUNDED_H

#include <lua.h>

/* Opens it in a fresh state, and nothing else: base without print and all that loads or collects,
 * string, table, math without random, utf8. Raises when memory is gone. */
void bounded_open(lua_State *L);

#endif
