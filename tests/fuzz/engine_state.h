/* engine_state.h - a state such as the engine's for targets whose code is Lua: one for all inputs,
 * so that none may leave anything behind. The script returns a function of the input. */
#ifndef TESTS_FUZZ_ENGINE_STATE_H
#define TESTS_FUZZ_ENGINE_STATE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>

#include "app/daemon_module.h"
#include "base/log.h"
#include "host/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline lua_State *engine_state(const char *script)
{
    static struct host host;
    static struct state *s;
    log_setup(LOG_OFF, false);
    if (loop_open(&host.loop) < 0 || state_open(&s, &host, app_modules) < 0) abort();
    if (luaL_loadstring(s->L, script) == LUA_OK && lua_pcall(s->L, 0, 1, 0) == LUA_OK) return s->L;
    fprintf(stderr, "%s\n", lua_tostring(s->L, -1));
    abort();
}

/* Calls the script's function with the input; what it raises is a finding. */
static inline void engine_call(const char *script, const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (L == NULL) L = engine_state(script);
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
}

#endif
