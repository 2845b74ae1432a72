/* clock.h - the only source of time.
 *
 * Wall time is for data (samples, records, expiry that people read), monotonic time for timeouts.
 * A test or a backtest makes both virtual: then they stand still until moved, and timers fire when
 * they are moved over (loop/timer.h). */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void);       /* since 1970, UTC */
int64_t clock_monotonic_ms(void);  /* since some moment of the past */
int64_t clock_monotonic_ns(void);  /* never virtual: for measuring */
int64_t clock_thread_cpu_ns(void); /* CPU time of the calling thread, never virtual */

void clock_make_virtual(int64_t wall_ms); /* both clocks stand at wall_ms from here on */
bool clock_is_virtual(void);
void clock_move_to(int64_t wall_ms); /* virtual only; never backwards */
void clock_make_real(void);          /* again; timers that were set before stay virtual */

/* RFC 3339 in UTC, "2006-01-02T15:04:05.000Z"; needs CLOCK_TEXT bytes. */
enum { CLOCK_TEXT = 80 }; /* what the compiler can prove, more than it takes */
const char *clock_text(int64_t wall_ms, char out[CLOCK_TEXT]);

#endif
