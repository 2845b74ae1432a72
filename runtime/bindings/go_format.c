/* The Lua module perigee.go_format: numbers as Go's strconv writes and reads them. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bind.h"
#include "bindings/modules.h"

enum { MAX_PRECISION = 70000, MAX_NUMBER = 512 };

/* The shortest digits that read back as x, in the form of the verb. At most 342 bytes. */
static int shortest(char *out, double x, char verb)
{
    char digits[20] = "0";
    int point = 1, n = 1, len = 0; /* 0.d1d2… * 10^point */
    if (x != 0) n = text_shortest(x, digits, &point);
    char kind = (char)(verb | 32);
    if (kind == 'g') kind = point - 1 < -4 || point - 1 >= 6 ? 'e' : 'f';
    if (signbit(x)) out[len++] = '-';
    if (kind == 'e') {
        out[len++] = digits[0];
        if (n > 1) len += sprintf(out + len, ".%.*s", n - 1, digits + 1);
        return len + sprintf(out + len, "%c%+03d", verb & 32 ? 'e' : 'E', x != 0 ? point - 1 : 0);
    }
    if (point <= 0) out[len++] = '0';
    for (int i = 0; i < point; i++) out[len++] = i < n ? digits[i] : '0';
    if (point >= n) return len;
    out[len++] = '.';
    for (int i = point; i < n; i++) out[len++] = i < 0 ? '0' : digits[i];
    return len;
}

/* %b: the mantissa as a whole number and the power of two it is multiplied with. */
static int binary(char *out, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint64_t mantissa = bits & ((UINT64_C(1) << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7ff);
    if (exponent > 0)
        mantissa |= UINT64_C(1) << 52;
    else
        exponent = 1;
    return sprintf(out, "%s%llup%+d", bits >> 63 ? "-" : "", (unsigned long long)mantissa,
                   exponent - 1075);
}

/* %x: 0x1.8p+01, the first digit always 1 but for zero. Room for 40 bytes and the precision. */
static int hexadecimal(char *out, double x, bool upper, int precision)
{
    int exponent = 0, len = 0;
    double fraction = frexp(fabs(x), &exponent);
    uint64_t mantissa = (uint64_t)ldexp(fraction, 53) << 8; /* the leading 1 at bit 60 */
    if (x != 0) exponent--;
    if (precision >= 0 && precision < 15) { /* to nearest, ties to even */
        int shift = precision * 4;
        uint64_t rest = mantissa << shift & ((UINT64_C(1) << 60) - 1);
        mantissa >>= 60 - shift;
        if ((rest | (mantissa & 1)) > UINT64_C(1) << 59) mantissa++;
        mantissa <<= 60 - shift;
        if (mantissa >> 61) {
            mantissa >>= 1;
            exponent++;
        }
    }
    const char *hex = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    if (signbit(x)) out[len++] = '-';
    len += sprintf(out + len, "0%c%c", upper ? 'X' : 'x', (char)('0' + (mantissa >> 60 & 1)));
    mantissa <<= 4;
    if (precision > 0 || (precision < 0 && mantissa != 0)) out[len++] = '.';
    for (int i = 0; precision < 0 ? mantissa != 0 : i < precision; i++, mantissa <<= 4)
        out[len++] = hex[mantissa >> 60];
    return len + sprintf(out + len, "%c%+03d", upper ? 'P' : 'p', exponent);
}

/* float(x, verb, precision): strconv.FormatFloat; the verb is one of eEfgGbxX, precision -1 asks
 * for the fewest digits that read back as x. */
static int l_float(lua_State *L)
{
    double x = luaL_checknumber(L, 1);
    size_t n;
    const char *verb = luaL_checklstring(L, 2, &n);
    lua_Integer precision = luaL_optinteger(L, 3, -1);
    luaL_argcheck(L, n == 1 && strchr("eEfgGbxX", *verb) != NULL, 2, "no verb of a float");
    luaL_argcheck(L, precision >= -1 && precision <= MAX_PRECISION, 3, "out of range");
    if (!isfinite(x)) {
        lua_pushstring(L, isnan(x) ? "NaN" : x > 0 ? "+Inf" : "-Inf");
        return 1;
    }
    luaL_Buffer b;
    size_t room = MAX_NUMBER + (size_t)(precision + 1);
    char *out = luaL_buffinitsize(L, &b, room), format[] = "%.*f";
    int len;
    if (*verb == 'b') {
        len = binary(out, x);
    } else if ((*verb | 32) == 'x') {
        len = hexadecimal(out, x, *verb == 'X', (int)precision);
    } else if (precision < 0) {
        len = shortest(out, x, *verb);
    } else {
        format[3] = *verb;
        len = snprintf(out, room, format, (int)precision, x);
    }
    luaL_pushresultsize(&b, (size_t)len);
    return 1;
}

/* Go lets _ stand between two digits, or between 0x and a digit. */
static bool underscores_ok(const char *s, bool hex)
{
    char before = '^';
    if (*s == '+' || *s == '-') s++;
    if (hex) {
        before = '0';
        s += 2;
    }
    for (; *s != '\0'; s++) {
        char c = *s;
        bool digit = (c >= '0' && c <= '9') || (hex && (c | 32) >= 'a' && (c | 32) <= 'f');
        if (c == '_' ? before != '0' : before == '_' && !digit) return false;
        before = digit ? '0' : c == '_' ? '_' : '!';
    }
    return before != '_';
}

/* Is it a number by Go's grammar, once its underscores are gone? */
static bool is_number(const char *s, bool hex)
{
    size_t n;
    if (*s == '+' || *s == '-') s++;
    if (hex) s += 2;
    const char *digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
    n = strspn(s, digits);
    s += n;
    if (*s == '.') {
        size_t more = strspn(s + 1, digits);
        n += more;
        s += 1 + more;
    }
    if (n == 0) return false;
    if (*s == '\0') return !hex;
    if ((*s | 32) != (hex ? 'p' : 'e')) return false;
    s++;
    if (*s == '+' || *s == '-') s++;
    n = strspn(s, "0123456789");
    return n > 0 && s[n] == '\0';
}

static bool is_word(const char *s, const char *word) /* in any case */
{
    for (; *s != '\0' && (*s | 32) == *word; s++) word++;
    return *s == '\0' && *word == '\0';
}

/* parse_float(text) -> x | nil, "invalid syntax" | nil, "value out of range", ±inf: strconv's
 * ParseFloat, which takes hexadecimal, underscores, inf and nan. */
static int l_parse_float(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n), *unsigned_s = s + (*s == '+' || *s == '-');
    if (is_word(unsigned_s, "inf") || is_word(unsigned_s, "infinity")) {
        lua_pushnumber(L, *s == '-' ? -INFINITY : INFINITY);
        return 1;
    }
    if (is_word(s, "nan")) {
        lua_pushnumber(L, NAN);
        return 1;
    }
    bool hex = unsigned_s[0] == '0' && (unsigned_s[1] | 32) == 'x' && unsigned_s[2] != '\0';
    luaL_Buffer b;
    char *plain = luaL_buffinitsize(L, &b, n + 1); /* s … buffer */
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i] != '_') plain[len++] = s[i];
    plain[len] = '\0';
    if (strlen(s) != n || (len < n && !underscores_ok(s, hex)) || !is_number(plain, hex)) {
        lua_pushnil(L);
        lua_pushstring(L, "invalid syntax");
        return 2;
    }
    double x = strtod(plain, NULL);
    if (isfinite(x)) {
        lua_pushnumber(L, x);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, "value out of range");
    lua_pushnumber(L, x);
    return 3;
}

int luaopen_perigee_go_format(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"float", l_float}, {"parse_float", l_parse_float}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
