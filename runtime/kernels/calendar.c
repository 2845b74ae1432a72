#include "kernels/calendar.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DAY = 86400 };

/* A day of any year, and a time of it by the clock in force until then. */
struct rule_day {
    enum { JULIAN, ZERO_BASED, MONTH } kind; /* Jn, n, Mm.w.d of POSIX */
    int day, week, month;
    int32_t time; /* seconds after midnight, -167 to 167 hours */
};

/* The POSIX TZ string: what holds in every year. Offsets are seconds east of UTC. */
struct rule {
    int32_t standard, summer;
    bool has_summer;
    struct rule_day begin, end; /* of summer time, which may span the new year */
};

struct transition {
    int64_t at;
    int32_t offset; /* from then on */
};

struct zone {
    int32_t first; /* the offset before all transitions */
    bool has_rule; /* for what comes after them */
    struct rule rule;
    size_t n;
    struct transition transitions[]; /* strictly ascending */
};

/* -- days and dates -- */

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t floor_mod(int64_t a, int64_t b) { return a - b * floor_div(a, b); }

/* Both by Howard Hinnant, "chrono-compatible low-level date algorithms" (2013): years begin in
 * March, so the leap day is their last, and come in eras of 400. */
int64_t calendar_days_from_civil(int64_t year, int month, int64_t day)
{
    assert(month >= 1 && month <= 12);
    if (month <= 2) year--;
    int64_t era = floor_div(year, 400), year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

void calendar_civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = floor_div(days, 146097), day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153; /* 0 is March */
    *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int weekday_of(int64_t days)
{
    return (int)floor_mod(days + 3, 7);
} /* 1970 began on a Thursday */

static bool is_leap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

/* -- rules -- */

static int64_t day_in(const struct rule_day *d, int64_t year)
{
    if (d->kind != MONTH) {
        int64_t day = calendar_days_from_civil(year, 1, 1) + d->day;
        if (d->kind == ZERO_BASED) return day;
        return day - 1 + (is_leap(year) && d->day >= 60); /* Jn never counts 29 February */
    }
    /* Weekday d->day (Sunday is 0) for the week-th time in the month; 5 is the last time. */
    int64_t first = calendar_days_from_civil(year, d->month, 1);
    int64_t next = d->month == 12 ? calendar_days_from_civil(year + 1, 1, 1)
                                  : calendar_days_from_civil(year, d->month + 1, 1);
    int64_t day = first + floor_mod(d->day - 1 - weekday_of(first), 7) + (d->week - 1) * 7;
    return day < next ? day : day - 7;
}

static int32_t rule_offset(const struct rule *r, int64_t t)
{
    if (!r->has_summer) return r->standard;
    int64_t year;
    int month, day;
    calendar_civil_from_days(floor_div(t + r->standard, DAY), &year, &month, &day);
    /* What changed last counts. A rule's time may lie a week outside of its year; and where summer
     * time ends as the next one begins, it lasts. */
    int64_t latest = INT64_MIN;
    int32_t offset = r->standard;
    for (int64_t y = year - 2; y <= year + 1; y++) {
        int64_t begin = day_in(&r->begin, y) * DAY + r->begin.time - r->standard;
        int64_t end = day_in(&r->end, y) * DAY + r->end.time - r->summer;
        if (end <= t && end > latest) latest = end, offset = r->standard;
        if (begin <= t && begin >= latest) latest = begin, offset = r->summer;
    }
    return offset;
}

int32_t zone_offset(const struct zone *z, int64_t t)
{
    assert(t >= -CALENDAR_LIMIT && t <= CALENDAR_LIMIT);
    if (z == NULL) return 0;
    size_t before = 0, after = z->n; /* transitions[before - 1].at <= t < transitions[after].at */
    while (before < after) {
        size_t middle = before + (after - before) / 2;
        if (z->transitions[middle].at <= t)
            before = middle + 1;
        else
            after = middle;
    }
    if (before == z->n && z->has_rule) return rule_offset(&z->rule, t);
    return before == 0 ? z->first : z->transitions[before - 1].offset;
}

/* -- the clock on the wall -- */

static int64_t local(const struct zone *z, int64_t t) { return t + zone_offset(z, t); }

struct calendar_time calendar_time(const struct zone *z, int64_t t)
{
    int64_t seconds = local(z, t), days = floor_div(seconds, DAY);
    int of_day = (int)(seconds - days * DAY);
    struct calendar_time c = {.hour = of_day / 3600,
                              .minute = of_day / 60 % 60,
                              .second = of_day % 60,
                              .weekday = weekday_of(days)};
    calendar_civil_from_days(days, &c.year, &c.month, &c.day);
    return c;
}

int calendar_hour_of_week(const struct zone *z, int64_t t)
{
    /* 1970 began three days into a week. */
    return (int)floor_mod(floor_div(local(z, t) + 3 * DAY, 3600), 168);
}

int calendar_hour_of_day(const struct zone *z, int64_t t)
{
    return (int)floor_mod(floor_div(local(z, t), 3600), 24);
}

int calendar_weekday(const struct zone *z, int64_t t)
{
    return weekday_of(floor_div(local(z, t), DAY));
}

/* -- reading POSIX TZ strings: std offset [dst [offset] , begin [/time] , end [/time]] -- */

/* What is left to read. Each reader below takes its piece or returns false. */
struct cursor {
    const char *at, *end;
};

static bool take(struct cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

static bool read_int(struct cursor *c, int least, int most, int *out)
{
    const char *start = c->at;
    int n = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9' && n <= most; c->at++)
        n = n * 10 + (*c->at - '0');
    *out = n;
    return c->at > start && n >= least && n <= most;
}

static bool is_letter(char ch) { return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z'); }

static bool read_name(struct cursor *c)
{
    bool quoted = take(c, '<');
    const char *start = c->at;
    for (; c->at < c->end; c->at++) {
        char ch = *c->at;
        bool more = quoted && ((ch >= '0' && ch <= '9') || ch == '+' || ch == '-');
        if (!is_letter(ch) && !more) break;
    }
    return c->at - start >= 3 && (!quoted || take(c, '>'));
}

/* [+-]hh[:mm[:ss]] */
static bool read_time(struct cursor *c, int most_hours, int32_t *out)
{
    bool negative = take(c, '-');
    int hours, minutes = 0, seconds = 0;
    if (!negative) (void)take(c, '+');
    if (!read_int(c, 0, most_hours, &hours)) return false;
    if (take(c, ':')) {
        if (!read_int(c, 0, 59, &minutes)) return false;
        if (take(c, ':') && !read_int(c, 0, 59, &seconds)) return false;
    }
    *out = hours * 3600 + minutes * 60 + seconds;
    if (negative) *out = -*out;
    return true;
}

static bool read_day(struct cursor *c, struct rule_day *d)
{
    bool fine;
    if (take(c, 'M')) {
        d->kind = MONTH;
        fine = read_int(c, 1, 12, &d->month) && take(c, '.') && read_int(c, 1, 5, &d->week) &&
               take(c, '.') && read_int(c, 0, 6, &d->day);
    } else if (take(c, 'J')) {
        d->kind = JULIAN;
        fine = read_int(c, 1, 365, &d->day);
    } else {
        d->kind = ZERO_BASED;
        fine = read_int(c, 0, 365, &d->day);
    }
    d->time = 2 * 3600;
    return fine && (!take(c, '/') || read_time(c, 167, &d->time));
}

static bool read_rule(struct cursor *c, struct rule *r)
{
    if (!read_name(c) || !read_time(c, 24, &r->standard)) return false;
    r->standard = -r->standard; /* POSIX counts westwards */
    if (c->at == c->end) return true;
    r->has_summer = true;
    r->summer = r->standard + 3600;
    if (!read_name(c)) return false;
    if (c->at < c->end && *c->at != ',') {
        if (!read_time(c, 24, &r->summer)) return false;
        r->summer = -r->summer;
    }
    return take(c, ',') && read_day(c, &r->begin) && take(c, ',') && read_day(c, &r->end) &&
           c->at == c->end;
}

/* -- reading TZif: big-endian, a block with 4-byte times, and from version 2 on another with 8 --
 */

enum { HEADER = 44, LARGEST_OFFSET = 26 * 3600 };

struct block {
    uint32_t isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt;
    size_t width; /* of a time: 4 or 8 */
    const uint8_t *times, *indices, *types;
};

static uint32_t big32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t big_time(const uint8_t *p, size_t width)
{
    if (width == 4) return (int32_t)big32(p);
    return (int64_t)((uint64_t)big32(p) << 32 | big32(p + 4));
}

/* Reads the header at p, with left bytes there and behind it; the size of both, or 0. */
static size_t read_block(struct block *b, const uint8_t *p, size_t left, size_t width)
{
    if (left < HEADER || memcmp(p, "TZif", 4) != 0) return 0;
    *b = (struct block){.isutcnt = big32(p + 20),
                        .isstdcnt = big32(p + 24),
                        .leapcnt = big32(p + 28),
                        .timecnt = big32(p + 32),
                        .typecnt = big32(p + 36),
                        .charcnt = big32(p + 40),
                        .width = width};
    uint64_t size = (uint64_t)b->timecnt * (width + 1) + (uint64_t)b->typecnt * 6 + b->charcnt +
                    (uint64_t)b->leapcnt * (width + 4) + b->isstdcnt + b->isutcnt;
    if (size > left - HEADER) return 0;
    b->times = p + HEADER;
    b->indices = b->times + b->timecnt * width;
    b->types = b->indices + b->timecnt;
    return HEADER + (size_t)size;
}

static bool type_offset(const struct block *b, uint32_t type, int32_t *offset)
{
    if (type >= b->typecnt) return false;
    *offset = (int32_t)big32(b->types + type * 6);
    return *offset > -LARGEST_OFFSET && *offset < LARGEST_OFFSET;
}

static bool read_transitions(struct zone *z, const struct block *b)
{
    if (!type_offset(b, 0, &z->first)) return false;
    for (uint32_t i = 0; i < b->timecnt; i++) {
        struct transition *t = &z->transitions[i];
        t->at = big_time(b->times + i * b->width, b->width);
        if (i > 0 && t->at <= t[-1].at) return false;
        if (!type_offset(b, b->indices[i], &t->offset)) return false;
    }
    z->n = b->timecnt;
    return true;
}

/* "\n" TZ string "\n"; an empty one has no rule. */
static bool read_footer(struct zone *z, const uint8_t *p, size_t left)
{
    if (left < 2 || p[0] != '\n') return false;
    const uint8_t *end = memchr(p + 1, '\n', left - 1);
    if (end == NULL) return false;
    struct cursor c = {(const char *)p + 1, (const char *)end};
    z->has_rule = c.at < c.end;
    return !z->has_rule || read_rule(&c, &z->rule);
}

int zone_parse(struct zone **out, const void *tzif, size_t len, struct err *e)
{
    const uint8_t *p = tzif;
    struct block b;
    size_t size = read_block(&b, p, len, 4), before = 0;
    bool has_footer = size > 0 && p[4] >= '2';
    if (has_footer) {
        before = size;
        size = read_block(&b, p + before, len - before, 8);
    }
    if (size == 0) return err_set(e, -EINVAL, "no TZif file, or a part of one");
    if (b.leapcnt > 0) return err_set(e, -EINVAL, "a TZif file that counts leap seconds");
    struct zone *z = calloc(1, sizeof *z + b.timecnt * sizeof *z->transitions);
    if (z == NULL) return err_set(e, -ENOMEM, "not enough memory");
    if (!read_transitions(z, &b) ||
        (has_footer && !read_footer(z, p + before + size, len - before - size))) {
        zone_free(z);
        return err_set(e, -EINVAL, "a TZif file that is damaged");
    }
    *out = z;
    return 0;
}

void zone_free(struct zone *z) { free(z); }
