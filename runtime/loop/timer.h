/* timer.h - one call after a time, real or virtual (base/clock.h). */
#ifndef LOOP_TIMER_H
#define LOOP_TIMER_H

#include "loop/loop.h"

struct timer;

/* Calls fn(ud) once, in at least ms milliseconds, never from inside this call. The handle is valid
 * until fn begins or timer_stop() is called. */
struct timer *timer_start(struct loop *l, int64_t ms, void (*fn)(void *ud), void *ud);
void timer_stop(struct timer *t); /* NULL is fine */

/* With a virtual clock: moves it by ms, calling what falls due on the way in order of time. */
void timer_advance(struct loop *l, int64_t ms);

#endif
