/* log.h - structured lines to one sink, standard error: logfmt or JSON.
 *
 * Any thread may log; a line is written whole. Secrets that were named are never written: they
 * appear as [redacted] wherever they would. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

struct log_field {
    const char *key;   /* [a-z_]+ */
    const char *value; /* any bytes; NULL ends a list of fields */
};

void log_setup(enum log_level least, bool as_json);
bool log_wants(enum log_level level);
/* "debug", "info", "warn", "error" or "off"; -1 for anything else */
int log_level_of(const char *name);

/* fields ends with {NULL, NULL}; NULL for none. */
void log_write(enum log_level level, const char *message, const struct log_field *fields);
/* A message alone, with printf's notation. */
void log_printf(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* From now on the value is redacted in every line. Values under 6 bytes are ignored: they would
 * blot out ordinary text, and protect nothing. */
void log_secret(const char *value);
/* Appends s with every secret redacted: for words from elsewhere that are not only logged. */
void log_redact(struct text *t, const char *s);
/* Where tests look: every line goes there instead, without the line feed. NULL: standard error. */
void log_divert(void (*sink)(void *ud, const char *line, size_t len), void *ud);

#endif
