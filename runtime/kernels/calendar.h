/* calendar.h - what clock and calendar on the wall show at an instant, in a time zone given as
 * data.
 *
 * Instants are Unix seconds, no further from 1970 than CALENDAR_LIMIT. Days are counted from
 * 1970-01-01, weeks begin on Monday. */
#ifndef KERNELS_CALENDAR_H
#define KERNELS_CALENDAR_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CALENDAR_LIMIT INT64_C(100000000000000) /* some three million years */

/* A time zone: its offset from UTC over time. Never changes, so any thread may read it. Everywhere
 * below NULL is UTC. */
struct zone;

/* From the bytes of a TZif file (RFC 9636, versions 1 to 4), whose footer rules what comes after
 * its last transition. 0 with *out the caller's, -EINVAL with e for what is no such file or counts
 * leap seconds, or -ENOMEM with e. */
int zone_parse(struct zone **out, const void *tzif, size_t len, struct err *e);
void zone_free(struct zone *z); /* NULL is fine */

/* Seconds east of UTC. O(log transitions). */
int32_t zone_offset(const struct zone *z, int64_t t);

struct calendar_time {
    int64_t year;             /* of the proleptic Gregorian calendar; 0 is 1 BC */
    int month, day;           /* from 1 */
    int hour, minute, second; /* from 0 */
    int weekday;              /* Monday is 0 */
};
struct calendar_time calendar_time(const struct zone *z, int64_t t);

int calendar_hour_of_week(const struct zone *z, int64_t t); /* 0 to 167; Monday's first hour is 0 */
int calendar_hour_of_day(const struct zone *z, int64_t t);
int calendar_weekday(const struct zone *z, int64_t t); /* Monday is 0 */

/* The day of a date, |year| at most 3,000,000; a day outside of its month counts on from its first.
 */
int64_t calendar_days_from_civil(int64_t year, int month, int64_t day);
void calendar_civil_from_days(int64_t days, int64_t *year, int *month, int *day);

#endif
