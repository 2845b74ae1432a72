/* patterns.h - string.find, match, gmatch and gsub for cells: what Lua 5.4 defines, to the letter
 * of its messages, but every step is charged to the budget, so that a pattern that backtracks for
 * ever stops like a loop that does.
 *
 * Classes are those of the C locale. A search keeps no state and no C memory: what a raised error
 * leaves behind is Lua's. */
#ifndef HOST_PATTERNS_H
#define HOST_PATTERNS_H

#include <lua.h>

/* Sets find, gmatch, gsub and match in the table on top of the stack. Raises when memory is gone.
 */
void patterns_open(lua_State *L);

#endif
