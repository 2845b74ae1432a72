#include "tests/c/test.h"
#include "store/store.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "host/loader.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char folder[64], path[100];

static int make_folder(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/store", test_folder(folder));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    test_remove(folder);
    return 0;
}

#define IN_FOLDER(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

static int try_open(struct store **out, const char *where, struct err *e)
{
    const struct embedded *schema = embedded_find("runtime/store/schema.sql");
    return store_open(out, where, (const char *)schema->data, schema->size, e);
}

static struct store *open_store(const char *where)
{
    struct store *s = NULL;
    struct err e = {0};
    if (try_open(&s, where, &e) < 0) fail_msg("%s", e.text);
    return s;
}

/* Runs one statement to its end; what came of it. */
static int run(struct store *s, const char *sql, struct err *e)
{
    struct statement *st;
    int rc = store_prepare(s, sql, &st, e);
    while (rc == 0 && (rc = statement_step(st, e)) > 0) rc = 0;
    if (st != NULL) statement_reset(st);
    return rc;
}

static void must_run(struct store *s, const char *sql)
{
    struct err e = {0};
    if (run(s, sql, &e) < 0) fail_msg("%s: %s", sql, e.text);
}

/* The first column of the first row; -1 without one. */
static int64_t number(struct store *s, const char *sql)
{
    struct statement *st;
    struct err e = {0};
    if (store_prepare(s, sql, &st, &e) < 0) fail_msg("%s: %s", sql, e.text);
    int64_t n = statement_step(st, &e) == 1 ? statement_integer(st, 0) : -1;
    statement_reset(st);
    return n;
}

static void set(struct store *s, const char *name, const char *value, size_t len)
{
    struct statement *st;
    struct err e = {0};
    assert_int_equal(store_prepare(s, "insert or replace into settings values (?, ?)", &st, &e), 0);
    statement_bind_text(st, 1, name, strlen(name));
    statement_bind_text(st, 2, value, len);
    if (statement_step(st, &e) < 0) fail_msg("%s", e.text);
    statement_reset(st);
}

static int64_t count(struct store *s) { return number(s, "select count(*) from settings"); }

/* -- opening -- */

TEST(a_new_store_has_the_schema_and_writes_ahead)
{
    struct store *s = open_store(path);
    char log[110];
    struct stat st;
    assert_int_equal(
        number(s, "select count(*) from pragma_journal_mode where journal_mode = 'wal'"), 1);
    assert_int_equal(number(s, "pragma foreign_keys"), 1);
    assert_true(number(s, "pragma user_version") >= 1);
    static const char *const tables[] = {"signals", "models", "incidents",   "plans",   "decisions",
                                         "actions", "audit",  "rule_faults", "settings"};
    for (size_t i = 0; i < COUNT(tables); i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "select count(*) from %s", tables[i]);
        assert_int_equal(number(s, sql), 0);
    }
    set(s, "a", "1", 1);
    snprintf(log, sizeof log, "%s-wal", path);
    assert_int_equal(stat(log, &st), 0);
    store_close(s);
    assert_int_equal(stat(log, &st), -1); /* an orderly end leaves one file */
    store_close(NULL);
}

TEST(what_was_stored_is_there_when_it_is_opened_again)
{
    struct store *s = open_store(path);
    set(s, "a", "1", 1);
    store_close(s);
    s = open_store(path);
    assert_int_equal(count(s), 1);
    store_close(s);
}

TEST(a_store_in_memory_keeps_nothing)
{
    struct store *s = open_store(":memory:"), *other = open_store(":memory:");
    set(s, "a", "1", 1);
    assert_int_equal(count(other), 0);
    store_close(s);
    store_close(other);
}

static int migrate(struct store **out, const char *sql, struct err *e)
{
    return store_open(out, path, sql, strlen(sql), e);
}

TEST(migrations_are_run_once_each_and_in_order)
{
    static const char first[] = "-- migration 1\ncreate table t (a);\ninsert into t values (1);\n";
    char both[200];
    struct store *s;
    struct err e = {0};
    snprintf(both, sizeof both, "%s-- migration 2\ninsert into t values (10); -- the last\n",
             first);
    assert_int_equal(migrate(&s, first, &e), 0);
    assert_int_equal(number(s, "pragma user_version"), 1);
    store_close(s);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(migrate(&s, both, &e), 0);
        assert_int_equal(number(s, "select sum(a) from t"), 11);
        assert_int_equal(number(s, "pragma user_version"), 2);
        store_close(s);
    }
}

TEST(a_migration_that_fails_leaves_what_was_there)
{
    static const char good[] = "-- migration 1\ncreate table t (a);\n";
    static const char bad[] = "-- migration 1\ncreate table t (a);\n"
                              "-- migration 2\ninsert into t values (1);\nnonsense;\n";
    struct store *s;
    struct err e = {0};
    assert_true(migrate(&s, bad, &e) < 0);
    assert_non_null(strstr(e.text, "nonsense"));
    assert_int_equal(migrate(&s, good, &e), 0);
    assert_int_equal(number(s, "select count(*) from t"), 0);
    assert_int_equal(number(s, "pragma user_version"), 1);
    store_close(s);
}

/* -- what is refused -- */

static void assert_refused(const char *where, int code, const char *words)
{
    struct store *s = NULL;
    struct err e = {0};
    int rc = try_open(&s, where, &e);
    if (rc != code || e.code != code || strstr(e.text, words) == NULL)
        fail_msg("%s: %d, %s", where, rc, e.text);
}

static void write_file(const char *bytes, size_t len, long at)
{
    FILE *f = fopen(path, at > 0 ? "r+" : "w");
    fseek(f, at, SEEK_SET);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

TEST(a_file_that_is_no_database_is_refused_and_left_alone)
{
    char text[5000], after[sizeof text];
    memset(text, 'x', sizeof text);
    write_file(text, sizeof text, 0);
    assert_refused(path, -EUCLEAN, "not a database");
    FILE *f = fopen(path, "r");
    assert_int_equal(fread(after, 1, sizeof after, f), sizeof after);
    fclose(f);
    assert_memory_equal(text, after, sizeof text);
}

TEST(a_place_that_cannot_be_written_is_refused)
{
    char beneath[120];
    write_file("", 0, 0);
    snprintf(beneath, sizeof beneath, "%s/store", path);
    assert_refused(beneath, -EACCES, "cannot open");
    assert_refused(folder, -EACCES, "cannot open");
    assert_refused("/none/store", -EACCES, "cannot open");
    assert_refused("/proc/store", -EACCES, "cannot open"); /* nobody writes there, not even root */
}

TEST(a_file_that_may_only_be_read_is_refused)
{
    struct store *s = open_store(path);
    store_close(s);
    chmod(path, 0444);
    chmod(folder, 0555);
    pid_t child = fork();
    if (child == 0) { /* root may write everywhere, so: nobody in particular */
        struct err e = {0};
        if (geteuid() == 0 && setuid(65534) < 0) _exit(3);
        int rc = try_open(&s, path, &e);
        _exit(rc == -EACCES && e.text[0] != '\0' ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    chmod(folder, 0755);
    assert_int_equal(status, 0);
}

TEST(a_store_of_a_newer_version_is_refused_and_left_alone)
{
    struct store *s = open_store(path);
    must_run(s, "pragma user_version = 99");
    store_close(s);
    assert_refused(path, -EINVAL, "newer version (schema 99");
    static const char old[] = "-- migration 99\n";
    struct err e = {0};
    assert_int_equal(migrate(&s, old, &e), 0);
    assert_int_equal(count(s), 0);
    store_close(s);
}

TEST(damage_inside_the_file_is_told_when_it_is_met)
{
    struct store *s = open_store(path);
    char value[3000], zeros[4096];
    struct err e = {0};
    memset(value, 'x', sizeof value);
    for (int i = 0; i < 50; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        set(s, name, value, sizeof value);
    }
    int64_t pages = number(s, "pragma page_count"), size = number(s, "pragma page_size");
    store_close(s);
    memset(zeros, 0xa5, sizeof zeros);
    for (int64_t page = pages / 2; page < pages; page++)
        write_file(zeros, sizeof zeros, (long)(page * size));
    s = open_store(path); /* the first pages are whole */
    assert_int_equal(run(s, "select sum(length(value)) from settings", &e), -EUCLEAN);
    assert_non_null(strstr(e.text, "malformed"));
    assert_int_equal(number(s, "select count(*) from audit"), 0);
    store_close(s);
}

/* -- statements -- */

TEST(values_come_back_as_they_were_stored)
{
    static const char *const texts[] = {"", "plain", "a\0b", "\xff\xfe", "é😀"};
    static const size_t lengths[] = {0, 5, 3, 2, 6};
    struct store *s = open_store(":memory:");
    struct statement *st;
    struct err e = {0};
    size_t len;
    assert_int_equal(store_prepare(s, "select ?1, ?2, ?3 as x, ?4", &st, &e), 0);
    assert_int_equal(statement_parameters(st), 4);
    for (size_t i = 0; i < COUNT(texts); i++) {
        statement_bind_null(st, 1);
        statement_bind_integer(st, 2, INT64_MIN + (int64_t)i);
        statement_bind_number(st, 3, i == 0 ? NAN : 1e300);
        statement_bind_text(st, 4, texts[i], lengths[i]);
        assert_int_equal(statement_step(st, &e), 1);
        assert_int_equal(statement_columns(st), 4);
        assert_string_equal(statement_name(st, 2), "x");
        assert_int_equal(statement_type(st, 0), STATEMENT_NULL);
        assert_true(statement_integer(st, 1) == INT64_MIN + (int64_t)i);
        assert_int_equal(statement_type(st, 1), STATEMENT_INTEGER);
        assert_int_equal(statement_type(st, 2), i == 0 ? STATEMENT_NULL : STATEMENT_NUMBER);
        assert_true(i == 0 || statement_number(st, 2) == 1e300);
        assert_int_equal(statement_type(st, 3), STATEMENT_TEXT);
        const char *text = statement_text(st, 3, &len);
        assert_int_equal(len, lengths[i]);
        assert_memory_equal(text, texts[i], len);
        assert_int_equal(statement_step(st, &e), 0);
        statement_reset(st);
    }
    assert_int_equal(statement_step(st, &e), 1); /* a reset forgets what was bound */
    assert_int_equal(statement_type(st, 3), STATEMENT_NULL);
    statement_reset(st);
    store_close(s);
}

TEST(a_statement_is_prepared_once)
{
    struct store *s = open_store(":memory:");
    struct statement *a, *b;
    struct err e = {0};
    char sql[] = "select 1";
    assert_int_equal(store_prepare(s, "select 1", &a, &e), 0);
    assert_int_equal(store_prepare(s, sql, &b, &e), 0);
    assert_ptr_equal(a, b);
    store_close(s);
}

TEST(what_is_not_one_statement_is_refused)
{
    static const char *const sql[] = {
        "",       " ;",      "-- nothing",         "select 1; select 2",
        "select", "selec 1", "select * from none", "select 1 -- a\n; x"};
    struct store *s = open_store(":memory:");
    for (size_t i = 0; i < COUNT(sql); i++) {
        struct err e = {0};
        if (run(s, sql[i], &e) == 0 || e.text[0] == '\0') fail_msg("taken: %s", sql[i]);
    }
    must_run(s, "select 1; \n\t;");
    store_close(s);
}

/* -- transactions -- */

TEST(a_transaction_is_all_or_nothing)
{
    struct store *s = open_store(path);
    struct err e = {0};
    for (int durable = 0; durable <= 1; durable++) {
        assert_int_equal(store_begin(s, durable, &e), 0);
        assert_true(store_in_transaction(s) && store_is_durable(s) == durable);
        assert_int_equal(number(s, "pragma synchronous"), durable ? 2 : 1);
        set(s, "a", "1", 1);
        assert_int_equal(store_begin(s, durable, &e), -EBUSY);
        store_rollback(s);
        assert_false(store_in_transaction(s));
        assert_int_equal(count(s), 0);
        store_rollback(s); /* without one it does nothing */
    }
    assert_int_equal(store_begin(s, true, &e), 0);
    set(s, "a", "1", 1);
    set(s, "b", "2", 1);
    must_run(s, "delete from settings where name = 'b'");
    assert_int_equal(store_changes(s), 1);
    assert_int_equal(store_commit(s, &e), 0);
    store_close(s);
    s = open_store(path);
    assert_int_equal(count(s), 1);
    store_close(s);
}

TEST(a_commit_that_fails_is_undone)
{
    struct store *s = open_store(path);
    struct err e = {0};
    assert_int_equal(store_begin(s, true, &e), 0);
    must_run(s, "pragma defer_foreign_keys = on");
    set(s, "a", "1", 1);
    must_run(s, "insert into decisions (plan_id, position, who, via, decision, at) "
                "values ('none', 1, 'x', 'api', 'approve', 0)");
    assert_int_equal(store_commit(s, &e), -EEXIST);
    assert_non_null(strstr(e.text, "FOREIGN KEY"));
    assert_false(store_in_transaction(s));
    assert_int_equal(count(s), 0);
    store_close(s);
}

TEST(an_action_is_in_the_journal_once_and_only_for_a_plan)
{
    static const char start[] = "insert into actions (plan_id, position, direction, name, target, "
                                "state, process, started_at) "
                                "values ('p', 1, 'forward', 'x', 't', 'started', 'me', 0)";
    struct store *s = open_store(":memory:");
    struct err e = {0};
    assert_int_equal(run(s, start, &e), -EEXIST); /* no such plan */
    must_run(s,
             "insert into plans (id, digest, playbook, target, trust, state, actions, created_at, "
             "expires_at) values ('p', '', '', '', 'auto', 'running', '[]', 0, 0)");
    must_run(s, start);
    assert_int_equal(run(s, start, &e), -EEXIST);
    assert_non_null(strstr(e.text, "UNIQUE"));
    must_run(s, "insert into audit values (1, '{}', 'x')");
    assert_int_equal(run(s, "insert into audit values (1, '{}', 'y')", &e), -EEXIST);
    store_close(s);
}

TEST(of_two_writers_one_waits_and_then_gives_up)
{
    struct store *s = open_store(path), *other = open_store(path);
    struct err e = {0};
    assert_int_equal(store_begin(s, true, &e), 0);
    set(s, "a", "1", 1);
    assert_int_equal(count(other), 0); /* a reader sees what was, and need not wait */
    int64_t began = clock_monotonic_ms();
    assert_int_equal(store_begin(other, true, &e), -EBUSY);
    assert_true(clock_monotonic_ms() - began >= 1000);
    assert_false(store_in_transaction(other));
    assert_int_equal(store_commit(s, &e), 0);
    assert_int_equal(store_begin(other, true, &e), 0);
    assert_int_equal(count(other), 1);
    store_rollback(other);
    store_close(s);
    store_close(other);
}

/* -- what the world does -- */

TEST(what_was_committed_survives_being_killed)
{
    pid_t child = fork();
    if (child == 0) {
        struct store *s = open_store(path);
        struct err e = {0};
        for (int durable = 0; durable <= 1; durable++) {
            if (store_begin(s, durable, &e) < 0) _exit(1);
            set(s, durable ? "a" : "b", "1", 1);
            if (store_commit(s, &e) < 0) _exit(1);
        }
        if (store_begin(s, true, &e) < 0) _exit(1);
        set(s, "half done", "1", 1);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    struct store *s = open_store(path);
    assert_int_equal(count(s), 2);
    assert_int_equal(number(s, "select count(*) from pragma_integrity_check "
                               "where integrity_check = 'ok'"),
                     1);
    store_close(s);
}

/* No file may grow beyond so many bytes: what a full disk is like. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

TEST(a_disk_that_is_full_undoes_the_transaction_and_no_more)
{
    struct store *s = open_store(path);
    struct err e = {0};
    set(s, "a", "1", 1);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(40000);
    assert_int_equal(store_begin(s, true, &e), 0);
    must_run(s, "insert into settings values ('b', hex(zeroblob(100000)))");
    int rc = store_commit(s, &e);
    limit_files(RLIM_INFINITY);
    assert_true(rc == -EIO || rc == -ENOSPC);
    assert_true(e.code == rc && e.text[0] != '\0');
    assert_false(store_in_transaction(s));
    assert_int_equal(count(s), 1);
    assert_int_equal(store_begin(s, true, &e), 0); /* and with room again it goes on */
    set(s, "b", "2", 1);
    assert_int_equal(store_commit(s, &e), 0);
    store_close(s);
    s = open_store(path);
    assert_int_equal(count(s), 2);
    store_close(s);
}

/* -- without memory -- */

static bool starved;
static sqlite3_mem_methods memory;
static void *allocate(int n) { return starved ? NULL : memory.xMalloc(n); }
static void *reallocate(void *p, int n) { return starved ? NULL : memory.xRealloc(p, n); }

TEST(a_text_that_cannot_be_kept_is_not_stored_as_something_else)
{
    struct store *s = open_store(":memory:");
    struct statement *st;
    struct err e = {0};
    char text[3000];
    memset(text, 'x', sizeof text);
    assert_int_equal(
        store_prepare(s, "insert into signals (name, error) values ('a', coalesce(?, ''))", &st,
                      &e),
        0);
    starved = true;
    statement_bind_text(st, 1, text, sizeof text);
    starved = false;
    assert_int_equal(statement_step(st, &e), -ENOMEM);
    assert_int_equal(number(s, "select count(*) from signals"), 0);
    statement_reset(st);
    statement_bind_text(st, 1, text, sizeof text);
    assert_int_equal(statement_step(st, &e), 0);
    statement_reset(st);
    assert_int_equal(number(s, "select length(error) from signals"), sizeof text);
    store_close(s);
}

TEST(a_rollback_needs_no_memory)
{
    struct store *s = open_store(path);
    struct err e = {0};
    assert_int_equal(store_begin(s, true, &e), 0);
    must_run(s, "insert into settings values ('a', hex(zeroblob(10000)))");
    starved = true;
    store_rollback(s);
    starved = false;
    assert_false(store_in_transaction(s));
    assert_int_equal(count(s), 0);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_new_store_has_the_schema_and_writes_ahead),
        IN_FOLDER(what_was_stored_is_there_when_it_is_opened_again),
        IN_FOLDER(a_store_in_memory_keeps_nothing),
        IN_FOLDER(migrations_are_run_once_each_and_in_order),
        IN_FOLDER(a_migration_that_fails_leaves_what_was_there),
        IN_FOLDER(a_file_that_is_no_database_is_refused_and_left_alone),
        IN_FOLDER(a_place_that_cannot_be_written_is_refused),
        IN_FOLDER(a_file_that_may_only_be_read_is_refused),
        IN_FOLDER(a_store_of_a_newer_version_is_refused_and_left_alone),
        IN_FOLDER(damage_inside_the_file_is_told_when_it_is_met),
        CHECK(values_come_back_as_they_were_stored),
        CHECK(a_statement_is_prepared_once),
        CHECK(what_is_not_one_statement_is_refused),
        IN_FOLDER(a_transaction_is_all_or_nothing),
        IN_FOLDER(a_commit_that_fails_is_undone),
        CHECK(an_action_is_in_the_journal_once_and_only_for_a_plan),
        IN_FOLDER(of_two_writers_one_waits_and_then_gives_up),
        IN_FOLDER(what_was_committed_survives_being_killed),
        IN_FOLDER(a_disk_that_is_full_undoes_the_transaction_and_no_more),
        CHECK(a_text_that_cannot_be_kept_is_not_stored_as_something_else),
        IN_FOLDER(a_rollback_needs_no_memory),
    };
    alarm(120); /* what hangs is ended */
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    sqlite3_mem_methods starving = memory;
    starving.xMalloc = allocate;
    starving.xRealloc = reallocate;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &starving);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
