/* The modules that deal with the world, with every allocation failing once: Lua's in turn, and then
 * those of C, of SQLite and of curl below them. */
#include "tests/c/bindings/sweep.h"

#include <glob.h>

#include <curl/curl.h>
#include <sqlite3.h>

#define realloc sweep_realloc
#include "runtime/host/budget.c"
#undef realloc

/* -- files -- */

static const char file[] =
    "local m, folder = require 'perigee.file', os.getenv 'TMPDIR'\n"
    "local path, text = folder .. '/a/b', ('x'):rep(70000)\n"
    "assert(m.make_folder(path) and m.write(path .. '/x', text)) arm()\n"
    "assert(m.read(path .. '/x') == text and not m.read(path) and not m.read '/none')\n"
    "assert(not m.read(path .. '/x', 5) and m.stat(path .. '/x').size == 70000)\n"
    "assert(#m.glob(path .. '/*x') == 1 and #m.glob '/none/*' == 0 and m.executable())\n"
    "local lock <close> = assert(m.lock(folder .. '/lock')) assert(not m.lock(folder .. '/lock'))\n"
    "assert(not m.make_folder '/dev/null/x' and not m.write('/none/x', '') and not m.stat '/none')";
TEST(file_survives_lua_without_memory) { sweep_lua(file, 30); }
TEST(file_survives_c_without_memory) { sweep_c(file, 3); }

TEST(no_temporary_folder_is_left_without_memory)
{
    char pattern[100];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/sweep-*", getenv("TMPDIR"));
    sweep_lua("assert(os.remove(require 'perigee.file'.temporary_folder 'sweep'))", 10);
    assert_int_equal(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

/* -- the store -- */

static const char store[] =
    "local m = require 'perigee.store'\n"
    "local s <close> = m.open ':memory:' arm()\n"
    "assert(m.open(os.getenv 'TMPDIR' .. '/store')):close()\n"
    "s:transaction(function()\n"
    "  s:exec('insert into settings values (?, ?)', 'a', ('x'):rep(5000))\n"
    "  s:relaxed(function() s:exec('insert into settings values (?, ?)', 'b', 1.5) end)\n"
    "end)\n"
    "local ok = pcall(s.relaxed, s, function() s:exec 'delete from settings' error 'no' end)\n"
    "assert(not ok and not pcall(s.exec, s, 'nonsense'))\n"
    "local rows = s:rows 'select name, value from settings order by name'\n"
    "assert(#rows == 2 and #rows[1].value == 5000 and rows[2].value == '1.5')\n"
    "assert(not s:row('select 1 from settings where name = ?', 'c'))\n"
    "assert(not m.open '/none/store' and not pcall(s.transaction, s, function() s:close() end))";
TEST(store_survives_lua_without_memory) { sweep_lua(store, 60); }
TEST(store_survives_c_without_memory) { sweep_c(store, 500); }

/* -- tasks and processes -- */

TEST(task_survives_lua_without_memory)
{
    sweep_lua("local m = require 'perigee.task'\n"
              "local e, closed = m.event(), false\n"
              "local a = m.spawn(function(x) assert(not e:wait(0)) m.sleep(0) e:set() return x, 2 "
              "end, 1)\n"
              "assert(select(2, a:await()) == 2 and e:wait(30) and a:state() == 'done')\n"
              "local b = m.spawn(function()\n"
              "  local guard <close> = setmetatable({}, {__close = function() closed = true end})\n"
              "  m.sleep(1000)\n"
              "end)\n"
              "assert(select(2, b:await(0)) == 'timeout') b:cancel()\n"
              "assert(select(2, b:await()) == 'cancelled' and closed, 'no memory')\n"
              "for _, f in ipairs {coroutine.yield, error, m.sleep} do\n"
              "  local c = m.spawn(f, {}) assert(not pcall(c.await, c))\n"
              "end",
              60);
}

static const char process[] =
    "local m = require 'perigee.process' arm()\n"
    "local p <close> = assert(m.start {'/bin/sh', '-c', 'cat; echo $A >&2; exit 3',\n"
    "  input = ('in'):rep(10000), env = {'A=b'}, cwd = '/'})\n"
    "local status, out, err, truncated = p:wait()\n"
    "assert(not truncated, 'no memory')\n"
    "assert(status == 3 and #out == 20000 and err == 'b\\n' and p:pid() > 1)\n"
    "local q <close> = assert(m.start {'/bin/sleep', '1000'})\n"
    "assert(q:running() and select(2, q:wait(0)) == 'timeout' and q:kill(9) and q:wait() == 137)\n"
    "assert(not m.start {'/none'} and not pcall(m.start, {'a', 1}))\n"
    "m.start {'/bin/sleep', '1000'}";
TEST(process_survives_lua_without_memory) { sweep_lua(process, 30); }
TEST(process_survives_c_without_memory) { sweep_c(process, 2); }

/* -- cells -- */

static const char rules[] =
    "local m = require 'perigee.rules' arm()\n"
    "local function check(value, fault)\n"
    "  if fault then error(fault.message) end\n"
    "  return value\n"
    "end\n"
    "local cell <close> = assert(m.cell('r.lua', '/none'))\n"
    "local r = check(cell:run([[signal 'a' {detector = function(x) return x.y, ('x'):rep(99) "
    "end}]]))\n"
    "local body = r.declarations[1].body\n"
    "local ok, y, text = cell:call(nil, body.detector.id, {y = {1}})\n"
    "assert(check(ok, not ok and y) and y[1] == 1 and #text == 99)\n"
    "ok, y = cell:call({instructions = 1000}, 99)\n"
    "assert(not ok and (y.kind == 'error' or y.kind == 'memory') and cell:usage() > 0)";
TEST(rules_survive_lua_without_memory) { sweep_lua(rules, 50); }
TEST(rules_survive_c_without_memory) { sweep_c(rules, 200); }

/* -- HTTP -- */

/* A transfer that curl has no memory to watch is ended by its time. */
static const char http[] =
    "local servers, client = require 'perigee.http_server', require 'perigee.http_client'\n"
    "local server <close> = assert(servers.serve({}, function(r)\n"
    "  return {status = 201, headers = {['X-Y'] = r.headers['x-a']}, body = r.body .. r.path}\n"
    "end))\n"
    "local url, body = 'http://127.0.0.1:' .. server:port() .. '/p?q', ('b'):rep(50000)\n"
    "local function post()\n"
    "  local r, message = client.request {method = 'POST', url = url, body = body, target = 'x', "
    "timeout = 0.3,\n"
    "    headers = {['X-A'] = 'b', Empty = ''}}\n"
    "  if not r then error('no memory: ' .. message, 0) end\n" /* a transfer that curl forgets too
                                                                */
    "  assert(r.status == 201, 'no memory for an answer')\n"
    "  assert(r.headers['x-y'] == 'b' and r.body == body .. '/p')\n"
    "end\n"
    "post() arm() post()\n"
    "assert(not client.request {url = 'http://127.0.0.1:1/'} and not client.request {url = 'x:'})\n"
    "assert(not client.request {url = url, guarded = true, refuse_port = server:port()})\n"
    "assert(not servers.serve({host = 'nowhere'}, print))";
TEST(http_survives_lua_without_memory) { sweep_lua(http, 100); }
TEST(http_survives_c_without_memory)
{
    sweep_least = 4096; /* bodies: the names of metrics are never refused */
    sweep_c(http, 30);
    sweep_least = 0;
}

/* An answer of more than is read ahead, so that reading it is held up and goes on. */
static const char stream[] =
    "local servers, client = require 'perigee.http_server', require 'perigee.http_client'\n"
    "local server <close> = assert(servers.serve({}, function()\n"
    "  return {body = (('x'):rep(99999) .. '\\n'):rep(6) .. 'rest'}\n"
    "end))\n"
    "local url = 'http://127.0.0.1:' .. server:port() .. '/'\n"
    "local function read()\n"
    "  local s <close> = assert(client.stream {url = url, headers = {['X-A'] = 'b'}})\n"
    "  local n, line = 0\n"
    "  while true do\n"
    "    line = s:next()\n"
    "    if line then n = n + 1\n"
    "    elseif s:answer() ~= false then break\n"
    "    elseif not s:wait(0.3) then error('no memory', 0) end\n"
    "  end\n"
    "  local r, message = s:answer()\n"
    "  if not r then error('no memory: ' .. message, 0) end\n"
    "  assert(r.status == 200, 'no memory for an answer')\n"
    "  assert(n == 7 and r.body == '')\n"
    "end\n"
    "read() arm() read()\n"
    "local s = assert(client.stream {url = url}) s:wait(0.3) s:close() s:close()\n"
    "assert(not s:next() and not s:answer() and not client.stream {url = 'x:'})";
TEST(stream_survives_lua_without_memory) { sweep_lua(stream, 20); }
TEST(stream_survives_c_without_memory)
{
    sweep_least = 4096;
    sweep_c(stream, 5);
    sweep_least = 0;
}

/* An answer in pieces is whole, or is seen not to be. */
static const char pieces[] =
    "local servers, client = require 'perigee.http_server', require 'perigee.http_client'\n"
    "local server <close> = assert(servers.serve({}, function()\n"
    "  return {status = 201, headers = {['X-Y'] = 'z'}, stream = function(send)\n"
    "    for i = 1, 5 do if not send(('x'):rep(20000)) then error 'no memory' end end\n"
    "  end}\n"
    "end))\n"
    "local function read()\n"
    "  local r, message = client.request {url = 'http://127.0.0.1:' .. server:port() .. '/',\n"
    "    timeout = 0.3}\n"
    "  if not r then error('no memory: ' .. message, 0) end\n"
    "  assert(r.status == 201, 'no memory for an answer')\n"
    "  assert(r.body == ('x'):rep(100000), 'not whole')\n"
    "end\n"
    "read() arm() read()";
TEST(pieces_survive_lua_without_memory) { sweep_lua(pieces, 20); }
TEST(pieces_survive_c_without_memory)
{
    sweep_least = 4096;
    sweep_c(pieces, 5);
    sweep_least = 0;
}

/* -- the allocator of SQLite -- */

static sqlite3_mem_methods sqlite_memory;
static void *sqlite_malloc(int n) { return sweep_fails() ? NULL : sqlite_memory.xMalloc(n); }
static void *sqlite_realloc(void *p, int n)
{
    return sweep_fails() ? NULL : sqlite_memory.xRealloc(p, n);
}

static void grant_to_sqlite(void)
{
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory), SQLITE_OK);
    sqlite3_mem_methods refusing = sqlite_memory;
    refusing.xMalloc = sqlite_malloc;
    refusing.xRealloc = sqlite_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &refusing), SQLITE_OK);
    assert_int_equal(sqlite3_initialize(), SQLITE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(file_survives_lua_without_memory),
        CHECK(file_survives_c_without_memory),
        CHECK(no_temporary_folder_is_left_without_memory),
        CHECK(store_survives_lua_without_memory),
        CHECK(store_survives_c_without_memory),
        CHECK(task_survives_lua_without_memory),
        CHECK(process_survives_lua_without_memory),
        CHECK(process_survives_c_without_memory),
        CHECK(rules_survive_lua_without_memory),
        CHECK(rules_survive_c_without_memory),
        CHECK(http_survives_lua_without_memory),
        CHECK(http_survives_c_without_memory),
        CHECK(stream_survives_lua_without_memory),
        CHECK(stream_survives_c_without_memory),
        CHECK(pieces_survive_lua_without_memory),
        CHECK(pieces_survive_c_without_memory),
    };
    char folder[64];
    alarm(300); /* what hangs is ended */
    setenv("TMPDIR", test_folder(folder), 1);
    grant_to_sqlite();
    curl_global_init_mem(CURL_GLOBAL_DEFAULT, sweep_malloc, free, sweep_realloc, sweep_strdup,
                         sweep_calloc);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_remove(folder);
    return rc;
}
