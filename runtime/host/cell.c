#include "host/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "host/bounded.h"
#include "host/loader.h"
#include "host/transfer.h"

/* LINE_OF_LOG: what one costs, in instructions, so that no rule floods the log. */
enum { MAX_SOURCE = BUDGET_STRING - 1024, MAX_RESULTS = 8, LINE_OF_LOG = 10000 };

struct cell {
    struct budget budget;
    lua_State *L;
    char *name, *folder;
    const luaL_Reg *c_modules;
    void (*print)(void *ud, const char *name, const char *text);
    void *print_ud;
    bool loading; /* only then may files be read: what runs later is what was checked */
    struct fault *fault;
};

static const char functions_key, run_key, declared_key; /* of the registry: sandbox.lua's results */

static struct cell *cell_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* -- what sandbox.lua is given -- */

static int l_here(lua_State *L) /* here(level) -> line of the rule file's frame at or above it */
{
    lua_Debug ar;
    for (int level = (int)luaL_checkinteger(L, 1); lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 ||
            strncmp(ar.short_src, FAULT_STDLIB, sizeof FAULT_STDLIB - 1) == 0)
            continue;
        lua_pushinteger(L, ar.currentline);
        lua_pushstring(L, fault_source(&ar));
        return 2;
    }
    lua_pushinteger(L, 0);
    return 1;
}

static int l_print(lua_State *L)
{
    struct cell *c = cell_of(L);
    luaL_Buffer line;
    int n = lua_gettop(L);
    luaL_buffinit(L, &line);
    for (int i = 1; i <= n; i++) {
        size_t len;
        luaL_tolstring(L, i, &len);
        budget_charge(L, len);
        luaL_addvalue(&line);
        if (i < n) luaL_addchar(&line, '\t');
    }
    luaL_pushresult(&line);
    budget_charge(L, LINE_OF_LOG);
    c->print(c->print_ud, c->name, lua_tostring(L, -1));
    return 0;
}

static int l_stdlib(lua_State *L) /* stdlib(name, globals) -> chunk of that module, or nil */
{
    const struct embedded *file = embedded_find(luaL_checkstring(L, 1));
    luaL_checktype(L, 2, LUA_TTABLE);
    if (file == NULL) return 0;
    if (loader_load(L, file) != LUA_OK) return lua_error(L);
    lua_pushvalue(L, 2);
    lua_setupvalue(L, -2, 1); /* _ENV */
    return 1;
}

static int l_c_module(lua_State *L) /* c_module(name) -> table of that C module, or nil */
{
    const char *name = luaL_checkstring(L, 1);
    for (const luaL_Reg *m = cell_of(L)->c_modules; m->name != NULL; m++) {
        if (strcmp(m->name, name) != 0) continue;
        luaL_requiref(L, name, m->func, 0);
        return 1;
    }
    return 0;
}

/* The first n bytes of the file at most; or -errno. Not of a pipe, which would keep the loop
 * waiting. */
static ssize_t read_start(const char *path, char *data, size_t n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -errno;
    ssize_t got = 0, len = fstat(fd, &st) < 0    ? -errno
                           : S_ISREG(st.st_mode) ? 0
                           : S_ISDIR(st.st_mode) ? -EISDIR
                                                 : -EINVAL;
    while (len >= 0 && (size_t)len < n && (got = read(fd, data + len, n - (size_t)len)) > 0)
        len += got;
    if (got < 0) len = -errno;
    close(fd);
    return len;
}

/* Reads the file into a Lua string; nil and words if it cannot be read. */
static int read_file(lua_State *L, const char *path)
{
    char *data = lua_newuserdatauv(L, MAX_SOURCE + 1, 0); /* data */
    ssize_t len = read_start(path, data, MAX_SOURCE + 1);
    if (len < 0 || len > MAX_SOURCE) {
        lua_pushnil(L);
        lua_pushfstring(L, "cannot read %s: %s", path,
                        len < 0 ? strerror((int)-len) : "larger than 127 KiB");
        return 2;
    }
    lua_pushlstring(L, data, (size_t)len);
    return 1;
}

static int l_file(lua_State *L) /* file(name) -> source, path, digest | nil, message */
{
    struct cell *c = cell_of(L);
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    if (!c->loading) return luaL_error(L, "files can be required only while the rules are loaded");
    if (c->folder == NULL || len == 0 || len > 200 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz"
                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != len ||
        strstr(name, "..") || name[0] == '.') {
        lua_pushnil(L);
        lua_pushfstring(L, "\"%s\" is no name of a file beside the rules", name);
        return 2;
    }
    luaL_Buffer path;
    luaL_buffinit(L, &path);
    luaL_addstring(&path, c->folder);
    luaL_addchar(&path, '/');
    for (size_t i = 0; i < len; i++) luaL_addchar(&path, name[i] == '.' ? '/' : name[i]);
    luaL_addstring(&path, ".lua");
    luaL_pushresult(&path);
    const char *full = lua_tostring(L, -1); /* … path */
    int at = lua_gettop(L), n = read_file(L, full);
    if (n == 2) return 2;
    char digest[HASH_HEX];
    size_t size;
    const char *source = lua_tolstring(L, -1, &size);
    hash_sha256_hex(source, size, digest);
    lua_pushvalue(L, at);
    lua_pushstring(L, digest);
    return 3;
}

static int l_compile(lua_State *L) /* compile(source, name) -> function | nil, message */
{
    size_t len;
    static const char bom[] = "\xef\xbb\xbf"; /* some editors put it first; lua skips it, too */
    size_t skip = 0;
    const char *source = luaL_checklstring(L, 1, &len), *name = luaL_checkstring(L, 2);
    budget_charge(L, len);
    if (len >= sizeof bom - 1 && memcmp(source, bom, sizeof bom - 1) == 0) skip = sizeof bom - 1;
    const char *chunk = lua_pushfstring(L, "@%s", name);
    if (luaL_loadbufferx(L, source + skip, len - skip, chunk, "t") == LUA_OK) return 1;
    const char *message = lua_tostring(L, -1);
    lua_pushnil(L);
    if (strncmp(message, "...", 3) == 0 && strlen(name) >= LUA_IDSIZE) /* the name was cut */
        lua_pushfstring(L, "%s%s", name, message + LUA_IDSIZE - 1);
    else
        lua_pushstring(L, message);
    return 2;
}

static const luaL_Reg host_functions[] = {
    {"here", l_here}, {"print", l_print},     {"stdlib", l_stdlib}, {"c_module", l_c_module},
    {"file", l_file}, {"compile", l_compile}, {NULL, NULL}};

/* -- opening -- */

static int l_prepare(lua_State *L)
{
    struct cell *c = lua_touserdata(L, 1);
    bounded_open(L);
    const struct embedded *sandbox = embedded_find("rules.sandbox");
    if (sandbox == NULL || loader_load(L, sandbox) != LUA_OK)
        return luaL_error(L, "rules.sandbox is not in the program");
    luaL_newlibtable(L, host_functions); /* chunk host */
    lua_pushlightuserdata(L, c);
    luaL_setfuncs(L, host_functions, 1);
    lua_call(L, 1, 3); /* run functions declared */
    luaL_checktype(L, -3, LUA_TFUNCTION);
    luaL_checktype(L, -2, LUA_TTABLE);
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &declared_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &run_key);
    return 0;
}

int cell_open(struct cell **out, const struct cell_options *o, struct err *e)
{
    struct cell *c = xcalloc(1, sizeof *c);
    c->name = xstrdup(o->name);
    c->folder = o->folder != NULL ? xstrdup(o->folder) : NULL;
    c->c_modules = o->c_modules;
    c->print = o->print;
    c->print_ud = o->print_ud;
    c->L = budget_new_state(&c->budget);
    if (c->L == NULL) {
        cell_close(c);
        return err_set(e, -ENOMEM, "not enough memory");
    }
    lua_pushcfunction(c->L, l_prepare);
    lua_pushlightuserdata(c->L, c);
    if (lua_pcall(c->L, 1, 0, 0) != LUA_OK) {
        err_set(e, -EINVAL, "%s", lua_tostring(c->L, -1));
        cell_close(c);
        return -EINVAL;
    }
    *out = c;
    return 0;
}

void cell_close(struct cell *c)
{
    if (c == NULL) return;
    if (c->L != NULL) lua_close(c->L);
    free(c->name);
    free(c->folder);
    free(c);
}

const struct budget *cell_budget(const struct cell *c) { return &c->budget; }

/* -- calls -- */

static void describe_spent(const struct cell *c, struct fault *f)
{
    const struct budget *b = &c->budget;
    const struct budget_limits *l = &b->limits;
    if (strcmp(b->spent, "instructions") == 0) {
        snprintf(f->kind, sizeof f->kind, "instructions");
        snprintf(f->message, sizeof f->message, "took more than %lld instructions",
                 (long long)l->instructions);
    } else if (strcmp(b->spent, "allocation") == 0) {
        snprintf(f->kind, sizeof f->kind, "allocation");
        snprintf(f->message, sizeof f->message, "allocated more than %zu MiB", l->allocated >> 20);
    } else if (strcmp(b->spent, "depth") == 0) {
        snprintf(f->kind, sizeof f->kind, "depth");
        snprintf(f->message, sizeof f->message, "calls itself more than %d deep", BUDGET_DEPTH);
    } else {
        snprintf(f->kind, sizeof f->kind, "cpu");
        snprintf(f->message, sizeof f->message, "took more than %lld ms of CPU time",
                 (long long)l->cpu_ms);
    }
}

/* A memory error runs no message handler: the line is the one where memory was refused. */
static void describe_memory(const struct cell *c, struct fault *f)
{
    const char *at = c->budget.refused_at, *colon = strrchr(at, ':');
    snprintf(f->kind, sizeof f->kind, "memory");
    snprintf(f->message, sizeof f->message,
             "needs more memory than a rule file has: %d MiB, and %d KiB for one text",
             BUDGET_MEMORY >> 20, BUDGET_STRING >> 10);
    if (colon == NULL) return;
    snprintf(f->file, sizeof f->file, "%.*s", (int)(colon - at), at);
    f->line = atoi(colon + 1);
}

struct invocation {
    struct cell *cell;
    struct fault *fault;
    lua_State *engine;
    int first, last;    /* of the arguments on the engine's stack */
    int function;       /* by number */
    const char *source; /* to run instead; or NULL */
    size_t len;
};

/* In the cell, protected: leaves what the call returns. */
static int l_invoke(lua_State *L)
{
    struct invocation *v = lua_touserdata(L, 1);
    lua_settop(L, 0);
    if (v->source != NULL) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &run_key);
        lua_pushlstring(L, v->source, v->len);
        lua_pushstring(L, v->cell->name);
        lua_call(L, 2, 0);
        return 0;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key);
    if (lua_rawgeti(L, -1, v->function) != LUA_TFUNCTION)
        return luaL_error(L, "no function %d in %s", v->function, v->cell->name);
    const struct transfer_options o = {.what = "the argument"};
    for (int i = v->first; i <= v->last; i++) transfer(L, v->engine, i, &o);
    lua_call(L, v->last - v->first + 1, LUA_MULTRET);
    return lua_gettop(L) - 1; /* all above the table of functions */
}

static int protect(lua_State *L) /* pushes nothing that could fail before the handler is there */
{
    struct invocation *v = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, v->fault);
    lua_pushcclosure(L, fault_handler, 1);
    lua_pushcfunction(L, l_invoke);
    lua_pushlightuserdata(L, v);
    int rc = lua_pcall(L, 1, LUA_MULTRET, 2);
    if (rc == LUA_OK) return lua_gettop(L) - 2;
    if (rc == LUA_ERRMEM) describe_memory(v->cell, v->fault);
    return lua_error(L);
}

static int invoke(struct invocation *v, const struct budget_limits *limits)
{
    struct cell *c = v->cell;
    lua_State *L = c->L;
    int top = v->engine != NULL ? lua_gettop(v->engine) : 0;
    *v->fault = (struct fault){0};
    lua_settop(L, 0);
    lua_pushcfunction(L, protect);
    lua_pushlightuserdata(L, v);
    budget_begin(&c->budget, limits);
    int rc = lua_pcall(L, 1, LUA_MULTRET, 0);
    budget_end(&c->budget);
    if (v->engine != NULL) lua_settop(v->engine, top);
    if (rc == LUA_OK) return 0;
    if (v->fault->kind[0] == '\0') describe_memory(c, v->fault);
    if (c->budget.spent != NULL) {
        if (v->fault->line == 0) describe_memory(c, v->fault);
        describe_spent(c, v->fault);
    }
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT); /* what a runaway left behind must not count against the next call */
    return -EINVAL;
}

/* -- results -- */

struct delivery {
    struct cell *cell;
    const char *what;
    int n;
};

static bool is_late(const void *ud) { return budget_is_late(ud); }

static int l_deliver(lua_State *to)
{
    struct delivery *d = lua_touserdata(to, 1);
    const struct transfer_options o = {d->what, is_late, &d->cell->budget};
    luaL_checkstack(to, d->n, "too many results");
    for (int i = 1; i <= d->n; i++) transfer(to, d->cell->L, i, &o);
    return d->n;
}

/* Copies the first n values of the cell's stack to `to`. What cannot cross is the rule's fault. */
static int deliver(struct cell *c, lua_State *to, int n, const char *what, struct fault *f)
{
    struct delivery d = {.cell = c, .what = what, .n = n};
    lua_pushcfunction(to, l_deliver);
    lua_pushlightuserdata(to, &d);
    int rc = lua_pcall(to, 1, n, 0);
    lua_settop(c->L, 0);
    if (rc == LUA_OK) return 0;
    const char *message = lua_tostring(to, -1);
    fault_from_message(f, budget_is_late(&c->budget) ? "cpu" : "error",
                       message != NULL ? message : "not enough memory");
    snprintf(f->file, sizeof f->file, "%s", c->name);
    f->line = 0;
    lua_pop(to, 1);
    lua_gc(c->L, LUA_GCCOLLECT);
    return -EINVAL;
}

/* They live on in the engine. The fields are there, so that this needs no memory. */
static void forget_declarations(struct cell *c)
{
    lua_rawgetp(c->L, LUA_REGISTRYINDEX, &declared_key);
    for (lua_pushnil(c->L); lua_next(c->L, -2);) { /* declared name value */
        lua_pop(c->L, 1);
        lua_pushvalue(c->L, -1);
        lua_pushnil(c->L);
        lua_rawset(c->L, -4); /* declared name */
    }
    lua_settop(c->L, 0);
}

int cell_run(struct cell *c, const char *source, size_t len, const struct budget_limits *limits,
             lua_State *to, struct fault *f)
{
    struct invocation v = {.cell = c, .fault = f, .source = source, .len = len};
    struct fault late = {0};
    c->loading = true;
    int rc = invoke(&v, limits);
    c->loading = false;
    lua_settop(c->L, 0);
    lua_rawgetp(c->L, LUA_REGISTRYINDEX, &declared_key);
    if (deliver(c, to, 1, "the file's declarations", &late) == 0) {
        forget_declarations(c);
        return rc;
    }
    lua_pushnil(to);
    if (rc == 0) *f = late;
    return -EINVAL;
}

/* A fault that no line of the rule raised, as what it returned, is told of at the function. */
static int blame_function(struct cell *c, int function, struct fault *f)
{
    lua_Debug ar;
    lua_settop(c->L, 0);
    if (f->line > 0 || lua_rawgetp(c->L, LUA_REGISTRYINDEX, &functions_key) != LUA_TTABLE)
        return -EINVAL;
    if (lua_rawgeti(c->L, -1, function) == LUA_TFUNCTION) {
        lua_pushvalue(c->L, -1);
        lua_getinfo(c->L, ">S", &ar);
        if (ar.linedefined > 0) {
            snprintf(f->file, sizeof f->file, "%s", fault_source(&ar));
            f->line = ar.linedefined;
        }
    }
    lua_settop(c->L, 0);
    return -EINVAL;
}

int cell_call(struct cell *c, lua_State *engine, int function, int first,
              const struct budget_limits *limits, int *n, struct fault *f)
{
    struct invocation v = {.cell = c,
                           .fault = f,
                           .engine = engine,
                           .first = first,
                           .last = lua_gettop(engine),
                           .function = function};
    if (invoke(&v, limits) < 0) return blame_function(c, function, f);
    *n = lua_gettop(c->L) < MAX_RESULTS ? lua_gettop(c->L) : MAX_RESULTS;
    return deliver(c, engine, *n, "the result", f) < 0 ? blame_function(c, function, f) : 0;
}
