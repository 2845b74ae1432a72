#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "base/map.h"
#include "base/memory.h"

struct store {
    sqlite3 *db;
    struct map statements;  /* struct statement by SQL text */
    sqlite3_stmt *rollback; /* made beforehand: it has to work when there is no memory */
    bool durable;           /* what PRAGMA synchronous is set to now */
};

struct statement {
    sqlite3_stmt *st;
    struct store *store;
    int bound; /* SQLITE_OK, or why a value could not be bound: then it does not run */
};

static int code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_NOMEM: return -ENOMEM;
    case SQLITE_FULL: return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return -EBUSY;
    case SQLITE_CONSTRAINT: return -EEXIST;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return -EUCLEAN;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM: return -EACCES;
    default: return -EIO;
    }
}

static int fail(const struct store *s, int rc, const char *doing, struct err *e)
{
    return err_set(e, code_of(rc), "store: %s: %s", doing, sqlite3_errmsg(s->db));
}

static int run(struct store *s, const char *sql, struct err *e)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : fail(s, rc, "cannot run a statement", e);
}

/* -- migrations -- */

static int user_version(struct store *s, int *version, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) *version = sqlite3_column_int(st, 0);
    int failed = rc == SQLITE_ROW ? 0 : fail(s, rc, "cannot read the version", e);
    sqlite3_finalize(st);
    return failed;
}

/* One that fails is undone when the store, which then does not open, is closed. */
static int apply(struct store *s, int number, const char *sql, struct err *e)
{
    char mark[64];
    snprintf(mark, sizeof mark, "PRAGMA user_version = %d", number);
    int rc = run(s, "BEGIN IMMEDIATE", e);
    if (rc == 0) rc = run(s, sql, e);
    if (rc == 0) rc = run(s, mark, e);
    if (rc == 0) rc = run(s, "COMMIT", e);
    return rc;
}

static int migrate(struct store *s, const char *sql, size_t len, struct err *e)
{
    static const char mark[] = "-- migration ";
    char *all = xmemdup0(sql, len), *at = strstr(all, mark);
    int present = 0, number = 0, rc = user_version(s, &present, e);
    while (at != NULL && rc == 0) {
        char *next = strstr(at + 1, mark);
        number = atoi(at + sizeof mark - 1);
        if (next != NULL) next[-1] = '\0';
        if (number > present) rc = apply(s, number, at, e);
        at = next;
    }
    free(all);
    if (rc == 0 && present > number)
        return err_set(e, -EINVAL,
                       "store: written by a newer version (schema %d, this one knows %d)", present,
                       number);
    return rc;
}

/* -- opening -- */

static int prepare(struct store *s, const char *sql, sqlite3_stmt **out, struct err *e)
{
    const char *rest = "";
    int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, &rest);
    if (rc != SQLITE_OK) return fail(s, rc, "cannot understand a statement", e);
    if (*out != NULL && rest[strspn(rest, " \t\r\n;")] == '\0') return 0;
    sqlite3_finalize(*out);
    return err_set(e, -EINVAL, "store: exactly one statement is expected");
}

int store_open(struct store **out, const char *path, const char *sql, size_t sql_len, struct err *e)
{
    struct store *s = xcalloc(1, sizeof *s);
    struct err why = {0};
    int rc = sqlite3_open_v2(
        path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        rc = err_set(e, code_of(rc), "store: cannot open %s: %s", path,
                     s->db != NULL ? sqlite3_errmsg(s->db) : "not enough memory");
        store_close(s);
        return rc;
    }
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, 2000);
    s->durable = true;
    rc = run(s,
             "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
             "PRAGMA trusted_schema = OFF; PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY",
             &why);
    if (rc == 0) rc = migrate(s, sql, sql_len, &why);
    if (rc == 0) rc = prepare(s, "ROLLBACK", &s->rollback, &why);
    if (rc < 0) {
        store_close(s);
        return err_set(e, rc, "%s: %s", path, why.text);
    }
    *out = s;
    return 0;
}

const char *store_library(void) { return sqlite3_libversion(); }

static void free_statement(void *value)
{
    struct statement *st = value;
    sqlite3_finalize(st->st);
    free(st);
}

void store_close(struct store *s)
{
    if (s == NULL) return;
    map_free(&s->statements, free_statement);
    sqlite3_finalize(s->rollback);
    sqlite3_close(s->db);
    free(s);
}

/* -- statements -- */

int store_prepare(struct store *s, const char *sql, struct statement **out, struct err *e)
{
    *out = map_get(&s->statements, sql);
    if (*out != NULL) return 0;
    sqlite3_stmt *raw = NULL;
    int rc = prepare(s, sql, &raw, e);
    if (rc < 0) return rc;
    struct statement *st = xcalloc(1, sizeof *st);
    st->st = raw;
    st->store = s;
    map_set(&s->statements, sql, st);
    *out = st;
    return 0;
}

void statement_bind_null(struct statement *st, int i) { sqlite3_bind_null(st->st, i); }

void statement_bind_integer(struct statement *st, int i, int64_t value)
{
    sqlite3_bind_int64(st->st, i, value);
}

void statement_bind_number(struct statement *st, int i, double value)
{
    sqlite3_bind_double(st->st, i, value);
}

void statement_bind_text(struct statement *st, int i, const char *text, size_t len)
{
    int rc = sqlite3_bind_text64(st->st, i, text, len, SQLITE_TRANSIENT, SQLITE_UTF8);
    if (rc != SQLITE_OK) st->bound = rc; /* of what is bound only this needs memory */
}

int statement_parameters(const struct statement *st)
{
    return sqlite3_bind_parameter_count(st->st);
}

int statement_step(struct statement *st, struct err *e)
{
    if (st->bound != SQLITE_OK)
        return err_set(e, code_of(st->bound), "store: cannot bind a value: %s",
                       sqlite3_errstr(st->bound));
    int rc = sqlite3_step(st->st);
    if (rc == SQLITE_ROW) return 1;
    if (rc == SQLITE_DONE) return 0;
    return fail(st->store, rc, "cannot run a statement", e);
}

void statement_reset(struct statement *st)
{
    sqlite3_reset(st->st);
    sqlite3_clear_bindings(st->st);
    st->bound = SQLITE_OK;
}

int statement_columns(const struct statement *st) { return sqlite3_column_count(st->st); }

const char *statement_name(const struct statement *st, int column)
{
    const char *name = sqlite3_column_name(st->st, column);
    return name != NULL ? name : "";
}

enum statement_type statement_type(const struct statement *st, int column)
{
    switch (sqlite3_column_type(st->st, column)) {
    case SQLITE_NULL: return STATEMENT_NULL;
    case SQLITE_INTEGER: return STATEMENT_INTEGER;
    case SQLITE_FLOAT: return STATEMENT_NUMBER;
    default: return STATEMENT_TEXT;
    }
}

int64_t statement_integer(const struct statement *st, int column)
{
    return sqlite3_column_int64(st->st, column);
}

double statement_number(const struct statement *st, int column)
{
    return sqlite3_column_double(st->st, column);
}

const char *statement_text(const struct statement *st, int column, size_t *len)
{
    const char *text = sqlite3_column_blob(st->st, column);
    *len = (size_t)sqlite3_column_bytes(st->st, column);
    return text != NULL ? text : "";
}

int64_t store_changes(const struct store *s) { return sqlite3_changes64(s->db); }

/* -- transactions -- */

bool store_in_transaction(const struct store *s) { return sqlite3_get_autocommit(s->db) == 0; }

bool store_is_durable(const struct store *s) { return s->durable; }

static int run_prepared(struct store *s, const char *sql, struct err *e)
{
    struct statement *st;
    int rc = store_prepare(s, sql, &st, e);
    if (rc < 0) return rc;
    rc = statement_step(st, e);
    statement_reset(st);
    return rc;
}

int store_begin(struct store *s, bool durable, struct err *e)
{
    if (store_in_transaction(s)) return err_set(e, -EBUSY, "store: a transaction is under way");
    if (durable != s->durable) {
        int rc = run(s, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", e);
        if (rc < 0) return rc;
        s->durable = durable;
    }
    return run_prepared(s, "BEGIN IMMEDIATE", e);
}

int store_commit(struct store *s, struct err *e)
{
    int rc = run_prepared(s, "COMMIT", e);
    if (rc < 0) store_rollback(s);
    return rc;
}

void store_rollback(struct store *s)
{
    if (!store_in_transaction(s)) return; /* some errors end it by themselves */
    sqlite3_step(s->rollback);
    sqlite3_reset(s->rollback);
    require(!store_in_transaction(s)); /* or whatever came next would be part of it */
}
