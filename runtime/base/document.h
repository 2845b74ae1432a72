/* document.h - JSON and UBJSON read from front to back, without a tree of it in memory: for files
 * that are mostly long arrays of numbers.
 *
 * It is outside text: whatever the bytes, nothing is read beyond them, nothing is allocated that
 * they could not fill, and nesting ends at DOCUMENT_DEPTH. JSON is read leniently where it is
 * skipped (brackets must match, no more), strictly where a value is asked for. */
#ifndef BASE_DOCUMENT_H
#define BASE_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { DOCUMENT_DEPTH = 64 };

/* Once something was not as asked all goes on returning false, 0 or NULL, and e tells why. */
struct document {
    const unsigned char *start, *at, *end;
    bool binary; /* UBJSON */
    bool failed;
    unsigned depth;
    struct err *e;
};

/* e is filled on failure and may be NULL. The data must outlive the document. */
void document_open(struct document *d, const void *data, size_t len, bool binary, struct err *e);
bool document_fail(struct document *d, const char *why); /* false */
/* Whether nothing has failed and nothing but white space is left. */
bool document_close(struct document *d);

/* What comes next: '{', '[', '"', '0' (a number), 't' (a truth value), 'n' (null), or 0. */
char document_kind(const struct document *d);

/* An array or object that is being read. */
struct document_list {
    char close;   /* ']' or '}' */
    char type;    /* of all items of a typed UBJSON array, or 0 */
    bool counted; /* UBJSON: ends after `left` items, without a bracket */
    bool begun;   /* JSON: the next item has a comma in front */
    uint64_t left;
};
bool document_enter(struct document *d, char kind, struct document_list *list); /* '[' or '{' */
bool document_next(struct document *d, struct document_list *list); /* an item of an array */
/* A member of an object, whose value comes next. The key lies in the data, JSON's escapes as
 * they are. */
bool document_next_key(struct document *d, struct document_list *list, const char **key,
                       size_t *len);

/* true is 1, false 0; NaN, Infinity and -Infinity are read too. */
double document_number(struct document *d);
/* A string with a NUL behind it, without escapes; the caller's. No NUL within it. */
char *document_string(struct document *d);
void document_skip(struct document *d); /* one value, whatever it is */

struct document_numbers {
    double *x;
    size_t n, room;
};
/* An array of numbers, into what is overwritten and grows; free(numbers.x) at the end. */
bool document_numbers(struct document *d, struct document_numbers *numbers);

/* The number that s begins with, as strtod() in the C locale but no hexadecimals, no words; returns
 * how many bytes it has, 0 when there is none. Correctly rounded. */
size_t document_decimal(const char *s, const char *end, double *x);

#endif
