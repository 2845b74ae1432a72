/* The Lua module perigee.regex: patterns in Go's syntax. Texts and what comes of replacing are at
 * most 1 MiB. */
#include "base/regex.h"

#include <errno.h>

#include "bindings/bind.h"
#include "bindings/modules.h"

#define TYPE "perigee.regex"
enum { MAX_TEXT = 1 << 20, MAX_PATTERN = 1 << 16 };

struct box {
    struct regex *re; /* NULL until compiled and once closed */
};

static struct regex *check(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, box->re != NULL, 1, "already closed");
    return box->re;
}

static int l_close(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    regex_free(box->re);
    box->re = NULL;
    return 0;
}

static int too_much(lua_State *L, int rc)
{
    if (rc == -ENOMEM) return bind_fail(L, rc);
    lua_pushnil(L);
    lua_pushstring(L, rc == -ETIME ? "the regular expression takes too long on this text"
                                   : "the text becomes longer than 1048576 bytes");
    return 2;
}

static const char *check_text(lua_State *L, int i, size_t *len)
{
    const char *s = luaL_checklstring(L, i, len);
    luaL_argcheck(L, *len <= MAX_TEXT, i, "longer than 1048576 bytes");
    return s;
}

/* compile(pattern) -> regex | nil, message. */
static int l_compile(lua_State *L)
{
    size_t len;
    const char *pattern = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len <= MAX_PATTERN, 1, "longer than 65536 bytes");
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0); /* pattern box */
    box->re = NULL;
    luaL_setmetatable(L, TYPE);
    struct err e = {0};
    if (regex_compile(&box->re, pattern, len, &e) < 0) return bind_error(L, &e);
    return 1;
}

static int run(lua_State *L, int (*match)(struct regex *, const char *, size_t))
{
    struct regex *re = check(L);
    size_t len;
    const char *s = check_text(L, 2, &len);
    int rc = match(re, s, len);
    if (rc < 0) return too_much(L, rc);
    lua_pushboolean(L, rc);
    return 1;
}

/* regex:match(text) -> whether it matches anywhere | nil, message */
static int l_match(lua_State *L) { return run(L, regex_match); }

/* regex:full_match(text) -> whether the whole text matches | nil, message */
static int l_full_match(lua_State *L) { return run(L, regex_match_full); }

/* regex:replace_all(text, replacement) -> text | nil, message */
static int l_replace_all(lua_State *L)
{
    struct regex *re = check(L);
    size_t len, replacement_len;
    const char *s = check_text(L, 2, &len);
    const char *replacement = check_text(L, 3, &replacement_len);
    struct text *out = bind_text(L); /* re s replacement out */
    out->limit = MAX_TEXT;
    int rc = regex_replace(re, s, len, replacement, replacement_len, out);
    if (rc < 0) return too_much(L, rc);
    lua_pushlstring(L, out->len > 0 ? out->data : "", out->len);
    text_free(out);
    return 1;
}

int luaopen_perigee_regex(lua_State *L)
{
    static const luaL_Reg functions[] = {{"compile", l_compile}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"match", l_match},
                                       {"full_match", l_full_match},
                                       {"replace_all", l_replace_all},
                                       {"close", l_close},
                                       {NULL, NULL}};
    bind_type(L, TYPE, methods, l_close);
    luaL_newlib(L, functions);
    return 1;
}
