#include "kernels/matrix.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/csv.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"

/* Rows drawn at random from a large matrix lie on as many pages: large ones are found faster. Only
 * a hint: whether it is heeded does not matter. */
static void prefer_large_pages(double *x, size_t bytes)
{
    enum { LEAST = 8 << 20, PAGE = 1 << 16 };
    size_t skip = PAGE - (uintptr_t)x % PAGE;
    if (bytes >= LEAST) madvise((char *)x + skip, bytes - skip, MADV_HUGEPAGE);
}

int matrix_new(struct matrix **out, size_t rows, size_t columns)
{
    if (columns > 0 && rows > PTRDIFF_MAX / sizeof(double) / columns) return -EOVERFLOW;
    size_t n = rows * columns;
    struct matrix *m = calloc(1, sizeof *m);
    if (m == NULL) return -ENOMEM;
    m->rows = rows;
    m->columns = columns;
    m->owners = 1;
    m->x = malloc((n > 0 ? n : 1) * sizeof *m->x);
    if (m->x == NULL) {
        matrix_free(m);
        return -ENOMEM;
    }
    prefer_large_pages(m->x, n * sizeof *m->x);
    for (size_t i = 0; i < n; i++) m->x[i] = NAN;
    *out = m;
    return 0;
}

struct matrix *matrix_share(struct matrix *m)
{
    m->owners++;
    return m;
}

void matrix_free(struct matrix *m)
{
    if (m == NULL || --m->owners > 0) return;
    for (size_t j = 0; m->names != NULL && j < m->columns; j++) free(m->names[j]);
    free(m->names);
    free(m->x);
    free(m);
}

/* -- names -- */

static int make_names(struct matrix *m)
{
    char **names = calloc(m->columns, sizeof *names);
    for (size_t j = 0; names != NULL && j < m->columns; j++) {
        names[j] = calloc(1, 1);
        if (names[j] != NULL) continue;
        while (j > 0) free(names[--j]);
        free(names);
        names = NULL;
    }
    m->names = names;
    return names == NULL ? -ENOMEM : 0;
}

int matrix_set_name(struct matrix *m, size_t j, const char *name, size_t len)
{
    assert(j < m->columns);
    if (m->names == NULL && make_names(m) < 0) return -ENOMEM;
    char *copy = malloc(len + 1);
    if (copy == NULL) return -ENOMEM;
    if (len > 0) memcpy(copy, name, len);
    copy[len] = '\0';
    free(m->names[j]);
    m->names[j] = copy;
    return 0;
}

size_t matrix_find(const struct matrix *m, const char *name)
{
    size_t j = 0;
    if (m->names == NULL || name[0] == '\0') return m->columns;
    while (j < m->columns && strcmp(m->names[j], name) != 0) j++;
    return j;
}

const char *matrix_nearest_name(const struct matrix *m, const char *name)
{
    const char *nearest = NULL;
    size_t best = 3; /* edits; more make another word */
    for (size_t j = 0; m->names != NULL && j < m->columns; j++) {
        size_t distance = text_distance(name, m->names[j]);
        if (distance >= best) continue;
        best = distance;
        nearest = m->names[j];
    }
    return nearest;
}

size_t matrix_find_twin(const struct matrix *m)
{
    struct map seen = {0};
    size_t j = m->names == NULL ? m->columns : 0;
    for (; j < m->columns; j++) {
        if (m->names[j][0] == '\0') continue;
        if (map_get(&seen, m->names[j]) != NULL) break;
        map_set(&seen, m->names[j], m->names[j]);
    }
    map_free(&seen, NULL);
    return j;
}

static int copy_name(struct matrix *to, size_t j, const struct matrix *from, size_t k)
{
    if (from->names == NULL) return 0;
    return matrix_set_name(to, j, from->names[k], strlen(from->names[k]));
}

/* -- parts -- */

int matrix_select(struct matrix **out, const struct matrix *m, const size_t *which, size_t n)
{
    struct matrix *part = NULL;
    int rc = matrix_new(&part, m->rows, n);
    if (rc < 0) return rc;
    for (size_t j = 0; j < n; j++) {
        assert(which[j] < m->columns);
        rc = copy_name(part, j, m, which[j]);
        if (rc < 0) goto fail;
    }
    for (size_t i = 0; i < m->rows; i++)
        for (size_t j = 0; j < n; j++) part->x[i * n + j] = matrix_get(m, i, which[j]);
    *out = part;
    return 0;
fail:
    matrix_free(part);
    return rc;
}

/* A new one with as many columns, of the same names, and n rows. */
static int like(struct matrix **out, const struct matrix *m, size_t n)
{
    struct matrix *part = NULL;
    int rc = matrix_new(&part, n, m->columns);
    for (size_t j = 0; rc == 0 && j < m->columns; j++) rc = copy_name(part, j, m, j);
    if (rc < 0) {
        matrix_free(part);
        return rc;
    }
    *out = part;
    return 0;
}

int matrix_slice(struct matrix **out, const struct matrix *m, size_t first, size_t n)
{
    assert(first <= m->rows && n <= m->rows - first);
    int rc = like(out, m, n);
    if (rc == 0 && n > 0) memcpy((*out)->x, matrix_row(m, first), n * m->columns * sizeof *m->x);
    return rc;
}

int matrix_pick(struct matrix **out, const struct matrix *m, const size_t *which, size_t n)
{
    int rc = like(out, m, n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        assert(which[i] < m->rows);
        memcpy((*out)->x + i * m->columns, matrix_row(m, which[i]), m->columns * sizeof *m->x);
    }
    return rc;
}

/* -- CSV -- */

#define UNWANTED SIZE_MAX

/* A file on its way into a matrix. */
struct reading {
    struct csv csv;
    struct matrix *header; /* without rows: what the first line names */
    size_t *slot;          /* (header->columns): where in the result a field goes, or UNWANTED */
    struct matrix *m;      /* the result; its rows grow */
    size_t capacity;       /* of m->x */
    struct err *e;
};

static int out_of_memory(struct err *e) { return err_set(e, -ENOMEM, "not enough memory"); }

static int name_column(struct reading *r, size_t j, const struct csv_field *f)
{
    char *name = malloc(f->len + 1);
    if (name == NULL) return out_of_memory(r->e);
    size_t len = csv_copy(f, name);
    int rc =
        memchr(name, '\0', len) != NULL
            ? err_set(r->e, -EINVAL, "%zu:%zu: a NUL byte in a column's name", f->line, f->column)
            : matrix_set_name(r->header, j, name, len);
    free(name);
    return rc == -ENOMEM ? out_of_memory(r->e) : rc;
}

/* The first line twice: to count its fields, and to take their names. */
static int read_header(struct reading *r)
{
    struct csv csv = r->csv;
    struct csv_field f = {0};
    size_t n = 0;
    int rc = 0;
    while (!f.last && (rc = csv_next(&csv, &f, r->e)) > 0) n++;
    if (rc < 0) return rc;
    if (n == 0)
        return err_set(r->e, -EINVAL, "1:1: there is nothing; the first line names the columns");
    if (n > MATRIX_CSV_COLUMNS)
        return err_set(r->e, -EINVAL, "1:1: %zu columns; %d at most", n, MATRIX_CSV_COLUMNS);
    if (matrix_new(&r->header, 0, n) < 0) return out_of_memory(r->e);
    rc = 0;
    for (size_t j = 0; j < n && rc == 0; j++) {
        (void)csv_next(&r->csv, &f, r->e);
        rc = name_column(r, j, &f);
    }
    return rc;
}

static int no_such_column(const struct reading *r, const char *name)
{
    const char *nearest = matrix_nearest_name(r->header, name);
    if (nearest == NULL) return err_set(r->e, -EINVAL, "1:1: there is no column \"%.100s\"", name);
    return err_set(r->e, -EINVAL, "1:1: there is no column \"%.100s\"; did you mean \"%.100s\"?",
                   name, nearest);
}

static int choose_columns(struct reading *r, const struct matrix_csv *how)
{
    size_t n = how->n_wanted > 0 ? how->n_wanted : r->header->columns;
    r->slot = malloc(r->header->columns * sizeof *r->slot);
    if (r->slot == NULL || matrix_new(&r->m, 0, n) < 0) return out_of_memory(r->e);
    for (size_t j = 0; j < n; j++) {
        const char *name = how->n_wanted > 0 ? how->wanted[j] : r->header->names[j];
        if (matrix_set_name(r->m, j, name, strlen(name)) < 0) return out_of_memory(r->e);
    }
    size_t twin = matrix_find_twin(r->m);
    if (twin < n)
        return err_set(r->e, -EINVAL, "1:1: column \"%.100s\" is %s twice", r->m->names[twin],
                       how->n_wanted > 0 ? "asked for" : "there");
    for (size_t j = 0; j < r->header->columns; j++) {
        if (how->n_wanted == 0) {
            r->slot[j] = j;
            continue;
        }
        size_t k = matrix_find(r->m, r->header->names[j]);
        r->slot[j] = k < n ? k : UNWANTED;
    }
    return 0;
}

/* That each of the wanted columns is there, and once. */
static int check_wanted(const struct reading *r, const struct matrix_csv *how)
{
    for (size_t k = 0; k < how->n_wanted; k++) {
        size_t found = 0;
        for (size_t j = 0; j < r->header->columns; j++) found += r->slot[j] == k;
        if (found == 0) return no_such_column(r, how->wanted[k]);
        if (found > 1)
            return err_set(r->e, -EINVAL, "1:1: column \"%.100s\" is there twice", how->wanted[k]);
    }
    return 0;
}

static int add_row(struct reading *r)
{
    struct matrix *m = r->m;
    void *x = m->x;
    if (m->rows >= SIZE_MAX / m->columns - 1 ||
        !array_reserve(&x, &r->capacity, (m->rows + 1) * m->columns, sizeof *m->x))
        return out_of_memory(r->e);
    m->x = x;
    m->rows++;
    return 0;
}

/* The fields of a record whose first one is *f. */
static int read_record(struct reading *r, struct csv_field *f)
{
    size_t n = r->header->columns;
    int rc = add_row(r);
    if (rc < 0) return rc;
    double *row = r->m->x + (r->m->rows - 1) * r->m->columns;
    for (size_t j = 0;; j++) {
        if (j == n)
            return err_set(r->e, -EINVAL, "%zu:%zu: one field more than the %zu columns", f->line,
                           f->column, n);
        if (r->slot[j] != UNWANTED && !csv_number(f, &row[r->slot[j]])) {
            char text[CSV_EXCERPT];
            return err_set(r->e, -EINVAL, "%zu:%zu: column \"%.100s\": \"%s\" is no number",
                           f->line, f->column, r->header->names[j], csv_excerpt(f, text));
        }
        if (f->last && j + 1 < n)
            return err_set(r->e, -EINVAL, "%zu:%zu: the line ends here, with field %zu of %zu",
                           f->line, f->column, j + 1, n);
        if (f->last) return 0;
        rc = csv_next(&r->csv, f, r->e);
        if (rc < 0) return rc;
    }
}

static int read_records(struct reading *r, const atomic_bool *cancel)
{
    struct csv_field f;
    int rc;
    for (size_t n = 1; (rc = csv_next(&r->csv, &f, r->e)) > 0; n++) {
        if (n % 4096 == 0 && cancel != NULL && atomic_load(cancel))
            return err_set(r->e, -ECANCELED, "cancelled");
        if (f.last && f.len == 0 && !f.quoted && r->header->columns > 1) continue;
        rc = read_record(r, &f);
        if (rc < 0) return rc;
    }
    return rc;
}

int matrix_from_csv(struct matrix **out, const char *data, size_t len, const struct matrix_csv *how,
                    const atomic_bool *cancel, struct err *e)
{
    struct reading r = {.e = e};
    csv_open(&r.csv, data, len, how->delimiter);
    int rc = read_header(&r);
    if (rc == 0) rc = choose_columns(&r, how);
    if (rc == 0) rc = check_wanted(&r, how);
    if (rc == 0) rc = read_records(&r, cancel);
    if (rc == 0) {
        size_t n = r.m->rows * r.m->columns;
        double *fitting = realloc(r.m->x, (n > 0 ? n : 1) * sizeof *fitting);
        if (fitting != NULL) r.m->x = fitting;
        *out = r.m;
        r.m = NULL;
    }
    matrix_free(r.m);
    matrix_free(r.header);
    free(r.slot);
    return rc;
}
