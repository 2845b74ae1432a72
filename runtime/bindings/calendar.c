/* The Lua module perigee.calendar: the kernel's questions, and time zones by name. */
#include "bindings/calendar.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bindings/bind.h"
#include "bindings/modules.h"

#define TYPE "perigee.zone"
#define FOLDER "/usr/share/zoneinfo"
enum { FILE_LIMIT = 1 << 20, NAME_LIMIT = 100 };

struct box {
    struct zone *z; /* NULL for UTC */
    bool open;
};

static int l_close(lua_State *L) /* __gc and __close too, so twice must be fine */
{
    struct box *box = luaL_checkudata(L, 1, TYPE);
    zone_free(box->z);
    *box = (struct box){0};
    return 0;
}

/* -- zones -- */

static bool is_name(const char *name, size_t len)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";
    /* Without a dot there is no "..", so what does not begin with a slash lies in the folder. */
    return len > 0 && len <= NAME_LIMIT && strspn(name, allowed) == len && name[0] != '/';
}

/* The size of a regular file, or -1 when there is none; zones are small, so waiting is no matter.
 */
static off_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
}

static ssize_t read_up_to(const char *path, char *out, size_t most)
{
    size_t len = 0;
    ssize_t n = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -errno;
    while (n > 0 && len < most) {
        n = read(fd, out + len, most - len);
        if (n > 0) len += (size_t)n;
        if (n < 0 && errno == EINTR) n = 1;
    }
    int code = n < 0 ? errno : 0;
    close(fd);
    return code != 0 ? -code : (ssize_t)len;
}

static int unknown(lua_State *L, const char *name)
{
    lua_pushnil(L);
    if (access(FOLDER, X_OK) == 0)
        lua_pushfstring(L, "unknown time zone \"%s\"", name);
    else
        lua_pushfstring(L, "time zone \"%s\": there is no " FOLDER " (package tzdata)", name);
    return 2;
}

/* Pushes the bytes of a zone's file (an empty text for UTC) and returns 1, or nil and why and 2. */
static int push_file(lua_State *L, const char *name, size_t len)
{
    if (strcmp(name, "UTC") == 0 || strcmp(name, "Etc/UTC") == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (!is_name(name, len)) return unknown(L, name);
    const char *path = lua_pushfstring(L, FOLDER "/%s", name); /* path */
    off_t size = file_size(path);
    if (size < 0) return unknown(L, name);
    struct err e = {0};
    if (size > FILE_LIMIT) {
        err_set(&e, -EFBIG, "time zone \"%s\": a file of more than 1 MiB", name);
        return bind_error(L, &e);
    }
    char *data = lua_newuserdatauv(L, (size_t)size, 0); /* path data */
    ssize_t n = read_up_to(path, data, (size_t)size);
    if (n < 0) {
        err_sys(&e, (int)n, "time zone \"%s\"", name);
        return bind_error(L, &e);
    }
    lua_pushlstring(L, data, (size_t)n);
    return 1;
}

/* zone_data(name) -> the zone's file, for who keeps it; "" for UTC | nil, message */
static int l_zone_data(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    return push_file(L, name, len);
}

static int l_zone(lua_State *L) /* zone(name) -> zone | nil, message */
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    lua_settop(L, 1);
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0); /* name box */
    *box = (struct box){0};
    luaL_setmetatable(L, TYPE);
    int pushed = push_file(L, name, len); /* name box … data */
    if (pushed == 2) return 2;
    struct err e = {0};
    size_t n;
    const char *data = lua_tolstring(L, -1, &n);
    if (n > 0 && zone_parse(&box->z, data, n, &e) == -EINVAL) {
        lua_pushnil(L);
        lua_pushfstring(L, "time zone \"%s\": %s", name, e.text);
        return 2;
    }
    if (e.code != 0) return bind_error(L, &e);
    box->open = true;
    lua_settop(L, 2); /* name box */
    return 1;
}

/* -- questions: (t [, zone = UTC]), t in Unix seconds -- */

static int64_t check_time(lua_State *L, int i)
{
    lua_Number t = luaL_checknumber(L, i);
    luaL_argcheck(L, fabs(t) <= (lua_Number)CALENDAR_LIMIT, i, "Unix seconds expected");
    return (int64_t)floor(t);
}

const struct zone *bind_opt_zone(lua_State *L, int i)
{
    if (lua_isnoneornil(L, i)) return NULL;
    struct box *box = luaL_checkudata(L, i, TYPE);
    luaL_argcheck(L, box->open, i, "already closed");
    return box->z;
}

static int l_hour_of_week(lua_State *L) /* -> 0 to 167, Monday's first hour is 0 */
{
    int64_t t = check_time(L, 1);
    lua_pushinteger(L, calendar_hour_of_week(bind_opt_zone(L, 2), t));
    return 1;
}

static int l_hour_of_day(lua_State *L) /* -> 0 to 23 */
{
    int64_t t = check_time(L, 1);
    lua_pushinteger(L, calendar_hour_of_day(bind_opt_zone(L, 2), t));
    return 1;
}

static int l_weekday(lua_State *L) /* -> 0 to 6, Monday is 0 */
{
    int64_t t = check_time(L, 1);
    lua_pushinteger(L, calendar_weekday(bind_opt_zone(L, 2), t));
    return 1;
}

static int l_offset(lua_State *L) /* -> seconds east of UTC */
{
    int64_t t = check_time(L, 1);
    lua_pushinteger(L, zone_offset(bind_opt_zone(L, 2), t));
    return 1;
}

static void set(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static int l_time(lua_State *L) /* -> {year, month, day, hour, minute, second, weekday, offset} */
{
    int64_t t = check_time(L, 1);
    const struct zone *z = bind_opt_zone(L, 2);
    struct calendar_time c = calendar_time(z, t);
    lua_createtable(L, 0, 8); /* … t */
    set(L, "year", c.year);
    set(L, "month", c.month);
    set(L, "day", c.day);
    set(L, "hour", c.hour);
    set(L, "minute", c.minute);
    set(L, "second", c.second);
    set(L, "weekday", c.weekday);
    set(L, "offset", zone_offset(z, t));
    return 1;
}

/* -- days since 1970-01-01 -- */

static lua_Integer check_limited(lua_State *L, int i, lua_Integer least, lua_Integer most)
{
    lua_Integer n = luaL_checkinteger(L, i);
    luaL_argcheck(L, n >= least && n <= most, i, "out of range");
    return n;
}

static int l_days_from_civil(lua_State *L) /* days_from_civil(year, month, day) */
{
    lua_Integer year = check_limited(L, 1, -999999999, 999999999);
    int month = (int)check_limited(L, 2, 1, 12);
    lua_Integer day = check_limited(L, 3, -999999999, 999999999);
    lua_pushinteger(L, calendar_days_from_civil(year, month, day));
    return 1;
}

static int l_civil_from_days(lua_State *L) /* civil_from_days(days) -> year, month, day */
{
    int64_t year;
    int month, day;
    calendar_civil_from_days(check_limited(L, 1, -999999999, 999999999), &year, &month, &day);
    lua_pushinteger(L, year);
    lua_pushinteger(L, month);
    lua_pushinteger(L, day);
    return 3;
}

int luaopen_perigee_calendar(lua_State *L)
{
    static const luaL_Reg functions[] = {{"zone", l_zone},
                                         {"zone_data", l_zone_data},
                                         {"hour_of_week", l_hour_of_week},
                                         {"hour_of_day", l_hour_of_day},
                                         {"weekday", l_weekday},
                                         {"offset", l_offset},
                                         {"time", l_time},
                                         {"days_from_civil", l_days_from_civil},
                                         {"civil_from_days", l_civil_from_days},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {{"close", l_close}, {NULL, NULL}};
    bind_type(L, TYPE, methods, l_close);
    luaL_newlib(L, functions);
    return 1;
}
