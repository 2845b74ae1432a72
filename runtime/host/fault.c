#include "host/fault.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

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
    snprintf(f->kind, sizeof f->kind, "%s", kind);
    if (split(message, &path_len, &f->line, &words))
        snprintf(f->file, sizeof f->file, "%.*s", (int)path_len, message);
    snprintf(f->message, sizeof f->message, "%s", words);
}

static void trace(lua_State *L, struct fault *f)
{
    lua_Debug ar;
    size_t len = 0;
    for (int level = 1; lua_getstack(L, level, &ar) && len < sizeof f->trace - 1; level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0) continue;
        if (f->file[0] == '\0' && !is_stdlib(ar.short_src)) {
            snprintf(f->file, sizeof f->file, "%s", ar.short_src);
            f->line = ar.currentline;
        }
        int n = snprintf(f->trace + len, sizeof f->trace - len, "%s%s:%d", len > 0 ? " < " : "",
                         ar.short_src, ar.currentline);
        len += n > 0 ? (size_t)n : 0;
    }
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
    fault_from_message(f, "error", message);
    if (is_stdlib(f->file)) f->file[0] = '\0'; /* the first line of a rule on the stack, then */
    f->trace[0] = '\0';
    trace(L, f);
    lua_settop(L, 1);
    return 1;
}

void fault_push(lua_State *L, const struct fault *f)
{
    lua_createtable(L, 0, 5);
    lua_pushstring(L, f->kind);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, f->file);
    lua_setfield(L, -2, "file");
    lua_pushinteger(L, f->line);
    lua_setfield(L, -2, "line");
    lua_pushstring(L, f->message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, f->trace);
    lua_setfield(L, -2, "trace");
}
