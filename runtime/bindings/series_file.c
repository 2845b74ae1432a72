/* The Lua module perigee.series_file: series from CSV files, read on a thread where they are large.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "bindings/bind.h"
#include "bindings/compute.h"
#include "bindings/modules.h"
#include "kernels/series.h"

enum { READ_LIMIT = 1 << 30, SMALL = 4 << 20 }; /* bytes */

struct job {
    struct compute compute;
    char *path;
    struct series series;
};

static int run(struct compute *compute, const atomic_bool *cancel)
{
    struct job *job = (struct job *)compute;
    struct err e = {0};
    char *text;
    size_t len;
    int rc = file_read(job->path, READ_LIMIT, &text, &len, cancel, &job->compute.err);
    if (rc < 0) return rc;
    rc = series_from_csv(&job->series, text, len, cancel, &e);
    free(text);
    if (rc < 0) err_set(&job->compute.err, rc, "%s:%s", job->path, e.text);
    return rc;
}

static int push(lua_State *L, struct compute *compute)
{
    const struct series *s = &((struct job *)compute)->series;
    lua_createtable(L, (int)s->n, 0); /* ds */
    lua_createtable(L, (int)s->n, 0); /* ds y */
    for (size_t i = 0; i < s->n; i++) {
        lua_pushnumber(L, s->samples[i].ds);
        lua_rawseti(L, -3, (lua_Integer)i + 1);
        lua_pushnumber(L, s->samples[i].y);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

static void drop(struct compute *compute)
{
    struct job *job = (struct job *)compute;
    series_free(&job->series);
    free(job->path);
}

/* read_csv(path) -> ds, y | nil, message. Waits. */
static int l_read_csv(lua_State *L)
{
    static const struct compute_kind kind = {sizeof(struct job), run, push, drop};
    const char *path = luaL_checkstring(L, 1);
    struct stat st;
    struct job *job = compute_new(L, &kind); /* … box */
    job->path = xstrdup(path);
    return compute_start(L, job, stat(path, &st) == 0 && st.st_size < SMALL);
}

static int l_time(lua_State *L) /* time(text) -> Unix seconds | nil */
{
    size_t len;
    double t;
    const char *text = luaL_checklstring(L, 1, &len);
    if (!series_time(text, len, &t)) return 0;
    lua_pushnumber(L, t);
    return 1;
}

int luaopen_perigee_series_file(lua_State *L)
{
    static const luaL_Reg functions[] = {{"read_csv", l_read_csv}, {"time", l_time}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
