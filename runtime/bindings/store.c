/* The Lua module perigee.store: SQL. What the world does wrong (a full disk) is raised: a caller in
 * the middle of a transaction has nothing better to do than to leave it. */
#include "store/store.h"

#include <string.h>

#include "bindings/bind.h"
#include "bindings/modules.h"
#include "bindings/store.h"
#include "host/loader.h"

#define TYPE "perigee.store"

struct box {
    struct store *store; /* NULL once closed */
    bool owned;          /* false: the daemon's, which outlives every state */
};

static struct store *check(lua_State *L)
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, b->store != NULL, 1, "already closed");
    return b->store;
}

static int raise(lua_State *L, const struct err *e) { return luaL_error(L, "%s", e->text); }

static int l_close(lua_State *L)
{
    struct box *b = luaL_checkudata(L, 1, TYPE);
    if (b->owned) store_close(b->store);
    b->store = NULL;
    return 0;
}

static struct box *push_box(lua_State *L)
{
    struct box *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (struct box){NULL, false};
    luaL_setmetatable(L, TYPE);
    return b;
}

static int l_open(lua_State *L) /* open(path) -> store | nil, message; ":memory:" keeps nothing */
{
    const char *path = luaL_checkstring(L, 1);
    const struct embedded *schema = embedded_find("runtime/store/schema.sql");
    struct box *b = push_box(L);
    struct err e = {0};
    if (store_open(&b->store, path, (const char *)schema->data, schema->size, &e) < 0)
        return bind_error(L, &e);
    b->owned = true;
    return 1;
}

void store_push(lua_State *L, struct store *s) { push_box(L)->store = s; }

/* -- statements -- */

/* A statement that is reset whatever raises: the box resets it when it is closed or, where not even
 * that was possible for want of memory, collected. By then its store may be gone, and it too. */
#define STATEMENT_TYPE "perigee.statement"

struct statement_box {
    struct statement *st; /* NULL until prepared and once reset */
    const struct box *of; /* the store's box, held by the user value */
};

static int l_reset(lua_State *L)
{
    struct statement_box *b = luaL_checkudata(L, 1, STATEMENT_TYPE);
    if (b->st != NULL && b->of->store != NULL) statement_reset(b->st);
    b->st = NULL;
    return 0;
}

static struct statement_box *push_statement_box(lua_State *L) /* store … -> store … box */
{
    struct statement_box *b = lua_newuserdatauv(L, sizeof *b, 1);
    *b = (struct statement_box){NULL, lua_touserdata(L, 1)};
    luaL_setmetatable(L, STATEMENT_TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_toclose(L, -1);
    return b;
}

static void bind_value(lua_State *L, struct statement *st, int parameter, int i)
{
    size_t len;
    const char *text;
    switch (lua_type(L, i)) {
    case LUA_TNIL: statement_bind_null(st, parameter); break;
    case LUA_TBOOLEAN: statement_bind_integer(st, parameter, lua_toboolean(L, i)); break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, i))
            statement_bind_integer(st, parameter, lua_tointeger(L, i));
        else
            statement_bind_number(st, parameter, lua_tonumber(L, i));
        break;
    case LUA_TSTRING:
        text = lua_tolstring(L, i, &len);
        statement_bind_text(st, parameter, text, len);
        break;
    default: luaL_error(L, "a %s cannot be stored", luaL_typename(L, i));
    }
}

/* Prepares the SQL at index 2 and binds what follows it; pushes the box, to be closed. */
static struct statement *prepare(lua_State *L)
{
    struct store *s = check(L);
    const char *sql = luaL_checkstring(L, 2);
    int last = lua_gettop(L);
    struct err e = {0};
    struct statement_box *box = push_statement_box(L); /* … box */
    if (store_prepare(s, sql, &box->st, &e) < 0) raise(L, &e);
    int wanted = statement_parameters(box->st);
    if (wanted != last - 2)
        luaL_error(L, "the statement takes %d values, not %d", wanted, last - 2);
    for (int i = 3; i <= last; i++) bind_value(L, box->st, i - 2, i);
    return box->st;
}

static void push_row(lua_State *L, const struct statement *st)
{
    int n = statement_columns(st);
    lua_createtable(L, 0, n); /* row */
    for (int c = 0; c < n; c++) {
        size_t len;
        const char *text;
        switch (statement_type(st, c)) {
        case STATEMENT_NULL: continue;
        case STATEMENT_INTEGER: lua_pushinteger(L, statement_integer(st, c)); break;
        case STATEMENT_NUMBER: lua_pushnumber(L, statement_number(st, c)); break;
        case STATEMENT_TEXT:
            text = statement_text(st, c, &len);
            lua_pushlstring(L, text, len);
            break;
        }
        lua_setfield(L, -2, statement_name(st, c));
    }
}

/* store:rows(sql, value…) -> array of rows, each a table by column; a NULL is an absent field */
static int l_rows(lua_State *L)
{
    struct statement *st = prepare(L);
    struct err e = {0};
    int rc;
    lua_newtable(L); /* … rows */
    for (lua_Integer i = 1; (rc = statement_step(st, &e)) > 0; i++) {
        push_row(L, st);
        lua_rawseti(L, -2, i);
    }
    if (rc < 0) raise(L, &e);
    return 1;
}

static int l_row(lua_State *L) /* store:row(sql, value…) -> the first row | nil */
{
    struct statement *st = prepare(L);
    struct err e = {0};
    int rc = statement_step(st, &e);
    if (rc < 0) raise(L, &e);
    if (rc == 0) return 0;
    push_row(L, st);
    return 1;
}

static int l_exec(lua_State *L) /* store:exec(sql, value…) -> number of rows changed */
{
    struct statement *st = prepare(L);
    struct err e = {0};
    int rc;
    while ((rc = statement_step(st, &e)) > 0) {
    }
    if (rc < 0) raise(L, &e);
    lua_pushinteger(L, store_changes(check(L)));
    return 1;
}

/* -- transactions -- */

static int transact(lua_State *L, bool durable) /* store f -> results of f */
{
    struct store *s = check(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    struct err e = {0};
    if (store_in_transaction(s)) { /* inside another: both are one */
        if (durable && !store_is_durable(s))
            return luaL_error(L, "a durable transaction cannot be part of a relaxed one");
        lua_call(L, 0, LUA_MULTRET);
        return lua_gettop(L) - 1;
    }
    if (store_begin(s, durable, &e) < 0) return raise(L, &e);
    /* A plain call: f cannot wait, so no other task sees the transaction half done. */
    int rc = lua_pcall(L, 0, LUA_MULTRET, 0);
    if (((struct box *)lua_touserdata(L, 1))->store == NULL)
        return luaL_error(L, "the store was closed within a transaction, which is undone");
    if (rc != LUA_OK) {
        store_rollback(s);
        return lua_error(L);
    }
    if (store_commit(s, &e) < 0) return raise(L, &e);
    return lua_gettop(L) - 1;
}

/* store:transaction(f) -> results of f: all of it or, when f raises, nothing. On disk when it
 * returns. */
static int l_transaction(lua_State *L) { return transact(L, true); }

/* store:relaxed(f): the same but for the disk: a power cut may undo it, kill -9 does not. */
static int l_relaxed(lua_State *L) { return transact(L, false); }

void store_bind(lua_State *L)
{
    static const luaL_Reg methods[] = {{"rows", l_rows},
                                       {"row", l_row},
                                       {"exec", l_exec},
                                       {"transaction", l_transaction},
                                       {"relaxed", l_relaxed},
                                       {"close", l_close},
                                       {NULL, NULL}};
    bind_type(L, TYPE, methods, l_close);
    bind_type(L, STATEMENT_TYPE, (const luaL_Reg[]){{NULL, NULL}}, l_reset);
}

int luaopen_perigee_store(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};
    store_bind(L);
    luaL_newlib(L, functions);
    return 1;
}
