/* The Lua module perigee.log. Its face is log.lua. */
#include "base/log.h"

#include <string.h>

#include "bindings/bind.h"
#include "bindings/modules.h"

enum { MAX_FIELDS = 24 };

static int l_setup(lua_State *L) /* setup(level, as_json) */
{
    int level = log_level_of(luaL_checkstring(L, 1));
    luaL_argcheck(L, level >= 0, 1, "expected debug, info, warn, error or off");
    log_setup((enum log_level)level, lua_toboolean(L, 2));
    return 0;
}

/* write(level, message, fields): fields is an array of names and values in turn */
static int l_write(lua_State *L)
{
    int level = log_level_of(luaL_checkstring(L, 1));
    const char *message = luaL_checkstring(L, 2);
    luaL_argcheck(L, level >= 0, 1, "no such level");
    if (!log_wants((enum log_level)level)) return 0;
    struct log_field fields[MAX_FIELDS + 1] = {{NULL, NULL}};
    int n = 0;
    if (lua_istable(L, 3)) {
        lua_Integer len = (lua_Integer)lua_rawlen(L, 3);
        luaL_checkstack(L, 3 * MAX_FIELDS + 2, NULL);
        for (lua_Integer i = 1; i < len && n < MAX_FIELDS; i += 2) {
            lua_rawgeti(L, 3, i);
            lua_rawgeti(L, 3, i + 1); /* … name value: left there, so that the strings live */
            fields[n].key = luaL_checkstring(L, -2);
            fields[n++].value = luaL_tolstring(L, -1, NULL);
        }
    }
    fields[n] = (struct log_field){NULL, NULL};
    log_write((enum log_level)level, message, fields);
    return 0;
}

static int l_secret(lua_State *L) /* secret(value): it is redacted in every line from now on */
{
    log_secret(luaL_checkstring(L, 1));
    return 0;
}

static int l_redact(lua_State *L) /* redact(text) -> text, without the secrets in it */
{
    const char *s = luaL_checkstring(L, 1);
    struct text *t = bind_text(L);
    log_redact(t, s);
    if (t->failed) return luaL_error(L, "not enough memory");
    lua_pushlstring(L, t->data != NULL ? t->data : "", t->len);
    text_free(t);
    return 1;
}

/* -- for specs: lines are collected instead of written -- */

static struct text captured;

static void capture(void *ud, const char *line, size_t len)
{
    (void)ud;
    text_add(&captured, line, len);
    text_addc(&captured, '\n');
}

static int l_capture(lua_State *L) /* capture(on) -> what was collected until now */
{
    lua_pushlstring(L, captured.data != NULL ? captured.data : "", captured.len);
    text_free(&captured);
    log_divert(lua_toboolean(L, 1) ? capture : NULL, NULL);
    return 1;
}

int luaopen_perigee_log(lua_State *L)
{
    static const luaL_Reg functions[] = {{"setup", l_setup},     {"write", l_write},
                                         {"secret", l_secret},   {"redact", l_redact},
                                         {"capture", l_capture}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
