/* The Lua module perigee.matrix. Names, defaults and units that users see live in Lua. */
#include "bindings/matrix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "bindings/bind.h"
#include "bindings/modules.h"
#include "host/state.h"
#include "host/task.h"
#include "loop/work.h"

#define TYPE "perigee.matrix"
enum { READ_LIMIT = 1 << 30 }; /* bytes of a CSV file */

struct box {
    struct matrix *m; /* NULL until made and once collected */
};

struct matrix **bind_new_matrix(lua_State *L)
{
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0); /* box */
    box->m = NULL;
    luaL_setmetatable(L, TYPE);
    return &box->m;
}

struct matrix *bind_check_matrix(lua_State *L, int i)
{
    struct box *box = luaL_checkudata(L, i, TYPE);
    luaL_argcheck(L, box->m != NULL, i, "this matrix is empty");
    return box->m;
}

static int l_free(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    matrix_free(box->m);
    box->m = NULL;
    return 0;
}

/* The collector sees a box of few bytes. Told of what hangs on it, it comes in time where a script
 * makes large matrices in a loop. */
static void account(lua_State *L, const struct matrix *m)
{
    size_t kilobytes = m->rows * m->columns / 128;
    if (kilobytes > 0) lua_gc(L, LUA_GCSTEP, kilobytes < 1 << 20 ? (int)kilobytes : 1 << 20);
}

/* Makes what the box on the top is for. */
static struct matrix *make(lua_State *L, struct matrix **m, size_t rows, size_t columns)
{
    int rc = matrix_new(m, rows, columns);
    if (rc == -EOVERFLOW) luaL_error(L, "a matrix of %I rows is too large", (LUAI_UACINT)rows);
    if (rc < 0) luaL_error(L, "not enough memory");
    account(L, *m);
    return *m;
}

/* -- from Lua tables -- */

static void set_names(lua_State *L, struct matrix *m, int i)
{
    if (lua_isnoneornil(L, i)) return;
    for (size_t j = 0; j < m->columns; j++) {
        if (lua_rawgeti(L, i, (lua_Integer)j + 1) != LUA_TSTRING) /* name */
            luaL_error(L, "name %d is a %s; expected a string", (int)j + 1, luaL_typename(L, -1));
        size_t len;
        const char *name = lua_tolstring(L, -1, &len);
        if (memchr(name, '\0', len) != NULL) luaL_error(L, "name %d holds a NUL byte", (int)j + 1);
        if (matrix_set_name(m, j, name, len) < 0) luaL_error(L, "not enough memory");
        lua_pop(L, 1); /* - */
    }
    size_t twin = matrix_find_twin(m);
    if (twin < m->columns) luaL_error(L, "two columns are named \"%s\"", m->names[twin]);
}

/* The list at the top, number k of the table of rows or columns; what is the word for it. */
static size_t check_list(lua_State *L, const char *what, size_t k)
{
    if (lua_type(L, -1) != LUA_TTABLE)
        luaL_error(L, "%s %d is a %s; expected a table", what, (int)k + 1, luaL_typename(L, -1));
    return lua_rawlen(L, -1);
}

/* How many names there are, or otherwise where there are none at all. */
static size_t count_names(lua_State *L, int i, size_t otherwise)
{
    if (lua_isnoneornil(L, i)) return otherwise;
    luaL_checktype(L, i, LUA_TTABLE);
    return lua_rawlen(L, i);
}

/* Takes the n numbers of the list at the top to out[0], out[step], …; nil and false are missing. */
static void take(lua_State *L, const char *what, size_t k, size_t n, double *out, size_t step)
{
    size_t len = check_list(L, what, k);
    if (len != n)
        luaL_error(L, "%s %d has %d values; expected %d (0/0 or false for a missing one)", what,
                   (int)k + 1, (int)len, (int)n);
    for (size_t i = 0; i < n; i++) {
        int type = lua_rawgeti(L, -1, (lua_Integer)i + 1); /* list v */
        if (type == LUA_TNUMBER)
            out[i * step] = lua_tonumber(L, -1);
        else if (type != LUA_TNIL && (type != LUA_TBOOLEAN || lua_toboolean(L, -1)))
            luaL_error(L, "value %d of %s %d is a %s; expected a number", (int)i + 1, what,
                       (int)k + 1, luaL_typename(L, -1));
        lua_pop(L, 1); /* list */
    }
}

/* The length of the first list in the table at index 1. */
static size_t first_length(lua_State *L, const char *what)
{
    if (lua_rawlen(L, 1) == 0) return 0;
    lua_rawgeti(L, 1, 1); /* list */
    size_t n = check_list(L, what, 0);
    lua_pop(L, 1); /* - */
    return n;
}

static int l_from_rows(lua_State *L) /* from_rows(rows [, names]) -> matrix */
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    size_t rows = lua_rawlen(L, 1), columns = count_names(L, 2, first_length(L, "row"));
    struct matrix *m = make(L, bind_new_matrix(L), rows, columns); /* rows names box */
    set_names(L, m, 2);
    for (size_t i = 0; i < rows; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1); /* rows names box row */
        take(L, "row", i, columns, m->x + i * columns, 1);
        lua_pop(L, 1); /* rows names box */
    }
    return 1;
}

static int l_from_columns(lua_State *L) /* from_columns(columns [, names]) -> matrix */
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    size_t columns = lua_rawlen(L, 1), rows = first_length(L, "column");
    size_t n_names = count_names(L, 2, columns);
    if (n_names != columns)
        return luaL_error(L, "%d names for %d columns", (int)n_names, (int)columns);
    struct matrix *m = make(L, bind_new_matrix(L), rows, columns); /* columns names box */
    set_names(L, m, 2);
    for (size_t j = 0; j < columns; j++) {
        lua_rawgeti(L, 1, (lua_Integer)j + 1); /* columns names box column */
        take(L, "column", j, rows, m->x + j, columns);
        lua_pop(L, 1); /* columns names box */
    }
    return 1;
}

/* -- methods -- */

static size_t check_row(lua_State *L, const struct matrix *m, int i)
{
    lua_Integer row = luaL_checkinteger(L, i);
    if (row < 1 || (lua_Unsigned)row > m->rows)
        luaL_error(L, "there is no row %I; the matrix has %I", (LUAI_UACINT)row,
                   (LUAI_UACINT)m->rows);
    return (size_t)row - 1;
}

static void no_such_column(lua_State *L, const struct matrix *m, const char *name)
{
    const char *nearest = matrix_nearest_name(m, name);
    if (nearest == NULL) luaL_error(L, "there is no column \"%s\"", name);
    luaL_error(L, "there is no column \"%s\"; did you mean \"%s\"?", name, nearest);
}

static size_t check_column(lua_State *L, const struct matrix *m, int i) /* a number or a name */
{
    if (lua_type(L, i) == LUA_TSTRING) {
        size_t j = matrix_find(m, lua_tostring(L, i));
        if (j == m->columns) no_such_column(L, m, lua_tostring(L, i));
        return j;
    }
    lua_Integer column = luaL_checkinteger(L, i);
    if (column < 1 || (lua_Unsigned)column > m->columns)
        luaL_error(L, "there is no column %I; the matrix has %I", (LUAI_UACINT)column,
                   (LUAI_UACINT)m->columns);
    return (size_t)column - 1;
}

static int l_get(lua_State *L) /* m:get(i, j): j a number or a name */
{
    const struct matrix *m = bind_check_matrix(L, 1);
    size_t i = check_row(L, m, 2);
    lua_pushnumber(L, matrix_get(m, i, check_column(L, m, 3)));
    return 1;
}

static int l_column(lua_State *L) /* m:column(j) -> array */
{
    const struct matrix *m = bind_check_matrix(L, 1);
    size_t j = check_column(L, m, 2);
    lua_createtable(L, (int)m->rows, 0); /* t */
    for (size_t i = 0; i < m->rows; i++) {
        lua_pushnumber(L, matrix_get(m, i, j));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int l_select(lua_State *L) /* m:select(columns) -> matrix: numbers or names, in that order */
{
    const struct matrix *m = bind_check_matrix(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t n = lua_rawlen(L, 2);
    size_t *which = lua_newuserdatauv(L, n * sizeof *which, 0); /* m columns which */
    for (size_t k = 0; k < n; k++) {
        lua_rawgeti(L, 2, (lua_Integer)k + 1); /* m columns which j */
        which[k] = check_column(L, m, 4);
        lua_pop(L, 1); /* m columns which */
    }
    struct matrix **part = bind_new_matrix(L); /* m columns which box */
    int rc = matrix_select(part, m, which, n);
    if (rc < 0) return luaL_error(L, "not enough memory");
    account(L, *part);
    return 1;
}

static int l_slice(lua_State *L) /* m:slice(first [, last]) -> matrix: these rows, both included */
{
    const struct matrix *m = bind_check_matrix(L, 1);
    lua_Integer first = luaL_checkinteger(L, 2);
    lua_Integer last = luaL_optinteger(L, 3, (lua_Integer)m->rows);
    if (first < 1 || last > (lua_Integer)m->rows || first > last + 1)
        return luaL_error(L, "there are no rows %I to %I; the matrix has %I", (LUAI_UACINT)first,
                          (LUAI_UACINT)last, (LUAI_UACINT)m->rows);
    struct matrix **part = bind_new_matrix(L); /* … box */
    int rc = matrix_slice(part, m, (size_t)first - 1, (size_t)(last - first + 1));
    if (rc < 0) return luaL_error(L, "not enough memory");
    account(L, *part);
    return 1;
}

/* m:pick(rows) -> matrix: the rows of these numbers, in that order */
static int l_pick(lua_State *L)
{
    const struct matrix *m = bind_check_matrix(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t n = lua_rawlen(L, 2);
    size_t *which = lua_newuserdatauv(L, n * sizeof *which, 0); /* m rows which */
    for (size_t k = 0; k < n; k++) {
        lua_rawgeti(L, 2, (lua_Integer)k + 1); /* m rows which i */
        which[k] = check_row(L, m, 4);
        lua_pop(L, 1); /* m rows which */
    }
    struct matrix **part = bind_new_matrix(L); /* m rows which box */
    int rc = matrix_pick(part, m, which, n);
    if (rc < 0) return luaL_error(L, "not enough memory");
    account(L, *part);
    return 1;
}

static int l_to_rows(lua_State *L) /* m:to_rows() -> array of arrays */
{
    const struct matrix *m = bind_check_matrix(L, 1);
    lua_createtable(L, (int)m->rows, 0); /* rows */
    for (size_t i = 0; i < m->rows; i++) {
        bind_push_doubles(L, matrix_row(m, i), m->columns); /* rows row */
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void push_names(lua_State *L, const struct matrix *m)
{
    if (m->names == NULL) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, (int)m->columns, 0); /* names */
    for (size_t j = 0; j < m->columns; j++) {
        lua_pushstring(L, m->names[j]);
        lua_rawseti(L, -2, (lua_Integer)j + 1);
    }
}

static int l_index(lua_State *L) /* rows, columns, names; else a method, in the upvalue */
{
    const struct matrix *m = bind_check_matrix(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "rows") == 0) {
        lua_pushinteger(L, (lua_Integer)m->rows);
    } else if (strcmp(key, "columns") == 0) {
        lua_pushinteger(L, (lua_Integer)m->columns);
    } else if (strcmp(key, "names") == 0) {
        push_names(L, m);
    } else {
        lua_settop(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
    }
    return 1;
}

/* -- read_csv -- */

/* What the thread works on: C memory only. The loop's until done, then the operation's. */
struct job {
    char *path;
    struct matrix_csv how; /* its names are owned */
    struct matrix *m;      /* the result, or NULL with e */
    struct err e;
    struct read_op *waiter; /* NULL once nobody waits */
};

struct read_op {
    struct op op;
    struct job *job;
    struct work *work; /* NULL unless under way */
};

static void job_free(struct job *job)
{
    if (job == NULL) return;
    for (size_t i = 0; i < job->how.n_wanted; i++) free(job->how.wanted[i]);
    free(job->how.wanted);
    free(job->path);
    matrix_free(job->m);
    free(job);
}

static void run(void *data, const atomic_bool *cancel)
{
    struct job *job = data;
    struct err e;
    char *text = NULL;
    size_t len = 0;
    int rc = file_read(job->path, READ_LIMIT, &text, &len, cancel, &job->e);
    if (rc == 0) {
        rc = matrix_from_csv(&job->m, text, len, &job->how, cancel, &e);
        if (rc == -EINVAL)
            err_set(&job->e, rc, "%s:%s", job->path, e.text);
        else if (rc < 0)
            job->e = e;
    }
    free(text);
}

static void on_done(void *data, bool cancelled)
{
    struct job *job = data;
    (void)cancelled;
    if (job->waiter == NULL) {
        job_free(job);
        return;
    }
    job->waiter->work = NULL;
    op_finish(&job->waiter->op);
}

static int push_matrix(lua_State *L, struct op *op)
{
    struct job *job = ((struct read_op *)op)->job;
    if (job->m == NULL) return bind_error(L, &job->e);
    struct matrix **m = bind_new_matrix(L); /* box */
    *m = job->m;
    job->m = NULL;
    account(L, *m);
    return 1;
}

static void drop_read(struct op *op)
{
    struct read_op *o = (struct read_op *)op;
    if (o->work != NULL) {
        o->job->waiter = NULL;
        work_cancel(o->work);
    } else {
        job_free(o->job);
    }
}

/* read_csv(path, columns or nil, delimiter) -> matrix | nil, message. Waits. */
static int l_read_csv(lua_State *L)
{
    size_t len;
    const char *path = luaL_checkstring(L, 1), *delimiter = luaL_checklstring(L, 3, &len);
    luaL_argcheck(L, len == 1 && strchr("\"\r\n", *delimiter) == NULL, 3,
                  "a delimiter is one byte, but no quote and no end of line");
    size_t n = count_names(L, 2, 0);
    luaL_argcheck(L, n > 0 || lua_isnil(L, 2), 2, "no columns are asked for");
    struct read_op *o = op_new(L, sizeof *o, push_matrix, drop_read); /* … op */
    o->job = xcalloc(1, sizeof *o->job);
    o->job->path = xstrdup(path);
    o->job->how.delimiter = *delimiter;
    o->job->how.wanted = xcalloc(n, sizeof *o->job->how.wanted);
    for (size_t k = 0; k < n; k++) {
        if (lua_rawgeti(L, 2, (lua_Integer)k + 1) != LUA_TSTRING) /* … op name */
            return luaL_error(L, "column %d is a %s; expected a name", (int)k + 1,
                              luaL_typename(L, -1));
        o->job->how.wanted[o->job->how.n_wanted++] = xstrdup(lua_tostring(L, -1));
        lua_pop(L, 1); /* … op */
    }
    o->job->waiter = o;
    o->work = work_start(state_of(L)->host->loop, run, on_done, o->job);
    return task_wait(L, &o->op);
}

int luaopen_perigee_matrix(lua_State *L)
{
    static const luaL_Reg functions[] = {{"from_rows", l_from_rows},
                                         {"from_columns", l_from_columns},
                                         {"read_csv", l_read_csv},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"get", l_get},   {"column", l_column},   {"select", l_select}, {"slice", l_slice},
        {"pick", l_pick}, {"to_rows", l_to_rows}, {NULL, NULL}};
    bind_type(L, TYPE, (const luaL_Reg[]){{NULL, NULL}}, NULL);
    luaL_getmetatable(L, TYPE); /* mt */
    lua_pushcfunction(L, l_free);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, methods);         /* mt methods */
    lua_pushcclosure(L, l_index, 1); /* mt index */
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions); /* mt functions */
    return 1;
}
