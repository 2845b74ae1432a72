/* fault.h - an error in a rule file: what, where, and how it came to it. */
#ifndef HOST_FAULT_H
#define HOST_FAULT_H

#include <stdbool.h>

#include <lua.h>

struct fault {
    char kind[16]; /* "syntax", "error", "instructions", "allocation", "cpu", "depth" or "memory" */
    char file[256];    /* as the rule file is named; "" when unknown */
    int line;          /* 0 when unknown */
    char message[512]; /* without file and line */
    char trace[1024];  /* the stack, innermost first, cut */
};

/* Chunks of the standard library are never blamed: a fault belongs to the rule that called it. */
#define FAULT_STDLIB "lua/stdlib/"

/* The whole name of the file that a function is from, as lua_getinfo("S") has found it. */
const char *fault_source(const lua_Debug *ar);

/* A message handler for lua_pcall() that fills the fault its upvalue (light userdata) points to,
 * empty before, and leaves the error as it is. */
int fault_handler(lua_State *L);

/* What the handler has no part in: a failed compilation, whose message begins with file and line.
 */
void fault_from_message(struct fault *f, const char *kind, const char *message);

/* Pushes { kind, file, line, message, trace }, all of it UTF-8. */
void fault_push(lua_State *L, const struct fault *f);

#endif
