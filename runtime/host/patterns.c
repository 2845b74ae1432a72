/* A pattern has no alternatives: it is a list of items, each passed in turn. So it is compiled to
 * an array, and what a backtracking search must remember is one choice for each repeated item on
 * the way: how much of the subject it has taken. No recursion, and captures need no undoing, as
 * each item on the way sets its own again.
 *
 * A mistake in a pattern is an item, too: it raises when a search comes to it and not before, as in
 * stock Lua, where 'x[' fails quietly on a subject without an x. */
#include "host/patterns.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "host/budget.h"

enum { CAPTURES = 32, DEPTH = 200 }; /* the limits of stock Lua: messages depend on them */

/* A step (a byte compared, an item tried) costs about half an instruction. CALL: to call or look up
 * what a match is replaced by, or to copy a capture. */
enum { STEPS_AN_INSTRUCTION = 2, BATCH = 256, CALL = 64 };

/* What most patterns fit; longer ones take a userdata. */
enum { LOCAL_ITEMS = 48, LOCAL_SETS = 6 };

enum op { CHAR, ANY, CLASS, SET, END, AT_END, OPEN, POSITION, CLOSE, BACK, BALANCE, FRONTIER, BAD };

enum mistake {
    ENDS_WITH_ESCAPE,
    NO_BRACKET,
    NO_ARGUMENTS,
    NO_SET,
    NO_OPEN,
    MANY_CAPTURES,
    BAD_INDEX
};
static const char *const mistakes[] = {
    [ENDS_WITH_ESCAPE] = "malformed pattern (ends with '%%')",
    [NO_BRACKET] = "malformed pattern (missing ']')",
    [NO_ARGUMENTS] = "malformed pattern (missing arguments to '%%b')",
    [NO_SET] = "missing '[' after '%%f' in pattern",
    [NO_OPEN] = "invalid pattern capture",
    [MANY_CAPTURES] = "too many captures",
    [BAD_INDEX] = "invalid capture index %%%d", /* the one with an argument: item.b */
};

struct set {
    uint32_t bits[8]; /* one for each byte */
};

struct item {
    uint8_t op;
    char repeat;           /* of CHAR to SET: one of ?*+- or 0, just once */
    uint8_t a;             /* the byte, CLASS's kinds, the capture's index, the mistake */
    uint8_t b;             /* CLASS: 1 for the complement; BALANCE: the closing byte */
    uint8_t nested;        /* capture items before this one: for the limit of DEPTH */
    const struct set *set; /* of SET and FRONTIER */
};

enum capture { UNFINISHED, CLOSED, AS_POSITION };

/* One search through one subject. */
struct search {
    lua_State *L;
    const char *text, *end; /* a NUL follows the end, as after all strings of Lua */
    struct item *items;     /* the last one is END or BAD */
    struct set *sets;
    size_t steps; /* not yet charged */
    int n_captures;
    uint8_t capture[CAPTURES]; /* what the whole pattern makes of it */
    const char *from[CAPTURES], *to[CAPTURES];
};

/* -- the budget -- */

static void settle(struct search *m)
{
    size_t steps = m->steps;
    m->steps = 0;
    budget_charge(m->L, steps / STEPS_AN_INSTRUCTION);
}

static inline void tick(struct search *m, size_t steps)
{
    m->steps += steps;
    if (m->steps >= BATCH) settle(m);
}

/* Settles at the end of a call; what is less than the call itself costs is let go. */
static inline void settle_rest(struct search *m)
{
    if (m->steps >= BATCH / 8) settle(m);
}

/* -- bytes and their classes -- */

enum { LOWER = 1, UPPER = 2, DIGIT = 4, PUNCT = 8, SPACE = 16, CONTROL = 32, HEX = 64, ZERO = 128 };

enum { C_ = CONTROL, CS = CONTROL | SPACE, DX = DIGIT | HEX, UX = UPPER | HEX, LX = LOWER | HEX };
enum { U_ = UPPER, L_ = LOWER, P_ = PUNCT };
static const uint8_t kinds[256] = {
    C_ | ZERO, C_, C_, C_, C_, C_, C_, C_, C_, CS, CS, CS, CS, CS, C_, C_, /* 0x00 */
    C_,        C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, C_, /* 0x10 */
    SPACE,     P_, P_, P_, P_, P_, P_, P_, P_, P_, P_, P_, P_, P_, P_, P_, /* 0x20 */
    DX,        DX, DX, DX, DX, DX, DX, DX, DX, DX, P_, P_, P_, P_, P_, P_, /* '0' */
    P_,        UX, UX, UX, UX, UX, UX, U_, U_, U_, U_, U_, U_, U_, U_, U_, /* '@' */
    U_,        U_, U_, U_, U_, U_, U_, U_, U_, U_, U_, P_, P_, P_, P_, P_, /* 'P' */
    P_,        LX, LX, LX, LX, LX, LX, L_, L_, L_, L_, L_, L_, L_, L_, L_, /* '`' */
    L_,        L_, L_, L_, L_, L_, L_, L_, L_, L_, L_, P_, P_, P_, P_, C_, /* 'p' */
};

/* The kinds that %letter stands for; 0: it is no class, but that character. */
static uint8_t class_kinds(uint8_t letter)
{
    switch (letter | 0x20) {
    case 'a': return LOWER | UPPER;
    case 'c': return CONTROL;
    case 'd': return DIGIT;
    case 'g': return LOWER | UPPER | DIGIT | PUNCT;
    case 'l': return LOWER;
    case 'p': return PUNCT;
    case 's': return SPACE;
    case 'u': return UPPER;
    case 'w': return LOWER | UPPER | DIGIT;
    case 'x': return HEX;
    case 'z': return ZERO; /* of Lua 5.1; stock 5.4 still knows it */
    default: return 0;
    }
}

static bool is_upper(uint8_t c) { return (kinds[c] & UPPER) != 0; }

static inline bool in_set(const struct set *set, uint8_t c)
{
    return set->bits[c >> 5] >> (c & 31) & 1;
}

/* Does the item, one of CHAR to SET, accept the byte? */
static inline bool accepts(const struct item *it, char byte)
{
    uint8_t c = (uint8_t)byte;
    switch (it->op) {
    case CHAR: return c == it->a;
    case ANY: return true;
    case CLASS: return ((kinds[c] & it->a) == 0) == it->b;
    default: return in_set(it->set, c);
    }
}

/* -- from text to items -- */

struct compiler {
    const uint8_t *p, *end;
    struct search *m;
    struct item *item; /* the next one */
    struct set *set;
    uint8_t nested;
};

static void set_range(struct set *set, uint8_t from, uint8_t to)
{
    for (unsigned c = from; c <= to; c++) set->bits[c >> 5] |= 1u << (c & 31);
}

static void set_class(struct set *set, uint8_t letter)
{
    uint8_t wanted = class_kinds(letter);
    if (wanted == 0) {
        set_range(set, letter, letter);
        return;
    }
    for (unsigned c = 0; c < 256; c++)
        if (((kinds[c] & wanted) == 0) == is_upper(letter)) set->bits[c >> 5] |= 1u << (c & 31);
}

/* From behind '[' to behind the ']' that ends the set; NULL: none does. A first ']' is a member. */
static const uint8_t *set_end(const uint8_t *p, const uint8_t *end)
{
    if (p < end && *p == '^') p++;
    do {
        if (p >= end) return NULL;
        if (*p++ == '%' && p < end) p++;
    } while (p >= end || *p != ']');
    return p + 1;
}

/* What lies between the brackets. Stock Lua looks for the end and for the members with different
 * eyes: a '%' that ends a range escapes nothing, so one may stand right before the closing bracket,
 * and then escapes that: [a-%%] contains ']'. */
static const struct set *compile_set(struct compiler *c, const uint8_t *p, const uint8_t *close)
{
    struct set *set = c->set++;
    *set = (struct set){{0}};
    bool complement = *p == '^';
    for (p += complement; p < close; p++) {
        if (*p == '%') {
            set_class(set, *++p);
        } else if (p[1] == '-' && p + 2 < close) {
            set_range(set, p[0], p[2]);
            p += 2;
        } else {
            set_range(set, *p, *p);
        }
    }
    if (complement)
        for (int i = 0; i < 8; i++) set->bits[i] = ~set->bits[i];
    return set;
}

static struct item *add(struct compiler *c, enum op op, uint8_t a)
{
    struct item *it = c->item++;
    *it = (struct item){.op = (uint8_t)op, .a = a, .nested = c->nested};
    return it;
}

/* Nothing behind a mistake can be reached. */
static void mistaken(struct compiler *c, enum mistake which, uint8_t argument)
{
    add(c, BAD, (uint8_t)which)->b = argument;
    c->p = c->end;
}

static void compile_open(struct compiler *c) /* at the '(' */
{
    bool position = c->p + 1 < c->end && c->p[1] == ')';
    int k = c->m->n_captures;
    if (k == CAPTURES) {
        mistaken(c, MANY_CAPTURES, 0);
        return;
    }
    add(c, position ? POSITION : OPEN, (uint8_t)k);
    c->m->capture[k] = position ? AS_POSITION : UNFINISHED;
    c->m->n_captures++;
    c->nested++;
    c->p += position ? 2 : 1;
}

static void compile_close(struct compiler *c) /* at the ')' */
{
    int k = c->m->n_captures - 1;
    while (k >= 0 && c->m->capture[k] != UNFINISHED) k--;
    if (k < 0) {
        mistaken(c, NO_OPEN, 0);
        return;
    }
    add(c, CLOSE, (uint8_t)k);
    c->m->capture[k] = CLOSED;
    c->nested++;
    c->p++;
}

static void compile_back(struct compiler *c) /* at the digit */
{
    int k = *c->p++ - '1';
    if (k < 0 || k >= c->m->n_captures || c->m->capture[k] == UNFINISHED)
        mistaken(c, BAD_INDEX, (uint8_t)(k + 1));
    else
        add(c, BACK, (uint8_t)k);
}

static void compile_balance(struct compiler *c) /* behind the 'b' */
{
    if (c->end - c->p < 2) {
        mistaken(c, NO_ARGUMENTS, 0);
        return;
    }
    add(c, BALANCE, c->p[0])->b = c->p[1];
    c->p += 2;
}

static void compile_frontier(struct compiler *c) /* behind the 'f' */
{
    if (c->p == c->end || *c->p != '[') {
        mistaken(c, NO_SET, 0);
        return;
    }
    const uint8_t *next = set_end(c->p + 1, c->end);
    if (next == NULL) {
        mistaken(c, NO_BRACKET, 0);
        return;
    }
    add(c, FRONTIER, 0)->set = compile_set(c, c->p + 1, next - 1);
    c->p = next;
}

/* A character, class or set, and how often. */
static void compile_single(struct compiler *c)
{
    uint8_t byte = *c->p++;
    if (byte == '.') {
        add(c, ANY, 0);
    } else if (byte == '%') {
        if (c->p == c->end) {
            mistaken(c, ENDS_WITH_ESCAPE, 0);
            return;
        }
        uint8_t letter = *c->p++, wanted = class_kinds(letter);
        add(c, wanted != 0 ? CLASS : CHAR, wanted != 0 ? wanted : letter)->b = is_upper(letter);
    } else if (byte == '[') {
        const uint8_t *next = set_end(c->p, c->end);
        if (next == NULL) {
            mistaken(c, NO_BRACKET, 0);
            return;
        }
        add(c, SET, 0)->set = compile_set(c, c->p, next - 1);
        c->p = next;
    } else {
        add(c, CHAR, byte);
    }
    if (c->p < c->end && (*c->p == '*' || *c->p == '+' || *c->p == '-' || *c->p == '?'))
        c->item[-1].repeat = (char)*c->p++;
}

/* n items and as many sets as there may be fit m->items and m->sets: see measure(). */
static void compile(struct search *m, const char *pattern, size_t len)
{
    const uint8_t *p = (const uint8_t *)pattern;
    struct compiler c = {p, p + len, m, m->items, m->sets, 0};
    tick(m, len);
    m->n_captures = 0;
    while (c.p < c.end) {
        uint8_t next = c.end - c.p > 1 ? c.p[1] : 0;
        if (*c.p == '(') {
            compile_open(&c);
        } else if (*c.p == ')') {
            compile_close(&c);
        } else if (*c.p == '$' && c.end - c.p == 1) {
            add(&c, AT_END, 0);
            c.p++;
        } else if (*c.p == '%' && next >= '0' && next <= '9') {
            c.p++;
            compile_back(&c);
        } else if (*c.p == '%' && (next == 'b' || next == 'f')) {
            c.p += 2;
            if (next == 'b')
                compile_balance(&c);
            else
                compile_frontier(&c);
        } else {
            compile_single(&c);
        }
    }
    add(&c, END, 0);
}

struct room {
    size_t items, sets; /* at most, of one pattern */
};

static struct room measure(const char *pattern, size_t len)
{
    struct room room = {len + 2, 0}; /* an item takes a byte at least; BAD and END */
    const char *p = pattern, *end = pattern + len;
    while ((p = memchr(p, '[', (size_t)(end - p))) != NULL) {
        room.sets++;
        p++;
    }
    return room;
}

struct local {
    struct item items[LOCAL_ITEMS];
    struct set sets[LOCAL_SETS];
};

/* Readies m for a subject and a pattern. Pushes a userdata where *local does not suffice. */
static void prepare(struct search *m, lua_State *L, struct local *local, const char *text,
                    size_t text_len, const char *pattern, size_t len)
{
    m->L = L;
    m->text = text;
    m->end = text + text_len;
    m->steps = 0;
    struct room room = measure(pattern, len);
    if (room.items <= LOCAL_ITEMS && room.sets <= LOCAL_SETS) {
        m->items = local->items;
        m->sets = local->sets;
    } else {
        size_t size = room.items * sizeof *m->items;
        m->items = lua_newuserdatauv(L, size + room.sets * sizeof *m->sets, 0);
        m->sets = (struct set *)(void *)(m->items + room.items);
    }
    compile(m, pattern, len);
}

/* -- matching -- */

/* How a repeated item may yet go on. */
struct choice {
    const struct item *it;
    const char *from; /* the least that the item may leave; of '-' not used */
    const char *at;   /* where the item was left last */
};

static void mistake(struct search *m, const struct item *it)
{
    luaL_error(m->L, mistakes[it->a], (int)it->b);
}

/* Stock Lua recurses at captures and repeated items and gives up at this depth. */
static inline void check_depth(struct search *m, const struct item *it, int n_choices)
{
    if (n_choices + it->nested + 2 > DEPTH) luaL_error(m->L, "pattern too complex");
}

static const char *balance(struct search *m, const struct item *it, const char *s)
{
    if (s == m->end || (uint8_t)*s != it->a) return NULL;
    size_t open = 1;
    for (s++; s < m->end; s++) {
        tick(m, 1);
        if ((uint8_t)*s == it->b) {
            if (--open == 0) return s + 1;
        } else if ((uint8_t)*s == it->a) {
            open++;
        }
    }
    return NULL;
}

static const char *repeat_capture(struct search *m, int k, const char *s)
{
    if (m->capture[k] == AS_POSITION) return NULL; /* stock: of a length that never fits */
    size_t len = (size_t)(m->to[k] - m->from[k]);
    if (len > (size_t)(m->end - s)) return NULL;
    tick(m, len / 8);
    return memcmp(m->from[k], s, len) == 0 ? s + len : NULL;
}

static bool frontier(struct search *m, const struct item *it, const char *s)
{
    uint8_t before = s == m->text ? 0 : (uint8_t)s[-1];
    return !in_set(it->set, before) && in_set(it->set, (uint8_t)*s);
}

/* Passes an item other than END that is met just once: what follows it in the subject, or NULL. */
static const char *pass(struct search *m, const struct item *it, const char *s, int n_choices)
{
    switch (it->op) {
    case AT_END: return s == m->end ? s : NULL;
    case OPEN:
    case POSITION:
        check_depth(m, it, n_choices);
        m->from[it->a] = s;
        return s;
    case CLOSE:
        check_depth(m, it, n_choices);
        m->to[it->a] = s;
        return s;
    case BACK: return repeat_capture(m, it->a, s);
    case BALANCE: return balance(m, it, s);
    case FRONTIER: return frontier(m, it, s) ? s : NULL;
    case BAD: mistake(m, it); return NULL;
    default: return s < m->end && accepts(it, *s) ? s + 1 : NULL;
    }
}

/* Meets a repeated item: where it leaves the subject first, or NULL. Notes in choices[*n] that
 * there are other ways, unless it is passed without taking anything, for then there are none. */
static inline const char *enter(struct search *m, const struct item *it, const char *s,
                                struct choice *choices, int *n)
{
    if (s == m->end || !accepts(it, *s)) return it->repeat == '+' ? NULL : s;
    check_depth(m, it, *n);
    const char *from = s;
    switch (it->repeat) {
    case '-': break;
    case '?': s++; break;
    case '+': from++; /* fall through */
    default:
        do s++;
        while (s < m->end && accepts(it, *s));
        tick(m, (size_t)(s - from));
    }
    choices[(*n)++] = (struct choice){it, from, s};
    return s;
}

/* The next way of the last choice, or NULL when there is no further one, and then it is gone. */
static inline const char *retry(struct search *m, struct choice *choices, int *n)
{
    struct choice *c = &choices[*n - 1];
    if (c->it->repeat == '-') {
        if (c->at < m->end && accepts(c->it, *c->at)) return ++c->at;
    } else if (c->it->repeat == '?') {
        (*n)--; /* without it nothing is left to choose */
        return c->from;
    } else if (c->at > c->from) {
        return --c->at;
    }
    (*n)--;
    return NULL;
}

/* Where the match that begins at s ends, or NULL. Raises for a mistake that it comes to. */
static const char *match_at(struct search *m, const char *s)
{
    struct choice choices[DEPTH];
    int n = 0;
    const struct item *it = m->items;
    tick(m, 1);
    while (it->op != END) {
        tick(m, 1);
        const char *next = it->repeat == 0 ? pass(m, it, s, n) : enter(m, it, s, choices, &n);
        while (next == NULL) {
            if (n == 0) return NULL;
            it = choices[n - 1].it;
            next = retry(m, choices, &n);
        }
        s = next;
        it++;
    }
    return s;
}

/* The first place from s on at which a match may begin, or NULL: skips what the first item, if it
 * is a character, rules out. */
static inline const char *candidate(struct search *m, const char *s)
{
    const struct item *first = m->items;
    if (first->op != CHAR || (first->repeat != 0 && first->repeat != '+')) return s;
    const char *found = memchr(s, first->a, (size_t)(m->end - s));
    tick(m, (size_t)((found != NULL ? found : m->end) - s) / 16);
    return found;
}

/* -- captures -- */

/* Pushes capture k of the match s to e: with no captures at all, the whole match is the first. */
static void push_capture(struct search *m, int k, const char *s, const char *e)
{
    if (k >= m->n_captures) {
        if (k != 0) luaL_error(m->L, "invalid capture index %%%d", k + 1);
        lua_pushlstring(m->L, s, (size_t)(e - s));
    } else if (m->capture[k] == AS_POSITION) {
        lua_pushinteger(m->L, m->from[k] - m->text + 1);
    } else {
        if (m->capture[k] == UNFINISHED) luaL_error(m->L, "unfinished capture");
        lua_pushlstring(m->L, m->from[k], (size_t)(m->to[k] - m->from[k]));
    }
}

static int push_captures(struct search *m, const char *s, const char *e)
{
    int n = m->n_captures == 0 ? 1 : m->n_captures;
    luaL_checkstack(m->L, n, "too many captures");
    for (int k = 0; k < n; k++) push_capture(m, k, s, e);
    return n;
}

/* -- find and match -- */

/* An optional integer; one that is a string is read to its end. */
static lua_Integer opt_integer(lua_State *L, int i, lua_Integer otherwise)
{
    if (lua_type(L, i) == LUA_TSTRING) budget_charge(L, lua_rawlen(L, i) / 4);
    return luaL_optinteger(L, i, otherwise);
}

/* The offset of argument 3, a position that may count from the end; len + 1 when it lies behind. */
static size_t start_offset(lua_State *L, size_t len)
{
    lua_Integer at = opt_integer(L, 3, 1);
    if (at > 0) return (lua_Unsigned)at - 1 > len ? len + 1 : (size_t)at - 1;
    if (at == 0 || at < -(lua_Integer)len) return 0;
    return len - (size_t)-at;
}

/* Stock Lua takes a lone ')' or ']' for a character here, and in match() does not. */
static bool is_plain(const char *p, size_t len)
{
    for (const char *end = p + len; p <= end; p++) { /* strcspn() stops at each NUL */
        p += strcspn(p, "^$*+?.([%-");
        if (*p != '\0') return false;
    }
    return true;
}

/* memmem(), which takes its time to begin with: most texts are found at the first few places that
 * have the right first byte. */
static const char *find_text(const char *s, const char *end, const char *what, size_t len)
{
    if (len == 0) return s;
    for (int i = 0; i < 8; i++) {
        if ((size_t)(end - s) < len) return NULL;
        s = memchr(s, what[0], (size_t)(end - s) - len + 1);
        if (s == NULL || memcmp(s, what, len) == 0) return s;
        s++;
    }
    return memmem(s, (size_t)(end - s), what, len);
}

static int find_plain(lua_State *L, const char *text, size_t len, const char *what, size_t what_len,
                      size_t offset)
{
    struct search m = {.L = L, .steps = len - offset + what_len};
    settle_rest(&m);
    const char *at = find_text(text + offset, text + len, what, what_len);
    if (at == NULL) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, at - text + 1);
    lua_pushinteger(L, at - text + (lua_Integer)what_len);
    return 2;
}

static int search(lua_State *L, bool find)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    size_t offset = start_offset(L, len);
    if (offset > len) {
        luaL_pushfail(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || is_plain(pattern, pattern_len)))
        return find_plain(L, text, len, pattern, pattern_len, offset);
    struct search m;
    struct local local;
    bool anchored = *pattern == '^';
    prepare(&m, L, &local, text, len, pattern + anchored, pattern_len - anchored);
    const char *s = text + offset, *e = NULL;
    for (; s <= m.end; s++) {
        if (!anchored && (s = candidate(&m, s)) == NULL) break;
        if ((e = match_at(&m, s)) != NULL || anchored) break;
    }
    settle_rest(&m);
    if (e == NULL) {
        luaL_pushfail(L);
        return 1;
    }
    if (!find) return push_captures(&m, s, e);
    lua_pushinteger(L, s - text + 1);
    lua_pushinteger(L, e - text);
    return m.n_captures == 0 ? 2 : push_captures(&m, s, e) + 2;
}

static int l_find(lua_State *L) { return search(L, true); }
static int l_match(lua_State *L) { return search(L, false); }

/* -- gmatch -- */

struct matches {
    struct search m;
    const char *next; /* where to look */
    const char *last; /* where the last match ended: an empty one may not begin there */
};

static int l_next_match(lua_State *L)
{
    struct matches *g = lua_touserdata(L, lua_upvalueindex(2));
    struct search *m = &g->m;
    m->L = L;
    for (const char *s = g->next; s <= m->end; s++) {
        if ((s = candidate(m, s)) == NULL) break;
        const char *e = match_at(m, s);
        if (e == NULL || e == g->last) continue;
        g->next = g->last = e;
        settle_rest(m);
        return push_captures(m, s, e);
    }
    settle_rest(m);
    return 0;
}

static int l_gmatch(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    size_t offset = start_offset(L, len);
    struct room room = measure(pattern, pattern_len);
    size_t sets = room.sets * sizeof(struct set), items = room.items * sizeof(struct item);
    lua_settop(L, 2);
    struct matches *g = lua_newuserdatauv(L, sizeof *g + items + sets, 0); /* text pattern g */
    g->m.L = L;
    g->m.text = text;
    g->m.end = text + len;
    g->m.items = (struct item *)(void *)(g + 1);
    g->m.sets = (struct set *)(void *)(g->m.items + room.items);
    g->m.steps = 0;
    g->next = text + offset;
    g->last = NULL;
    compile(&g->m, pattern, pattern_len);
    lua_remove(L, 2); /* text g: the iterator keeps the subject alive */
    lua_pushcclosure(L, l_next_match, 2);
    return 1;
}

/* -- gsub -- */

static void add_capture(struct search *m, luaL_Buffer *b, int k, const char *s, const char *e)
{
    size_t before = luaL_bufflen(b);
    push_capture(m, k, s, e);
    luaL_addvalue(b);
    tick(m, CALL / 4 + (luaL_bufflen(b) - before) / 16);
}

static void add_text(struct search *m, luaL_Buffer *b, const char *s, const char *e)
{
    size_t len;
    const char *by = lua_tolstring(m->L, 3, &len), *end = by + len, *escape;
    tick(m, 4 + len / 8);
    for (; (escape = memchr(by, '%', (size_t)(end - by))) != NULL; by = escape + 2) {
        luaL_addlstring(b, by, (size_t)(escape - by));
        char c = escape[1]; /* NUL behind the last */
        if (c == '%')
            luaL_addchar(b, '%');
        else if (c == '0')
            luaL_addlstring(b, s, (size_t)(e - s));
        else if (c >= '1' && c <= '9')
            add_capture(m, b, c - '1', s, e);
        else
            luaL_error(m->L, "invalid use of '%c' in replacement string", '%');
        tick(m, 2);
    }
    luaL_addlstring(b, by, (size_t)(end - by));
}

/* Adds what takes the place of the match s to e. False: the match itself stays. */
static bool add_replacement(struct search *m, luaL_Buffer *b, const char *s, const char *e)
{
    lua_State *L = m->L;
    int type = lua_type(L, 3);
    if (type == LUA_TFUNCTION || type == LUA_TTABLE) tick(m, CALL);
    switch (type) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, e), 1);
        break;
    case LUA_TTABLE:
        push_capture(m, 0, s, e);
        lua_gettable(L, 3);
        break;
    default: add_text(m, b, s, e); return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, s, (size_t)(e - s));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
    return true;
}

/* Leaves the rest of the subject out, and tells in *rest where it begins. */
static lua_Integer substitute(struct search *m, luaL_Buffer *b, bool anchored, lua_Integer most,
                              const char **rest, bool *changed)
{
    const char *s = m->text, *last = NULL, *at, *e;
    lua_Integer n = 0;
    while (n < most) {
        if (!anchored) {
            if ((at = candidate(m, s)) == NULL) break;
            luaL_addlstring(b, s, (size_t)(at - s));
            s = at;
        }
        if ((e = match_at(m, s)) != NULL && e != last) {
            n++;
            if (add_replacement(m, b, s, e)) *changed = true;
            s = last = e;
        } else if (s < m->end) {
            luaL_addchar(b, *s++);
        } else {
            break;
        }
        if (anchored) break;
    }
    *rest = s;
    return n;
}

static int l_gsub(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    int type = lua_type(L, 3);
    lua_Integer most = opt_integer(L, 4, (lua_Integer)len + 1);
    luaL_argexpected(L,
                     type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                         type == LUA_TTABLE,
                     3, "string/function/table");
    struct search m;
    struct local local;
    luaL_Buffer b;
    bool anchored = *pattern == '^', changed = false;
    prepare(&m, L, &local, text, len, pattern + anchored, pattern_len - anchored);
    luaL_buffinit(L, &b);
    const char *rest;
    lua_Integer n = substitute(&m, &b, anchored, most, &rest, &changed);
    settle_rest(&m);
    if (changed) {
        luaL_addlstring(&b, rest, (size_t)(m.end - rest));
        luaL_pushresult(&b);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, n);
    return 2;
}

static const luaL_Reg functions[] = {
    {"find", l_find}, {"gmatch", l_gmatch}, {"gsub", l_gsub}, {"match", l_match}, {NULL, NULL}};

void patterns_open(lua_State *L) { luaL_setfuncs(L, functions, 0); }
