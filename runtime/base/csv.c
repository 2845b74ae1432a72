#include "base/csv.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void csv_open(struct csv *c, const char *data, size_t len, char delimiter)
{
    if (len >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0) data += 3, len -= 3;
    *c = (struct csv){
        .at = data, .end = data + len, .line_start = data, .line = 1, .delimiter = delimiter};
}

static void next_line(struct csv *c, const char *start)
{
    c->line++;
    c->line_start = start;
}

/* From behind the opening quote to behind the closing one. */
static int read_quoted(struct csv *c, struct csv_field *f, struct err *e)
{
    const char *p = f->text = c->at;
    f->quoted = true;
    for (; p < c->end; p++) {
        if (*p == '\n') next_line(c, p + 1);
        if (*p != '"') continue;
        if (p + 1 == c->end || p[1] != '"') break;
        f->doubled = true;
        p++;
    }
    if (p == c->end)
        return err_set(e, -EINVAL, "%zu:%zu: a quoted field that does not end", f->line, f->column);
    f->len = (size_t)(p - f->text);
    c->at = p + 1;
    return 0;
}

static void read_plain(struct csv *c, struct csv_field *f)
{
    const char *p = f->text = c->at;
    while (p < c->end && *p != c->delimiter && *p != '\n') p++;
    c->at = p;
    if (p > f->text && p[-1] == '\r' && (p == c->end || *p == '\n')) p--;
    f->len = (size_t)(p - f->text);
}

/* Takes what stands between two fields. */
static int read_separator(struct csv *c, struct csv_field *f, struct err *e)
{
    c->inside = false;
    f->last = true;
    if (f->quoted && c->at < c->end && *c->at == '\r' && (c->at + 1 == c->end || c->at[1] == '\n'))
        c->at++;
    if (c->at == c->end) return 0;
    if (*c->at == '\n') {
        c->at++;
        next_line(c, c->at);
        return 0;
    }
    if (*c->at == c->delimiter) {
        c->at++;
        c->inside = true;
        f->last = false;
        return 0;
    }
    return err_set(e, -EINVAL, "%zu:%zu: a quoted field ends here, and yet the field goes on",
                   c->line, (size_t)(c->at - c->line_start) + 1);
}

int csv_next(struct csv *c, struct csv_field *f, struct err *e)
{
    if (c->at == c->end && !c->inside) return 0;
    *f = (struct csv_field){.line = c->line, .column = (size_t)(c->at - c->line_start) + 1};
    if (c->at < c->end && *c->at == '"') {
        c->at++;
        int rc = read_quoted(c, f, e);
        if (rc < 0) return rc;
    } else {
        read_plain(c, f);
    }
    int rc = read_separator(c, f, e);
    return rc < 0 ? rc : 1;
}

size_t csv_copy(const struct csv_field *f, char *out)
{
    if (!f->doubled) {
        if (f->len > 0) memcpy(out, f->text, f->len);
        return f->len;
    }
    size_t n = 0;
    for (size_t i = 0; i < f->len; i++) {
        out[n++] = f->text[i];
        if (f->text[i] == '"') i++; /* its twin */
    }
    return n;
}

/* -- numbers -- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* A decimal taken apart: digits * 10^exponent. */
struct decimal {
    bool negative;
    bool exact; /* false: not all digits fit */
    uint64_t digits;
    int exponent;
};

/* [+-] digits [. digits] [e [+-] digits], all of it, with a digit before or behind the point. */
static bool take_apart(const char *s, size_t len, struct decimal *d)
{
    const char *end = s + len;
    *d = (struct decimal){.exact = true};
    if (s < end && (*s == '-' || *s == '+')) d->negative = *s++ == '-';
    size_t seen = 0;
    bool point = false;
    for (; s < end && (is_digit(*s) || (*s == '.' && !point)); s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        seen++;
        d->exponent -= point;
        if (d->digits < UINT64_MAX / 10 - 1)
            d->digits = d->digits * 10 + (uint64_t)(*s - '0');
        else
            d->exact = false;
    }
    if (seen == 0) return false;
    if (s == end) return true;
    if (*s != 'e' && *s != 'E') return false;
    s++;
    bool negative = false;
    if (s < end && (*s == '-' || *s == '+')) negative = *s++ == '-';
    if (s == end) return false;
    int exponent = 0;
    for (; s < end && is_digit(*s); s++)
        if (exponent < 100000) exponent = exponent * 10 + (*s - '0');
    d->exponent += negative ? -exponent : exponent;
    return s == end;
}

/* strtod() in the C locale, whatever a script has set. The longest decimals that still matter, the
 * middle between two doubles near the smallest, have 767 digits. */
static bool slow_number(const char *s, size_t len, double *x)
{
    char copy[1100];
    if (len >= sizeof copy) return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0) return false;
    memcpy(copy, s, len);
    copy[len] = '\0';
    *x = strtod_l(copy, NULL, c);
    freelocale(c);
    return true;
}

static bool word(const char *s, size_t len, double *x)
{
    bool negative = false;
    if (len > 0 && (*s == '-' || *s == '+')) negative = *s == '-', s++, len--;
    if (len == 3 && strncasecmp(s, "nan", 3) == 0)
        *x = NAN;
    else if (len == 3 && strncasecmp(s, "inf", 3) == 0)
        *x = negative ? -INFINITY : INFINITY;
    else if (len == 8 && strncasecmp(s, "infinity", 8) == 0)
        *x = negative ? -INFINITY : INFINITY;
    else
        return false;
    return true;
}

bool csv_number(const struct csv_field *f, double *x)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *s = f->text;
    size_t len = f->len;
    while (len > 0 && is_blank(*s)) s++, len--;
    while (len > 0 && is_blank(s[len - 1])) len--;
    if (len == 0) {
        *x = NAN;
        return true;
    }
    struct decimal d;
    if (!take_apart(s, len, &d)) return word(s, len, x);
    /* Clinger, "How to read floating point numbers accurately" (PLDI 1990): where the digits and
     * the power of ten are both exact doubles, one rounding is all there is, and it is the right
     * one. */
    if (!d.exact || d.digits > UINT64_C(1) << 53 || d.exponent < -22 || d.exponent > 22)
        return slow_number(s, len, x);
    double value = (double)d.digits;
    value = d.exponent < 0 ? value / powers[-d.exponent] : value * powers[d.exponent];
    *x = d.negative ? -value : value;
    return true;
}

const char *csv_excerpt(const struct csv_field *f, char out[CSV_EXCERPT])
{
    enum { MOST = CSV_EXCERPT - 4 };
    size_t n = f->len < MOST ? f->len : MOST;
    for (size_t i = 0; i < n; i++)
        out[i] = f->text[i] >= ' ' && f->text[i] <= '~' ? f->text[i] : '?';
    strcpy(out + n, f->len > n ? "..." : "");
    return out;
}
