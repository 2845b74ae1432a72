#include "tests/c/heap.h"
#include "host/patterns.h"

#include <lauxlib.h>
#include <lualib.h>

#include "base/clock.h"
#include "host/budget.h"

/* -- against stock Lua -- */

/* compare(ours, subject, pattern, replacement, init, max): nil where both say the same of it,
 * errors included, or what differs. */
static const char *const comparison =
    "local ours, s, p, r, init, max = ...\n"
    "local function show(...)\n"
    "  local t = table.pack(...)\n"
    "  for i = 1, t.n do t[i] = ('%q'):format(t[i]) end\n"
    "  return table.concat(t, ' ')\n"
    "end\n"
    "local function all(lib, ...)\n"
    "  local t = {}\n"
    "  for a, b, c in lib.gmatch(...) do t[#t + 1] = show(a, b, c) end\n"
    "  return table.concat(t, ';')\n"
    "end\n"
    "local function same(what, f, ...)\n"
    "  local a, b = show(pcall(f, string, ...)), show(pcall(f, ours, ...))\n"
    "  if a == b then return end\n"
    "  error(('%s %q %q %s: stock %s, ours %s'):format(what, s, p, show(r), a, b), 0)\n"
    "end\n"
    "local table_of = {a = 'x', b = false, ab = 7, A = true, [''] = 1}\n"
    "local function f(a, b) if b == 'a' then return a .. '!' elseif not b then return a end end\n"
    "same('find', function(lib, ...) return lib.find(...) end, s, p, init)\n"
    "same('plain find', function(lib, ...) return lib.find(...) end, s, p, init, true)\n"
    "same('match', function(lib, ...) return lib.match(...) end, s, p, init)\n"
    "same('gmatch', all, s, p, init)\n"
    "for _, by in ipairs {r, table_of, f} do\n"
    "  same('gsub', function(lib, ...) return lib.gsub(...) end, s, p, by, max)\n"
    "end\n";

/* Runs a chunk in a stock state with `ours` as its first argument, then n more of strings. */
struct stock {
    lua_State *L;
    int compare; /* where it lies on the stack; `ours` is next */
};

static struct stock stock_open(const char *chunk)
{
    struct stock k = {luaL_newstate(), 1};
    luaL_openlibs(k.L);
    assert_int_equal(luaL_loadstring(k.L, chunk), LUA_OK); /* compare */
    lua_newtable(k.L);                                     /* compare ours */
    patterns_open(k.L);
    return k;
}

static void stock_run(struct stock *k, int n) /* the arguments lie on top */
{
    lua_State *L = k->L;
    lua_pushvalue(L, k->compare);
    lua_insert(L, -n - 1);
    lua_pushvalue(L, k->compare + 1);
    lua_insert(L, -n - 1);
    if (lua_pcall(L, n + 1, 0, 0) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
}

struct atom {
    const char *s;
    size_t len;
};
#define ATOM(s)                                                                                    \
    {                                                                                              \
        s, sizeof s - 1                                                                            \
    }
#define COUNT(a) (sizeof(a) / sizeof *(a))

static void push_random(lua_State *L, uint64_t *seed, const struct atom *atoms, size_t n, int most)
{
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t left = xorshift(seed) % (size_t)(most + 1); left > 0; left--) {
        const struct atom *a = &atoms[xorshift(seed) % n];
        luaL_addlstring(&b, a->s, a->len);
    }
    luaL_pushresult(&b);
}

/* A pattern of a few atoms is malformed as often as not, and short ones meet short subjects. */
static const struct atom pattern_atoms[] = {
    ATOM("a"),     ATOM("b"),    ATOM("A"),     ATOM("1"),   ATOM(" "),      ATOM("\0"),
    ATOM("."),     ATOM("%"),    ATOM("%a"),    ATOM("%d"),  ATOM("%s"),     ATOM("%w"),
    ATOM("%l"),    ATOM("%u"),   ATOM("%p"),    ATOM("%c"),  ATOM("%g"),     ATOM("%x"),
    ATOM("%z"),    ATOM("%A"),   ATOM("%S"),    ATOM("%1"),  ATOM("%2"),     ATOM("%0"),
    ATOM("%b"),    ATOM("%bab"), ATOM("%f"),    ATOM("[^"),  ATOM("%f[a]"),  ATOM("["),
    ATOM("]"),     ATOM("a-b"),  ATOM("-"),     ATOM("*"),   ATOM("+"),      ATOM("?"),
    ATOM("("),     ATOM(")"),    ATOM("()"),    ATOM("^"),   ATOM("$"),      ATOM("%%"),
    ATOM("[]]"),   ATOM("[a-]"), ATOM("[%a-z"), ATOM("(a)"), ATOM("[a-%%]"), ATOM("\xff"),
    ATOM("[^%s]"), ATOM("%]"),   ATOM(".-"),    ATOM("(.)")};
static const struct atom subject_atoms[] = {
    ATOM("a"), ATOM("b"),  ATOM("A"), ATOM("1"),   ATOM(" "), ATOM("\0"), ATOM("."),
    ATOM("%"), ATOM("ab"), ATOM("-"), ATOM("aab"), ATOM("]"), ATOM("("),  ATOM("\xff")};
static const struct atom replacement_atoms[] = {ATOM("x"),  ATOM("%0"), ATOM("%1"), ATOM("%2"),
                                                ATOM("%%"), ATOM("%"),  ATOM("%9"), ATOM("\0")};

TEST(every_search_finds_and_raises_what_stock_lua_does)
{
    static const lua_Integer inits[] = {
        1, 1, 2, 3, 0, -1, -3, 9, 100, -100, LUA_MININTEGER, LUA_MAXINTEGER};
    struct stock k = stock_open(comparison);
    uint64_t seed = 1;
    for (int round = 0; round < 40000; round++) {
        push_random(k.L, &seed, subject_atoms, COUNT(subject_atoms), 10);
        push_random(k.L, &seed, pattern_atoms, COUNT(pattern_atoms), 8);
        push_random(k.L, &seed, replacement_atoms, COUNT(replacement_atoms), 3);
        lua_pushinteger(k.L, inits[xorshift(&seed) % COUNT(inits)]);
        if (xorshift(&seed) % 2)
            lua_pushnil(k.L);
        else
            lua_pushinteger(k.L, (lua_Integer)(xorshift(&seed) % 4));
        stock_run(&k, 5);
    }
    lua_close(k.L);
}

TEST(every_class_and_set_of_every_byte_accepts_what_stock_lua_does)
{
    struct stock k = stock_open(
        "local ours, c = ...\n"
        "c = string.char(c)\n"
        "for i = 0, 255 do\n"
        "  local s = string.char(i)\n"
        "  for _, p in ipairs {'%' .. c, '[' .. c .. ']', '[%' .. c .. ']', '[^%' .. c .. ']',\n"
        "                      '[' .. c .. '-m]', '[0-' .. c .. ']', '%f[%' .. c .. ']'} do\n"
        "    local _, a = pcall(string.find, s, p)\n"
        "    local _, b = pcall(ours.find, s, p)\n"
        "    if a ~= b then error(('%q %q: stock %s, ours %s'):format(s, p, a, b)) end\n"
        "  end\n"
        "end\n");
    for (int c = 0; c < 256; c++) {
        lua_pushinteger(k.L, c);
        stock_run(&k, 1);
    }
    lua_close(k.L);
}

/* Patterns that never fail, as those that do would keep stock Lua busy for ever. */
TEST(patterns_are_too_complex_where_they_are_in_stock_lua)
{
    static const struct atom deep_atoms[] = {ATOM("a?"), ATOM("b?"), ATOM("a*"), ATOM("a-"),
                                             ATOM("b*"), ATOM("a?"), ATOM("a*"), ATOM("()")};
    struct stock k = stock_open(comparison);
    uint64_t seed = 2;
    for (int round = 0; round < 2000; round++) {
        luaL_Buffer b;
        luaL_buffinit(k.L, &b);
        for (uint64_t n = xorshift(&seed) % 220; n > 0; n--) luaL_addchar(&b, 'a');
        luaL_pushresult(&b);
        luaL_buffinit(k.L, &b);
        if (xorshift(&seed) % 2) luaL_addstring(&b, "(");
        size_t kinds = xorshift(&seed) % COUNT(deep_atoms) + 1;
        for (uint64_t n = 180 + xorshift(&seed) % 40; n > 0; n--)
            luaL_addstring(&b, deep_atoms[xorshift(&seed) % kinds].s);
        if (xorshift(&seed) % 2) luaL_addstring(&b, xorshift(&seed) % 2 ? ")" : "[");
        luaL_pushresult(&b);
        lua_pushliteral(k.L, "%1");
        lua_pushinteger(k.L, 1);
        lua_pushinteger(k.L, 1);
        stock_run(&k, 5);
    }
    lua_close(k.L);
}

TEST(long_subjects_long_patterns_and_wrong_arguments_change_nothing)
{
    struct stock k = stock_open(
        "local ours = ...\n"
        "local function same(name, ...)\n"
        "  local function call(lib, ...) local f = lib[name] return (f(...)) end\n"
        "  local _, a = pcall(call, string, ...)\n"
        "  local _, b = pcall(call, ours, ...)\n"
        "  if type(a) == 'function' then a, b = type(a), type(b) end\n"
        "  assert(a == b, name .. ': stock ' .. tostring(a) .. ', ours ' .. tostring(b))\n"
        "end\n"
        "local word = ('x'):rep(3000)\n"
        "local line = (' some words and 12 numbers'):rep(500) .. word\n"
        "for _, p in ipairs {word, word .. 'x', ('x'):rep(9) .. 'y', '%d+$', word .. '$',\n"
        "                    ('[xy]'):rep(300), '(' .. ('%a'):rep(200) .. ')', ' ', '(' } do\n"
        "  for _, name in ipairs {'find', 'match', 'gmatch'} do\n"
        "    same(name, line, p) same(name, line, p, -3000) same(name, line, p, 1, true)\n"
        "  end\n"
        "  same('gsub', line, p, '<%0>')\n"
        "end\n"
        "for _, name in ipairs {'find', 'match', 'gmatch', 'gsub'} do\n"
        "  same(name) same(name, 'a') same(name, {}, 'a') same(name, 'a', {}) same(name, 12, 2, "
        "3)\n"
        "  same(name, 'a', 'a', 'x') same(name, 'a', 'a', 1.5) same(name, 'a', 'a', '1')\n"
        "  same(name, 'a', 'a', type) same(name, 'a', 'a', 'b', 'c') same(name, 'a', 'a', true)\n"
        "end\n"
        "same('gsub', 'abc', '%w', function() return {} end)\n"
        "same('gsub', 'abc', '%w', {a = true})\n"
        "same('gsub', 'abc', '%w', function(c) error(c) end)\n"
        "same('gsub', 'abc', '(%w)', setmetatable({}, {__index = function(_, c) return c .. c "
        "end}))\n"
        "same('gsub', 'abc', '(a(b)', '%2')\n"
        "same('gsub', 'abc', '(a(b)', '%1')\n");
    stock_run(&k, 0);
    lua_close(k.L);
}

/* -- the budget -- */

static int l_open(lua_State *L)
{
    luaL_openlibs(L);
    lua_getglobal(L, LUA_STRLIBNAME);
    patterns_open(L);
    return 0;
}

/* CPU time of a script under a budget of a million instructions, and whether that was spent. */
static double run(const char *script, bool *spent)
{
    static const struct budget_limits limits = {1000000, 64 << 20, 0};
    struct budget b;
    lua_State *L = budget_new_state(&b);
    assert_non_null(L);
    lua_pushcfunction(L, l_open);
    assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
    assert_int_equal(luaL_loadstring(L, script), LUA_OK);
    int64_t started = clock_thread_cpu_ns();
    budget_begin(&b, &limits);
    int rc = lua_pcall(L, 0, 0, 0);
    budget_end(&b);
    double ms = (double)(clock_thread_cpu_ns() - started) / 1e6;
    *spent = b.spent != NULL;
    if (rc != LUA_OK && !*spent) fail_msg("%s: %s", script, lua_tostring(L, -1));
    lua_close(L);
    return ms;
}

TEST(every_pattern_bomb_ends_when_the_budget_does)
{
    static const char *const bombs[] = {
        "('a'):rep(300):find(('a-'):rep(4) .. 'b')",
        "('a'):rep(300):find(('a-'):rep(30) .. 'b')",
        "('a'):rep(300):gsub(('a*'):rep(20) .. 'b', '')",
        "('a'):rep(300):match(('a+'):rep(20) .. 'b')",
        "('a'):rep(90):find(('a?'):rep(90) .. ('a'):rep(91))",
        "('a'):rep(300):find(('(a-)'):rep(16) .. 'b')",
        "('a'):rep(300):find(('()a*'):rep(30) .. '$b')",
        "('a'):rep(300):find(('[%a]-'):rep(5) .. '%d')",
        "('a'):rep(300):find(('.-'):rep(5) .. '%f[b]')",
        "('a'):rep(20000):find('(.*)(.*)(.*)%1%2%3b')",
        "('a'):rep(20000):find('(.-)%1b')",
        "('('):rep(100000):find('%b()')",
        "('('):rep(100000):gsub('%b()', '')",
        "('a'):rep(30000):gsub('a-b', '')",
        "for _ in ('a'):rep(30000):gmatch('.-b') do end",
        "for _ in ('a'):rep(30000):gmatch('a*$b') do end",
        "local s = ('a'):rep(100000) while true do s:find('%f[b]') end",
        "local s = ('a'):rep(100000) while true do s:find('b') end",
        "local s = ('a'):rep(100000) while true do s:match('[^b]*$') end",
        "local s = ('a'):rep(100000) while true do s:find(('a'):rep(200) .. 'b', 1, true) end",
        "local p = ('[a-z]'):rep(10000) while true do pcall(string.find, '1', p) end",
        "local p = ('x'):rep(30000) while true do ('x'):match(p) end",
        "local r = ('%1'):rep(10000) while true do pcall(string.gsub, 'aaaa', '(.)', r) end",
        "local s = ('a'):rep(1000) while true do s:gsub('', '') end",
        "local s = ('a'):rep(1000) while true do s:gsub('.', {}) end",
        "local s = ('a'):rep(1000) while true do s:gsub('.', pcall) end",
        "local s = ('a'):rep(1000) while true do s:gsub('()', tostring) end",
        "local n = ('0'):rep(100000) .. 1 while true do ('a'):find('a', n) end",
        "while true do pcall(string.find, ('a'):rep(300), ('a-'):rep(4) .. 'b') end",
    };
    bool spent;
    double loop = run("while true do end", &spent); /* 4 ms; under valgrind more */
    double limit = TEST_SLOW * (loop > 4 ? 50 * loop / 4 : 50);
    for (size_t i = 0; i < COUNT(bombs); i++) {
        double ms = run(bombs[i], &spent);
        if (getenv("V") != NULL) print_message("%7.1f ms  %s\n", ms, bombs[i]);
        if (!spent || ms > limit)
            fail_msg("%s: %s after %.1f ms", bombs[i], spent ? "spent" : "ends", ms);
    }
}

TEST(ordinary_searches_leave_the_budget_nearly_whole)
{
    bool spent;
    run("local line = 'ERROR checkout-7d9f request failed status=503 latency_ms=1534 path=/cart'\n"
        "for i = 1, 5000 do\n"
        "  assert(line:match('status=(%d+)') == '503')\n"
        "  assert(line:find('^%u+ %S+') == 1)\n"
        "  assert(not line:find('timeout', 1, true))\n"
        "end",
        &spent);
    assert_false(spent);
}

/* -- memory -- */

static const char *const searches =
    "local string, long = ..., 'x'\n"
    "for i = 1, 7 do long = long .. long end\n"
    "local function f(a) return a .. a end\n"
    "string.find(long, '(x+)(x)') string.find(long, long .. 'x') string.match(long, '[x][y]?' .. "
    "long)\n"
    "for a, b in string.gmatch('k=v, l=w', '(%w+)=(%w+)') do end\n"
    "for a in string.gmatch(long, '[ab]?[cd]?[ef]?[gh]?[ij]?[kl]?[mn]?x') do end\n"
    "string.gsub(long, '(x)', '%1%0%1') string.gsub(long, 'x', f) string.gsub(long, 'x', {x = "
    "long})\n"
    "string.gsub(long, '()', '%1')\n";

static int l_searches(lua_State *L)
{
    if (luaL_loadstring(L, searches) != LUA_OK) return lua_error(L);
    lua_newtable(L);
    patterns_open(L);
    lua_call(L, 1, 0);
    return 0;
}

TEST(no_allocation_that_fails_leaks) { test_heap_sweep(l_searches); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(every_search_finds_and_raises_what_stock_lua_does),
        CHECK(every_class_and_set_of_every_byte_accepts_what_stock_lua_does),
        CHECK(patterns_are_too_complex_where_they_are_in_stock_lua),
        CHECK(long_subjects_long_patterns_and_wrong_arguments_change_nothing),
        CHECK(every_pattern_bomb_ends_when_the_budget_does),
        CHECK(ordinary_searches_leave_the_budget_nearly_whole),
        CHECK(no_allocation_that_fails_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
