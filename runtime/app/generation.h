/* generation.h - one generation of configuration and rules, in a Lua state of its own: candidate,
 * then active or refused, then draining, closed. */
#ifndef APP_GENERATION_H
#define APP_GENERATION_H

#include "app/daemon.h"
#include "base/hash.h"
#include "base/list.h"
#include "net/http_server.h"

struct generation {
    struct list link; /* among the draining */
    struct state *state;
    int object, handler; /* references: engine/generation.lua's table, and its handle() */
    char digest[HASH_HEX];
    int64_t deadline_ms; /* of draining */
    void (*built)(void *ud, struct generation *g, const char *kind, const struct lines *problems);
    void *ud;
};

/* Starts to build one from the configuration at path. built is called once, from a turn: with kind
 * NULL when it may be activated; else "config", "rules", "start", "unchanged" or "internal", and
 * what is wrong. The generation may be closed from the next turn on. 0, or -errno with e. */
int generation_build(struct generation **out, struct host *host, const char *path,
                     const char *active_digest,
                     void (*built)(void *ud, struct generation *g, const char *kind,
                                   const struct lines *problems),
                     void *ud, struct err *e);

/* Calls a method of engine/generation.lua, with a text or a boolean or nothing. */
int generation_call(struct generation *g, const char *method, const char *text, struct err *e);
int generation_activate(struct generation *g, bool first, struct err *e);
void generation_handle(struct generation *g, struct http_exchange *x);
bool generation_is_idle(const struct generation *g); /* no task is left */
void generation_close(struct generation *g);         /* cancels its tasks; NULL is fine */

void lines_add(struct lines *l, const char *text);
void lines_copy(struct lines *to, const struct lines *from);
void lines_free(struct lines *l);

#endif
