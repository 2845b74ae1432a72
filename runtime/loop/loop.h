/* loop.h - the one event loop, its turns, and signals of the operating system.
 *
 * Everything but work.h's functions runs on the thread that calls loop_run(). */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

struct loop;

int loop_open(struct loop **out); /* 0 or -errno */
/* Closes what is still open on it, waits for the close callbacks and for children that were
 * abandoned, frees. NULL is fine. */
void loop_close(struct loop *l);

uv_loop_t *loop_uv(struct loop *l);

/* Runs until *stop (looked at once a turn) or nothing is left to wait for. */
void loop_run(struct loop *l, const bool *stop);

/* Called once a turn before the loop waits. Hooks are few and live until removed. */
typedef void loop_turn_fn(void *ud);
void loop_on_turn(struct loop *l, loop_turn_fn *fn, void *ud);
void loop_off_turn(struct loop *l, loop_turn_fn *fn, void *ud);
/* There is work for the hooks: the loop does not wait before the next turn. */
void loop_hurry(struct loop *l);

/* How many turns have begun: a watchdog compares it from its own thread. */
const atomic_uint_fast64_t *loop_turns(const struct loop *l);
/* True while the loop waits for events, so that idleness is not taken for a stall. */
const atomic_bool *loop_is_waiting(const struct loop *l);

typedef void loop_signal_fn(void *ud, int signum);
int loop_on_signal(struct loop *l, int signum, loop_signal_fn *fn, void *ud);

#endif
