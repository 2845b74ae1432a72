/* main() - finds the command, makes a trusted state, runs lua/stdlib/command/<name>.lua in a task.
 */
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
    uv_async_t interrupted;
};

static struct run run = {.status = 1};
static volatile sig_atomic_t caught; /* the signal, once one has come */

/* -- Ctrl-C: what a command has started (children, servers) ends with it -- */

static void raise_interrupted(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted");
}

/* A script that computes is stopped at its next instruction; one that does not stop, the second
 * time. The service watches for these signals itself, and then this handler is not there. */
static void on_interrupt(int signum)
{
    if (caught != 0) _exit(128 + signum);
    caught = signum;
    lua_State *L = task_running_thread();
    if (L != NULL) lua_sethook(L, raise_interrupted, LUA_MASKCOUNT, 1);
    uv_async_send(&run.interrupted);
}

static void on_wake(uv_async_t *async)
{
    (void)async;
    run.stop = true;
}

static void watch_interrupts(struct loop *loop)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    uv_async_init(loop_uv(loop), &run.interrupted, on_wake);
    uv_unref((uv_handle_t *)&run.interrupted);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void on_end(void *ud, struct task *t, const char *error)
{
    (void)ud;
    run.stop = true;
    if (error != NULL && caught == 0) fprintf(stderr, "perigee: %s\n", error);
    run.status = error != NULL ? 1 : task_exit_status(t);
}

/* Starts the function of command/main.lua with the arguments, in a task. */
static int l_start(lua_State *L)
{
    int argc = (int)lua_tointeger(L, 1);
    char **argv = lua_touserdata(L, 2);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "command.main");
    lua_call(L, 1, 1); /* … main */
    luaL_checkstack(L, argc, "too many arguments");
    for (int i = 1; i < argc; i++) lua_pushstring(L, argv[i]);
    task_on_end(task_spawn(L, argc - 1), on_end, NULL);
    return 0;
}

static int start(struct state *s, int argc, char **argv)
{
    struct err e;
    lua_pushcfunction(s->L, l_start);
    lua_pushinteger(s->L, argc);
    lua_pushlightuserdata(s->L, argv);
    if (state_call(s, 2, 0, &e) == 0) return 0;
    fprintf(stderr, "perigee: %s\n", e.text);
    return -1;
}

int main(int argc, char **argv)
{
    struct host host = {0};
    struct state *s = NULL;
    signal(SIGPIPE, SIG_IGN);
    if (loop_open(&host.loop) < 0 || state_open(&s, &host, app_modules) < 0) {
        fprintf(stderr, "perigee: cannot start: not enough memory\n");
        return 1;
    }
    watch_interrupts(host.loop);
    if (start(s, argc, argv) == 0) {
        loop_run(host.loop, &run.stop);
        if (!run.stop)
            fprintf(stderr, "perigee: everything waits for something that cannot come\n");
    }
    fflush(stdout);
    state_close(s);
    http_client_close(host.http);
    loop_close(host.loop);
    return caught != 0 ? 128 + caught : run.status;
}
