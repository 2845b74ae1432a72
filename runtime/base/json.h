/* json.h - JSON over cJSON: reading with limits, errors with a line and column, and the canonical
 * form of RFC 8785 that digests are made of. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <cjson/cJSON.h>

#include "base/err.h"
#include "base/text.h"

enum { JSON_DEPTH = 128 }; /* of what is read and written */

/* Exactly one value in text[0..len), which must be UTF-8. NULL on failure, with e telling the line
 * and column. The caller ends with cJSON_Delete(). */
cJSON *json_parse(const char *text, size_t len, struct err *e);

/* The pieces of a writer: a string with its quotes, a finite number. Escapes as RFC 8785 3.2.2.2;
 * bytes that are no UTF-8 become U+FFFD. */
void json_add_string(struct text *t, const char *s, size_t len);
void json_add_number(struct text *t, double x);

/* Orders keys by their UTF-16 units, as RFC 8785 3.2.3 wants; < 0, 0 or > 0. */
int json_compare_keys(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
