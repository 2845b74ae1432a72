#include "base/text.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/memory.h"

static bool reserve(struct text *t, size_t more)
{
    if (t->failed) return false;
    if (more > SIZE_MAX - t->len - 1 || (t->limit > 0 && t->len + more > t->limit) ||
        !array_reserve((void **)&t->data, &t->capacity, t->len + more + 1, 1)) {
        t->failed = true;
        return false;
    }
    return true;
}

void text_add(struct text *t, const void *bytes, size_t n)
{
    if (!reserve(t, n)) return;
    if (n > 0) memcpy(t->data + t->len, bytes, n);
    t->len += n;
    t->data[t->len] = '\0';
}

void text_adds(struct text *t, const char *s) { text_add(t, s, strlen(s)); }
void text_addc(struct text *t, char c) { text_add(t, &c, 1); }

void text_addf(struct text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && reserve(t, (size_t)n)) {
        vsnprintf(t->data + t->len, (size_t)n + 1, format, again);
        t->len += (size_t)n;
    } else {
        t->failed = true;
    }
    va_end(again);
}

void text_free(struct text *t)
{
    free(t->data);
    *t = (struct text){.limit = t->limit};
}

void text_compact(struct text *t, size_t *taken)
{
    if (*taken == 0 || *taken < t->len - *taken) return;
    t->len -= *taken;
    memmove(t->data, t->data + *taken, t->len + 1);
    *taken = 0;
}

/* "d.ddde-05" becomes the next decimal of as many digits; all nines become 0, which is no answer.
 */
static void step_up(char *decimal)
{
    for (char *at = strchr(decimal, 'e'); at-- > decimal;) {
        if (*at == '.') continue;
        *at = *at == '9' ? '0' : (char)(*at + 1);
        if (*at != '0') return;
    }
}

int text_shortest(double x, char digits[20], int *exponent)
{
    /* One precision after the other until it reads back, and no table to get wrong. Every decimal
     * of up to 15 digits survives the way to a double and back: where 15 read back, they are the
     * shortest with zeros behind. Not so below the normal numbers. */
    char buffer[40];
    int ignored;
    bool is_power_of_two = frexp(fabs(x), &ignored) == 0.5;
    bool is_plain = !is_power_of_two && fabs(x) >= DBL_MIN;
    for (int precision = is_plain ? DBL_DIG : 1; precision <= 17; precision++) {
        snprintf(buffer, sizeof buffer, "%.*e", precision - 1, fabs(x));
        if (strtod(buffer, NULL) == fabs(x)) break;
        if (!is_power_of_two) continue;
        /* Its neighbour below is half as far as the one above: where the nearest decimal lies below
         * and reads back as that neighbour, the one above it may still read back as x. */
        step_up(buffer);
        if (strtod(buffer, NULL) == fabs(x)) break;
    }
    int n = 0;
    const char *at = buffer;
    for (; *at != 'e'; at++)
        if (*at != '.') digits[n++] = *at;
    *exponent = atoi(at + 1) + 1;
    while (n > 1 && digits[n - 1] == '0') n--;
    return n;
}

const char *text_number(double x, char out[TEXT_NUMBER])
{
    require(isfinite(x));
    if (x == 0) return strcpy(out, "0"); /* -0 too */
    char digits[20];
    int e, n = text_shortest(x, digits, &e);
    char *at = out;
    if (x < 0) *at++ = '-';
    if (e >= n && e <= 21) { /* 1200 */
        at += sprintf(at, "%.*s", n, digits);
        for (int i = n; i < e; i++) *at++ = '0';
        *at = '\0';
    } else if (e > 0 && e < n) { /* 12.34 */
        sprintf(at, "%.*s.%.*s", e, digits, n - e, digits + e);
    } else if (e > -6 && e <= 0) { /* 0.0012 */
        at += sprintf(at, "0.");
        for (int i = 0; i < -e; i++) *at++ = '0';
        sprintf(at, "%.*s", n, digits);
    } else {
        at += sprintf(at, "%c", digits[0]);
        if (n > 1) at += sprintf(at, ".%.*s", n - 1, digits + 1);
        sprintf(at, "e%+d", e - 1);
    }
    return out;
}

size_t text_utf8_char(const char *s, size_t len)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)s;
    if (*p < 0x80) return 1;
    size_t more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : 1;
    if (*p < 0xc2 || *p > 0xf4 || len <= more) return 0;
    uint32_t code = *p & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    bool is_surrogate = code >= 0xd800 && code < 0xe000;
    return code < least[more] || code > 0x10ffff || is_surrogate ? 0 : more + 1;
}

bool text_is_utf8(const char *s, size_t len)
{
    size_t n = 1;
    for (size_t i = 0; i < len && n > 0; i += n) n = text_utf8_char(s + i, len - i);
    return n > 0;
}

size_t text_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    if (na > 64 || nb > 64) return 64;
    size_t row[65];
    for (size_t j = 0; j <= nb; j++) row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t swap = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t least = row[j - 1] < row[j] ? row[j - 1] + 1 : row[j] + 1;
            row[j] = least < swap ? least : swap;
        }
    }
    return row[nb];
}
