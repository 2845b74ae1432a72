/* main() - finds the command, makes a trusted state, runs lua/stdlib/command/<name>.lua in a task. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "app/daemon_module.h"
#include "base/err.h"
#include "host/loader.h"
#include "host/state.h"
#include "host/task.h"
#include "loop/loop.h"

struct run {
    bool stop;
    int status;
};

static void on_end(void *ud, struct task *t, const char *error)
{
    struct run *run = ud;
    run->stop = true;
    if (error != NULL) {
        fprintf(stderr, "perigee: %s\n", error);
        run->status = 1;
        return;
    }
    /* A command's main() returns its exit status. */
    run->status = task_exit_status(t);
}

/* Pushes `return require "command.main"`'s function and the arguments; raises like any Lua code. */
static int l_start(lua_State *L)
{
    int argc = (int)lua_tointeger(L, 1);
    char **argv = lua_touserdata(L, 2);
    struct run *run = lua_touserdata(L, 3);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "command.main");
    lua_call(L, 1, 1); /* … main */
    luaL_checkstack(L, argc, "too many arguments");
    for (int i = 1; i < argc; i++) lua_pushstring(L, argv[i]);
    task_on_end(task_spawn(L, argc - 1), on_end, run);
    return 0;
}

static int start(struct state *s, int argc, char **argv, struct run *run)
{
    struct err e;
    lua_pushcfunction(s->L, l_start);
    lua_pushinteger(s->L, argc);
    lua_pushlightuserdata(s->L, argv);
    lua_pushlightuserdata(s->L, run);
    if (state_call(s, 3, 0, &e) == 0) return 0;
    fprintf(stderr, "perigee: %s\n", e.text);
    return -1;
}

int main(int argc, char **argv)
{
    struct host host = {0};
    struct state *s = NULL;
    struct run run = {.status = 1};
    signal(SIGPIPE, SIG_IGN);
    if (loop_open(&host.loop) < 0 || state_open(&s, &host, app_modules) < 0) {
        fprintf(stderr, "perigee: cannot start: not enough memory\n");
        return 1;
    }
    if (start(s, argc, argv, &run) == 0) {
        loop_run(host.loop, &run.stop);
        if (!run.stop) fprintf(stderr, "perigee: everything waits for something that cannot come\n");
    }
    fflush(stdout);
    state_close(s);
    http_client_close(host.http);
    loop_close(host.loop);
    return run.status;
}
