/* csv.h - comma-separated values as RFC 4180 has them, read from memory one field at a time.
 *
 * Beyond the RFC: any delimiter, lines that end in LF alone, a byte order mark, and quotes within a
 * field that does not begin with one, which stand for themselves. What a field means is the
 * caller's. */
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct csv {
    const char *at, *end; /* what is left; the caller's, and must outlive the reading */
    const char *line_start;
    size_t line; /* of at, from 1 */
    char delimiter;
    bool inside; /* a delimiter was the last thing read, so one more field follows, be it empty */
};

struct csv_field {
    const char *text; /* within the caller's memory, without the quotes around it */
    size_t len;
    size_t line, column; /* where it begins, from 1; the column in bytes */
    bool quoted;
    bool doubled; /* a quote in it is still written as two: csv_copy() makes it one */
    bool last;    /* of its record */
};

/* delimiter: any byte but a quote, CR and LF. */
void csv_open(struct csv *c, const char *data, size_t len, char delimiter);

/* 1 and the next field, 0 at the end of the data, or -EINVAL with e, whose text begins with the
 * "line:column: " of what is wrong: a quoted field that does not end, or that goes on behind its
 * quote. An empty line is a record of one empty field. After -EINVAL c must not be read on. */
int csv_next(struct csv *c, struct csv_field *f, struct err *e);

/* Copies a field's value, at most f->len bytes without a NUL, and returns its length. */
size_t csv_copy(const struct csv_field *f, char *out);

/* The value of a field as a number: decimal, with an exponent or without, or nan, inf, infinity in
 * any case; blanks around it are fine. *x is the nearest double in every locale, and NaN for an
 * empty field. False: it is no number (nor is what has more than 1,000 digits). */
bool csv_number(const struct csv_field *f, double *x);

/* The field's beginning, for a message: printable ASCII, cut with "..." where it is long. */
enum { CSV_EXCERPT = 44 };
const char *csv_excerpt(const struct csv_field *f, char out[CSV_EXCERPT]);

#endif
