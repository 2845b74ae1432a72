#include "host/fault.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/text.h"
#include "host/budget.h"

/* "path:12: words" gives the path's length, the line, and where the words begin. */
static bool split(const char *message, size_t *path_len, int *line, const char **words)
{
    for (const char *colon = strchr(message, ':'); colon != NULL; colon = strchr(colon + 1, ':')) {
        char *end;
        if (!isdigit((unsigned char)colon[1])) continue;
        long n = strtol(colon + 1, &end, 10);
        if (end[0] != ':' || end[1] != ' ') continue;
        *path_len = (size_t)(colon - message);
        *line = (int)n;
        *words = end + 2;
        return true;
    }
    return false;
}

static bool is_stdlib(const char *path)
{
    return strncmp(path, FAULT_STDLIB, sizeof FAULT_STDLIB - 1) == 0;
}

void fault_from_message(struct fault *f, const char *kind, const char *message)
{
    size_t path_len;
    const char *words = message;
    f->file[0] = '\0';
    f->line = 0;
    snprintf(f->kind, sizeof f->kind, "%s", kind);
    if (split(message, &path_len, &f->line, &words))
        snprintf(f->file, sizeof f->file, "%.*s", (int)path_len, message);
    snprintf(f->message, sizeof f->message, "%s", words);
}

const char *fault_source(const lua_Debug *ar)
{
    return ar->source[0] == '@' ? ar->source + 1 : ar->short_src;
}

/* Messages name a file by Lua's short name, of 60 bytes, which the stack makes whole again. */
static void trace(lua_State *L, struct fault *f)
{
    lua_Debug ar;
    size_t len = 0;
    for (int level = 1; lua_getstack(L, level, &ar) && len < sizeof f->trace - 1; level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0) continue;
        bool first = f->file[0] == '\0' && !is_stdlib(ar.short_src);
        if (first) f->line = ar.currentline;
        if (first || strcmp(f->file, ar.short_src) == 0)
            snprintf(f->file, sizeof f->file, "%s", fault_source(&ar));
        int n = snprintf(f->trace + len, sizeof f->trace - len, "%s%s:%d", len > 0 ? " < " : "",
                         ar.short_src, ar.currentline);
        len += n > 0 ? (size_t)n : 0;
    }
}

/* While the stack is unwound each variable to be closed may raise again, a hundred thousand of
 * them; what came first is what happened. Unless it is only now that the budget is spent. */
static bool is_news(const struct fault *f, const char *message)
{
    return f->kind[0] == '\0' ||
           (strcmp(message, BUDGET_SPENT) == 0 && strcmp(f->message, BUDGET_SPENT) != 0);
}

int fault_handler(lua_State *L)
{
    struct fault *f = lua_touserdata(L, lua_upvalueindex(1));
    char number[64];
    const char *message = NULL;
    if (lua_type(L, 1) == LUA_TSTRING) {
        message = lua_tostring(L, 1);
    } else { /* no __tostring: it would be the rule's code once more */
        snprintf(number, sizeof number, "error object is a %s", luaL_typename(L, 1));
        message = number;
    }
    if (!is_news(f, message)) return 1;
    fault_from_message(f, "error", message);
    if (is_stdlib(f->file)) { /* the first line of a rule on the stack, then */
        f->file[0] = '\0';
        f->line = 0;
    }
    f->trace[0] = '\0';
    trace(L, f);
    lua_settop(L, 1);
    return 1;
}

/* Whatever a rule raised, and wherever it was cut: what is pushed can be shown and kept. */
static void push_utf8(lua_State *L, const char *s)
{
    size_t n, len = strlen(s);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (; len > 0; s += n, len -= n) {
        n = text_utf8_char(s, len);
        if (n > 0)
            luaL_addlstring(&b, s, n);
        else
            luaL_addchar(&b, '?');
        if (n == 0) n = 1;
    }
    luaL_pushresult(&b);
}

void fault_push(lua_State *L, const struct fault *f)
{
    lua_createtable(L, 0, 5);
    lua_pushstring(L, f->kind);
    lua_setfield(L, -2, "kind");
    push_utf8(L, f->file);
    lua_setfield(L, -2, "file");
    lua_pushinteger(L, f->line);
    lua_setfield(L, -2, "line");
    push_utf8(L, f->message);
    lua_setfield(L, -2, "message");
    push_utf8(L, f->trace);
    lua_setfield(L, -2, "trace");
}
