/* daemon.h - the service put together: store, server, generations of rules, signals.
 *
 * It belongs to the process and outlives every generation. What it does is to build generations
 * aside, to swap one pointer between two turns, to drain the old one, and to end in order; what a
 * generation does is Lua (engine/generation.lua). */
#ifndef APP_DAEMON_H
#define APP_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "host/state.h"
#include "store/store.h"

struct daemon;

struct lines { /* what is wrong, a line each */
    char **line;
    size_t n;
};

/* Ends with done(ud, status, problems): 0 after a graceful stop, 2 when the first generation is not
 * valid, 3 when it cannot start. host->daemon is set until then. */
typedef void daemon_done_fn(void *ud, int status, const struct lines *problems);
int daemon_start(struct host *host, const char *config_path, daemon_done_fn *done, void *ud,
                 struct err *e);
void daemon_stop(struct daemon *d); /* gracefully, as SIGTERM does */

/* What a generation in the making needs of the process. Opens the store at the first time and
 * listeners where an address is a new one; these become the servers with the generation. */
struct daemon_needs {
    const char *data_dir, *host;
    int port;
    const char *slack_host; /* of one more listener, for Slack alone; NULL: none */
    int slack_port;
    size_t max_body;
    unsigned max_connections;
    int64_t drain_ms;
};
int daemon_prepare(struct daemon *d, const struct daemon_needs *needs, struct store **store,
                   struct err *e);

/* Builds the next generation from the files and makes it active if nothing is wrong. done is called
 * once, with ok and what is wrong (or that nothing has changed). */
typedef void daemon_reload_fn(void *ud, bool ok, const struct lines *said);
struct daemon_waiter;
struct daemon_waiter *daemon_reload(struct daemon *d, daemon_reload_fn *done, void *ud);
void daemon_forget(struct daemon_waiter *w); /* done is not called; NULL is fine */

const char *daemon_process(const struct daemon *d); /* a random id of this process */
double daemon_started_at(const struct daemon *d);
/* "ok", "failed" or "none yet" */
const char *daemon_last_reload(const struct daemon *d, double *at, const struct lines **problems);

#endif
