#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "base/err.h"

static atomic_bool is_virtual; /* read by worker threads that log */
static _Atomic int64_t virtual_ms;

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    require(clock_gettime(id, &t) == 0);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_wall_ms(void)
{
    return is_virtual ? virtual_ms : read_clock(CLOCK_REALTIME) / 1000000;
}

int64_t clock_monotonic_ms(void)
{
    return is_virtual ? virtual_ms : read_clock(CLOCK_MONOTONIC) / 1000000;
}

int64_t clock_monotonic_ns(void) { return read_clock(CLOCK_MONOTONIC); }
int64_t clock_thread_cpu_ns(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

void clock_make_virtual(int64_t wall_ms)
{
    virtual_ms = wall_ms;
    is_virtual = true;
}

void clock_make_real(void) { is_virtual = false; }
bool clock_is_virtual(void) { return is_virtual; }

void clock_move_to(int64_t wall_ms)
{
    require(is_virtual && wall_ms >= virtual_ms);
    virtual_ms = wall_ms;
}

const char *clock_text(int64_t wall_ms, char out[CLOCK_TEXT])
{
    time_t seconds = (time_t)(wall_ms >= 0 ? wall_ms / 1000 : (wall_ms - 999) / 1000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year > 8099 || tm.tm_year < -1900) {
        snprintf(out, CLOCK_TEXT, "out of range");
        return out;
    }
    snprintf(out, CLOCK_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
             (int)(wall_ms - (int64_t)seconds * 1000));
    return out;
}
