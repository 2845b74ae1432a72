/* The Lua module perigee.rules: the engine's calls into cells. */
#include "host/cell.h"

#include "base/log.h"
#include "bindings/bind.h"
#include "bindings/modules.h"

#define TYPE "perigee.cell"

struct box {
    struct cell *cell; /* NULL once closed */
};

static struct cell *check(lua_State *L)
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, b->cell != NULL, 1, "already closed");
    return b->cell;
}

static int l_close(lua_State *L)
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    cell_close(b->cell);
    b->cell = NULL;
    return 0;
}

static void on_print(void *ud, const char *name, const char *text)
{
    (void)ud;
    log_write(LOG_INFO, "print",
              (const struct log_field[]){{"file", name}, {"text", text}, {NULL, NULL}});
}

static int l_cell(lua_State *L) /* cell(name [, folder]) -> cell | nil, message */
{
    struct cell_options o = {.name = luaL_checkstring(L, 1),
                             .folder = luaL_optstring(L, 2, NULL),
                             .c_modules = bind_cell_modules,
                             .print = on_print};
    struct box *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->cell = NULL;
    luaL_setmetatable(L, TYPE);
    struct err e = {0};
    return cell_open(&b->cell, &o, &e) < 0 ? bind_error(L, &e) : 1;
}

static int push_fault(lua_State *L, const struct fault *f)
{
    lua_pushnil(L);
    fault_push(L, f);
    return 2;
}

/* A table {instructions=, allocated=, cpu_ms=} at index i as limits. Without a limit of CPU time
 * there is one that no honest rule comes near, so that a count decides, and tests repeat exactly.
 */
static struct budget_limits limits(lua_State *L, int i)
{
    return (struct budget_limits){
        .instructions = bind_opt_integer(L, i, "instructions", 1000000),
        .allocated = (size_t)bind_opt_integer(L, i, "allocated", 64 << 20),
        .cpu_ms = bind_opt_integer(L, i, "cpu_ms", 5000),
    };
}

/* cell:run(source, limits) -> {declarations=, files=} [, fault]: what was declared until it failed
 */
static int l_run(lua_State *L)
{
    struct cell *c = check(L);
    size_t len;
    const char *source = luaL_checklstring(L, 2, &len);
    struct budget_limits l = limits(L, 3);
    struct fault f;
    if (cell_run(c, source, len, &l, L, &f) == 0) return 1;
    fault_push(L, &f);
    return 2;
}

/* cell:call(limits, function number, value…) -> true, result… | nil, fault */
static int l_call(lua_State *L)
{
    struct cell *c = check(L);
    struct budget_limits l = limits(L, 2);
    int function = (int)luaL_checkinteger(L, 3), n;
    struct fault f;
    if (cell_call(c, L, function, 4, &l, &n, &f) < 0) return push_fault(L, &f);
    lua_pushboolean(L, 1);
    lua_insert(L, -(n + 1));
    return n + 1;
}

static int l_usage(lua_State *L) /* cell:usage() -> bytes held, instructions since it was made */
{
    const struct budget *b = cell_budget(check(L));
    lua_pushinteger(L, (lua_Integer)b->used);
    lua_pushinteger(L, (lua_Integer)b->total_instructions);
    return 2;
}

int luaopen_perigee_rules(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"run", l_run}, {"call", l_call}, {"usage", l_usage}, {"close", l_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"cell", l_cell}, {NULL, NULL}};
    bind_type(L, TYPE, methods, l_close);
    luaL_newlib(L, functions);
    return 1;
}
