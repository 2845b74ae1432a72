#include "base/regex.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/memory.h"

enum {
    STEPS = 100000,         /* of one operation; a step is 20 to 30 ns */
    STEPS_PER_BYTE = 32,    /* more for long texts */
    MATCH_LIMIT = 1000000,  /* PCRE2's own, behind ours */
    HEAP_LIMIT = 32 * 1024, /* KiB, for going back */
    MAX_REPEAT = 1000,      /* Go's: of one count, and of the product of nested ones */
    MAX_NESTING = 250,      /* PCRE2's own default */
    MAX_TRANSLATED = 1 << 18,
};

struct name {
    const char *text; /* into the pattern; not terminated */
    size_t len;
    uint32_t group;
};

struct regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    int64_t steps; /* left in this operation */
    bool too_long; /* its result passes the limit of the text */
    char *pattern; /* a copy, for the names */
    struct name *names;
    size_t n_names, names_capacity;
    struct regex *letters; /* see make_letters() */
};

/* The translation from Go's syntax into PCRE2's, in the order of Go's parser, so that of two
 * mistakes the same one is reported. What differs between the two is written out: \s without \v,
 * \v as one character, scripts without extensions, braces that are no repeat count. A callout
 * stands wherever the engine may come back to, and counts the steps. */

enum flag { FOLD = 1, MULTILINE = 2, DOT_ALL = 4, UNGREEDY = 8 };
static const char flag_letters[] = "imsU";

struct level {      /* an open group; [0] is the whole pattern */
    unsigned flags; /* in force */
    bool atom;      /* there is something for a repetition to repeat */
    int repeats;    /* the product of the counts, nested deepest, in that atom */
    int most;       /* the largest of these in this group */
};

struct translator {
    const char *start, *at, *end;
    const char *last_repeat; /* where the repetition just read begins, or NULL */
    struct text out;
    struct regex *re;
    struct err *err;
    uint32_t groups;
    size_t depth;
    struct level levels[MAX_NESTING + 1];
};

static struct level *top(struct translator *t) { return &t->levels[t->depth]; }

static int refuse(struct translator *t, const char *what, const char *from, const char *to)
{
    return err_set(t->err, -EINVAL, "error parsing regexp: %s: `%.*s`", what, (int)(to - from),
                   from);
}

/* The character at s, which is valid UTF-8. */
static size_t width(const char *s)
{
    unsigned char c = (unsigned char)*s;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

static uint32_t rune_at(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t n = width(s);
    uint32_t rune = n == 1 ? *p : *p & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) rune = rune << 6 | (p[i] & 0x3fu);
    return rune;
}

/* The next character of the pattern, or 0 at its end. */
static uint32_t next(struct translator *t)
{
    if (t->at == t->end) return 0;
    uint32_t rune = rune_at(t->at);
    t->at += width(t->at);
    return rune;
}

static bool is_octal(const struct translator *t)
{
    return t->at < t->end && *t->at >= '0' && *t->at <= '7';
}

static bool is_alnum(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int unhex(uint32_t c)
{
    if (c >= '0' && c <= '9') return (int)c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? (int)c - 'a' + 10 : -1;
}

/* Is the name one of the words in the list, which has a space before and behind each? */
static bool listed(const char *list, const char *name, size_t n)
{
    char padded[48];
    if (n == 0 || n > sizeof padded - 3 || memchr(name, ' ', n) || memchr(name, '\0', n))
        return false;
    snprintf(padded, sizeof padded, " %.*s ", (int)n, name);
    return strstr(list, padded) != NULL;
}

static void add_rune(struct translator *t, uint32_t rune)
{
    if (is_alnum(rune))
        text_addc(&t->out, (char)rune);
    else
        text_addf(&t->out, "\\x{%x}", (unsigned)rune);
}

static void begin_atom(struct translator *t)
{
    top(t)->atom = true;
    top(t)->repeats = 1;
}

/* PCRE2 repeats no assertion unless it is in a group. */
static void add_assertion(struct translator *t, const char *text)
{
    begin_atom(t);
    bool repeated = t->at < t->end && strchr("*+?{", *t->at) != NULL;
    text_addf(&t->out, repeated ? "(?:%s)" : "%s", text);
}

/* \x41, \n, \. of which the backslash is at from and t->at behind it; in classes and outside. */
static int read_escape(struct translator *t, const char *from, uint32_t *rune)
{
    if (t->at == t->end)
        return refuse(t, "trailing backslash at end of expression", t->end, t->end);
    static const char letters[] = "afnrtv", values[] = "\a\f\n\r\t\v";
    uint32_t c = next(t);
    const char *letter = is_alnum(c) ? strchr(letters, (int)c) : NULL;
    if (letter != NULL || (c < 0x80 && !is_alnum(c))) {
        *rune = letter != NULL ? (uint32_t)values[letter - letters] : c;
        return 0;
    }
    if (c == '0' || (c >= '1' && c <= '7' && is_octal(t))) { /* \1 alone is a back reference */
        *rune = c - '0';
        for (int i = 1; i < 3 && is_octal(t); i++) *rune = *rune * 8 + (next(t) - '0');
        return 0;
    }
    if (c == 'x' && t->at < t->end) {
        uint32_t d = next(t);
        if (d != '{') {
            int high = unhex(d), low = unhex(next(t));
            *rune = (uint32_t)(high * 16 + low);
            if (high >= 0 && low >= 0) return 0;
        } else {
            *rune = 0;
            for (int digits = 0; t->at < t->end; digits++) {
                d = next(t);
                if (d == '}' && digits > 0) return 0;
                if (unhex(d) < 0) break;
                *rune = *rune * 16 + (uint32_t)unhex(d);
                if (*rune > 0x10ffff) break;
            }
        }
    }
    return refuse(t, "invalid escape sequence", from, t->at);
}

/* Go's names; PCRE2 knows more, and would take them in any case and shortened. */
static const char categories[] = " C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe"
                                 " Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs ";
static const char scripts[] =
    " Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak"
    " Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian"
    " Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot"
    " Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan"
    " Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi"
    " Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic"
    " Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana"
    " Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu"
    " Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean"
    " Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive"
    " Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nandinagari"
    " New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian"
    " Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian"
    " Old_Turkic Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician"
    " Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting"
    " Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa"
    " Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta"
    " Ugaritic Vai Wancho Warang_Citi Yezidi Yi Zanabazar_Square ";

/* \pL, \p{Greek} or \P{^Lu}, of which the backslash is at t->at. */
static int read_property(struct translator *t, bool inside)
{
    const char *from = t->at, *name = from + 2;
    bool negated = from[1] == 'P';
    if (name == t->end) return refuse(t, "invalid character class range", from, t->end);
    size_t n = width(name);
    t->at = name + n;
    if (*name == '{') {
        const char *close = memchr(name, '}', (size_t)(t->end - name));
        if (close == NULL) return refuse(t, "invalid character class range", from, t->end);
        n = (size_t)(close - ++name);
        t->at = close + 1;
    }
    if (n > 0 && *name == '^') {
        negated = !negated;
        name++;
        n--;
    }
    char p = negated ? 'P' : 'p';
    if (!inside) text_addc(&t->out, '[');
    if (n == 3 && memcmp(name, "Any", 3) == 0) {
        text_addf(&t->out, "\\%c{Any}", p);
    } else if (n == 1 && *name == 'C') { /* Go's has no unassigned characters in it */
        text_adds(&t->out, negated ? "\\pL\\pM\\pN\\pP\\pS\\pZ\\p{Cn}" : "\\p{Cc}\\p{Cf}\\p{Co}");
    } else if (listed(categories, name, n)) {
        bool any_case = (top(t)->flags & FOLD) && n == 2 && *name == 'L' && strchr("ult", name[1]);
        text_addf(&t->out, "\\%c{%.*s}", p, any_case ? 2 : (int)n, any_case ? "L&" : name);
    } else if (listed(scripts, name, n)) {
        text_addf(&t->out, "\\%c{sc:%.*s}", p, (int)n, name);
    } else {
        return refuse(t, "invalid character class range", from, t->at);
    }
    if (!inside) text_addc(&t->out, ']');
    return 0;
}

/* \d, \D, \s, \S, \w or \W: the inside of the class, or NULL for any other letter. */
static const char *perl_class(char letter)
{
    switch (letter) {
    case 'd': return "0-9";
    case 'D': return "\\D";
    case 's': return "\\t\\n\\f\\r ";
    case 'S': return "\\S\\x0b";
    case 'w': return "0-9A-Za-z_";
    case 'W': return "\\W";
    default: return NULL;
    }
}

/* [:alpha:] at t->at, if that is what stands there: 1, 0 when not, or -EINVAL. */
static int read_posix(struct translator *t)
{
    static const char known[] = " alnum alpha ascii blank cntrl digit graph lower print punct space"
                                " upper word xdigit ";
    if (t->end - t->at < 3 || t->at[0] != '[' || t->at[1] != ':') return 0;
    const char *from = t->at, *name = from + 2, *close = name;
    while (t->end - close >= 2 && (close[0] != ':' || close[1] != ']')) close++;
    if (t->end - close < 2) return 0;
    if (close > name && *name == '^') name++;
    t->at = close + 2;
    if (!listed(known, name, (size_t)(close - name)))
        return refuse(t, "invalid character class range", from, t->at);
    /* Those with letters as ranges: under (?i) they take in ſ and the Kelvin sign, as in Go. */
    static const char *const ranges[][2] = {{"alnum:", "0-9A-Za-z"},
                                            {"alpha:", "A-Za-z"},
                                            {"lower:", "a-z"},
                                            {"upper:", "A-Z"},
                                            {"word:", "0-9A-Za-z_"}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (name == from + 2 && strncmp(name, ranges[i][0], strlen(ranges[i][0])) == 0) {
            text_adds(&t->out, ranges[i][1]);
            return 1;
        }
    text_add(&t->out, from, (size_t)(t->at - from));
    return 1;
}

static int read_class_rune(struct translator *t, const char *class, uint32_t *rune)
{
    if (t->at == t->end) return refuse(t, "missing closing ]", class, t->end);
    const char *from = t->at;
    *rune = next(t);
    return *rune == '\\' ? read_escape(t, from, rune) : 0;
}

static int read_class_item(struct translator *t, const char *class)
{
    const char *from = t->at;
    int rc = read_posix(t);
    if (rc != 0) return rc;
    if (t->end - from >= 2 && *from == '\\') {
        if (from[1] == 'p' || from[1] == 'P') return read_property(t, true);
        if (perl_class(from[1]) != NULL) {
            text_adds(&t->out, perl_class(from[1]));
            t->at += 2;
            return 0;
        }
    }
    uint32_t low, high;
    if ((rc = read_class_rune(t, class, &low)) < 0) return rc;
    add_rune(t, low);
    if (t->end - t->at < 2 || t->at[0] != '-' || t->at[1] == ']') return 0;
    t->at++;
    if ((rc = read_class_rune(t, class, &high)) < 0) return rc;
    if (high < low) return refuse(t, "invalid character class range", from, t->at);
    text_addc(&t->out, '-');
    add_rune(t, high);
    return 0;
}

static int read_class(struct translator *t)
{
    const char *class = t->at++;
    text_addc(&t->out, '[');
    if (t->at < t->end && *t->at == '^') {
        text_addc(&t->out, '^');
        t->at++;
    }
    for (bool first = true; t->at == t->end || *t->at != ']' || first; first = false) {
        int rc = read_class_item(t, class);
        if (rc < 0) return rc;
    }
    t->at++;
    text_addc(&t->out, ']');
    begin_atom(t);
    return 0;
}

static int open_group(struct translator *t, bool captures, unsigned flags)
{
    if (t->depth == MAX_NESTING) return refuse(t, "expression nests too deeply", t->start, t->end);
    t->levels[++t->depth] = (struct level){.flags = flags, .most = 1};
    if (captures) t->groups++;
    text_adds(&t->out, captures ? "(" : "(?");
    return 0;
}

static void add_flags(struct translator *t, unsigned flags)
{
    for (int on = 1; on >= 0; on--) {
        if (!on && flags != (FOLD | MULTILINE | DOT_ALL | UNGREEDY)) text_addc(&t->out, '-');
        for (int i = 0; i < 4; i++)
            if ((flags >> i & 1) == (unsigned)on) text_addc(&t->out, flag_letters[i]);
    }
}

static int read_named_group(struct translator *t, const char *name)
{
    const char *from = t->at, *close = memchr(name, '>', (size_t)(t->end - name));
    if (close == NULL) return refuse(t, "invalid named capture", from, t->end);
    bool valid = close > name;
    for (const char *p = name; p < close; p++)
        if (!is_alnum((unsigned char)*p) && *p != '_') valid = false;
    if (!valid) return refuse(t, "invalid named capture", from, close + 1);
    t->at = close + 1;
    int rc = open_group(t, true, top(t)->flags);
    if (rc < 0) return rc;
    struct regex *re = t->re;
    if (!array_reserve((void **)&re->names, &re->names_capacity, re->n_names + 1,
                       sizeof *re->names))
        return -ENOMEM;
    size_t offset = (size_t)(name - t->start);
    re->names[re->n_names++] =
        (struct name){re->pattern + offset, (size_t)(close - name), t->groups};
    return 0;
}

/* (?i), (?i-s:…), (?:…), (?P<name>…) at t->at. */
static int read_perl_group(struct translator *t)
{
    const char *from = t->at;
    size_t left = (size_t)(t->end - from);
    if (left > 4 && from[2] == 'P' && from[3] == '<') return read_named_group(t, from + 4);
    if (left > 3 && from[2] == '<' && from[3] != '=' && from[3] != '!')
        return read_named_group(t, from + 3);
    unsigned flags = top(t)->flags;
    bool minus = false, saw = false;
    t->at += 2;
    while (t->at < t->end) {
        uint32_t c = next(t);
        const char *letter = is_alnum(c) ? strchr(flag_letters, (int)c) : NULL;
        if (letter != NULL) {
            unsigned bit = 1u << (letter - flag_letters);
            flags = minus ? flags & ~bit : flags | bit;
            saw = true;
        } else if (c == '-' && !minus) {
            minus = true;
            saw = false;
        } else if ((c == ':' || c == ')') && (!minus || saw)) {
            if (c == ':') {
                int rc = open_group(t, false, flags);
                if (rc < 0) return rc;
            } else {
                top(t)->flags = flags;
                top(t)->atom = false; /* in a(?i)* Go repeats the a; here that is an error */
                text_adds(&t->out, "(?");
            }
            add_flags(t, flags);
            text_addc(&t->out, (char)c);
            return 0;
        } else {
            break;
        }
    }
    return refuse(t, "invalid or unsupported Perl syntax", from, t->at);
}

static int close_group(struct translator *t)
{
    if (t->depth == 0) return refuse(t, "unexpected )", t->start, t->end);
    int most = top(t)->most;
    t->depth--;
    text_addc(&t->out, ')');
    begin_atom(t);
    top(t)->repeats = most;
    if (most > top(t)->most) top(t)->most = most;
    t->at++;
    return 0;
}

/* A number without leading zeros; -1 when there is none. */
static int read_count(const char **at, const char *end)
{
    const char *p = *at;
    if (p == end || *p < '0' || *p > '9') return -1;
    if (end - p >= 2 && *p == '0' && p[1] >= '0' && p[1] <= '9') return -1;
    int n = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        if (n <= MAX_REPEAT) n = n * 10 + (*p - '0');
    *at = p;
    return n;
}

/* {2}, {2,} or {2,5} at t->at: its end, or NULL when the brace is only a brace. *max is -1 when it
 * is open. */
static const char *read_counts(const struct translator *t, int *min, int *max)
{
    const char *p = t->at + 1;
    *min = *max = read_count(&p, t->end);
    if (*min < 0 || p == t->end) return NULL;
    if (*p == ',') {
        p++;
        *max = -1;
        if (p < t->end && *p != '}' && (*max = read_count(&p, t->end)) < 0) return NULL;
    }
    return p < t->end && *p == '}' ? p + 1 : NULL;
}

/* *, +, ?, {2,5} and what makes them lazy; to is behind the operator. */
static int add_repetition(struct translator *t, const char *to, int min, int max)
{
    const char *from = t->at;
    if (to < t->end && *to == '?') to++;
    if (t->last_repeat != NULL)
        return refuse(t, "invalid nested repetition operator", t->last_repeat, to);
    struct level *level = top(t);
    if (!level->atom) return refuse(t, "missing argument to repetition operator", from, to);
    if (min >= 2 || max >= 2) {
        level->repeats *= max >= 0 ? max : min;
        if (level->repeats > MAX_REPEAT) return refuse(t, "invalid repeat count", from, to);
        if (level->repeats > level->most) level->most = level->repeats;
    }
    text_add(&t->out, from, (size_t)(to - from));
    text_adds(&t->out, "(?C)");
    t->at = to;
    t->last_repeat = from;
    return 0;
}

static int read_repetition(struct translator *t)
{
    if (*t->at != '{') return add_repetition(t, t->at + 1, 0, 1);
    int min, max;
    const char *to = read_counts(t, &min, &max);
    if (to == NULL) {
        begin_atom(t);
        add_rune(t, next(t));
        t->last_repeat = NULL;
        return 0;
    }
    if (min > MAX_REPEAT || max > MAX_REPEAT || (max >= 0 && min > max))
        return refuse(t, "invalid repeat count", t->at, to);
    return add_repetition(t, to, min, max);
}

static void add_quoted(struct translator *t) /* \Q…\E */
{
    t->at += 2;
    while (t->at < t->end) {
        if (t->end - t->at >= 2 && t->at[0] == '\\' && t->at[1] == 'E') {
            t->at += 2;
            return;
        }
        begin_atom(t);
        add_rune(t, next(t));
    }
}

static int read_backslash(struct translator *t)
{
    const char *from = t->at;
    char c = t->end - from >= 2 ? from[1] : '\0';
    switch (c) {
    case 'A':
    case 'b':
    case 'B':
    case 'z':
        t->at += 2;
        add_assertion(t, (char[]){'\\', c, '\0'});
        return 0;
    case 'C': return refuse(t, "invalid escape sequence", from, from + 2);
    case 'Q': add_quoted(t); return 0;
    case 'p':
    case 'P': begin_atom(t); return read_property(t, false);
    default: break;
    }
    uint32_t rune;
    if (c == 'W') { /* not [\W]: under (?i) it leaves out what \w takes in */
        text_addf(&t->out, "[^%s]", perl_class('w'));
        t->at += 2;
    } else if (perl_class(c) != NULL) {
        text_addf(&t->out, "[%s]", perl_class(c));
        t->at += 2;
    } else {
        t->at++;
        int rc = read_escape(t, from, &rune);
        if (rc < 0) return rc;
        add_rune(t, rune);
    }
    begin_atom(t);
    return 0;
}

static int read_piece(struct translator *t)
{
    char c = *t->at;
    if (strchr("*+?{", c) != NULL && c != '\0') return read_repetition(t);
    t->last_repeat = NULL;
    switch (c) {
    case '(':
        if (t->end - t->at >= 2 && t->at[1] == '?') return read_perl_group(t);
        t->at++;
        return open_group(t, true, top(t)->flags);
    case ')': return close_group(t);
    case '[': return read_class(t);
    case '\\': return read_backslash(t);
    case '|': /* what follows the group may be tried anew with each alternative */
        text_adds(&t->out, t->depth > 0 ? "|(?C)" : "|");
        top(t)->atom = false;
        t->at++;
        return 0;
    case '^':
    case '$':
        t->at++;
        add_assertion(t, c == '^' ? "^" : "$");
        return 0;
    case '.':
        text_addc(&t->out, c);
        t->at++;
        break;
    default: add_rune(t, next(t)); break;
    }
    begin_atom(t);
    return 0;
}

static int translate(struct translator *t)
{
    if (!text_is_utf8(t->start, (size_t)(t->end - t->start))) {
        const char *bad = t->start; /* the shortest tail that is wrong from its first byte */
        while (width(bad) <= (size_t)(t->end - bad) && text_is_utf8(bad, width(bad)))
            bad += width(bad);
        return refuse(t, "invalid UTF-8", bad, t->end);
    }
    text_adds(&t->out, "(?C)");
    while (t->at < t->end) {
        int rc = read_piece(t);
        if (rc < 0) return rc;
    }
    if (t->depth > 0) return refuse(t, "missing closing )", t->start, t->end);
    if (!t->out.failed) return 0;
    if (t->out.len < MAX_TRANSLATED / 2) return -ENOMEM;
    return refuse(t, "expression is too large", t->start, t->end);
}

static int count_step(pcre2_callout_block *block, void *data)
{
    (void)block;
    struct regex *re = data;
    return --re->steps < 0 ? PCRE2_ERROR_MATCHLIMIT : 0;
}

static int compile(struct regex *re, const struct text *pattern, struct err *e)
{
    int code;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) return -ENOMEM;
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
    re->code =
        pcre2_compile((PCRE2_SPTR)pattern->data, pattern->len,
                      PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_CIRCUMFLEX | PCRE2_NO_UTF_CHECK,
                      &code, &offset, context);
    pcre2_compile_context_free(context);
    if (re->code == NULL && code == PCRE2_ERROR_HEAP_FAILED) return -ENOMEM;
    if (re->code == NULL) { /* beyond its sizes; the grammar has been checked */
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return err_set(e, -EINVAL, "error parsing regexp: %s: `%s`", (char *)why, re->pattern);
    }
    re->data = pcre2_match_data_create_from_pattern(re->code, NULL);
    re->context = pcre2_match_context_create(NULL);
    if (re->data == NULL || re->context == NULL) return -ENOMEM;
    pcre2_set_match_limit(re->context, MATCH_LIMIT);
    pcre2_set_depth_limit(re->context, MATCH_LIMIT);
    pcre2_set_heap_limit(re->context, HEAP_LIMIT);
    return pcre2_set_callout(re->context, count_step, re);
}

int regex_compile(struct regex **out, const char *pattern, size_t len, struct err *e)
{
    struct regex *re = calloc(1, sizeof *re);
    struct translator *t = calloc(1, sizeof *t);
    int rc = -ENOMEM;
    if (re == NULL || t == NULL || (re->pattern = malloc(len + 1)) == NULL) goto done;
    memcpy(re->pattern, pattern, len);
    re->pattern[len] = '\0';
    *t = (struct translator){.start = re->pattern,
                             .at = re->pattern,
                             .end = re->pattern + len,
                             .out.limit = MAX_TRANSLATED,
                             .re = re,
                             .err = e};
    t->levels[0].most = 1;
    rc = translate(t);
    if (rc == 0) rc = compile(re, &t->out, e);
done:
    if (rc == -ENOMEM) err_set(e, rc, "not enough memory");
    if (t != NULL) text_free(&t->out);
    free(t);
    if (rc == 0)
        *out = re;
    else
        regex_free(re);
    return rc;
}

void regex_free(struct regex *re)
{
    if (re == NULL) return;
    regex_free(re->letters);
    pcre2_match_context_free(re->context);
    pcre2_match_data_free(re->data);
    pcre2_code_free(re->code);
    free(re->names);
    free(re->pattern);
    free(re);
}

/* The text as Go sees it: itself, or a copy in *copy with U+FFFD for every wrong byte. */
static int valid_text(const char **s, size_t *len, struct text *copy)
{
    if (text_is_utf8(*s, *len)) return 0;
    for (const char *p = *s, *end = p + *len; p < end;) {
        size_t n = width(p);
        if (n <= (size_t)(end - p) && text_is_utf8(p, n)) {
            text_add(copy, p, n);
            p += n;
        } else {
            text_adds(copy, "\xef\xbf\xbd");
            p++;
        }
    }
    if (copy->failed) return -ENOMEM;
    *s = copy->data;
    *len = copy->len;
    return 0;
}

static void begin(struct regex *re, size_t len)
{
    re->too_long = false;
    re->steps = STEPS + (int64_t)(len * STEPS_PER_BYTE);
}

static int run(struct regex *re, const char *s, size_t len, size_t from, uint32_t options)
{
    int rc = pcre2_match(re->code, (PCRE2_SPTR)s, len, from, options | PCRE2_NO_UTF_CHECK, re->data,
                         re->context);
    if (rc >= 0) return 1;
    if (rc == PCRE2_ERROR_NOMATCH) return 0;
    return rc == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -ETIME;
}

static int match(struct regex *re, const char *s, size_t len, uint32_t options)
{
    struct text copy = {0};
    int rc = valid_text(&s, &len, &copy);
    begin(re, len);
    if (rc == 0) rc = run(re, s, len, 0, options);
    text_free(&copy);
    return rc;
}

int regex_match(struct regex *re, const char *s, size_t len) { return match(re, s, len, 0); }

int regex_match_full(struct regex *re, const char *s, size_t len)
{
    return match(re, s, len, PCRE2_ANCHORED | PCRE2_ENDANCHORED);
}

/* The text of a group in the last match; n is 0 where there is none. */
static const char *group(const struct regex *re, const char *s, uint32_t i, size_t *n)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(re->data);
    *n = 0;
    if (i >= pcre2_get_ovector_count(re->data) || ends[2 * i] == PCRE2_UNSET) return s;
    *n = ends[2 * i + 1] - ends[2 * i];
    return s + ends[2 * i];
}

static const char *named(const struct regex *re, const char *s, const char *name, size_t len,
                         size_t *n)
{
    uint32_t number = 0;
    size_t digits = 0;
    while (digits < len && name[digits] >= '0' && name[digits] <= '9' && number < 100000)
        number = number * 10 + (uint32_t)(name[digits++] - '0');
    if (digits == len && (len == 1 || name[0] != '0')) return group(re, s, number, n);
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(re->data);
    for (size_t i = 0; i < re->n_names; i++) /* the first of that name that took part */
        if (re->names[i].len == len && memcmp(re->names[i].text, name, len) == 0 &&
            ends[2 * re->names[i].group] != PCRE2_UNSET)
            return group(re, s, re->names[i].group, n);
    *n = 0;
    return s;
}

/* For names in replacements: letters of any script. Made once somebody asks. */
static int make_letters(struct regex *re, const char *replacement, size_t len)
{
    static const char letters[] = "[\\pL\\p{Nd}]";
    bool ascii = true;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)replacement[i] >= 0x80) ascii = false;
    if (ascii) return 0;
    int rc = 0;
    if (re->letters == NULL) rc = regex_compile(&re->letters, letters, strlen(letters), NULL);
    /* The first match takes all the memory the later ones need, so those cannot fail. */
    return rc < 0 || regex_match(re->letters, letters, strlen(letters)) < 0 ? -ENOMEM : 0;
}

/* May the character that begins a text of n bytes stand in a name? */
static bool is_word(const struct regex *re, const char *s, size_t n)
{
    if ((unsigned char)*s < 0x80) return is_alnum((unsigned char)*s) || *s == '_';
    size_t w = width(s);
    return w <= n && text_is_utf8(s, w) && regex_match(re->letters, s, w) == 1;
}

/* Go's rule for what a name is: ${name} or $name, of letters, digits and _. NULL when it is none;
 * else *rest is behind it. */
static const char *read_name(const struct regex *re, const char *p, const char *end, size_t *n,
                             const char **rest)
{
    bool brace = p < end && *p == '{';
    const char *name = p + brace, *q = name;
    while (q < end && is_word(re, q, (size_t)(end - q))) q += width(q);
    *n = (size_t)(q - name);
    if (*n == 0 || (brace && (q == end || *q != '}'))) return NULL;
    *rest = q + brace;
    return name;
}

static void add(struct regex *re, struct text *out, const char *s, size_t n)
{
    if (out->limit > 0 && n > out->limit - out->len) re->too_long = true;
    text_add(out, s, n);
}

static void expand(struct regex *re, const char *s, const char *p, const char *end,
                   struct text *out)
{
    while (p < end) {
        const char *dollar = memchr(p, '$', (size_t)(end - p)), *rest;
        size_t n;
        if (dollar == NULL) break;
        add(re, out, p, (size_t)(dollar - p));
        p = dollar + 1;
        const char *name = read_name(re, p, end, &n, &rest);
        if (name != NULL) {
            const char *text = named(re, s, name, n, &n);
            add(re, out, text, n);
            p = rest;
        } else {
            add(re, out, "$", 1);
            if (p < end && *p == '$') p++;
        }
    }
    add(re, out, p, (size_t)(end - p));
}

int regex_replace(struct regex *re, const char *s, size_t len, const char *replacement,
                  size_t replacement_len, struct text *out)
{
    struct text copy = {0};
    int rc = make_letters(re, replacement, replacement_len);
    if (rc == 0) rc = valid_text(&s, &len, &copy);
    size_t copied = 0, from = 0;
    begin(re, len);
    while (rc == 0 && from <= len && !out->failed) {
        int found = run(re, s, len, from, 0);
        if (found <= 0) {
            rc = found;
            break;
        }
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(re->data);
        size_t start = ends[0], stop = ends[1];
        add(re, out, s + copied, start - copied);
        if (stop > copied || start == 0) /* else it is empty, right behind the last one */
            expand(re, s, replacement, replacement + replacement_len, out);
        copied = stop;
        size_t step = from < len ? width(s + from) : 1;
        from = from + step > stop ? from + step : stop;
    }
    if (rc == 0) add(re, out, s + copied, len - copied);
    text_free(&copy);
    if (rc == 0 && out->failed) return re->too_long ? -EFBIG : -ENOMEM;
    return rc;
}

void regex_library(char out[REGEX_LIBRARY])
{
    char version[64] = ""; /* and a date */
    (void)pcre2_config(PCRE2_CONFIG_VERSION, version);
    snprintf(out, REGEX_LIBRARY, "%.*s", (int)strcspn(version, " "), version);
}
