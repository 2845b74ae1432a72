/* store.h - what must outlive the process: SQL over an embedded SQLite database.
 *
 * For the loop's thread alone; statements take microseconds, a durable commit as long as the disk's
 * fsync. After kill -9 everything committed is there; after a power cut, everything committed in a
 * durable transaction. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct store;
struct statement;

/* path: a file, or ":memory:". Brings the schema up to date: sql holds the migrations, each behind
 * a line "-- migration N". 0, or -errno with e. */
int store_open(struct store **out, const char *path, const char *sql, size_t sql_len,
               struct err *e);
const char *store_library(void);   /* its version */
void store_close(struct store *s); /* NULL is fine */

/* The statement for a text of SQL (one statement), from a cache that lasts as long as the store. */
int store_prepare(struct store *s, const char *sql, struct statement **out, struct err *e);

/* Parameters count from 1. Text is copied. */
void statement_bind_null(struct statement *st, int i);
void statement_bind_integer(struct statement *st, int i, int64_t value);
void statement_bind_number(struct statement *st, int i, double value);
void statement_bind_text(struct statement *st, int i, const char *text, size_t len);
int statement_parameters(const struct statement *st);

/* 1: a row is there; 0: done; -errno with e. After anything but 1, or to stop early, reset it. */
int statement_step(struct statement *st, struct err *e);
void statement_reset(struct statement *st);

/* Of the row, columns from 0; pointers are good until the next step. */
enum statement_type { STATEMENT_NULL, STATEMENT_INTEGER, STATEMENT_NUMBER, STATEMENT_TEXT };
int statement_columns(const struct statement *st);
const char *statement_name(const struct statement *st, int column);
enum statement_type statement_type(const struct statement *st, int column);
int64_t statement_integer(const struct statement *st, int column);
double statement_number(const struct statement *st, int column);
const char *statement_text(const struct statement *st, int column, size_t *len);

int64_t store_changes(const struct store *s); /* rows that the last statement changed */

/* One at a time. durable: the commit returns once the disk has it. */
int store_begin(struct store *s, bool durable, struct err *e);
int store_commit(struct store *s, struct err *e); /* on failure it is rolled back */
void store_rollback(struct store *s);
bool store_in_transaction(const struct store *s);
bool store_is_durable(const struct store *s); /* what the last begin asked for */

#endif
