/* Patterns, texts and replacements from outside: whatever the bytes, an error in words or a match
 * within its budget, and the answers agree with each other. The input is pattern, replacement and
 * text with a newline between two. Build: make build/fuzz/regex */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes up to the next newline in a block of their own, so that one byte too far is seen. */
static char *part(const uint8_t **data, size_t *size, size_t *len)
{
    const uint8_t *end = *size > 0 ? memchr(*data, '\n', *size) : NULL;
    *len = end != NULL ? (size_t)(end - *data) : *size;
    char *copy = malloc(*len > 0 ? *len : 1);
    if (*len > 0) memcpy(copy, *data, *len);
    size_t used = *len + (end != NULL);
    *data += used;
    *size -= used;
    return copy;
}

static void try_regex(struct regex *re, const char *s, size_t n, const char *by, size_t by_len)
{
    int found = regex_match(re, s, n), full = regex_match_full(re, s, n);
    assert(found == 0 || found == 1 || found == -ETIME);
    assert(full == 0 || full == 1 || full == -ETIME);
    if (full == 1) assert(found != 0);
    struct text same = {.limit = 1 << 16}, other = {.limit = 1 << 16};
    int rc = regex_replace(re, s, n, "${0}", 4, &same);
    assert(rc == 0 || rc == -ETIME || rc == -EFBIG);
    if (rc == 0 && n > 0 && text_is_utf8(s, n)) {
        assert(same.len == n && memcmp(same.data, s, n) == 0);
        if (found == 0) assert(regex_replace(re, s, n, "", 0, &other) == 0 && other.len == n);
    }
    text_free(&other);
    rc = regex_replace(re, s, n, by, by_len, &other);
    assert(rc == 0 || rc == -ETIME || rc == -EFBIG);
    assert(other.len <= other.limit);
    text_free(&same);
    text_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t pattern_len, by_len, len;
    char *pattern = part(&data, &size, &pattern_len), *by = part(&data, &size, &by_len);
    char *s = part(&data, &size, &len);
    struct regex *re = NULL;
    struct err e = {0};
    if (regex_compile(&re, pattern, pattern_len, &e) == 0)
        try_regex(re, s, len, by, by_len);
    else
        assert(re == NULL && e.code == -EINVAL &&
               strncmp(e.text, "error parsing regexp: ", 22) == 0);
    regex_free(re);
    free(pattern);
    free(by);
    free(s);
    return 0;
}
