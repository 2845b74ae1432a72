/* The modules that only compute, with every allocation failing once: Lua's in turn, and then those
 * of C, of cJSON, of libyaml and of curl's URLs below them. */
#include "tests/c/bindings/sweep.h"

#include <curl/curl.h>

#define malloc sweep_malloc
#include "runtime/base/json.c"
#undef malloc

/* libyaml calls its own allocator by name, so these take its place. */
void *yaml_malloc(size_t n);
void *yaml_realloc(void *p, size_t n);
void yaml_free(void *p);
char *yaml_strdup(const char *s);
void *yaml_malloc(size_t n) { return sweep_malloc(n > 0 ? n : 1); }
void *yaml_realloc(void *p, size_t n) { return sweep_realloc(p, n > 0 ? n : 1); }
void yaml_free(void *p) { free(p); }
char *yaml_strdup(const char *s) { return s != NULL ? sweep_strdup(s) : NULL; }

TEST(clock_survives_lua_without_memory)
{
    sweep_lua("local m = require 'perigee.clock'\n"
              "assert(m.now() > 0 and m.monotonic() > 0 and m.cpu() > 0)\n"
              "assert(m.text(1.5) == '1970-01-01T00:00:01.500Z')",
              10);
}

TEST(hash_survives_lua_without_memory)
{
    sweep_lua("local m = require 'perigee.hash'\n"
              "assert(m.sha256 'abc':sub(1, 8) == 'ba7816bf' and #m.random(64) == 128)\n"
              "assert(m.equal('a', 'a') and not m.equal('a', 'b'))",
              10);
}

TEST(terminal_survives_lua_without_memory)
{
    sweep_lua("assert(not require 'perigee.terminal'.is_terminal(999))", 5);
}

TEST(go_format_survives_lua_without_memory)
{
    sweep_lua("local m = require 'perigee.go_format'\n"
              "assert(m.float(1e21, 'g') == '1e+21' and m.float(1.5, 'x', 3) == '0x1.800p+00')\n"
              "assert(m.float(1e300, 'f', 600):len() == 902)\n"
              "assert(m.float(3, 'b') == '6755399441055744p-51')\n"
              "assert(m.parse_float '0x1p-2' == 0.25)\n"
              "assert(m.parse_float('1_0.' .. ('0'):rep(600)))\n"
              "local x, why, inf = m.parse_float '-1e999' assert(not x and why and inf == -1 / 0)",
              10);
}

static const char url[] =
    "local m = require 'perigee.url' arm()\n"
    "local u = m.parse 'HTTP://u:p@Web.example:81/a/../b?q=1'\n"
    "assert(u, 'no memory: curl calls it a bad login')\n"
    "assert(u.has_user and u.host == 'web.example' and u.port == 81 and u.path == '/b')\n"
    "assert(u.query == 'q=1' and not m.parse 'ftp://x' and not m.parse 'http://[')\n"
    "assert(m.escape(('é/'):rep(9)):len() == 81 and m.unescape('%41+', true) == 'A ')";
TEST(url_survives_lua_without_memory) { sweep_lua(url, 20); }
TEST(url_survives_c_without_memory) { sweep_c(url, 20); }

static const char json[] =
    "local m = require 'perigee.json' arm()\n"
    "local t = assert(m.decode '{\"b\": [1, null, \"x\\\\u00e9\"], \"a\": {\"c\": true}, \"d\": "
    "1.5}')\n"
    "assert(t.b[2] == m.null and t.a.c and m.array()[1] == nil)\n"
    "assert(m.encode(t) == '{\"a\":{\"c\":true},\"b\":[1,null,\"xé\"],\"d\":1.5}')\n"
    "assert(m.encode({m.array {}, ('x'):rep(300)}, 2):find('\\n  []', 1, true))\n"
    "assert(not pcall(m.encode, {{print}}) and not pcall(m.encode, {[t] = 1}))\n"
    "assert(select(2, m.decode '[1') == 'invalid JSON at line 1, column 2')";
TEST(json_survives_lua_without_memory) { sweep_lua(json, 40); }
TEST(json_survives_c_without_memory) { sweep_c(json, 20); }

static const char yaml[] =
    "local m = require 'perigee.yaml' arm()\n"
    "local t, places = m.decode [[\n"
    "base: &base {a: 1, b: [x, 'y', 0x10]}\n"
    "more: {<<: *base, c: ~, d: .inf}\n"
    "text: |\n"
    "  a text\n"
    "]]\n"
    "if not t then error(places.message) end\n"
    "assert(t.more.a == 1 and t.base.b[3] == 16 and places[t.more].d[1] == 2)\n"
    "local function fails(text, line)\n"
    "  local none, e = m.decode(text)\n"
    "  assert(none == nil and e.line == line, e and e.message)\n"
    "end\n"
    "fails('a: 1\\na: 2', 2) fails('a: [', 2) fails('[a]: 1', 1) fails('\\x01', 1)";
TEST(yaml_survives_lua_without_memory) { sweep_lua(yaml, 60); }
TEST(yaml_survives_c_without_memory) { sweep_c(yaml, 60); }

TEST(log_survives_lua_without_memory)
{
    sweep_lua(
        "local m = require 'perigee.log' m.setup('info', true) m.capture(true)\n"
        "m.secret 'hunter22' assert(m.redact 'a hunter22' == 'a [redacted]')\n"
        "m.write('warn', 'a hunter22', {'b', 1.5, 'c', setmetatable({}, {__name = 'd'})})\n"
        "m.write('debug', 'none')\n"
        "local lines = m.capture(false) m.setup('off', false)\n"
        "assert(lines:find('a %[redacted%].*\"b\":\"1.5\",\"c\":\"d: ') and not lines:find 'none')",
        20);
}

static const char metrics[] =
    "local m = require 'perigee.metrics'\n"
    "local a = m.family('counter', 'sweep_total', 'Help.', 'x,y')\n"
    "local b = m.family('histogram', 'sweep_seconds', 'Help.', '', {1, 2})\n"
    "a:clear() b:clear() a:add(2, 'u', 'v') b:observe(1.5)\n"
    "m.family('gauge', 'sweep', 'Help.'):set(3)\n"
    "assert(a:value('u', 'v') == 2 and b:value() == 1)\n"
    "assert(not pcall(m.family, 'gauge', 'sweep_total', 'Help.'))\n"
    "arm()\n"
    "assert(m.expose(true):find('sweep_seconds_bucket{le=\"2.0\"} 1', 1, true))";
TEST(metrics_survives_lua_without_memory) { sweep_lua(metrics, 20); }
TEST(metrics_survives_c_without_memory) { sweep_c(metrics, 2); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(clock_survives_lua_without_memory),    CHECK(hash_survives_lua_without_memory),
        CHECK(terminal_survives_lua_without_memory), CHECK(go_format_survives_lua_without_memory),
        CHECK(url_survives_lua_without_memory),      CHECK(url_survives_c_without_memory),
        CHECK(json_survives_lua_without_memory),     CHECK(json_survives_c_without_memory),
        CHECK(yaml_survives_lua_without_memory),     CHECK(yaml_survives_c_without_memory),
        CHECK(log_survives_lua_without_memory),      CHECK(metrics_survives_lua_without_memory),
        CHECK(metrics_survives_c_without_memory),
    };
    alarm(120); /* what hangs is ended */
    curl_global_init_mem(CURL_GLOBAL_DEFAULT, sweep_malloc, free, sweep_realloc, sweep_strdup,
                         sweep_calloc);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
