#include "base/document.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* UBJSON's own marks: a typed array's item has none in front of it. */
enum { LONGEST_NUMBER = 1100 }; /* digits of a decimal that still can matter, and some */

void document_open(struct document *d, const void *data, size_t len, bool binary, struct err *e)
{
    *d = (struct document){.start = data, .at = data, .binary = binary, .e = e};
    d->end = d->start + len;
}

bool document_fail(struct document *d, const char *why)
{
    if (!d->failed) err_set(d->e, -EINVAL, "byte %zu: %s", (size_t)(d->at - d->start) + 1, why);
    d->failed = true;
    return false;
}

static bool no_memory(struct document *d)
{
    if (!d->failed) err_sys(d->e, -ENOMEM, "reading the file");
    d->failed = true;
    return false;
}

static void blanks(struct document *d)
{
    if (d->binary) {
        while (d->at < d->end && *d->at == 'N') d->at++;
        return;
    }
    while (d->at < d->end && (*d->at == ' ' || *d->at == '\n' || *d->at == '\t' || *d->at == '\r'))
        d->at++;
}

static size_t left(const struct document *d) { return (size_t)(d->end - d->at); }

bool document_close(struct document *d)
{
    if (d->failed) return false;
    blanks(d);
    return d->at == d->end || document_fail(d, "there is more behind the end");
}

/* --- numbers --------------------------------------------------------------------------------- */

static size_t slow_decimal(const char *s, size_t len, double *x)
{
    static _Atomic(locale_t) plain; /* made once; two threads at once make one each: no harm */
    char copy[LONGEST_NUMBER];
    locale_t c = plain;
    if (c == (locale_t)0) plain = c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (len >= sizeof copy || c == (locale_t)0) return 0;
    memcpy(copy, s, len);
    copy[len] = '\0';
    *x = strtod_l(copy, NULL, c);
    return len;
}

size_t document_decimal(const char *s, const char *end, double *x)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *p = s;
    uint64_t digits = 0; /* of no use once there are more than 18: then n tells */
    int exponent = 0, n = 0;
    bool negative = false;
    if (p < end && (*p == '-' || *p == '+')) negative = *p++ == '-';
    for (; p < end && *p >= '0' && *p <= '9'; p++, n++) digits = digits * 10 + (uint64_t)(*p - '0');
    if (p < end && *p == '.') {
        const char *point = p++;
        for (; p < end && *p >= '0' && *p <= '9'; p++, n++)
            digits = digits * 10 + (uint64_t)(*p - '0');
        exponent = p - point < 100000 ? (int)(point + 1 - p) : -100000;
    }
    if (n == 0) return 0;
    if (p + 1 < end && (*p == 'e' || *p == 'E')) {
        const char *q = p + 1;
        bool minus = false;
        if (*q == '-' || *q == '+') minus = *q++ == '-';
        int power = 0;
        if (q < end && *q >= '0' && *q <= '9') {
            for (; q < end && *q >= '0' && *q <= '9'; q++)
                if (power < 100000) power = power * 10 + (*q - '0');
            exponent += minus ? -power : power;
            p = q;
        }
    }
    /* Where digits and power are both exact, one rounding is all there is (Clinger, 1990). */
    if (n > 18 || digits > UINT64_C(1) << 53 || exponent < -22 || exponent > 22)
        return slow_decimal(s, (size_t)(p - s), x);
    double value = (double)digits;
    value = exponent < 0 ? value / powers[-exponent] : value * powers[exponent];
    *x = negative ? -value : value;
    return (size_t)(p - s);
}

static int size_of(char type) /* bytes of a UBJSON number, or 0 */
{
    switch (type) {
    case 'i':
    case 'U': return 1;
    case 'I': return 2;
    case 'l':
    case 'd': return 4;
    case 'L':
    case 'D': return 8;
    default: return 0;
    }
}

static uint64_t big_endian(const unsigned char *p, int n)
{
    uint64_t x = 0;
    for (int i = 0; i < n; i++) x = x << 8 | p[i];
    return x;
}

/* The commonest types of an array, without a loop over bytes. */
static double float_at(const unsigned char *p)
{
    uint32_t bits = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static double int_at(const unsigned char *p)
{
    return (int32_t)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]);
}

static double number_at(const unsigned char *p, char type)
{
    uint64_t bits = big_endian(p, size_of(type));
    uint32_t half = (uint32_t)bits;
    double x;
    float f;
    switch (type) {
    case 'i': return (int8_t)bits;
    case 'U': return (uint8_t)bits;
    case 'I': return (int16_t)bits;
    case 'l': return (int32_t)bits;
    case 'L': return (double)(int64_t)bits;
    case 'd': memcpy(&f, &half, sizeof f); return (double)f;
    default: memcpy(&x, &bits, sizeof x); return x;
    }
}

static double binary_number(struct document *d, char type)
{
    int size = size_of(type);
    if (type == 'T' || type == 'F') return type == 'T';
    if (size == 0 || left(d) < (size_t)size) {
        document_fail(d, size == 0 ? "a number was expected" : "the file ends within a number");
        return 0;
    }
    d->at += size;
    return number_at(d->at - size, type);
}

static bool word(struct document *d, const char *w)
{
    size_t n = strlen(w);
    if (left(d) < n || memcmp(d->at, w, n) != 0) return false;
    d->at += n;
    return true;
}

double document_number(struct document *d)
{
    double x = 0;
    if (d->failed) return 0;
    blanks(d);
    if (d->at == d->end) return document_fail(d, "the file ends before a number");
    if (d->binary) return binary_number(d, (char)*d->at++);
    if (*d->at == 't' && word(d, "true")) return 1;
    if (*d->at == 'f' && word(d, "false")) return 0;
    if (*d->at == 'N' && word(d, "NaN")) return NAN; /* no JSON, but written by many */
    if (*d->at == 'I' && word(d, "Infinity")) return INFINITY;
    if (*d->at == '-' && word(d, "-Infinity")) return -INFINITY;
    size_t n = *d->at == '+' ? 0 : document_decimal((const char *)d->at, (const char *)d->end, &x);
    if (n == 0) return document_fail(d, "a number was expected");
    d->at += n;
    return x;
}

/* UBJSON's lengths: a number with its mark, not negative. */
static uint64_t length(struct document *d)
{
    if (d->failed || d->at == d->end || strchr("iUIlL", *d->at) == NULL || *d->at == '\0') {
        document_fail(d, "a length was expected");
        return 0;
    }
    double n = document_number(d);
    if (n >= 0 && n < 9e15) return (uint64_t)n;
    document_fail(d, "a length is out of range");
    return 0;
}

/* --- arrays and objects ---------------------------------------------------------------------- */

char document_kind(const struct document *d)
{
    struct document look = *d;
    if (d->failed) return 0;
    blanks(&look);
    if (look.at == look.end) return 0;
    char c = (char)*look.at;
    if (c == '{' || c == '[') return c;
    if (d->binary) {
        if (c == 'S' || c == 'C' || c == 'H') return '"';
        if (c == 'T' || c == 'F') return 't';
        if (c == 'Z') return 'n';
        return size_of(c) > 0 ? '0' : 0;
    }
    if (c == '"' || c == 't' || c == 'n') return c;
    if (c == 'f') return 't';
    return c == '-' || c == 'N' || c == 'I' || (c >= '0' && c <= '9') ? '0' : 0;
}

bool document_enter(struct document *d, char kind, struct document_list *list)
{
    *list = (struct document_list){.close = kind == '[' ? ']' : '}'};
    if (d->failed) return false;
    blanks(d);
    if (d->at == d->end || *d->at != kind)
        return document_fail(d, kind == '[' ? "an array was expected" : "an object was expected");
    if (d->depth == DOCUMENT_DEPTH) return document_fail(d, "nested too deeply");
    d->depth++;
    d->at++;
    if (!d->binary) return true;
    if (d->at < d->end && *d->at == '$') {
        d->at++;
        if (d->at == d->end || size_of((char)*d->at) == 0)
            return document_fail(d, "a typed array of anything but numbers");
        list->type = (char)*d->at++;
        if (d->at == d->end || *d->at != '#')
            return document_fail(d, "a typed array without a length");
    }
    if (d->at < d->end && *d->at == '#') {
        d->at++;
        list->counted = true;
        list->left = length(d);
        /* Each item takes a byte at least, so that no count makes us loop or allocate. */
        size_t size = list->type != 0 ? (size_t)size_of(list->type) : 1;
        if (list->left > left(d) / size) return document_fail(d, "the file ends within an array");
    }
    return !d->failed;
}

static bool leave(struct document *d)
{
    d->depth--;
    return false;
}

/* Whether there is one more; stands before it then. */
static bool another(struct document *d, struct document_list *list)
{
    if (d->failed) return false;
    if (list->counted) return list->left-- > 0 || leave(d);
    blanks(d);
    if (d->at < d->end && *d->at == list->close) {
        d->at++;
        return leave(d);
    }
    if (!d->binary && list->begun) {
        if (d->at == d->end || *d->at != ',')
            return document_fail(d, "a comma or the end of a list was expected");
        d->at++;
        blanks(d);
    }
    list->begun = true;
    return d->at < d->end || document_fail(d, "the file ends within a list");
}

bool document_next(struct document *d, struct document_list *list) { return another(d, list); }

/* The string behind its opening quote, up to the closing one. */
static bool quoted(struct document *d, const char **s, size_t *len, bool *escaped)
{
    const unsigned char *p = d->at;
    *escaped = false;
    while (p < d->end && *p != '"') {
        if (*p == '\\') {
            *escaped = true;
            p++;
        }
        p++;
    }
    if (p >= d->end) return document_fail(d, "the file ends within a string");
    *s = (const char *)d->at;
    *len = (size_t)(p - d->at);
    d->at = p + 1;
    return true;
}

static bool counted_string(struct document *d, const char **s, size_t *len)
{
    uint64_t n = length(d);
    if (d->failed) return false;
    if (n > left(d)) return document_fail(d, "the file ends within a string");
    *s = (const char *)d->at;
    *len = (size_t)n;
    d->at += n;
    return true;
}

bool document_next_key(struct document *d, struct document_list *list, const char **key,
                       size_t *len)
{
    bool escaped;
    if (list->type != 0) return document_fail(d, "typed objects are not read");
    if (!another(d, list)) return false;
    if (d->binary) return counted_string(d, key, len);
    if (*d->at != '"') return document_fail(d, "a key was expected");
    d->at++;
    if (!quoted(d, key, len, &escaped)) return false;
    blanks(d);
    if (d->at == d->end || *d->at != ':') return document_fail(d, "a colon was expected");
    d->at++;
    return true;
}

/* --- strings --------------------------------------------------------------------------------- */

static void add_utf8(struct text *t, uint32_t c)
{
    if (c < 0x80) {
        text_addc(t, (char)c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char heads[] = {0, 0xc0, 0xe0, 0xf0};
    text_addc(t, (char)(heads[more] | c >> (6 * more)));
    while (more-- > 0) text_addc(t, (char)(0x80 | (c >> (6 * more) & 0x3f)));
}

static bool hex4(const char *s, const char *end, uint32_t *x)
{
    static const char digits[] = "0123456789abcdef";
    *x = 0;
    if (end - s < 4) return false;
    for (int i = 0; i < 4; i++) {
        const char *at =
            s[i] == '\0' ? NULL : strchr(digits, s[i] >= 'A' && s[i] <= 'F' ? s[i] + 32 : s[i]);
        if (at == NULL) return false;
        *x = *x << 4 | (uint32_t)(at - digits);
    }
    return true;
}

/* \uXXXX, or two of them for one character. s stands behind the u. */
static const char *unicode(const char *s, const char *end, struct text *out)
{
    uint32_t c, low;
    if (!hex4(s, end, &c) || c == 0) return NULL;
    s += 4;
    if (c >= 0xd800 && c < 0xdc00 && end - s >= 6 && s[0] == '\\' && s[1] == 'u' &&
        hex4(s + 2, end, &low) && low >= 0xdc00 && low < 0xe000) {
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        s += 6;
    }
    add_utf8(out, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
    return s;
}

static bool unescape(const char *s, const char *end, struct text *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    while (s < end) {
        if (*s != '\\') {
            text_addc(out, *s++);
            continue;
        }
        const char *known = strchr(from, s[1]); /* quoted() has seen to it that there is one */
        if (s[1] == 'u') {
            s = unicode(s + 2, end, out);
            if (s == NULL) return false;
        } else if (s[1] != '\0' && known != NULL) {
            text_addc(out, to[known - from]);
            s += 2;
        } else {
            return false;
        }
    }
    return true;
}

static bool raw_string(struct document *d, const char **s, size_t *len, bool *escaped)
{
    *escaped = false;
    if (d->failed) return false;
    blanks(d);
    if (document_kind(d) != '"') return document_fail(d, "a string was expected");
    char mark = (char)*d->at++;
    if (!d->binary) return quoted(d, s, len, escaped);
    if (mark != 'C') return counted_string(d, s, len);
    if (d->at == d->end) return document_fail(d, "the file ends within a string");
    *s = (const char *)d->at++;
    *len = 1;
    return true;
}

char *document_string(struct document *d)
{
    struct text out = {0};
    const char *s;
    size_t len;
    bool escaped;
    if (!raw_string(d, &s, &len, &escaped)) return NULL;
    bool fine = memchr(s, '\0', len) == NULL;
    if (fine && escaped)
        fine = unescape(s, s + len, &out);
    else if (fine)
        text_add(&out, s, len);
    if (!fine) document_fail(d, "a string is malformed");
    text_addc(&out, '\0'); /* "" has data too */
    if (out.failed) no_memory(d);
    if (d->failed) text_free(&out);
    return out.data;
}

/* --- skipping, numbers ----------------------------------------------------------------------- */

static void skip_brackets(struct document *d) /* JSON: from an opening one to its closing one */
{
    char closing[DOCUMENT_DEPTH];
    unsigned depth = 0;
    const char *s;
    size_t len;
    bool escaped;
    do {
        if (d->at == d->end) {
            document_fail(d, "the file ends within a list");
            return;
        }
        char c = (char)*d->at++;
        if (c == '"') {
            if (!quoted(d, &s, &len, &escaped)) return;
        } else if (c == '{' || c == '[') {
            if (d->depth + depth >= DOCUMENT_DEPTH) {
                document_fail(d, "nested too deeply");
                return;
            }
            closing[depth++] = c == '{' ? '}' : ']';
        } else if ((c == '}' || c == ']') && closing[--depth] != c) {
            document_fail(d, "brackets do not match");
            return;
        }
    } while (depth > 0);
}

static void skip_binary(struct document *d, char kind)
{
    struct document_list list;
    const char *key;
    size_t len;
    if (!document_enter(d, kind, &list)) return;
    if (list.type != 0 && kind == '[') {
        d->at += list.left * (size_t)size_of(list.type);
        leave(d);
    } else if (kind == '[') {
        while (document_next(d, &list)) document_skip(d);
    } else {
        while (document_next_key(d, &list, &key, &len)) document_skip(d);
    }
}

void document_skip(struct document *d) /* recurses DOCUMENT_DEPTH deep at most */
{
    const char *s;
    size_t len;
    bool escaped;
    if (d->failed) return;
    blanks(d);
    char kind = document_kind(d);
    if (kind == '{' || kind == '[') {
        if (d->binary)
            skip_binary(d, kind);
        else
            skip_brackets(d);
    } else if (kind == '"') {
        raw_string(d, &s, &len, &escaped);
    } else if (kind == 'n' && (d->binary || word(d, "null"))) {
        d->at += d->binary;
    } else {
        document_number(d);
    }
}

static bool all_at_once(struct document *d, const struct document_list *list,
                        struct document_numbers *to)
{
    void *x = to->x;
    size_t n = (size_t)list->left, size = (size_t)size_of(list->type);
    bool fine = array_reserve(&x, &to->room, n + 1, sizeof *to->x);
    to->x = x;
    if (!fine) return no_memory(d);
    const unsigned char *p = d->at;
    switch (list->type) {
    case 'd':
        for (size_t i = 0; i < n; i++) to->x[i] = float_at(p + 4 * i);
        break;
    case 'l':
        for (size_t i = 0; i < n; i++) to->x[i] = int_at(p + 4 * i);
        break;
    case 'U':
        for (size_t i = 0; i < n; i++) to->x[i] = p[i];
        break;
    default:
        for (size_t i = 0; i < n; i++) to->x[i] = number_at(p + size * i, list->type);
    }
    d->at += n * size;
    to->n = n;
    leave(d);
    return true;
}

bool document_numbers(struct document *d, struct document_numbers *to)
{
    struct document_list list;
    to->n = 0;
    if (!document_enter(d, '[', &list)) return false;
    if (list.type != 0) return all_at_once(d, &list, to);
    while (document_next(d, &list)) {
        if (to->n == to->room) {
            void *x = to->x;
            bool fine = array_reserve(&x, &to->room, to->n + 1, sizeof *to->x);
            to->x = x;
            if (!fine) return no_memory(d);
        }
        to->x[to->n++] = document_number(d);
    }
    return !d->failed;
}
