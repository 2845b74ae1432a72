#include "tests/c/heap.h"
#include "host/bounded.h"

#include <lauxlib.h>
#include <lualib.h>

#include "base/clock.h"
#include "host/budget.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* -- a cell, and a stock state beside it -- */

static const struct budget_limits limits = {1000000, 64 << 20, 0};

static int l_open(lua_State *L)
{
    bounded_open(L);
    return 0;
}

static lua_State *open_cell(struct budget *b)
{
    lua_State *L = budget_new_state(b);
    assert_non_null(L);
    lua_pushcfunction(L, l_open);
    assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
    return L;
}

static lua_State *open_stock(void)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    return L;
}

/* Runs a script in a cell of its own. */
struct outcome {
    bool failed;
    bool spent;
    double ms; /* of CPU */
    char error[200];
};

static struct outcome run(const char *script)
{
    struct budget b;
    struct outcome o = {0};
    lua_State *L = open_cell(&b);
    if (luaL_loadbufferx(L, script, strlen(script), "=rule", "t") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    int64_t started = clock_thread_cpu_ns();
    budget_begin(&b, &limits);
    o.failed = lua_pcall(L, 0, 0, 0) != LUA_OK;
    budget_end(&b);
    if (o.failed && lua_isstring(L, -1))
        snprintf(o.error, sizeof o.error, "%s", lua_tostring(L, -1));
    o.spent = b.spent != NULL;
    lua_close(L);
    o.ms = (double)(clock_thread_cpu_ns() - started) / 1e6;
    return o;
}

static void check_run(const char *script)
{
    struct outcome o = run(script);
    if (o.failed) fail_msg("%s", o.error);
}

/* The string that a chunk returns or raises. It lies on the stack of L. */
static const char *evaluate(lua_State *L, const char *script)
{
    if (luaL_loadbufferx(L, script, strlen(script), "=rule", "t") == LUA_OK) lua_pcall(L, 0, 1, 0);
    return lua_tostring(L, -1);
}

/* 50 ms of a machine on which a million instructions take 4. */
static double patience(void)
{
    double loop = run("while true do end").ms;
    return TEST_SLOW * (loop > 4 ? 50 * loop / 4 : 50);
}

/* -- what there is -- */

TEST(a_cell_has_these_functions_and_nothing_else)
{
    struct budget b;
    lua_State *L = open_cell(&b);
    const char *names =
        evaluate(L, "local names = {}\n"
                    "for k, v in pairs(_G) do\n"
                    "  if type(v) ~= 'table' or v == _G then names[#names + 1] = k\n"
                    "  else for f in pairs(v) do names[#names + 1] = k .. '.' .. f end end\n"
                    "end\n"
                    "table.sort(names)\n"
                    "return table.concat(names, ' ')\n");
    assert_string_equal(
        names,
        "_G _VERSION assert error getmetatable ipairs "
        "math.abs math.acos math.asin math.atan math.ceil math.cos math.deg math.exp math.floor "
        "math.fmod math.huge math.log math.max math.maxinteger math.min math.mininteger math.modf "
        "math.pi math.rad math.sin math.sqrt math.tan math.tointeger math.type math.ult "
        "next pairs pcall rawequal rawget rawlen rawset select setmetatable "
        "string.byte string.char string.find string.format string.gmatch string.gsub string.len "
        "string.lower string.match string.rep string.reverse string.sub string.upper "
        "table.concat table.insert table.move table.pack table.remove table.sort table.unpack "
        "tonumber tostring type "
        "utf8.char utf8.charpattern utf8.codepoint utf8.codes utf8.len utf8.offset "
        "xpcall");
    lua_close(L);
}

/* Calls good and bad, told apart by what they return or say. */
static const char *const calls[] = {
    "string.byte('abc', 2)",
    "string.byte('abc', 1, -1)",
    "string.byte('abc', -2, 100)",
    "string.byte('abc', 'x')",
    "string.byte('abc', 1.5)",
    "string.byte(65)",
    "string.byte()",
    "('x'):byte({})",
    "string.char(72, 105)",
    "string.char(256)",
    "string.format('%5.2f|%d|%s|%q|%x|%g|%-5s|%c|%i|%%', 1.5, 3, {} ~= nil, 'a\\n', 255, 1e20, "
    "'x', 65, 7)",
    "string.format('%99.99f', 1e308)",
    "string.format('%a', 0.5)",
    "string.format('%d', '10')",
    "string.format('%d', 1.5)",
    "string.format('%s')",
    "string.format('%y', 1)",
    "string.format()",
    "string.len('abc')",
    "string.len(nil)",
    "string.lower('ABC', 1)",
    "string.upper(12)",
    "string.upper()",
    "string.rep('ab', 3)",
    "string.rep('ab', 3, ',')",
    "string.rep(12, '3')",
    "string.rep('ab', -1)",
    "string.rep('', 3, 'x')",
    "string.rep('x')",
    "string.rep({}, 1)",
    "string.rep('x', 1.5)",
    "string.rep('x', 1, {})",
    "('x'):rep({})",
    "string.reverse('abc')",
    "string.reverse({})",
    "string.sub('hello', 2, -2)",
    "string.sub('hello', -100, 100)",
    "string.sub('hello', 0)",
    "string.sub('hello', math.mininteger, math.maxinteger)",
    "string.sub('hello')",
    "string.sub('hello', 'x')",
    "string.find('a.b', '.', 1, true)",
    "('hello world'):match('(%w+) (%w+)')",
    "('hello'):gsub('l', {l = 'L'})",
    "('hello'):gsub('l')",
    "('10') + 1",
    "'3' * '4'",
    "-'2'",
    "'0x10' // 1",
    "'a' + 1",
    "1 .. 2",
    "#'abc'",
    "('x').y",
    "table.concat({1, 2.5, 'x'}, ', ')",
    "table.concat({1, 2, 3}, ', ', 2)",
    "table.concat({1, 2, 3}, 5, 2, 3)",
    "table.concat({}, ', ')",
    "table.concat({1, {}, 3})",
    "table.concat({1, 2}, '', 1, 3)",
    "table.concat({}, '', 1, math.maxinteger)",
    "table.concat({[math.maxinteger] = 'x'}, '', math.maxinteger, math.maxinteger)",
    "table.concat({}, '', math.maxinteger, math.mininteger)",
    "table.concat({1}, {})",
    "table.concat({1}, '', {})",
    "table.concat()",
    "table.concat('x')",
    "table.insert({}, 1, 2, 3)",
    "table.insert({}, 5, 2)",
    "table.insert({}, 'x', 2)",
    "table.insert(nil, 2)",
    "table.insert({1})",
    "(function() local t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) return table.unpack(t) "
    "end)()",
    "table.remove({1, 2, 3})",
    "table.remove({1, 2, 3}, 1)",
    "table.remove({1, 2, 3}, 7)",
    "table.remove({})",
    "table.remove(1)",
    "table.unpack(table.move({1, 2, 3}, 1, 3, 2))",
    "table.unpack(table.move({1, 2, 3}, 2, 3, 1, {}))",
    "table.move({}, 1)",
    "table.move(1, 1, 1, 1)",
    "table.move({}, 1, 1, 1, 1)",
    "table.pack(1, nil, 3).n",
    "table.unpack({1, 2, 3}, 2)",
    "table.unpack({1, 2, 3}, -1, 1)",
    "table.unpack({}, 1, 1e7)",
    "table.unpack({}, math.mininteger, math.maxinteger)",
    "table.unpack({}, {})",
    "table.sort({3, 1, 'x'})",
    "table.sort({{}, {}})",
    "table.sort({1, 2}, 3)",
    "table.sort(1)",
    "table.sort({1, 2}, function() error('no') end)",
    "math.floor(2.7)",
    "math.floor('2.7')",
    "math.floor()",
    "math.floor({})",
    "math.max(1, 5, 3)",
    "math.max()",
    "math.min(1, 'x')",
    "math.fmod(5, 0)",
    "math.ult(1, -1)",
    "math.tointeger('8')",
    "math.type(1.0)",
    "math.abs(math.mininteger)",
    "math.log(8, 2)",
    "utf8.char(228, 0x1f600)",
    "utf8.char(-1)",
    "utf8.len('häß')",
    "utf8.len('\\xff')",
    "utf8.len('häß', 3)",
    "utf8.len('x', 5)",
    "utf8.codepoint('häß', 1, -1)",
    "utf8.codepoint('\\xff')",
    "utf8.codepoint('x', 9)",
    "utf8.offset('häß', 3)",
    "utf8.offset('häß', -1)",
    "utf8.offset('häß', 9)",
    "utf8.offset('häß', 1, 3)",
    "utf8.offset('häß', 0, 3)",
    "utf8.offset('x', 1, 9)",
    "utf8.offset('x')",
    "(function() local t = {} for p, c in utf8.codes('häß') do t[#t + 1] = p .. ':' .. c end "
    "return table.concat(t, ' ') end)()",
    "(function() for p, c in utf8.codes('h\\xff') do end end)()",
    "(function() local f, s = utf8.codes('abc') return f(s, 2) end)()",
    "utf8.codes()",
    "tonumber('0x10')",
    "tonumber('zz', 36)",
    "tonumber('8', 99)",
    "tonumber('x')",
    "tonumber()",
    "tostring(12.0)",
    "tostring(setmetatable({}, {__tostring = function() return 'me' end}))",
    "tostring(setmetatable({}, {__tostring = function() return 1 end}))",
    "select('#', 1, 2)",
    "select(2, 1, 2, 3)",
    "select(-1, 1, 2, 3)",
    "select(0)",
    "select('x')",
    "error('message')",
    "error('message', 0)",
    "error('message', 2)",
    "error('message', 'x')",
    "error()",
    "assert(false)",
    "assert(nil, 'why')",
    "assert(1, 2)",
    "pcall(error, 'x')",
    "xpcall(function() error('x', 0) end, function(m) return m .. '!' end)",
    "xpcall(function(...) return ... end, function() end, 1, 2, 3)",
    "xpcall(error, function(m) return m, 2 end, 'x')",
    "xpcall(1, function() end)",
    "xpcall(error)",
    "xpcall(error, 1)",
    "next({})",
    "next({10})",
    "next({10}, 1)",
    "next({10}, 'x')",
    "next()",
    "next(1)",
    "pairs()",
    "pairs(1)",
    "(function() local f, t, k = pairs({10}) return f(t, k) end)()",
    "pairs(setmetatable({}, {__pairs = function() return 1, 2, 3, 4 end}))",
    "(function() local n = 0 for k, v in pairs({1, 2, a = 3}) do n = n + v end return n end)()",
    "(function() local n = 0 for k, v in ipairs({1, 2, a = 3}) do n = n + v end return n end)()",
    "rawequal(1, 1.0)",
    "rawlen('abc')",
    "getmetatable(setmetatable({}, {__metatable = 'mine'}))",
    "setmetatable(setmetatable({}, {__metatable = 'mine'}), {})",
    "setmetatable({}, 1)",
    "setmetatable({})",
    "setmetatable(1, {})",
    "rawget(setmetatable({}, {__index = {x = 1}}), 'x')",
    "setmetatable({}, {__index = {x = 1}}).x",
    "type()",
    "type(print)",
};

TEST(every_call_returns_and_says_what_it_does_in_stock_lua)
{
    struct budget b;
    lua_State *L = open_cell(&b), *stock = open_stock();
    for (size_t i = 0; i < COUNT(calls); i++) {
        char script[600];
        /* A call that is no tail call, so that Lua knows the function's name. */
        snprintf(script, sizeof script,
                 "local function show(...)\n"
                 "  local t = table.pack(...)\n"
                 "  for i = 1, t.n do\n"
                 "    local kind = type(t[i])\n"
                 "    t[i] = kind .. (kind == 'function' and '' or ' ' .. tostring(t[i]))\n"
                 "  end\n"
                 "  return table.concat(t, ', ')\n"
                 "end\n"
                 "local print\n"
                 "return (show(pcall(function() return 0, %s end)))\n",
                 calls[i]);
        budget_begin(&b, &limits);
        const char *ours = evaluate(L, script);
        budget_end(&b);
        const char *theirs = evaluate(stock, script);
        if (strcmp(ours, theirs) != 0) fail_msg("%s: stock %s, ours %s", calls[i], theirs, ours);
        lua_settop(L, 0);
        lua_settop(stock, 0);
    }
    lua_close(L);
    lua_close(stock);
}

/* -- traps -- */

TEST(a_finalizer_cannot_be_set)
{
    check_run(
        "local ok, message = pcall(function() setmetatable({}, {__gc = function() end}) end)\n"
        "assert(message == \"rule:1: bad argument #2 to 'setmetatable' \"\n"
        "  .. '(in a rule no metatable has __gc)', message)\n"
        "assert(not pcall(setmetatable, {}, {__gc = false}))\n"
        "local mt = {}\n"
        "for i = 1, 1000 do setmetatable({}, mt) end\n"
        "mt.__gc = function() called = true while true do end end\n"
        "for i = 1, 10000 do local garbage = {} end\n"
        "assert(not called)\n"
        "assert(not pcall(setmetatable, {}, mt))\n");
}

/* In stock Lua a chain of 30,000 weak keys takes seconds to collect, in one step. */
TEST(no_table_is_weak_whenever_its_mode_is_set)
{
    check_run("assert(not pcall(setmetatable, {}, {__mode = 'k'}))\n"
              "local mt = {}\n"
              "local t = setmetatable({}, mt)\n"
              "mt.__mode = 'kv' rawset(mt, '__mo' .. 'de', 'kv')\n"
              "for i = 1, 100 do t[{}] = {} end\n"
              "for i = 1, 10000 do local garbage = {{}} end\n"
              "local n = 0\n"
              "for k in pairs(t) do n = n + 1 end\n"
              "assert(n == 100, n)\n");
    struct outcome o = run("local mt, links, seed = {}, {}, 1\n"
                           "local chain = setmetatable({}, mt)\n"
                           "mt.__mode = 'k'\n"
                           "for i = 1, 30000 do links[i] = {} end\n"
                           "for i = 30000, 2, -1 do\n"
                           "  seed = (seed * 1103515245 + 12345) & 0x7fffffff\n"
                           "  local j = seed % i + 1\n"
                           "  links[i], links[j] = links[j], links[i]\n"
                           "end\n"
                           "for i = 1, 29999 do chain[links[i]] = links[i + 1] end\n"
                           "local first = links[1]\n"
                           "links = nil\n"
                           "for i = 1, 20000 do local garbage = {{}} end\n");
    assert_false(o.failed);
    assert_true(o.ms < 4 * patience());
}

TEST(the_metatable_of_strings_is_out_of_reach)
{
    check_run("assert(getmetatable('') == false)\n"
              "assert(not pcall(setmetatable, '', {}))\n"
              "assert(('x'):rep(2) == 'xx')\n");
}

TEST(repeating_nothing_ends_at_once)
{
    check_run("assert(string.rep('', 1000000000000000000) == '')\n"
              "assert(string.rep('', math.maxinteger, '') == '')\n");
    assert_true(run("string.rep('x', math.maxinteger)").spent);
    assert_true(run("string.rep('', math.maxinteger, 'x')").spent);
    assert_true(run("string.rep(('x'):rep(1000), 1 << 58)").spent);
}

TEST(a_table_that_lies_about_its_contents_is_refused)
{
    check_run("local function f() return 1e15 // 1 | 0 end\n"
              "for _, field in ipairs {'__len', '__index', '__newindex'} do\n"
              "  for name, arguments in pairs {insert = {1}, remove = {}, sort = {}, concat = {}, "
              "unpack = {},\n"
              "                                move = {1, 1, 1}} do\n"
              "    local liar = setmetatable({1, 2}, {[field] = f})\n"
              "    local ok, message = pcall(table[name], liar, table.unpack(arguments))\n"
              "    assert(not ok and message:find('a table whose metatable has ' .. field .. ' is "
              "no array', 1,\n"
              "      true), name .. ': ' .. tostring(message))\n"
              "  end\n"
              "  assert(not pcall(table.move, {1}, 1, 1, 1, setmetatable({}, {[field] = f})))\n"
              "end\n"
              "local t = setmetatable({3, 1, 2}, {__tostring = f})\n"
              "table.sort(t)\n"
              "assert(table.concat(t) == '123')\n");
}

TEST(a_handler_that_never_ends_is_stopped)
{
    assert_true(
        run("xpcall(function() while true do end end, function() while true do end end)").spent);
    assert_true(run("xpcall(string.find, function() while true do end end, ('a'):rep(300),\n"
                    "  ('a-'):rep(4) .. 'b')")
                    .spent);
    assert_true(
        run("local t <close> = setmetatable({}, {__close = function() while true do end end})\n"
            "while true do end")
            .spent);
}

TEST(what_pcall_catches_of_a_spent_budget_is_raised_again)
{
    struct outcome o = run("while true do pcall(function() while true do end end) end");
    assert_true(o.failed && o.spent);
    o = run("local function f(n) if n > 0 then pcall(f, n - 1) end while true do end end f(100)");
    assert_true(o.failed && o.spent);
}

/* -- sorting -- */

TEST(sorting_gives_what_stock_lua_gives)
{
    static const char *const script =
        "local t, seed, out = {}, 1, {}\n"
        "local function random(n) seed = seed * 1103515245 + 12345 & 0x7fffffff return (seed >> 8) "
        "% n end\n"
        "for round = 1, 300 do\n"
        "  local n, kinds = random(80), random(100) + 1\n"
        "  t = {}\n"
        "  for i = 1, n do\n"
        "    t[i] = random(kinds)\n"
        "    if round % 3 == 0 then t[i] = ('%c\\0%d'):format(65 + t[i] % 3, t[i]) end\n"
        "    if round % 3 == 1 then t[i] = t[i] / 2 end\n"
        "  end\n"
        "  if round % 2 == 0 then table.sort(t) else table.sort(t, function(a, b) return a > b "
        "end) end\n"
        "  out[round] = table.concat(t, ' ')\n"
        "end\n"
        "return table.concat(out, ';')\n";
    struct budget b;
    lua_State *L = open_cell(&b), *stock = open_stock();
    assert_string_equal(evaluate(L, script), evaluate(stock, script));
    lua_close(L);
    lua_close(stock);
}

TEST(sorting_is_stable_and_leaves_the_table_alone_when_a_comparison_raises)
{
    check_run("local t = {}\n"
              "for i = 1, 1000 do t[i] = {key = i * 7919 % 10, at = i} end\n"
              "table.sort(t, function(a, b) return a.key < b.key end)\n"
              "for i = 2, 1000 do\n"
              "  local a, b = t[i - 1], t[i]\n"
              "  assert(a.key < b.key or a.key == b.key and a.at < b.at)\n"
              "end\n"
              "local numbers, calls = {}, 0\n"
              "for i = 1, 100 do numbers[i] = i * 37 % 101 end\n"
              "local before = table.concat(numbers, ' ')\n"
              "assert(not pcall(table.sort, numbers, function(a, b)\n"
              "  calls = calls + 1\n"
              "  if calls == 300 then error('enough') end\n"
              "  numbers[calls % 100 + 1] = numbers[calls % 100 + 1]\n"
              "  return a < b\n"
              "end))\n"
              "assert(table.concat(numbers, ' ') == before)\n");
}

TEST(sorting_ends_whatever_the_comparison_says)
{
    static const char *const comparisons[] = {
        "function() return true end",
        "function() return false end",
        "function() n = n + 1 return n % 3 == 0 end",
        "function(a, b) return a ~= b end",
        "function(a, b) t[n] = nil n = n + 1 return a < b end",
        "function(a, b) setmetatable(t, {__index = function() return 1 end}) return a < b end",
        "rawequal",
        "math.max",
        "pcall",
        "select",
    };
    for (size_t i = 0; i < COUNT(comparisons); i++) {
        char script[400];
        snprintf(script, sizeof script,
                 "n, t = 1, {}\n"
                 "for i = 1, 1000 do t[i] = i * 7919 %% 1009 end\n"
                 "pcall(table.sort, t, %s)\n",
                 comparisons[i]);
        check_run(script);
    }
}

/* -- as an attacker would -- */

static const char *const attacks[] = {
    "table.move({}, 1, 1000000000000000, 2)",
    "table.move({}, math.mininteger, -2, 1)",
    "local t = {} for i = 1, 30000 do t[i] = i end while true do table.insert(t, 1, 0) end",
    "local t = {} for i = 1, 30000 do t[i] = i end while true do table.remove(t, 1) t[#t + 1] = 0 "
    "end",
    "local t = {} for i = 1, 30000 do t[i] = '' end while true do table.concat(t) end",
    "local t = {} for i = 2, 30000 do t[i] = '' end while true do table.concat(t, '', 2, 30000) "
    "end",
    "local t = {} for i = 1, 60 do t[i] = ('x'):rep(10000) end while true do table.concat(t) end",
    "local t = {} while true do pcall(table.unpack, t, 1, 100000) end",
    "local t = {} while true do select('#', table.unpack(t, 1, 200)) end",
    "local t = {} for i = 1, 20000 do t[i] = i * 7919 % 20011 end while true do table.sort(t) end",
    "local t = {} for i = 1, 20000 do t[i] = i * 7919 % 20011 end while true do pcall(table.sort, "
    "t, pcall) end",
    "local t = {} for i = 1, 200 do t[i] = ('x'):rep(20000) .. i end while true do table.sort(t) "
    "end",
    "local t = {} for i = 1, 100000 do t[i] = i end for i = 1, 100000 do t[i] = nil end\n"
    "while true do next(t) end",
    "local t = {} for i = 1, 100000 do t[i] = i end for i = 2, 100000 do t[i] = nil end\n"
    "while true do next(t, 1) end",
    "local t = {} for i = 1, 100000 do t[i] = i end for i = 2, 100000 do t[i] = nil end\n"
    "while true do for _ in pairs(t) do end end",
    "local t = {} for i = 1, 50000 do t[i + 0.5] = i end for k in pairs(t) do t[k] = nil end\n"
    "while true do pcall(next, t) end",
    "local s = ('x'):rep(100000) while true do s:byte(1, -1) end",
    "local s = ('x'):rep(100000) while true do s:sub(2) end",
    "local s = ('x'):rep(1000000) while true do s:lower() end",
    "local s = ('x'):rep(1000000) while true do s:reverse() end",
    "while true do ('x'):rep(100000) end",
    "while true do ('x'):rep(10, ('y'):rep(10000)) end",
    "local s = ('\\x80'):rep(1000000)\n"
    "while true do pcall(utf8.offset, s, 0, #s) pcall(utf8.len, s) pcall(utf8.codepoint, s, 1, -1) "
    "end",
    "local s = ('x'):rep(1000000) while true do utf8.offset(s, 1000000) utf8.offset(s, -1000000) "
    "end",
    "local s = ('x'):rep(1000000) while true do utf8.len(s) end",
    "local s, f = 'a' .. ('\\x80'):rep(1000000), utf8.codes('a') while true do pcall(f, s, 1) end",
    "local s = ('0'):rep(1000000) .. 1 while true do math.floor(s) end",
    "local s = ('0'):rep(1000000) .. 1 while true do tonumber(s) tonumber(s, 10) end",
    "local s = ('0'):rep(1000000) .. 1 while true do local n = s + 1 end",
    "local s = ('0'):rep(1000000) .. 1 while true do local n = -s end",
    "local s = ('0'):rep(1000000) .. 1 while true do local a = ('x'):sub(s), ('x'):byte(s), "
    "('x'):rep(s) end",
    "local s = ('0'):rep(1000000) .. 1 while true do select(s, 1) end",
    "local s = ('0'):rep(1000000) .. 1 while true do table.unpack({}, s, s) table.remove({1}, s) "
    "end",
    "local s = ('0'):rep(1000000) .. 1 while true do table.concat({1}, '', s, s) end",
    "local s = ('0'):rep(1000000) .. 1 while true do utf8.offset('x', s) utf8.len('x', s) end",
    "local s = ('0'):rep(1000000) .. 1 while true do pcall(error, 'x', s) end",
    "local s = ('0'):rep(1000000) .. 1 while true do ('%d'):format(s) end",
    "local t, f = {}, ('%99.99f'):rep(200) for i = 1, 200 do t[i] = 1e308 end\n"
    "while true do f:format(table.unpack(t)) end",
    "local f = ('%99.99f'):rep(3) while true do f:format('1e308', '1e308', '1e308') end",
    "local s = ('x'):rep(100000) while true do ('%s'):format(s) end",
    "local s = ('\"'):rep(100000) while true do ('%q'):format(s) end",
    "while true do pcall(string.format, '%s', setmetatable({}, {__tostring = function() while true "
    "do end end})) end",
    "local function f(n) if n > 0 then return 1 + f(n - 1) end while true do pcall(error, 'x', "
    "100000) end end\n"
    "f(50000)",
    "local function f() return pcall(f) end while true do f() end",
    "local function f() return tostring(setmetatable({}, {__tostring = f})) end while true do "
    "pcall(f) end",
    "local function f() table.sort({1, 2}, f) end while true do pcall(f) end",
    "local function f(s) return (s:gsub('.+', f)) end while true do pcall(f, 'aaa') end",
    "while true do pcall(pcall, pcall, pcall, pcall, error) end",
    "local t = {} while true do t[#t + 1] = ('x'):rep(1000) end",
    "local s = 'x' while true do s = s .. s end",
    "local s = 'x' while true do pcall(function() s = s .. s end) end",
};

TEST(no_attack_outlasts_its_budget)
{
    double limit =
        3 * patience(); /* of ordinary calls, pcall() is what costs most for its instructions */
    for (size_t i = 0; i < COUNT(attacks); i++) {
        struct outcome o = run(attacks[i]);
        if (getenv("V") != NULL)
            print_message("%7.1f ms %s %s\n", o.ms, o.spent ? "spent " : o.error, attacks[i]);
        if (!o.failed || o.ms > limit) fail_msg("%s: %s after %.1f ms", attacks[i], o.error, o.ms);
    }
}

/* Every function with arguments that mean harm. What is looked for is an end, and what sanitizers
 * and valgrind find. */
static const char *const mischief =
    "local functions, pool, seed = {}, {}, ...\n"
    "local function random(n) seed = seed * 1103515245 + 12345 & 0x7fffffff return (seed >> 8) % n "
    "+ 1 end\n"
    "for _, lib in ipairs {_G, string, table, math, utf8} do\n"
    "  for _, f in pairs(lib) do if type(f) == 'function' then functions[#functions + 1] = f end "
    "end\n"
    "end\n"
    "local lie = function() return random(3) == 1 and 1 << 50 or nil end\n"
    "pool = {0, 1, 2, -1, 3, 7, 1.5, 1e308, -0.0, 0/0, math.huge, math.maxinteger, "
    "math.mininteger, 1 << 31,\n"
    "  1 << 53, '', 'a', '12', '0x7f', ('a'):rep(300), ('\\x80'):rep(300), '%', '%d%s%99.99f', "
    "'[a-', '(.-)%1',\n"
    "  ('.-'):rep(9) .. 'b', 'h\\u{e4}\\u{7fffffff}', '\\0', true, false, {}, {1, 2, 3}, {3, 1, 2, "
    "n = 9}, {[5] = 1},\n"
    "  setmetatable({}, {__len = lie, __index = lie, __newindex = lie}),\n"
    "  setmetatable({1, 2}, {__tostring = lie, __name = 'x', __eq = lie, __lt = lie, __call = "
    "lie}),\n"
    "  setmetatable({}, {__pairs = pcall, __metatable = 1}), function(...) return ... end, lie, "
    "pcall, error,\n"
    "  select, string.rep, string.gsub, table.sort, table.unpack, next, xpcall, setmetatable, 'k', "
    "'__index'}\n"
    "while true do\n"
    "  local f, t = functions[random(#functions)], {}\n"
    "  for i = 1, random(6) - 1 do t[i] = pool[random(#pool + 1)] end\n"
    "  local ok, a = pcall(f, table.unpack(t, 1, 5))\n"
    "  if ok and type(a) == 'function' then pcall(a, table.unpack(t, 1, 3)) end\n"
    "end\n";

TEST(no_function_survives_bad_company_beyond_its_budget)
{
    double limit = patience();
    for (int seed = 1; seed <= 200; seed++) {
        struct budget b;
        lua_State *L = open_cell(&b);
        assert_int_equal(luaL_loadstring(L, mischief), LUA_OK);
        lua_pushinteger(L, seed);
        int64_t started = clock_thread_cpu_ns();
        budget_begin(&b, &(struct budget_limits){200000, 64 << 20, 0});
        assert_int_not_equal(lua_pcall(L, 1, 0, 0), LUA_OK);
        budget_end(&b);
        double ms = (double)(clock_thread_cpu_ns() - started) / 1e6;
        if (b.spent == NULL) fail_msg("seed %d: %s", seed, lua_tostring(L, -1));
        if (ms > limit) fail_msg("seed %d takes %.1f ms", seed, ms);
        lua_close(L);
    }
}

/* -- memory -- */

static int l_everything(lua_State *L)
{
    static const char *const script =
        "local t = {}\n"
        "for i = 1, 100 do t[i] = tostring(i * 7919 % 101) end\n"
        "table.sort(t) table.sort(t, function(a, b) return a > b end)\n"
        "local s = table.concat(t, ', ')\n"
        "s:rep(20):upper():reverse():gsub('%d', {['1'] = 'x'})\n"
        "for _, c in utf8.codes(s) do end\n"
        "table.insert(t, 1, s) table.remove(t, 1) table.move(t, 1, 9, 3) table.unpack(t)\n"
        "xpcall(error, function(m) return m .. s end, 'x')\n"
        "for k, v in pairs {a = 1} do end\n"
        "pcall(setmetatable, {}, {__gc = 1}) pcall(table.concat, {{}})\n"
        "return ('%s %99.99f'):format(s, 1e308), '10' + 1\n";
    bounded_open(L);
    if (luaL_loadstring(L, script) != LUA_OK) return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

TEST(no_allocation_that_fails_leaks) { test_heap_sweep(l_everything); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(a_cell_has_these_functions_and_nothing_else),
        CHECK(every_call_returns_and_says_what_it_does_in_stock_lua),
        CHECK(a_finalizer_cannot_be_set),
        CHECK(no_table_is_weak_whenever_its_mode_is_set),
        CHECK(the_metatable_of_strings_is_out_of_reach),
        CHECK(repeating_nothing_ends_at_once),
        CHECK(a_table_that_lies_about_its_contents_is_refused),
        CHECK(a_handler_that_never_ends_is_stopped),
        CHECK(what_pcall_catches_of_a_spent_budget_is_raised_again),
        CHECK(sorting_gives_what_stock_lua_gives),
        CHECK(sorting_is_stable_and_leaves_the_table_alone_when_a_comparison_raises),
        CHECK(sorting_ends_whatever_the_comparison_says),
        CHECK(no_attack_outlasts_its_budget),
        CHECK(no_function_survives_bad_company_beyond_its_budget),
        CHECK(no_allocation_that_fails_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
