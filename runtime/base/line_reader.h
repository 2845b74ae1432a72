/* line_reader.h - the lines of a stream that comes in pieces of any size. */
#ifndef BASE_LINE_READER_H
#define BASE_LINE_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* {.max = …} is an empty one. */
struct line_reader {
    size_t max;       /* bytes of a line, without its end */
    struct text held; /* what is not taken yet lies at held.data[taken..held.len) */
    size_t taken;
    size_t open;  /* bytes of the last line, whose end is not there yet */
    size_t whole; /* lines that can be taken */
};

/* 0, -EMSGSIZE when a line is longer than max, or -ENOMEM. After either none of these bytes is
 * there, and no more are taken. */
int line_reader_add(struct line_reader *l, const char *bytes, size_t n);

/* The next line without its "\n" or "\r\n", valid until the next call; false: none is whole. */
bool line_reader_next(struct line_reader *l, const char **line, size_t *len);

/* The stream has ended: what stands behind the last end of a line, taken as a line. False: nothing
 * does. Not before line_reader_next() has said false. */
bool line_reader_rest(struct line_reader *l, const char **line, size_t *len);

static inline size_t line_reader_held(const struct line_reader *l)
{
    return l->held.len - l->taken;
}
void line_reader_free(struct line_reader *l);

#endif
