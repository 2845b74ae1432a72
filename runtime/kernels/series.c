#include "kernels/series.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/csv.h"
#include "base/memory.h"
#include "kernels/calendar.h"

static const double furthest = 1e11; /* seconds from 1970: the year 5138 */

void series_free(struct series *s)
{
    free(s->samples);
    *s = (struct series){0};
}

/* -- times -- */

/* Takes exactly n digits. */
static bool digits(const char **at, const char *end, int n, int *out)
{
    *out = 0;
    for (; n > 0; n--, (*at)++) {
        if (*at == end || **at < '0' || **at > '9') return false;
        *out = *out * 10 + (**at - '0');
    }
    return true;
}

static bool one_of(const char **at, const char *end, const char *set)
{
    if (*at == end || **at == '\0' || strchr(set, **at) == NULL) return false;
    (*at)++;
    return true;
}

static bool fraction(const char **at, const char *end, double *seconds)
{
    double unit = 0.1;
    const char *start = *at;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
        *seconds += unit * (**at - '0');
    return *at > start;
}

/* "Z", "+02:00", or nothing, which is UTC. */
static bool offset(const char **at, const char *end, double *seconds)
{
    int hours, minutes;
    if (*at == end || one_of(at, end, "Zz")) return true;
    bool west = **at == '-';
    if (!one_of(at, end, "+-") || !digits(at, end, 2, &hours) || !one_of(at, end, ":") ||
        !digits(at, end, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *seconds += (west ? 60 : -60) * (hours * 60 + minutes);
    return true;
}

static int days_in(int year, int month)
{
    return (int)(calendar_days_from_civil(month == 12 ? year + 1 : year, month % 12 + 1, 1) -
                 calendar_days_from_civil(year, month, 1));
}

static bool date_time(const char *at, const char *end, double *t)
{
    int year, month, day, hour, minute, second = 0;
    if (!digits(&at, end, 4, &year) || !one_of(&at, end, "-") || !digits(&at, end, 2, &month) ||
        !one_of(&at, end, "-") || !digits(&at, end, 2, &day) || month < 1 || month > 12 ||
        day < 1 || day > days_in(year, month))
        return false;
    *t = 86400.0 * (double)calendar_days_from_civil(year, month, day);
    if (at == end) return true;
    if (!one_of(&at, end, "Tt ") || !digits(&at, end, 2, &hour) || !one_of(&at, end, ":") ||
        !digits(&at, end, 2, &minute) || hour > 23 || minute > 59)
        return false;
    double part = 0;
    if (one_of(&at, end, ":")) {
        if (!digits(&at, end, 2, &second) || second > 60) return false;
        if (one_of(&at, end, ".,") && !fraction(&at, end, &part)) return false;
    }
    *t += 3600.0 * hour + 60.0 * minute + second + part;
    return offset(&at, end, t) && at == end;
}

bool series_time(const char *text, size_t len, double *t)
{
    struct csv_field f = {.text = text, .len = len};
    const char *end = text + len;
    if (len >= 10 && text[4] == '-' && text[7] == '-')
        return date_time(text, end, t) && fabs(*t) <= furthest;
    return csv_number(&f, t) && fabs(*t) <= furthest; /* false for NaN, an empty text's value */
}

/* -- CSV -- */

#define ABSENT SIZE_MAX

/* A file on its way into a series. */
struct intake {
    struct csv csv;
    struct series *out;
    size_t columns, time, value; /* value and time: columns, from 0 */
    bool sorted;
    struct err *e;
};

static const char *const times[] = {"ts", "ds", "timestamp", NULL};
static const char *const values[] = {"y", "value", NULL};

static int no_memory(struct err *e) { return err_set(e, -ENOMEM, "not enough memory"); }

/* The rank of a column's name in a list, or the list's length. */
static size_t rank(const struct csv_field *f, const char *const *names)
{
    const char *s = f->text;
    size_t len = f->len, i = 0;
    while (len > 0 && (*s == ' ' || *s == '\t')) s++, len--;
    while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t')) len--;
    while (names[i] != NULL && (strlen(names[i]) != len || strncasecmp(names[i], s, len) != 0)) i++;
    return i;
}

static int take_header(struct intake *r)
{
    struct csv_field f = {0};
    size_t best_time = 3, best_value = 2;
    int rc = 0;
    char text[CSV_EXCERPT], first[CSV_EXCERPT] = "";
    r->time = r->value = ABSENT;
    while (!f.last && (rc = csv_next(&r->csv, &f, r->e)) > 0) {
        size_t t = rank(&f, times), v = rank(&f, values);
        if (t < best_time) best_time = t, r->time = r->columns;
        if (v < best_value) best_value = v, r->value = r->columns;
        if (r->columns++ == 0) strcpy(first, csv_excerpt(&f, text));
    }
    if (rc < 0) return rc;
    if (r->columns == 0)
        return err_set(r->e, -EINVAL, "1:1: there is nothing; the first line names the columns");
    if (r->time == ABSENT &&
        (strncmp(first, "# TYPE ", 7) == 0 || strncmp(first, "# HELP ", 7) == 0))
        return err_set(r->e, -EINVAL,
                       "1:1: these are metrics as Prometheus exposes them; expected is CSV whose "
                       "first line names the columns, such as ts,value");
    if (r->time == ABSENT)
        return err_set(r->e, -EINVAL,
                       "1:1: no column is named ts, ds or timestamp; the first line names the "
                       "columns, and begins with \"%s\"",
                       first);
    if (r->value == ABSENT) return err_set(r->e, -EINVAL, "1:1: no column is named y or value");
    return 0;
}

static int bad_time(struct intake *r, const struct csv_field *f)
{
    char text[CSV_EXCERPT];
    double t;
    csv_excerpt(f, text);
    if (csv_number(f, &t) && fabs(t) > furthest)
        return err_set(r->e, -EINVAL, "%zu:%zu: \"%s\" is too far away for Unix seconds%s", f->line,
                       f->column, text, t < 1e14 && t > 0 ? "; are these milliseconds?" : "");
    return err_set(r->e, -EINVAL,
                   "%zu:%zu: \"%s\" is no time: expected Unix seconds, 2026-01-31T23:59:00Z, or "
                   "2026-01-31 23:59:00",
                   f->line, f->column, text);
}

/* The fields of a record whose first one is *f. */
static int take_record(struct intake *r, struct csv_field *f, struct sample *s)
{
    for (size_t j = 0;; j++) {
        char text[CSV_EXCERPT];
        if (j == r->columns)
            return err_set(r->e, -EINVAL, "%zu:%zu: one field more than the %zu columns", f->line,
                           f->column, r->columns);
        if (j == r->time && !series_time(f->text, f->len, &s->ds)) return bad_time(r, f);
        if (j == r->value && !csv_number(f, &s->y))
            return err_set(r->e, -EINVAL, "%zu:%zu: \"%s\" is no number", f->line, f->column,
                           csv_excerpt(f, text));
        if (f->last && j + 1 < r->columns)
            return err_set(r->e, -EINVAL, "%zu:%zu: the line ends here, with field %zu of %zu",
                           f->line, f->column, j + 1, r->columns);
        if (f->last) return 0;
        int rc = csv_next(&r->csv, f, r->e);
        if (rc < 0) return rc;
    }
}

static int take_records(struct intake *r, const atomic_bool *cancel)
{
    struct series *out = r->out;
    struct csv_field f;
    int rc;
    for (size_t n = 1; (rc = csv_next(&r->csv, &f, r->e)) > 0; n++) {
        if (n % 4096 == 0 && cancel != NULL && atomic_load(cancel))
            return err_set(r->e, -ECANCELED, "cancelled");
        if (f.last && f.len == 0 && !f.quoted) continue;
        if (!array_reserve((void **)&out->samples, &out->capacity, out->n + 1,
                           sizeof *out->samples))
            return no_memory(r->e);
        struct sample *s = &out->samples[out->n];
        rc = take_record(r, &f, s);
        if (rc < 0) return rc;
        if (out->n > 0 && s->ds < s[-1].ds) r->sorted = false;
        out->n++;
    }
    return rc;
}

/* Merges ever longer runs; stable. */
static int sort(struct series *s, struct err *e)
{
    struct sample *from = s->samples, *to = malloc(s->n * sizeof *to), *scratch = to;
    if (to == NULL) return no_memory(e);
    for (size_t run = 1; run < s->n; run *= 2) {
        for (size_t at = 0; at < s->n; at += 2 * run) {
            size_t i = at, middle = at + run < s->n ? at + run : s->n;
            size_t j = middle, end = middle + run < s->n ? middle + run : s->n;
            for (size_t k = at; k < end; k++)
                to[k] =
                    i < middle && (j == end || from[i].ds <= from[j].ds) ? from[i++] : from[j++];
        }
        struct sample *other = from;
        from = to;
        to = other;
    }
    if (from == scratch) memcpy(s->samples, from, s->n * sizeof *from);
    free(scratch);
    return 0;
}

int series_from_csv(struct series *out, const char *data, size_t len, const atomic_bool *cancel,
                    struct err *e)
{
    *out = (struct series){0};
    struct intake r = {.out = out, .sorted = true, .e = e};
    csv_open(&r.csv, data, len, ',');
    int rc = take_header(&r);
    if (rc == 0) rc = take_records(&r, cancel);
    if (rc == 0 && !r.sorted) rc = sort(out, e);
    if (rc < 0) series_free(out);
    return rc;
}
