/* CSV from outside: whatever the bytes, an answer or an error with a position, and every field
 * within
 * the bytes. Build: clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Iruntime -I. \
 *   tests/fuzz/csv_fuzz.c runtime/kernels/matrix.c runtime/base/{csv,err,map,memory,text}.c -lm */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "kernels/matrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_fields(const char *data, size_t len, char delimiter)
{
    struct csv csv;
    struct csv_field f;
    struct err e;
    size_t fields = 0, line = 1;
    char *copy = malloc(len + 1);
    csv_open(&csv, data, len, delimiter);
    int rc;
    while ((rc = csv_next(&csv, &f, &e)) > 0) {
        char text[CSV_EXCERPT];
        double x, again;
        assert(f.text >= data && f.len <= len && f.text + f.len <= data + len);
        assert(f.line >= line && f.column >= 1);
        assert(csv_copy(&f, copy) <= f.len);
        assert(strlen(csv_excerpt(&f, text)) < CSV_EXCERPT);
        if (csv_number(&f, &x) && isfinite(x)) { /* printed and read again it is the same */
            char digits[32];
            struct csv_field g = {.text = digits, .len = (size_t)sprintf(digits, "%.17g", x)};
            assert(csv_number(&g, &again) && again == x);
        }
        line = f.line;
        assert(++fields <= len + 1);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char wanted_name[] = "a";
    static char *wanted[] = {wanted_name};
    static const char delimiters[] = {',', ';', '\t', ' '};
    if (size < 1) return 0;
    struct matrix_csv how = {.delimiter = delimiters[data[0] & 3]};
    if (data[0] & 4) how = (struct matrix_csv){how.delimiter, 1, wanted};
    /* A block of its own, so that one byte too far is seen. */
    char *text = malloc(size > 1 ? size - 1 : 1);
    memcpy(text, data + 1, size - 1);
    read_fields(text, size - 1, how.delimiter);
    struct matrix *m = NULL;
    struct err e = {0};
    int rc = matrix_from_csv(&m, text, size - 1, &how, NULL, &e);
    if (rc == 0)
        assert(m->columns >= 1 && m->names != NULL && m->rows <= size);
    else
        assert(m == NULL && e.code == rc && e.text[0] >= '1' && e.text[0] <= '9');
    matrix_free(m);
    free(text);
    return 0;
}
