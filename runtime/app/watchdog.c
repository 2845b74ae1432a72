#include "app/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <lua.h>

#include "base/log.h"
#include "base/memory.h"
#include "host/task.h"

struct watchdog {
    struct loop *loop;
    pthread_t thread, watched;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool stopping;
};

/* In the slow thread, at its next instruction: says where it is, once. */
static void say_where(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    lua_Debug at;
    char line[160] = "unknown";
    for (int level = 0; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.currentline <= 0) continue;
        snprintf(line, sizeof line, "%s:%d", at.short_src, at.currentline);
        break;
    }
    log_write(LOG_WARN, "a turn takes more than a second",
              (const struct log_field[]){{"at", line}, {NULL, NULL}});
}

/* lua_sethook() is one of the few calls that are safe here: lua.c does the same for Ctrl-C. */
static void on_slow(int signum)
{
    (void)signum;
    lua_State *L = task_running_thread();
    if (L != NULL && lua_gethook(L) == NULL) lua_sethook(L, say_where, LUA_MASKCOUNT, 1);
}

static void give_up(int64_t ms)
{
    log_printf(LOG_ERROR, "a turn has taken %lld ms: the process ends, to be started anew",
               (long long)ms);
    abort();
}

/* Waits a little; true when it is to end. */
static bool nap(struct watchdog *w, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&w->lock);
    if (!w->stopping) pthread_cond_timedwait(&w->stop, &w->lock, &until);
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

enum { NAP_MS = 250 };

/* How long a turn has taken is counted in naps, not read off a clock: where the machine or the
 * whole process stood still for a while, so did the watchdog, and nobody is to blame. */
static void *watch(void *ud)
{
    struct watchdog *w = ud;
    const atomic_uint_fast64_t *turns = loop_turns(w->loop);
    const atomic_bool *waiting = loop_is_waiting(w->loop);
    uint_fast64_t seen = *turns;
    int64_t ms = 0;
    bool warned = false;
    while (!nap(w, NAP_MS)) {
        if (*waiting || *turns != seen) {
            seen = *turns;
            ms = 0;
            warned = false;
            continue;
        }
        ms += NAP_MS;
        if (ms >= WATCHDOG_ABORT_MS) give_up(ms);
        if (ms >= WATCHDOG_WARN_MS && !warned) {
            warned = true;
            pthread_kill(w->watched, SIGUSR2);
        }
    }
    return NULL;
}

struct watchdog *watchdog_start(struct loop *l)
{
    struct watchdog *w = xcalloc(1, sizeof *w);
    struct sigaction action = {.sa_handler = on_slow, .sa_flags = SA_RESTART};
    pthread_condattr_t attr;
    w->loop = l;
    w->watched = pthread_self();
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->stop, &attr);
    pthread_condattr_destroy(&attr);
    sigaction(SIGUSR2, &action, NULL);
    if (pthread_create(&w->thread, NULL, watch, w) == 0) return w;
    log_printf(LOG_WARN, "no thread for the watchdog: slow turns go unnoticed");
    free(w);
    return NULL;
}

void watchdog_stop(struct watchdog *w)
{
    if (w == NULL) return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->stop);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->stop);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
