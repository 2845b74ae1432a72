/* The Lua module perigee.clock: times in seconds, as Prometheus counts them. */
#include "base/clock.h"

#include "bindings/bind.h"
#include "bindings/modules.h"
#include "host/state.h"
#include "loop/timer.h"

static int l_now(lua_State *L) /* now() -> Unix seconds, with milliseconds */
{
    lua_pushnumber(L, (lua_Number)clock_wall_ms() / 1000);
    return 1;
}

static int l_monotonic(lua_State *L) /* monotonic() -> seconds since some moment, never virtual */
{
    lua_pushnumber(L, (lua_Number)clock_monotonic_ns() / 1e9);
    return 1;
}

static int l_cpu(lua_State *L) /* cpu() -> seconds of CPU this thread has used */
{
    lua_pushnumber(L, (lua_Number)clock_thread_cpu_ns() / 1e9);
    return 1;
}

static int l_text(lua_State *L) /* text(seconds) -> RFC 3339 in UTC, with milliseconds */
{
    char text[CLOCK_TEXT];
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds > -1e11 && seconds < 1e12, 1, "out of range");
    lua_pushstring(L, clock_text((int64_t)(seconds * 1000 + (seconds < 0 ? -0.5 : 0.5)), text));
    return 1;
}

/* make_virtual(seconds): from now on time stands still until advance() moves it. For tests. */
static int l_make_virtual(lua_State *L)
{
    clock_make_virtual((int64_t)(luaL_checknumber(L, 1) * 1000));
    return 0;
}

static int l_make_real(lua_State *L) /* make_real(): time goes on again */
{
    (void)L;
    clock_make_real();
    return 0;
}

/* advance(seconds): moves virtual time, firing the timers on the way; tasks run once one waits. */
static int l_advance(lua_State *L)
{
    luaL_argcheck(L, clock_is_virtual(), 1, "the clock is not virtual");
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0, 1, "time only goes forward");
    timer_advance(state_of(L)->host->loop, (int64_t)(seconds * 1000));
    return 0;
}

int luaopen_perigee_clock(lua_State *L)
{
    static const luaL_Reg functions[] = {{"now", l_now},
                                         {"monotonic", l_monotonic},
                                         {"cpu", l_cpu},
                                         {"text", l_text},
                                         {"make_virtual", l_make_virtual},
                                         {"make_real", l_make_real},
                                         {"advance", l_advance},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
