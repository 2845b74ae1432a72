/* Models from outside, in all their forms: whatever the bytes, an error in words or an ensemble
 * whose fast answers are those of its definition, and which packed and unpacked is the same. Build:
 * make build/fuzz/trees */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"
#include "kernels/trees.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 14, MOST = 4096 /* cells; wider ensembles are only loaded */ };

static void predict(const struct trees *t)
{
    static const double odd[] = {0, NAN, 1, -1, 1e-36, 0.5, 3, 1e30, -0.0, 17, -INFINITY};
    double x[MOST], slow[MOST], fast[MOST], phi[MOST];
    size_t d = t->features, g = t->groups;
    if (ROWS * (d + 1) * g > MOST) return;
    for (size_t i = 0; i < ROWS * d; i++) x[i] = odd[i * i % 11];
    for (size_t i = 0; i < ROWS; i++) trees_walk(t, x + i * d, slow + i * g);
    trees_margins(t, x, ROWS, fast);
    for (size_t i = 0; i < ROWS * g; i++)
        assert(memcmp(&slow[i], &fast[i], sizeof *fast) == 0 || isnan(slow[i]));
    trees_margins(t, x, 1, fast);
    for (size_t i = 0; i < g; i++)
        assert(memcmp(&slow[i], &fast[i], sizeof *fast) == 0 || isnan(slow[i]));
    trees_probabilities(t, fast, 1);
    int rc = trees_explain(t, x, 1, NULL, phi, NULL);
    assert(rc == 0 || rc == -ENOTSUP);
    trees_importances(t, phi);
}

static void pack(const struct trees *t)
{
    struct text out = {0}, twice = {0};
    struct trees *again;
    trees_pack(t, &out);
    assert(!out.failed);
    assert(trees_unpack(&again, out.data, out.len, NULL) == 0);
    trees_pack(again, &twice);
    assert(out.len == twice.len && memcmp(out.data, twice.data, out.len) == 0);
    trees_free(again);
    text_free(&out);
    text_free(&twice);
}

/* The bytes of a packed model, with the checksum that would take a fuzzer for ever to find. */
static void mend(const uint8_t *data, size_t size, struct text *out)
{
    size_t len = size > 20 && memcmp(data, "pertrees", 8) == 0 ? size - 8 : size;
    text_add(out, data, len);
    if (len < size) pack_end(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trees *t = NULL;
    struct err e = {0};
    struct text mended = {0};
    mend(data, size, &mended);
    /* A block of its own, so that one byte too far is seen. */
    char *copy = malloc(mended.len > 0 ? mended.len : 1);
    if (mended.len > 0) memcpy(copy, mended.data, mended.len);
    int rc = trees_load(&t, copy, mended.len, &e);
    assert(rc == e.code && (rc == 0) == (t != NULL));
    if (rc == 0) {
        predict(t);
        pack(t);
    } else {
        assert(e.text[0] != '\0');
    }
    trees_free(t);
    free(copy);
    text_free(&mended);
    return 0;
}
