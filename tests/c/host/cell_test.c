#include "tests/c/test.h"
#include "host/cell.h"

#include <errno.h>
#include <sys/stat.h>

#include <lualib.h>

#include "base/clock.h"
#include "bindings/bind.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char folder[64], printed[200];
static struct cell *cell;
static lua_State *engine;

static const struct budget_limits plenty = {10000000, 64 << 20, 5000};

static void on_print(void *ud, const char *name, const char *text)
{
    assert_null(ud);
    snprintf(printed, sizeof printed, "%s|%s", name, text);
}

static struct cell *new_cell(const char *name)
{
    struct cell_options o = {
        .name = name, .folder = folder, .c_modules = bind_cell_modules, .print = on_print};
    struct cell *c = NULL;
    struct err e = {0};
    if (cell_open(&c, &o, &e) < 0) fail_msg("%s", e.text);
    return c;
}

static int open_cell(void **state)
{
    (void)state;
    test_folder(folder);
    printed[0] = '\0';
    engine = luaL_newstate();
    luaL_openlibs(engine);
    cell = new_cell("rules/a.lua");
    return 0;
}

static int close_cell(void **state)
{
    (void)state;
    cell_close(cell);
    lua_close(engine);
    test_remove(folder);
    return 0;
}

#define WITH_CELL(name) cmocka_unit_test_setup_teardown(name, open_cell, close_cell)

static void write_file(const char *name, const char *content, size_t len)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    fwrite(content, 1, len, f);
    fclose(f);
}

/* Runs the file in a new cell; what it declared is the engine's global `r`. */
static int run_within(const char *source, const struct budget_limits *limits, struct fault *f)
{
    lua_settop(engine, 0);
    cell_close(cell);
    cell = new_cell("rules/a.lua");
    int rc = cell_run(cell, source, strlen(source), limits, engine, f);
    assert_int_equal(lua_gettop(engine), 1);
    lua_setglobal(engine, "r");
    return rc;
}

static void must_run(const char *source)
{
    struct fault f = {0};
    if (run_within(source, &plenty, &f) < 0) fail_msg("%s:%d: %s", f.file, f.line, f.message);
}

static void assert_engine(const char *condition)
{
    char check[400];
    snprintf(check, sizeof check, "assert(%s)", condition);
    if (luaL_dostring(engine, check) != LUA_OK) fail_msg("not %s", condition);
}

/* Calls a function with what the engine's code returns; its results are the engine's stack. */
static int call_within(int function, const char *arguments, const struct budget_limits *limits,
                       int *n, struct fault *f)
{
    lua_settop(engine, 0);
    if (luaL_dostring(engine, arguments) != LUA_OK) fail_msg("%s", lua_tostring(engine, -1));
    int top = lua_gettop(engine);
    int rc = cell_call(cell, engine, function, 1, limits, n, f);
    assert_int_equal(lua_gettop(engine), top + (rc == 0 ? *n : 0));
    lua_rotate(engine, 1, lua_gettop(engine) - top);
    return rc;
}

static void assert_fault(const struct fault *f, const char *kind, const char *file, int line,
                         const char *words)
{
    if (strcmp(f->kind, kind) != 0 || strcmp(f->file, file) != 0 || f->line != line ||
        strstr(f->message, words) == NULL)
        fail_msg("%s at %s:%d: %s; expected %s at %s:%d: %s", f->kind, f->file, f->line, f->message,
                 kind, file, line, words);
}

/* -- declaring and calling -- */

TEST(what_a_file_declares_arrives_as_data)
{
    must_run("signal 'a' { query = 'up', detector = threshold { above = 1 } }\n"
             "incident 'b' { signals = { signal 'a' } }\n"
             "signal 'c' { query = 'x', detector = function(v) return v end }");
    assert_engine("#r.declarations == 3 and r.declarations[1].kind == 'signal'");
    assert_engine("r.declarations[2].line == 2 and r.declarations[1].body.query == 'up'");
    assert_engine("r.declarations[3].body.detector.kind == 'function'");
    assert_engine("r.declarations[3].body.detector.id == 1");
}

TEST(a_function_is_called_with_copies_and_gives_copies)
{
    int n;
    struct fault f = {0};
    must_run("kept = {}\n"
             "signal 'a' { query = 'x', detector = function(t, ...)\n"
             "  t.seen = true kept[#kept + 1] = t\n"
             "  return t, select('#', ...), #kept, kept\n"
             "end }");
    assert_int_equal(call_within(1, "t = {x = {1}} return t, nil, 2", &plenty, &n, &f), 0);
    assert_int_equal(n, 4);
    lua_pushvalue(engine, 1);
    lua_setglobal(engine, "copy");
    assert_engine("copy ~= t and t.seen == nil and copy.seen and copy.x[1] == 1");
    assert_int_equal(lua_tointeger(engine, 2), 2);
    assert_int_equal(lua_tointeger(engine, 3), 1);
    assert_int_equal(call_within(1, "copy.x = nil return {}", &plenty, &n, &f), 0);
    lua_pushvalue(engine, 4);
    lua_setglobal(engine, "kept");
    assert_engine("#kept == 2 and kept[1].x[1] == 1"); /* the cell has its own */
}

TEST(results_beyond_eight_are_dropped)
{
    int n = 0;
    struct fault f = {0};
    must_run("signal 'a' { query = 'x', detector = function(...) return ... end }");
    assert_int_equal(call_within(1, "return 1, 2, 3, 4, 5, 6, 7, 8, 9, 10", &plenty, &n, &f), 0);
    assert_int_equal(n, 8);
    assert_int_equal(call_within(1, "", &plenty, &n, &f), 0);
    assert_int_equal(n, 0);
}

TEST(what_cannot_cross_is_the_rules_fault)
{
    static const char *const results[] = {"print", "{a = print}", "setmetatable({}, {})[1] or _G"};
    for (size_t i = 0; i < COUNT(results); i++) {
        char source[200];
        int n;
        struct fault f = {0};
        snprintf(source, sizeof source,
                 "\nsignal 'a' { query = 'x', detector = function()\n"
                 "return %s end }",
                 results[i]);
        must_run(source);
        assert_int_equal(call_within(1, "", &plenty, &n, &f), -EINVAL);
        assert_fault(&f, "error", "rules/a.lua", 2, "the result");
    }
    int n;
    struct fault f = {0};
    must_run("signal 'a' { query = 'x', detector = function() end }");
    assert_int_equal(call_within(1, "return print", &plenty, &n, &f), -EINVAL); /* nor back in */
    assert_non_null(strstr(f.message, "the argument is a function"));
    assert_int_equal(call_within(99, "", &plenty, &n, &f), -EINVAL);
    assert_non_null(strstr(f.message, "no function 99"));
    assert_int_equal(call_within(-1, "", &plenty, &n, &f), -EINVAL);
}

TEST(two_cells_share_nothing)
{
    struct fault f = {0};
    struct cell *other = new_cell("rules/b.lua");
    must_run("mine, string.format, table.sort = 1, nil, nil");
    static const char source[] =
        "signal 'a' { query = ('%d'):format(1), detector = threshold {} }\n"
        "table.sort {} assert(rawget(_G, 'mine') == nil)";
    int rc = cell_run(other, source, strlen(source), &plenty, engine, &f);
    cell_close(other);
    if (rc < 0) fail_msg("%s", f.message);
}

TEST(print_goes_where_the_host_wants_it)
{
    must_run("print('a', 1, nil, true)");
    assert_string_equal(printed, "rules/a.lua|a\t1\tnil\ttrue");
}

/* -- faults -- */

TEST(every_kind_of_fault_names_its_line)
{
    static const struct {
        const char *source, *kind;
        int line;
        const char *words;
    } cases[] = {
        {"\n\nlocal x = = 1", "error", 3, "unexpected symbol"},
        {"\nerror 'bad'", "error", 2, "bad"},
        {"\n\nlocal x = nil + 1", "error", 3, "arithmetic on a nil value"},
        {"\nerror {}", "error", 2, "error object is a table"},
        {"\nsignal(5)", "error", 2, "a name in quotes"},
        {"\nlocal function f()\n  signal 'a' (5)\nend\nf()", "error", 3, "takes a table"},
        {"\nno_such_word 'a'", "error", 2, "no_such_word"},
        {"\nsignal 'a'", "error", 2, "only named"},
        {"\n\nwhile true do end", "instructions", 3, "more than 10000000 instructions"},
        {"\nwhile true do local t = {1, 2, 3, 4, 5, 6, 7, 8, 9} end", "allocation", 2, "64 MiB"},
        {"\nlocal function f()\n  return 1 + f()\nend\nf()", "depth", 3, "deep"},
        {"\nlocal t = {}\nfor i = 1, 1e9 do t[i] = {} end", "memory", 3, "16 MiB"},
        {"\nlocal s = ('x'):rep(200000)", "memory", 2, "128 KiB for one text"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fault f = {0};
        if (run_within(cases[i].source, &plenty, &f) == 0) fail_msg("runs: %s", cases[i].source);
        assert_fault(&f, cases[i].kind, "rules/a.lua", cases[i].line, cases[i].words);
    }
}

TEST(cpu_time_is_a_limit_of_its_own)
{
    const struct budget_limits limits = {(int64_t)1 << 60, (size_t)1 << 60, 20};
    struct fault f = {0};
    int64_t began = clock_thread_cpu_ns();
    assert_int_equal(run_within("\nwhile true do end", &limits, &f), -EINVAL);
    assert_true(clock_thread_cpu_ns() - began < 1000000000);
    assert_fault(&f, "cpu", "rules/a.lua", 2, "more than 20 ms");
}

TEST(what_was_declared_before_the_fault_is_kept)
{
    struct fault f = {0};
    assert_int_equal(run_within("signal 'a' { query = 'x', detector = threshold {} }\nerror 'bad'\n"
                                "signal 'b' { query = 'x', detector = threshold {} }",
                                &plenty, &f),
                     -EINVAL);
    assert_engine("#r.declarations == 1 and r.declarations[1].name == 'a'");
}

TEST(a_call_that_fails_costs_the_next_one_nothing)
{
    const struct budget_limits limits = {20000, 1 << 20, 1000};
    must_run("signal 'a' { query = 'x', detector = function(what)\n"
             "  if what == 'loop' then while true do end end\n"
             "  if what == 'hoard' then local t = {} while true do t[#t + 1] = {} end end\n"
             "  if what == 'error' then error 'bad' end\n"
             "  return 'well'\n"
             "end }");
    static const char *const ways[] = {"return 'loop'", "return 'hoard'", "return 'error'"};
    static const int lines[] = {2, 3, 4};
    lua_gc(engine, LUA_GCCOLLECT);
    size_t used = 0;
    for (int round = 0; round < 30; round++) {
        int n;
        struct fault f = {0};
        assert_int_equal(call_within(1, ways[round % 3], &limits, &n, &f), -EINVAL);
        assert_int_equal(f.line, lines[round % 3]);
        assert_int_equal(call_within(1, "return 'x'", &limits, &n, &f), 0);
        assert_string_equal(lua_tostring(engine, 1), "well");
        if (round == 5) used = cell_budget(cell)->used;
        assert_true(round <= 5 || cell_budget(cell)->used < used + 20000);
    }
}

/* -- escapes -- */

TEST(nothing_of_the_world_is_within_reach)
{
    static const char *const attempts[] = {
        "io.open '/etc/passwd'",
        "os.execute 'true'",
        "os.getenv 'HOME'",
        "os.exit(1)",
        "os.time()",
        "debug.getregistry()",
        "debug.sethook()",
        "debug.getupvalue(print, 1)",
        "package.loadlib('x', 'y')",
        "package.loaded.io.open 'x'",
        "load 'return 1'",
        "loadstring 'return 1'",
        "loadfile '/etc/passwd'",
        "dofile '/etc/passwd'",
        "collectgarbage 'stop'",
        "coroutine.create(print)",
        "string.dump(function() end)",
        "require 'io'",
        "require 'os'",
        "require 'debug'",
        "require 'http'",
        "require 'async'",
        "require 'json'",
        "require 'perigee.file'",
        "require 'perigee.process'",
        "require 'perigee.http_client'",
        "require 'perigee.rules'",
        "require 'engine.plan'",
        "require 'rules.sandbox'",
        "require '../secret'",
        "require '..secret'",
        "require '/etc/passwd'",
        "require '.hidden'",
        "require ''",
        "require 'a\\0b'",
        "require(('x'):rep(300))",
        "host.file 'x'",
        "_ENV.io.open 'x'",
        "_G._G.os.exit(1)",
        "getmetatable('').__index.rep = nil",
        "setmetatable({}, {__gc = function() end})",
        "setmetatable(_G, nil).io.open 'x'",
        "getmetatable(print).__index()",
        "getmetatable(signal 'a').__call = nil error 'x'",
    };
    for (size_t i = 0; i < COUNT(attempts); i++) {
        struct fault f = {0};
        if (run_within(attempts[i], &plenty, &f) == 0) fail_msg("it got through: %s", attempts[i]);
        if (strcmp(f.kind, "error") != 0) fail_msg("%s: %s", attempts[i], f.kind);
    }
}

TEST(what_a_rule_does_to_its_globals_does_not_reach_what_lies_beneath)
{
    int n;
    struct fault f = {0};
    must_run(
        "local unknown = function() error 'taken over' end\n"
        "for name in pairs(_G) do if name ~= 'signal' and name ~= '_G' then _G[name] = unknown "
        "end end\n"
        "signal 'a' { query = 'x', detector = function() return 5 end }");
    assert_int_equal(call_within(1, "", &plenty, &n, &f), 0);
    assert_int_equal(lua_tointeger(engine, 1), 5);
}

TEST(bytecode_is_no_rule_file)
{
    struct fault f = {0};
    assert_int_equal(luaL_dostring(engine, "code = string.dump(load 'signal_ = 1')"), LUA_OK);
    lua_getglobal(engine, "code");
    size_t len;
    const char *code = lua_tolstring(engine, -1, &len);
    write_file("binary.lua", code, len);
    assert_int_equal(cell_run(cell, code, len, &plenty, engine, &f), -EINVAL);
    assert_non_null(strstr(f.message, "binary chunk"));
    assert_int_equal(run_within("require 'binary'", &plenty, &f), -EINVAL);
    assert_non_null(strstr(f.message, "binary chunk"));
}

/* -- files beside the rules -- */

TEST(files_beside_the_rules_are_required_once_and_named_with_their_digest)
{
    write_file("shared.lua", "n = (rawget(_G, 'n') or 0) + 1 return {n = n, name = ...}", 57);
    char sub[100];
    snprintf(sub, sizeof sub, "%s/team", folder);
    mkdir(sub, 0755);
    write_file("team/x.lua", "return 'deep'", 13);
    must_run("local a, b = require 'shared', require 'shared' assert(a == b and a.n == 1)\n"
             "assert(a.name == 'shared' and require 'team.x' == 'deep')");
    assert_engine(
        "(function() local n = 0 for path, digest in pairs(r.files) do\n"
        "assert(#digest == 64 and path:find '%.lua$') n = n + 1 end return n == 2 end)()");
}

TEST(what_is_wrong_in_a_required_file_is_told_at_that_file)
{
    static char large[200000];
    struct fault f = {0};
    char path[150];
    memset(large, ' ', sizeof large);
    write_file("broken.lua", "\n\nx = = 1", 9);
    write_file("raises.lua", "\nerror 'bad'", 12);
    write_file("large.lua", large, sizeof large);
    write_file("one.lua", "require 'two'", 13);
    write_file("two.lua", "\nrequire 'one'", 14);
    assert_int_equal(run_within("require 'broken'", &plenty, &f), -EINVAL);
    snprintf(path, sizeof path, "%s/broken.lua", folder);
    assert_fault(&f, "error", path, 3, "unexpected symbol");
    assert_int_equal(run_within("require 'raises'", &plenty, &f), -EINVAL);
    snprintf(path, sizeof path, "%s/raises.lua", folder);
    assert_fault(&f, "error", path, 2, "bad");
    assert_int_equal(run_within("\nrequire 'large'", &plenty, &f), -EINVAL);
    assert_fault(&f, "error", "rules/a.lua", 2, "larger than 127 KiB");
    assert_int_equal(run_within("\nrequire 'none'", &plenty, &f), -EINVAL);
    assert_fault(&f, "error", "rules/a.lua", 2, "No such file");
    assert_int_equal(run_within("require 'one'", &plenty, &f), -EINVAL);
    snprintf(path, sizeof path, "%s/two.lua", folder);
    assert_fault(&f, "error", path, 2, "requires itself");
}

TEST(no_file_is_read_once_the_rules_are_loaded)
{
    int n;
    struct fault f = {0};
    write_file("late.lua", "return 1", 8);
    must_run("signal 'a' { query = 'x', detector = function() return require 'late' end }");
    assert_int_equal(call_within(1, "", &plenty, &n, &f), -EINVAL);
    assert_fault(&f, "error", "rules/a.lua", 1, "only while the rules are loaded");
}

/* -- life -- */

TEST(a_cell_is_small_and_counts_what_it_has_done)
{
    assert_true(cell_budget(cell)->used < 120000);
    must_run("for i = 1, 100000 do end");
    assert_true(cell_budget(cell)->total_instructions >= 100000);
    cell_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CELL(what_a_file_declares_arrives_as_data),
        WITH_CELL(a_function_is_called_with_copies_and_gives_copies),
        WITH_CELL(results_beyond_eight_are_dropped),
        WITH_CELL(what_cannot_cross_is_the_rules_fault),
        WITH_CELL(two_cells_share_nothing),
        WITH_CELL(print_goes_where_the_host_wants_it),
        WITH_CELL(every_kind_of_fault_names_its_line),
        WITH_CELL(cpu_time_is_a_limit_of_its_own),
        WITH_CELL(what_was_declared_before_the_fault_is_kept),
        WITH_CELL(a_call_that_fails_costs_the_next_one_nothing),
        WITH_CELL(nothing_of_the_world_is_within_reach),
        WITH_CELL(what_a_rule_does_to_its_globals_does_not_reach_what_lies_beneath),
        WITH_CELL(bytecode_is_no_rule_file),
        WITH_CELL(files_beside_the_rules_are_required_once_and_named_with_their_digest),
        WITH_CELL(what_is_wrong_in_a_required_file_is_told_at_that_file),
        WITH_CELL(no_file_is_read_once_the_rules_are_loaded),
        WITH_CELL(a_cell_is_small_and_counts_what_it_has_done),
    };
    alarm(120); /* what hangs is ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
