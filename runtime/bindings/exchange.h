/* exchange.h - an HTTP request as a Lua table, and a Lua function's result as its answer. Shared by
 * servers of scripts and the daemon's. */
#ifndef BINDINGS_EXCHANGE_H
#define BINDINGS_EXCHANGE_H

#include "host/state.h"
#include "net/http_server.h"

void exchange_open(lua_State *L); /* the metatable; may raise for memory */

/* Runs the referenced function in a new task with {method=, path=, query=, headers=, body=, peer=}
 * and answers x with the {status=, headers=, body=} it returns; 500 when it raises. Raises nothing.
 */
void exchange_dispatch(struct state *s, int handler, struct http_exchange *x);

#endif
