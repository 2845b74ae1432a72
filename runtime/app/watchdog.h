/* watchdog.h - a turn of the loop that takes too long: after a second the line is named, after ten
 * the process ends, and what supervises it starts it anew. The journal tells the rest. */
#ifndef APP_WATCHDOG_H
#define APP_WATCHDOG_H

#include "loop/loop.h"

struct watchdog;

enum { WATCHDOG_WARN_MS = 1000, WATCHDOG_ABORT_MS = 10000 };

struct watchdog *watchdog_start(struct loop *l); /* from the loop's thread; NULL without threads */
void watchdog_stop(struct watchdog *w);          /* NULL is fine */

#endif
