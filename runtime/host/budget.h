/* budget.h - what one call into a cell may cost: instructions, bytes, CPU time.
 *
 * The count hook and the allocator hold it. Once it is spent every further instruction raises, so
 * no pcall() of the rule's swallows it. C functions that a cell can call and whose cost grows with
 * their input charge it themselves. In a state without a budget (the engine, scripts) charging is
 * free, so the same functions serve both. */
#ifndef HOST_BUDGET_H
#define HOST_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

struct budget_limits {
    int64_t instructions; /* of one call */
    size_t allocated;     /* bytes in all of one call, freed ones included */
    int64_t cpu_ms;       /* of one call; 0: no limit */
};

#define BUDGET_SPENT "the budget is spent" /* the message that is raised */

enum {
    BUDGET_MEMORY = 16 << 20,  /* what a cell may hold at any time, in bytes */
    BUDGET_STRING = 128 << 10, /* one text: comparing two is one instruction */
    BUDGET_REFUSAL = 20000,    /* instructions that an attempt at more memory costs */
    BUDGET_DEPTH = 1000        /* calls within calls; some more until it is noticed */
};

struct budget {
    lua_State *L;
    size_t used; /* bytes held now */
    struct budget_limits limits;
    int64_t instructions_left;
    size_t allocated;
    int64_t started_ns, started_cpu_ns;
    bool active;          /* a call is under way; outside of calls nothing is limited but memory */
    unsigned looks;       /* of the hook, in all calls */
    const char *spent;    /* NULL, or what was spent, in words: "1000000 instructions" */
    char refused_at[280]; /* "file:line" where memory was first refused in this call; or "" */
    int64_t total_instructions; /* of all calls, for the metrics */
};

/* A new state whose allocator and hook obey *b, which must outlive it. NULL when memory is gone. */
lua_State *budget_new_state(struct budget *b);

void budget_begin(struct budget *b, const struct budget_limits *limits);
void budget_end(struct budget *b);

/* Whether the call that began last has taken more CPU time than its limit, also once it is over. */
bool budget_is_late(const struct budget *b);

/* Takes steps (each about the cost of an instruction) from the budget of L, raising when it is
 * spent. May not return. */
void budget_charge(lua_State *L, size_t steps);

#endif
