#include "app/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/generation.h"
#include "app/watchdog.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "host/loader.h"
#include "net/http_server.h"

struct daemon_waiter {
    struct list link; /* in `building_for` or `waiting` */
    daemon_reload_fn *done;
    void *ud;
};

struct listener {
    struct http_server *server; /* NULL: none */
    char *address;              /* as it was asked for */
};

/* The doors to the service: to all of it, and where others have to come in, to what is theirs. */
enum { DOOR_ALL, DOOR_SLACK, DOORS };
static const char *const only_path[DOORS] = {[DOOR_SLACK] = "/slack/interactions"};

struct door {
    struct daemon *daemon;
    const char *only;          /* the one path that is there; NULL: all */
    bool wanted;               /* by the candidate */
    struct listener now, next; /* next: opened for the candidate */
};

struct daemon {
    struct host *host;
    char *config_path, *data_dir;
    char process[17];
    double started_at;
    struct store *store;
    int lock; /* on data_dir/lock: one process a store; -1 until then */

    struct door doors[DOORS];

    struct generation *active, *candidate; /* NULL where there is none */
    struct list draining;
    int64_t drain_ms, build_started_ns;
    bool build_again; /* asked for during a build: files may have changed since it read them */
    struct list building_for; /* waiters of the build under way */
    struct list waiting;      /* of the next */
    struct lines last_problems;
    const char *last_outcome;
    double last_at;

    bool stopping, ended; /* ended: the next turn lets go of everything */
    int64_t stop_deadline_ms;
    int status;
    struct lines end_problems;
    uv_timer_t tick; /* runs while something drains */
    struct watchdog *watchdog;
    daemon_done_fn *done;
    void *ud;

    struct metric *m_success, *m_success_at, *m_reloads, *m_draining, *m_seconds;
};

static void build(struct daemon *d);
static void on_tick(uv_timer_t *t) { (void)t; } /* makes a turn happen, no more */

/* -- requests -- */

static void refuse(struct http_exchange *x, int status, const char *body)
{
    static const char *const headers[] = {"Content-Type", "application/json", NULL};
    http_respond(x, status, headers, body, strlen(body));
}

static void on_request(void *ud, struct http_exchange *x)
{
    struct door *at = ud;
    struct daemon *d = at->daemon;
    if (at->only != NULL && strcmp(http_path(x), at->only) != 0)
        refuse(x, 404, "{\"status\":\"error\",\"errorType\":\"not_found\",\"error\":\"not here\"}");
    else if (d->active != NULL)
        generation_handle(d->active, x);
    else
        refuse(x, 503,
               "{\"status\":\"error\",\"errorType\":\"unavailable\",\"error\":\"not ready yet\"}");
}

static void close_listener(struct listener *l)
{
    http_server_close(l->server);
    free(l->address);
    *l = (struct listener){NULL, NULL};
}

/* -- what a generation in the making needs -- */

static int lock_data_dir(struct daemon *d, const char *path, struct err *e)
{
    char lock[4096];
    snprintf(lock, sizeof lock, "%s/lock", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return err_sys(e, -errno, "data_dir: cannot write %s", lock);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return err_set(e, -EBUSY, "data_dir: %s is in use by another perigee", path);
    }
    d->lock = fd;
    return 0;
}

static int open_data_dir(struct daemon *d, const char *path, struct err *e)
{
    if (d->store != NULL) {
        if (strcmp(d->data_dir, path) == 0) return 0;
        return err_set(e, -EINVAL, "data_dir cannot change from %s to %s while the program runs",
                       d->data_dir, path);
    }
    char file[4096];
    const struct embedded *schema = embedded_find("runtime/store/schema.sql");
    snprintf(file, sizeof file, "%s/perigee.db", path);
    int rc = lock_data_dir(d, path, e);
    if (rc == 0) rc = store_open(&d->store, file, (const char *)schema->data, schema->size, e);
    if (rc == 0) d->data_dir = xstrdup(path);
    return rc;
}

static int open_door(struct door *at, const char *host, int port, const struct daemon_needs *n,
                     struct err *e)
{
    char address[300];
    at->wanted = host != NULL;
    close_listener(&at->next);
    if (!at->wanted) return 0;
    snprintf(address, sizeof address, "%s:%d", host, port);
    if (at->now.address != NULL && strcmp(at->now.address, address) == 0) return 0;
    struct http_server_options o = {.host = host,
                                    .port = port,
                                    .max_body = n->max_body,
                                    .max_connections = n->max_connections,
                                    .request_ms = 10000,
                                    .answer_ms = 60000};
    int rc = http_server_open(&at->next.server, at->daemon->host->loop, &o, on_request, at, e);
    if (rc == 0) at->next.address = xstrdup(address);
    return rc;
}

static void close_next(struct daemon *d)
{
    for (int i = 0; i < DOORS; i++) close_listener(&d->doors[i].next);
}

int daemon_prepare(struct daemon *d, const struct daemon_needs *needs, struct store **store,
                   struct err *e)
{
    int rc = open_data_dir(d, needs->data_dir, e);
    if (rc == 0) rc = open_door(&d->doors[DOOR_ALL], needs->host, needs->port, needs, e);
    if (rc == 0)
        rc = open_door(&d->doors[DOOR_SLACK], needs->slack_host, needs->slack_port, needs, e);
    d->drain_ms = needs->drain_ms;
    *store = d->store;
    return rc;
}

/* -- reloading -- */

static void tell_waiters(struct daemon *d, bool ok, const struct lines *said)
{
    while (!list_empty(&d->building_for)) {
        struct daemon_waiter *w = LIST_ITEM(d->building_for.next, struct daemon_waiter, link);
        list_remove(&w->link);
        w->done(w->ud, ok, said);
        free(w);
    }
}

static void log_lines(const char *message, const struct lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        log_write(LOG_ERROR, message,
                  (const struct log_field[]){{"problem", l->line[i]}, {NULL, NULL}});
}

static void record(struct daemon *d, bool ok, const struct lines *said)
{
    d->last_outcome = ok ? "ok" : "failed";
    d->last_at = (double)clock_wall_ms() / 1000;
    lines_copy(&d->last_problems, said);
    metric_set(d->m_success, NULL, ok);
    if (ok) metric_set(d->m_success_at, NULL, d->last_at);
    metric_add(d->m_reloads, (const char *[]){ok ? "ok" : "failed"}, 1);
    metric_observe(d->m_seconds, NULL, (double)(clock_monotonic_ns() - d->build_started_ns) / 1e9);
}

static void drain(struct daemon *d, struct generation *g, int64_t ms)
{
    g->deadline_ms = clock_monotonic_ms() + ms;
    list_append(&d->draining, &g->link);
}

/* The pointer is swapped with no Lua of either generation on the way. */
static int swap(struct daemon *d, struct generation *g, struct err *e)
{
    struct generation *old = d->active;
    int rc = generation_activate(g, old == NULL, e);
    if (rc < 0) return rc;
    d->active = g;
    for (int i = 0; i < DOORS; i++) {
        struct door *at = &d->doors[i];
        if (at->wanted && at->next.server == NULL) continue; /* the same as before */
        close_listener(&at->now);
        at->now = at->next;
        at->next = (struct listener){NULL, NULL};
    }
    if (old == NULL) return 0;
    struct err ignored = {0};
    if (generation_call(old, "deactivate", NULL, &ignored) < 0)
        log_printf(LOG_ERROR, "the generation before could not be stopped: %s", ignored.text);
    drain(d, old, d->drain_ms);
    return 0;
}

static void end_soon(struct daemon *d, int status, const struct lines *problems)
{
    if (d->ended) return;
    d->ended = true;
    loop_hurry(d->host->loop);
    d->status = status;
    lines_copy(&d->end_problems, problems);
}

static void refused(struct daemon *d, struct generation *g, const char *kind,
                    const struct lines *why)
{
    close_next(d);
    drain(d, g, 0);
    if (d->active == NULL) {
        end_soon(d, strcmp(kind, "start") == 0 || strcmp(kind, "internal") == 0 ? 3 : 2, why);
        return;
    }
    record(d, false, why);
    log_write(LOG_ERROR, "reload failed, nothing has changed", NULL);
    log_lines("reload", why);
    tell_waiters(d, false, why);
}

static void unchanged(struct daemon *d, struct generation *g)
{
    struct lines said = {0};
    lines_add(&said, "nothing has changed");
    drain(d, g, 0);
    record(d, true, &(struct lines){0});
    log_write(LOG_INFO, "reload: nothing has changed", NULL);
    tell_waiters(d, true, &said);
    lines_free(&said);
}

static void on_built(void *ud, struct generation *g, const char *kind, const struct lines *problems)
{
    struct daemon *d = ud;
    struct err e = {0};
    d->candidate = NULL;
    if (d->ended || d->stopping) {
        drain(d, g, 0);
    } else if (kind == NULL && swap(d, g, &e) == 0) {
        record(d, true, problems);
        char ms[32];
        snprintf(ms, sizeof ms, "%.0f", (double)(clock_monotonic_ns() - d->build_started_ns) / 1e6);
        log_write(LOG_INFO, "ready", (const struct log_field[]){{"took_ms", ms}, {NULL, NULL}});
        tell_waiters(d, true, problems);
    } else if (kind == NULL) {
        struct lines why = {0};
        lines_add(&why, e.text);
        refused(d, g, "internal", &why);
        lines_free(&why);
    } else if (strcmp(kind, "unchanged") == 0) {
        unchanged(d, g);
    } else {
        refused(d, g, kind, problems);
    }
    if (d->build_again && !d->ended && !d->stopping) build(d);
}

static void build(struct daemon *d)
{
    struct err e = {0};
    d->build_again = false;
    while (!list_empty(&d->waiting)) {
        struct list *first = d->waiting.next;
        list_remove(first);
        list_append(&d->building_for, first);
    }
    d->build_started_ns = clock_monotonic_ns();
    if (generation_build(&d->candidate, d->host, d->config_path,
                         d->active != NULL ? d->active->digest : NULL, on_built, d, &e) == 0)
        return;
    struct lines why = {0};
    lines_add(&why, e.text);
    if (d->active == NULL) end_soon(d, 3, &why);
    log_lines("reload", &why);
    tell_waiters(d, false, &why);
    lines_free(&why);
}

struct daemon_waiter *daemon_reload(struct daemon *d, daemon_reload_fn *done, void *ud)
{
    struct daemon_waiter *w = NULL;
    if (done != NULL) {
        w = xcalloc(1, sizeof *w);
        w->done = done;
        w->ud = ud;
        list_append(&d->waiting, &w->link);
    }
    if (d->candidate != NULL)
        d->build_again = true;
    else if (!d->stopping && !d->ended)
        build(d);
    return w;
}

void daemon_forget(struct daemon_waiter *w)
{
    if (w == NULL) return;
    list_remove(&w->link);
    free(w);
}

/* -- ending -- */

void daemon_stop(struct daemon *d)
{
    struct err e = {0};
    if (d->stopping || d->ended) return;
    log_write(LOG_INFO, "stopping", NULL);
    d->stopping = true;
    d->stop_deadline_ms = clock_monotonic_ms() + d->drain_ms;
    for (int i = 0; i < DOORS; i++)
        if (d->doors[i].now.server != NULL) http_server_pause(d->doors[i].now.server);
    if (d->active != NULL && generation_call(d->active, "deactivate", NULL, &e) < 0)
        log_printf(LOG_ERROR, "could not be stopped in order: %s", e.text);
}

static void on_tick_closed(uv_handle_t *h) { free(h->data); }

static void forget_all(struct list *waiters)
{
    while (!list_empty(waiters))
        daemon_forget(LIST_ITEM(waiters->next, struct daemon_waiter, link));
}

static void on_turn(void *ud);

static void end(struct daemon *d)
{
    loop_off_turn(d->host->loop, on_turn, d);
    generation_close(d->candidate);
    generation_close(d->active);
    while (!list_empty(&d->draining))
        generation_close(LIST_ITEM(d->draining.next, struct generation, link));
    close_next(d);
    for (int i = 0; i < DOORS; i++) close_listener(&d->doors[i].now);
    watchdog_stop(d->watchdog);
    store_close(d->store);
    if (d->lock >= 0) close(d->lock);
    d->host->daemon = NULL;
    d->done(d->ud, d->status, &d->end_problems);
    forget_all(&d->waiting);
    forget_all(&d->building_for);
    lines_free(&d->last_problems);
    lines_free(&d->end_problems);
    free(d->config_path);
    free(d->data_dir);
    uv_close((uv_handle_t *)&d->tick, on_tick_closed);
}

static void close_drained(struct daemon *d)
{
    int64_t now = clock_monotonic_ms();
    for (struct list *at = d->draining.next, *next; at != &d->draining; at = next) {
        struct generation *g = LIST_ITEM(at, struct generation, link);
        next = at->next;
        bool idle = generation_is_idle(g);
        if (!idle && now < g->deadline_ms) continue;
        if (!idle)
            log_write(LOG_WARN, "a generation did not end in time; its tasks are cancelled", NULL);
        generation_close(g);
    }
}

static size_t length(const struct list *l)
{
    size_t n = 0;
    for (const struct list *at = l->next; at != l; at = at->next) n++;
    return n;
}

/* Once a turn, with nothing of a generation on the stack: the place to let go of them. */
static void on_turn(void *ud)
{
    struct daemon *d = ud;
    close_drained(d);
    metric_set(d->m_draining, NULL, (double)length(&d->draining));
    if (d->stopping && !d->ended) {
        bool idle = d->active == NULL || generation_is_idle(d->active);
        if ((idle && list_empty(&d->draining)) || clock_monotonic_ms() >= d->stop_deadline_ms)
            end_soon(d, 0, &(struct lines){0});
    }
    if (d->ended) {
        end(d);
        return;
    }
    bool waits = d->stopping || !list_empty(&d->draining);
    if (waits && !uv_is_active((uv_handle_t *)&d->tick))
        uv_timer_start(&d->tick, on_tick, 20, 20);
    else if (!waits)
        uv_timer_stop(&d->tick);
}

/* -- starting -- */

static void on_signal(void *ud, int signum)
{
    struct host *host = ud;
    struct daemon *d = host->daemon;
    struct err e = {0};
    if (d == NULL) return;
    if (signum == SIGHUP)
        daemon_reload(d, NULL, NULL);
    else if (signum != SIGUSR1)
        daemon_stop(d);
    else if (d->active != NULL && generation_call(d->active, "kill", "SIGUSR1", &e) < 0)
        log_printf(LOG_ERROR, "the kill switch could not be thrown: %s", e.text);
}

static void make_metrics(struct daemon *d)
{
    static const double buckets[] = {.01, .025, .05, .1, .2, .5, 1, 2, 5};
    d->m_success =
        metric_family("perigee_config_last_reload_successful",
                      "Whether the last reload was successful.", METRIC_GAUGE, "", NULL, 0);
    d->m_success_at =
        metric_family("perigee_config_last_reload_success_timestamp_seconds",
                      "When the last successful reload was.", METRIC_GAUGE, "", NULL, 0);
    d->m_reloads = metric_family("perigee_reloads_total", "Reloads by outcome.", METRIC_COUNTER,
                                 "outcome", NULL, 0);
    d->m_draining =
        metric_family("perigee_generations_draining",
                      "Generations of rules that are no longer active and not yet closed.",
                      METRIC_GAUGE, "", NULL, 0);
    d->m_seconds = metric_family("perigee_reload_duration_seconds",
                                 "Time from the start of a reload to its end.", METRIC_HISTOGRAM,
                                 "", buckets, sizeof buckets / sizeof *buckets);
    metric_add(d->m_reloads, (const char *[]){"ok"}, 0);
    metric_add(d->m_reloads, (const char *[]){"failed"}, 0);
    metric_set(metric_family("perigee_build_info", "The version that runs.", METRIC_GAUGE,
                             "version", NULL, 0),
               (const char *[]){PERIGEE_VERSION}, 1);
}

/* The soft limit is for programs that know no more than 1,024 descriptors; a crowd of clients would
 * leave none of those for the source. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int daemon_start(struct host *host, const char *config_path, daemon_done_fn *done, void *ud,
                 struct err *e)
{
    static const int signals[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1};
    if (host->daemon != NULL) return err_set(e, -EBUSY, "one is running already");
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        int rc = loop_on_signal(host->loop, signals[i], on_signal, host);
        if (rc < 0) return err_sys(e, rc, "cannot watch for signals");
    }
    raise_descriptor_limit();
    umask(077); /* what data_dir holds is for nobody else: plans, and who decided about them */
    struct daemon *d = xcalloc(1, sizeof *d);
    d->host = host;
    d->config_path = xstrdup(config_path);
    hash_random_hex(8, d->process);
    d->started_at = (double)clock_wall_ms() / 1000;
    d->lock = -1;
    for (int i = 0; i < DOORS; i++) d->doors[i] = (struct door){.daemon = d, .only = only_path[i]};
    d->last_outcome = "none yet";
    d->done = done;
    d->ud = ud;
    list_init(&d->draining);
    list_init(&d->waiting);
    list_init(&d->building_for);
    uv_timer_init(loop_uv(host->loop), &d->tick);
    d->tick.data = d;
    make_metrics(d);
    host->daemon = d;
    d->watchdog = watchdog_start(host->loop);
    loop_on_turn(host->loop, on_turn, d);
    build(d);
    return 0;
}

const char *daemon_process(const struct daemon *d) { return d->process; }
double daemon_started_at(const struct daemon *d) { return d->started_at; }

const char *daemon_last_reload(const struct daemon *d, double *at, const struct lines **problems)
{
    *at = d->last_at;
    *problems = &d->last_problems;
    return d->last_outcome;
}
