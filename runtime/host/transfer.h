/* transfer.h - plain values copied from one Lua state to another: never a reference, so that what
 * happens to a copy cannot be seen where it came from. */
#ifndef HOST_TRANSFER_H
#define HOST_TRANSFER_H

#include <stdbool.h>

#include <lua.h>

enum { TRANSFER_DEPTH = 16, TRANSFER_NODES = 100000, TRANSFER_TEXT = 4 << 20 };

struct transfer_options {
    const char *what;                /* names the value in messages */
    bool (*is_late)(const void *ud); /* asked for each table; true: give up. NULL: there is time */
    const void *ud;
};

/* Pushes on `to` a copy of the value at index i of `from`: nil, booleans, numbers, strings of
 * UTF-8, and tables of such, read without metamethods. Raises on `to`, never on `from`, where the
 * value is deeper or larger than the limits, or holds anything else; `from` may then be left with
 * values above its top, which the caller takes off. What is there twice is copied twice and counts
 * twice, so a small value can stand for a large one. */
void transfer(lua_State *to, lua_State *from, int i, const struct transfer_options *o);

#endif
