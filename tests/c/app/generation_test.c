#include "tests/c/test.h"
#include "app/generation.h"

#include <errno.h>
#include <malloc.h>

#include "base/log.h"
#include "host/loader.h"
#include "host/task.h"
#include "loop/timer.h"

/* -- a daemon that is only what a generation needs of it -- */

struct daemon {
    struct store *store;
    const char *refusal; /* why there is no store; or NULL */
};

int daemon_prepare(struct daemon *d, const struct daemon_needs *needs, struct store **store,
                   struct err *e)
{
    assert_true(needs->port == 9747 && needs->max_body > 0 && needs->drain_ms == 30000);
    *store = d->store;
    return d->refusal != NULL ? err_set(e, -EBUSY, "%s", d->refusal) : 0;
}

const char *daemon_process(const struct daemon *d) { return d != NULL ? "process-1" : ""; }
double daemon_started_at(const struct daemon *d) { return d != NULL ? 1 : 0; }

int daemon_start(struct host *h, const char *path, daemon_done_fn *done, void *ud, struct err *e)
{
    (void)h, (void)path, (void)done, (void)ud;
    return err_set(e, -ENOSYS, "no");
}

void daemon_stop(struct daemon *d) { (void)d; }

struct daemon_waiter *daemon_reload(struct daemon *d, daemon_reload_fn *done, void *ud)
{
    (void)d, (void)done, (void)ud;
    return NULL;
}

void daemon_forget(struct daemon_waiter *w) { (void)w; }

const char *daemon_last_reload(const struct daemon *d, double *at, const struct lines **problems)
{
    static const struct lines none;
    (void)d;
    *at = 0;
    *problems = &none;
    return "none yet";
}

static struct daemon process;
static struct host host;
static char folder[64], config[100];

static void write_file(const char *name, const char *text)
{
    char path[120];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void write_config(const char *more)
{
    char text[500];
    snprintf(text, sizeof text,
             "source: { prometheus: { url: \"http://127.0.0.1:1\" } }\nrules: [\"*.lua\"]\nlog: { "
             "level: error }\n%s",
             more);
    write_file("perigee.yaml", text);
}

static int open_all(void **state)
{
    const struct embedded *schema = embedded_find("runtime/store/schema.sql");
    struct err e = {0};
    (void)state;
    log_setup(LOG_OFF, false);
    snprintf(config, sizeof config, "%s/perigee.yaml", test_folder(folder));
    write_config("");
    write_file("a.lua", "signal 'a' { query = 'up', detector = threshold { above = 1 } }\n");
    process = (struct daemon){0};
    host = (struct host){.daemon = &process};
    if (loop_open(&host.loop) < 0) return -1;
    return store_open(&process.store, ":memory:", (const char *)schema->data, schema->size, &e);
}

static int close_all(void **state)
{
    (void)state;
    http_client_close(host.http);
    store_close(process.store);
    loop_close(host.loop);
    test_remove(folder);
    return 0;
}

#define WITH_DAEMON(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

/* -- building -- */

struct build {
    struct generation *g;
    bool built;
    char kind[20], problems[2000]; /* "" where it may be activated; a problem a line */
};

static void on_built(void *ud, struct generation *g, const char *kind, const struct lines *problems)
{
    struct build *b = ud;
    assert_false(b->built); /* once */
    assert_ptr_equal(b->g, g);
    b->built = true;
    snprintf(b->kind, sizeof b->kind, "%s", kind != NULL ? kind : "");
    for (size_t i = 0; i < problems->n; i++) {
        size_t len = strlen(b->problems);
        snprintf(b->problems + len, sizeof b->problems - len, "%s\n", problems->line[i]);
    }
}

static struct build build(const char *active_digest)
{
    struct build b = {0};
    struct err e = {0};
    if (generation_build(&b.g, &host, config, active_digest, on_built, &b, &e) < 0)
        fail_msg("%s", e.text);
    assert_false(b.built); /* never from inside */
    loop_run(host.loop, &b.built);
    assert_true(b.built);
    return b;
}

static struct generation *must_build(void)
{
    struct build b = build(NULL);
    if (b.kind[0] != '\0') fail_msg("%s: %s", b.kind, b.problems);
    return b.g;
}

TEST(what_is_right_may_be_activated)
{
    struct generation *g = must_build();
    assert_int_equal(strlen(g->digest), HASH_HEX - 1);
    struct generation *again = must_build();
    assert_string_equal(again->digest, g->digest);
    write_file("a.lua", "signal 'a' { query = 'down', detector = threshold { above = 1 } }\n");
    struct generation *other = must_build();
    assert_string_not_equal(other->digest, g->digest);
    generation_close(g);
    generation_close(again);
    generation_close(other);
    generation_close(NULL);
}

static void assert_refused(const char *active_digest, const char *kind, const char *words)
{
    struct build b = build(active_digest);
    if (strcmp(b.kind, kind) != 0 || strstr(b.problems, words) == NULL)
        fail_msg("\"%s\": %s", b.kind, b.problems);
    generation_close(b.g);
}

TEST(what_is_wrong_is_told_of_its_kind_and_with_all_that_is)
{
    write_file("b.lua", "\nsignal 'b' { query = 'up', detecter = 1 }\n");
    write_file("c.lua", "signal 'c' (\n");
    struct build b = build(NULL);
    generation_close(b.g);
    assert_string_equal(b.kind, "rules");
    assert_non_null(strstr(b.problems, "b.lua:2"));
    assert_non_null(strstr(b.problems, "c.lua:"));
    write_config("nonsense: 1\nlisten: nowhere\n");
    assert_refused(NULL, "config", "nonsense");
    assert_refused(NULL, "config", "perigee.yaml:5");
    write_file("perigee.yaml", "a: [");
    assert_refused(NULL, "config", "perigee.yaml:");
    config[strlen(config) - 1] = 'x';
    assert_refused(NULL, "config", "No such file");
}

TEST(the_same_again_is_nothing_to_do)
{
    struct generation *g = must_build();
    assert_refused(g->digest, "unchanged", "");
    generation_close(g);
}

TEST(what_the_process_cannot_give_is_no_fault_of_the_files)
{
    process.refusal = "data_dir: in use";
    assert_refused(NULL, "start", "data_dir: in use");
    process.refusal = NULL;
    host.daemon = NULL;
    assert_refused(NULL, "internal", "there is no daemon in this process\nstack traceback:");
}

static void never(void *ud, struct generation *g, const char *kind, const struct lines *problems)
{
    (void)ud, (void)g, (void)kind, (void)problems;
    fail_msg("told");
}

TEST(a_build_that_is_given_up_tells_nobody)
{
    struct generation *g;
    struct err e = {0};
    assert_int_equal(generation_build(&g, &host, config, NULL, never, NULL, &e), 0);
    assert_false(generation_is_idle(g));
    generation_close(g);
    loop_run(host.loop, NULL);
}

/* -- a life -- */

static void never_due(void *ud) { (void)ud; }

/* Some turns of the loop, whether or not there is something that it could wait for. */
static void turn(int n)
{
    struct timer *far = timer_start(host.loop, 3600000, never_due, NULL);
    while (n-- > 0) {
        uv_run(loop_uv(host.loop), UV_RUN_NOWAIT);
        usleep(1000);
    }
    timer_stop(far);
}

TEST(it_is_activated_drained_and_closed)
{
    struct generation *g = must_build();
    struct err e = {0};
    if (generation_activate(g, true, &e) < 0) fail_msg("%s", e.text);
    assert_false(generation_is_idle(g)); /* it evaluates */
    turn(20);
    assert_int_equal(generation_call(g, "kill", "a test", &e), 0);
    assert_int_equal(generation_call(g, "deactivate", NULL, &e), 0);
    while (!generation_is_idle(g)) turn(1);
    generation_close(g);
}

TEST(it_may_be_closed_in_the_middle_of_its_work)
{
    struct generation *g = must_build();
    struct err e = {0};
    assert_int_equal(generation_activate(g, false, &e), 0);
    turn(20);
    generation_close(g);
    loop_run(host.loop, NULL);
}

TEST(a_call_that_fails_is_an_error_and_leaves_nothing)
{
    struct generation *g = must_build();
    struct err e = {0};
    int top = lua_gettop(g->state->L);
    assert_int_equal(generation_call(g, "dance", NULL, &e), -EINVAL);
    assert_non_null(strstr(e.text, "no dance"));
    assert_int_equal(generation_call(g, "deactivate", NULL, &e), -EINVAL); /* never activated */
    assert_non_null(strstr(e.text, "scheduler"));
    assert_int_equal(lua_gettop(g->state->L), top);
    generation_close(g);
}

/* -- requests -- */

static void on_request(void *ud, struct http_exchange *x) { generation_handle(ud, x); }

struct answer {
    bool there;
    int status;
};

static void on_answer(void *ud, int rc, const struct err *e, struct http_response *r)
{
    struct answer *a = ud;
    if (rc < 0) fail_msg("%s", e->text);
    a->there = true;
    a->status = r->status;
}

TEST(it_answers_requests)
{
    struct generation *g = must_build();
    struct http_server_options o = {.host = "127.0.0.1",
                                    .max_body = 1000,
                                    .max_connections = 5,
                                    .request_ms = 5000,
                                    .answer_ms = 5000};
    struct http_server *server;
    struct http_call *call;
    struct err e = {0};
    assert_int_equal(generation_activate(g, true, &e), 0);
    assert_int_equal(http_server_open(&server, host.loop, &o, on_request, g, &e), 0);
    static const struct {
        const char *path;
        int status;
    } cases[] = {{"/-/healthy", 200}, {"/metrics", 200}, {"/api/v1/rules", 200}, {"/none", 404}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a = {0};
        char url[100];
        snprintf(url, sizeof url, "http://127.0.0.1:%d%s", http_server_port(server), cases[i].path);
        struct http_request r = {.method = "GET",
                                 .url = url,
                                 .timeout_ms = 20000,
                                 .connect_timeout_ms = 5000,
                                 .max_body = 1 << 20};
        assert_int_equal(http_start(host_http(&host), &r, on_answer, &a, &call, &e), 0);
        loop_run(host.loop, &a.there);
        if (a.status != cases[i].status) fail_msg("%s: %d", cases[i].path, a.status);
    }
    http_server_close(server);
    generation_close(g);
}

/* -- what is left -- */

TEST(generations_come_and_go_without_a_trace)
{
    size_t used = 0;
    int files = 0;
    for (int i = 0; i < 30; i++) {
        struct generation *g = must_build();
        struct err e = {0};
        assert_int_equal(generation_activate(g, i == 0, &e), 0);
        turn(5);
        generation_close(g);
        turn(5);
        if (i == 5) {
            used = mallinfo2().uordblks;
            files = test_open_files();
        }
    }
    assert_true(mallinfo2().uordblks < used + 200000); /* a generation alone has more */
    assert_true(test_open_files() <= files + 2);
}

TEST(lines_are_copies)
{
    struct lines a = {0}, b = {0};
    char text[] = "one";
    lines_add(&a, text);
    lines_add(&a, "two");
    text[0] = 'x';
    lines_add(&b, "gone");
    lines_copy(&b, &a);
    lines_free(&a);
    lines_free(&a);
    assert_int_equal(b.n, 2);
    assert_string_equal(b.line[0], "one");
    assert_string_equal(b.line[1], "two");
    lines_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DAEMON(what_is_right_may_be_activated),
        WITH_DAEMON(what_is_wrong_is_told_of_its_kind_and_with_all_that_is),
        WITH_DAEMON(the_same_again_is_nothing_to_do),
        WITH_DAEMON(what_the_process_cannot_give_is_no_fault_of_the_files),
        WITH_DAEMON(a_build_that_is_given_up_tells_nobody),
        WITH_DAEMON(it_is_activated_drained_and_closed),
        WITH_DAEMON(it_may_be_closed_in_the_middle_of_its_work),
        WITH_DAEMON(a_call_that_fails_is_an_error_and_leaves_nothing),
        WITH_DAEMON(it_answers_requests),
        WITH_DAEMON(generations_come_and_go_without_a_trace),
        CHECK(lines_are_copies),
    };
    alarm(120); /* what hangs is ended */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
