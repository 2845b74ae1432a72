/* Models of isolation forests: whatever the bytes, packed (their checksum is put right first, for
 * it keeps out accidents alone) or JSON, there is an error or a forest whose scores make sense.
 * Build:
 * clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Iruntime -I. tests/fuzz/forest_fuzz.c \
 *   runtime/kernels/forest*.c runtime/base/{err,text,pack,json,memory,parallel,random}.c \
 *   runtime/kernels/matrix.c runtime/base/{csv,map}.c -lcjson -lm */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/forest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHECKSUM = 8, ROWS = 300, MOST_FEATURES = 64, MOST_TREES = 64 };

static void put_checksum(uint8_t *data, size_t size) /* as base/pack.c has it */
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < size - CHECKSUM; i++) h = (h ^ data[i]) * 0x100000001b3;
    for (size_t i = 0; i < CHECKSUM; i++) data[size - CHECKSUM + i] = (uint8_t)(h >> (8 * i));
}

static void score(const struct forest *f, size_t features)
{
    struct matrix *m;
    size_t which[MOST_FEATURES];
    double out[ROWS], why[MOST_FEATURES], other[ROWS];
    assert(matrix_new(&m, ROWS, features) == 0);
    for (size_t i = 0; i < ROWS * features; i++) m->x[i] = (double)(i % 23) - 11;
    m->x[0] = NAN;
    m->x[features] = INFINITY;
    m->x[2 * features] = -1e300;
    assert(forest_match(f, m, which, NULL) == 0);
    assert(forest_score(f, m, which, 1, NULL, out) == 0);
    forest_set_path(FOREST_WALK);
    assert(forest_score(f, m, which, 1, NULL, other) == 0);
    forest_set_path(FOREST_BEST);
    assert(memcmp(out, other, sizeof out) == 0);
    for (size_t i = 0; i < ROWS; i++) assert(out[i] <= 0 && out[i] >= -1);
    assert(forest_explain(f, m->x, why) == 0);
    matrix_free(m);
}

static void look(struct forest *f)
{
    struct forest_about a = forest_about(f);
    assert(a.features > 0 && a.trees > 0 && a.max_samples > 1 && isfinite(a.offset));
    struct text t = {0};
    forest_pack(f, &t);
    struct forest *back = NULL;
    assert(!t.failed && forest_unpack(&back, t.data, t.len, NULL) == 0);
    text_free(&t);
    forest_free(back);
    if (a.features <= MOST_FEATURES && a.trees <= MOST_TREES) score(f, a.features);
    forest_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct forest *f = NULL;
    struct err e = {0};
    uint8_t *copy = malloc(size + 1);
    memcpy(copy, data, size);
    if (forest_is_packed(copy, size)) {
        put_checksum(copy, size);
        int rc = forest_unpack(&f, copy, size, &e);
        assert(rc == e.code && (rc == 0) == (f != NULL));
    } else {
        int rc = forest_import(&f, (const char *)copy, size, &e);
        assert(rc == e.code && (rc == 0) == (f != NULL));
    }
    free(copy);
    if (f != NULL) look(f);
    return 0;
}
