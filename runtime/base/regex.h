/* regex.h - regular expressions as Prometheus has them: Go's syntax (RE2), matched by PCRE2.
 *
 * A pattern is read by Go's grammar and rewritten for PCRE2, so what compiles here compiles there,
 * means the same and, where it is wrong, is wrong in Go's words. Look-around, back references,
 * possessive and atomic groups, conditions, recursion and PCRE's verbs are errors, as in Go. Only
 * the names of groups may also be written (?<name>…), as in Go since 1.22. One difference is left:
 * in (a*)* the last turn of the loop, which takes nothing, shows in the group.
 *
 * PCRE2 goes back where RE2 does not, so each operation has a budget of steps that grows with the
 * text only linearly: about 3 ms, and 1 µs more a byte. Texts that are not UTF-8 are matched as Go
 * does, with U+FFFD for each byte that is wrong. A pattern that needs more than 64 KiB compiled is
 * refused. */
#ifndef BASE_REGEX_H
#define BASE_REGEX_H

#include <stddef.h>

#include "base/err.h"
#include "base/text.h"

struct regex; /* for one thread at a time */

/* 0, -EINVAL (e: "error parsing regexp: missing closing ): `(`") or -ENOMEM. On 0 the caller owns
 * *out. The pattern may hold NULs. */
int regex_compile(struct regex **out, const char *pattern, size_t len, struct err *e);
void regex_free(struct regex *re); /* NULL is fine */

/* Is there a match anywhere in the text? 1, 0, -ETIME when the budget is used up, or -ENOMEM. */
int regex_match(struct regex *re, const char *s, size_t len);

/* Is the whole text a match, as label matchers ask? The same results. */
int regex_match_full(struct regex *re, const char *s, size_t len);

/* Adds the text to *out with every match replaced. In the replacement $1, ${1}, $name and ${name}
 * are groups, as long as a name can be ($1x is ${1x}), empty when there is none, and $$ is a $.
 * 0, -ETIME, -EFBIG when the limit of *out is reached, or -ENOMEM; then *out holds a part. */
int regex_replace(struct regex *re, const char *s, size_t len, const char *replacement,
                  size_t replacement_len, struct text *out);

enum { REGEX_LIBRARY = 32 };
void regex_library(char out[REGEX_LIBRARY]); /* PCRE2's version */

#endif
