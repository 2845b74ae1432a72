#include "base/json.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* cJSON ends a string at a NUL, escaped or not, and says nothing: two texts would look the same. */
static const char *find_nul(const char *text, size_t len)
{
    const char *at = text, *end = text + len, *raw = memchr(text, '\0', len);
    while ((at = memmem(at, (size_t)(end - at), "\\u0000", 6)) != NULL) {
        size_t before = 0;
        while (at - before > text && at[-(ptrdiff_t)before - 1] == '\\') before++;
        if (before % 2 == 0) return at;
        at += 6;
    }
    return raw;
}

static const char *find_no_utf8(const char *text, size_t len)
{
    size_t i = 0, n;
    while (i < len && (n = text_utf8_char(text + i, len - i)) > 0) i += n;
    return text + i;
}

static cJSON *fail_at(const char *text, const char *at, const char *what, struct err *e)
{
    int line = 1, column = 1;
    for (const char *p = text; p < at; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    err_set(e, -EINVAL, "%s at line %d, column %d", what, line, column);
    return NULL;
}

/* cJSON does not tell a lack of memory from an error in the text, so its allocator does. */
static _Thread_local bool refused;

static void *allocate(size_t n)
{
    void *p = malloc(n);
    refused = refused || p == NULL;
    return p;
}

cJSON *json_parse(const char *text, size_t len, struct err *e)
{
    const char *nul = find_nul(text, len), *end = text;
    if (nul != NULL) return fail_at(text, nul, "JSON may not have a NUL character", e);
    if (!text_is_utf8(text, len))
        return fail_at(text, find_no_utf8(text, len), "JSON is not valid UTF-8", e);
    cJSON_InitHooks(&(cJSON_Hooks){allocate, free});
    refused = false;
    /* cJSON reads at most len bytes, and stops at its own nesting limit of 1,000. */
    cJSON *value = cJSON_ParseWithLengthOpts(text, len, &end, 0);
    if (value != NULL) {
        while (end < text + len && strchr(" \t\r\n", *end) != NULL) end++;
        if (end == text + len) return value;
        cJSON_Delete(value);
    }
    if (refused) {
        err_set(e, -ENOMEM, "not enough memory");
        return NULL;
    }
    return fail_at(text, end < text + len ? end : text + len, "invalid JSON", e);
}

void json_add_string(struct text *t, const char *s, size_t len)
{
    static const char short_form[] = "btn?fr"; /* 0x08 to 0x0d; 0x0b has none */
    text_addc(t, '"');
    size_t plain = 0; /* bytes before s[i] that go out as they are */
    for (size_t i = 0, n = 1; i < len; i += n) {
        unsigned char c = (unsigned char)s[i];
        size_t bytes = text_utf8_char(s + i, len - i);
        n = bytes > 0 ? bytes : 1;
        if (c >= 0x20 && c != '"' && c != '\\' && bytes > 0) {
            plain += bytes;
            continue;
        }
        text_add(t, s + i - plain, plain);
        plain = 0;
        if (c == '"' || c == '\\')
            text_addf(t, "\\%c", c);
        else if (c >= 0x80)
            text_adds(t, "\xef\xbf\xbd");
        else if (c >= 0x08 && c <= 0x0d && c != 0x0b)
            text_addf(t, "\\%c", short_form[c - 0x08]);
        else
            text_addf(t, "\\u%04x", c);
    }
    text_add(t, s + len - plain, plain);
    text_addc(t, '"');
}

void json_add_number(struct text *t, double x)
{
    char n[TEXT_NUMBER];
    text_adds(t, text_number(x, n));
}

/* The next UTF-16 unit of s, which is valid UTF-8; *low holds a pending second half. */
static unsigned next_unit(const char **s, const char *end, unsigned *low)
{
    if (*low != 0) {
        unsigned unit = *low;
        *low = 0;
        return unit;
    }
    const unsigned char *p = (const unsigned char *)*s;
    int more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : 0;
    if (end - *s <= more) more = 0;
    uint32_t code = more == 0 ? *p : *p & (0x3fu >> more);
    for (int i = 1; i <= more; i++) code = code << 6 | (p[i] & 0x3fu);
    *s += more + 1;
    if (code < 0x10000) return code;
    *low = 0xdc00 | (code & 0x3ff);
    return 0xd800 | ((code - 0x10000) >> 10);
}

int json_compare_keys(const char *a, size_t a_len, const char *b, size_t b_len)
{
    const char *a_end = a + a_len, *b_end = b + b_len;
    unsigned a_low = 0, b_low = 0;
    while ((a < a_end || a_low) && (b < b_end || b_low)) {
        unsigned x = next_unit(&a, a_end, &a_low), y = next_unit(&b, b_end, &b_low);
        if (x != y) return x < y ? -1 : 1;
    }
    return (a < a_end || a_low) - (b < b_end || b_low);
}
