#include "host/budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "host/fault.h"

/* Instructions between two looks at the budget. Lua looks at its own counter at every instruction
 * once there is a hook at all, so a small step costs little more than a large one; and what one
 * instruction can cost without the counter's seeing it (comparing two long strings) stays within
 * CPU time. */
enum { STEP = 100 };

static const char key;         /* of the registry: the state's budget */
static const char message_key; /* of the registry: the text that is raised, made beforehand */
static const char spent_instructions[] = "instructions", spent_allocation[] = "allocation",
                  spent_cpu[] = "CPU time", spent_depth[] = "depth";

static struct budget *budget_of(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    struct budget *b = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return b;
}

/* -- memory -- */

/* Reads only; the line of the innermost Lua function. Memory errors have no message handler, so
 * this is the last moment at which the line is known. */
static void remember_line(struct budget *b)
{
    lua_Debug ar;
    for (int level = 0; b->refused_at[0] == '\0' && lua_getstack(b->L, level, &ar); level++) {
        lua_getinfo(b->L, "Sl", &ar);
        if (ar.currentline > 0 && strncmp(ar.short_src, "lua/stdlib/", 11) != 0)
            snprintf(b->refused_at, sizeof b->refused_at, "%.256s:%d", fault_source(&ar),
                     ar.currentline);
    }
}

/* What may still be taken once the allowance is spent, to leave the call in order. */
enum { GRACE = 65536 };

/* A refusal makes Lua collect everything before it tries once more: some milliseconds with a full
 * heap, which no counter sees. So it is charged. */
static void *refuse(struct budget *b)
{
    if (!b->active) return NULL;
    remember_line(b);
    b->instructions_left -= BUDGET_REFUSAL;
    return NULL;
}

static void *allocate(void *ud, void *p, size_t old, size_t new)
{
    struct budget *b = ud;
    bool is_string = p == NULL && (old & 0xf) == LUA_TSTRING; /* of what is new, old is the type */
    if (p == NULL) old = 0;
    if (new > old) {
        size_t more = new - old;
        if (is_string && new > BUDGET_STRING && b->active) return refuse(b);
        if (b->used + more > BUDGET_MEMORY) return refuse(b);
        if (b->active) b->allocated += more;
        if (b->active && b->allocated > b->limits.allocated) {
            if (b->spent == NULL) b->spent = spent_allocation;
            if (b->allocated > b->limits.allocated + GRACE) return refuse(b);
        }
    }
    if (new == 0) {
        free(p);
        b->used -= old;
        return NULL;
    }
    void *moved = realloc(p, new);
    if (moved != NULL) b->used = b->used - old + new;
    return moved;
}

/* -- instructions, time and depth -- */

static void on_count(lua_State *L, lua_Debug *ar);

bool budget_is_late(const struct budget *b)
{
    if (b->limits.cpu_ms == 0) return false;
    /* CPU time takes a system call to read, and is never ahead of the time on the wall. */
    int64_t limit_ns = b->limits.cpu_ms * 1000000;
    return clock_monotonic_ns() - b->started_ns >= limit_ns &&
           clock_thread_cpu_ns() - b->started_cpu_ns >= limit_ns;
}

/* Raises what was made beforehand: there may be no memory left to make a message. */
static void spend(lua_State *L, struct budget *b, const char *what)
{
    b->spent = what;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1); /* raises again at each instruction from here on */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &message_key);
    lua_error(L);
}

static void check(lua_State *L, struct budget *b, int64_t steps)
{
    b->total_instructions += steps;
    b->instructions_left -= steps;
    if (b->spent != NULL) spend(L, b, b->spent);
    if (b->instructions_left < 0) spend(L, b, spent_instructions);
    if (budget_is_late(b)) spend(L, b, spent_cpu);
}

/* Lua would let a recursion go on until all memory is taken, and to take it and to give it back
 * costs more than all of the instructions. Walking down is as long as the stack is deep, so not
 * each time. */
static void check_depth(lua_State *L, struct budget *b)
{
    lua_Debug ar;
    if (++b->looks % 32 == 0 && lua_getstack(L, BUDGET_DEPTH, &ar)) spend(L, b, spent_depth);
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct budget *b = budget_of(L);
    if (b->active && b->spent == NULL) check_depth(L, b);
    if (b->active) check(L, b, b->spent != NULL ? 1 : STEP);
}

void budget_charge(lua_State *L, size_t steps)
{
    struct budget *b = budget_of(L);
    const size_t most = (size_t)1 << 40; /* more than any budget, and no sum of such overflows */
    if (b != NULL && b->active) check(L, b, (int64_t)(steps < most ? steps : most));
}

/* -- calls -- */

static int l_set_key(lua_State *L)
{
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    lua_pushliteral(L, BUDGET_SPENT);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &message_key);
    return 0;
}

lua_State *budget_new_state(struct budget *b)
{
    *b = (struct budget){0};
    b->L = lua_newstate(allocate, b);
    if (b->L == NULL) return NULL;
    lua_pushcfunction(b->L, l_set_key);
    lua_pushlightuserdata(b->L, b);
    if (lua_pcall(b->L, 1, 0, 0) == LUA_OK) return b->L;
    lua_close(b->L);
    return NULL;
}

void budget_begin(struct budget *b, const struct budget_limits *limits)
{
    b->limits = *limits;
    b->instructions_left = limits->instructions;
    b->allocated = 0;
    b->spent = NULL;
    b->refused_at[0] = '\0';
    b->started_ns = limits->cpu_ms > 0 ? clock_monotonic_ns() : 0;
    b->started_cpu_ns = limits->cpu_ms > 0 ? clock_thread_cpu_ns() : 0;
    b->active = true;
    lua_sethook(b->L, on_count, LUA_MASKCOUNT, STEP);
}

void budget_end(struct budget *b)
{
    b->active = false;
    lua_sethook(b->L, NULL, 0, 0);
}
