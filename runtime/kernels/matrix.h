/* matrix.h - tables of numbers: row-major doubles, with names for the columns. NaN is missing. */
#ifndef KERNELS_MATRIX_H
#define KERNELS_MATRIX_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/err.h"

/* Once filled it is not changed, so any thread may read it. */
struct matrix {
    size_t rows, columns;
    double *x;    /* (rows, columns) */
    char **names; /* (columns), or NULL where the columns have none; "" for one without */
    size_t owners;
};

/* All NaN, without names. 0 with *out the caller's, -EOVERFLOW or -ENOMEM. */
int matrix_new(struct matrix **out, size_t rows, size_t columns);
/* One owner more, who calls matrix_free() too. All owners are on one thread; readers need not be.
 */
struct matrix *matrix_share(struct matrix *m);
void matrix_free(struct matrix *m); /* with its last owner; NULL is fine */

/* Names column j; the others are "" until they are named. 0 or -ENOMEM. */
int matrix_set_name(struct matrix *m, size_t j, const char *name, size_t len);
/* The first column of that name, or m->columns when there is none. "" finds nothing. */
size_t matrix_find(const struct matrix *m, const char *name);
/* The name most like one that is not there, or NULL when none is: for "did you mean". */
const char *matrix_nearest_name(const struct matrix *m, const char *name);
/* The first column whose name an earlier one has already, or m->columns. */
size_t matrix_find_twin(const struct matrix *m);

static inline double matrix_get(const struct matrix *m, size_t i, size_t j)
{
    return m->x[i * m->columns + j];
}
static inline const double *matrix_row(const struct matrix *m, size_t i) /* (columns) */
{
    return m->x + i * m->columns;
}

/* A new one with the columns which[0..n), each < columns, in that order. As matrix_new(). */
int matrix_select(struct matrix **out, const struct matrix *m, const size_t *which, size_t n);
/* A new one with the n rows from first on; first + n <= rows. As matrix_new(). */
int matrix_slice(struct matrix **out, const struct matrix *m, size_t first, size_t n);
/* A new one with the rows which[0..n), each < rows, in that order. As matrix_new(). */
int matrix_pick(struct matrix **out, const struct matrix *m, const size_t *which, size_t n);

/* What of a CSV file is wanted. */
struct matrix_csv {
    char delimiter;
    size_t n_wanted; /* 0: all columns */
    char **wanted;   /* (n_wanted) names, in the order of the result */
};

/* Reads CSV (base/csv.h) whose first line names the columns, MATRIX_CSV_COLUMNS at most. An empty
 * field is NaN; so is an empty line where there is but one column, elsewhere it is skipped. -EINVAL
 * with e ("line:column: …") for what is no CSV, records of another length than the first, names
 * that are there twice, wanted columns that are missing, and fields of a wanted column that are no
 * number. -ECANCELED soon after *cancel (NULL: never) has become true. Else as matrix_new(), e set
 * too. While it reads it takes up to twice the memory of the result. */
enum { MATRIX_CSV_COLUMNS = 65536 };
int matrix_from_csv(struct matrix **out, const char *data, size_t len, const struct matrix_csv *how,
                    const atomic_bool *cancel, struct err *e);

#endif
